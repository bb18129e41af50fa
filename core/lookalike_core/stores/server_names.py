"""What collections are really called on a server, which cannot rename them.

A collection that is made by an ingest has its own name. A rebuilt one keeps the name under which it was
built, one of two slots, and an alias gives it the name of the collection that it replaced; the next one is
built in the other slot. So the server changes from the old one to the new one in a single request (ADR 44).

An alias cannot have the name of a collection that is there. Where the old one has its own name, it is deleted
first, and until the alias is made the new one, which is marked as whole, is found by its slot.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lookalike_core.errors import StoreRefusedError
from lookalike_core.stores.collection_names import (
    STAGED_SUFFIX,
    is_collection_name,
    public_name,
    slots_of,
    staged_name,
)
from lookalike_core.stores.retries import Requests
from lookalike_core.stores.server_metadata import find_info, generation_of, is_whole

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A collection on the server: the name to ask for it by, which may be an alias, and its description."""

    asked_as: str
    info: "models.CollectionInfo"


class ServerNames:
    """The collections of a server by the names that a `Store` knows them by."""

    def __init__(self, client: "QdrantClient", requests: Requests) -> None:
        self._client, self._requests = client, requests

    def find(self, name: str) -> Found | None:
        """Returns a collection, a staged one, or the one behind an alias; None if there is none."""
        if not is_collection_name(name):
            return None
        if name.endswith(STAGED_SUFFIX):
            return self._find_staged(public_name(name))
        info = self.look(name)
        return self._find_successor(name) if info is None else Found(asked_as=name, info=info)

    def look(self, name: str) -> "models.CollectionInfo | None":
        """Returns the description of what the server has under a name; None if there is nothing."""

        def look() -> "models.CollectionInfo | None":
            return find_info(self._client, name) if self._client.collection_exists(name) else None

        return self._requests.make(look, f"looking for {name}", collection=name)

    def list_all(self) -> list[tuple[str, str]]:
        """Returns the collections, each by its name and the one to ask for it by; staged ones left out."""
        there = self._list_real()
        named = [(real, real) for real in there if not real.endswith(STAGED_SUFFIX)]
        if len(named) == len(there):
            return named
        aliases = self._read_allowed_aliases()
        for public in sorted({public_name(real) for real in there if real.endswith(STAGED_SUFFIX)}):
            if public in there:
                continue
            if public_name(aliases.get(public, "")) == public:
                named.append((public, public))
            elif public not in aliases and (found := self._find_whole(public, there)) is not None:
                named.append((public, found.asked_as))
        return named

    def real_staged_name(self, name: str) -> str:
        """Returns what the staged collection of `name` is called, or will be when it is created."""
        public = public_name(name)
        live, begun = self.read_aliases().get(public), staged_name(public)
        if live != begun and self.look(begun) is not None:
            return begun  # an older version began it
        first, second = slots_of(public)
        return second if live == first else first

    def read_aliases(self) -> dict[str, str]:
        """Returns the name of the collection behind each alias.

        Raises:
            StoreRefusedError: the API key does not allow it.
        """
        known = self._requests.make(lambda: self._client.get_aliases().aliases, "listing aliases")
        return {alias.alias_name: alias.collection_name for alias in known}

    def find_behind(self, name: str) -> str | None:
        """Returns the real name of the collection behind an alias; None if `name` is no alias we may see."""
        return self._read_allowed_aliases().get(name)

    def resolve(self, name: str) -> str:
        """Returns the name by which we know what an alias leads to; `name` itself if it is none."""
        aliases = self._read_allowed_aliases()
        behind = aliases.get(name, name)
        if not behind.endswith(STAGED_SUFFIX):
            return behind
        public = public_name(behind)
        return public if aliases.get(public) == behind else staged_name(public)

    def find_others(self, name: str) -> list[str]:
        """Returns real names of what rebuilds of `name` have left: staged ones, and one that was replaced."""
        there, live = self._list_real(), self.read_aliases().get(name)
        return [real for real in (staged_name(name), *slots_of(name)) if real in there and real != live]

    def point(self, names: Iterable[str], real: str, aliases: Iterable[str]) -> None:
        """Makes names aliases of a collection, in one request; `aliases` are those that are there."""
        from qdrant_client import models

        there, changes = set(aliases), list[models.AliasOperations]()
        for name in sorted(names):
            if name in there:
                gone = models.DeleteAlias(alias_name=name)
                changes.append(models.DeleteAliasOperation(delete_alias=gone))
            made = models.CreateAlias(collection_name=real, alias_name=name)
            changes.append(models.CreateAliasOperation(create_alias=made))
        change = partial(self._client.update_collection_aliases, changes)
        self._requests.make(change, f"giving {real} its names", collection=real)

    def _find_staged(self, public: str) -> Found | None:
        """Returns the staged collection; a replaced one that a kill has left in its slot is none."""
        real = self.real_staged_name(public)
        info = self.look(real)
        if info is None:
            return None
        live = self.look(public)
        is_left = live is not None and generation_of(info) < generation_of(live)
        return None if is_left else Found(asked_as=real, info=info)

    def _find_successor(self, public: str) -> Found | None:
        """Returns the whole collection that was to replace a deleted one when a kill came in between."""
        return self._find_whole(public, self._list_real())

    def _find_whole(self, public: str, there: Iterable[str]) -> Found | None:
        found = [
            Found(asked_as=real, info=info)
            for real in (staged_name(public), *slots_of(public))
            if real in there and (info := self.look(real)) is not None and is_whole(info)
        ]
        return max(found, key=lambda one: generation_of(one.info), default=None)

    def _list_real(self) -> list[str]:
        return self._requests.make(
            lambda: [collection.name for collection in self._client.get_collections().collections],
            "listing collections",
        )

    def _read_allowed_aliases(self) -> dict[str, str]:
        """Returns the aliases; none if the API key does not allow listing them."""
        try:
            return self.read_aliases()
        except StoreRefusedError:
            return {}
