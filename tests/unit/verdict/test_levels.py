"""How often the verdict on scores errs and finds, by simulation through its public function.

Plain runs simulate some hundred sweeps, long ones 2,000 and more, within the bounds of the docs.
"""

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy.special import ndtri

from optsweep.verdict.scores.answer import Comparison
from optsweep.verdict.scores.judge_table import judge_table
from optsweep.verdict.scores.looks import LOOKS, follow
from optsweep.verdict.scores.rows import Row

QUICK_AND_LONG = [
    pytest.param(200, 0.095, id="quick"),  # three standard deviations above 0.05
    pytest.param(2000, 0.065, id="2000", marks=pytest.mark.long),
]


def tuned(
    random: Generator, spreads: list[float], sizes: list[int], *, confirmed: bool
) -> list[Row]:
    """A sweep at 5 seeds whose configurations are all equal, but for how far seeds move them."""
    rows = []
    for name, spread, size in zip("abc", spreads, sizes, strict=False):
        scores = spread * random.normal(size=(size, 5))
        rows += [
            Row(name, str(seed), score, str(number))
            for number, own in enumerate(scores)
            for seed, score in enumerate(own)
        ]
        if confirmed:
            chosen = str(scores.mean(1).argmax())
            fresh = spread * random.normal(size=5)
            rows += [
                Row(name, f"fresh {seed}", score, chosen, phase="confirm")
                for seed, score in enumerate(fresh)
            ]
    return rows


def pairs(rows: list[Row], margin: float = 0.01) -> list[Comparison]:
    (workload,) = judge_table(rows, margin=margin).workloads
    return list(workload.comparisons)


def beats(found: list[Comparison]) -> bool:
    return any(pair.outcome.startswith("beats") for pair in found)


LAYOUTS = [
    ([1.0, 1.0], [10, 1]),
    ([1.0, 1.0], [30, 1]),
    ([1.0, 0.1], [10, 10]),
    ([1.0, 0.1], [30, 30]),
    ([1.0, 1.0, 1.0], [8, 8, 1]),
]


@pytest.mark.parametrize(("sweeps", "bound"), QUICK_AND_LONG)
@pytest.mark.parametrize(("spreads", "sizes"), LAYOUTS)
def test_equals_are_confirmed_as_such(
    spreads: list[float], sizes: list[int], sweeps: int, bound: float
) -> None:
    random = default_rng(1)
    found = [beats(pairs(tuned(random, spreads, sizes, confirmed=True))) for _ in range(sweeps)]
    assert np.mean(found) <= bound


@pytest.mark.parametrize("sweeps", [100, pytest.param(2000, marks=pytest.mark.long)])
@pytest.mark.parametrize(("spreads", "sizes"), LAYOUTS)
def test_what_chose_never_says_beats(spreads: list[float], sizes: list[int], sweeps: int) -> None:
    random = default_rng(2)
    outcomes = {
        pair.outcome
        for _ in range(sweeps)
        for pair in pairs(tuned(random, spreads, sizes, confirmed=False))
    }
    assert outcomes <= {"leads", "undecided"} and "leads" in outcomes


def networks(
    random: Generator, seeds: int, samples: int, *, ahead: float = 0.0, seed_spread: float = 0.0
) -> list[Row]:
    """Two candidates' networks, which disagree on about a tenth of the test samples.

    Samples differ in how hard they are, for all and for each candidate's networks. `ahead` is how
    much better the first is, `seed_spread` how far a seed moves all scores, in accuracy.
    """
    shared, own = 2.0, 0.5
    scale = np.sqrt(shared**2 + own**2 + 1)
    hardness = shared * random.standard_normal(samples, dtype=np.float32)
    rows = []
    for name, accuracy in (("a", 0.9 + ahead / 2), ("b", 0.9 - ahead / 2)):
        particular = own * random.standard_normal(samples, dtype=np.float32)
        for seed in range(seeds):
            level = scale * ndtri(accuracy + seed_spread * random.normal())
            noise = random.standard_normal(samples, dtype=np.float32)
            correct = level + hardness + particular + noise > 0
            rows.append(Row(name, str(seed), float(correct.mean()), correct=correct))
    return rows


def net_pair(rows: list[Row]) -> Comparison:
    (pair,) = pairs(rows)
    return pair


@pytest.mark.parametrize("seeds", LOOKS)
@pytest.mark.parametrize(
    ("samples", "sweeps", "bound"),
    [
        pytest.param(360, 300, 0.09, id="360 quick"),
        pytest.param(360, 2000, 0.065, id="360", marks=pytest.mark.long),
        pytest.param(10_000, 2000, 0.065, id="10000", marks=pytest.mark.long),
    ],
)
def test_more_seeds_do_not_make_equals_differ_on_new_samples(
    samples: int, sweeps: int, bound: float, seeds: int
) -> None:
    random = default_rng(3)
    found = [net_pair(networks(random, seeds, samples)) for _ in range(sweeps)]
    assert np.mean([beats([pair]) for pair in found]) <= bound
    on_these = [pair.these_samples.p < 0.05 for pair in found if pair.these_samples]
    assert len(on_these) == sweeps
    if seeds >= 10:  # what the seeds alone would say
        assert np.mean(on_these) > 0.1


@pytest.mark.parametrize("sweeps", [40, pytest.param(1000, marks=pytest.mark.long)])
def test_two_points_are_found_on_ten_thousand_samples(sweeps: int) -> None:
    random = default_rng(4)
    found = [
        net_pair(networks(random, 5, 10_000, ahead=0.02, seed_spread=0.004 / np.sqrt(2)))
        for _ in range(sweeps)
    ]
    assert np.mean([pair.outcome == "beats" and pair.first == "a" for pair in found]) >= 0.9


