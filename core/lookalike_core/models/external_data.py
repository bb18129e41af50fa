"""Checks of a model file before ONNX Runtime loads it, and its metadata.

In ONNX a tensor may refer to another file for its values, and the runtime follows that. Exported models
contain all values, so that a file beside a model can never change its results. No option of the runtime
forbids external values in every version, and importing `onnx` takes longer than a search may: the protobuf
messages are walked here, skipping all values, in milliseconds. Source:
https://protobuf.dev/programming-guides/encoding/ and https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from lookalike_core.errors import ModelError

_DEEPEST = 20
"""The deepest nesting of graphs in nodes; exported models have none."""

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_METADATA, _KEY, _VALUE = 14, 1, 2
_LOCATION = "location"

_INSIDE: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "model": {7: "graph", 20: "training", 25: "function"},
        "training": {1: "graph", 2: "graph"},
        "function": {7: "node", 11: "attribute"},
        "graph": {1: "node", 5: "tensor", 15: "sparse"},
        "node": {5: "attribute"},
        "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
        "sparse": {1: "tensor", 2: "tensor"},
    }
)
"""Message -> field number -> submessage, for all messages that may contain a tensor."""


def check_self_contained(path: Path) -> None:
    """Refuses a model that takes values from other files.

    Raises:
        ModelError: it does, or it is not an ONNX file.
        OSError: it cannot be read.
    """
    if list_external_files(path):
        raise ModelError(
            f"{path} reads values from other files, which exported models never do; remove it and try again",
            path=path,
        )


def list_external_files(path: Path) -> set[str]:
    """Returns the names of all files that a model takes values from, as they are in it.

    One whose name is missing is returned as an empty string.

    Raises:
        ModelError: it is not an ONNX file.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return set(_external_files(data, 0, len(data), "model", 0))
        except (ValueError, IndexError) as error:  # an empty file cannot be mapped, either
            raise ModelError(
                f"{path} cannot be loaded (it is not an ONNX file); remove it and try again", path=path
            ) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Returns a model's `metadata_props`; the graph is skipped, so that this is fast.

    Raises:
        ValueError: it is not an ONNX file, or is truncated.
        OSError: it cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            entries = [
                dict(_texts(data, first, last))
                for number, first, last in _fields(data, 0, len(data))
                if number == _METADATA
            ]
        except IndexError as error:
            raise ValueError("it is truncated") from error
    return {entry.get(_KEY, ""): entry.get(_VALUE, "") for entry in entries}


def append_metadata(path: Path, key: str, value: str) -> None:
    """Appends an entry to a model's `metadata_props`: a protobuf message may be extended at its end."""
    texts = ((_KEY, key.encode()), (_VALUE, value.encode()))
    entry = b"".join(field_header(number, len(text)) + text for number, text in texts)
    with path.open("ab") as file:
        file.write(field_header(_METADATA, len(entry)) + entry)


def _texts(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, str]]:
    """Yields number and text of each field of a message whose fields are all texts."""
    for number, first, last in _fields(data, start, end):
        yield number, data[first:last].decode(errors="replace")


def field_header(number: int, size: int) -> bytes:
    """Returns the tag and the length that precede a field of `size` bytes."""
    return _encode_varint(number << 3 | _LENGTH_DELIMITED) + _encode_varint(size)


def _encode_varint(value: int) -> bytes:
    """Encodes a number as a varint: seven bits a byte, lowest first; the eighth bit marks continuation."""
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _encode_varint(rest) if rest else bytes([low])


def _external_files(data: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    """Yields the name of a file for each reference to one in the tensors anywhere in a message.

    Raises:
        ValueError: the message is malformed.
    """
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if message == "tensor":
        yield from _files_of_tensor(data, start, end)
        return
    inside = _INSIDE[message]
    for number, first, last in _fields(data, start, end):
        if number in inside:
            yield from _external_files(data, first, last, inside[number], depth + 1)


def _files_of_tensor(data: mmap.mmap, start: int, end: int) -> list[str]:
    """Returns the names of the files that a tensor refers to; an empty one if it refers to none by a name."""
    found = [field for field in _fields(data, start, end) if field[0] in (_EXTERNAL_DATA, _DATA_LOCATION)]
    if not found:
        return []
    entries = [dict(_texts(data, first, last)) for number, first, last in found if number == _EXTERNAL_DATA]
    return [entry.get(_VALUE, "") for entry in entries if entry.get(_KEY) == _LOCATION] or [""]


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields number, start and end of the content of each field of a message."""
    at = start
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, after = _varint(data, at)
        elif kind == _LENGTH_DELIMITED:
            size, at = _varint(data, at)
            after = at + size
        elif kind in (_FIXED64, _FIXED32):
            after = at + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"there is no wire type {kind}")
        if after > end:
            raise ValueError("a field is longer than its message")
        yield tag >> 3, at, after
        at = after


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """Returns the number in a varint, and the offset of its end."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the eighth bit says that more follow
            return value, at
    raise ValueError("a varint does not end")
