"""Exceptions as one line, without secrets."""

from optsweep.system.redaction import redact


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its kind where it has none."""
    return _message(error) or type(error).__name__


def describe(error: BaseException) -> str:
    """An exception as one line: its kind and the first line of its message, without secrets."""
    return redact(": ".join(filter(None, [type(error).__name__, _message(error)])))


def _message(error: BaseException) -> str:
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # an exception of somebody else's may fail even here
        return ""
    return lines[0].strip() if lines else ""
