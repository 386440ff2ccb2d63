"""Where Hydra looks for options when `optsweep` is started as installed: first in the user's.

Hydra's own `--config-dir` adds options, but cannot replace one that the package has.
"""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from optsweep.cli.options import config_folders


class ProjectSearchPath(SearchPathPlugin):
    """Puts the user's folders before the package's; in other programs it changes nothing."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Hydra calls this before it composes."""
        for folder in config_folders()[:-1]:
            search_path.prepend("optsweep", f"file://{folder}", anchor="main")
