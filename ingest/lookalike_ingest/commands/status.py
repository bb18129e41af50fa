"""`ingest status`: show the collections and what is in them."""

from collections.abc import Sequence

from lookalike_core.cli.console import Verbose, show, show_json
from lookalike_core.cli.named_store import advised
from lookalike_core.cli.options import (
    JsonOption,
    StoreOption,
    store_in_use,
)
from lookalike_core.images.folder_rules import DEFAULT_RULES
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import VectorQuantization
from lookalike_core.stores.protocol import find_ingest_under_way
from lookalike_core.stores.server_cluster import ACTIVE, Peer, Sharding
from lookalike_core.text import format_count

from lookalike_ingest.commands.json_records import Status
from lookalike_ingest.status import CollectionStatus, find_peers, read_statuses


def status(store: StoreOption = None, as_json: JsonOption = False, verbose: Verbose = False) -> None:  # noqa: ARG001
    """Show the collections and what is in them."""
    settings = Settings.from_environment()
    with store_in_use(store, settings) as opened:
        collections = list(read_statuses(opened))
        holder, peers = find_ingest_under_way(opened), find_peers(opened)
        if as_json:
            show_json(
                Status(
                    schema=1,
                    store=opened.label,
                    collections=collections,
                    ingest_under_way=holder,
                    peers=peers,
                )
            )
            return
        show(*_peer_lines(peers))
        if holder is not None:
            show(f"an ingest into this store is under way, by {holder}")
        elif not collections:
            show(f"no collections yet; make one with: {advised('ingest run')} DIR")
        for collection in collections:
            show(*describe_collection(collection, peers, is_local=opened.local is not None))


def _peer_lines(peers: Sequence[Peer]) -> list[str]:
    if not peers:
        return []
    return [
        f"cluster of {format_count(len(peers), 'peer')}",
        *(f"  peer {each.id} at {each.address}" + _fault(each) for each in peers),
    ]


def _fault(peer: Peer) -> str:
    return f": not reached lately ({peer.fault})" if peer.fault else ""


def _sharding_lines(sharding: Sharding, peers: Sequence[Peer]) -> list[str]:
    """Returns the shards and replicas, and each shard that has fewer active replicas than it should."""
    addresses = {peer.id: peer.address for peer in peers}
    moving = f", {format_count(sharding.transfers, 'replica')} on the way" if sharding.transfers else ""
    lines = [f"  {sharding.layout}{moving}"]
    for shard, count in sharding.lacking.items():
        others = [
            f"{one.state} on {addresses.get(one.peer, f'peer {one.peer}')}"
            for one in sharding.placed
            if one.shard == shard and one.state != ACTIVE
        ]
        why = f" ({', '.join(others)})" if others else ""
        lines.append(f"  shard {shard} has {count} of {format_count(sharding.replicas, 'replica')}{why}")
    return lines


def _index_words(collection: CollectionStatus, *, is_local: bool) -> str:
    """Returns how many points the index has, and who adds the others."""
    missing = collection.points - collection.indexed
    if not collection.lacks_index or not missing:
        return (
            f"index of {format_count(collection.indexed, 'point')}"
            if collection.indexed
            else "no index: so few points are compared one by one"
        )
    who = "the next ingest adds" if is_local else "the server is adding"
    return f"index of {collection.indexed} of {format_count(collection.points, 'point')}, {who} {missing}"


def describe_collection(collection: CollectionStatus, peers: Sequence[Peer], *, is_local: bool) -> list[str]:
    """Returns the lines about a collection, in an embedded store or on a server with these peers."""
    manifest, identity = collection.manifest, collection.manifest.identity
    datasets = (
        f"  dataset {name}: {format_count(count, 'image')} in "
        + manifest.datasets.get(name, "an unknown folder")
        + (f" ({rules.summary})" if (rules := manifest.rules_of(name)) != DEFAULT_RULES else "")
        for name, count in collection.datasets.items()
    )
    again = f"{advised('ingest rebuild')} {collection.name}"
    hints = [f"made by another version: {each}; {again}" for each in collection.outdated]
    hints += [f"an unfinished rebuild exists: {again}"] if collection.rebuild_begun else []
    classes = (f"{name or '(none)'} {count}" for name, count in collection.classes.items())
    head = f" and the head {identity.head}" if identity.head else ""
    short = manifest.vector_quantization
    stored = "" if short is VectorQuantization.NONE else f", searched by {short}"
    return [
        f"{collection.name}: {format_count(collection.points, 'point')}",
        f"  {identity.backbone} {identity.layer} {identity.pooling}{head}, {identity.dimension} values",
        f"  {manifest.distance}, {identity.preprocessing}, {identity.precision_class}{stored}",
        f"  weights {manifest.weights.kind} {identity.weights_fingerprint[:16]}",
        f"  {_index_words(collection, is_local=is_local)}",
        *(_sharding_lines(collection.sharding, peers) if collection.sharding else ()),
        *datasets,
        f"  classes: {', '.join(classes)}",
        *(f"  {hint}" for hint in hints),
    ]
