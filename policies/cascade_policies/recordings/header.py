"""The first line of a recording: which models, prompts and verifiers it holds."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct, ValidationError, convert, field, to_builtins

from cascade.cost import Price
from cascade.errors import ConfigError

VERSION: Final = 1
KEY: Final = "recording"


class RecordedModel(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one column of a recording was made with.

    Attributes:
        model: ``provider:model``, or several joined by " + "; "" when it is not known.
        price: US dollars per million tokens, as they were when it was recorded.
        params: sampling parameters of the tier.
        prompt_sha256: of the tier's templates and examples.
        verifier: the key of the tier's own verifier, or None.
        samples: answers that were asked for a prompt.
        stops_billing: whether closing a stream stops its billing; None for not known.
    """

    model: str = ""
    price: dict[str, float | None] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    prompt_sha256: str | None = None
    verifier: str | None = None
    samples: int = 1
    stops_billing: bool | None = None

    @property
    def prices(self) -> Price | None:
        """The price as the engine has it.

        Raises:
            ConfigError: it is no price.
        """
        if self.price is None:
            return None
        try:
            return convert(self.price, Price)
        except ValidationError as error:
            raise ConfigError(f"price of {self.model!r}: {error}") from None


class RecordedVerifier(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which verifier a key of the verdicts means.

    Attributes:
        name: its name, as ``cascade verifiers`` shows it, or its class.
        version: the version of the distribution it is from.
        settings: its arguments; what has no JSON form as the hash of its text.
    """

    name: str
    version: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


class Header(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a recording says of itself; all of it empty in a file without such a line.

    Attributes:
        version: of the format.
        policy: name of the task or policy that was recorded.
        models: by the names that the rows use.
        verifiers: by the keys that the verdicts use.
        scorer: name of what made ``correct``, and its settings.
        golden_sha256: of the golden set that was asked.
        created: when, in ISO 8601; no part of the recording's identity.
        incomplete: why there are fewer rows than in the golden set; "" when all are there.
    """

    version: int = VERSION
    policy: str = ""
    models: dict[str, RecordedModel] = field(default_factory=dict)
    verifiers: dict[str, RecordedVerifier] = field(default_factory=dict)
    scorer: dict[str, Any] | None = None
    golden_sha256: str | None = None
    created: str | None = None
    incomplete: str = ""


def header_of(data: Any) -> Header:
    """The header from the object under ``"recording"``.

    Raises:
        ConfigError: it is not one, or of a later version.
    """
    try:
        header: Header = convert(data, Header)
    except (ValidationError, RecursionError) as error:
        raise ConfigError(f"the recording's header: {error}") from None
    if header.version != VERSION:
        raise ConfigError(
            f"the recording's header says version {header.version}; this cascade reads {VERSION}"
        )
    for model in header.models.values():
        _ = model.prices  # a wrong price shows here, and not in the middle of a replay
    return header


def header_shape(header: Header) -> dict[str, Any]:
    """The object for the first line."""
    told: dict[str, Any] = to_builtins(header)
    return {KEY: {"version": header.version, **told}}
