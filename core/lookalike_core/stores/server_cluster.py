"""The cluster of a server: its peers, and where the shards of a collection and their replicas are.

Read by Qdrant's documented HTTP interface (https://qdrant.tech/documentation/guides/distributed_deployment/),
as JSON: the client's models refuse states of replicas that a newer server has. A peer is a node of the
cluster.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lookalike_core.errors import LookalikeError, StoreError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.stores.cluster_layout import ClusterLayout
from lookalike_core.stores.retries import Requests
from lookalike_core.stores.server_http import ServerHttp

if TYPE_CHECKING:
    from qdrant_client import models

ACTIVE = "Active"
"""The state of a replica that is read and written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A node of a cluster, as the node that was asked sees it."""

    id: int
    """Its number, by which replicas name it."""
    address: str
    """The address at which the other peers reach it."""
    fault: str | None
    """Why the peer that was asked could not send to it lately; null if it could, or did not have to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A copy of a shard on a peer."""

    shard: int
    """The number of the shard, from 0 on."""
    peer: int
    """The peer that has it."""
    state: str
    """Qdrant's word, such as `Active`, `Dead` (it missed writes) or `Partial` (it is being copied)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharding:
    """How a collection is spread over a cluster."""

    shards: int
    """The number of shards."""
    replicas: int
    """The number of copies that each shard should have."""
    write_consistency: int
    """The number of replicas that must confirm a write while one fails."""
    placed: Sequence[Replica]
    """All replicas, by shard and peer."""
    transfers: int
    """How many replicas are being copied from one peer to another."""

    @property
    def layout(self) -> ClusterLayout:
        """The numbers of shards and replicas that were asked for."""
        return ClusterLayout(
            shards=self.shards, replicas=self.replicas, write_consistency=self.write_consistency
        )

    @property
    def lacking(self) -> dict[int, int]:
        """The shards with fewer active replicas than they should have, each with how many it has."""
        active = dict.fromkeys(range(self.shards), 0) | dict.fromkeys((one.shard for one in self.placed), 0)
        for one in self.placed:
            active[one.shard] += one.state == ACTIVE
        return {shard: count for shard, count in sorted(active.items()) if count < self.replicas}


class ServerCluster:
    """What only a server has: the layout of its collections, and the cluster that it may belong to."""

    def __init__(
        self,
        requests: Requests,
        http: ServerHttp | None,
        find_info: "Callable[[str], models.CollectionInfo | None]",
    ) -> None:
        self._requests, self._http, self._find_info = requests, http, find_info

    def find_layout(self, name: str) -> ClusterLayout | None:
        """Returns the layout of a collection, complete; None if there is none of this name."""
        info = self._find_info(name)
        return None if info is None else layout_of(info)

    def require_layout(self, layout: ClusterLayout) -> None:
        """Refuses a layout that a new collection cannot have: a server would make fewer replicas, silently.

        Raises:
            UsageError: the cluster has too few peers.
            StoreError: the peers cannot be read.
        """
        if layout.replicas is None or layout.replicas == 1:
            return
        peers = len(self._read_peers()) or 1
        if layout.replicas > peers:
            there = "is one server alone, not a cluster" if peers == 1 else f"has {peers} peers"
            raise UsageError(
                f"{self._requests.label} {there}, too few for {layout.replicas} replicas of each shard",
                argument=Argument.REPLICAS,
                hint=Hint(Action.USE, {Argument.REPLICAS: str(peers)}),
            )

    def read_peers(self) -> list[Peer]:
        """Returns the peers, by address; none for a server alone, or if they cannot be read."""
        try:
            return self._read_peers(tries=1)
        except StoreError:
            return []

    def read_sharding(self, name: str) -> Sharding | None:
        """Returns where a collection is; None if that cannot be read."""
        try:
            info = self._find_info(name)
            found = self._ask(f"/collections/{quote(name)}/cluster", f"looking for the shards of {name}", 1)
        except LookalikeError:
            return None
        return None if info is None or found is None else _sharding(layout_of(info), found)

    def find_unheld_shards(self, name: str) -> dict[int, str | None]:
        """Returns the shards of which the peer that answers has no active replica, with the state of its own.

        The state is None where it has none. A snapshot lacks those, and has former points of the others.

        Raises:
            StoreError: that cannot be read.
        """
        found = self._ask(f"/collections/{quote(name)}/cluster", f"looking for the shards of {name}") or {}
        here, states = int(found.get("peer_id") or 0), dict[int, str | None]()
        for one in replicas_in(found):
            states.setdefault(one.shard, None)
            if one.peer == here:
                states[one.shard] = one.state
        return {shard: state for shard, state in states.items() if state != ACTIVE}

    def count_peers(self) -> int:
        """Returns how many peers the cluster has; 1 for a server alone.

        Raises:
            StoreError: that cannot be read.
        """
        return len(self._read_peers()) or 1

    def _read_peers(self, *, tries: int | None = None) -> list[Peer]:
        return peers_in(self._ask("/cluster", f"looking at the cluster of {self._requests.label}", tries))

    def _ask(self, path: str, doing: str, tries: int | None = None) -> Mapping[str, Any] | None:
        """Returns an answer; None where no server can be asked."""
        if self._http is None:
            return None
        found = self._requests.make(partial(self._http.ask, "GET", path), doing, tries=tries)
        if not isinstance(found, Mapping):
            raise StoreError(f"the server's answer describes no cluster ({found!r:.100})")
        return found


def layout_of(info: "models.CollectionInfo") -> ClusterLayout:
    """Returns the layout in a collection's description."""
    params = info.config.params
    return ClusterLayout(
        shards=params.shard_number or 1,
        replicas=params.replication_factor or 1,
        write_consistency=params.write_consistency_factor or 1,
    )


def peers_in(found: Mapping[str, Any] | None) -> list[Peer]:
    """Returns the peers in a server's answer about its cluster, by address; none for a server alone."""
    if found is None or found.get("status") != "enabled":
        return []
    faults = found.get("message_send_failures") or {}
    peers = [
        _peer(number, str((said or {}).get("uri") or ""), faults)
        for number, said in (found.get("peers") or {}).items()
    ]
    return sorted(peers, key=lambda peer: (peer.address, peer.id))


def replicas_in(found: Mapping[str, Any]) -> list[Replica]:
    """Returns the replicas in a peer's answer about a collection, which lists its own shards apart."""
    here = found.get("peer_id") or 0
    own = [(each, here) for each in found.get("local_shards") or ()]
    remote = [(each, each.get("peer_id")) for each in found.get("remote_shards") or ()]
    placed = [
        Replica(shard=int(each.get("shard_id")), peer=int(peer or 0), state=str(each.get("state")))
        for each, peer in (*own, *remote)
    ]
    return sorted(placed, key=lambda one: (one.shard, one.peer))


def _peer(number: str, address: str, faults: Mapping[str, Any]) -> Peer:
    """Returns a peer; faults are listed by address, with or without a slash at its end."""
    fault = faults.get(address) or faults.get(address.rstrip("/")) or faults.get(f"{address}/")
    said = None if fault is None else str(fault.get("latest_error") or "it does not answer")
    return Peer(id=int(number), address=address, fault=said and " ".join(said.split()))


def _sharding(layout: ClusterLayout, found: Mapping[str, Any]) -> Sharding:
    return Sharding(
        shards=layout.shards or 1,
        replicas=layout.replicas or 1,
        write_consistency=layout.write_consistency or 1,
        placed=replicas_in(found),
        transfers=len(found.get("shard_transfers") or ()),
    )
