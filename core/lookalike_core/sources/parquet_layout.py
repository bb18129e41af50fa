"""Which columns of a Parquet file are the images, their paths and their classes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lookalike_core.errors import UsageError
from lookalike_core.sources.file_systems import arrow_errors, open_seekable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BINARY_COLUMNS = ("image", "jpg", "jpeg", "png", "webp")
"""Columns that hold the bytes of images, the first that is there; img2dataset names them by their format."""

_CLASS_COLUMNS = ("label", "class")
_KEY = "key"
_READ_AT_ONCE = 8 * 2**20
"""How much of a column is read at a time, so that a row group of any size fits into memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetLayout:
    """The columns of a file, by their paths in its schema, and its number of rows.

    `suffix` is what is added to keys, and what images without a path are named by. `class_names` are those
    that numbers in the column of classes stand for. `metadata` is that of the file's schema.
    """

    bytes_column: str
    path_column: str | None
    class_column: str | None
    class_names: Sequence[str]
    suffix: str
    rows: int
    metadata: Mapping[bytes, bytes]

    def bytes_of(self, batch: "pa.RecordBatch") -> "pa.Array":
        """Returns the bytes of the images in a batch."""
        return _column(batch, self.bytes_column)

    def paths_of(self, batch: "pa.RecordBatch") -> list[str | None]:
        """Returns the paths of the rows of a batch; None where there is none."""
        if self.path_column is None:
            return [None] * batch.num_rows
        ending = self.suffix if self.path_column == _KEY else ""
        return [
            None if each is None else f"{each}{ending}"
            for each in _column(batch, self.path_column).to_pylist()
        ]

    def classes_of(self, batch: "pa.RecordBatch") -> list[str | None]:
        """Returns the classes of the rows of a batch; "" where there is none, None without such a column."""
        if self.class_column is None:
            return [None] * batch.num_rows
        return [self._name_class(each) for each in _column(batch, self.class_column).to_pylist()]

    def _name_class(self, value: object) -> str:
        if value is None:
            return ""
        if self.class_names and isinstance(value, int):
            return self.class_names[value] if 0 <= value < len(self.class_names) else ""
        return str(value)


@contextmanager
def open_parquet_file(place: str) -> "Iterator[pq.ParquetFile]":
    """Yields a Parquet file, of which no more is read than asked for; errors in the block become `OSError`.

    Raises:
        FileNotFoundError: it does not exist.
        OSError: it cannot be read, or is no Parquet file.
    """
    with arrow_errors():
        import pyarrow.parquet as pq

        with (
            open_seekable(place) as stream,
            pq.ParquetFile(stream, pre_buffer=False, buffer_size=_READ_AT_ONCE) as file,
        ):
            yield file


def read_layout(place: str) -> ParquetLayout:
    """Returns the layout of a file.

    Raises:
        UsageError: it has no column of images, or several.
        OSError: it cannot be read.
    """
    with open_parquet_file(place) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    metadata = dict(schema.metadata or {})
    class_column = next((name for name in _CLASS_COLUMNS if _has_classes(schema, name)), None)
    column = _find_image_column(schema, place)
    is_struct = _is_image_struct(schema.field(column).type)
    has_key = _KEY in schema.names
    inner = {field.name for field in schema.field(column).type} if is_struct else set()
    return ParquetLayout(
        bytes_column=f"{column}.bytes" if is_struct else column,
        path_column=(f"{column}.path" if "path" in inner else None)
        if is_struct
        else _KEY
        if has_key
        else None,
        class_column=class_column,
        class_names=_read_class_names(metadata, class_column),
        suffix=f".{column}" if not is_struct and column != "image" else "",
        rows=rows,
        metadata=metadata,
    )


def _find_image_column(schema: "pa.Schema", place: str) -> str:
    structs = [field.name for field in schema if _is_image_struct(field.type)]
    if "image" in structs or len(structs) == 1:
        return "image" if "image" in structs else structs[0]
    binary = [
        name for name in _BINARY_COLUMNS if name in schema.names and _is_binary(schema.field(name).type)
    ]
    if not structs and binary:
        return binary[0]
    what = f"several columns of images ({', '.join(structs)})" if structs else "no column of images"
    raise UsageError(
        f"{place} has {what}; there must be `image`, with structs of `bytes` and `path`, or bytes in "
        f"{', '.join(_BINARY_COLUMNS[1:])}. Its columns are {', '.join(schema.names)[:500]}"
    )


def _is_image_struct(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if not pa.types.is_struct(kind):
        return False
    fields = {field.name: field.type for field in kind}
    return "bytes" in fields and _is_binary(fields["bytes"])


def _is_binary(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _has_classes(schema: "pa.Schema", name: str) -> bool:
    import pyarrow as pa

    if name not in schema.names:
        return False
    kind = schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _read_class_names(metadata: Mapping[bytes, bytes], column: str | None) -> list[str]:
    """Returns the names of classes that Hugging Face's metadata has for a column; none if it has none."""
    try:
        names = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError):
        return []
    return list(map(str, names)) if isinstance(names, list) else []


def _column(batch: "pa.RecordBatch", path: str) -> Any:  # noqa: ANN401 - an array of any type
    """Returns a column, or a field of a column of structs."""
    import pyarrow.compute as pc

    name, _, field = path.partition(".")
    column = batch.column(name)
    return pc.struct_field(column, field) if field else column
