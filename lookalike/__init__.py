"""Lookalike finds the images most like a given one.

    import lookalike

    index = lookalike.open("photos.index", model="resnet101v2")
    index.add("~/Pictures")
    for hit in index.search("cat.jpg"):
        print(hit.rank, hit.score, hit.class_name, hit.path)

Everything here is imported when it is first used, so that `import lookalike` takes no time.
"""

from importlib import import_module

from lookalike_core import __version__

TYPE_CHECKING = False
"""True for type checkers, like `typing`'s, which takes longer to import than everything else here."""

if TYPE_CHECKING:
    from lookalike import errors, progress
    from lookalike.fused_index import FusedIndex, fuse
    from lookalike.index import Index, list_collections
    from lookalike.index import open_index as open  # noqa: A004 - `lookalike.open`, as `gzip.open`
    from lookalike.index import restore_index as restore
    from lookalike.model import Model
    from lookalike.records import (
        AddReport,
        Answer,
        Audit,
        Duplicates,
        Evaluation,
        Explanation,
        Hit,
        Map,
        NearDuplicate,
        Neighbours,
        Point,
        Privacy,
        Where,
    )
    from lookalike.searching import ImageInput

__all__ = [
    "AddReport",
    "Answer",
    "Audit",
    "Duplicates",
    "Evaluation",
    "Explanation",
    "FusedIndex",
    "Hit",
    "ImageInput",
    "Index",
    "Map",
    "Model",
    "NearDuplicate",
    "Neighbours",
    "Point",
    "Privacy",
    "Where",
    "__version__",
    "errors",
    "fuse",
    "list_collections",
    "open",
    "progress",
    "restore",
]

_HOMES = {
    "FusedIndex": "fused_index",
    "fuse": "fused_index",
    "Index": "index",
    "list_collections": "index",
    "open": "index",
    "restore": "index",
    "Model": "model",
    "ImageInput": "searching",
}
"""Name -> its module, where that is not `records`."""

_NAMES = {"open": "open_index", "restore": "restore_index"}
"""Name -> its name in its module, where that differs."""


def __getattr__(name: str) -> object:
    """Imports a name of `__all__` when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("errors", "progress"):
        return import_module(f"lookalike.{name}")
    value = getattr(import_module(f"lookalike.{_HOMES.get(name, 'records')}"), _NAMES.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names."""
    return sorted(__all__)
