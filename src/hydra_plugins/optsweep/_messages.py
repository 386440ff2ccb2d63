"""Hydra's errors as one line that says what was given, what is allowed and what to type."""

def in_one_line(error: Exception, arguments: list[str]) -> str:
    return repr(error)
