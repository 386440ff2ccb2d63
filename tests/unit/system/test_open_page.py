"""A page is opened in a browser, or one line says that none is there."""

import webbrowser
from pathlib import Path

import pytest

from optsweep.system.browser import open_page

DISPLAYS = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in DISPLAYS:
        monkeypatch.delenv(name, raising=False)


def opened(path: Path, monkeypatch: pytest.MonkeyPatch, answer: bool) -> tuple[list[str], str]:
    """What a browser that answers so is asked for, and what is said."""
    asked: list[str] = []
    said: list[str] = []

    def open_(url: str, new: int) -> bool:
        asked.append(url)
        return answer

    monkeypatch.setattr(webbrowser, "open", open_)
    open_page(path, said.append)
    return asked, "".join(said)


@pytest.mark.parametrize("name", DISPLAYS)
def test_a_page_is_opened_where_there_is_a_display(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, ":0")
    path = tmp_path / "a report.html"
    assert opened(path, monkeypatch, True) == ([path.as_uri()], "")


def test_without_a_display_no_text_browser_takes_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, said = opened(tmp_path / "report.html", monkeypatch, True)
    assert asked == []
    assert said.startswith("open=true: no browser can be opened here; open ")


def test_a_browser_that_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    _, said = opened(tmp_path / "report.html", monkeypatch, False)
    assert f"open {tmp_path / 'report.html'} in one yourself" in said
