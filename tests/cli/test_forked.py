"""Commands that tests fork do what commands do that are started, with what takes long imported."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.environment import environment
from support.forked import Command

pytestmark = pytest.mark.long  # a plain run forks none

SAYS_ALL = """
import json, os, signal, sys

def said():
    return {
        "folder": os.getcwd(),
        "arguments": [sys.argv, sys.orig_argv[1:]],
        "path": sys.path,
        "main": [__name__, globals().get("__file__"), __spec__ and __spec__.name],
        "environment": {name: os.environ.get(name) for name in ("HERE", "PATH", "OMP_NUM_THREADS")},
        "typed": sys.stdin.read(),
        "streams": [(each.name, each.encoding, each.errors, each.line_buffering, each.isatty())
            for each in (sys.stdin, sys.stdout, sys.stderr)],
        "parent": os.getppid(),
        "leads": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
        "signals": [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)],
        "files": sorted(os.listdir("/proc/self/fd"))[:3],
    }

print(json.dumps(said(), default=str))
"""
STARTS_OTHERS = """
import multiprocessing, os, subprocess, sys

def answer(queue):
    queue.put((os.getppid() == multiprocessing.parent_process().pid, sys.argv[1:]))

if __name__ == "__main__":
    for way in ("forkserver", "spawn"):
        context = multiprocessing.get_context(way)
        queue = context.SimpleQueue()
        process = context.Process(target=answer, args=(queue,))
        process.start()
        print(way, queue.get(), process.join(), process.exitcode)
    print(subprocess.check_output([sys.executable, "-c", "import os; print(os.getppid())"])
        == b"%d\\n" % os.getpid())
"""
ENDINGS = (
    "pass",
    "sys.exit(3)",
    "sys.exit('with words')",
    "1 / 0",
    "raise KeyboardInterrupt",
    "os.kill(os.getpid(), 9)",
    "atexit.register(print, 'at the end'); print('first', end=' ')",
    "threading.Timer(0.2, print, ['from a thread']).start()",
    "print('to nobody', file=sys.stderr); os._exit(7)",
)
IMPORTED = "import sys; print('torch' in sys.modules)"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(SAYS_ALL)
    (tmp_path / "others.py").write_text(STARTS_OTHERS)
    return tmp_path


def ended(
    start: Start, folder: Path, *arguments: str, typed: str = "", **around: str
) -> tuple[int, str, str]:
    """The exit code of a Python in a session of its own, what it printed, and its last error."""
    with start(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(around),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        printed, errors = process.communicate(typed, timeout=120)
    return process.returncode, printed, errors.strip().rpartition("\n")[2]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("own.py", "a", "--b"), id="script"),
        pytest.param(("-m", "own", "a", "--b"), id="module"),
        pytest.param(("-c", SAYS_ALL, "a", "--b"), id="code"),
    ],
)
def test_a_forked_command_finds_all_as_one_that_is_started(
    program: Path, arguments: tuple[str, ...]
) -> None:
    around = {"HERE": "ä b", "PYTHONPATH": str(program)}
    forked, started = (
        ended(start, program, *arguments, typed="typed", **around)
        for start in (Command, subprocess.Popen)
    )
    assert started[0] == 0, started
    assert json.loads(started[1])["typed"] == "typed"
    assert json.loads(forked[1]) == json.loads(started[1])
    assert (forked[0], forked[2]) == (0, started[2])


@pytest.mark.parametrize("code", ENDINGS)
def test_a_forked_command_ends_as_one_that_is_started(tmp_path: Path, code: str) -> None:
    program = f"import atexit, os, sys, threading; {code}"
    forked, started = (
        ended(start, tmp_path, "-c", program) for start in (Command, subprocess.Popen)
    )
    assert forked == started


def test_what_a_forked_command_starts_is_its_child_and_forked_too(program: Path) -> None:
    forked, started = (
        ended(start, program, "others.py", "a") for start in (Command, subprocess.Popen)
    )
    assert forked == started
    assert started[1].endswith("True\n")
    code = f"import subprocess, sys; subprocess.run([{sys.executable!r}, '-c', {IMPORTED!r}])"
    assert ended(Command, program, "-c", code) == (0, "True\n", "")


def test_what_changes_imports_is_not_forked(tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    assert ended(Command, tmp_path, "-c", IMPORTED)[1] == "True\n"
    for around in ({"PYTHONHASHSEED": "1"}, {"PYTHONPATH": str(tmp_path)}):
        assert ended(Command, tmp_path, "-c", IMPORTED, **around)[1] == "False\n", around
    assert ended(subprocess.Popen, tmp_path, "-c", IMPORTED)[1] == "False\n"
