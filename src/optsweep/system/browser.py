"""Opening a page in the person's browser."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

# Without one of these a browser on Linux would be a text browser, which takes the terminal.
_DISPLAYS = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")


def open_page(path: Path, say: Callable[[str], None]) -> None:
    """Opens a file in a new tab of the browser; where there is none, says so in one line."""
    if not _is_opened(path):
        say(f"open=true: no browser can be opened here; open {path} in one yourself")


def _is_opened(path: Path) -> bool:
    if sys.platform == "linux" and not any(map(os.environ.get, _DISPLAYS)):
        return False
    import webbrowser

    try:
        return webbrowser.open(path.as_uri(), new=2)
    except (webbrowser.Error, OSError):
        return False
