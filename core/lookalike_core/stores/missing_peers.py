"""Names the peers of a cluster that a failed request lacked, and what to do about them.

The server is asked, for a few seconds at most, and only after a failure, whose message stays as it is.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Thread
from urllib.parse import quote

from lookalike_core.stores.peer_faults import PeerFault
from lookalike_core.stores.server_cluster import ACTIVE, Peer, Replica, peers_in, replicas_in
from lookalike_core.stores.server_http import ServerHttp

TIMEOUT_S = 5.0
"""Time limit for all questions together."""

_SHOWN = 10
"""How many shards a message lists."""


@dataclass(slots=True, kw_only=True)
class _Cluster:
    """What the server answered in time."""

    peers: Sequence[Peer] = ()
    replicas: Sequence[Replica] = ()
    write_consistency: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lost:
    """A peer that cannot be reached, as far as it is known."""

    id: int | None = None
    address: str | None = None

    def __str__(self) -> str:
        """Returns the peer as the cluster's list has it."""
        name = "a peer" if self.id is None else f"peer {self.id}"
        return name if self.address is None else f"{name} at {self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lacking:
    """The shards of a collection that lack replicas."""

    active: dict[int, int] = field(default_factory=dict)
    """How many active replicas each has left."""
    placed: Counter[int] = field(default_factory=Counter)
    """How many each has, in any state."""
    behind: Sequence[str] = ()
    """Replicas that are not active on peers that are not lost, each with its state."""


def explain_missing_peers(http: ServerHttp, fault: PeerFault, collection: str | None) -> str:
    """Returns which peers and replicas are missing and what to do, as clauses; "" if that is not known.

    `collection` is what the server calls the collection of the request, if it had one.
    """
    cluster = _look(http, collection, fault)
    lost = _find_lost(fault, cluster.peers)
    lacking = _find_lacking(cluster, {peer.id for peer in lost if peer.id is not None})
    if not lost and not lacking.active:
        return ""
    parts = []
    if lost:
        parts.append(f"{_join(map(str, lost))} cannot be reached")
    if fault.lacks_majority:
        parts.append("changes of collections need more than half of the peers")
    else:
        parts += _shard_clauses(lacking)
        parts += _consistency_clauses(fault, cluster, lacking)
    parts.append(_next_step(lost))
    return "; ".join(parts)


def _look(http: ServerHttp, collection: str | None, fault: PeerFault) -> _Cluster:
    """Asks the server; what it does not answer in time, or refuses to, is left out.

    A thread is left behind where it does not answer: no time limit of a library holds for a whole answer.
    """
    found, asked = _Cluster(), http.with_timeout(TIMEOUT_S)

    def look() -> None:
        with suppress(Exception):
            found.peers = peers_in(asked.ask("GET", "/cluster"))
        if collection is None or fault.lacks_majority:
            return
        path = f"/collections/{quote(collection, safe='')}"
        with suppress(Exception):
            found.replicas = replicas_in(asked.ask("GET", f"{path}/cluster"))
        if fault.is_write:
            with suppress(Exception):
                params = asked.ask("GET", path)["config"]["params"]
                found.write_consistency = int(params["write_consistency_factor"])

    looking = Thread(target=look, name="lookalike-peers", daemon=True)
    looking.start()
    looking.join(TIMEOUT_S)
    return replace(found)


def _find_lost(fault: PeerFault, peers: Sequence[Peer]) -> list[_Lost]:
    """Returns the peers that the message names, or that the server could not send to."""
    lost, addresses, numbers = [], set(fault.addresses), set(fault.peers)
    for peer in peers:
        address = peer.address.rstrip("/")
        if peer.fault is not None or address in addresses or peer.id in numbers:
            lost.append(_Lost(id=peer.id, address=peer.address))
        addresses.discard(address)
        numbers.discard(peer.id)
    lost += [_Lost(address=address) for address in sorted(addresses)]
    return lost + [_Lost(id=number) for number in sorted(numbers)]


def _find_lacking(cluster: _Cluster, lost: set[int]) -> _Lacking:
    """Returns the shards with replicas that are not active, or on a lost peer: it takes a write to notice."""
    placed = Counter(one.shard for one in cluster.replicas)
    active = Counter(one.shard for one in cluster.replicas if one.state == ACTIVE and one.peer not in lost)
    addresses = {peer.id: peer.address for peer in cluster.peers}
    behind = {
        f"{one.state} on peer {one.peer}" + (f" at {addresses[one.peer]}" if one.peer in addresses else "")
        for one in cluster.replicas
        if one.state != ACTIVE and one.peer not in lost
    }
    lacking = {shard: active[shard] for shard, count in sorted(placed.items()) if active[shard] < count}
    return _Lacking(active=lacking, placed=placed, behind=sorted(behind))


def _shard_clauses(lacking: _Lacking) -> list[str]:
    """Returns a clause for each number of replicas that shards have left."""
    alike: dict[tuple[int, int], list[int]] = {}
    for shard, count in lacking.active.items():
        alike.setdefault((count, lacking.placed[shard]), []).append(shard)
    clauses = []
    for (count, placed), shards in sorted(alike.items()):
        named = [str(shard) for shard in shards[:_SHOWN]]
        more = [f"{len(shards) - _SHOWN} more"] if len(shards) > _SHOWN else []
        subject = f"shard {named[0]} has" if len(shards) == 1 else f"shards {_join([*named, *more])} have"
        clauses.append(f"{subject} {count} of {placed} active replicas")
    if clauses and lacking.behind:
        clauses[-1] += f" ({', '.join(lacking.behind)})"
    return clauses


def _consistency_clauses(fault: PeerFault, cluster: _Cluster, lacking: _Lacking) -> list[str]:
    """Returns how many replicas must confirm a write, if fewer would do."""
    least, wanted = min(lacking.active.values(), default=0), cluster.write_consistency
    if not fault.is_write or not 0 < least < wanted:
        return []
    return [f"writes must be confirmed by {wanted} replicas, and with a write consistency of {least} go on"]


def _next_step(lost: Sequence[_Lost]) -> str:
    if not lost:
        return "wait until these replicas are active again"
    return "start it again" if len(lost) == 1 else "start them again"


def _join(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
