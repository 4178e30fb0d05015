"""Which prompts are near-duplicates of each other, whatever the order they come in.

Texts are compared by the three-word shingles that few of the texts have (what all share is a
template, and tells nothing). Two texts are near-duplicates where the Jaccard index of these is at
least `ALIKE`. Pairs to compare are found by minhash, in bands (Broder 1997; Leskovec, Rajaraman
and Ullman, "Mining of Massive Datasets", chapter 3): at an index of 0.8 a pair is missed once in
a hundred thousand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

ALIKE: Final = 0.8

_WORD: Final = re.compile(r"\w+")
_READ: Final = 20_000  # characters of a text, from its beginning and its end
_SHINGLE: Final = 3
_BANDS: Final = 12
_HASHES: Final = 2  # a band
_COMMON: Final = 0.1  # share of the texts from which a shingle is a template's
_FEWEST: Final = 20  # texts from which a template can be told
_NEIGHBOURS: Final = 8  # compared with, of those in one bucket

_Hashes = NDArray[np.uint64]


def normalised(text: str) -> list[str]:
    """The words of a text, without case, punctuation and layout."""
    if len(text) > _READ:
        text = f"{text[: _READ // 2]} {text[-_READ // 2 :]}"
    return _WORD.findall(text.casefold())


def group(texts: Sequence[str]) -> NDArray[np.intp]:
    """For each text the number of its group: the position of the first text in it."""
    hashes = _Words()
    flat: list[int] = []
    lengths = np.empty(len(texts), np.intp)
    first: dict[str, int] = {}
    leader = np.arange(len(texts))
    for row, text in enumerate(texts):
        # Without a word, such as a formula, a text is itself.
        words = normalised(text) or [text]
        leader[row] = first.setdefault(" ".join(words), row)
        if leader[row] != row:
            words = []
        lengths[row] = len(words)
        flat += map(hashes.__getitem__, words)
    shingles, rows = _shingles(np.array(flat, np.uint64), lengths)
    shingles, rows = _rare(shingles, rows, len(first))
    starts = np.searchsorted(rows, np.arange(len(texts) + 1))
    for row, other in _pairs(shingles, rows, starts):
        if _find(leader, row) != _find(leader, other) and _alike(shingles, starts, row, other):
            high, low = sorted((_find(leader, row), _find(leader, other)), reverse=True)
            leader[high] = low
    return np.array([_find(leader, row) for row in range(len(texts))], np.intp)


class _Words(dict[str, int]):
    """A number for each word, the same in every process."""

    def __missing__(self, word: str) -> int:
        data = word.encode("utf-8", "surrogatepass")
        found = self[word] = crc32(data) << 32 | crc32(data, 0x9E3779B9)
        return found


def _shingles(words: _Hashes, lengths: NDArray[np.intp]) -> tuple[_Hashes, NDArray[np.intp]]:
    """Of each text its shingles, none twice, in order; and the text of each. A text of fewer words
    is one shingle."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    ends = np.cumsum(lengths)
    at = np.arange(len(words))
    mixed = _mix(words, 0)
    for step in range(1, _SHINGLE):
        inside = at + step < ends[rows] if len(rows) else np.zeros(0, np.bool_)
        following = np.where(inside, words[np.minimum(at + step, max(0, len(words) - 1))], 0)
        mixed = _mix(mixed ^ following, step)
    starts = ends - lengths
    last = np.maximum(starts, ends - _SHINGLE)
    kept = at <= last[rows]
    mixed, rows = mixed[kept], rows[kept]
    order = np.lexsort((mixed, rows))
    mixed, rows = mixed[order], rows[order]
    new = np.ones(len(mixed), np.bool_)
    new[1:] = (mixed[1:] != mixed[:-1]) | (rows[1:] != rows[:-1])
    return mixed[new], rows[new]


def _rare(
    shingles: _Hashes, rows: NDArray[np.intp], texts: int
) -> tuple[_Hashes, NDArray[np.intp]]:
    """Those that few texts have; all of a text of which nothing would be left."""
    if texts < _FEWEST:
        return shingles, rows
    _, which, counts = np.unique(shingles, return_inverse=True, return_counts=True)
    rare = counts[which] <= _COMMON * texts
    some = np.zeros(int(rows.max(initial=0)) + 1, np.bool_)
    some[rows[rare]] = True
    kept = rare | ~some[rows]
    return shingles[kept], rows[kept]


def _pairs(
    shingles: _Hashes, rows: NDArray[np.intp], starts: NDArray[np.intp]
) -> Iterator[tuple[int, int]]:
    own = np.flatnonzero(starts[1:] > starts[:-1])
    if len(own) < 2:
        return
    for band in range(_BANDS):
        key = np.zeros(len(own), np.uint64)
        for number in range(_HASHES):
            hashed = _mix(shingles, 100 + band * _HASHES + number)
            key = _mix(key ^ np.minimum.reduceat(hashed, starts[own]), band)
        order = np.lexsort((own, key))
        for step in range(1, min(_NEIGHBOURS, len(own) - 1) + 1):
            same = np.flatnonzero(key[order[step:]] == key[order[:-step]])
            for position in same.tolist():
                yield int(own[order[position]]), int(own[order[position + step]])


def _alike(shingles: _Hashes, starts: NDArray[np.intp], row: int, other: int) -> bool:
    one, two = (shingles[starts[each] : starts[each + 1]] for each in (row, other))
    shared = len(np.intersect1d(one, two, assume_unique=True))
    return shared >= ALIKE * (len(one) + len(two) - shared)


def _mix(values: _Hashes, seed: int) -> _Hashes:
    """SplitMix64 (Steele, Lea and Flood, 2014)."""
    mixed = values + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)


def _find(leader: NDArray[np.intp], row: int) -> int:
    while leader[row] != row:
        leader[row] = leader[leader[row]]
        row = int(leader[row])
    return row
