"""A cluster of three Qdrant servers: the real one that `QDRANT_CLUSTER_URLS` names, or a stand-in.

`QDRANT_CLUSTER_URLS` has the URLs of the three peers, separated by commas; `QDRANT_API_KEY` is their key. The
stand-in is one server that answers as a peer of three does, about peers and shards only.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lookalike_core.stores.connection import connect
from lookalike_core.stores.server import ServerStore
from lookalike_core.stores.server_tuning import DEFAULT_SERVER_TUNING, ServerTuning
from qdrant_stand_in import QdrantStandIn, running_stand_in

CLUSTER_URLS = [url for url in os.environ.get("QDRANT_CLUSTER_URLS", "").split(",") if url]
PEERS = [101, 102, 103]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOfThree:
    """The URLs of its peers, and the stand-in if it is one."""

    urls: Sequence[str]
    stand_in: QdrantStandIn | None

    @property
    def keys(self) -> dict[str, str]:
        """The environment variable that has the real cluster's key, which the shell removes; none without."""
        key = os.environ.get("QDRANT_API_KEY")
        return {} if self.stand_in is not None or key is None else {"QDRANT_API_KEY": key}

    @contextmanager
    def store(self, peer: int = 0, *, tuning: ServerTuning = DEFAULT_SERVER_TUNING) -> Iterator[ServerStore]:
        """Opens the store through one of the peers."""
        one = connect(self.urls[peer], api_key=self.keys.get("QDRANT_API_KEY"), tuning=tuning)
        try:
            yield one
        finally:
            one.close()


@contextmanager
def running_cluster() -> Iterator[ClusterOfThree]:
    """Yields the real cluster, if there is one, else the stand-in."""
    if CLUSTER_URLS:
        yield ClusterOfThree(urls=CLUSTER_URLS, stand_in=None)
        return
    with running_stand_in() as one:
        one.peers = list(PEERS)
        yield ClusterOfThree(urls=[one.url] * 3, stand_in=one)
