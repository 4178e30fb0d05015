"""`NotRefusal`: the answer does not begin by refusing."""

# ruff: noqa: RUF001  (letters of other scripts are meant)

from __future__ import annotations

import re
import unicodedata

from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.composable import Composable

_READ = 400
_QUOTES = str.maketrans("\u2018\u2019\u02bc\u0060\u201c\u201d", "''''\"\"")

# Up to the first word: markup, and the first key of an answer in JSON.
_LEAD = r"[\W_]{0,20}(?:[a-z_]{1,20}\"\s?:\s?\")?[\W_]{0,10}"
_OPENERS = (
    r"(?:(?:i'm|i am|we're|we are)? ?(?:very |so |truly |really )?sorry|i apologi[sz]e|apologies"
    r"|my apologies|unfortunately|regrettably|as an? (?:\w+ )?(?:ai|assistant|language model)"
    r"(?: \w+){0,3}|however|but|though|and"
    r"|for (?:the|any|this) (?:\w+ ){0,2}(?:confusion|inconvenience))"
)
_VERBS = (
    r"(?:assist|help|provid|answer|compl[yi]|fulfil|do (?:that|this)|discuss|engage|continue"
    r"|creat|generat|give|offer|share|support|writ|produc|respond|access|brows|see\b|view|open"
    r"|participat|process|perform|carry out|tell you|disclose|recommend|endorse|promot|facilitat"
    r"|advise|translate (?:this|that))"
)
_CANNOT = (
    r"(?:can't|can not|cannot|could not|couldn't|won't|will not"
    r"|(?:am |'m )?(?:unable|not able|not allowed|not permitted|not comfortable"
    r"|not in a position)(?: to| with)?"
    r"|(?:must |have to )?(?:respectfully |politely )?(?:decline|refuse))"
)
_EN = (
    rf"(?:{_OPENERS}[\s,.;:!\-]{{0,4}}){{0,4}}(?:"
    r"(?:i|we)(?: am|'m| are|'re)? ?(?:just |only )?(?:afraid )?(?:that )?(?:i )?"
    rf"(?:really |simply )?{_CANNOT}(?: (?:really|currently|directly|in good conscience))?"
    rf"(?: to| with)?(?: {_VERBS}|[.,!]|$)"
    r"|(?:i|we) do(?: not|n't) have (?:the ability|access) to\b"
    r"|(?:can't|cannot|unable to|not able to) (?:assist|help|comply|fulfil|provide)"
    r"|this (?:request|question|content) (?:violates|goes against|is against|is inappropriate))"
)
# By language, in the order of the docstring below, English aside.
_OTHERS = (
    r"(?:عذرا|عذرًا|آسف|أعتذر)[^.!؟]{0,30}? ?(?:لا أستطيع|لا يمكنني|لا يمكن)",
    r"(?:很?抱歉|对不起|對不起|非常抱歉)[^。！？]{0,20}?(?:无法|無法|不能|没有办法)",
    r"我(?:无法|無法|不能)(?:提供|帮助|幫助|回答|协助|協助|满足|生成)",
    r"(?:het spijt me|sorry|helaas)[^.!?]{0,30}? (?:kan|mag) ik\b[^.!?]{0,60}? niet",
    r"(?:je suis (?:vraiment )?désolée?|désolée?|malheureusement)[^.!?]{0,30}?"
    r" je ne (?:peux|puis|suis) (?:pas|malheureusement)",
    r"je ne (?:peux|puis) (?:pas|malheureusement pas) (?:vous |t')?"
    r"(?:aider|répondre|fournir|assister)",
    r"(?:es tut mir (?:sehr )?leid|tut mir leid|leider|entschuldigung)[^.!?]{0,40}?"
    r" (?:(?:kann|darf|möchte|werde) ich|ich (?:kann|darf|werde))\b[^.!?]{0,60}? nicht\b",
    r"ich (?:kann|darf) (?:ihnen |dir |diese |das |dabei |leider ){1,3}[^.!?]{0,60}?nicht "
    r"(?:helfen|beantworten|weiterhelfen|erfüllen|bereitstellen|unterstützen)",
    r"(?:mi dispiace|purtroppo|spiacente)[^.!?]{0,30}? non (?:posso|sono in grado)",
    r"non posso (?:aiutar|fornir|risponder|assister)",
    r"(?:申し訳(?:ありません|ございません)|すみません|ごめんなさい)[^。！？]{0,40}?"
    r"(?:できません|できかねます|お答えできません|いたしかねます)",
    r"(?:죄송합니다|죄송하지만|미안하지만)[^!?。]{0,50}?(?:수 없습니다|없어요|어렵습니다)",
    r"(?:przykro mi|przepraszam|niestety)[^.!?]{0,30}? nie mogę",
    r"(?:desculpe|sinto muito|lamento|infelizmente)[^.!?]{0,30}? não (?:posso|consigo)",
    r"não posso (?:ajudar|fornecer|responder)",
    r"(?:извините|простите|к сожалению|мне жаль)[^.!?]{0,30}? не могу",
    r"я не могу (?:помочь|предоставить|ответить|выполнить)",
    r"(?:lo siento|lo lamento|lamentablemente|desafortunadamente)[^.!?]{0,30}?"
    r" no (?:puedo|me es posible)",
    r"no puedo (?:ayudar|proporcionar|responder|asistir|cumplir)",
    r"(?:вибачте|на жаль)[^.!?]{0,30}? не можу",
)
_REFUSAL = re.compile(f"{_LEAD}(?:{'|'.join((_EN, *_OTHERS))})")


class NotRefusal(Composable):
    """Accepts an answer that does not begin with a refusal.

    It knows the common phrases ("I'm sorry, but I can't help with that", "As an AI language model,
    I cannot provide …") in English, and the plain ones in Arabic, Chinese, Dutch, French, German,
    Italian, Japanese, Korean, Polish, Portuguese, Russian, Spanish and Ukrainian. Only the
    beginning counts: a refusal further on, or in other words, is not seen.
    """

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        """The verdict; a refusal is not repairable, as another model is more use than a plea."""
        text = unicodedata.normalize("NFKC", answer.text.lstrip()[:_READ]).translate(_QUOTES)
        if _REFUSAL.match(" ".join(text.casefold().split())):
            return Verdict.reject("the answer begins by refusing to answer", code="refusal")
        return Verdict.accept()

    def __repr__(self) -> str:
        return "NotRefusal()"
