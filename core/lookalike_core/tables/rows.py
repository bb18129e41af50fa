"""The rows of an exported collection: which columns there are, and what of an image is in each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lookalike_core.arrays import FloatVector
from lookalike_core.images.thumbnails import Thumbnail
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.overlapping_roots import file_of
from lookalike_core.stores.points import Payload
from lookalike_core.text import valid_text

COLUMNS = (
    "id",
    "dataset",
    "path",
    "file",
    "class",
    "synset",
    "sha256",
    "width",
    "height",
    "bytes",
    "taken_at",
)
"""The columns of every format, in their order. Parquet has `vector` behind them, `image` if there are
thumbnails, and `ingest`, what only an import needs."""


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableBatch:
    """Consecutive images of a table: `vectors` is float32 `[N, D]`, a row for each payload.

    `thumbnails` are those of the images, None for one that cannot be read; None as a whole if none are
    wanted.
    """

    payloads: Sequence[Payload]
    vectors: FloatVector
    thumbnails: Sequence[Thumbnail | None] | None = None


def row_of(payload: Payload, manifest: CollectionManifest) -> tuple[Any, ...]:
    """Returns the value of each of the `COLUMNS`.

    `file` is None where the dataset's folder is unknown; bytes in it that are not UTF-8 are replaced.
    """
    file = file_of(manifest, payload.dataset, payload.path)
    return (
        payload.id,
        payload.dataset,
        payload.path,
        None if file is None else valid_text(str(file)),
        payload.class_name,
        payload.synset,
        payload.sha256,
        payload.width,
        payload.height,
        payload.bytes,
        payload.taken_at,
    )


def has_formula(payload: Payload) -> bool:
    """Returns whether a spreadsheet would take one of the image's names for a formula."""
    names = (payload.dataset, payload.path, payload.class_name or "", payload.synset or "")
    return any(name.startswith(_FORMULA_STARTS) for name in names)
