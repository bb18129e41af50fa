"""Checks the layout that is asked for: it counts only for collections that are made."""

from collections.abc import Sequence

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.stores.cluster_layout import ClusterLayout, refuse_layout
from lookalike_core.stores.protocol import Store


def check_layout(layout: ClusterLayout | None, names: Sequence[str], store: Store) -> None:
    """Refuses a layout that the collections of these names do not have, or cannot be made with.

    Unfinished copies count as collections.

    Raises:
        UsageError: the store is embedded, a collection exists with another layout, or the server's cluster
            has too few peers.
        StoreError: the server cannot be asked.
    """
    if layout is None or store.cluster is None:
        refuse_layout(layout)
        return
    there = {name: store.cluster.find_layout(name) for name in names}
    for name, found in there.items():
        if found is not None:
            _require_layout(layout, name, found, store)
    if None in there.values():
        store.cluster.require_layout(layout)


def require_new_layout(layout: ClusterLayout | None, store: Store) -> None:
    """Refuses a layout that no new collection of the store can have.

    Raises:
        UsageError: the store is embedded, or the server's cluster has too few peers.
        StoreError: the server cannot be asked.
    """
    if layout is None or store.cluster is None:
        refuse_layout(layout)
    else:
        store.cluster.require_layout(layout)


def has_layout(layout: ClusterLayout | None, name: str, store: Store) -> bool:
    """Returns whether a collection has what a layout asks for."""
    there = None if store.cluster is None else store.cluster.find_layout(name)
    return layout is None or there is None or layout.find_difference(there) is None


def _require_layout(layout: ClusterLayout, name: str, there: ClusterLayout, store: Store) -> None:
    argument = layout.find_difference(there)
    if argument is None:
        return
    asked = {argument: str(getattr(layout, argument.value))}
    if _can_rebuild(name, store):
        hint = Hint(Action.CHANGE_LAYOUT, {Argument.COLLECTION: name, **asked})
    else:
        hint = Hint(Action.LEAVE_OUT, dict.fromkeys([argument]))
    raise UsageError(
        f"{name} was created with another layout, {there}, which stays as it is", argument=argument, hint=hint
    )


def _can_rebuild(name: str, store: Store) -> bool:
    """Returns whether a collection may be rebuilt: no unfinished copy, and none of another name."""
    return store.find_copy(name) is None and store.manifest(name).collection == name
