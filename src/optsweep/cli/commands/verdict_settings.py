"""How scores are judged, whether of tables or of a store: the arguments that both have."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from optsweep.errors import SettingsError
from optsweep.system.redaction import redact
from optsweep.verdict.scores.answer import Answer
from optsweep.verdict.scores.rows import LARGEST

REFUSED = 2  # exit code: nothing was judged
UNDECIDED = 3  # exit code, with decided=true


@dataclass(frozen=True)
class VerdictSettings:
    """How scores are judged, and whether the exit code says that it is undecided who is best."""

    higher: bool
    margin: float
    lost: float | None
    decided: bool

    @classmethod
    def of(cls, options: Mapping[str, str]) -> "VerdictSettings":
        """The settings as they were typed.

        Raises:
            SettingsError: one cannot be used.
        """
        margin = _number("margin", options["margin"])
        if margin <= 0:
            raise SettingsError(f"margin={options['margin']}: type a number above 0")
        lost = _number("lost", options["lost"]) if options["lost"] else None
        return cls(_yes("higher", options), margin, lost, _yes("decided", options))

    def exit_code(self, answer: Answer) -> int:
        """The exit code of an answer."""
        return UNDECIDED if self.decided and not answer.is_decided else 0


def _yes(name: str, options: Mapping[str, str]) -> bool:
    if options[name] not in ("true", "false"):
        raise SettingsError(f"{name}={options[name]}: type {name}=true or {name}=false")
    return options[name] == "true"


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) < LARGEST:
        raise SettingsError(f"{name}={text}: type a number, such as {name}=0.1")
    return number


def refused(error: Exception) -> int:
    """Says in one line why nothing was judged; returns the exit code."""
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.filename or 'output'}: {error.strerror or error}"
    print(f"error: {redact(' '.join(text.split()))}", file=sys.stderr)
    return REFUSED
