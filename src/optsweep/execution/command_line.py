"""The command `optsweep` as a process of its own, run by a program that waits for its end.

A sweep's workers import the script that started it, and a sweep answers Ctrl-C and SIGTERM in a
way of its own. So a program or a notebook that calls for a sweep is given a process: its own main
script needs no guard, and its handlers stay. The process ends in order when that program ends.
"""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from optsweep.errors import RunsFailed, SettingsError
from optsweep.system.redaction import redact

_ANSWER = "OPTSWEEP_ANSWER"  # in the process's environment: where its answer goes
_CALLER = "OPTSWEEP_CALLER"  # that a program waits for it
_ERROR, _NEVER = "error: ", "\0"  # how a line begins that is kept back
_STRAGGLING = 5.0  # seconds that output is read on after the end of the process


@dataclass(frozen=True)
class Ended:
    """How the process ended: its exit code, the line of its error, and what it answered."""

    code: int
    error: str
    answer: Mapping[str, str] | None


def answer(content: Mapping[str, str]) -> None:
    """Hands content to the program that waits for this process, if one does."""
    if end := os.environ.get(_ANSWER):
        with suppress(OSError):  # it does not wait any more
            os.write(int(end), json.dumps(content).encode())


def end_with_caller() -> None:
    """Has this process end, as by SIGTERM, with the program that waits for it, if one does.

    What it still prints then goes nowhere.
    """
    if os.environ.pop(_CALLER, ""):
        sys.stdout, sys.stderr = map(_unheard, (1, 2))
        threading.Thread(target=_watch_caller, daemon=True).start()


def _watch_caller() -> None:
    """Waits for the end of the caller, which holds the other end of this process's input.

    Linux's own signal for that comes once for each of its threads, and cuts an orderly end short.
    """
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _unheard(number: int) -> io.TextIOWrapper:
    stream = io.BufferedWriter(_Unheard(number, "w", closefd=False))
    return io.TextIOWrapper(stream, "utf-8", "replace", line_buffering=True)


class _Unheard(io.FileIO):
    """A stream whose reader may be gone."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data))


def run_command(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Ended:
    """Runs `optsweep ARGUMENTS` in a folder and shows what it prints.

    A terminal is the process's own, with its progress bars. Elsewhere, as in a notebook's cell, its
    lines are written to `sys.stdout` as they come. The line of an error is not shown but returned.

    Raises:
        KeyboardInterrupt: Ctrl-C, or a kernel's interrupt; the process has ended in order.
    """
    ours, theirs = os.pipe()  # no file: an address in the answer may hold a password
    is_terminal = sys.stdout.isatty()
    kept = os.environ if is_terminal else _without_colours(os.environ)
    own = {_ANSWER: str(theirs), _CALLER: "waits"}
    os.set_blocking(ours, False)  # all is there once the process has ended
    with io.FileIO(ours) as answers:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "optsweep", *arguments],
            cwd=folder,
            env={**kept, **(environment or {}), **own},
            stdin=subprocess.PIPE,
            stdout=None if is_terminal else subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            pass_fds=[theirs],
            # Ctrl-C reaches this process alone, which passes it to the other once.
            process_group=0,
        )
        os.close(theirs)
        with process:
            lines = _Shown(process)
            interrupted = _wait(process)
            error = lines.end()
        if interrupted:
            raise KeyboardInterrupt
        found = answers.read()
    return Ended(process.returncode, error, json.loads(found) if found else None)


def _without_colours(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what makes a kernel's cell look like a terminal."""
    names = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    return {name: text for name, text in environment.items() if name not in names}


def _wait(process: "subprocess.Popen[str]") -> bool:
    """Waits for the end of the process, and passes interrupts to it; says if there was one."""
    interrupted = False
    while True:
        try:
            process.wait()
            return interrupted
        except KeyboardInterrupt:
            interrupted = True
            process.send_signal(signal.SIGINT)


class _Shown:
    """Shows the lines of a process as they come, and keeps back that of its error."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._errors: list[str] = []
        pairs = [(process.stdout, sys.stdout, _NEVER), (process.stderr, sys.stderr, _ERROR)]
        self._threads = [
            threading.Thread(target=self._show, args=each, daemon=True) for each in pairs if each[0]
        ]
        for thread in self._threads:
            thread.start()

    def _show(self, lines: IO[str], stream: IO[str], kept: str) -> None:
        for line in lines:
            if line.startswith(kept):
                self._errors.append(line.removeprefix(kept).strip())
            else:
                stream.write(line)
                stream.flush()

    def end(self) -> str:
        """The last error, once all lines are shown."""
        for thread in self._threads:
            thread.join(_STRAGGLING)
        return self._errors[-1] if self._errors else ""


def words(overrides: str | Sequence[str]) -> list[str]:
    """Overrides as a shell parts them.

    Raises:
        SettingsError: a quote is not closed.
    """
    if not isinstance(overrides, str):
        return list(overrides)
    try:
        return shlex.split(overrides)
    except ValueError as error:
        raise SettingsError(f"{overrides}: {error}; quote it as in a shell") from None


def quoted(text: str) -> str:
    """A text as one value of an override, whatever it holds."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def without_answer(code: int, error: str, typed: str) -> BaseException:
    """Why there is no sweep to return, by the exit code of the command."""
    if code == 0:
        return SettingsError(f"optsweep {redact(typed)} runs no sweep, so there is none to return")
    if code == 2:
        return SettingsError(error)
    if code == 130:
        return KeyboardInterrupt()
    ended = f"the sweep ended with exit code {code}, see its output; resume=true resumes it"
    return RunsFailed(error or ended)
