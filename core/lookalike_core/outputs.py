"""Output paths: checked before the work starts, and never over files of the user."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lookalike_core.atomic import parse_path, probe_folder
from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_core.images.formats import is_avif, is_heif, is_webp
from lookalike_core.settings import Settings

PAGE_SUFFIXES = (".html", ".htm")
TABLE_SUFFIXES = (".csv", ".jsonl", ".ndjson", ".json")
MODEL_SUFFIXES = (".onnx",)

_HEAD_BYTES = 8192

_MAGIC: Mapping[bytes, str] = {
    b"\xff\xd8\xff": "a JPEG",
    b"\x89PNG": "a PNG",
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"II*\0": "a TIFF or raw image",
    b"MM\0*": "a TIFF or raw image",
    b"II+\0": "a TIFF",
    b"MM\0+": "a TIFF",
    b"IIRO": "a raw image",
    b"IIRS": "a raw image",
    b"IIU\0": "a raw image",
    b"FUJIFILM": "a raw image",
    b"8BPS": "a Photoshop file",
    b"\xff\x0a": "a JPEG XL",
    b"\0\0\0\x0cJXL ": "a JPEG XL",
    b"\0\0\0\x0cjP  ": "a JPEG 2000",
    b"\xffO\xffQ": "a JPEG 2000",
    b"\0\0\1\0": "an icon",
    b"\x76\x2f\x31\x01": "an OpenEXR image",
    b"qoif": "a QOI image",
    b"DDS ": "a DDS image",
    b"#?RADIANCE": "an HDR image",
    b"AT&TFORM": "a DjVu",
    b"%PDF": "a PDF",
    b"\x89HDF\r\n": "an HDF5 file",
    b"SQLite format 3\0": "a database",
    b"PK\3\4": "an archive",
}
"""First bytes of known file types, to name them in the message; other files are not replaced either."""

_PAGE = re.compile(rb"\s*<(!doctype\s+html|html)[\s>]", re.IGNORECASE)
_GENERATOR = b'<meta name="generator" content="Lookalike '
"""In the head of every page."""

IsOurs = Callable[[Path], bool]
"""Whether a file is an earlier result of the same kind, which may be replaced.

Raises:
    OSError: the file cannot be read, so its type is unknown.
"""


def is_page(file: Path) -> bool:
    """Returns whether a file is a page that Lookalike wrote.

    Raises:
        OSError: it cannot be read, so its type is unknown.
    """
    head = _read_head(file)
    return _PAGE.match(head) is not None and _GENERATOR in head


def is_table_of(columns: Sequence[str], *, and_more: bool = False) -> IsOurs:
    """Returns the test for CSV tables with these columns, or, with `and_more`, others behind them, too."""
    header = ",".join(columns).encode()
    ends = {b"", b"\r", b"\n", *([b","] if and_more else [])}

    def is_table(file: Path) -> bool:
        head = _read_head(file)
        return head.startswith(header) and head[len(header) : len(header) + 1] in ends

    return is_table


def is_json_of(keys: Sequence[str]) -> IsOurs:
    """Returns the test for files of JSON lines whose first object begins with these keys."""
    values = rb'\s*:\s*("(?:[^"\\]|\\.)*"|[^,"]*)'
    begin = re.compile(
        rb"\{\s*" + (values + rb",\s*").join(b'"%b"' % key.encode() for key in keys) + rb"\s*:"
    )
    return lambda file: begin.match(_read_head(file)) is not None


def is_onnx(file: Path) -> bool:
    """Returns whether a file is an ONNX model: a version, then producer or graph, as protobuf fields.

    Raises:
        OSError: it cannot be read, so its type is unknown.
    """
    head = _read_head(file)
    return len(head) > 2 and head[0] == 8 and 3 <= head[1] < 128 and head[2:3] in {b"\x12", b"\x3a"}  # noqa: PLR2004


def check_output_path(
    text: str | Path,
    option: Argument | str,
    suffixes: Sequence[str] = (),
    *,
    is_ours: IsOurs = is_page,
) -> Path:
    """Returns the path to write an option's result to, checked before the work starts.

    A link is followed, so that it is kept. The check leaves nothing behind. Only an empty file, or an earlier
    result of the same kind (`is_ours` of its content), may be replaced.

    Raises:
        UsageError: it is a folder, a device, a pipe, a file of the store or another file that is not
            replaced, or its name has none of the `suffixes`, if any are given.
        OSError: nothing can be written there.
    """
    named = parse_path(str(text), option)
    target = Path(os.path.realpath(named))
    if target.is_dir():
        raise UsageError.of(option, f"{named} is a folder; name the file to write in it", path=named)
    if suffixes and named.suffix.lower() not in suffixes:
        raise UsageError.of(option, f"{named} has to end in {', '.join(filter(None, suffixes))}", path=named)
    if target.exists() and not target.is_file():
        raise UsageError.of(option, f"{named} is a device or a pipe; name a regular file", path=named)
    check_outside_store(target, option)
    if target.exists() and target.stat().st_size and not is_ours(target):
        raise UsageError.of(
            option,
            f"{named} is {_describe_content(target)} and is not replaced; name another file, or remove it",
            path=named,
        )
    probe_folder(target, shown_as=named)
    return target


def check_outside_store(path: Path, option: Argument | str) -> None:
    """Refuses output paths in Lookalike's own folders: those of the home, of any store and collection.

    Raises:
        UsageError: the path is one of them, or is in one.
    """
    settings = Settings.from_environment()
    own = [settings.weights_dir, settings.models_dir, settings.heads_dir, settings.qdrant_dir]
    for folder in (path, *path.parents):
        if any(_is_same(folder, each) for each in own) or _is_collection(folder):
            raise _in_store_error(path, folder, option)
    if any(_is_collection(each.parent) for each in path.parent.glob("*/manifest.json")):
        raise _in_store_error(path, path.parent, option)


def _in_store_error(path: Path, folder: Path, option: Argument | str) -> UsageError:
    return UsageError.of(
        option, f"{path} is in {folder}, which holds lookalike's own files; name another folder", path=path
    )


def check_apart(outputs: Mapping[str, Path | None]) -> None:
    """Refuses outputs that would overwrite each other; `outputs` are the paths of each option.

    Raises:
        UsageError: two options name the same file.
    """
    taken: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is not None and (other := taken.setdefault(path, option)) != option:
            raise UsageError(f"{other} and {option} both name {path}; give each a file of its own")


def _describe_content(path: Path) -> str:
    """Returns a description of an existing file by its first bytes, not by its name."""
    head = _read_head(path)
    if is_webp(head) or is_avif(head) or is_heif(head):
        return "an image"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<svg", b"<?xml", b"<!--")) and b"<svg" in head:
        return "an SVG"
    if head[:1] == b"P" and head[1:2] in b"1234567" and head[2:3].isspace():
        return "a PNM image"
    known = (what for magic, what in _MAGIC.items() if head.startswith(magic))
    return next(known, "no result of an earlier run")


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _is_same(path: Path, other: Path) -> bool:
    """Returns whether both are the same file, or the same name if no file exists."""
    try:
        return path.samefile(other)
    except OSError:
        return path == other


def _is_collection(folder: Path) -> bool:
    return (folder / "manifest.json").is_file() and (folder / "shard").is_dir()
