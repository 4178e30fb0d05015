"""`Language`: the answer is written in a certain language."""

# ruff: noqa: RUF001  (letters of other scripts are what this file is about)

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from cascade.errors import ConfigError, nearest
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.composable import Composable

_READ = 20_000
_FEW_WORDS = 3
_DIFFERENT = 4
_NO_CODE = frozenset({"", "json", "markdown", "md", "text", "txt"})
_FEW_LETTERS = 4

STOP_WORDS: Final = {
    name: frozenset(words.split())
    for name, words in {
        "da": "og i det at en den til er som på de med han af for ikke der var jeg et har om vi "
        "men",
        "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als "
        "auch es an werden aus er hat dass sie nach wird bei ich wir oder",
        "en": "the of and to in is that it for was as with be by on not he his but at are this "
        "have from or had an they which you were their been has would there what if will we can a "
        "i she her each than then so how all into its my do does about when your them these",
        "es": "de la que el en y a los del se las por un para con no una su al lo como más pero "
        "sus le es este está son muy también hay",
        "fi": "ja on ei se että en hän oli mutta ovat joka myös kun niin tai sen hänen mitä ole "
        "voi",
        "fr": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne "
        "se ce il sont avec vous nous cette ou mais elle être c'est",
        "it": "di e il la che in un a per è una sono non con del si da le dei nel come più alla "
        "ha anche della questo gli ma",
        "nl": "de van een het en in is dat op te zijn voor met die niet aan er om ook als dan "
        "maar bij of uit nog worden naar heeft hebben wordt ik",
        "pl": "i w na z do się nie to jest że o jak a po od za przez dla są ale który tym może "
        "oraz",
        "pt": "de a o que e do da em um para é com não uma os no se na por mais as dos como mas "
        "foi ao ele das tem à seu sua ou são você",
        "ro": "de și în a la cu nu o pe că din un este se pentru mai care sunt sau ca fi dar "
        "această",
        "sv": "och i att det som en på är av för med den till inte om ett han de men var jag "
        "har vi",
        "tr": "ve bir bu da de için ile çok ne o daha olarak gibi kadar var ama mi olan sonra "
        "değil",
        "bg": "и на да се в за от не е са с че по това като до при или ще му те но тя той",
        "ru": "и в не на я что с он как это а по но из у за от так же для то все она было мы вы бы",
        "uk": "і в не на що з як це та до за від для але є у його які або він вони також бути",
    }.items()
}
"""The commonest words, for languages that share a script with others."""

SCRIPTS: Final = {
    "latin": "a-zà-öø-ÿāăąćčďđēęěğģīįıķļľłńņňōőœřśşšșţťțūůűųźżžßə",
    "cyrillic": "Ѐ-ӿ",
    "greek": "Ͱ-Ͽἀ-῿",
    "hebrew": "א-ת",
    "arabic": "ء-يٱ-ۓ",
    "devanagari": "ऀ-ॣ",
    "thai": "ก-๎",
    "hangul": "가-힣ᄀ-ᇿ",
    "kana": "ぁ-ゖァ-ヺ",
    "han": "㐀-䶿一-鿿",
}
_LETTERS = {script: re.compile(f"[{letters}]+") for script, letters in SCRIPTS.items()}
_ONLY: Final = {
    "ar": "arabic", "el": "greek", "he": "hebrew", "hi": "devanagari", "ja": "kana", "ko": "hangul",
    "th": "thai", "zh": "han",
}  # fmt: skip
"""Languages that their script gives away, among those known here."""

_CYRILLIC = frozenset({"bg", "ru", "uk"})
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
LANGUAGES: Final = tuple(sorted({*STOP_WORDS, *_ONLY}))


