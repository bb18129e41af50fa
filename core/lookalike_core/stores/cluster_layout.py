"""How a new collection is spread over the nodes of a server's cluster."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.text import format_count

MAX_LAYOUT_NUMBER = 2**32 - 1
"""The largest number in the server's protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterLayout:
    """The shards of a collection and their replicas; None is the server's own setting.

    A write is done when `write_consistency` replicas of each shard have it
    (https://qdrant.tech/documentation/guides/distributed_deployment/).
    """

    shards: int | None = None
    """The number of shards."""
    replicas: int | None = None
    """The number of copies of each shard."""
    write_consistency: int | None = None
    """The number of replicas that must confirm a write while one fails."""

    @property
    def first_argument(self) -> Argument | None:
        """The first argument that was given; None if there is none."""
        return next((argument for argument, _ in self._given()), None)

    def find_difference(self, there: "ClusterLayout") -> Argument | None:
        """Returns the first argument that was given and that a collection has otherwise; None if none is."""
        for argument, value in self._given():
            if value != getattr(there, argument.value):
                return argument
        return None

    def __str__(self) -> str:
        """Returns the numbers that are given, in words."""
        parts = []
        if self.shards is not None:
            parts.append(format_count(self.shards, "shard"))
        if self.replicas is not None:
            parts.append(f"{format_count(self.replicas, 'replica')} of each")
        if self.write_consistency is not None:
            parts.append(f"writes confirmed by {self.write_consistency}")
        return ", ".join(parts)

    def _given(self) -> Iterator[tuple[Argument, Any]]:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                yield Argument(field.name), value


def choose_layout(
    *, shards: int | None, replicas: int | None, write_consistency: int | None
) -> ClusterLayout | None:
    """Returns the layout that is asked for; None if nothing is.

    Raises:
        UsageError: writes would be confirmed by more replicas than there are; a server would silently ask for
            no more than there are.
    """
    if shards is None and replicas is None and write_consistency is None:
        return None
    layout = ClusterLayout(shards=shards, replicas=replicas, write_consistency=write_consistency)
    if replicas is not None and (write_consistency or 0) > replicas:
        raise UsageError(
            f"a write cannot be confirmed by {write_consistency} replicas where each shard has {replicas}",
            argument=Argument.WRITE_CONSISTENCY,
        )
    return layout


def refuse_layout(layout: ClusterLayout | None) -> None:
    """Refuses any layout, for an embedded store.

    Raises:
        UsageError: there is a layout.
    """
    argument = None if layout is None else layout.first_argument
    if argument is not None:
        raise UsageError(
            "an embedded store has neither shards nor replicas; only a collection on a server has them",
            argument=argument,
            hint=Hint(Action.LEAVE_OUT, dict.fromkeys([argument])),
        )
