"""What a recording says its columns and verdicts were made with, and whether a policy is that."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from types import FunctionType, MethodType
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from cascade.model import ModelSpec
from cascade.policy import Policy, Tier
from cascade.verdict import Verifier
from cascade.verify import as_verifier, verifier_name
from cascade_policies.recordings.header import Header, RecordedModel, RecordedVerifier
from cascade_policies.recordings.recording import canonical

_SECRET: Final = re.compile(r"key|token|secret|password|header|auth", re.IGNORECASE)
_DEEPEST: Final = 8
_JOINED: Final = " + "


class Identities(Struct, frozen=True):
    """What a policy's tiers and verifiers are.

    Attributes:
        models: by the names of the tiers.
        verifiers: by their keys.
        keys: the key of each tier's verifier; tiers without one are not in it.
    """

    models: dict[str, RecordedModel]
    verifiers: dict[str, RecordedVerifier]
    keys: dict[str, str]


def identities(policy: Policy) -> Identities:
    """What the policy's tiers and verifiers are, as a recording's header has it.

    The key of a verifier is its name, with ``#2`` behind it where another of that name has other
    settings. Its threshold is none of them: scores are recorded, and compared with any.
    """
    models, verifiers, keys = {}, dict[str, RecordedVerifier](), {}
    for tier in policy.tiers:
        if tier.verify is not None:
            said = verifier_identity(as_verifier(tier.verify))
            key, number = said.name, 1
            while verifiers.setdefault(key, said) != said:
                number += 1
                key = f"{said.name}#{number}"
            keys[tier.name] = key
        models[tier.name] = model_identity(tier, keys.get(tier.name))
    return Identities(models, verifiers, keys)


def model_identity(tier: Tier, verifier: str | None = None) -> RecordedModel:
    """What a tier's answers are made with; its price, if the tier does not say it, is left open."""
    price = tier.price
    spec = tier.models[0]
    if isinstance(spec, ModelSpec) and price is None:
        price = spec.price
    return RecordedModel(
        model=_JOINED.join(_model_name(model) for model in tier.models),
        price=None if price is None else asdict(price),
        params={key: _open(key, value) for key, value in sorted(tier.params.items())},
        prompt_sha256=prompt_sha256(tier),
        verifier=verifier,
        stops_billing=tier.cancel_stops_billing,
    )


def prompt_sha256(tier: Tier) -> str:
    """Of the tier's templates and examples, and of the form it constrains its model to."""
    form = None
    if tier.constrain:
        form = _plain(getattr(as_verifier(tier.verify), "response_format", dict)())  # type: ignore[arg-type]  # a tier that constrains has a verifier
    parts = [tier.prompt, tier.system, [list(pair) for pair in tier.examples], form]
    return sha256(canonical(parts)).hexdigest()


def verifier_identity(verifier: Verifier) -> RecordedVerifier:
    """A verifier's name, the version of what it is from, and a hash of its settings."""
    settings = sha256(canonical(_plain(verifier))).hexdigest()
    return RecordedVerifier(
        name=verifier_name(verifier),
        version=_version(_home(verifier)),
        settings={"is": repr(verifier)[:300], "sha256": settings},
    )


def differences(held: Header, policy: Policy) -> list[str]:
    """What the policy has otherwise than it was recorded, in a sentence each; none when alike.

    What the header says nothing of, it cannot contradict.
    """
    now = identities(policy)
    found = []
    for name, wanted in now.models.items():
        said = held.models.get(name)
        if said is None:
            continue
        for key, what in (("model", "model"), ("params", "params"), ("prompt_sha256", "prompt")):
            before, after = getattr(said, key), getattr(wanted, key)
            if before not in ("", None, {}) and before != after:
                shown = f": {before!r} then, {after!r} now" if key != "prompt_sha256" else ""
                found.append(f"the {what} of {name!r} is another one{shown}")
        before_key, after_key = said.verifier, wanted.verifier
        before_check = held.verifiers.get(before_key or "")
        after_check = now.verifiers.get(after_key or "")
        if before_check is not None and after_check is not None:
            same = (before_check.name, before_check.settings.get("sha256")) == (
                after_check.name, after_check.settings.get("sha256")
            )  # fmt: skip
            if not same:
                found.append(f"the verifier of {name!r}, {after_check.name!r}, has other settings")
    return found


def _model_name(model: Any) -> str:
    if isinstance(model, str):
        return model
    name = getattr(model, "name", None) or getattr(model, "__name__", None)
    return str(name or type(model).__name__)


def _open(key: str, value: Any) -> Any:
    """A parameter, or its hash where it may be a secret."""
    if _SECRET.search(key) and key != "max_tokens" and not key.endswith("_tokens"):
        return {"sha256": sha256(canonical(_plain(value))).hexdigest()}
    return _plain(value)


def _plain(value: Any, depth: int = 0, seen: set[int] | None = None) -> Any:
    """Anything as JSON, the same in every process; nothing in it is called, and no object is
    looked into twice."""
    seen = set() if seen is None else seen
    if value is None or isinstance(value, bool | int | float | str):
        return value if not isinstance(value, float) or value == value else "nan"
    if depth > _DEEPEST:
        return type(value).__name__
    if isinstance(value, re.Pattern):
        return [value.pattern, value.flags]
    if isinstance(value, partial):
        inner = (value.func, value.args, value.keywords)
        return [_plain(one, depth + 1, seen) for one in inner]
    if isinstance(value, MethodType):
        return value.__name__
    if isinstance(value, type | FunctionType):
        return [f"{value.__module__}:{value.__qualname__}", _source(value)]
    if isinstance(value, Mapping):
        return {str(key): _plain(one, depth + 1, seen) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_plain(one, depth + 1, seen) for one in value), key=repr)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(one, depth + 1, seen) for one in value]
    if isinstance(value, bytes | bytearray):
        return sha256(value).hexdigest()
    if id(value) in seen:
        return type(value).__qualname__
    seen.add(id(value))
    return [type(value).__qualname__, _plain(_attributes(value), depth + 1, seen)]


def _attributes(value: Any) -> dict[str, Any]:
    names = list(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = getattr(kind, "__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    found = {}
    for name in names:
        # How often it was asked, and where it accepts, do not make it another verifier.
        if name not in ("threshold", "__dict__", "__weakref__") and hasattr(value, name):
            one = getattr(value, name)
            if not isinstance(one, MethodType):
                found[name] = one
    return found


def _source(value: type | FunctionType) -> str:
    """A hash of what a function does; of a class its name has to do, beside its version."""
    if isinstance(value, type):
        return ""
    try:
        text = inspect.getsource(value)
    except (OSError, TypeError):
        code = value.__code__  # its bytes are others in every version of Python
        constants = [one for one in code.co_consts if isinstance(one, bool | int | float | str)]
        text = repr((constants, code.co_names))
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _home(verifier: Any) -> str:
    target = getattr(verifier, "function", None) or type(verifier)
    while isinstance(target, partial):
        target = target.func
    return str(getattr(target, "__module__", "") or "")


def _version(module: str) -> str | None:
    top = module.partition(".")[0]
    try:
        return version("cascade-engine" if top.startswith("cascade") else top)
    except (PackageNotFoundError, ValueError):
        return None
