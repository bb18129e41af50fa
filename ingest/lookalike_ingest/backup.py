"""Backs a collection up to one file, and restores it from there."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lookalike_core import __version__, progress
from lookalike_core.atomic import atomic_path
from lookalike_core.errors import ManifestError, ModelError, UsageError
from lookalike_core.hints import Action, Hint
from lookalike_core.logs import get_logger
from lookalike_core.outputs import check_output_path
from lookalike_core.progress import Bar
from lookalike_core.settings import Settings
from lookalike_core.stores.backup_file import (
    COLLECTION,
    HEADS,
    SNAPSHOT,
    BackupError,
    BackupFile,
    BackupKind,
    BackupList,
    ListedFile,
    SourceFile,
    is_backup,
    write_backup,
)
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.protocol import Collection, Store, require_writable
from lookalike_core.stores.server import ServerStore
from lookalike_core.stores.shared import SharedStore
from lookalike_exporter.heads.head_file import head_path, name_of_head, read_collection_head

from lookalike_ingest.rebuild import refuse_staged
from lookalike_ingest.target import complete_written, now

_logger = get_logger("ingest")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """A backup that was made, restored or checked: `points` of the collection `name`, in `path`.

    `bytes` are those of the file; `store` is that of the collection, None if the backup was only checked.
    `head` is the head that it holds, if any.
    """

    name: str
    path: Path
    kind: BackupKind
    points: int
    files: int
    bytes: int
    created_at: str
    store: str | None
    head: str | None
    took_s: float


def back_up(name: str, path: Path, *, store: Store, settings: Settings) -> BackupReport:
    """Writes a collection to one file, which is complete and checked when it has its name.

    The collection is locked while it is read (embedded), or a snapshot of it is made (server). The head of
    its model comes along; the model itself can be exported again. An earlier backup is replaced.

    Raises:
        CollectionMissingError: there is no such collection.
        ManifestError: it is not ours or unfinished, or its head is missing.
        UsageError: `path` is a folder, a device, or a file that is not a backup.
        StoreError: the store cannot be read, or a cluster has parts of the collection on other nodes.
        StoreLockedError: another process has it open.
        OSError: the disk is full; an earlier backup is unchanged.
    """
    started = time.monotonic()
    target = check_output_path(path, "FILE", is_ours=is_backup)
    name = store.resolve(name)
    refuse_staged(name, store)
    with _held(name, store) as collection:
        heads = _find_head(collection, settings)
        with atomic_path(target) as temporary, _content_of(collection, store, target) as content:
            described = partial(_describe, content.manifest.named(name), content.points, kind_of(store))
            sources = [*content.files, *heads]
            size = sum(file.source.stat().st_size for file in sources)
            with progress.bar(f"backing up {name}", unit="bytes", total=3 * size) as bar:
                write_backup(temporary, sources, described, bar.advance)
                with BackupFile(temporary) as written:
                    written.verify(bar.advance)
                    contents = written.contents
    return _report(contents, target, store=store.label, started=started)


def restore(path: Path, *, store: Store, settings: Settings) -> BackupReport:
    """Makes the collection of a backup in a store, after all of its content has been checked.

    Raises:
        BackupError: the file is damaged, or is no backup.
        ManifestError: a collection of its name exists, which was not changed; or another head has the name
            of its head.
        UsageError: there is no such file, or the backup is of the other kind of store.
        StoreError: the store cannot be reached or written to, or does not take the backup.
        OSError: the disk is full; nothing is left behind.
    """
    started = time.monotonic()
    with BackupFile(path) as backup:
        contents = backup.contents
        if contents.kind is not kind_of(store):
            raise UsageError(
                f"{path} is the backup of a collection {_KINDS[contents.kind]}, and {store.label} is another "
                "kind of store; restore it to its own kind, and copy the collection from there",
                path=path,
            )
        require_writable(store)
        _require_free(contents.collection, store)
        _require_same_head(backup, settings)
        if isinstance(store, EmbeddedStore):
            _restore_embedded(backup, store, settings)
            _list_points(contents.collection, store)
        elif isinstance(store, ServerStore):
            _restore_to_server(backup, store, settings)
    return _report(contents, path, store=store.label, started=started)


def check_backup(path: Path) -> BackupReport:
    """Reads a backup, and compares all of its content with the SHA-256 in it.

    Raises:
        BackupError: the file is damaged, or is no backup.
        UsageError: there is no such file.
    """
    started = time.monotonic()
    with BackupFile(path) as backup:
        _verify(backup)
        return _report(backup.contents, path, store=None, started=started)


def kind_of(store: Store) -> BackupKind:
    """Returns the kind of a store."""
    store = store.store if isinstance(store, SharedStore) else store
    return BackupKind.EMBEDDED if store.local is not None else BackupKind.SERVER


_KINDS = {BackupKind.EMBEDDED: "in an embedded store", BackupKind.SERVER: "on a server"}


@contextmanager
def _held(name: str, store: Store) -> Iterator[Collection]:
    """Yields the open collection itself, with all other threads of a shared store locked out."""
    if isinstance(store, SharedStore):
        with store.locked():
            yield store.held(name)
    else:
        with store.open(name) as collection:
            yield collection


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What a backup holds of a collection."""

    manifest: CollectionManifest
    points: int
    files: Sequence[SourceFile]


