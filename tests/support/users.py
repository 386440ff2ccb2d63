"""Doing something as another user of this machine, in a process of its own."""

import os
import pickle
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def as_user(number: int, what: Callable[[], Any], umask: int = 0o022) -> Any:
    """What a function returns in a forked process of that user; root alone can become one."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            content = answer.read()
        os.waitpid(child, 0)
        done, result = pickle.loads(content)
        assert done, result
        return result
    try:
        os.umask(umask)
        os.setgroups([])
        os.setgid(number)
        os.setuid(number)
        said = True, what()
    except BaseException:
        said = False, traceback.format_exc()
    with os.fdopen(writing, "wb") as answer:
        pickle.dump(said, answer)
    os._exit(0)


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder that all users of this machine may write into."""
    with tempfile.TemporaryDirectory() as made:  # pytest's own folders are closed to others
        folder = Path(made)
        folder.chmod(0o777)
        yield folder
