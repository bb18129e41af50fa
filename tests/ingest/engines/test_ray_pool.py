"""How many workers embed on a Ray cluster, and what each of them gets."""

from pathlib import Path

import pytest
from lookalike_core.errors import LookalikeError, ProviderError
from lookalike_core.settings import ProviderChoice, Settings
from lookalike_ingest.engines.ray_engine import choose_pool

HEAD = {"CPU": 2.0}
WITH_GPUS = {"CPU": 16.0, "GPU": 4.0}


def node(*, alive: bool = True, **resources: float) -> dict[str, object]:
    """Returns a node as Ray lists it."""
    return {"Alive": alive, "Resources": {"memory": 1e9, **resources}}


def settings(provider: ProviderChoice = ProviderChoice.AUTO, threads: int | None = None) -> Settings:
    """Returns settings that say how to compute."""
    return Settings(home=Path("/home"), provider=provider, threads=threads)


@pytest.mark.parametrize(
    ("cores", "threads", "expected"),
    [
        ([16, 8], None, (6, 4)),
        ([16, 2], None, (9, 2)),
        ([16, 8], 8, (3, 8)),
        ([16, 8], 16, (1, 16)),
        ([16, 0], None, (4, 4)),
        ([1], None, (1, 1)),
    ],
)
def test_a_worker_has_a_few_cores(cores: list[int], threads: int | None, expected: tuple[int, int]) -> None:
    """Four of them, fewer where a node has fewer, or as many as are asked for."""
    nodes = [node(CPU=each) if each else node() for each in cores]
    pool = choose_pool(nodes, settings(threads=threads))
    assert (pool.workers, pool.cores, pool.gpus) == (*expected, 0)


@pytest.mark.parametrize("provider", [ProviderChoice.AUTO, ProviderChoice.CUDA])
def test_a_worker_has_one_gpu_and_its_share_of_the_cores(provider: ProviderChoice) -> None:
    """Nodes without a GPU embed nothing then."""
    pool = choose_pool([node(**HEAD), node(**WITH_GPUS), node(CPU=8, GPU=1)], settings(provider))
    assert (pool.workers, pool.gpus, pool.cores) == (5, 1, 4)
    pool = choose_pool([node(**WITH_GPUS)], settings(provider, threads=2))
    assert (pool.workers, pool.gpus, pool.cores) == (4, 1, 2)


def test_the_processor_can_be_asked_for_where_there_are_gpus() -> None:
    """All cores are used, and no GPU."""
    pool = choose_pool([node(**WITH_GPUS)], settings(ProviderChoice.CPU))
    assert (pool.workers, pool.gpus, pool.cores) == (4, 0, 4)


def test_lost_nodes_do_not_count() -> None:
    """Ray goes on listing them."""
    nodes = [node(**WITH_GPUS, alive=False), node(CPU=4)]
    assert choose_pool(nodes, settings()).gpus == 0
    with pytest.raises(ProviderError, match="no node of the Ray cluster has one"):
        choose_pool(nodes, settings(ProviderChoice.CUDA))


@pytest.mark.parametrize(
    ("nodes", "threads", "message"),
    [
        ([node(CPU=4, alive=False), node()], None, "no node of the Ray cluster has a core"),
        ([node(CPU=4)], 8, "no node of the Ray cluster has the 8 cores of 8 threads"),
    ],
)
def test_a_cluster_without_enough_cores_is_refused(
    nodes: list[dict[str, object]], threads: int | None, message: str
) -> None:
    """Ray would wait for them without an end."""
    with pytest.raises(LookalikeError, match=message):
        choose_pool(nodes, settings(threads=threads))