@contextmanager
def _content_of(collection: Collection, store: Store, target: Path) -> Iterator[_Content]:
    """Yields the files of a collection, which do not change during the block, with what is in them."""
    store = store.store if isinstance(store, SharedStore) else store
    if isinstance(collection, EmbeddedCollection):
        points = collection.count()
        with collection.closed_files() as files:
            sources = [SourceFile(path=f"{COLLECTION}/{path}", source=source) for path, source in files]
            yield _Content(manifest=collection.manifest, points=points, files=sources)
    elif isinstance(store, ServerStore):
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name[:40]}.") as folder:
            file = Path(folder) / SNAPSHOT
            with (
                progress.bar(f"downloading {collection.name}", unit="bytes") as bar,
                store.snapshots.download(
                    collection.name, file, on_size=bar.set_total, on_bytes=bar.advance
                ) as (manifest, points),
            ):
                yield _Content(
                    manifest=manifest, points=points, files=[SourceFile(path=SNAPSHOT, source=file)]
                )


def _describe(
    manifest: CollectionManifest, points: int, kind: BackupKind, files: Sequence[ListedFile]
) -> BackupList:
    return BackupList(
        kind=kind,
        collection=str(manifest.name),
        points=points,
        manifest=manifest,
        created_at=now(),
        version=__version__,
        files=tuple(files),
    )


def _find_head(collection: Collection, settings: Settings) -> list[SourceFile]:
    """Returns the file of the collection's head; logs if it is missing or another."""
    identity = collection.manifest.identity
    if identity.head is None:
        return []
    try:
        read_collection_head(identity, settings, collection=collection.name)
    except (ManifestError, ModelError) as error:
        _logger.warning("warning: the backup is without the head: %s", error, extra={"hint": error.hint})
        return []
    path = head_path(name_of_head(identity), settings)
    return [SourceFile(path=f"{HEADS}/{path.name}", source=path)]


def _report(contents: BackupList, path: Path, *, store: str | None, started: float) -> BackupReport:
    head = _head_in(contents)
    return BackupReport(
        name=contents.collection,
        path=path,
        kind=contents.kind,
        points=contents.points,
        files=len(contents.files),
        bytes=path.stat().st_size,
        created_at=contents.created_at,
        store=store,
        head=None if head is None else Path(head.path).stem,
        took_s=time.monotonic() - started,
    )


def _head_in(contents: BackupList) -> ListedFile | None:
    """Returns the head in a backup, by the name that its manifest says; None if there is none."""
    identity = contents.manifest.identity
    wanted = f"{HEADS}/{name_of_head(identity)}.npz"
    return next((file for file in contents.files if file.path == wanted), None)


