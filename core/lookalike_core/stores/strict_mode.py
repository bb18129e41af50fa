"""The limits of a server's strict mode on requests to a collection.

Managed clusters enable it. Source:
https://qdrant.tech/documentation/ops-configuration/administration/#strict-mode.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from qdrant_client import models


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits that our requests could exceed; `None` is no limit.

    `written` points in one upsert, `found` rows in one answer, `searches` in one request, `search_ef` and
    `oversampling` of a search, `listed` values in one condition of a filter; `reads` and `writes` a minute.
    """

    written: int | None = None
    found: int | None = None
    searches: int | None = None
    search_ef: int | None = None
    oversampling: float | None = None
    listed: int | None = None
    reads: int | None = None
    writes: int | None = None
    may_be_exact: bool = True

    @classmethod
    def of(cls, info: "models.CollectionInfo") -> Self:
        """Returns a collection's limits, as reported by the server, if its strict mode is enabled."""
        said = info.config.strict_mode_config
        if said is None or not said.enabled:
            return cls()
        return cls(
            written=said.upsert_max_batchsize,
            found=said.max_query_limit,
            searches=said.search_max_batchsize,
            search_ef=said.search_max_hnsw_ef,
            oversampling=said.search_max_oversampling,
            listed=said.condition_max_size,
            reads=said.read_rate_limit,
            writes=said.write_rate_limit,
            may_be_exact=said.search_allow_exact is not False,
        )

    @property
    def writes_a_second(self) -> int | None:
        """The writes per second allowed, in requests; None without a limit."""
        return None if self.writes is None else max(1, self.writes // 60)


NO_LIMITS = Limits()


def within(wanted: int, *limits: int | None) -> int:
    """Returns the wanted number, or the lowest limit if that is less; at least 1."""
    return max(1, min([wanted, *(limit for limit in limits if limit is not None)]))
