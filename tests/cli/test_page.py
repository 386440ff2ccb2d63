"""The report is written for real, and its page opened in a real browser offline."""

import base64
import csv
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from optsweep.records.merging import merge
from optsweep.records.run import SweepRecord
from optsweep.report import live
from optsweep.report.interactive import scripts
from optsweep.report.live import RELOADING, Glance, RunInHand, live_page
from optsweep.report.page import page, write
from optsweep.report.table_csv import table_csv
from optsweep.report.templates import duration
from optsweep.report.terminal_table import sentence
from optsweep.verdict.judge_sweep import judge
from optsweep.verdict.ranking import ranked_configurations, ranked_runs
from optsweep.verdict.sweep_sentences import few_sentences
from support.browser import opened
from support.records import FOUR, LRS, OPTIMIZERS, SIXTY, TWELVE, failed, sweep, with_runs

NASTY = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> & {{ 7*7 }} {% raw %} 犬 \u202e"
MANY = sweep(
    {
        "optimizer": ["sgd", "adam", "rmsprop", "momentum", "adagrad", "adamw"],
        "lr": [*LRS, 1.0, 10.0],
        "seed": list(range(5)),
    }
)
BAD = failed(
    TWELVE.runs[3], f"ValueError: {NASTY}", "line\n" * 60 + "\x1b[31mlast\x1b[0m \udcff\x00 line"
)


INLINE = "img-src data:; style-src 'unsafe-inline'"


def text_of(path: Path) -> str:
    """The page's text as a reader sees it, on one line."""

    class Reader(HTMLParser):
        words: list[str]
        hidden = False

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.hidden = tag in ("style", "script")

        def handle_endtag(self, tag: str) -> None:
            self.hidden = False

        def handle_data(self, data: str) -> None:
            if not self.hidden:
                self.words.append(data)

    reader = Reader()
    reader.words = []
    reader.feed(path.read_text(encoding="utf-8"))
    return " ".join(" ".join(reader.words).split())


