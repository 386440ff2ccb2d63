"""The text of a searched interval, as it is typed and recorded: `interval(1e-05,1)`."""

import re

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
