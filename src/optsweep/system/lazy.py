"""Public names of a package, imported when they are first asked for.

`import optsweep.models` must not import torch: start-up time depends on it. conf/ and users name
`optsweep.models.MLP` all the same, whichever module holds the class.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def public_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`: `modules` maps each public name to the module that defines it."""

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return find
