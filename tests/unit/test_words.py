"""Text that people read uses the field's words: none that DESIGN's glossary retired occurs."""

import re
from pathlib import Path

import pytest

from support.command import ROOT

# Where nobody may use them: single files, and folders with all that lies in them.
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "conf", "docs", ".github")
PLACES = (*PAGES, "src", "experiments", "tests")
SUFFIXES = {".md", ".py", ".yaml", ".yml", ".j2", ".json", ".svg", ""}

# Each with what to write instead. Parts of names count as words: `carry_out` is found too.
RETIRED = {
    r"carr(?:y|ies|ied|ying)(?:[ _]\w+)?[ _]out": "run",
    r"(?<!study\.)t(?:old|ell|ells|elling)": "say, log, send",  # `study.tell` is Optuna's
    r"fil(?:ed|ing)": "stored, saved",
    r"(?:leave|left|status)[ _]notes?": "status file",
    r"(?:take|takes|took|taken|taking)[ _-]?over": "reuse",
    r"courses?": "scheduler, progress",
    r"doors?": "main",
    r"rooms?": "space",
    r"(?:ride|rides|rode|ridden|riding)": "is in",
    r"smaller[ _]company": "smaller stacks",
    r"(?:go|goes|going|gone|went)[ _]on": "continue",
    r"what[ _](?:is|was)[ _]left": "the rest, the remaining",
}


def texts(places: tuple[str, ...]) -> list[Path]:
    """The files to look at: all but this one, which names the words."""
    found = [ROOT / place for place in places]
    inside = [file for place in found if place.is_dir() for file in place.rglob("*")]
    whole = [*(place for place in found if place.is_file()), *inside]
    read = [file for file in whole if file.is_file() and file.suffix in SUFFIXES]
    return sorted(file for file in read if file != Path(__file__))


def retired(text: str) -> list[str]:
    """Where the text uses a retired word: line, word and what to write instead."""
    return [
        f"line {text.count(chr(10), 0, found.start()) + 1}: {found[0]!r}: write {instead}"
        for pattern, instead in RETIRED.items()
        for found in re.finditer(rf"(?<![a-z])(?:{pattern})(?![a-z])", text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("file", texts(PLACES), ids=lambda file: str(file.relative_to(ROOT)))
def test_no_retired_word_occurs(file: Path) -> None:
    assert retired(file.read_text()) == []


@pytest.mark.parametrize(
    "text",
    ["carry_out(jobs)", "it carries\njobs out", "was told", "Course", "taken_over", "goes on"],
)
def test_a_retired_word_is_found_also_in_a_name(text: str) -> None:
    assert retired(text.replace("\n", " "))


@pytest.mark.parametrize("text", ["profile", "footnote", "bedroom", "overrides", "indoors", "of 9"])
def test_other_words_are_left_alone(text: str) -> None:
    assert retired(text) == []
