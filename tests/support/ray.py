"""A real Ray cluster of two nodes on this machine, where Ray is installed."""

import importlib.util
import os
from typing import Any

from support.servers import free_port

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no calls home
_SMALL = {"object_store_memory": 80 * 2**20, "include_dashboard": False}


def missing() -> str:
    """Why there can be no Ray cluster here; empty where there can."""
    return "" if importlib.util.find_spec("ray") else "ray is not installed (pip install ray)"


class Ray:
    """Two nodes with two cores each, which a `with` block starts and ends.

    The second has resources that the first has not: `second`, and a GPU, or so it says. `client`
    is where Ray's client is answered.
    """

    def __enter__(self) -> "Ray":
        for last in (False, False, True):  # Ray gives a node 30 s, which a busy machine may exceed
            try:
                self._start()
            except Exception:
                if last:
                    raise
            else:
                break
        self.add_second()
        return self

    def _start(self) -> None:
        from ray.cluster_utils import Cluster

        port = free_port()
        head = {"num_cpus": 2, "ray_client_server_port": port, **_SMALL}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.client = f"ray://127.0.0.1:{port}"
        self.address = str(self._cluster.address)
        self._second: Any = None

    def add_second(self) -> None:
        """Adds the second node, and waits until it is there."""
        self._second = self._cluster.add_node(
            num_cpus=2, num_gpus=1, resources={"second": 2}, **_SMALL
        )
        self._cluster.wait_for_nodes()

    def kill_second(self) -> None:
        """Kills the second node with all that runs on it."""
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._second = None

    def __exit__(self, *error: object) -> None:
        self._cluster.shutdown()
