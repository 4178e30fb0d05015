"""``cascade models``: the embedded models."""

from __future__ import annotations

from cascade.errors import ModelUnavailableError
from cascade_policies.commands.downloads import megabytes
from cascade_policies.commands.errors import ACCEPTED
from cascade_policies.commands.output import say, show_widest


def list_models(*, json: bool = False) -> int:
    """List the embedded models, who publishes them and under which licence.

    Parameters
    ----------
    json
        Write one JSON object instead of a table.
    """
    from cascade.providers.local.catalogue import CATALOGUE
    from cascade.providers.local.weights import cached

    rows = [(weights, cached(name)) for name, weights in CATALOGUE.items()]
    if json:
        from cascade_policies.commands.shape import write_json

        write_json(
            {
                "models": [
                    {
                        "name": weights.name,
                        "title": weights.title,
                        "publisher": weights.publisher,
                        "licence": weights.licence,
                        "bytes": weights.size,
                        "sha256": weights.sha256,
                        "path": None if path is None else str(path),
                    }
                    for weights, path in rows
                ]
            }
        )
        return ACCEPTED
    show_widest(
        [
            {
                "model": f"local:{weights.name}",
                "what it is": weights.title,
                "publisher": weights.publisher,
                "licence": weights.licence,
                "size": megabytes(weights),
                "here": "no" if path is None else "yes",
            }
            for weights, path in rows
        ],
        drop=("what it is", "publisher", "licence"),
    )
    return ACCEPTED


def pull(name: str, /) -> int:
    """Download an embedded model, unless it is here already, and print where it is.

    Parameters
    ----------
    name
        As `cascade models list` has it, with or without local: before it.
    """
    import anyio

    from cascade.providers.local import weights

    say(str(anyio.run(weights.pull, _plain(name))))
    return ACCEPTED


def path(name: str, /) -> int:
    """Print where an embedded model is on this disk.

    Parameters
    ----------
    name
        As `cascade models list` has it, with or without local: before it.
    """
    from cascade.providers.local import weights

    found = weights.cached(_plain(name))
    if found is None:
        raise ModelUnavailableError(
            f"{_plain(name)} is not downloaded; run: cascade models pull {_plain(name)}"
        )
    say(str(found))
    return ACCEPTED


def _plain(name: str) -> str:
    return name.removeprefix("local:").removeprefix("local/")
