"""Values and texts as a person types and reads them.

`label` words a value for tables, figures and pages, and `printable` any text; `identity` is the
same for equal values, whether typed, composed or read back."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

# What MLflow calls the splits, and what a person calls them.
SPLIT_NAMES = {"val": "validation", "test": "test", "train": "training"}

# Colours and cursor moves, titles, character sets, and any other escape of two signs.
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[ -/]+[0-~]|.)")


def named(values: Mapping[str, Any], digits: int = 6) -> str:
    """Values on one line, the optimizer first and by its name alone: `adam lr=0.001`."""
    words = [label(values["optimizer"])] if "optimizer" in values else []
    others = [key for key in values if key != "optimizer"]
    words += [f"{printable(key)}={label(values[key], digits)}" for key in others]
    return " ".join(words)


def printable(text: str) -> str:
    """The text without what would steer a terminal or turn the text after it around."""
    plain = re.sub(r"\r\n?", "\n", _ESCAPES.sub("", text))
    plain = re.sub("[\u202a-\u202e\u2066-\u2069]", "", plain)
    # Surrogates stand for bytes that were no text.
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", plain)


def label(value: Any, digits: int = 6) -> str:
    """A value as a person types it, numbers rounded: `1e-5`, `true`, `null`, `[512,512]`."""
    if isinstance(value, str):
        return printable(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float):
        return re.sub(r"e\+?(-?)0*", r"e\1", f"{value:.{digits}g}")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{label(each, digits)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(label(each, digits) for each in value) + "]"
    return str(value)


def points(difference: float) -> str:
    """A difference of accuracies in points, one digit behind the point, two below a tenth."""
    value = 100 * difference
    digits = 1 if abs(value) >= 0.095 or abs(value) < 5e-10 else 2
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def identity(value: Any) -> str:
    """The same for equal values, whether typed, composed or read back: 10, 10.0 and "10"."""
    return label(value, 17)


def is_number(value: Any) -> bool:
    """Whether the value is a finite number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def ascending(choices: Sequence[Any]) -> list[Any]:
    """Numbers by size; where there is anything else, the order given."""
    return sorted(choices) if all(map(is_number, choices)) else list(choices)


def distinct(values: Iterable[Any]) -> list[Any]:
    """The values, each once, where it came first."""
    found: dict[str, Any] = {}
    for value in values:
        found.setdefault(identity(value), value)
    return list(found.values())