class Language(Composable):
    """Accepts an answer in a certain language, as its script and commonest words show.

    It abstains where it cannot tell: on a few words, on names and numbers, on code. Fenced code
    does not count. Of a long answer the first 20,000 characters are read.

    Args:
        code: a two-letter code: ar, bg, da, de, el, en, es, fi, fr, he, hi, it, ja, ko, nl, pl,
            pt, ro, ru, sv, th, tr, uk or zh.

    Raises:
        ConfigError: the language is not among these.
    """

    cost_class = "cpu"

    def __init__(self, code: str) -> None:
        if code not in LANGUAGES:
            raise ConfigError(f"code={code!r}: {nearest(str(code), LANGUAGES)}")
        self.code = code

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        """The verdict; an abstention where the answer is too short to tell."""
        text = _folded(answer.text)
        script = _script(text)
        if script is None:
            return _unclear()
        others = [code for code, its in _ONLY.items() if its == script]
        if others:
            return self._judge(others[0])
        if script != ("cyrillic" if self.code in _CYRILLIC else "latin") or self.code in _ONLY:
            # Another script than its own: which of that script's languages, is beside the point.
            return self._judge(_most(_hits(text, script)) or f"one in {script} letters")
        hits = _hits(text, script)
        best = _most(hits)
        mine = hits[self.code][0]
        if mine >= _FEW_WORDS and mine == max(count for count, _ in hits.values()):
            return Verdict.accept()
        if best is None or hits[best][0] < 2 * mine:
            return _unclear()
        return self._judge(best)

    def _judge(self, found: str) -> Verdict:
        if found == self.code:
            return Verdict.accept()
        reason = f"the answer is in the language {found!r}, and must be in {self.code!r}"
        return Verdict.reject(reason, code="language.other", repairable=True)

    def __repr__(self) -> str:
        return f"Language({self.code!r})"


def detect(text: str) -> str | None:
    """The language that a text is clearly in, of `LANGUAGES`, or None.

    Fenced code does not count. Of a long text the first 20,000 characters are read.
    """
    prose = _folded(text)
    script = _script(prose)
    if script is None:
        return None
    only = [code for code, its in _ONLY.items() if its == script]
    return only[0] if only else _most(_hits(prose, script))


def _folded(text: str) -> str:
    return _prose(text[:_READ]).casefold().replace("\u2019", "'")


def _unclear() -> Verdict:
    return Verdict.abstain("the answer's language is not clear", code="language.unclear")


def _script(text: str) -> str | None:
    letters = {script: sum(map(len, pattern.findall(text))) for script, pattern in _LETTERS.items()}
    # A Japanese text has some kana among its kanji, and a Chinese one none.
    if letters["kana"] * 10 >= letters["han"]:
        letters["kana"] += letters["han"]
        letters["han"] = 0
    script = max(letters, key=letters.__getitem__)
    few = letters[script] < _FEW_LETTERS
    return None if few or letters[script] * 2 <= sum(letters.values()) else script


def _hits(text: str, script: str) -> dict[str, tuple[int, int]]:
    """How many words of the text are common ones of each language, and how many different ones."""
    words = Counter(_WORD.findall(text))
    found = {}
    for code, common in STOP_WORDS.items():
        if (code in _CYRILLIC) is (script == "cyrillic"):
            seen = [count for word, count in words.items() if word in common]
            found[code] = (sum(seen), len(seen))
    return found


def _most(hits: dict[str, tuple[int, int]]) -> str | None:
    """The language that clearly has most of them: neighbours share many words."""
    best, second = sorted(hits, key=hits.__getitem__, reverse=True)[:2]
    count, different = hits[best]
    clear = count >= _FEW_WORDS and different >= _DIFFERENT and count * 4 >= hits[second][0] * 5
    return best if clear else None


def _prose(text: str) -> str:
    """The text without its fenced code."""
    if "```" not in text and "~~~" not in text:
        return text
    kept: list[str] = []
    fence = kind = ""
    for line in text.splitlines():
        mark = line.lstrip()[:3]
        if fence:
            fence = "" if mark == fence else fence
        elif mark in ("```", "~~~"):
            fence, kind = mark, line.strip("`~ \t")
        else:
            kept.append(line)
    # An answer that is nothing but fenced text is no code beside prose.
    prose = any(line.strip() for line in kept)
    return "\n".join(kept) if prose or kind.lower() not in _NO_CODE else text
