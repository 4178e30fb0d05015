"""``cascade probe``."""

from __future__ import annotations

from cascade.errors import ConfigError
from cascade_policies.commands.errors import ACCEPTED
from cascade_policies.commands.output import say, working

_REFERENCES = ("env:", "os.environ/")
_WORDS = {True: "yes", False: "no", None: "unknown"}


def probe(
    model: str,
    /,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    patience: float = 60.0,
    json: bool = False,
) -> int:
    """Measure what a model's server does when a stream is closed early: stop, or write on.

    It begins an answer of 512 tokens, closes the stream after the first ones, and watches the
    server, as far as that shows its requests: llama.cpp and vLLM do. Of others it says unknown.

    Parameters
    ----------
    model
        The model, as in a policy: provider:model.
    base_url
        Where the server is, as http://127.0.0.1:8000/v1.
    api_key
        The variable that has the key: env:NAME.
    patience
        Seconds to wait for the first tokens, and then for the server to stop.
    json
        Write one JSON object instead of text.
    """
    import anyio

    from cascade.engine import Engine
    from cascade.probe import Probe
    from cascade.probe import probe as measure

    if api_key is not None and not api_key.startswith(_REFERENCES):
        raise ConfigError('--api-key: put the key in a variable and write "env:NAME"')
    if not patience > 0:
        raise ConfigError(f"--patience {patience:g}: give seconds above 0")

    async def run() -> Probe:
        async with Engine() as engine:
            return await measure(
                engine, model, base_url=base_url, api_key=api_key, patience=patience
            )

    with working(f"probing {model}"):
        found = anyio.run(run)
    if json:
        from cascade_policies.commands.shape import probe_shape, write_json

        write_json(probe_shape(found))
        return ACCEPTED
    rows = {
        "model": found.model,
        "seen through": found.seen_through or "nothing",
        "what happened": found.reason,
    }
    if found.seconds is not None:
        rows["until then"] = f"{found.seconds:.2f} s after the stream was closed"
    if found.generated is not None:
        rows["tokens"] = f"{found.generated} written, {found.received} of them had arrived"
    rows["cancel_stops_billing"] = f"{_WORDS[found.stops]} (documented: {_WORDS[found.documented]})"
    indent = max(map(len, rows))
    say("\n".join(f"{key:{indent}}  {value}" for key, value in rows.items()))
    return ACCEPTED
