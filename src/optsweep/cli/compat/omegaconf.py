"""What is private in OmegaConf, or differs between OmegaConf 2.3 and 2.4.

It stands apart from Hydra's, which commands that need no Hydra do not wait for.
"""

from collections.abc import Callable
from typing import Any

import yaml  # OmegaConf writes YAML with it too
from omegaconf import OmegaConf
from omegaconf._utils import OmegaConfDumper

from optsweep.system.redaction import redacted


def register_resolver(name: str, resolver: Callable[..., Any]) -> None:
    """Gives `${name:...}` in conf/ its meaning, in place of an earlier one.

    OmegaConf 2.4 warns of `register_new_resolver`; its `register_resolver` was another one in 2.3.
    """
    known: Any = OmegaConf.register_resolver
    is_new = "replace" in known.__code__.co_varnames
    (known if is_new else OmegaConf.register_new_resolver)(name, resolver, replace=True)


_Fastest: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Fastest):  # type: ignore[misc]  # whose type depends on what was built
    """Quotes texts that OmegaConf would read as numbers: '1e-3'."""


_Dumper.add_representer(str, OmegaConfDumper.str_representer)


_written: dict[str, str] = {}  # what runs of a sweep share is written once
_MOST = 2000  # of these


def to_yaml(content: Any) -> str:
    """Plain containers as YAML, in their order, without the secrets of addresses.

    As OmegaConf writes it, by its private representer, in a tenth of its time where PyYAML has its
    C code.
    """
    if not isinstance(content, dict) or not content:
        return _dumped(content)
    if len(_written) > _MOST:
        _written.clear()
    items = {f"{key!r}: {value!r}": {key: value} for key, value in content.items()}
    return "".join(_written.get(text) or _keep(text, item) for text, item in items.items())


def _keep(text: str, item: dict[Any, Any]) -> str:
    _written[text] = _dumped(item)
    return _written[text]


def _dumped(content: Any) -> str:
    shown = redacted(content)
    return str(yaml.dump(shown, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
