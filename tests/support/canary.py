"""Names the sentence that is no longer true when a canary test fails."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def canary(sentence: str) -> Iterator[None]:
    """Fails with the sentence where the block finds something else than what is relied on."""
    try:
        yield
    except Exception as error:
        pytest.fail(f"{sentence} It is not what it was: {type(error).__name__}: {error}")