def _require_free(name: str, store: Store) -> None:
    """Refuses a name that is taken, before anything is read or sent."""
    if name in store:
        raise ManifestError(
            f"there is a collection {name} in {store.label} already; it was not changed",
            collection=name,
            hint=Hint(Action.CHANGE_STORE),
        )


def _require_same_head(backup: BackupFile, settings: Settings) -> None:
    """Refuses to restore a collection whose head has the name of another one here."""
    head = _head_in(backup.contents)
    if head is None:
        return
    path = settings.heads_dir / Path(head.path).name
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != head.sha256:
        raise ManifestError(
            f"{path} is another head than that of {backup.contents.collection}, which has the same name; "
            "move it elsewhere, or restore to another home",
            path=path,
            hint=Hint(Action.SET_HOME),
        )


@contextmanager
def _putting_head(content: bytes | None, backup: BackupFile, settings: Settings) -> Iterator[None]:
    """Writes the head of a backup unless it is there, and removes it again if the block fails."""
    head = _head_in(backup.contents)
    path = settings.heads_dir / Path(head.path).name if head is not None else None
    if content is None or path is None or path.is_file():
        yield
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _verify(backup: BackupFile) -> None:
    with _bar(f"checking {backup.path.name}", backup) as bar:
        backup.verify(bar.advance)


def _bar(title: str, backup: BackupFile) -> AbstractContextManager[Bar]:
    return progress.bar(title, unit="bytes", total=backup.contents.total_bytes)


def _restore_embedded(backup: BackupFile, store: EmbeddedStore, settings: Settings) -> None:
    """Extracts all files to a hidden folder, which becomes the collection once they are checked."""
    contents, head = backup.contents, _head_in(backup.contents)
    with ExitStack() as stack:
        folder = stack.enter_context(store.creating(contents.collection))
        with _bar(f"restoring {contents.collection}", backup) as bar:
            backup.extract(folder, bar.advance)
        content = (folder / head.path).read_bytes() if head is not None else None
        for part in sorted((folder / COLLECTION).glob("*")):
            part.rename(folder / part.name)
        for emptied in (COLLECTION, HEADS):
            shutil.rmtree(folder / emptied, ignore_errors=True)
        points = store.count_points_in(folder, contents.collection)
        if points != contents.points:
            raise BackupError(
                f"{backup.path} has {points} points of {contents.collection}, and lists {contents.points}",
                path=backup.path,
            )
        stack.enter_context(_putting_head(content, backup, settings))


def _list_points(name: str, store: EmbeddedStore) -> None:
    """Saves the list of the restored points, by which the next ingest, and a verification, knows them.

    A collection that lacks its index is left to the next ingest as a whole. So is one for whose list the disk
    has no room: the collection itself is restored.
    """
    with store.open(name) as collection, suppress(OSError):
        if not collection.upkeep.needs_index():
            complete_written(collection)


def _restore_to_server(backup: BackupFile, store: ServerStore, settings: Settings) -> None:
    """Uploads the snapshot after all has been checked."""
    contents, head = backup.contents, _head_in(backup.contents)
    snapshot = next((file for file in contents.files if file.path == SNAPSHOT), None)
    if snapshot is None:
        raise BackupError(f"{backup.path} is damaged: it lacks {SNAPSHOT}", path=backup.path)
    _verify(backup)
    content = None
    if head is not None:
        with backup.open_file(head.path) as file:
            content = file.read()
    with (
        _putting_head(content, backup, settings),
        backup.open_file(SNAPSHOT) as file,
        progress.bar(f"uploading {contents.collection}", unit="bytes", total=snapshot.bytes) as bar,
    ):
        store.snapshots.restore(
            contents.manifest,
            file,
            name=contents.collection,
            sha256=snapshot.sha256,
            points=contents.points,
            on_bytes=bar.advance,
        )
