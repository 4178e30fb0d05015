"""Run as a program: executes untrusted Python with nothing within reach, and says what passed.

Knows the standard library alone, as it runs without ``site``. It starts itself again with an empty
environment (what was in it would stay in the process's memory), closes all files but the pipes,
and then gives up, in this order: time and memory (rlimits), privileges, every file but those of
Python and a folder of its own (Landlock), and the system calls by which a process reaches others
(seccomp). Sources: man pages landlock(7), seccomp(2), setrlimit(2); Linux's uapi headers and
syscall tables for the numbers.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any

_AGAIN = "--isolated"
_X86_64 = {
    "socket": 41, "connect": 42, "bind": 49, "socketpair": 53, "fork": 57, "vfork": 58,
    "execve": 59, "kill": 62, "ptrace": 101, "rt_sigqueueinfo": 129, "pivot_root": 155,
    "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167,
    "reboot": 169, "sethostname": 170, "init_module": 175, "delete_module": 176, "tkill": 200,
    "clock_settime": 227, "tgkill": 234, "kexec_load": 246, "add_key": 248, "keyctl": 250,
    "unshare": 272, "rt_tgsigqueueinfo": 297, "perf_event_open": 298, "prlimit64": 302,
    "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311,
    "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "execveat": 322, "userfaultfd": 323,
    "pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438,
}  # fmt: skip
_AARCH64 = {
    "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "acct": 89, "unshare": 97,
    "kexec_load": 104, "init_module": 105, "delete_module": 106, "clock_settime": 112,
    "ptrace": 117, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138,
    "reboot": 142, "sethostname": 161, "settimeofday": 170, "socket": 198, "socketpair": 199,
    "bind": 200, "connect": 203, "add_key": 217, "keyctl": 219, "execve": 221, "swapon": 224,
    "rt_tgsigqueueinfo": 240, "perf_event_open": 241, "prlimit64": 261, "open_by_handle_at": 265,
    "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "finit_module": 273,
    "bpf": 280, "execveat": 281, "userfaultfd": 282, "kexec_file_load": 294,
    "pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438,
}  # fmt: skip
# Machine: its audit number, its denied calls, and its `clone`.
_MACHINES = {
    "x86_64": (0xC000003E, _X86_64, 56),
    "aarch64": (0xC00000B7, _AARCH64, 220),
}
_CLONE3 = 435
_CLONE_THREAD = 0x10000
_X32 = 0x40000000

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_FIRST_ABI = (1 << 13) - 1  # reading, writing, making and removing files, of all kinds
_OWN_FILES = 2**24  # bytes of a file in the folder of its own


class _Unisolated(Exception):  # noqa: N818  (never leaves this program)
    """Something cannot be shut off here."""


def main() -> None:
    """Read what to run from standard input, run it, and write one line about it."""
    if _AGAIN not in sys.argv:
        argv = [sys.executable, "-I", "-S", "-B", __file__, _AGAIN]
        os.execve(sys.executable, argv, {"LC_ALL": "C.UTF-8"})  # noqa: S606  (ourselves)
    given: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    out = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.closerange(max(out, nothing) + 1, 4096)
    mark = given.pop("mark")
    try:
        isolate(given["folder"], given["seconds"], given["memory"])
    except _Unisolated as error:
        if given["full"]:
            _tell(out, mark, {"unisolated": str(error)})
            return
    if hasattr(signal, "setitimer"):  # whoever started us waits longer, and then kills us
        signal.setitimer(signal.ITIMER_REAL, given["seconds"])
    passed, why = run(given["code"], given["tests"])
    _tell(out, mark, {"passed": passed, "why": why[:300]})
    os._exit(0)  # threads and exit handlers of the code have no say


def run(code: str, tests: list[str]) -> tuple[list[bool], str]:
    """Which tests raise nothing after the code, and the first thing that was raised."""
    passed: list[bool] = []
    why = ""
    for test in tests:
        names: dict[str, Any] = {"__name__": "answer"}
        try:
            exec(compile(code, "<answer>", "exec", dont_inherit=True), names)  # noqa: S102
            exec(compile(test, "<tests>", "exec", dont_inherit=True), names)  # noqa: S102
            passed.append(True)
        except BaseException as error:  # noqa: BLE001  (anything, also an exit, is a failed test)
            passed.append(False)
            why = why or _said(error)
    return passed, why


def _said(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except BaseException:  # noqa: BLE001  (its own text may raise anything too)
        return type(error).__name__


def _tell(out: int, mark: str, told: dict[str, Any]) -> None:
    os.write(out, f"\n{mark}{json.dumps(told)}\n".encode())


def isolate(folder: str, seconds: float, memory: int) -> None:
    """Give up all that untrusted code could use; see the docs for what that is.

    Raises:
        _Unisolated: some of it cannot be given up; all else is.
    """
    os.chdir(folder)
    failed = []
    steps: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
        (_limit, (seconds, memory)),
        (_unprivileged, ()),
        (_no_files, (folder,)),
        (_no_calls, ()),
    ]
    for step, arguments in steps:
        try:
            step(*arguments)
        except _Unisolated as error:
            failed.append(str(error))
    if failed:
        raise _Unisolated("; ".join(failed))


def _limit(seconds: float, memory: int) -> None:
    try:
        import resource
    except ImportError:
        raise _Unisolated("there are no resource limits on this system") from None
    processor = int(seconds) + 1
    for kind, most in (
        (resource.RLIMIT_CPU, processor),
        (resource.RLIMIT_FSIZE, _OWN_FILES),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, _address_space() + memory),
    ):
        try:
            resource.setrlimit(kind, (most, most))
        except (ValueError, OSError) as error:
            raise _Unisolated(f"a resource limit cannot be set: {error}") from None


def _address_space() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  (no pathlib yet)
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 2**30


def _libc() -> Any:
    if sys.platform != "linux":
        raise _Unisolated(f"{platform.system()} has no Landlock and no seccomp")
    return ctypes.CDLL(None, use_errno=True)


def _unprivileged() -> None:
    libc = _libc()
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise _Unisolated("privileges cannot be given up")
    if os.geteuid() == 0:
        # Root's powers over files and devices end with the namespace it leaves behind.
        libc.unshare(0x10000000)


def _no_files(folder: str) -> None:
    libc = _libc()
    abi = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if abi < 1:
        raise _Unisolated("the kernel has no Landlock, so files cannot be shut off")
    handled = _FIRST_ABI | (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0)
    ruleset = ctypes.create_string_buffer(struct.pack("=Q", handled))
    rules = libc.syscall(_CREATE_RULESET, ruleset, 8, 0)
    if rules < 0:
        raise _Unisolated("Landlock cannot be used")
    reads = _READ_FILE | _READ_DIR
    library = {os.path.dirname(os.__file__), sys.base_prefix, sys.prefix}  # noqa: PTH120
    for place in (*library, "/usr/lib", "/lib", "/lib64", "/dev/null", "/dev/urandom"):
        _allow(libc, rules, place, reads)
    _allow(libc, rules, "/dev/null", _READ_FILE | 1 << 1)
    _allow(libc, rules, folder, handled & ~_EXECUTE)
    if libc.syscall(_RESTRICT_SELF, rules, 0) != 0:
        raise _Unisolated("Landlock cannot be put in force")
    os.close(rules)


def _allow(libc: Any, rules: int, place: str, access: int) -> None:
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(place):  # noqa: PTH112
        access &= _EXECUTE | _READ_FILE | 1 << 1 | _TRUNCATE
    rule = ctypes.create_string_buffer(struct.pack("=Qi", access, descriptor))
    failed = libc.syscall(_ADD_RULE, rules, 1, rule, 0)
    os.close(descriptor)
    if failed:
        raise _Unisolated(f"Landlock takes no rule for {place}")


def _no_calls() -> None:
    """No sockets, no other processes: neither made, nor signalled, nor looked into."""
    libc = _libc()
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise _Unisolated(f"system calls of {platform.machine()} are not known here")
    program = b"".join(struct.pack("=HBBI", *step) for step in _filter(*machine))
    held = ctypes.create_string_buffer(program)
    count = len(program) // 8
    described = ctypes.create_string_buffer(struct.pack("=H6xQ", count, ctypes.addressof(held)))
    if libc.prctl(_SET_SECCOMP, _FILTER, described, 0, 0) != 0:
        raise _Unisolated("seccomp cannot be used")


def _filter(audit: int, denied: dict[str, int], clone: int) -> list[tuple[int, int, int, int]]:
    """A BPF program: what is denied fails with EPERM; a `clone` is for threads only."""
    load, equal, at_least, has, end = 0x20, 0x15, 0x35, 0x45, 0x06
    deny = (end, 0, 0, _ERRNO | _EPERM)
    steps = [
        (load, 0, 0, 4), (equal, 1, 0, audit), (end, 0, 0, _KILL),
        (load, 0, 0, 0), (at_least, 0, 1, _X32), deny,
        (equal, 0, 1, _CLONE3), (end, 0, 0, _ERRNO | _ENOSYS),  # glibc then takes `clone`
    ]  # fmt: skip
    for number in sorted(denied.values()):
        steps += [(equal, 0, 1, number), deny]
    steps += [(equal, 0, 3, clone), (load, 0, 0, 16), (has, 1, 0, _CLONE_THREAD), deny]
    return [*steps, (end, 0, 0, _ALLOW)]


if __name__ == "__main__":
    main()
