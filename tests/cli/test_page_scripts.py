"""The report's scripts in a real browser: tables are sorted and filtered, charts pointed at."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optsweep.records.run import SweepRecord
from optsweep.report.page import page
from support.browser import opened, wait_for_charts
from support.records import FOUR, LRS, OPTIMIZERS, SEARCH, SIXTY, failed, sweep, with_runs

pytestmark = pytest.mark.long

THOUSAND = sweep(
    {
        "optimizer": ["sgd", "adam", "rmsprop", "momentum"],
        "lr": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
        "batch_size": [32, 64, 128, 256, 512],
        "seed": list(range(10)),
    },
    epochs=50,
)
OF_TWO = sweep({"dataset": ["digits", "cifar10"], "optimizer": OPTIMIZERS, "lr": LRS})

BALANCED = replace(
    FOUR,
    runs=[replace(run, metrics={**run.metrics, "val/balanced_accuracy": 0.5}) for run in FOUR.runs],
)
HOSTILE = sweep(
    {
        "model": ["$$x^2$$", r"\(y\)", "</script><script>alert(1)</script>", "<!--"],
        "model.$$z$$": ["a", "<img src=x onerror=alert(1)>"],
        "seed": [0, 1],
    }
)

Show = Callable[[SweepRecord], list[Any]]


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Show:
    """Opens a record's page; returns what the console says."""

    def show(record: SweepRecord) -> list[Any]:
        path = tmp_path / "report.html"
        path.write_text(page(record))
        browser.set_window_size(1280, 900)
        requests, console = opened(browser, path)
        assert {url for url in requests if not url.startswith("data:")} == {path.as_uri()}
        return console

    return show


def column(browser: Any, table: str, number: int) -> list[str]:
    """The texts of a table's column that are to be seen, from above."""
    script = """return [...document.querySelectorAll(arguments[0] + ' tbody tr')].filter(
        row => row.cells.length > 1 && row.offsetParent !== null
    ).map(row => row.cells[arguments[1]].textContent)"""
    return list(browser.execute_script(script, table, number))


def click(browser: Any, css: str) -> None:
    """Clicks as a script does: also what is under something else, or outside of the window."""
    browser.execute_script("document.querySelector(arguments[0]).click()", css)


def box(browser: Any, key: str, choice: str) -> Any:
    """The box of a choice in a key's menu, which is open afterwards."""
    for menu in browser.find_elements("css selector", "#filter details"):
        if menu.find_element("tag name", "summary").text.startswith(f"{key}:"):
            if not menu.get_property("open"):
                menu.find_element("tag name", "summary").click()
            labels = menu.find_elements("tag name", "label")
            return next(label for label in labels if label.text == choice)
    raise AssertionError(key)


def test_a_click_on_a_header_sorts_and_another_turns_it_round(browser: Any, show: Show) -> None:
    assert show(SIXTY) == []
    head = "#runs thead tr:first-child th:nth-child({}) button"
    click(browser, head.format(3))  # lr
    rates = list(map(float, column(browser, "#runs", 2)))
    assert rates == sorted(rates)
    assert browser.find_elements("css selector", '#runs th[aria-sort="ascending"]')
    click(browser, head.format(3))
    rates = list(map(float, column(browser, "#runs", 2)))
    assert rates == sorted(rates, reverse=True)
    click(browser, "#runs thead tr:last-child th button")  # validation accuracy, the best first
    scores = [text for text in column(browser, "#runs", 4) if text]
    assert scores == sorted(scores, reverse=True)
    assert len(browser.find_elements("css selector", "#runs th[aria-sort]")) == 1
    click(browser, head.format(1))  # the rank
    assert column(browser, "#runs", 0) == [str(rank) for rank in range(1, 61)]


def test_sorting_works_by_keyboard_and_leaves_what_is_missing_last(
    browser: Any, show: Show
) -> None:
    from selenium.webdriver.common.keys import Keys

    assert show(with_runs(FOUR, {0: failed(FOUR.runs[0], "boom")})) == []
    button = browser.find_element("css selector", "#runs thead tr:last-child th button")
    button.send_keys(Keys.ENTER)
    assert column(browser, "#runs", 3)[-1] == ""
    button.send_keys(Keys.SPACE)
    assert column(browser, "#runs", 3)[-1] == ""


