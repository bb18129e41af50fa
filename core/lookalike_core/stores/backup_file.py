"""The file of a backup: an uncompressed tar whose first member lists all others with their SHA-256.

    lookalike-backup.json          the list; see `BackupList`
    collection/manifest.json       of an embedded collection: its files
    collection/shard/...
    collection.snapshot            of a collection on a server: the server's own snapshot
    heads/NAME.npz                 of a collection with a head: the head

Runs of zeros are left out as holes, in the sparse format 1.0 of GNU tar's extended headers, which `tar -x`
and Python read. A backup is read as data: only regular files that the list has, of their listed sizes, are
accepted, and nothing is unpickled.
"""

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, Self

from lookalike_core.atomic import parse_json
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.hints import Action, Hint
from lookalike_core.json_records import read_record
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.collection_names import is_new_name
from lookalike_core.stores.local_folder import MANIFEST, SHARD

LIST = "lookalike-backup.json"
COLLECTION = "collection"
SNAPSHOT = "collection.snapshot"
HEADS = "heads"
BACKUP_SCHEMA = 1

_CHUNK_BYTES = 2**20
_BLOCK_BYTES = 2**16
"""Zeros are left out by blocks of this size."""

_LONGEST_LIST_BYTES = 64 * 2**20
_MOST_FILES = 100_000
_LONGEST_READ_BYTES = 64 * 2**20
"""The largest part that is read at once: a longer header of a member is not ours."""

_LARGEST_HOLES_BYTES = 256 * 2**20
"""Zeros that one file may have beside its data: the engine grows its files by 32 MB."""

_FILE_MODE = 0o600

OnBytes = Callable[[int], None]


class BackupKind(StrEnum):
    """The kind of store that a backup is of, and can be restored to."""

    EMBEDDED = "embedded"
    SERVER = "server"


class BackupError(LookalikeError):
    """A backup is damaged, or is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A file in a backup; `path` is that in the tar, `bytes` and `sha256` are those of its whole content."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupList:
    """What a backup holds: `points` of a `collection` with this `manifest`, in `files`."""

    kind: BackupKind
    collection: str
    points: int
    manifest: CollectionManifest
    created_at: str
    version: str
    files: tuple[ListedFile, ...]
    schema: int = BACKUP_SCHEMA

    @property
    def total_bytes(self) -> int:
        """The bytes of all files, with their zeros."""
        return sum(file.bytes for file in self.files)

    def to_bytes(self) -> bytes:
        """Returns the JSON, with a checksum of its own; `from_bytes` reads it."""
        data = asdict(self) | {"manifest": self.manifest.to_json()}
        return json.dumps(data | {_SUM: _sum_of(data)}, indent=1, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Reads the JSON.

        Raises:
            ValueError: it is damaged, malformed, or names files that no backup has.
        """
        data = parse_json(content)
        if not isinstance(data, dict) or data.pop(_SUM, None) != _sum_of(data):
            raise ValueError("its list of files is damaged")
        if data.get("schema", 0) > BACKUP_SCHEMA:
            raise ValueError("a newer version of lookalike made it; upgrade lookalike")
        try:
            found = read_record(cls, data)
        except (ValueError, LookalikeError) as error:
            raise ValueError(f"its list of files is malformed ({error})") from error
        if not is_new_name(found.collection) or len(found.files) > _MOST_FILES:
            raise ValueError("its list of files is malformed")
        for file in found.files:
            if not _is_allowed(file.path, found.kind) or file.bytes < 0:
                raise ValueError(f"it lists {file.path!r}, which is not a file of a backup")
        if len({file.path for file in found.files}) < len(found.files):
            raise ValueError("it lists a file twice")
        return found


_SUM = "sha256"


_IN_HEADS, _IN_SHARD = 2, 2  # parts of a path


