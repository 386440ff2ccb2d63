"""Each part of the benchmark runs and prints its figures. How fast anything is, no test asks."""

import re
from pathlib import Path

import pytest

from support.command import run

FIGURE = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def benchmark(project: Path, *arguments: str) -> dict[str, list[float]]:
    """What `benchmark.py ARGUMENTS` prints: the figures of each line of its tables, by its name."""
    done = run(project, *arguments, script="experiments/benchmark.py")
    assert done.returncode == 0, done.stderr
    machine, versions, nothing, *lines = done.stdout.splitlines()
    assert re.search(r"\d+ cores, .*1 threads$", machine)
    assert re.fullmatch(r"torch \S+, \d{4}-\d\d-\d\d, commit \S+", versions)
    assert nothing == ""
    cells = [re.split(r"\s{3,}", line) for line in lines]
    return {name: [float(n) for n in FIGURE.findall(" ".join(rest))] for name, *rest in cells}


@pytest.mark.long
def test_help_says_what_each_part_measures(project: Path) -> None:
    printed = run(project, "--help", script="experiments/benchmark.py").stdout
    parts = dict(re.findall(r"^ {4}(\w+) +(\S.+)$", printed, re.M))
    assert {"loop", "overhead"} <= parts.keys()
    assert not re.search(r"^ {4}\w+\n(?! {8})", printed, re.M), "a part without its line"


@pytest.mark.long
def test_loop_prints_times_scores_and_shares(project: Path, fashion_mnist: Path) -> None:
    few = ("--samples=640", "--rounds=1", "--threads=1", f"--data-dir={fashion_mnist}")
    printed = benchmark(project, "loop", *few)
    times, scores = printed["by hand"][:2], printed["by hand"][2:]
    assert min(times + printed["optsweep"][:2]) > 0
    # Ten batches of equal size: here the mean over batches is the mean over samples.
    assert scores == printed["optsweep"][2:]
    assert len(printed["times as fast"]) == 2
    assert printed["square ones"][0] > 0
    assert len([name for name in printed if name.startswith("this network's, ")]) == 3
    assert printed["products alone"][1] == 1
    assert min(printed["sgd"] + printed["adam"]) > 0


@pytest.mark.long
def test_cnn_and_side_by_side_print_seconds_and_ratios(project: Path) -> None:
    few = ("--samples=64", "--rounds=1", "--threads=1")
    printed = benchmark(project, "cnn", *few)
    assert min(printed["optsweep / by hand"] + printed["optsweep / by hand, from memory"]) > 0
    assert len(printed["optsweep"]) == 3
    printed = benchmark(project, "side_by_side", *few)
    assert all(
        len(printed[name]) == 3 for name in ("optsweep, a core each", "by hand, a core each")
    )


@pytest.mark.long
def test_tracking_prints_what_runs_wait_for_the_store(project: Path, fashion_mnist: Path) -> None:
    few = ("--samples=640", "--threads=1", f"--data-dir={fashion_mnist}")
    printed = benchmark(project, "tracking", *few)
    (share,) = printed["share"]
    assert share > 0
    assert printed["of it waiting for the store"][0] > 0


@pytest.mark.long
def test_overhead_prints_what_its_phases_add_up_to(project: Path) -> None:
    printed = benchmark(project, "overhead", "--rounds=1", "--threads=1")
    total = printed.pop("outside of the epochs")
    phases = [figures[0] for name, figures in printed.items() if name and figures]
    assert len(phases) > 2
    assert abs(sum(phases) - total[0]) < 0.01


@pytest.mark.long
def test_search_prints_what_it_finds_beside_the_grid(project: Path, fashion_mnist: Path) -> None:
    few = ("--samples=300", "--rounds=1", "--threads=1", f"--data-dir={fashion_mnist}")
    printed = benchmark(project, "search", *few)
    accuracy, ahead, epochs, share = printed["grid"]
    assert (ahead, share) == (0, 1) and 0 < accuracy < 1 and epochs <= 108
    assert printed["search, pruned"][2] < printed["search"][2] <= 108


@pytest.mark.long
def test_of_sweeps_that_are_struck_and_resumed_nothing_is_lost(project: Path) -> None:
    done = run(project, "faults", "trials=2", script="experiments/benchmark.py", timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = (re.fullmatch(r"(\S.*?) {3,}([\d.]+)", line) for line in done.stdout.splitlines())
    printed = {cell[1]: float(cell[2]) for cell in cells if cell}
    assert printed["trials"] == 2
    assert printed["strikes"] >= 2
    assert printed["strikes"] == sum(
        count for name, count in printed.items() if re.match(r"SIG|full disk$|store |power", name)
    )
    lost = ["points lost", "points doubled", "points different", "runs left RUNNING"]
    assert [printed[name] for name in [*lost, "processes left"]] == [0] * 5


@pytest.mark.long
def test_a_word_that_faults_does_not_know_is_refused(project: Path) -> None:
    done = run(project, "faults", "trials=3", "hammers=3", script="experiments/benchmark.py")
    assert done.returncode == 1
    line = "error: hammers=3: type NAME=NUMBER with NAME one of trials, first, seed, lanes\n"
    assert done.stderr == line


@pytest.mark.long
def test_decode_prints_what_one_core_and_all_take(project: Path) -> None:
    page = project / "page.md"
    few = ("--samples=200", "--rounds=1", "--threads=1", f"--markdown={page}")
    seconds, rate, ratio = benchmark(project, "decode", *few)["1"]
    assert seconds > 0 and rate > 0 and ratio == 1
    assert "| cores | seconds | pictures a second | times as fast |\n| --- |" in page.read_text()
    assert f"| 1 | {seconds:.2f} | {rate:.0f} | 1.00 |" in page.read_text()


@pytest.mark.long
def test_all_is_each_part_but_those_that_need_a_server(project: Path) -> None:
    code = """if True:
        import benchmark
        measure = lambda options: (f"{options.rounds} rounds", [("", "s"), ("one", "1|2")])
        measure.__doc__ = "Nothing."
        parts = {"first": benchmark.Part(measure, rounds=3), "second": benchmark.Part(measure, 1)}
        benchmark.PARTS = parts | {"third": benchmark.Part(measure, 1, left_out="no server")}
        benchmark.main()
    """
    script, page = project / "experiments" / "all.py", project / "page.md"
    script.write_text(code)
    page.write_text("# Here\n\n<!-- second -->\nold\n<!-- end of second -->\n\nThere.\n")
    done = run(project, "all", f"--markdown={page}", script="experiments/all.py")
    assert done.returncode == 0, done.stderr
    assert "third: left out, no server" in done.stdout
    assert done.stdout.count("one   1|2") == 2
    written = page.read_text()
    start = "# Here\n\n<!-- second -->\n1 rounds\n\n|  | s |\n| --- | --: |\n| one | 1\\|2 |\n\n"
    assert written.startswith(start)
    assert (
        "<!-- end of second -->\n\nThere.\n\n## `first`\n\nNothing.\n\n<!-- first -->\n3 "
        in written
    )
    assert "old" not in written


@pytest.mark.long
def test_a_page_in_no_folder_is_refused_before_anything_is_measured(project: Path) -> None:
    done = run(project, "all", "--markdown=no/page.md", script="experiments/benchmark.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("error: argument --markdown: there is no folder no\n")