def test_a_filter_holds_for_tables_and_charts_alike(browser: Any, show: Show) -> None:
    assert show(SIXTY) == []
    assert (
        len(column(browser, "#runs", 0)) == 60 and len(column(browser, "#configurations", 0)) == 12
    )
    box(browser, "optimizer", "all").click()
    box(browser, "optimizer", "adam").click()
    wait_for_charts(browser)
    assert set(column(browser, "#runs", 1)) == {"adam"}
    assert (
        len(column(browser, "#runs", 1)) == 20 and len(column(browser, "#configurations", 1)) == 4
    )
    assert browser.find_element("id", "passing").text == "20 of 60 runs"
    assert all(
        "20 runs" in each.text for each in browser.find_elements("css selector", "#charts h3")
    )
    box(browser, "seed", "0").click()
    assert len(column(browser, "#runs", 0)) == 16
    browser.find_element("id", "clear").click()
    assert len(column(browser, "#runs", 0)) == 60
    assert not browser.find_element("id", "clear").is_displayed()


def test_pointing_at_a_line_or_a_point_names_its_run_value_and_seed(
    browser: Any, show: Show
) -> None:
    assert show(SIXTY) == []
    for number, where in ((1, r" at epoch (\d)"), (2, r" at lr ([\d.e-]+)")):
        title, value, *others = pointed_at(browser, number)
        (run,) = [run for run in SIXTY.runs if run.name == title]
        found = re.fullmatch(rf"validation accuracy ([\d.]+){where}", value)
        assert found, value
        if number == 1:
            expected = dict(run.history["val/accuracy"])[int(found[2])]
        else:
            expected = run.metrics["val/accuracy"]
            assert float(found[2]) == run.swept["lr"]
        assert float(found[1]) == float(f"{expected:.4g}")
        assert f"seed {run.swept['seed']}" in others[0]
        browser.execute_script("document.querySelector('tr.pointed').dataset.meant = 1")
        click_here(browser)
        row = browser.find_element("css selector", "tr.found")
        assert row.get_attribute("data-meant") and row.is_displayed()
        assert row.find_element("tag name", "code").text == run.run_id
        browser.execute_script("delete document.querySelector('tr.found').dataset.meant")


def pointed_at(browser: Any, number: int) -> list[str]:
    """Moves the pointer over a chart until it means a run; returns the lines that it is given."""
    from selenium.webdriver import ActionChains

    canvas = browser.find_element("css selector", f".charts figure:nth-child({number}) .canvas")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    tip = browser.find_element("css selector", f".charts figure:nth-child({number}) .tip")
    for across in range(-200, 200, 20):
        ActionChains(browser).move_to_element_with_offset(canvas, across, -60).perform()
        if tip.is_displayed():
            return str(tip.text).split("\n")
    raise AssertionError("nothing was meant")


def click_here(browser: Any) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).click().perform()


def test_metric_split_scale_and_lines_can_be_switched(browser: Any, show: Show) -> None:
    assert show(SIXTY) == []
    for name, value in (
        ("metric", "loss"),
        ("scale", "log"),
        ("split", "train"),
        ("shown", "seeds"),
    ):
        click(browser, f'input[name="{name}"][value="{value}"]')
        wait_for_charts(browser)
    headings = [each.text for each in browser.find_elements("css selector", "#charts h3")]
    assert headings == ["Training loss by epoch, 60 runs", "Training loss over lr, 60 runs"]
    title, value, spread = pointed_at(browser, 1)
    assert title.startswith("optimizer ") and value.startswith("mean training loss ")
    assert spread.endswith(" of 5 runs")
    click(browser, 'input[name="shown"][value="colours"]')
    wait_for_charts(browser)
    assert pointed_at(browser, 1)[2].endswith(" of 20 runs")
    assert browser.get_log("browser") == []


