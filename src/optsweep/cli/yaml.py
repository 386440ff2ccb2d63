"""YAML as OmegaConf writes it, in a tenth of its time where PyYAML has its C code."""

from typing import Any

import yaml  # OmegaConf writes YAML with it too
from omegaconf._utils import OmegaConfDumper

_Fastest: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Fastest):  # type: ignore[misc]  # whose type depends on what was built
    """Quotes texts that OmegaConf would read as numbers: '1e-3'."""


_Dumper.add_representer(str, OmegaConfDumper.str_representer)


def to_yaml(content: Any) -> str:
    """Plain containers as YAML, in their order."""
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
