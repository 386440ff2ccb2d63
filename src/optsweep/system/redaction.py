"""Takes the secrets of addresses out of all that leaves the process: logs, tags, files, messages.

`redacted` is given a value as it was typed: an address is then known to reach to its end, spaces
included. `redact` is given a text that may hold addresses among other words. Both replace by `***`
the passwords of users, tokens in their place (`https://TOKEN@host`), and parameters whose names
say that they are secrets (`?access_token=...`, `;PWD=...` of ODBC, encoded or not). A reference
such as `${oc.env:PASSWORD}` is no secret. What holds none is left letter for letter.
"""

import logging
import re
from typing import Any, TypeVar

Value = TypeVar("Value")

_HIDDEN = "***"
_REFERENCE = r"\$\{[\w.:]+\}"
_OPEN = re.compile(rf"(?:{_REFERENCE})*")  # what may be shown in a secret's place
_IN_SCHEME = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-."

# Where nothing stands before an @ that ends a user and a password, these match at an address's
# beginning: the part in which clients look for that @, and a host that is followed by an end.
_AUTHORITY = re.compile(r"[^/?#\s'\"<>]*")
_HOST = re.compile(
    rf"(?:\[[^\]\s]*\]|(?:{_REFERENCE}|[^\[\]:/?#@\s'\"<>])*+)"
    rf"(?:(?::(?:\d{{0,5}}|{_REFERENCE})):?)?(?=[/?#\s'\"<>,;.)\]}}\\]|$)"
)
_WORD = re.compile(r"[^\s'\"<>]*")
_QUERY = re.compile(r"[?#](?=[\w.-]*=)")
_USER = re.compile(rf"(?:{_REFERENCE}|[^:])*+")

_SECRETS = (
    r"(?:[\w.-]*(?:passwo?r?d|passphrase|pwd|token|secret|signature"
    r"|(?:api|access|account|secret|private)[_-]?key)|sig|key|auth|pass)"
)
_PARAMETER = r"([?&#]" + _SECRETS + r"=)"
_PARAMETERS = {
    # A text's own punctuation after an address is not the address's.
    False: re.compile(
        rf"{_PARAMETER}({_REFERENCE}|[^&\s'\"<>]*[^&\s'\"<>.,:;)\]}}])", re.IGNORECASE
    ),
    True: re.compile(rf"{_PARAMETER}([^&]+)", re.IGNORECASE),
}
_ODBC = {
    whole: re.compile(
        r"((?:[;=]|%(?:25)*3[BD])(?:\s|\+|%(?:25)*20)*" + _SECRETS + r"(?:=|%(?:25)*3D))"
        r"(\{(?:[^}]|\}\})*\}|%(?:25)*7B(?:(?!%(?:25)*7D).|(?:%(?:25)*7D){2})*%(?:25)*7D"
        rf"|(?:(?!%(?:25)*3B)[^;&{end}])+)",
        re.IGNORECASE,
    )
    for whole, end in ((False, r"\s'\"<>"), (True, ""))
}


def redact(text: str) -> str:
    """A text without the secrets of the addresses in it."""
    return "\n".join(_shown(line, False) for line in text.split("\n"))


def redacted(value: Value) -> Value:
    """The same value without the secrets of addresses, in lists and mappings too."""
    shown: Any = value
    if isinstance(value, str):
        shown = "\n".join(_shown(line, True) for line in value.split("\n"))
    elif isinstance(value, dict):
        shown = {key: redacted(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        shown = type(value)(redacted(item) for item in value)
    return shown  # type: ignore[no-any-return]


def _shown(line: str, whole: bool) -> str:
    """A line without secrets; what is shown once is shown the same again."""
    while (shown := _line(line, whole)) != line:
        line = shown
    return line


def _line(line: str, whole: bool) -> str:
    """One line, in which each address reaches to the next one at most."""
    if not any(sign in line for sign in ("=", "://", "%3")):
        return line
    shown, place = "", 0
    while (found := line.find("://", place)) >= 0:
        start = found + 3
        scheme = line[len(line[:found].rstrip(_IN_SCHEME)) : found]
        shown += _parameters(line[place:found], False) + "://"
        following = line.find("://", start)
        end = len(line) if following < 0 else start + len(line[start:following].rstrip(_IN_SCHEME))
        user = _user(scheme, line[start:end], line[start:], whole)
        shown += _hidden(scheme, user)
        place = start + len(user)
        if place < end:
            shown += _parameters(line[place:end], whole and end == len(line))
            place = end
    return shown + _parameters(line[place:], whole and not shown)


def _user(scheme: str, own: str, rest: str, whole: bool) -> str:
    """The user and password at the beginning of an address; empty where there are none.

    `own` is what the address may reach to, `rest` all that follows in the line. Clients end a host
    at the first of `/?#`; a password with one of these is still a password, though it was to be
    encoded.
    """
    authority = _beginning(_AUTHORITY, own)
    end = authority.rfind("@")
    if end < 0:
        # 12/ab can be a database's password, and is a port and a path of any other address.
        numbered = "http" not in scheme and ":" in authority and "@" in _path(own, whole=False)
        if _HOST.match(rest) and not numbered:
            return ""
        end = rest.find("@")
    while end >= 0 and not _HOST.match(rest, end + 1) and (more := rest.find("@", end + 1)) > 0:
        end = more
    if ":" in rest[: max(end, 0)] and (more := _path(own[end + 1 :], whole).rfind("@")) >= 0:
        end += 1 + more
    return rest[: max(end, 0)]


def _path(text: str, whole: bool) -> str:
    """The beginning of a text that is an address's, up to its query."""
    return _QUERY.split(text if whole else _beginning(_WORD, text), maxsplit=1)[0]


def _beginning(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.match(text)
    return found[0] if found else ""


def _hidden(scheme: str, shown: str) -> str:
    """A user and password without the latter; of the web, a user alone is a token."""
    user = _beginning(_USER, shown)
    colon, password = shown[len(user) : len(user) + 1], shown[len(user) + 1 :]
    if "http" in scheme and password in ("", "x-oauth-basic"):
        user = _hide(user)
    return f"{user}{colon}{_hide(password)}"


def _parameters(text: str, whole: bool) -> str:
    for pattern in (_PARAMETERS[whole], _ODBC[whole]):
        text = pattern.sub(lambda found: found[1] + _hide(found[2]), text)
    return text


def _hide(secret: str) -> str:
    return secret if _OPEN.fullmatch(secret) else _HIDDEN


class RedactingFormatter(logging.Formatter):
    """Formats a log's records, tracebacks included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a text without secrets."""
        return redact(super().format(record))