def _sum_of(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _is_allowed(path: str, kind: BackupKind) -> bool:
    """Returns whether a backup of a kind may have a file at this path: relative, below one of our folders."""
    parts = PurePosixPath(path).parts
    is_plain = "/".join(parts) == path and ".." not in parts and not set(path) & set("\\:\0")
    if path == SNAPSHOT:
        return kind is BackupKind.SERVER
    if kind is BackupKind.EMBEDDED and parts[:1] == (COLLECTION,):
        return is_plain and (parts[1:] == (MANIFEST,) or (parts[1:2] == (SHARD,) and len(parts) > _IN_SHARD))
    return is_plain and parts[:1] == (HEADS,) and len(parts) == _IN_HEADS


def is_backup(file: Path) -> bool:
    """Returns whether a file begins like a backup.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        head = opened.read(tarfile.BLOCKSIZE)
    return head.startswith(f"{LIST}\0".encode()) and head[257:262] == b"ustar"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file to back up: its path in the tar, and where it is now."""

    path: str
    source: Path


def write_backup(
    target: Path,
    files: Sequence[SourceFile],
    describe: Callable[[Sequence[ListedFile]], BackupList],
    on_bytes: OnBytes,
) -> BackupList:
    """Writes a backup of files, which are read twice, to `target`; `describe` returns the list with the sums.

    `on_bytes` is told of progress: each byte of the files twice.

    Raises:
        OSError: a file cannot be read, or the disk is full.
        BackupError: a file changed in the meantime.
    """
    looks = [_look_at(file.source, on_bytes) for file in files]
    listed = [
        ListedFile(path=file.path, bytes=look.bytes, sha256=look.sha256)
        for file, look in zip(files, looks, strict=True)
    ]
    contents = describe(listed)
    with (
        target.open("wb") as opened,
        tarfile.open(fileobj=opened, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        data = contents.to_bytes()
        tar.addfile(_member(LIST, len(data)), io.BytesIO(data))
        for file, look in zip(files, looks, strict=True):
            _add(tar, file, look, on_bytes)
    return contents


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """The size and the hash of a file, and its `(offset, bytes)` that are not zeros, with their CRC."""

    bytes: int
    sha256: str
    parts: Sequence[tuple[int, int]]
    crc: int


def _look_at(source: Path, on_bytes: OnBytes) -> _Look:
    digest, size, crc = hashlib.sha256(), 0, 0
    parts: list[tuple[int, int]] = []
    with source.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            for start in range(0, len(chunk), _BLOCK_BYTES):
                block = chunk[start : start + _BLOCK_BYTES]
                if block.count(0) < len(block):
                    crc = zlib.crc32(block, crc)
                    _append_part(parts, size + start, len(block))
            size += len(chunk)
            on_bytes(len(chunk))
    return _Look(bytes=size, sha256=digest.hexdigest(), parts=parts, crc=crc)


def _append_part(parts: list[tuple[int, int]], offset: int, size: int) -> None:
    if parts and sum(parts[-1]) == offset:
        offset, size = parts[-1][0], parts[-1][1] + size
        parts.pop()
    parts.append((offset, size))


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Returns a member without owner and time: the same files give the same backup."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, _FILE_MODE
    return member


def _add(tar: tarfile.TarFile, file: SourceFile, look: _Look, on_bytes: OnBytes) -> None:
    stored = sum(size for _, size in look.parts)
    with file.source.open("rb", buffering=0) as source:
        if stored == look.bytes:
            content = _Parts(b"", source, look.parts)
            tar.addfile(_member(file.path, look.bytes), content)
        else:
            sparse_map = _sparse_map(look)
            member = _member("GNUSparseFile.0/sparse", len(sparse_map) + stored)  # a long name would win
            member.pax_headers = {
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.name": file.path,
                "GNU.sparse.realsize": str(look.bytes),
            }
            content = _Parts(sparse_map, source, look.parts)
            tar.addfile(member, content)
    if content.crc != look.crc:
        raise BackupError(f"{file.source} changed while it was backed up", path=file.source)
    on_bytes(look.bytes)


def _sparse_map(look: _Look) -> bytes:
    """Returns the map of a sparse member: number of parts, offset and size of each, to whole blocks."""
    parts = [*look.parts, (look.bytes, 0)]  # as GNU tar ends it
    numbers = [len(parts), *(number for part in parts for number in part)]
    text = "".join(f"{number}\n" for number in numbers).encode()
    return text + bytes(-len(text) % tarfile.BLOCKSIZE)


class _Parts(io.RawIOBase):
    """Reads a map, then parts of a file; `crc` is that of the parts that were read."""

    def __init__(self, begin: bytes, source: IO[bytes], parts: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.crc = 0
        self._chunks = self._read_all(begin, source, parts)
        self._chunk, self._at = b"", 0

    def _read_all(self, begin: bytes, source: IO[bytes], parts: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        yield begin
        for offset, size in parts:
            source.seek(offset)
            left = size
            while left and (chunk := source.read(min(left, _CHUNK_BYTES))):
                self.crc = zlib.crc32(chunk, self.crc)
                left -= len(chunk)
                yield chunk

    def read(self, size: int = -1) -> bytes:
        """Returns so many bytes, fewer at the end."""
        found = bytearray()
        while size < 0 or len(found) < size:
            if self._at == len(self._chunk):
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._chunk, self._at = chunk, 0
            end = len(self._chunk) if size < 0 else self._at + size - len(found)
            part = self._chunk[self._at : end]
            self._at += len(part)
            found += part
        return bytes(found)


class BackupFile:
    """An open backup, whose list was read and checked.

    Raises:
        BackupError: it is damaged, or no backup.
        UsageError: there is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except (FileNotFoundError, IsADirectoryError) as error:
            raise UsageError(f"there is no backup {path}", path=path, hint=Hint(Action.CHECK_PATH)) from error
        try:
            with self._errors():
                self._tar = tarfile.open(fileobj=_Bounded(self._file), mode="r:")  # noqa: SIM115 - closed by `__exit__`
                self.contents = self._read_list()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tar.close()
        self._file.close()

    def verify(self, on_bytes: OnBytes) -> None:
        """Reads every file and compares it with its listed size and SHA-256.

        Raises:
            BackupError: a file is damaged, missing, or not listed.
        """
        self._read_all(None, on_bytes)

    def extract(self, folder: Path, on_bytes: OnBytes) -> None:
        """Does what `verify` does, and writes all files below a folder; holes stay holes.

        Raises:
            BackupError: as `verify`; some files may have been written.
            OSError: the disk is full.
        """
        self._read_all(folder, on_bytes)

    @contextmanager
    def open_file(self, path: str) -> Iterator[IO[bytes]]:
        """Yields a listed file for reading, after `verify` has been called."""
        with self._errors():
            content = self._tar.extractfile(path)
        if content is None:
            raise BackupError(f"{self.path} lacks {path}", path=self.path)
        with content:
            yield content

    def _read_all(self, folder: Path | None, on_bytes: OnBytes) -> None:
        wanted = {file.path: file for file in self.contents.files}
        with self._errors():
            for member in self._members():
                if (file := wanted.pop(member.name, None)) is None:
                    raise ValueError(f"it holds {member.name!r}, which its list does not have")
                self._read_member(member, file, folder, on_bytes)
            if wanted:
                raise ValueError(f"it lacks {min(wanted)}")

    def _members(self) -> Iterator[tarfile.TarInfo]:
        """Yields the members behind the list; any but a regular file of a harmless path is refused."""
        members = iter(self._tar)
        next(members)
        for member in members:
            if hasattr(tarfile, "data_filter"):  # of Python 3.11.4; what it refuses is refused below, too
                tarfile.data_filter(member, "/backup")
            if not member.isreg():
                raise ValueError(f"it holds {member.name!r}, which is not a regular file")
            yield member

    def _read_list(self) -> BackupList:
        first = self._tar.next()
        if first is None or first.name != LIST or not first.isreg() or first.issparse():
            raise ValueError(_NO_BACKUP)
        if first.size > _LONGEST_LIST_BYTES:
            raise ValueError("its list of files is too long")
        content = self._tar.extractfile(first)
        return BackupList.from_bytes(content.read() if content else b"")

    def _read_member(
        self, member: tarfile.TarInfo, file: ListedFile, folder: Path | None, on_bytes: OnBytes
    ) -> None:
        if member.size != file.bytes or not _has_usual_holes(member):
            raise ValueError(f"{file.path} has another size than its list says")
        content = self._tar.extractfile(member)
        if content is None:
            raise ValueError(f"it lacks {file.path}")
        if folder is None:
            found = _hash(content, None, on_bytes)
        else:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb", buffering=0) as target:
                found = _hash(content, target, on_bytes)
                target.truncate(file.bytes)
        if found != file.sha256:
            raise ValueError(f"{file.path} is damaged: its SHA-256 is not that of the list")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Translates errors about the content."""
        try:
            yield
        except (tarfile.TarError, ValueError, EOFError, zlib.error, RecursionError) as error:
            is_tar = is_backup(self.path)
            said = str(error) or type(error).__name__
            if not is_tar:
                raise BackupError(
                    f"{self.path} is not a backup of lookalike; name the file of a backup", path=self.path
                ) from error
            raise BackupError(f"{self.path} is damaged, or not a backup: {said}", path=self.path) from error


_NO_BACKUP = "it does not begin with the list of a backup"


def _has_usual_holes(member: tarfile.TarInfo) -> bool:
    """Returns whether the parts of a sparse member are in order and its holes of a size that we make."""
    parts: Sequence[tuple[int, int]] = getattr(member, "sparse", None) or [(0, member.size)]
    end = 0
    for offset, size in parts:
        if offset < end or size < 0:
            return False
        end = offset + size
    return end <= member.size <= sum(size for _, size in parts) + _LARGEST_HOLES_BYTES


def _hash(content: IO[bytes], target: IO[bytes] | None, on_bytes: OnBytes) -> str:
    """Returns the SHA-256 of a content, and writes it; chunks of zeros are skipped."""
    digest = hashlib.sha256()
    while chunk := content.read(_BLOCK_BYTES):
        digest.update(chunk)
        if target is not None:
            if chunk.count(0) < len(chunk):
                target.write(chunk)
            else:
                target.seek(len(chunk), io.SEEK_CUR)
        on_bytes(len(chunk))
    return digest.hexdigest()


class _Bounded(io.RawIOBase):
    """A file that is never read in larger parts than our members need; a longer header is not ours."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Returns so many bytes.

        Raises:
            ValueError: they are too many.
        """
        if size < 0 or size > _LONGEST_READ_BYTES:
            raise ValueError("a header in it is too long")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Returns the place in the file."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def readable(self) -> bool:
        """Returns True."""
        return True
