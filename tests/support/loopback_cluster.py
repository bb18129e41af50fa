"""Runs Ray clusters of several nodes on this machine, each with its own processes, as real ones have."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

_NODE = {"object_store_memory": 100_000_000, "include_dashboard": False}
"""What every node has: the least object store that Ray recommends, which lies in memory."""

_HEALTH_CHECKS = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
"""A dead node is noticed after five seconds, and not after half a minute."""

EQUAL_PRIORITY = {"RAY_worker_niceness": "0"}
"""Ray's workers have a lower one else, and hardly run beside other processes."""


@contextmanager
def running_cluster(*cores: int, head_cores: int = 0) -> Iterator[Any]:
    """Yields a `ray.cluster_utils.Cluster`: a head, and a node for each number of cores."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, about settings of its own
        from ray.cluster_utils import Cluster
    folder = tempfile.mkdtemp(prefix="ray-")  # short, since paths of sockets have at most 107 characters
    head = {**_NODE, "num_cpus": head_cores, "temp_dir": folder, "_system_config": _HEALTH_CHECKS}
    with mock.patch.dict(os.environ, EQUAL_PRIORITY):
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for number in cores:
                add_node(cluster, number)
            yield cluster
        finally:
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def add_node(cluster: Any, cores: int) -> Any:
    """Adds a node with so many cores."""
    return cluster.add_node(**_NODE, num_cpus=cores)
