"""What can go wrong, as one family, so that a caller catches what it can answer.

OptsweepError           the message is one line for a person: what was given, what is
│                       allowed, what to type instead; no traceback is shown
├── SettingsError       a value on the command line or in conf/ cannot be used
├── DatasetError        pictures are missing, corrupt or out of reach
├── TrackingError       the MLflow store does not answer or cannot be used
├── FolderError         a folder cannot be written
└── RunsFailed          runs of a sweep failed; each was told of when it happened

Terminated              SIGTERM, as the interrupt that Ctrl-C is (a KeyboardInterrupt)
"""

import difflib
from collections.abc import Iterable


class OptsweepError(Exception):
    """Something that the person at the command line can put right."""


class SettingsError(OptsweepError):
    """A value on the command line or in conf/ cannot be used."""


class DatasetError(OptsweepError):
    """Pictures are missing, corrupt or out of reach."""


class TrackingError(OptsweepError):
    """The MLflow store does not answer or cannot be used."""


class FolderError(OptsweepError):
    """A folder cannot be written."""


class RunsFailed(OptsweepError):
    """Runs of a sweep failed, and were told of; the others were carried out."""


class Terminated(KeyboardInterrupt):
    """SIGTERM was received: everything that Ctrl-C ends in order ends so here too."""


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """The allowed spelling closest to `given`, or None where nothing is close."""
    matches = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    return matches[0] if matches else None
