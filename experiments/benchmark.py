"""How fast optsweep is, beside what people write by hand, measured side by side in one command.

    python experiments/benchmark.py loop                   one epoch of preset=fashion_mlp
    python experiments/benchmark.py overhead --rounds 3    what a run costs beside its epochs
    python experiments/benchmark.py sweep                  12 runs, beside a plain Hydra script
    python experiments/benchmark.py start                  from Enter to prompt, beside imports
    python experiments/benchmark.py many                   1,000 runs, beside Hydra's empty jobs
    python experiments/benchmark.py stack                  12 runs as one program, beside one by one
    python experiments/benchmark.py tracking               what 8 runs wait for a store they share
    python experiments/benchmark.py search                 a search, beside a grid of as many epochs
    python experiments/benchmark.py report                 what a page that renews itself costs
    python experiments/benchmark.py decode                 60,000 pictures, on one core and on all
    python experiments/benchmark.py faults trials=300      sweeps that are struck, and what is lost

`faults` measures nothing: it strikes sweeps at random and counts what should not be there. It reads
`trials=300 first=0 seed=0 lanes=2`, and its exit code is 1 where any count is not zero.

Contestants take turns, so that whatever else the machine does hits them alike, and the median of
the rounds counts: read the ratios, the seconds are this machine's. Another part is another
function in `PARTS`; the first line of its docstring is what --help says of it.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.decode import decode
from benchmarks.faults import Asked, faults
from benchmarks.loop import loop
from benchmarks.overhead import overhead
from benchmarks.search import search
from benchmarks.shared import ROOT, Options, header
from benchmarks.stack import stack
from benchmarks.sweeps import many, report, start, sweep
from benchmarks.tracking import tracking
from optsweep.errors import OptsweepError


@dataclass(frozen=True)
class Part:
    """A benchmark: the function that measures and returns what to print, and its usual rounds."""

    measure: Callable[[Options], str]
    rounds: int

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.measure.__doc__ or "").splitlines()[0]


PARTS = {
    "loop": Part(loop, rounds=3),
    "overhead": Part(overhead, rounds=7),
    "sweep": Part(sweep, rounds=1),
    "start": Part(start, rounds=3),
    "many": Part(many, rounds=3),
    "stack": Part(stack, rounds=3),
    "tracking": Part(tracking, rounds=1),
    "search": Part(search, rounds=5),
    "report": Part(report, rounds=1),
    "decode": Part(decode, rounds=3),
}


def main() -> None:
    """Measures the part that the command line names and prints what it gave."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    for name, part in PARTS.items():
        _add_options(parts.add_parser(name, help=part.summary, description=part.summary), part)
    summary = (faults.__doc__ or "").splitlines()[0]
    words = parts.add_parser("faults", help=summary, description=summary)
    words.add_argument("words", nargs="*", metavar="NAME=NUMBER", help=f"by default {Asked()}")
    given = vars(parser.parse_args())
    name = given.pop("part")
    try:
        sys.exit(_strike(given["words"]) if name == "faults" else _measure(PARTS[name], given))
    except OptsweepError as error:
        sys.exit(f"error: {error}")


def _measure(part: Part, given: dict[str, Any]) -> int:
    options = Options(**given)
    torch.set_num_threads(options.threads)
    print(header(options), flush=True)
    print("", part.measure(options), sep="\n")
    return 0


def _strike(words: list[str]) -> int:
    summary, failed = faults(Asked.of(words))
    print(summary)
    return int(failed)


def _add_options(parser: argparse.ArgumentParser, part: Part) -> None:
    data_dir = Path(os.environ.get("OPTSWEEP_DATA") or ROOT / "data")
    texts = {
        "rounds": f"measurements of each contestant, of which the median counts ({part.rounds})",
        "threads": "threads of every contestant (all cores)",
        "samples": "only so many training and test samples, to try a part out (all)",
        "data-dir": f"where datasets lie and are downloaded to ({data_dir})",
    }
    parser.add_argument("--rounds", type=int, default=part.rounds, help=texts["rounds"])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help=texts["threads"])
    parser.add_argument("--samples", type=int, help=texts["samples"])
    parser.add_argument("--data-dir", type=Path, default=data_dir, help=texts["data-dir"])


if __name__ == "__main__":
    main()
