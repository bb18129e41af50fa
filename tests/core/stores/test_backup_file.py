"""The file of a backup: what it keeps, and the damaged and hostile files that are refused."""

import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lookalike_core.errors import UsageError
from lookalike_core.stores.backup_file import (
    LIST,
    BackupError,
    BackupFile,
    BackupKind,
    BackupList,
    ListedFile,
    SourceFile,
    is_backup,
    write_backup,
)
from made_collections import manifest_of

CONTENTS = {
    "collection/manifest.json": b"{}",
    "collection/shard/empty": b"",
    "collection/shard/hole": bytes(3 * 2**20),
    "collection/shard/wal/öpen-1": b"x" * 100_000 + bytes(2**22) + b"end",
    f"collection/shard/segments/{'long' * 40}/chunk": bytes(2**17) + b"y" * 70_000,
    "heads/pets.npz": b"PK",
}


def ignore(_bytes: int) -> None:
    """Shows no progress."""


def listing(kind: BackupKind = BackupKind.EMBEDDED) -> Callable[..., BackupList]:
    """Returns a function that describes files as a backup."""
    manifest = manifest_of()

    def describe(files: list[ListedFile]) -> BackupList:
        return BackupList(
            kind=kind,
            collection="pets",
            points=7,
            manifest=manifest,
            created_at="2026-01-01T00:00:00+00:00",
            version="1",
            files=tuple(files),
        )

    return describe


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes a backup of `CONTENTS`."""
    folder = tmp_path_factory.mktemp("backup")
    files = []
    for number, (path, content) in enumerate(CONTENTS.items()):
        (folder / str(number)).write_bytes(content)
        files.append(SourceFile(path=path, source=folder / str(number)))
    write_backup(folder / "pets.tar", files, listing(), ignore)
    return folder / "pets.tar"


def extracted(path: Path, folder: Path) -> dict[str, bytes]:
    """Extracts a backup; returns the content of each file."""
    with BackupFile(path) as opened:
        opened.extract(folder, ignore)
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def test_every_file_comes_back_with_its_holes(backup: Path, tmp_path: Path) -> None:
    """Zeros take no room, neither in the backup nor on the disk."""
    assert extracted(backup, tmp_path) == CONTENTS
    assert backup.stat().st_size < 300_000
    assert (tmp_path / "collection/shard/hole").stat().st_blocks == 0
    with BackupFile(backup) as opened:
        opened.verify(ignore)
        assert (opened.contents.collection, opened.contents.points) == ("pets", 7)


def test_tar_extracts_a_backup(backup: Path, tmp_path: Path) -> None:
    """The format is documented, so a backup does not depend on this program."""
    try:
        subprocess.run(["tar", "-xf", backup, "-C", tmp_path], check=True, capture_output=True)  # noqa: S607
    except FileNotFoundError:
        pytest.skip("there is no tar")
    for path, content in CONTENTS.items():
        assert (tmp_path / path).read_bytes() == content


def test_the_same_files_give_the_same_backup(backup: Path, tmp_path: Path) -> None:
    """No time, owner or order of the machine is in it, and each manifest is its own."""
    with BackupFile(backup) as opened:
        contents = opened.contents
    files = [
        SourceFile(path=path, source=backup.parent / str(number)) for number, path in enumerate(CONTENTS)
    ]
    write_backup(tmp_path / "again.tar", files, lambda _: contents, ignore)
    assert (tmp_path / "again.tar").read_bytes() == backup.read_bytes()


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    """Its bytes would not be those whose SHA-256 was listed."""
    source = tmp_path / "file"
    source.write_bytes(b"before")

    def change(files: list[ListedFile]) -> BackupList:
        source.write_bytes(b"behind")
        return listing()(files)

    with pytest.raises(BackupError, match="changed while it was backed up"):
        write_backup(
            tmp_path / "a.tar", [SourceFile(path="collection/shard/a", source=source)], change, ignore
        )


@settings(max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_of_no_consequence(
    backup: Path, tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    """Only padding and fields that are not read may differ."""
    content = bytearray(backup.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    folder = tmp_path_factory.mktemp("flipped")
    (folder / "a.tar").write_bytes(content)
    try:
        found = extracted(folder / "a.tar", folder / "out")
    except BackupError:
        return
    assert found == CONTENTS


@settings(max_examples=40)
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_backup_that_was_cut_short_is_refused(
    backup: Path, tmp_path_factory: pytest.TempPathFactory, place: float
) -> None:
    """At any place before the blocks of zeros that end it."""
    content = backup.read_bytes()
    folder = tmp_path_factory.mktemp("cut")
    (folder / "a.tar").write_bytes(content[: int(place * len(content.rstrip(b"\0")))])
    with pytest.raises(BackupError, match=r"is damaged, or not a backup|is not a backup of lookalike"):
        extracted(folder / "a.tar", folder / "out")


def craft(path: Path, *members: tarfile.TarInfo, listed: tuple[ListedFile, ...] = ()) -> Path:
    """Writes a tar with a sound list and members of our making."""
    data = listing()(list(listed)).to_bytes()
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        first = tarfile.TarInfo(LIST)
        first.size = len(data)
        tar.addfile(first, io.BytesIO(data))
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)) if member.isreg() else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    """Returns a member of a tar."""
    made = tarfile.TarInfo(name)
    made.type = kind
    for field, value in fields.items():
        setattr(made, field, value)
    return made


EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    "made",
    [
        member("collection/shard/more"),
        member("../outside"),
        member("/etc/absolute"),
        member("collection/shard/link", tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("collection/shard/link", tarfile.LNKTYPE, linkname="collection/manifest.json"),
        member("collection/shard/device", tarfile.CHRTYPE),
        member("collection/shard/pipe", tarfile.FIFOTYPE),
        member("collection/shard/folder", tarfile.DIRTYPE),
    ],
    ids=lambda made: f"{made.name}-{made.type!r}",
)
def test_members_that_no_backup_has_are_refused(made: tarfile.TarInfo, tmp_path: Path) -> None:
    """Links, devices, folders, paths that lead elsewhere, and files that are not listed."""
    with pytest.raises(BackupError):
        extracted(craft(tmp_path / "a.tar", made), tmp_path / "out")
    assert not (tmp_path / "outside").exists()
    assert not list(tmp_path.glob("out/**/*"))


@pytest.mark.parametrize(
    "path",
    ["../a", "collection/../a", "/a", "collection", "collection/a", "a/b", "heads/a/b", "heads\\a", ""],
)
def test_a_list_of_paths_that_no_backup_has_is_refused(path: str, tmp_path: Path) -> None:
    """Before anything else is read."""
    listed = ListedFile(path=path, bytes=0, sha256=EMPTY_SHA256)
    with pytest.raises(BackupError, match="which is not a file of a backup"):
        BackupFile(craft(tmp_path / "a.tar", member(path or "x"), listed=(listed,)))


def test_a_listed_link_is_refused(tmp_path: Path) -> None:
    """Being listed does not make it a file."""
    path = "collection/shard/link"
    listed = ListedFile(path=path, bytes=0, sha256=EMPTY_SHA256)
    made = member(path, tarfile.SYMTYPE, linkname="/etc/passwd")
    with pytest.raises(BackupError):
        extracted(craft(tmp_path / "a.tar", made, listed=(listed,)), tmp_path / "out")


def test_a_bomb_of_zeros_is_refused(tmp_path: Path) -> None:
    """A few bytes that claim to be a petabyte of holes."""
    path, size = "collection/shard/bomb", 2**50
    sparse = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": path,
        "GNU.sparse.realsize": str(size),
    }
    made = member("x", size=512, pax_headers=sparse)
    listed = ListedFile(path=path, bytes=size, sha256=EMPTY_SHA256)
    file = craft(tmp_path / "a.tar", made, listed=(listed,))
    content = file.read_bytes()
    file.write_bytes(content.replace(bytes(512), f"1\n{size}\n0\n".encode().ljust(512, b"\0"), 1))
    with pytest.raises(BackupError):
        extracted(file, tmp_path / "out")


def test_a_claimed_size_beyond_the_file_is_refused(tmp_path: Path) -> None:
    """The header of a member says a terabyte, and the file ends."""
    made = member("collection/shard/a", size=2**40)
    data = listing()([ListedFile(path=made.name, bytes=2**40, sha256=EMPTY_SHA256)]).to_bytes()
    first = member(LIST, size=len(data))
    padded = data + bytes(-len(data) % 512)
    (tmp_path / "a.tar").write_bytes(
        first.tobuf(tarfile.PAX_FORMAT) + padded + made.tobuf(tarfile.PAX_FORMAT)
    )
    with pytest.raises(BackupError):
        extracted(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_claims_gigabytes_is_refused(kind: bytes, tmp_path: Path) -> None:
    """It would be read into memory as a whole; the file is sparse, so that it has so many bytes."""
    data = listing()([]).to_bytes()
    first = member(LIST, size=len(data)).tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512)
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(first + member("x", kind, size=2**31).tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**32)
    with pytest.raises(BackupError, match="a header in it is too long"):
        extracted(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b\x08" + bytes(600), bytes(10_240)])
def test_other_files_are_no_backups(content: bytes, tmp_path: Path) -> None:
    """Neither empty, nor text, nor compressed, nor a tar without members."""
    (tmp_path / "a").write_bytes(content)
    assert not is_backup(tmp_path / "a")
    with pytest.raises(BackupError, match="is not a backup of lookalike"):
        BackupFile(tmp_path / "a")


def test_another_program_s_tar_is_no_backup(tmp_path: Path) -> None:
    """It has no list."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(member("readme"))
    assert not is_backup(tmp_path / "a.tar")
    with pytest.raises(BackupError, match="is not a backup of lookalike"):
        BackupFile(tmp_path / "a.tar")


def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    """And so is a folder."""
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UsageError, match="there is no backup"):
            BackupFile(path)


def test_a_list_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """With the way out."""
    data = json.loads(listing()([]).to_bytes())
    del data["sha256"]
    newer = BackupList(**{**{f: getattr(listing()([]), f) for f in data if f != "schema"}, "schema": 2})
    content = newer.to_bytes()
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(member(LIST, size=len(content)), io.BytesIO(content))
    with pytest.raises(BackupError, match="upgrade lookalike"):
        BackupFile(tmp_path / "a.tar")
