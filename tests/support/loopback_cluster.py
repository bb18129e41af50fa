"""Runs Ray clusters of several nodes on this machine, each with its own processes, as real ones have."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STORE_BYTES = 100_000_000
"""The least object store that Ray recommends; it lies in memory."""


@contextmanager
def running_cluster(*cores: int, head_cores: int = 0) -> Iterator[Any]:
    """Yields a `ray.cluster_utils.Cluster`: a head, and a node for each number of cores."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, about settings of its own
        from ray.cluster_utils import Cluster
    folder = tempfile.mkdtemp(prefix="ray-")  # short, since paths of sockets have at most 107 characters
    node = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(
        initialize_head=True, head_node_args={**node, "num_cpus": head_cores, "temp_dir": folder}
    )
    try:
        for number in cores:
            cluster.add_node(**node, num_cpus=number)
        yield cluster
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
