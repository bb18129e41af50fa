"""Tests killed workers and nodes of a Ray cluster during an ingest, and Ctrl-C: the collection is whole."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loopback_cluster import add_node, running_cluster
from qdrant_stand_in import running_stand_in
from slow_embedding import MARKS
from waiting import wait_until

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None or sys.platform != "linux", reason="needs Ray, and /proc"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about settings of its own
]

RUNS = 5
NODES = 3
IMAGES = 96
ROWS = IMAGES // 4
"""A worker has four batches of one image at a time."""

TIMEOUT_S = 300
SLOW_INGEST = Path(__file__).parents[1] / "support" / "slow_embedding.py"
VECTOR_TOLERANCE = 1e-6
INTERRUPTED = 130


@pytest.fixture
def cluster(full_length: bool) -> Iterator[Any]:
    """Runs three nodes of one core beside a head that has none."""
    if not full_length:
        pytest.skip("run at full length only: make torture")
    with running_cluster(*[1] * NODES) as one:
        yield one


def test_killed_workers_and_nodes_cost_nothing(
    shell: Any, draw: Any, cluster: Any, own_names: str, ledger: Any
) -> None:
    """A worker and then a node die at random moments, five times; each time another node joins."""
    draw(shell.folder / "pictures", *(f"{number % 3}/{number}.png" for number in range(IMAGES)))
    name, command = f"{own_names}euclid", ["run", "pictures", "--distance", "euclid", *shell.model]
    with running_stand_in() as server:
        assert shell("ingest", *command, "--store", server.url).code == 0
        expected = points_of(server, name)
    assert len(expected) == IMAGES
    for seed in range(RUNS):
        chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        moments = sorted(chance.sample(range(2, ROWS * 3 // 4), 2))
        shutil.rmtree(shell.folder / MARKS, ignore_errors=True)
        with running_stand_in() as server:
            words = ["--store", server.url, "--engine", "ray", "--address", cluster.address]
            process = start(shell, [*command, *words, "--batch-size", "1", "--json"])
            reach(process, shell.folder / MARKS, moments[0])
            kill_worker(choose_node(cluster, chance))
            reach(process, shell.folder / MARKS, moments[1])
            cluster.remove_node(choose_node(cluster, chance), allow_graceful=False)
            out, err = process.communicate(timeout=TIMEOUT_S)
            found = points_of(server, name)
        lost = len(expected.keys() - found.keys())
        ledger.add("Ray, a worker and a node killed amid an ingest", 2, lost)
        assert process.returncode == 0, err
        assert json.loads(out)["collections"][0]["added"] == IMAGES
        assert found.keys() == expected.keys()
        for point, (payload, vector) in found.items():
            its_payload, its_vector = expected[point]
            assert payload | {"ingested_at": ""} == its_payload | {"ingested_at": ""}
            np.testing.assert_allclose(vector, its_vector, rtol=0, atol=VECTOR_TOLERANCE)
        add_node(cluster, 1)


def test_an_interrupted_ingest_leaves_the_cluster_and_is_continued(
    shell: Any, draw: Any, cluster: Any, own_names: str
) -> None:
    """Ctrl-C ends workers of this ingest and nothing else; the next ingest embeds what is missing."""
    draw(shell.folder / "pictures", *(f"{number % 3}/{number}.png" for number in range(IMAGES)))
    name, command = f"{own_names}euclid", ["run", "pictures", "--distance", "euclid", *shell.model]
    with running_stand_in() as server:
        words = ["--store", server.url, "--engine", "ray", "--address", cluster.address]
        by_ray = [*command, *words, "--batch-size", "1", "--json"]
        process = start(shell, by_ray)
        wait_until(lambda: server.client.collection_exists(name), timeout_s=TIMEOUT_S)
        reach(process, shell.folder / MARKS, ROWS // 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == INTERRUPTED, err
        assert "Traceback" not in err
        wait_until(lambda: not list_workers(), timeout_s=TIMEOUT_S)
        assert all(node.all_processes["raylet"][0].process.poll() is None for node in cluster.worker_nodes)
        stored = len(points_of(server, name))
        process = start(shell, by_ray)
        out, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, err
        [report] = json.loads(out)["collections"]
        assert (report["added"], report["unchanged"]) == (IMAGES - stored, stored)
        assert len(points_of(server, name)) == IMAGES


def choose_node(cluster: Any, chance: random.Random) -> Any:
    """Returns one of the nodes, at random."""
    return chance.choice(sorted(cluster.worker_nodes, key=raylet_of))


def raylet_of(node: Any) -> int:
    """Returns the process id of a node's own process."""
    return int(node.all_processes["raylet"][0].process.pid)


def start(shell: Any, words: list[str]) -> subprocess.Popen[str]:
    """Starts an ingest whose workers wait before each row."""
    return subprocess.Popen(
        [sys.executable, SLOW_INGEST, *words],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def reach(process: subprocess.Popen[str], marks: Path, rows: int) -> None:
    """Waits until so many rows are about to be embedded; the ingest still runs then."""

    def is_reached() -> bool:
        assert process.poll() is None, process.communicate()
        return marks.exists() and len(list(marks.iterdir())) >= rows

    wait_until(is_reached, timeout_s=TIMEOUT_S)


def kill_worker(node: Any) -> None:
    """Kills a worker that embeds, of this node or, if it has none, of another."""
    raylet, workers = raylet_of(node), list_workers()
    assert workers
    of_node = [pid for pid, parent in workers.items() if parent == raylet]
    os.kill((of_node or sorted(workers))[0], signal.SIGKILL)


def list_workers() -> dict[int, int]:
    """Returns the process id of each worker that embeds, with that of its node."""
    workers = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title, status = (folder / "cmdline").read_text(), (folder / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if title.startswith("ray::MapWorker"):
            workers[int(folder.name)] = int(status.rpartition(")")[2].split()[1])
    return workers


def points_of(server: Any, name: str) -> dict[str, Any]:
    """Returns payload and vector of all points, by id."""
    records, _ = server.client.scroll(name, limit=1000, with_vectors=True)
    return {record.id: (record.payload, np.asarray(record.vector, np.float32)) for record in records}
