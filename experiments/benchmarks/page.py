"""The tables of docs/benchmarks.md: the program writes them, so that no figure is typed by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.shared import Result, Row


def put(page: Path, name: str, summary: str, tables: str) -> None:
    """Puts a part's tables into a page, between the two comments that name the part.

    What stands around the comments stays. A page without them gets a section at its end, with
    `summary` as its text.
    """
    opening, closing = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = page.read_text() if page.exists() else "# Benchmarks\n"
    if opening not in text:
        text += f"\n## `{name}`\n\n{summary}\n\n{opening}\n{closing}\n"
    before, _, rest = text.partition(opening)
    after = rest.partition(closing)[2]
    page.write_text(f"{before}{opening}\n{tables}\n{closing}{after}")


def as_markdown(result: "Result") -> str:
    """A result as Markdown: paragraphs and tables, whose first column alone is to the left."""
    return "\n\n".join(each if isinstance(each, str) else _table(each) for each in result)


def _table(rows: "Sequence[Row]") -> str:
    header, *others = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    dashes = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, dashes, *others))
