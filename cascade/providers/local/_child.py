"""The process that runs llama.cpp. Started by `server.py`; imports nothing of this project.

It reads one JSON line of settings from standard input, which the parent then keeps open, loads the
model, writes one line ``<nonce> <address>`` to standard output, and serves until standard input
ends: that is when the parent has closed it, or is no more.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import signal
import sys
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h
_MAX_THREADS = 8  # small models gain nothing from more


def main() -> None:
    settings = json.loads(sys.stdin.buffer.readline())
    _die_with(settings["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        server = _serve(settings)
    except Exception as error:  # noqa: BLE001  (the parent turns whatever it is into its own error)
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(1)
    os.write(1, f"\n{settings['nonce']} {server.listening_address}\n".encode())
    sys.stdin.buffer.read()
    # Not sys.exit: llama.cpp's destructors would first wait for the answers under way.
    os._exit(0)


def _die_with(parent: int) -> None:
    # llama.cpp loads with the interpreter locked, so for that long no thread of ours could see
    # standard input end. The kernel can. (It fires when the *thread* that started us ends, which
    # is why server.py keeps one for as long as we live.)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was gone before we asked
            os._exit(0)


def _serve(settings: dict[str, Any]) -> Any:
    # Read by OpenMP when the library is loaded, so before the import. By default its threads spin
    # while they wait for each other, and on a busy machine they spin away the very core that the
    # other one needs: 10 to 20 times slower on 2 cores. Not spinning at all costs a wake-up at
    # every layer, which leaves a third of the speed on an idle machine. A short spin has the good
    # of both (measured: 36, 108 and 97 tokens/s for none, short and default on 2 idle cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "300")
    xllamacpp: Any = importlib.import_module("xllamacpp")

    threads = _threads()
    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # the kernel picks a free one; asking for one first would be a race
    params.api_keys = [settings["api_key"]]
    params.verbosity = settings["verbosity"]
    params.cpuparams.n_threads = threads
    # Slots beyond the cores only make each answer slower, and each has a context to store.
    params.n_parallel = min(4, max(2, threads))
    params.n_ctx = settings["context"] * params.n_parallel
    # A cancel is noticed between two batches: within 2 s of prefill even on 2 slow cores.
    params.n_batch = params.n_ubatch = 128
    # Every waiting stream holds a thread of the HTTP server.
    params.n_threads_http = 64
    params.cache_ram_mib = 0  # else up to 8 GB of old prompts are kept in memory
    params.fit_params = False  # else it loads the model twice to see whether it fits
    # On x86 the rearranged copy of the weights is no faster (measured), takes as much memory as the
    # weights again, and doubles the time to start. On ARM it pays.
    params.no_extra_bufts = platform.machine() in {"x86_64", "AMD64"}
    params.ui = False
    params.endpoint_slots = False  # would show one caller's prompt to another
    params.endpoint_metrics = True  # counts only; what `cascade probe` looks at
    return xllamacpp.Server(params)


def _threads() -> int:
    """The physical cores that this process may run on, at most `_MAX_THREADS`."""
    if sys.platform != "linux":
        return min(os.cpu_count() or 1, _MAX_THREADS)
    usable = os.sched_getaffinity(0)
    siblings = Path("/sys/devices/system/cpu")
    try:
        cores = {
            (siblings / f"cpu{cpu}/topology/thread_siblings_list").read_text() for cpu in usable
        }
    except OSError:  # not every container shows it
        return min(len(usable), _MAX_THREADS)
    return min(len(cores), _MAX_THREADS)


if __name__ == "__main__":
    main()
