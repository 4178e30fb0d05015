"""What looks like a secret is cut out of whatever goes into the ledger."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Final

REDACTED: Final = "[redacted]"

Redact = Callable[[str], str]

_SECRET_NAME: Final = re.compile(
    r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE
)
_SHORTEST_SECRET: Final = 8  # of an environment variable's value: "test" is no secret

_ASSIGNED: Final = (
    r"((?:api[-_]?key|access[-_]?key|token|secret|passw(?:or)?d)[\"']?\s{0,3}"
    r"[=:]\s{0,3}[\"']?|[?&;](?:key|sig|signature|code)=)[^\s\"'&,;<>}]{6,}"
)
_NAMES: Final = ("key", "token", "secret", "passw", "sig", "code=")

# A character, and words of which one is in every text that the pattern matches, in lower case.
# Looking for these is a hundred times faster than the pattern, and hardly any text has them.
_PATTERNS: Final = tuple(
    (character, words, re.compile(pattern, re.IGNORECASE), replacement)
    for character, words, pattern, replacement in (
        # OpenAI and those who copied it, Anthropic, Stripe.
        ("-", ("sk-", "pk-"), r"\b[sp]k-[\w*.-]{6,}", REDACTED),
        ("_", ("sk_", "pk_"), r"\b[sp]k_[\w*.-]{6,}", REDACTED),
        ("-", ("key-",), r"\bkey-[0-9a-f]{16,}", REDACTED),  # Mailgun
        ("_", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "hf_"),
         r"\b(?:gh[pousr]_|github_pat_|hf_)\w{16,}", REDACTED),
        ("-", ("xox", "glpat-"), r"\b(?:xox[a-z]|glpat)-[\w-]{10,}", REDACTED),  # Slack, GitLab
        ("A", ("aiza",), r"\bAIza[\w-]{30,}", REDACTED),  # Google
        ("A", ("akia", "asia"), r"\bA[KS]IA[0-9A-Z]{16}\b", REDACTED),  # AWS
        (".", ("eyj",), r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*", REDACTED),  # JSON Web Tokens
        (" ", ("bearer",), r"\bBearer\s+[\w.~+/=-]{6,}", f"Bearer {REDACTED}"),
        (":", ("authorization",), r"\b(authorization[\"']?:\s*[\"']?\w+)\s+[\w.~+/=-]{6,}",
         rf"\1 {REDACTED}"),
        # A user and password in an address, RFC 3986, section 3.2.1.
        ("@", ("://",), r"://[^\s/?#@\"'<>]{1,200}@", f"://{REDACTED}@"),
        # key=… in a query or a shell, "api-key: …" in a header or an object.
        ("=", _NAMES, _ASSIGNED, rf"\1{REDACTED}"),
        (":", _NAMES, _ASSIGNED, rf"\1{REDACTED}"),
        ("-", ("private key-----",),
         r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\w\s+/=:,]*(?:-----END [A-Z ]{0,30}KEY-----)?",
         REDACTED),
    )
)  # fmt: skip


def secret_redactor(environment: Mapping[str, str] = os.environ) -> Redact:
    """Replaces by ``[redacted]`` what has the form of a key, and the secrets of the environment.

    Those are the values of the variables whose names end in KEY, TOKEN, SECRET, PASSWORD or
    CREDENTIALS, as they are now.
    """
    known = sorted(
        {
            value
            for name, value in environment.items()
            if len(value) >= _SHORTEST_SECRET and _SECRET_NAME.search(name)
        },
        key=len,
        reverse=True,  # one may begin with another
    )

    def redact(text: str) -> str:
        for secret in known:
            if secret in text:
                text = text.replace(secret, REDACTED)
        lower = text.lower()
        for character, words, pattern, replacement in _PATTERNS:
            if character in text:
                for word in words:
                    if word in lower:
                        text = pattern.sub(replacement, text)
                        break
        return text

    return redact
