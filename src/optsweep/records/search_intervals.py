"""The text of a searched interval, as it is typed and recorded: `interval(1e-05,1)`."""

import re
from collections.abc import Mapping, Sequence

DECADE = 10.0  # a positive interval that spans more than this is searched by ratios


def is_wide(low: float, high: float) -> bool:
    """Whether an interval is positive and spans more than a decade."""
    return low > 0 and high / low > DECADE


def read_interval(text: str) -> tuple[float, float, bool] | None:
    """The ends of an interval as `Interval` writes it, and whether it is searched by ratios.

    None where the text is no interval.
    """
    found = re.search(r"interval\(([^,()]+),([^,()]+)\)", text)
    if found is None:
        return None
    low, high = float(found[1]), float(found[2])
    return low, high, "tag(log" in text or (is_wide(low, high) and "tag(linear" not in text)


def in_words(drawn: Mapping[str, Sequence[str]]) -> str:
    """What a value is drawn from: the texts, of several with the optimizers that each goes with."""
    if len(drawn) == 1:
        return next(iter(drawn))
    return "; ".join(
        f"{text} with {','.join(dict.fromkeys(names))}" if names else text
        for text, names in drawn.items()
    )


def drawn_with(words: str, optimizer: str) -> str:
    """The part of such words that an optimizer goes with; empty where there is no one such part."""
    parts = [part.partition(" with ") for part in words.split("; ")]
    own = [text for text, _, names in parts if not names or optimizer in names.split(",")]
    return own[0] if len(own) == 1 else ""


def is_several(words: str) -> bool:
    """Whether such words hold several texts."""
    return "; " in words
