"""What a `_target_` names, also in a module of a user's own.

A module that Python does not find is looked for in the current folder, and in the folder that holds
conf/. Both are added behind everything else that Python knows, and only then: a file there never
takes the place of a library.
"""

import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optsweep.errors import nearest
from optsweep.system import project_folder
from optsweep.system.exceptions import reason

# Packages that options of conf/ name, and the extras that hold them.
_EXTRAS = {"schedulefree": "optimizers", "pytorch_optimizer": "optimizers", "timm": "timm"}


def find(path: str) -> Any:
    """What a dotted path names: something in a module, or the module itself.

    Raises:
        Exception, SystemExit: there is no such thing, or what its module raises.
    """
    try:
        return _named(path)
    except ModuleNotFoundError:
        added = [folder for folder in _folders() if folder not in sys.path]
        if not added:
            raise
    before = sys.path[:]
    sys.path += added
    importlib.invalidate_caches()
    try:
        return _named(path)
    except BaseException:
        sys.path[:] = before
        raise


def _named(path: str) -> Any:
    """As `pkgutil.resolve_name`, which does not say why a module inside a package fails."""
    parts = path.split(".")
    for count in range(max(1, len(parts) - 1), 0, -1):
        module = ".".join(parts[:count])
        try:
            found: Any = pkgutil.resolve_name(f"{module}:")
        except ModuleNotFoundError as error:
            if count == 1 or not f"{module}.".startswith(f"{error.name}."):
                raise
        else:
            break
    for name in parts[count:]:
        found = getattr(found, name)
    return found


def why_not(path: str, error: BaseException) -> str:
    """Why a path cannot be imported, and what to do about it."""
    top = path.partition(".")[0]
    if top == "__main__":
        name = path.rpartition(".")[2]
        return (
            "(workers cannot import what a notebook's cell or the main script defines); put it in "
            f"a file, such as nets.py in {_folders()[0]}, and name it as nets.{name}"
        )
    lacking = (isinstance(error, ModuleNotFoundError) and error.name) or ""
    if extra := _EXTRAS.get(lacking):
        return f"({reason(error)}); type pip install 'optsweep[{extra}]'"
    is_within = isinstance(error, AttributeError) or "not a package" in str(error)
    if lacking and f"{path}.".startswith(f"{lacking}.") and not is_within:
        folders = _folders()
        looked = " and ".join(folders)
        return f"({error}); make {top}.py in {folders[0]} (looked in {looked})"
    if is_within and (module := sys.modules.get(top)):
        return f"({error}{_in_its_place(top, module)}){_meant(path)}"
    return f"({reason(error)})"


def _in_its_place(top: str, module: Any) -> str:
    """What to say where a library's module is found in the place of a user's own file."""
    file = str(getattr(module, "__file__", None) or "Python itself")
    own = [place for folder in _folders() for place in _files(folder, top) if place.exists()]
    if not own or Path(file) in own:
        return ""
    return f": {top} is found in {file} before {own[0]}; give your file another name"


def _files(folder: str, top: str) -> Sequence[Path]:
    return Path(folder, f"{top}.py"), Path(folder, top, "__init__.py")


def _meant(path: str) -> str:
    """The nearest name in the module that a path names."""
    module, _, name = path.rpartition(".")
    best = nearest(name, [each for each in dir(sys.modules.get(module)) if each[0] != "_"])
    return f"; did you mean {module}.{best}?" if best and module in sys.modules else ""


def _folders() -> list[str]:
    """The folders in which a user's own modules are looked for."""
    return list(dict.fromkeys([str(Path.cwd()), str(project_folder.folder())]))
