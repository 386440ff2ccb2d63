"""Which keys a verdict on logged runs could use, by what varies between the runs.

`propose` is given the runs and the keys that were typed. Names and values of parameters decide: a
few words are candidates, integers with a usual name are seeds, data sets are workloads, whatever
else varies within a candidate is its configuration. It is a proposal: a person types it, or not.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from optsweep.records.logged_run import LoggedRun
from optsweep.verdict.rows.keys import Keys
from optsweep.verdict.rows.metric_names import is_loss, split_of, words
from optsweep.verdict.rows.varying import Varying, described, follows, varying_in
from optsweep.verdict.scores.phrases import counted
from optsweep.verdict.scores.rows import PHASES

MISSING = "?"  # in place of a key that nothing was found for
_CANDIDATES = (
    *("optimizer", "optim", "opt", "algorithm", "algo", "method", "candidate"),
    *("model", "architecture", "arch", "estimator", "classifier", "solver", "kernel"),
)
_SEEDS = ("seed", "seeds", "rng", "fold", "repeat", "repetition", "replicate", "rep")
_WORKLOADS = ("dataset", "datasets", "data", "task", "env", "environment", "benchmark", "corpus")
_NO_WORKLOAD = {*_SEEDS, "loader", "dir", "path", "root", "size", "workers", "aug", "augmentation"}
_MOST_CANDIDATES = 20
_SHOWN = 20  # names in a list


@dataclass(frozen=True)
class Proposal:
    """Keys by name, as they are typed, `?` for what was not found; and what the runs hold."""

    keys: Mapping[str, str]
    found: Sequence[str]


def propose(runs: Sequence[LoggedRun], typed: Mapping[str, str]) -> Proposal:
    """The keys for these runs; those that were typed stay as they are."""
    pool = _pool(runs)
    keys = dict(typed)
    metrics = sorted({name for run in pool for name in run.metrics})
    if "score" not in keys:
        keys["score"] = _named("metrics", _best(pool, metrics, _score_rank))
    score = keys["score"].removeprefix("metrics.")
    scored = [run for run in pool if score in run.metrics] or pool
    if "chosen_by" not in typed and (chosen := _choosing(scored, score)):
        keys["chosen_by"] = f"metrics.{chosen}"
    if "higher" not in keys and is_loss(score):
        keys["higher"] = "false"
    varying = [each for kind in ("params", "tags") for each in varying_in(scored, kind)]
    _place(varying, keys)
    order = [*Keys.NAMES, *(name for name in keys if name not in Keys.NAMES)]
    ordered = {name: keys[name] for name in order if name in keys}
    return Proposal(ordered, _found(runs, varying, metrics, ordered))


def _pool(runs: Sequence[LoggedRun]) -> list[LoggedRun]:
    """The runs that say most of what an experiment is: finished, with metrics, no parents."""
    parents = {run.parent for run in runs}
    wanted: list[Callable[[LoggedRun], bool]] = [
        lambda run: run.status in ("FINISHED", "FAILED"),
        lambda run: bool(run.metrics),
        lambda run: run.run_id not in parents,
        lambda run: run.status == "FINISHED",
    ]
    pool = list(runs)
    for is_wanted in wanted:
        pool = [run for run in pool if is_wanted(run)] or pool
    return pool


def _named(kind: str, name: str | None) -> str:
    return f"{kind}.{name}" if name else MISSING


def _best(
    runs: Sequence[LoggedRun], names: Iterable[str], rank: Callable[[str], Sequence[int] | None]
) -> str | None:
    """The name of the lowest rank, among those that at least half of the runs have if possible."""
    ranked = []
    for name in names:
        if (own := rank(name)) is not None:
            count = sum(name in run.metrics for run in runs)
            ranked.append((2 * count < len(runs), *own, -count, len(name), name))
    return str(min(ranked)[-1]) if ranked else None


def _score_rank(name: str) -> Sequence[int] | None:
    """Test before validation before unnamed before training data, and accuracies before losses.

    What is neither by its name, such as a time, is the last resort.
    """
    if name.startswith("system/"):
        return None
    kind = {False: 0, True: 1, None: 2}[is_loss(name)]
    return kind == 2, ["test", "val", "", "train"].index(split_of(name)), kind


def _choosing(runs: Sequence[LoggedRun], score: str) -> str | None:
    """What chooses configurations where a test score judges: the same on validation data."""
    if split_of(score) != "test":
        return None
    own = set(words(score))
    known = {name for run in runs for name in run.metrics}
    names = [
        name
        for name in sorted(known)
        if split_of(name) == "val" and is_loss(name) == is_loss(score) is not None
    ]
    return _best(runs, names, lambda name: [-len(own & set(words(name)))])


def _place(varying: Sequence[Varying], keys: dict[str, str]) -> None:
    """Puts each of what varies in its place among the keys."""
    known = {part for name in Keys.NAMES for part in keys.get(name, "").split(",")}
    free = [each for each in varying if str(each.source) not in known]
    short = [each for each in free if not each.is_address]

    def take(found: Sequence[Varying]) -> str:
        for each in found:
            free.remove(each)
            short.remove(each)
        return ",".join(str(each.source) for each in found)

    if "seed" not in keys:
        keys["seed"] = take(_seed(short)) or MISSING
    if "phase" not in keys and (found := take(_phase(short))):
        keys["phase"] = found
    if "candidate" not in keys:
        keys["candidate"] = take(_candidate(short)) or MISSING
    if "workload" not in keys and (found := take(_workloads(short))):
        keys["workload"] = found
    if "configuration" not in keys:
        fixed = _texts_of(varying, f"{keys['candidate']},{keys.get('workload', '')}")
        if found := take(_configuration(short, fixed)):
            keys["configuration"] = found


def _seed(varying: Sequence[Varying]) -> list[Varying]:
    def rank(each: Varying) -> tuple[int, int, int]:
        own = words(each.source.name)
        is_state = "state" in own and "random" in own
        return 0 if is_state else each.rank(_SEEDS), len(own), len(each.source.name)

    seeds = [each for each in varying if each.has_integers and rank(each)[0] < len(_SEEDS)]
    return sorted(seeds, key=rank)[:1]


def _phase(varying: Sequence[Varying]) -> list[Varying]:
    return [each for each in varying if set(each.values) == set(PHASES)][:1]


def _candidate(varying: Sequence[Varying]) -> list[Varying]:
    """A few words, by their name if it says something; else the number with the fewest values."""
    able = [each for each in varying if 2 <= len(each.values) <= _MOST_CANDIDATES]
    able = [each for each in able if not _is_workload(each)] or able
    able = [each for each in able if each.rank(_SEEDS) == len(_SEEDS)]
    texts = [each for each in able if each.has_words]
    texts = [each for each in texts if each.source.kind == "params"] or [
        each for each in texts if each.rank(_CANDIDATES) < len(_CANDIDATES)
    ]
    others = [each for each in able if each.source.kind == "params"]
    named = [each for each in others if each.rank(_CANDIDATES) < len(_CANDIDATES)]

    def rank(each: Varying) -> tuple[bool, int, int, str]:
        is_id = each.is_other_in_each
        return is_id, each.rank(_CANDIDATES), len(each.values), each.source.name

    return sorted(texts or named or others, key=rank)[:1]


def _is_workload(each: Varying) -> bool:
    is_named = each.rank(_WORKLOADS) < len(_WORKLOADS)
    return is_named and not _NO_WORKLOAD & set(words(each.source.name))


def _workloads(varying: Sequence[Varying]) -> list[Varying]:
    """What names a data set, without what follows from another one."""
    found: list[Varying] = []
    for each in varying:
        is_able = _is_workload(each) and each.has_words and not each.is_other_in_each
        if is_able and not any(follows(each, [other]) for other in found):
            found.append(each)
    return found


def _configuration(varying: Sequence[Varying], fixed: Sequence[Varying]) -> list[Varying]:
    """What differs within a candidate and workload, without ids and doubles of another."""
    found: list[Varying] = []
    for each in varying:
        is_id = each.has_words and each.is_other_in_each
        is_able = each.source.kind == "params" and not is_id and each.rank(_SEEDS) == len(_SEEDS)
        if not is_able or follows(each, fixed):
            continue
        if all(other.texts != each.texts for other in found):
            found.append(each)
    return found


def _texts_of(varying: Sequence[Varying], names: str) -> list[Varying]:
    wanted = names.split(",")
    return [each for each in varying if str(each.source) in wanted]


def _found(
    runs: Sequence[LoggedRun],
    varying: Sequence[Varying],
    metrics: Sequence[str],
    keys: Mapping[str, str],
) -> list[str]:
    """What the experiment holds, in sentences."""
    kinds: dict[str, int] = {}
    for run in runs:
        kinds[run.status.lower()] = kinds.get(run.status.lower(), 0) + 1
    statuses = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    lines = [f"{counted(len(runs), 'run')}: {statuses}."]
    used = {part for name in Keys.NAMES for part in keys.get(name, "").split(",")}
    params = [each for each in varying if each.source.kind == "params" or str(each.source) in used]
    lines.append(f"These vary: {_shortened([described(each) for each in params])}.")
    lines.append(f"Metrics: {_shortened(metrics)}.")
    if unused := [str(each.source) for each in params if str(each.source) not in used]:
        lines.append(f"Not used: {_shortened(unused)}.")
    hints = {
        "candidate": "what is to be compared, as candidate=params.optimizer",
        "seed": "what repeats share, as seed=params.seed; without it nothing can be paired",
        "score": "what judges, as score=metrics.test_acc",
    }
    lines += [
        f"Nothing was found for {each}" for name, each in hints.items() if keys[name] == MISSING
    ]
    return lines


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}" if names else "none"