@pytest.mark.long
@pytest.mark.parametrize(
    "record",
    [
        pytest.param(FOUR, id="4 runs"),
        pytest.param(SEARCH, id="a search"),
        pytest.param(OF_TWO, id="two workloads"),
        pytest.param(sweep({"model": ["mlp", "cnn"]}), id="no rates"),
        pytest.param(sweep({"lr": LRS}, epochs=1), id="one epoch"),
        pytest.param(BALANCED, id="balanced accuracy"),
        pytest.param(HOSTILE, id="names that mean something elsewhere"),
        pytest.param(sweep({}), id="one run"),
        pytest.param(sweep({"seed": [0, 1, 2]}), id="seeds alone"),
        pytest.param(replace(FOUR, runs=[failed(r, "no") for r in FOUR.runs]), id="no score"),
        pytest.param(replace(FOUR, runs=[]), id="no run"),
    ],
)
def test_each_choice_of_any_sweep_can_be_made(
    record: SweepRecord, browser: Any, show: Show
) -> None:
    assert show(record) == []
    count = len(browser.find_elements("css selector", "#choices input, #choices option"))
    for number in range(count):
        browser.execute_script(
            """const all = document.querySelectorAll('#choices input, #choices option');
            const chosen = all[arguments[0]], list = chosen.parentNode;
            if (chosen.type === 'radio') return chosen.click();
            chosen.selected = true; list.dispatchEvent(new Event('change'));""",
            number,
        )
        wait_for_charts(browser)
    assert browser.get_log("browser") == []


def test_charts_are_of_one_workload_that_passes_the_filter(browser: Any, show: Show) -> None:
    assert show(OF_TWO) == []
    titles = "return [...document.querySelectorAll('#charts h3')].map(each => each.textContent)"
    assert all(title.endswith(", 12 runs") for title in browser.execute_script(titles))
    box(browser, "dataset", "digits").click()
    wait_for_charts(browser)
    assert all(title.endswith(", 12 runs") for title in browser.execute_script(titles))
    chosen = "return document.querySelector('select[name=workload]').selectedOptions[0].text"
    assert browser.execute_script(chosen) == "dataset=cifar10"


def test_many_numbers_are_filtered_by_a_range(browser: Any, show: Show) -> None:
    rates = [10 ** (-4 + place / 13) for place in range(40)]
    assert show(sweep({"optimizer": OPTIMIZERS, "lr": rates})) == []
    script = """const [low, high] = document.querySelectorAll('#filter input[type=number]');
        low.value = '1e-3'; high.value = '0.01';
        for (const each of [low, high]) each.dispatchEvent(new Event('input'))"""
    browser.execute_script(script)
    shown = list(map(float, column(browser, "#runs", 2)))
    assert len(shown) == 3 * 14 and 1e-3 <= min(shown) <= max(shown) <= 0.01
    browser.find_element("id", "clear").click()
    assert len(column(browser, "#runs", 2)) == 120


def test_names_are_shown_as_they_are_and_run_nothing(browser: Any, show: Show) -> None:
    assert show(HOSTILE) == []
    lines = pointed_at(browser, 2)
    assert any(f"model {choice}" in lines[2] for choice in HOSTILE.grid["model"])
    assert not browser.find_elements("css selector", "img[src=x]")
    assert len(browser.find_elements("css selector", "script")) == 4


@pytest.mark.long
def test_a_thousand_runs_are_all_to_be_sorted_and_filtered(browser: Any, show: Show) -> None:
    size = len(page(THOUSAND).encode())
    assert size < 5_000_000
    assert show(THOUSAND) == []
    loaded = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
    print(f"{size:,} bytes, open after {browser.execute_script(loaded):.0f} ms")
    assert len(column(browser, "#runs", 0)) == 1000
    text = browser.find_element("id", "charts").text
    assert "Curves have 33 of 50 epochs, evenly spaced." in text
    click(browser, "#runs thead th:nth-child(4) button")  # batch size
    assert column(browser, "#runs", 3) == [
        str(size) for size in (32, 64, 128, 256, 512) for _ in range(200)
    ]
    box(browser, "batch_size", "all").click()
    box(browser, "batch_size", "256").click()
    wait_for_charts(browser)
    assert len(column(browser, "#runs", 0)) == 200
    assert pointed_at(browser, 1)[0] in {run.name for run in THOUSAND.runs}


def test_without_scripts_the_page_is_the_hundred_best(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(THOUSAND))
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(browser, path)
        seen = [
            row.is_displayed()
            for row in browser.find_elements("css selector", "#runs tbody tr")[:120]
        ]
        assert seen == [True] * 100 + [False] * 20
        for name in ("filter", "charts"):
            assert not browser.find_element("id", name).is_displayed()
        assert "The best 100 of 1,000 runs" in browser.find_element("id", "runs").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
