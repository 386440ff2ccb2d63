"""The documentation as data: its pages, their blocks of code, their commands and their anchors."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.command import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


@dataclass(frozen=True)
class Block:
    """A fenced block with its language; an indented one has the language `sh`."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The blocks of code of a page, in their order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$|((?:^    [^\n]*\n)+)", page.read_text(), re.M | re.S)
    return [
        Block("sh", re.sub(r"^    ", "", indented, flags=re.M))
        if indented
        else Block(language, text)
        for language, text, indented in found
    ]


def commands(page: Path) -> list[str]:
    """The lines to type, without comments, of the page's `sh` and indented blocks."""
    lines = [line for block in blocks(page) if block.language == "sh" for line in _lines(block)]
    return [line for line in lines if line and not line.startswith("#")]


def _lines(block: Block) -> list[str]:
    return re.sub(r"\\\n *", "", block.text).splitlines()


def files(page: Path) -> Iterator[tuple[str, str]]:
    """The files that a page writes out, with their content: blocks that begin with `# PATH`.

    A table has no comments: its content begins below that line.
    """
    for block in blocks(page):
        if named := re.match(r"# ([\w/]+\.(?:py|yaml|csv))\n", block.text):
            is_table = named[1].endswith(".csv")
            yield named[1], block.text[named.end() :] if is_table else block.text


def steps(page: Path) -> Iterator[tuple[str, str]]:
    """A page's files, as `files` has them, and its commands with no name, in their order."""
    for block in blocks(page):
        if named := re.match(r"# ([\w/]+\.(?:py|yaml))\n", block.text):
            yield named[1], block.text
        elif block.language == "sh":
            for line in _lines(block):
                yield "", line


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$|^    [^\n]*$", "", page.read_text(), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """What a link to the page may name after `#`, as GitHub derives it from headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
