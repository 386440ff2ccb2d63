"""Sweeps of a few seconds that are struck at random moments and resumed: is anything lost?

Each trial is a sweep in a project of its own: plain, stacked or a search, its store a file or a
server. It is struck, resumed and struck again, up to five times, until it finishes. What it leaves
is compared with an undisturbed sweep, bit for bit. A trial's choices are made from the seed and
the trial's number alone, so that a trial that failed can be repeated by itself.
"""

import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median

from benchmarks.faults.start import stop_all
from benchmarks.faults.store import Server, tracking_server
from benchmarks.faults.strikes import STRIKES
from benchmarks.faults.trial import COUNTS, SWEEPS, Outcome, Trial, undisturbed
from benchmarks.shared import as_text
from optsweep.errors import SettingsError


@dataclass(frozen=True)
class Asked:
    """What the command line says: how many trials, from which number on, how many at a time."""

    trials: int = 300
    first: int = 0
    seed: int = 0
    lanes: int = 2

    def __str__(self) -> str:
        return " ".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))

    @staticmethod
    def of(words: Sequence[str]) -> "Asked":
        """Reads words such as `trials=300`.

        Raises:
            SettingsError: a word has another name, or no whole number.
        """
        names = [field.name for field in fields(Asked)]
        given = {}
        for word in words:
            name, _, value = word.partition("=")
            if name not in names or not value.isdecimal() or (name == "lanes" and int(value) < 1):
                raise SettingsError(f"{word}: type NAME=NUMBER with NAME one of {', '.join(names)}")
            given[name] = int(value)
        return Asked(**given)


def faults(asked: Asked) -> tuple[str, bool]:
    """Sweeps that are killed, cut off and starved at random moments: what is lost, left, hung."""
    # What a script starts with & ignores Ctrl-C, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="optsweep-faults-"))
    print(f"folder {folder}", file=sys.stderr, flush=True)
    with tracking_server(folder / "server") as server:
        outcomes = _all_trials(asked, folder, server)
    failed = [outcome for outcome in outcomes if outcome.failed]
    if not failed:
        shutil.rmtree(folder, ignore_errors=True)
    return _summary(outcomes, asked), bool(failed)


def _all_trials(asked: Asked, folder: Path, server: Server) -> list[Outcome]:
    def one(number: int) -> Outcome:
        trial = Trial(asked.seed, number, folder / f"trial-{number}")
        try:
            outcome = trial.run(whole[trial.outcome.sweep], server)
        except Exception:  # the other trials, which take an hour, are not lost
            traceback.print_exc()
            outcome = trial.outcome
            outcome.counts["trials that broke off"] += 1
        print(_story(outcome, asked), file=sys.stderr, flush=True)
        return outcome

    with ThreadPoolExecutor(asked.lanes) as lanes:
        try:
            sweeps = {name: lanes.submit(undisturbed, name, folder / name) for name in SWEEPS}
            whole = {name: sweep.result() for name, sweep in sweeps.items()}
            return list(lanes.map(one, range(asked.first, asked.first + asked.trials)))
        except BaseException:
            stop_all()
            lanes.shutdown(cancel_futures=True)
            raise


def _story(outcome: Outcome, asked: Asked) -> str:
    """A trial in a line, and where it failed, what to look at and what to type."""
    place = "server" if outcome.uses_server else "file"
    line = f"trial={outcome.number} seed={asked.seed} {outcome.sweep}, store {place}: "
    line += "; ".join(outcome.story)
    if not outcome.failed:
        return line
    wrong = ", ".join(f"{count} {name}" for name, count in outcome.counts.items() if count)
    again = f"trials=1 first={outcome.number} seed={asked.seed}"
    return f"{line}\n  FAILED {wrong}; see {outcome.kept}; again: benchmark.py faults {again}"


def _summary(outcomes: Sequence[Outcome], asked: Asked) -> str:
    strikes = Counter(strike for outcome in outcomes for strike in outcome.strikes)
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts.update(outcome.counts)
    restarts = [seconds for outcome in outcomes for seconds in outcome.restarts] or [0.0]
    sweeps = Counter(outcome.sweep for outcome in outcomes)
    rows = [("trials", f"{len(outcomes)}"), *((name, f"{sweeps[name]}") for name in SWEEPS)]
    rows += [("with a server as store", f"{sum(outcome.uses_server for outcome in outcomes)}")]
    hits = [("strikes", f"{strikes.total()}"), *((name, f"{strikes[name]}") for name in STRIKES)]
    if replaced := sum(outcome.replaced for outcome in outcomes):
        hits += [("full disk, replaced: nothing can be mounted here", f"{replaced}")]
    found = [(name, f"{counts[name]}") for name in COUNTS]
    seconds = [
        ("seconds until the next start worked, median", f"{median(restarts):.1f}"),
        ("longest", f"{max(restarts):.1f}"),
    ]
    failed = [_story(outcome, asked) for outcome in outcomes if outcome.failed]
    return as_text((rows, hits, found, seconds, *(["\n".join(failed)] if failed else [])))
