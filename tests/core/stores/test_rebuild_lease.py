"""Leases of rebuilds on a server: one process rebuilds, a second is refused, a dead one is replaced."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from lookalike_core.errors import StoreLockedError
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.collection_names import staged_name
from lookalike_core.stores.connection import connect
from lookalike_core.stores.rebuild_lease import Lease, LeaseTimes
from lookalike_core.stores.server import ServerStore
from lookalike_core.stores.server_tuning import ServerTuning
from qdrant_stand_in import QdrantStandIn, running_stand_in

REBUILDER = "lookalike-rebuilder"


QUICK_LEASE = ServerTuning(lease=LeaseTimes(beat_s=0.1, watch_s=60.0, poll_s=0.05))
"""Beats of a tenth of a second, each of which is waited for as long as a busy machine may take."""

SHORT_LEASE = ServerTuning(lease=LeaseTimes(watch_s=0.3, poll_s=0.05))
"""A process without a beat for a moment counts as dead."""


@pytest.fixture
def server() -> Iterator[QdrantStandIn]:
    """Yields a server."""
    with running_stand_in() as one:
        yield one


@pytest.fixture
def stores(server: QdrantStandIn) -> Iterator[tuple[ServerStore, ServerStore]]:
    """Returns two clients of the server."""
    first, second = (connect(server.url, api_key=None, tuning=QUICK_LEASE) for _ in range(2))
    yield first, second
    first.close()
    second.close()


@pytest.fixture
def name(stores: tuple[ServerStore, ServerStore], manifest_of: Callable[..., CollectionManifest]) -> str:
    """Returns the name of a collection with a staged one."""
    manifest = manifest_of()
    stores[0].create(manifest)
    stores[0].create(manifest, name=staged_name(manifest.collection))
    return manifest.collection


def rebuilder(server: QdrantStandIn, name: str) -> object:
    """Returns the process in the lease's record."""
    return (server.client.get_collection(name).config.metadata or {}).get(REBUILDER)


def test_a_second_rebuild_is_refused_and_names_the_first(
    server: QdrantStandIn, stores: tuple[ServerStore, ServerStore], name: str, said: list[str]
) -> None:
    """The message names the process; searches continue, and the record is removed at the end."""
    first, second = stores
    with first.rebuilding(name):
        told_who = rf"{name} is being rebuilt by process {os.getpid()} on "
        with pytest.raises(StoreLockedError, match=told_who) as told, second.rebuilding(name):
            pass
        assert told.value.exit_code == 7
        assert second.manifest(name) == first.manifest(name)
    assert rebuilder(server, name) == ""
    assert len(said) == 1
    with second.rebuilding(name):
        assert rebuilder(server, name)


def test_the_lease_of_a_dead_rebuild_is_taken_over(
    server: QdrantStandIn, stores: tuple[ServerStore, ServerStore], name: str, said: list[str]
) -> None:
    """The dead process' record does not change; the next process logs the check, and continues."""
    dead = {"token": "dead", "host": "elsewhere", "process": 4711, "beat": 9}
    server.client.update_collection(name, metadata={REBUILDER: dead})
    with closing(connect(server.url, api_key=None, tuning=SHORT_LEASE)) as other, other.rebuilding(name):
        other.replace(name)
    assert "process 4711 on elsewhere" in said[0]
    assert name in stores[0]


def test_a_rebuild_that_lost_its_lease_replaces_nothing(
    server: QdrantStandIn, stores: tuple[ServerStore, ServerStore], name: str
) -> None:
    """Another process took it for dead, so it fails before it deletes anything."""
    with stores[0].rebuilding(name):
        other = {"token": "other", "host": "elsewhere", "process": 4711, "beat": 0}
        server.client.update_collection(name, metadata={REBUILDER: other})
        with pytest.raises(StoreLockedError, match="process 4711 on elsewhere"):
            stores[0].replace(name)
    assert rebuilder(server, name) == other
    assert staged_name(name) in stores[0]


def test_of_two_rebuilds_begun_at_once_one_gets_the_lease(
    stores: tuple[ServerStore, ServerStore], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find no lease and write theirs; the last writer holds it."""
    both = threading.Barrier(2, timeout=60)
    outcomes = []
    watch, require = Lease._watch, Lease.require  # noqa: SLF001

    def watch_together(lease: Lease) -> None:
        watch(lease)
        both.wait()

    def require_together(lease: Lease) -> None:
        both.wait()
        require(lease)

    monkeypatch.setattr(Lease, "_watch", watch_together)
    monkeypatch.setattr(Lease, "require", require_together)

    def rebuild(store: ServerStore) -> None:
        try:
            with store.rebuilding(name):
                both.wait()
                outcomes.append("rebuilt")
        except StoreLockedError:
            both.wait()
            outcomes.append("told")

    threads = [threading.Thread(target=rebuild, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["rebuilt", "told"]


def test_the_new_collection_carries_the_lease(
    server: QdrantStandIn, stores: tuple[ServerStore, ServerStore], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that comes before the old one is deleted, or after, sees the holder."""
    delete, seen = ServerStore._delete, list[str]()  # noqa: SLF001 - in the middle of the change

    def disturbed(store: ServerStore, real: str) -> None:
        delete(store, real)
        with pytest.raises(StoreLockedError), stores[1].rebuilding(name):
            pass
        seen.append(real)

    with stores[0].rebuilding(name):
        with monkeypatch.context() as patch:
            patch.setattr(ServerStore, "_delete", disturbed)
            stores[0].replace(name)
        with pytest.raises(StoreLockedError), stores[1].rebuilding(name):
            pass
    assert (seen, rebuilder(server, name)) == ([name], "")
