"""A headless Chromium that logs its requests and its console, and what tests ask of it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A browser with a profile of its own; skips where none is installed."""
    webdriver = pytest.importorskip("selenium.webdriver")
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no browser: chromium and chromedriver are not installed (Debian packages)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = webdriver.ChromeService(driver)
    with webdriver.Chrome(options=options, service=service) as started:
        yield started


def opened(browser: Any, path: Path) -> tuple[list[str], list[Any]]:
    """Opens a page; returns the addresses that it asked for and what the console says.

    Not those that the browser's own first page asks for, which may be under way still.
    """
    for kind in ("performance", "browser"):
        browser.get_log(kind)
    browser.get(path.as_uri())
    wait_for_charts(browser)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    own = [each["request"]["url"] for each in sent if each["documentURL"] == path.as_uri()]
    return own, browser.get_log("browser")


def wait_for_charts(browser: Any) -> None:
    """Waits until the charts of a report are drawn, where it has any."""
    from selenium.webdriver.support.wait import WebDriverWait

    busy = "return !!document.querySelector('.charted #charts:not([aria-busy=false])')"
    WebDriverWait(browser, 30).until(lambda _: not browser.execute_script(busy))
