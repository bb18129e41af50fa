"""Reads Keras' HDF5 files without trusting them.

HDF5 is more than named arrays: a member may be a link into another file, an array may keep its values in any
file of the machine, be composed of other arrays or need a plug-in to unpack, and a few bytes may declare
terabytes. Keras writes none of this, so all of it is refused before it is followed or takes memory.

Source: https://docs.h5py.org/en/stable/high/group.html and .../dataset.html
"""

from __future__ import annotations

import math
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    import h5py
    import numpy as np

    Named: TypeAlias = h5py.Group | h5py.Dataset

MAX_MEMBERS = 10_000
"""Most layers of a network and names in one list; Keras' largest networks have a few hundred."""

MAX_NAME_BYTES = 1_000
"""The longest name that is read; HDF5 itself allows 64 KB and more."""

_MAX_IDLE_CHUNK_BYTES = 2**20
"""How much larger than its array a chunk may be; unpacking takes memory for the whole chunk."""

_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 32_000: "lzf"}
"""Filters built into HDF5 and h5py; any other is a plug-in that HDF5 would search for on the disk."""


class NotFromKerasError(ValueError):
    """A file contains what Keras never writes; the message says what."""


def get_member(group: h5py.Group, name: str) -> Named:
    """Returns the group or array at a path below `group`, which must be in the same file.

    Raises:
        KeyError: the path does not exist.
        NotFromKerasError: it is a link, or neither a group nor an array.
    """
    import h5py

    found: Named = group
    for part in name.split("/"):
        link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            raise KeyError(f"{name} is not in it")
        if not isinstance(link, h5py.HardLink):
            refuse(f"{name} is a link to something else")
        found = found[part]
        if not isinstance(found, (h5py.Group, h5py.Dataset)):
            refuse(f"{name} is neither a group nor an array")
    return found


def find_subgroup(group: h5py.Group, name: str) -> h5py.Group | None:
    """Returns the group of this name, None if there is none.

    Raises:
        NotFromKerasError: it is a link.
    """
    import h5py

    if group.get(name, getlink=True) is None:
        return None
    found = get_member(group, name)
    return found if isinstance(found, h5py.Group) else None


def iterate_subgroups(group: h5py.Group) -> Iterator[h5py.Group]:
    """Yields the groups directly in a group.

    Raises:
        NotFromKerasError: there are more members than a network has layers, or one of them is a link.
    """
    import h5py

    if len(group) > MAX_MEMBERS:
        refuse(f"{group.name} has {len(group):,} members")
    for name in group:
        found = get_member(group, name)
        if isinstance(found, h5py.Group):
            yield found


def count_names(holder: h5py.Group, attribute: str) -> int | None:
    """Returns the declared length of a list of names, without reading it; None if there is no such list.

    Raises:
        NotFromKerasError: it is longer than in any network.
    """
    if attribute not in holder.attrs:
        return None
    count = math.prod(holder.attrs.get_id(attribute).shape or ())
    if count > MAX_MEMBERS:
        refuse(f"{attribute} has {count:,} entries")
    return count


def has_list(holder: h5py.Group, attribute: str) -> bool:
    """Returns whether there is such a list, whole or split into several attributes."""
    return attribute in holder.attrs or f"{attribute}0" in holder.attrs


def read_list(holder: h5py.Group, attribute: str) -> list[str]:
    """Returns a whole list of names; Keras splits a list that is longer than an HDF5 attribute may be.

    Raises:
        NotFromKerasError: as `count_names` and `read_names`.
    """
    pieces = (f"{attribute}{i}" for i in range(MAX_MEMBERS))
    parts = [attribute] if attribute in holder.attrs else [*takewhile(holder.attrs.__contains__, pieces)]
    counts = {part: count_names(holder, part) or 0 for part in parts}
    if (count := sum(counts.values())) > MAX_MEMBERS:
        refuse(f"{attribute} has {count:,} entries")
    return [name for part in parts if counts[part] for name in read_names(holder, part)]


def read_names(holder: h5py.Group, attribute: str) -> list[str]:
    """Returns a list of names whose length was checked: each may take as much memory as the file.

    Raises:
        NotFromKerasError: it holds something else, or a name that is too long.
    """
    stored = holder.attrs.get_id(attribute)
    if not _is_text(stored.dtype):
        refuse(f"{attribute} holds {stored.dtype} where names are expected")
    values = holder.attrs[attribute].reshape(-1)
    return [_decoded(attribute, value) for value in values]


def read_text(holder: h5py.Group, attribute: str) -> str | None:
    """Returns one short text, None if there is none.

    Raises:
        NotFromKerasError: it is a list, not text, or longer than a name may be.
    """
    if attribute not in holder.attrs:
        return None
    stored = holder.attrs.get_id(attribute)
    if stored.shape != () or not _is_text(stored.dtype):
        refuse(f"{attribute} is not a name")
    return _decoded(attribute, holder.attrs[attribute])


def _is_text(dtype: np.dtype[Any]) -> bool:
    """Returns whether a type is text of fixed or variable length: Keras has written both."""
    import h5py

    return h5py.check_string_dtype(dtype) is not None and dtype.itemsize <= MAX_NAME_BYTES


def _decoded(attribute: str, value: bytes | str) -> str:
    if len(value) > MAX_NAME_BYTES:
        refuse(f"{attribute} holds a name of {len(value):,} characters")
    return value.decode() if isinstance(value, bytes) else value


def check_plain(dataset: Named) -> None:
    """Refuses an array whose values are not stored plainly in the file.

    Raises:
        NotFromKerasError: its values are in other files, composed of other arrays, or need a plug-in to read.
    """
    import h5py

    if not isinstance(dataset, h5py.Dataset):
        refuse(f"{dataset.name} is not an array")
    if dataset.external:
        refuse(f"{dataset.name} stores its values in other files")
    if dataset.is_virtual:
        refuse(f"{dataset.name} is composed of several arrays")
    properties = dataset.id.get_create_plist()
    used = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    if unknown := used - _FILTERS.keys():
        refuse(f"{dataset.name} is compressed with filter {min(unknown)}, a plug-in")
    chunk_bytes = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if chunk_bytes > max(math.prod(dataset.shape or ()) * dataset.dtype.itemsize, _MAX_IDLE_CHUNK_BYTES):
        refuse(f"{dataset.name} is stored in chunks of {chunk_bytes:,} bytes")


def refuse(why: str) -> NoReturn:
    """Raises an error that says what is wrong with a file; whoever opened the file adds its path.

    Raises:
        NotFromKerasError: always.
    """
    raise NotFromKerasError(why)
