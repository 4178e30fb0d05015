"""Which columns and verdicts of a recording are a tier's."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from cascade.errors import ConfigError, nearest
from cascade.policy import Model, Tier
from cascade.verify import as_verifier
from cascade_policies.recordings import RecordedVerifier, Recording
from cascade_policies.recordings.identity import model_identity, verifier_identity

_JOINED: Final = " + "


class Place(Struct, frozen=True):
    """Where a tier's answers are recorded.

    Attributes:
        columns: for each member the column of its own model and then those of the stand-ins.
        verifier: the key of the tier's verdicts; None for a tier without a check.
    """

    columns: tuple[tuple[str, ...], ...]
    verifier: str | None


def places(tier: Tier, recording: Recording) -> Place:
    """Where the tier's answers are.

    Raises:
        ConfigError: the recording does not have one of its models, or its verifier.
    """
    names = [model_name(model) for model in tier.models for _ in range(tier.samples)]
    joined = _JOINED.join(model_name(model) for model in tier.models)
    if len(tier.models) > 1 and _is(recording, tier.name, joined):
        columns = [tier.name]  # an ensemble that was recorded as one
    else:
        columns = [_column(recording, name, tier) for name in names]
        _refuse_group(tier)
    stand_ins = [_column(recording, model_name(model), tier) for model in tier.fallbacks]
    for column in dict.fromkeys(columns):
        _require_alike(recording, column, tier)
    key = None if tier.verify is None else _verifier(recording, columns[0], tier)
    return Place(tuple((column, *stand_ins) for column in columns), key)


def model_name(model: Model) -> str:
    """What a model is called, as in a tier's own name."""
    if isinstance(model, str):
        return model
    name = getattr(model, "name", None) or getattr(model, "__name__", None)
    return str(name or type(model).__name__)


def _is(recording: Recording, column: str, model: str) -> bool:
    """Whether a column is there that was made with the model."""
    said = recording.header.models.get(column)
    return column in recording.models and said is not None and said.model == model


def _column(recording: Recording, model: str, tier: Tier) -> str:
    """The column of a model: the tier's own, else the one that was made with it, else by name."""
    if len(tier.models) == 1 and tier.name in recording.models:
        said = recording.model(tier.name).model
        if said in ("", model):
            return tier.name
        if model == model_name(tier.models[0]):
            raise ConfigError(
                f"needs answers of {model!r}; the recording's {tier.name!r} are of {said!r}",
                tier=tier.name,
            )
    made = [name for name in recording.models if _is(recording, name, model)]
    if len(made) == 1:
        return made[0]
    if made:
        raise ConfigError(
            f"the recording has {len(made)} columns of {model!r}, {', '.join(made)}: "
            "name the tier as one of them",
            tier=tier.name,
        )
    for name in (model, model.partition(":")[2]):
        if name in recording.models:
            return name
    raise ConfigError(
        f"needs answers of {model!r}, which the recording does not have: "
        f"{nearest(model, recording.models)}",
        tier=tier.name,
    )


def _require_alike(recording: Recording, column: str, tier: Tier) -> None:
    """See that the column was made with the tier's parameters and prompt, where it says so."""
    said, wanted = recording.model(column), model_identity(tier)
    for before, now, what in (
        (said.params or None, wanted.params, f"parameters {wanted.params}"),
        (said.prompt_sha256, wanted.prompt_sha256, "this prompt (templates and examples)"),
    ):
        if before is not None and before != now:
            raise ConfigError(
                f"needs answers with {what}; the recording's {column!r} are with another",
                tier=tier.name,
            )


def _verifier(recording: Recording, column: str, tier: Tier) -> str:
    """The key of the tier's verdicts: that of the same verifier, else by its name or the tier's.

    A threshold is no part of a verifier. What the header says nothing of cannot differ.
    """
    wanted = verifier_identity(as_verifier(tier.verify))  # type: ignore[arg-type]  # the caller asks only for a tier with a check
    keys, own = recording.verifiers, recording.model(column).verifier
    told = {key: said for key, said in recording.header.verifiers.items() if key in keys}
    named = [key for key, said in told.items() if said.name == wanted.name]
    alike = [key for key in named if _settings(told[key]) in (None, _settings(wanted))]
    if named and not alike:
        raise ConfigError(
            f"needs verdicts of {wanted.name!r} with these settings; those in the recording are "
            "with others",
            tier=tier.name,
        )
    for key in (own, *alike, tier.name, wanted.name):
        if key in alike or (key in keys and key not in told):
            return str(key)
    known = nearest(wanted.name, keys) if keys else "there are no verdicts in it"
    raise ConfigError(
        f"needs verdicts of {wanted.name!r}, which the recording does not have: {known}",
        tier=tier.name,
    )


def _settings(verifier: RecordedVerifier) -> str | None:
    return verifier.settings.get("sha256")


def _refuse_group(tier: Tier) -> None:
    """Verdicts of single answers do not say what a verifier makes of them together."""
    if tier.members == 1 or tier.verify is None:
        return
    verifier = as_verifier(tier.verify)
    if any(getattr(verifier, name, None) is not None for name in ("verify_group", "enough")):
        raise ConfigError(
            "needs the verdict on the answers of an ensemble together, which the recording does "
            "not have: record the tier as one",
            tier=tier.name,
        )