def test_leads_of_two_or_three_images_of_360_are_undecided() -> None:
    rows = []
    for seed, images in enumerate((2, 2, 3)):
        correct = np.arange(360) < 320
        more = np.arange(360) < 320 + images
        rows += [Row("adam", str(seed), float(more.mean()), correct=more)]
        rows += [Row("sgd", str(seed), float(correct.mean()), correct=correct)]
    pair = net_pair(rows)
    assert pair.outcome == "undecided" and pair.p is not None and pair.p > 0.05
    assert pair.these_samples is not None and pair.these_samples.p < 0.05  # these images alone


@pytest.mark.parametrize(
    ("count", "most"),
    [(1000, 0.07), pytest.param(10_000, 0.055, marks=pytest.mark.long)],
)
def test_looks_at_equals_err_as_planned(count: int, most: float) -> None:
    random = default_rng(5)
    errors = 0
    for _ in range(count):
        found = follow({"a": random.normal(size=20), "b": random.normal(size=20)})
        errors += any(pair.outcome.startswith("beats") for pair in found.pairs)
    assert errors / count <= most


@pytest.mark.parametrize(
    ("count", "most"), [(500, 15), pytest.param(10_000, 14, marks=pytest.mark.long)]
)
def test_looks_find_one_standard_deviation_with_few_seeds(count: int, most: float) -> None:
    random = default_rng(6)
    found = [
        follow({"a": 1 + random.normal(size=20), "b": np.zeros(20)}).pairs[0] for _ in range(count)
    ]
    assert np.mean([pair.outcome == "beats" and pair.first == "a" for pair in found]) >= 0.95
    assert np.mean([pair.seeds for pair in found]) <= most


def test_a_candidate_that_is_far_behind_gets_no_more_seeds() -> None:
    random = default_rng(7)
    runs = {"dropping": 0, "all": 0}
    for _ in range(200):
        paths = {name: random.normal(size=20) for name in ("a", "b")} | {
            "c": random.normal(size=20) - 6
        }
        runs["dropping"] += spent(paths)
        runs["all"] += 3 * max(pair.seeds for pair in follow(paths).pairs)
    assert runs["dropping"] < 0.85 * runs["all"]


def test_equals_get_no_more_seeds_than_a_small_test_set_can_use() -> None:
    random = default_rng(11)
    seeds = []
    for _ in range(50):
        rows = networks(random, 20, 360)
        right = {name: [row.correct for row in rows if row.candidate == name] for name in "ab"}
        (pair,) = follow({name: np.array(own) for name, own in right.items()}).pairs
        seeds.append(pair.seeds)
        assert pair.state in ("settled", "beyond seeds", "out of seeds")
    assert np.mean(seeds) < 10


def spent(paths: dict[str, NDArray[np.float64]]) -> int:
    """The runs that a sweep needs which asks after each look who is to continue."""
    given = dict.fromkeys(paths, 0)
    while True:
        found = follow({name: path[: given[name]] for name, path in paths.items()})
        if found.next_look is None:
            return sum(given.values())
        given |= dict.fromkeys(found.continuing, found.next_look)


def scores(random: Generator, seeds: int, spread: float, ahead: float) -> list[Row]:
    """Two candidates' scores, whose paired differences have this spread."""
    first = ahead + spread * random.normal(size=seeds)
    return [Row("a", str(seed), 10 + value) for seed, value in enumerate(first)] + [
        Row("b", str(seed), 10.0) for seed in range(seeds)
    ]


@pytest.mark.parametrize(
    ("sweeps", "most"), [(500, 0.08), pytest.param(10_000, 0.055, marks=pytest.mark.long)]
)
def test_a_difference_of_the_margin_is_seldom_equivalent(sweeps: int, most: float) -> None:
    random = default_rng(8)
    found = [net_pair(scores(random, 10, 0.01, 0.01)).outcome for _ in range(sweeps)]
    same = [outcome in ("equivalent", "beats_within_margin") for outcome in found]
    assert np.mean(same) <= most


@pytest.mark.parametrize(
    ("sweeps", "least"), [(200, 0.72), pytest.param(2000, 0.8, marks=pytest.mark.long)]
)
@pytest.mark.parametrize(("ratio", "seeds"), [(0.5, 37), (1.0, 11), (1.5, 6), (2.0, 4)])
def test_equals_are_found_equivalent(ratio: float, seeds: int, sweeps: int, least: float) -> None:
    random = default_rng(9)
    found = [net_pair(scores(random, seeds, 0.01 / ratio, 0)).outcome for _ in range(sweeps)]
    same = [outcome in ("equivalent", "beats_within_margin") for outcome in found]
    assert np.mean(same) >= least


@pytest.mark.parametrize(
    ("sweeps", "least"), [(200, 0.9), pytest.param(2000, 0.945, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("peak", [0.0, 1.0])
def test_the_best_configuration_is_seldom_excluded(
    peak: float, seeds: int, sweeps: int, least: float
) -> None:
    random = default_rng(10)
    means = -peak * np.abs(np.arange(6) - 2.0)
    kept, sizes = 0, 0
    for _ in range(sweeps):
        values = means[:, None] + random.normal(size=(6, seeds))
        rows = [
            Row("adam", str(seed), values[number, seed], str(number))
            for number in range(6)
            for seed in range(seeds)
        ]
        able = judge_table(rows).workloads[0].candidates[0].not_excluded
        kept += "2" in able
        sizes += len(able)
    assert kept / sweeps >= least
    if peak and seeds == 10:
        assert sizes / sweeps < 4
