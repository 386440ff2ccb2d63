"""Commands forked from a process that has imported what they all import, which takes seconds.

A sweep takes five to eight seconds of a core for its imports, and as many again in the server that
its workers are forked from. Forked they take neither. All else is as it was: a process of its own
with its own pid, session, folder and environment, a child of the process that starts it.

Each process of tests has a process that forks, each command too, for the Pythons that it starts.
Those with an environment that changes imports start as ever, and so do all in a plain run, whose
few commands would not make up for what the process itself imports.
"""

import ctypes
import gc
import inspect
import json
import multiprocessing.process
import os
import re
import runpy
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import util
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

from support.environment import environment

_AROUND = environment()
_IMPORTS_DEPEND_ON = re.compile(r"PYTHON(?!PATH$)|OMP_|MKL_|LD_|MALLOC_|MPL")
_PR_SET_CHILD_SUBREAPER = 36  # of Linux's <sys/prctl.h>
_LENGTH = struct.Struct("!Q")
_start: Any = subprocess.Popen._execute_child  # type: ignore[attr-defined]  # private: it alone has a process's files
_spawn = util.spawnv_passfds
_asking = threading.Lock()
# What a command and its workers import, but for what does something when it is imported.
_IMPORTED = (
    "torchvision.datasets",
    "optsweep.api",
    "optsweep.cli.commands.report",
    "optsweep.cli.commands.verdict",
    "optsweep.cli.launching",
    "optsweep.cli.main",
    "optsweep.execution.worker",
    "optsweep.models.architectures",
    "optsweep.report.figures.picture_grids",
    "optsweep.report.figures.run",
    "optsweep.report.figures.sweep",
    "optsweep.sweep.single_run",
    "optsweep.sweep.sweep",
)
_channel: socket.socket | None = None  # to the process that forks for this one
_is_forking = False


def fork_commands() -> None:
    """Has commands forked from now on, where that is the same."""
    global _is_forking
    _is_forking = True


class Command(subprocess.Popen[str]):
    """A process of Python: a script, `-m MODULE` or `-c CODE`, forked where that is the same."""

    def _execute_child(self, *given: Any, **named: Any) -> None:
        _execute_child(self, *given, **named)


def _execute_child(process: Any, *given: Any, **named: Any) -> None:
    """Does what `Popen` calls to start a process."""
    asked = inspect.signature(_start).bind(process, *given, **named).arguments
    around = os.environ if asked["env"] is None else asked["env"]
    if not _is_forkable(asked, around):
        _start(process, *given, **named)
        return
    pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
    files = [asked[name] for name in ("p2cread", "c2pwrite", "errwrite")]
    files = [number if file == -1 else file for number, file in enumerate(files)]
    process.pid = _ask(
        _forking(),
        files,
        arguments=[os.fspath(word) for word in asked["args"][1:]],
        folder=os.fspath(asked["cwd"] or Path.cwd()),
        environment=dict(around),
        session=asked["start_new_session"],
    )
    process._child_created = True
    process._close_pipe_fds(*(asked[name] for name in pipes))


def _is_forkable(asked: Mapping[str, Any], around: Mapping[str, str]) -> bool:
    if not _is_forking or sys.platform != "linux" or list(asked["args"][:1]) != [sys.executable]:
        return False
    how = os.fspath(asked["args"][1])
    changed = {name for name in {*_AROUND, *around} if _AROUND.get(name) != around.get(name)}
    return (
        (how in ("-m", "-c") or not how.startswith("-"))
        and not any(map(_IMPORTS_DEPEND_ON.match, changed))
        and not any(map(_replaces_what_is_imported, _folders(around)))
        and not asked["pass_fds"]
        and all(asked[name] is None for name in ("preexec_fn", "uid", "gid", "gids"))
        and asked["umask"] == asked["process_group"] == -1
    )


def _folders(around: Mapping[str, str]) -> list[str]:
    return [folder for folder in around.get("PYTHONPATH", "").split(os.pathsep) if folder]


def _replaces_what_is_imported(folder: str) -> bool:
    """Whether a module of a folder has the name of one that could be imported without it."""
    packages = (path.parent for path in Path(folder).glob("*/__init__.py"))
    return any(find_spec(path.stem) for path in (*Path(folder).glob("*.py"), *packages))


def _forking() -> socket.socket:
    """The channel to the process that forks for this one, and ends with it."""
    global _channel
    if _channel is None:
        _channel, theirs = socket.socketpair()
        tests = str(Path(__file__).parent.parent)
        code = f"import sys; sys.path[0] = {tests!r}; from support import forked; "
        code += f"forked.answer({theirs.fileno()})"
        command = [sys.executable, "-c", code]
        subprocess.Popen(command, env=_AROUND, pass_fds=[theirs.fileno()])
        theirs.close()
    return _channel


def _ask(channel: socket.socket, files: Sequence[int], **request: Any) -> int:
    """Has a process forked, which becomes a child of this one; returns its pid."""
    with _asking:
        _adopt_orphans(True)
        try:
            _send(channel, {"parent": os.getpid(), **request}, files)
            pid, _ = _receive(channel)
        finally:
            _adopt_orphans(False)
    return int(pid)


def _adopt_orphans(whether: bool) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(whether), 0, 0, 0)


