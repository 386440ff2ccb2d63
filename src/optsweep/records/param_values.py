"""The values that MLflow's texts of parameters stand for."""

import ast
import contextlib
import re
from math import isfinite
from typing import Any

_CUT = 6000  # characters at which MLflow cuts a parameter


def value_of(text: str) -> Any:
    """The value that a parameter's text stands for: `0.001`, `None`, `[512, 512]`, or the text.

    Only what Python writes for numbers, None, true, false, lists and mappings is taken for such.
    """
    if text in ("None", "True", "False"):
        return {"None": None, "True": True, "False": False}[text]
    if re.fullmatch(r"[+-]?[0-9]{1,300}", text):
        return int(text)
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        value = float(text)
        return value if isfinite(value) else text
    if text[:1] in ("[", "{", "("):
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return ast.literal_eval(text)
    return text


def choices(text: str) -> list[Any]:
    """The choices in a parameter `grid.<key>`: separated by commas, those in brackets aside.

    The last of a list that MLflow has cut is left out.
    """
    pieces = _split(text)
    if len(pieces) == 1 and isinstance(value := value_of(pieces[0]), list):
        return value
    return [value_of(piece) for piece in (pieces[:-1] if len(text) >= _CUT else pieces)]


def _split(text: str) -> list[str]:
    pieces, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign in "[{(") - (sign in "]})")
        if sign == "," and depth <= 0:
            pieces.append(text[start:place])
            start = place + 1
    return [*pieces, text[start:]]
