"""Valid names of collections, and the name of one that is being rebuilt."""

import re

from lookalike_core.errors import ManifestError, UsageError
from lookalike_core.hints import Argument
from lookalike_core.stores.collection_manifest import CollectionManifest

STAGED_SUFFIX = ".rebuild"

SLOTS = (f".slot-1{STAGED_SUFFIX}", f".slot-2{STAGED_SUFFIX}")
"""Ends of the names of rebuilt collections on a server. Versions that do not know of them take them for
staged ones, and neither list them nor, since they call their own staged one otherwise, change them."""


def is_collection_name(name: str) -> bool:
    """Returns whether a collection may have this name, by the rules of Qdrant and of file systems.

    That is: no leading dot, which would hide it, no surrogates, and at most 255 bytes of UTF-8.
    """
    allowed = re.fullmatch(r'(?!\.)[^<>:"/\\|?*\x00-\x1f\ud800-\udfff]{1,255}', name)
    return allowed is not None and len(name.encode()) <= _MAX_NAME_BYTES


def is_new_name(name: str) -> bool:
    """Returns whether a collection may be given this name, which no other file of a store can have."""
    is_reserved = name.endswith(RESERVED_ENDS) or name.startswith("ingest-under-way")
    return is_collection_name(name) and not is_reserved


def check_new_name(name: str) -> str:
    """Returns the name if a new collection may have it.

    Raises:
        UsageError: a store could not tell a collection of this name from its other files.
    """
    if not is_new_name(name):
        raise UsageError(
            f"{name!r} cannot be the name of a collection: use letters, digits, dots and dashes, no slashes, "
            f"and none of the ends {', '.join(RESERVED_ENDS)}",
            argument=Argument.AS,
        )
    return name


RESERVED_ENDS = (STAGED_SUFFIX, ".lock", ".holder", ".rebuilding")
"""Ends of names that an embedded store uses beside collections."""

_MAX_NAME_BYTES = 255
"""The limit for a file or folder on every common file system."""


def staged_name(name: str) -> str:
    """Returns the name of the staged collection: the rebuilt one, until it replaces the one in use."""
    return f"{name}{STAGED_SUFFIX}"


def slots_of(name: str) -> tuple[str, str]:
    """Returns the names that a rebuilt collection of this name may have on a server, behind an alias."""
    return f"{name}{SLOTS[0]}", f"{name}{SLOTS[1]}"


def public_name(name: str) -> str:
    """Returns the name of the collection that one of this name is, or is to be when it is rebuilt."""
    for end in (*SLOTS, STAGED_SUFFIX):
        if name.endswith(end):
            return name.removesuffix(end)
    return name


def require_own_name(manifest: CollectionManifest, name: str, *, place: str) -> None:
    """Refuses a manifest that belongs to another collection than the one it is stored beside.

    A staged one may have replaced the collection that it was built for; older manifests have no name.

    Raises:
        ManifestError: it does; the message has both names.
    """
    own = [manifest.name, (manifest.name or "").removesuffix(STAGED_SUFFIX)]
    if manifest.name is None:
        own = [manifest.collection, staged_name(manifest.collection)]
    if name not in own:
        raise ManifestError(
            f"{place} has the manifest of {own[0]} and not that of {name}, whose points may be of another "
            f"space; restore its own manifest, or rename the collection to {own[0]}",
            collection=name,
        )