def _send(channel: socket.socket, message: Any, files: Sequence[int] = ()) -> None:
    content = json.dumps(message).encode()
    socket.send_fds(channel, [_LENGTH.pack(len(content))], list(files))
    channel.sendall(content)


def _receive(channel: socket.socket) -> tuple[Any, list[int]]:
    """What `_send` sent, with files as they are numbered here; EOFError where nobody is there."""
    header, files, _, _ = socket.recv_fds(channel, _LENGTH.size, 16)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    content = bytearray()
    while len(content) < length:
        content += channel.recv(length - len(content))
    return json.loads(content), files


def _answer(channel: socket.socket) -> NoReturn:
    """Forks a process for each request, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks, and for commands
    while True:
        try:
            request, files = _receive(channel)
        except (EOFError, OSError):
            os._exit(0)  # nothing is taken apart: that takes a second
        _send(channel, _fork(channel, request, files))
        for number in files:
            os.close(number)


def _fork(channel: socket.socket, request: Any, files: Sequence[int]) -> int:
    """The pid of a process that does what is asked.

    Its parent ends at once, so that it becomes a child of whoever asks, and adopts orphans.
    """
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        pid = os.fork()
        if pid == 0:
            for number in (channel.fileno(), reading, writing):
                os.close(number)
            _become(request, files)
        os.write(writing, pid.to_bytes(8))
        os._exit(0)
    os.waitpid(between, 0)
    pid = int.from_bytes(os.read(reading, 8))
    os.close(reading)
    os.close(writing)
    return pid


def _become(request: Any, files: Sequence[int]) -> NoReturn:
    """Does what a Python does that is started with these arguments, files and environment."""
    while os.getppid() != request["parent"]:
        time.sleep(0.001)
    os.chdir(request["folder"])
    patch.object(multiprocessing.process, "ORIGINAL_DIR", request["folder"]).start()
    for name in set(os.environ) - _added.keys():
        del os.environ[name]
    os.environ.update(_added | request["environment"])
    sys.path[1:] = [*_folders(os.environ), *_path]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.enable()
    if "numbers" in request:  # multiprocessing starts it
        if "forkserver" in request["arguments"][1]:
            Path("/proc/self/comm").write_text("forkserver")  # by which tests find it
        _renumber(files, request["numbers"])
        _leave_after(lambda: _do(request["arguments"]))
    if request["session"]:
        os.setsid()
    _renumber(files, range(3))
    _open_streams()
    _fork_for_this()
    _leave_after(lambda: _do(request["arguments"]))


def _renumber(files: Sequence[int], numbers: Sequence[int]) -> None:
    """Gives open files the numbers under which they are expected, whatever is open there."""
    above = 1 + max(*files, *numbers)
    for place, file in enumerate(files):
        os.dup2(file, above + place)
        os.close(file)
    for place, number in enumerate(numbers):
        os.dup2(above + place, number)
        os.close(above + place)


def _open_streams() -> None:
    """Opens the standard streams as Python does when it starts."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        new = os.fdopen(number, old.mode, encoding=old.encoding, errors=old.errors, closefd=False)
        new.reconfigure(line_buffering=name == "stderr" or new.isatty())
        new.buffer.raw.name = f"<{name}>"
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def _fork_for_this() -> None:
    """Has the Pythons that this process starts forked too, from one that is as new as it is."""
    global _channel
    ours, theirs = socket.socketpair()
    _channel = ours
    if os.fork() == 0:
        ours.close()
        _answer(theirs)
    theirs.close()

    def spawn(path: bytes, arguments: list[str], files: Sequence[int]) -> int:
        if "resource_tracker" in arguments[-1]:  # which imports next to nothing
            return _spawn(path, arguments, files)
        around = {"folder": str(Path.cwd()), "environment": dict(os.environ)}
        code = arguments[arguments.index("-c") :]
        return _ask(ours, files, arguments=code, numbers=list(files), **around)

    patch.object(util, "spawnv_passfds", spawn).start()
    patch.object(subprocess.Popen, "_execute_child", _execute_child).start()
    fork_commands()


def _do(arguments: Sequence[str]) -> None:
    """Runs a script, `-m MODULE` or `-c CODE`, with what follows as its arguments."""
    sys.orig_argv = [sys.executable, *arguments]
    how, *rest = arguments
    if how == "-m":
        sys.argv, sys.path[0] = rest, str(Path.cwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if how == "-c":
        sys.argv, sys.path[0] = ["-c", *rest[1:]], ""
        exec(rest[0], vars(main))
    else:
        path = Path(how).resolve()
        sys.argv, sys.path[0], main.__file__ = list(arguments), str(path.parent), str(path)
        exec(compile(path.read_bytes(), how, "exec"), vars(main))


def _leave_after(program: Callable[[], object]) -> NoReturn:
    """Ends this process after a program, with the exit code that Python would give it."""
    from optsweep.system.process import leave

    try:
        program()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    except BaseException as error:
        traceback.print_exc()
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        leave(1)
    leave(0)


_path = [path for path in sys.path[1:] if path not in _folders(os.environ)]
_added: dict[str, str] = {}  # to the environment, by imports


def answer(number: int) -> NoReturn:
    """What the process does that forks for a process of tests, which asks at an open socket."""
    gc.disable()
    given = set(os.environ)
    for name in _IMPORTED:
        import_module(name)
    _added.update({name: os.environ[name] for name in set(os.environ) - given})
    gc.freeze()
    _answer(socket.socket(fileno=number))
