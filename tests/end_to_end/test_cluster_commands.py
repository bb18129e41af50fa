"""`ingest run`, `ingest rebuild` and `ingest status` on a cluster of three, or on a stand-in for one."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import faulty_proxy as wire
import pytest
from clusters import ClusterOfThree, running_cluster
from faulty_proxy import running_proxy
from lookalike_core.errors import LookalikeError
from qdrant_stand_in import running_stand_in
from quick_retries import IMPATIENT_INGEST


@pytest.fixture
def cluster(own_names: str) -> Iterator[ClusterOfThree]:
    """Yields a cluster; collections of the small model are deleted from it after the test."""
    with running_cluster() as one:
        yield one
        with one.store() as store, suppress(LookalikeError):
            store.delete(f"{own_names}cosine")


@pytest.fixture
def run(shell: Any, draw: Any, cluster: ClusterOfThree) -> Any:
    """Returns a function that ingests a folder into the cluster with these options."""
    draw(shell.folder / "album", "cat/1.png", "dog/1.png")
    return lambda *options, **more: ask(
        cluster, shell, "ingest", "run", "album", *shell.model, *options, **more
    )


def ask(cluster: ClusterOfThree, shell: Any, *words: str, peer: int = 0) -> Any:
    """Runs a command on one of the peers."""
    return shell(*words, "--store", cluster.urls[peer], **cluster.keys)


def test_a_collection_is_made_with_shards_and_replicas(
    run: Any, shell: Any, cluster: ClusterOfThree, own_names: str
) -> None:
    """The same options are accepted again; others are refused, and a rebuild changes them."""
    options = ("--shards", "4", "--replicas", "2", "--write-consistency", "2")
    made = run(*options)
    assert made.code == 0, made.err
    name = f"{own_names}cosine"
    again = run(*options, "--dry-run")
    assert again.code == 0, again.err
    refused = run("--shards", "3")
    assert refused.code == 2
    assert (
        f"{name} was created with another layout, 4 shards, 2 replicas of each, writes confirmed by 2"
        in refused.err
    )
    assert f"change that with: ingest rebuild --store {cluster.urls[0]} {name} --shards 3" in refused.err
    rebuilt = ask(cluster, shell, "ingest", "rebuild", name, "--shards", "3")
    assert rebuilt.code == 0, rebuilt.err
    with cluster.store() as store:
        assert str(store.cluster.find_layout(name)).startswith("3 shards, ")


def test_every_peer_serves_what_others_made(
    run: Any, shell: Any, cluster: ClusterOfThree, own_names: str
) -> None:
    """Two parts through two peers, a rebuild through the third; a search and a verification through each."""
    for peer in (0, 1):
        part = run("--shards", "3", "--part", f"{peer + 1}/2", peer=peer)
        assert part.code == 0, part.err
    name = f"{own_names}cosine"
    rebuilt = ask(cluster, shell, "ingest", "rebuild", name, "--shards", "2", peer=2)
    assert rebuilt.code == 0, rebuilt.err
    for peer in range(3):
        query = ("search", "query", "album/cat/1.png", "--include-self", "--json", "--collection", name)
        found = ask(cluster, shell, *query, peer=peer)
        assert found.code == 0, found.err
        assert [hit["path"] for hit in found.json[0]["hits"]] == ["cat/1.png", "dog/1.png"]
        sound = ask(cluster, shell, "ingest", "verify", name, peer=peer)
        assert sound.code == 0, (sound.out, sound.err)
        with cluster.store(peer) as store:
            assert str(store.cluster.find_layout(name)).startswith("2 shards, ")


def test_status_shows_peers_and_shards(run: Any, shell: Any, cluster: ClusterOfThree, own_names: str) -> None:
    """As a table with what is wrong, and as JSON in full."""
    assert run("--shards", "2", "--replicas", "2").code == 0
    status = partial(ask, cluster, shell, "ingest", "status")
    text, [record] = status().out, status("--json").json
    assert "cluster of 3 peers\n" in text
    assert all(f"  peer {peer['id']} at {peer['address']}\n" in text for peer in record["peers"])
    assert "  2 shards, 2 replicas of each, writes confirmed by 1\n" in text
    sharding = next(
        each["sharding"] for each in record["collections"] if each["name"] == f"{own_names}cosine"
    )
    assert (sharding["shards"], sharding["replicas"], sharding["write_consistency"]) == (2, 2, 1)
    assert {one["peer"] for one in sharding["placed"]} <= {peer["id"] for peer in record["peers"]}
    assert [one["shard"] for one in sharding["placed"]] == [0, 0, 1, 1]
    if cluster.stand_in is not None:
        cluster.stand_in.down = {102}
        text = status().out
        assert "  peer 102 at http://node-102:6335/: not reached lately (Failed to connect)\n" in text
        assert "  shard 0 has 1 of 2 replicas (Dead on http://node-102:6335/)\n" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--replicas", "4"], "has 3 peers, too few for 4 replicas of each shard; use --replicas 3"),
        (
            ["--replicas", "2", "--write-consistency", "3"],
            "a write cannot be confirmed by 3 replicas",
        ),
        (["--shards", "0"], "--shards"),
    ],
)
def test_a_layout_that_cannot_be_had_is_refused(
    run: Any, cluster: ClusterOfThree, own_names: str, options: list[str], said: str
) -> None:
    """Nothing is made."""
    refused = run(*options)
    assert (refused.code, said in refused.err) == (2, True), refused.err
    with cluster.store() as store:
        assert f"{own_names}cosine" not in store


def test_an_embedded_store_has_no_layout(shell: Any, draw: Any) -> None:
    """Refused before a model is exported."""
    draw(shell.folder / "album", "cat/1.png")
    for option in ("--shards", "--replicas", "--write-consistency"):
        refused = shell.ingest("album", option, "2")
        assert refused.code == 2
        assert "an embedded store has neither shards nor replicas" in refused.err
        assert f"leave {option} out" in refused.err
    assert not (shell.folder / "home/models").exists()


def test_copies_and_imports_take_a_layout(
    shell: Any, draw: Any, cluster: ClusterOfThree, own_names: str
) -> None:
    """In the cluster; in an embedded store they do not."""
    draw(shell.folder / "album", "cat/1.png", "dog/1.png")
    name, layout = f"{own_names}cosine", ("--shards", "4", "--replicas", "2", "--write-consistency", "2")
    assert shell.ingest("album").code == 0
    assert shell("search", "export", "--output", "album.parquet").code == 0
    for words in (
        ("copy", name, "--store", "embedded", "--to", cluster.urls[0]),
        ("import", "album.parquet", "--store", cluster.urls[0]),
    ):
        done = shell("ingest", *words, *layout, **cluster.keys)
        assert done.code == 0, done.err
        with cluster.store() as store:
            assert (
                str(store.cluster.find_layout(name)) == "4 shards, 2 replicas of each, writes confirmed by 2"
            )
            store.delete(name)
    for words in (("copy", name, "--to", "embedded:other"), ("import", "album.parquet", "--as", "other")):
        refused = shell("ingest", *words, *layout)
        assert (refused.code, "has neither shards nor replicas; " in refused.err) == (2, True), refused.err


def test_an_ingest_that_loses_a_peer_names_it_and_continues_once_it_is_back(
    shell: Any, draw: Any, own_names: str
) -> None:
    """The peer is lost between two batches, and stays away for all tries; the same command continues."""
    draw(shell.folder / "album", *(f"cat/{colour}.png" for colour in ("red", "green", "blue", "gold")))
    with running_stand_in() as server, running_proxy(("127.0.0.1", server.port)) as proxy:
        server.peers = [101, 102, 103]
        words = ["run", "album", "--store", proxy.url, "--shards", "3", "--batch-size", "2", *shell.model]
        proxy.plan(r"PUT .*/points\b", wire.passing, wire.after(lambda: server.down.add(102)))
        lost = shell("python", "-c", IMPATIENT_INGEST, *words)
        assert lost.code == 5, lost.err
        assert "Failed to connect to http://node-102:6335/" in lost.err
        assert (
            "(5 tries); peer 102 at http://node-102:6335/ cannot be reached; shard 1 has 0 of 1 active "
            "replicas; start it again; run the same command again" in lost.err
        )
        assert server.client.count(f"{own_names}cosine").count == 2
        server.down.clear()
        again = shell("python", "-c", IMPATIENT_INGEST, *words)
        assert again.code == 0, again.err
        assert server.client.count(f"{own_names}cosine").count == 4
