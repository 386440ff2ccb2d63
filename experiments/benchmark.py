"""How fast optsweep is, beside what people write by hand, measured side by side in one command.

    python experiments/benchmark.py loop                   one epoch of preset=fashion_mlp
    python experiments/benchmark.py loop --preset all      one of each preset
    python experiments/benchmark.py cnn                    a convolutional network on one thread
    python experiments/benchmark.py side_by_side           two runs at once, beside one alone
    python experiments/benchmark.py overhead --rounds 3    what a run costs beside its epochs
    python experiments/benchmark.py sweep                  12 runs, beside a plain Hydra script
    python experiments/benchmark.py start                  from Enter to prompt, beside imports
    python experiments/benchmark.py many                   220 to 10,000 runs, beside empty jobs
    python experiments/benchmark.py stack                  12 runs as one program, beside one by one
    python experiments/benchmark.py tracking               what 8 runs wait for a store they share
    python experiments/benchmark.py search                 a search, beside a grid of as many epochs
    python experiments/benchmark.py report                 what a page that renews itself costs
    python experiments/benchmark.py decode                 60,000 pictures, on one core and on all
    python experiments/benchmark.py all --markdown         all of these into docs/benchmarks.md
    python experiments/benchmark.py faults trials=300      sweeps that are struck, and what is lost

`--markdown` writes the tables of a part, or of `all`, into docs/benchmarks.md, each between two
comments that name its part; what stands around them stays. `all` leaves out what needs a server.

`faults` measures nothing: it strikes sweeps at random and counts what should not be there. It reads
`trials=300 first=0 seed=0 lanes=2`, and its exit code is 1 where any count is not zero.

Contestants take turns, so that whatever else the machine does hits them alike, and the median of
the rounds counts: read the ratios, the seconds are this machine's. Another part is another
function in `PARTS`, which returns texts and tables; the first line of its docstring is what --help
says of it.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.cnn import cnn
from benchmarks.decode import decode
from benchmarks.faults import Asked, faults
from benchmarks.loop import PRESETS, loop
from benchmarks.many import many
from benchmarks.overhead import overhead
from benchmarks.page import as_markdown, put
from benchmarks.search import search
from benchmarks.shared import ROOT, Options, Result, as_text, header
from benchmarks.side_by_side import side_by_side
from benchmarks.stack import stack
from benchmarks.sweeps import report, start, sweep
from benchmarks.tracking import tracking
from optsweep.errors import OptsweepError


@dataclass(frozen=True)
class Part:
    """A benchmark: the function that measures, its usual rounds, and why `all` leaves it out."""

    measure: Callable[[Options], Result]
    rounds: int
    left_out: str = ""

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.measure.__doc__ or "").splitlines()[0]


PARTS = {
    "loop": Part(loop, rounds=3),
    "cnn": Part(cnn, rounds=3),
    "side_by_side": Part(side_by_side, rounds=3),
    "overhead": Part(overhead, rounds=7),
    "sweep": Part(sweep, rounds=1),
    "start": Part(start, rounds=3),
    "many": Part(many, rounds=1),
    "stack": Part(stack, rounds=3),
    "tracking": Part(tracking, rounds=1, left_out="it needs a server"),
    "search": Part(search, rounds=5),
    "report": Part(report, rounds=1),
    "decode": Part(decode, rounds=3),
}


def main() -> None:
    """Measures the parts that the command line names and prints what they gave."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    for name, part in PARTS.items():
        _add_options(parts.add_parser(name, help=part.summary, description=part.summary), part)
    summary = "All of these, one after another, but for what needs a server."
    _add_options(parts.add_parser("all", help=summary, description=summary))
    summary = (faults.__doc__ or "").splitlines()[0]
    words = parts.add_parser("faults", help=summary, description=summary)
    words.add_argument("words", nargs="*", metavar="NAME=NUMBER", help=f"by default {Asked()}")
    given = vars(parser.parse_args())
    name = given.pop("part")
    try:
        sys.exit(_strike(given["words"]) if name == "faults" else _measure(name, given))
    except OptsweepError as error:
        sys.exit(f"error: {error}")


def _measure(asked: str, given: dict[str, Any]) -> int:
    """Measures a part, or all: prints what each gave, and puts it into the page where one is."""
    page, rounds = given.pop("markdown"), given.pop("rounds")
    for name, part in PARTS.items():
        if asked == "all":
            print(f"\n{name}: {part.left_out and 'left out, '}{part.left_out or part.summary}")
        if asked != name and (asked != "all" or part.left_out):
            continue
        options = Options(**given, rounds=rounds or part.rounds)
        torch.set_num_threads(options.threads)
        about = header(options)
        print(about, flush=True)
        result = part.measure(options)
        print("", as_text(result), sep="\n", flush=True)
        if page:
            put(page, name, part.summary, as_markdown([*result, about]))
    return 0


def _strike(words: list[str]) -> int:
    summary, failed = faults(Asked.of(words))
    print(summary)
    return int(failed)


def _add_options(parser: argparse.ArgumentParser, part: Part | None = None) -> None:
    """The options of a part, or of all."""
    data_dir = Path(os.environ.get("OPTSWEEP_DATA") or ROOT / "data")
    page = ROOT / "docs" / "benchmarks.md"
    usual = part.rounds if part else "each part's own"
    texts = {
        "rounds": f"measurements of each contestant, of which the median counts ({usual})",
        "threads": "threads of every contestant (all cores)",
        "samples": "only so many training and test samples, to try a part out (all)",
        "data-dir": f"where datasets lie and are downloaded to ({data_dir})",
        "runs": "runs of each sweep of the part many (220,620,3000,10000)",
        "markdown": f"write the tables into a page ({page}), too",
    }
    parser.add_argument("--rounds", type=int, help=texts["rounds"])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help=texts["threads"])
    parser.add_argument("--samples", type=int, help=texts["samples"])
    if part is None or part.measure is loop:
        parser.add_argument("--preset", choices=[*PRESETS, "all"], default="fashion_mlp")
    parser.add_argument("--data-dir", type=Path, default=data_dir, help=texts["data-dir"])
    if part is None or part.measure is many:
        usual_runs = "220,620,3000,10000"
        parser.add_argument("--runs", type=_sizes, default=usual_runs, help=texts["runs"])
    parser.add_argument(
        "--markdown", type=_page, nargs="?", const=page, metavar="PAGE", help=texts["markdown"]
    )


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _page(text: str) -> Path:
    """A page to write, whose folder must be there before hours are measured."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


if __name__ == "__main__":
    main()