def without_scripts(html: str) -> str:
    """The page's HTML without its programs and their data."""
    return re.sub(r"<script[^>]*>.*?</script>", "", html, flags=re.S)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("four")
    write(FOUR, folder)
    return folder


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose every text comes from someone who means ill."""
    folder = tmp_path_factory.mktemp("nasty")
    record = sweep({"model": [NASTY, "</style><b>", 3], NASTY: ["<i>", None]}, dataset=NASTY)
    runs = [replace(run, name=NASTY, run_id=f"<{n}>") for n, run in enumerate(record.runs)]
    runs[1] = failed(runs[1], NASTY, f"</pre>{NASTY}")
    record = replace(record, runs=runs, overrides=[NASTY], run_id=NASTY, environment={NASTY: NASTY})
    write(record, folder)
    return folder


def test_the_folder_holds_the_table_the_pictures_and_the_page(tmp_path: Path) -> None:
    files = write(SIXTY, tmp_path / "new" / "folder")
    names = [str(file.relative_to(tmp_path / "new" / "folder")) for file in files]
    pictures = ["verdict", "learning_curves", "learning_rates", "heat_map"]
    assert names == [
        "table.csv",
        "verdict.json",
        *(f"figures/{name}.png" for name in pictures),
        "report.html",
    ]
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(files)
    assert files[0].read_text() == table_csv(ranked_runs(SIXTY.runs))
    assert len(list(csv.reader(files[0].open()))) == 61
    for file in files[2:-1]:
        assert np.ptp(imread(file)[..., :3]) == 1  # there is something on it


@pytest.mark.long
def test_writing_again_replaces_the_files(tmp_path: Path) -> None:
    write(TWELVE, tmp_path)
    files = write(FOUR, tmp_path)
    assert "Best of 4 runs" in files[-1].read_text()
    assert not list(tmp_path.glob(".*"))


def test_the_page_says_what_won_what_was_run_and_how_to_repeat_it(four: Path) -> None:
    text = text_of(four / "report.html")
    assert sentence(FOUR) in text
    assert FOUR.command in text
    assert "4 runs: 3 finished, 1 diverged" in text
    for expected in ("dataset digits", "Imaginary CPU", "lr 0.001 0.1", FOUR.run_id):
        assert expected in text
    for run in FOUR.runs:
        scores = " ".join(f"{run.metrics[key]:.4f}" for key in run.metrics if "val" not in key)
        assert run.run_id in text and scores.split()[-1] in text


@pytest.mark.long
def test_several_workloads_have_each_their_answer_and_pictures(tmp_path: Path) -> None:
    datasets = ["digits", "cifar10", "fashion_mnist"]
    record = sweep({"dataset": datasets, "optimizer": OPTIMIZERS, "lr": LRS, "seed": [0, 1]})
    files = [file.stem for file in write(record, tmp_path)]
    kinds = ("verdict", "learning_curves", "learning_rates", "heat_map")
    assert files[2:-1] == [f"{kind}-{place}" for place in (1, 2, 3) for kind in kinds]
    html, text = (tmp_path / "report.html").read_text(), text_of(tmp_path / "report.html")
    assert html.count('<div class="verdict">') == 3
    for place, dataset in enumerate(datasets, start=1):
        assert f"Scores and differences, dataset={dataset}" in text
        assert f'id="candidates-{place}"' in html
    assert "A performance profile (Dolan and More, 2002)" in text
    assert html.count('scope="rowgroup"') == 2 * 3  # of configurations and of runs
    assert without_scripts(html).count("data:image/") == len(files) - 3


def test_the_page_says_that_ranking_fell_back_to_test() -> None:
    record = sweep({"optimizer": OPTIMIZERS, "lr": LRS}, val=False)
    html = page(record)
    assert "Ranked by test, as val_fraction=0" in html
    assert ">validation</th>" not in html and ">test</th>" in html


@pytest.mark.long
def test_the_page_asks_nothing_of_a_network_and_runs_its_own_scripts_alone(
    four: Path, nasty: Path
) -> None:
    for folder in (four, nasty):
        html = (folder / "report.html").read_text()
        assert html.count("</script>") == 1 + len(scripts())
        policy = " ".join(f"'{script.hash}'" for script in scripts())
        assert f"default-src 'none'; {INLINE}; script-src {policy}" in html
        html = without_scripts(html)
        addresses = re.findall(r"<[^>]*?\b(?:src|srcset|href|action)=\"([^\"]*)\"", html)
        assert addresses and all(address.startswith(("data:", "#")) for address in addresses)
        assert not re.search(r"<(script|iframe|object|embed|form)\b|@import|url\(", html, re.I)


def test_texts_of_others_are_escaped(nasty: Path) -> None:
    html = without_scripts((nasty / "report.html").read_text())
    assert "<script>" not in html and "<img src=x" not in html and "<b>" not in html
    assert "&lt;script&gt;" in html
    assert "{{ 7*7 }}" in html and "{% raw %}" in html
    svg = [
        base64.b64decode(content).decode()
        for content in re.findall(r"data:image/svg\+xml;base64,([^\"]*)", html)
    ]
    assert svg and not any("<script" in picture or "onerror" in picture for picture in svg)


def test_seeds_are_grouped_in_a_table_of_their_own() -> None:
    html = page(SIXTY)
    configuration = ranked_configurations(SIXTY.runs)[0]
    mean, deviation = configuration.mean("test/loss"), configuration.deviation("test/loss")
    assert f'<td class="number">{mean:.4f} ± {deviation:.4f}</td>' in html
    assert "5 of 5 diverged" in html
    assert 'id="configurations"' not in page(TWELVE)


def test_failures_are_shown_with_their_last_lines() -> None:
    html = page(with_runs(TWELVE, {3: BAD}))
    assert "failed: ValueError: &lt;script&gt;" in html
    (output,) = re.findall(r"<pre>(.*?)</pre>", html, re.S)
    lines = output.splitlines()
    assert (
        len(lines) == 40
        and lines[-1] == "last \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} line"
    )


@pytest.mark.long
def test_thousands_of_runs_are_a_thousand_rows_and_a_word_on_the_rest(tmp_path: Path) -> None:
    rates = [float(rate) for rate in np.logspace(-5, 0, 25)]
    record = sweep(
        {"optimizer": ["sgd", "adam", "momentum", "rmsprop"], "lr": rates, "seed": list(range(50))},
        epochs=10,
    )
    start = time.perf_counter()
    *_, path = write(record, tmp_path)
    assert time.perf_counter() - start < 20
    html = path.read_text()
    candidates, pairs = 1 + 4, 1 + 6
    assert without_scripts(html).count("<tr") == 4 + 100 + 1000 + candidates + pairs
    assert html.count(" hidden") >= 900
    assert "The best 100 of 5,000 runs; all runs are in <code>table.csv</code>." in html
    assert "The best 1,000 of 5,000 runs; all runs are in <code>table.csv</code>." in html
    assert "These are the best 1,000 of 5,000 runs." in text_of(path)
    assert len(html) < 5_000_000
    assert "and 26 more" in text_of(path)  # seeds of the grid


def test_failures_beyond_twenty_are_counted() -> None:
    record = replace(SIXTY, runs=[failed(run, "boom") for run in SIXTY.runs])
    html = page(record)
    assert html.count("<details") == 20
    assert "And 40 more, with their reasons" in html


@pytest.mark.long
@pytest.mark.parametrize(
    "record",
    [
        pytest.param(sweep({}), id="one run"),
        pytest.param(replace(FOUR, runs=[]), id="no run"),
        pytest.param(replace(FOUR, runs=[failed(r, "") for r in FOUR.runs]), id="no score"),
        pytest.param(
            replace(FOUR, runs=[replace(r, diverged=True) for r in FOUR.runs]), id="all diverged"
        ),
        pytest.param(replace(FOUR, common={}, environment={}, overrides=[]), id="bare"),
        pytest.param(merge([FOUR, sweep({"lr": [0.5]}, batch_size=32)]), id="merged"),
    ],
)
def test_a_report_of_anything_can_be_written(record: SweepRecord, tmp_path: Path) -> None:
    *_, path = write(record, tmp_path)
    assert sentence(record) in text_of(path)


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        write(FOUR, tmp_path / "file")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (99.9, "99.9 s"), (150, "2 min 30 s"), (4800.4, "1 h 20 min")],
)
def test_durations_are_said_as_people_say_them(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(FOUR, id="4 runs", marks=pytest.mark.long),
        pytest.param(SIXTY, id="60 runs", marks=pytest.mark.long),
        pytest.param(
            sweep({"optimizer": OPTIMIZERS, "lr": LRS, "seed": list(range(80))}),
            id="960 runs",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_browser_shows_the_page_without_a_network(
    record: SweepRecord, browser: Any, tmp_path: Path
) -> None:
    *files, path = write(record, tmp_path)
    requests, console = opened(browser, path)
    assert console == []
    assert path.stat().st_size < 5_000_000
    assert {url for url in requests if not url.startswith("data:")} == {path.as_uri()}
    widths = browser.execute_script(
        "return [...document.images].map(i => i.complete ? i.naturalWidth : 0)"
    )
    assert len(widths) == len(files) - 2 > 1 and min(widths) > 0
    lines = browser.find_elements("css selector", ".verdict p")
    assert [line.text for line in lines] == few_sentences(judge(record))[: len(lines)]
    assert len(lines) == 3


@pytest.mark.long
@pytest.mark.parametrize(
    "record",
    [
        pytest.param(replace(TWELVE, target=0.9), id="12 runs"),
        pytest.param(replace(MANY, target=0.92), id="180 runs"),
    ],
)
def test_the_verdict_comes_first_with_its_picture(
    record: SweepRecord, browser: Any, tmp_path: Path
) -> None:
    *_, path = write(record, tmp_path)
    browser.set_window_size(1280, 900)
    _, console = opened(browser, path)
    assert console == []
    sections = browser.find_elements("css selector", "main > section")
    assert [each.get_attribute("id") for each in sections[:2]] == ["answer", "verdict"]
    lines = [
        line.text
        for section in sections[:2]
        for line in section.find_elements("css selector", ".verdict p, .said li")
    ]
    assert lines == few_sentences(judge(record))
    (picture,) = sections[0].find_elements("tag name", "img")
    answer = sections[0].find_element("class name", "verdict")
    assert picture.is_displayed() and picture.size["width"] >= 600
    assert picture.location["x"] > answer.location["x"] + answer.size["width"]  # beside it
    assert answer.location["y"] + answer.size["height"] < 900  # seen without scrolling
    # Nothing hangs out of its table's frame, and nothing of the page out of the window.
    tables = sections[1].find_elements("css selector", ".scroll")
    assert [t.get_attribute("aria-labelledby").partition("-")[0] for t in tables] == [
        "candidates", *["comparisons"] * ("seed" in record.grid), "target"
    ]  # fmt: skip
    for table in tables:
        inner, outer = (table.get_property(f"{kind}Width") for kind in ("scroll", "client"))
        assert inner <= outer
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.long
@pytest.mark.parametrize("width", [360, 800, 1280])
def test_the_page_fits_every_screen(width: int, browser: Any, four: Path) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        opened(browser, four / "report.html")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.long
def test_the_page_is_dark_where_that_is_wanted(browser: Any, four: Path) -> None:
    seen = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        opened(browser, four / "report.html")
        seen.append(
            browser.execute_script("return getComputedStyle(document.documentElement).color")
        )
    assert seen == ["rgb(28, 32, 36)", "rgb(230, 233, 236)"]


@pytest.mark.long
def test_no_script_of_a_name_runs_in_a_browser(browser: Any, nasty: Path) -> None:
    requests, console = opened(browser, nasty / "report.html")
    assert console == []
    assert all(url.startswith(("data:", "file:")) for url in requests), requests
    assert len([url for url in requests if url.startswith("file:")]) == 1
    names = [cell.text for cell in browser.find_elements("css selector", "tbody td:nth-child(2)")]
    assert any(name.startswith("<script>alert(1)</script>") for name in names)
    assert browser.execute_script("return document.scripts.length") == 1 + len(scripts())
    assert not browser.find_elements("css selector", "main i:not(.key i), img[src=x]")


@pytest.mark.long
@pytest.mark.parametrize("ended", [0, 6])
def test_the_page_of_a_running_sweep_reloads_itself_without_a_script(
    ended: int, browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_RELOAD", 1)
    path = tmp_path / "report.html"
    runs = {n: failed(run, "", status="SCHEDULED") for n, run in enumerate(TWELVE.runs)}
    record = with_runs(TWELVE, {n: run for n, run in runs.items() if n >= ended} | {3: BAD})
    shown = [RunInHand(run.name, 9, run.history) for run in TWELVE.runs[4:6]]
    path.write_text(live_page(record, Glance(12, 2, 0, shown, 80.0, 40.0)))
    requests, console = opened(browser, path)
    assert console == []
    assert {url for url in requests if url.startswith(("file:", "http"))} == {path.as_uri()}
    curves = browser.find_elements("tag name", "polyline")
    assert len(curves) == 8 and min(curve.rect["width"] for curve in curves) > 20
    assert browser.execute_script("return document.scripts.length") == 0
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    write(TWELVE, tmp_path)
    wait = pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait(browser, 20)
    wait.until(lambda shown: "12 runs:" in shown.find_element("class name", "kinds").text)
    assert RELOADING not in browser.page_source
