"""What can go wrong, as one family, so that a caller catches what it can answer.

OptsweepError           the message is one line for a person: what was given, what is
│                       allowed, what to type instead; no traceback is shown
├── SettingsError       a value on the command line or in conf/ cannot be used
│   ├── StringRefused   it stands in a string that is itself overrides
│   └── UnknownArgument what an option builds takes no argument of that name
├── DatasetError        pictures are missing, corrupt or out of reach
├── ModelError          a trained model is missing, corrupt or of other code
├── TrackingError       the MLflow store does not answer or cannot be used
│   └── Unreachable     it does not answer for now: the same call can be sent again
│       └── CallFailed  it answers, and failed at this call (500): others may succeed
├── FolderError         a folder cannot be written
└── RunsFailed          runs of a sweep failed; each failure was shown when it happened

StackFailed             runs of a stack have to continue in smaller stacks
TaskFailed              a task could not be sent, run or answered; trying it again would not help
TimedOut                a task took too long (a BaseException, which no handler of errors takes)
Terminated              SIGTERM, as the interrupt that Ctrl-C is (a KeyboardInterrupt)
"""

import difflib
from collections.abc import Iterable, Sequence


class OptsweepError(Exception):
    """Something that the person at the command line can put right."""


class SettingsError(OptsweepError):
    """A value on the command line or in conf/ cannot be used."""


class StringRefused(SettingsError):
    """Bad input in a string that is itself overrides: where it stands, and what was refused.

    `arguments` are the string's, and those that stand beside it.
    """

    def __init__(self, where: str, reason: Exception, arguments: Sequence[str]) -> None:
        super().__init__(f"{where}: {reason}")
        self.where, self.reason, self.arguments = where, reason, arguments


class UnknownArgument(SettingsError):
    """What an option builds takes no argument of that name; `group` is the option's."""

    def __init__(self, message: str, group: str) -> None:
        super().__init__(message)
        self.group = group


class DatasetError(OptsweepError):
    """Pictures are missing, corrupt or out of reach."""


class ModelError(OptsweepError):
    """A trained model is missing, corrupt, or of code that is not here."""


class TrackingError(OptsweepError):
    """The MLflow store does not answer or cannot be used."""


class Unreachable(TrackingError):
    """The store does not answer for now; the same call can be sent again."""


class CallFailed(Unreachable):
    """The store answered that it failed at this one call; it may take others."""


class FolderError(OptsweepError):
    """A folder cannot be written."""


class RunsFailed(OptsweepError):
    """Runs of a sweep failed, and were shown as such; the others finished."""


class StackFailed(Exception):
    """A stack failed; its runs are unharmed and continue in smaller stacks.

    `out_of_memory` says that halves of the stack may fit; otherwise each run continues alone, so
    that only the one at fault fails.
    """

    def __init__(self, reason: str, out_of_memory: bool = False) -> None:
        super().__init__(reason, out_of_memory)
        self.out_of_memory = out_of_memory

    def __str__(self) -> str:
        return str(self.args[0])


class TaskFailed(Exception):
    """A task could not be sent to a worker, run or answered; the message says why."""


class TimedOut(BaseException):
    """A task took too long. It is no error that a library's or a model's own handler could take."""


class Terminated(KeyboardInterrupt):
    """SIGTERM was received: everything that Ctrl-C ends in order ends so here too."""


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """The allowed spelling closest to `given`, or None where nothing is close."""
    matches = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    return matches[0] if matches else None
