"""Exceptions as one line, without secrets, and where in a user's own code they were raised."""

import os
import sysconfig
import traceback
from contextlib import suppress
from pathlib import Path

from optsweep.system.redaction import redact

_OWN = str(Path(__file__).resolve().parent.parent)
_LIBRARIES = (_OWN, *(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")))


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its kind where it has none."""
    return _message(error) or type(error).__name__


def describe(error: BaseException) -> str:
    """An exception as one line: its kind and the first line of its message, without secrets."""
    return redact(": ".join(filter(None, [type(error).__name__, _message(error)])))


def reason(error: BaseException) -> str:
    """Why something failed, in one line: with kind and place, where a user's own code raised it."""
    place = place_of(error)
    words = f"{describe(error)}, in {place}" if place else first_line(error)
    return " ".join(words.split())


def place_of(error: BaseException) -> str:
    """File and line of the last call in code that is neither a library's nor ours; "" if none."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    for file, line in reversed(places):
        if is_users(file):
            with suppress(ValueError):
                file = str(Path(file).relative_to(Path.cwd()))
            return f"{file}:{line}"
    return ""


def is_users(file: str) -> bool:
    """Whether a file holds code of a user's own."""
    installed = {"site-packages", "dist-packages"} & set(Path(file).parts)
    inside = any(file.startswith(folder + os.sep) for folder in _LIBRARIES)
    return not (file.startswith("<") or installed or inside)


def _message(error: BaseException) -> str:
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # an exception of somebody else's may fail even here
        return ""
    return lines[0].strip() if lines else ""
