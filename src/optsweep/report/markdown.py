"""Texts for MLflow's page, which shows descriptions in Markdown: what sweeps and runs have alike.

The page shows tables, links and pictures of such a text. What the same server has is found by
relative addresses, behind a proxy too. Workers import this: it imports nothing heavy.
"""

from collections.abc import Mapping, Sequence

from optsweep.records.values import label, printable

_SIGNS = {sign: f"\\{sign}" for sign in "\\`*_[]#|~"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ESCAPES = str.maketrans(_SIGNS)
_SETTINGS = ("model", "dataset", "loss", "schedule", "batch_size", "epochs")


def of_run(name: str, params: Mapping[str, object], sweep: str | None) -> str:
    """A run's description: its configuration, and a link to the page of its sweep."""
    known = [f"{key.replace('_', ' ')} {label(params[key])}" for key in _SETTINGS if key in params]
    within = f", of [this sweep]({sweep})" if sweep else ""
    return joined([f"**{text(name)}**{within}", text(", ".join(known))])


def page_of(experiment_id: str, run_id: str) -> str:
    """The address of a run within MLflow's page."""
    return f"#/experiments/{experiment_id}/runs/{run_id}"


def text(words: str) -> str:
    """Words on one line, none of whose signs is Markdown or HTML."""
    return " ".join(printable(words).split()).translate(_ESCAPES)


def code(typed: str) -> str:
    """What is typed, as a block, sign for sign."""
    return "\n".join(f"    {line}" for line in printable(typed).split("\n"))


def joined(parts: Sequence[str]) -> str:
    """The parts that hold something, a paragraph each."""
    return "\n\n".join(part for part in parts if part)
