"""What a server's message of a failed request says of other peers of its cluster.

The texts are those of Qdrant's source, in `lib/collection/src/shards/replica_set`,
`lib/api/src/grpc/transport_channel_pool.rs` and `lib/storage/src/content_manager/consensus_manager.rs`; they
reach a client inside others, over HTTP and gRPC alike.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFault:
    """What a message says of the peers that a request lacked; the server's list of peers says more."""

    addresses: frozenset[str] = frozenset()
    """URIs of peers that the server could not reach, without a slash at the end."""
    peers: frozenset[int] = frozenset()
    """Numbers of such peers."""
    is_write: bool = False
    """Whether points were to be written."""
    lacks_majority: bool = False
    """Whether the peers could not agree, for which more than half of them must be there."""


def find_peer_fault(text: str) -> PeerFault | None:
    """Returns what a message says of other peers; None if it is about something else."""
    lacks_majority = bool(_NO_MAJORITY.search(text))
    if not lacks_majority and not _READ.search(text) and not _WRITE.search(text):
        return None
    return PeerFault(
        addresses=frozenset(_named(_ADDRESS, text)),
        peers=frozenset(map(int, _named(_PEER, text))),
        is_write=not lacks_majority and not _READ.search(text),
        lacks_majority=lacks_majority,
    )


def _named(pattern: re.Pattern[str], text: str) -> list[str]:
    return [next(filter(None, found.groups())).rstrip("/") for found in pattern.finditer(text)]


_READ = re.compile(r"\d+ of \d+ read operations failed|does not have enough active replicas")

_WRITE = re.compile(
    r"has no active replica"
    r"|Failed to apply operation to at least one `?Active`? replica"
    r"|failed to apply operation and deactivation timed out"
    r"|no leader could be selected"
    r"|Failed to connect to \S+, error: |Peer \S+ is not available|no address found for peer \d"
    r"|Tonic transport error|Tonic status error: (?:status: Unavailable|The service is currently unavailable)"
)
"""Matches messages of writes, and of connections to peers: a failed read has those inside its own."""

_NO_MAJORITY = re.compile(
    r"Waiting for consensus operation commit failed"
    r"|Failed to wait for consensus commit"
    r"|leader is not established"
)

_ADDRESS = re.compile(r"Failed to connect to (\S+), error: |Peer (\S+) is not available")
_PEER = re.compile(
    r"Failed peer: (\d+)|no address found for peer (\d+)|Remote shard on (\d+) failed"
    r"|consensus commit on peer (\d+)"
)
"""Matches the numbers of peers that failed; "on peer N" in other messages is the one that answers."""
