"""Lines on the terminal as they are: no markup, no colours for numbers, no breaks."""

from rich.console import Console


def say(console: Console, line: str) -> None:
    """Prints a line as it is."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
