"""The embedded store: Qdrant's engine in this process, one folder per collection, no server.

`local_folder` shows the layout of the files. A collection in a read-only folder is opened as in
`private_view`.
"""

import glob
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike_core import locks, progress
from lookalike_core.atomic import (
    is_disk_full,
    is_write_refused,
    parse_json,
    sweep_partials,
    sync_folder,
    sync_tree,
    write_json,
)
from lookalike_core.errors import CollectionMissingError, ManifestError, StoreLockedError
from lookalike_core.hints import Action, Hint
from lookalike_core.stores.cluster_layout import ClusterLayout, refuse_layout
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.collection_names import (
    STAGED_SUFFIX,
    is_collection_name,
    require_own_name,
    staged_name,
)
from lookalike_core.stores.edge_engine import (
    DEFAULT_ENGINE_TUNING,
    EngineTuning,
    engine_errors,
    require_room,
    require_space,
)
from lookalike_core.stores.edge_requests import LINKED_FIELDS, config_of
from lookalike_core.stores.edge_shard import Shard, index_payloads
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.local_folder import MANIFEST, SHARD, UNFINISHED, WHOLE, LocalFolder
from lookalike_core.stores.private_view import PrivateView
from lookalike_core.stores.sparse_files import allocated_bytes, copy_sparse
from lookalike_core.stores.unfinished_copy import UnfinishedCopy

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_TIMEOUT_S = 10.0

_LOOKS = 5

_SOURCE, _TO_BE = "copied_from", "manifest"
"""The keys of `unfinished.json`."""

_OWNER = "lookalike.json"
"""A file inside the shard, which the engine ignores: it names the collection that the shard belongs to."""


class EmbeddedStore:
    """Collections as folders below `directory`; implements `Store`."""

    cluster = None
    connection = None

    def __init__(
        self,
        directory: Path,
        *,
        label: str = "embedded",
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        tuning: EngineTuning = DEFAULT_ENGINE_TUNING,
    ) -> None:
        self.directory = directory
        self.label = label
        self.local = LocalFolder(directory, is_named=label == f"embedded:{directory}")
        self._lock_timeout_s = lock_timeout_s
        self._tuning = tuning

    def names(self) -> list[str]:
        """Returns the names that `LocalFolder` finds."""
        return self.local.names()

    def __contains__(self, name: str) -> bool:
        """Returns whether the collection exists, even if its manifest is lost, as in `names`."""
        is_lost = is_collection_name(name) and (self.directory / name / SHARD).is_dir()
        return is_lost or self.local.folder_of(name) is not None

    def manifest(self, name: str) -> CollectionManifest:
        """Reads the manifest without the lock: the file is only replaced atomically.

        Its folder may be renamed.
        """
        for _ in range(_LOOKS):
            with suppress(FileNotFoundError):
                return read_manifest(self._own(name))
        raise self._missing(name)

    def create(
        self, manifest: CollectionManifest, *, name: str | None = None, layout: ClusterLayout | None = None
    ) -> None:
        """Creates the folder under a temporary name and renames it into place."""
        refuse_layout(layout)
        name = name or manifest.collection
        self._create(name, manifest, MANIFEST, manifest.named(name).with_revision(None).to_json())

    def create_copy(
        self, manifest: CollectionManifest, *, name: str, source: str, layout: ClusterLayout | None = None
    ) -> None:
        """Creates the folder with `unfinished.json` instead of a manifest."""
        refuse_layout(layout)
        self._create(name, manifest, UNFINISHED, _describe_copy(manifest, name, source))

    def create_copy_of_files(
        self, manifest: CollectionManifest, files: Sequence[tuple[str, Path]], *, name: str, source: str
    ) -> None:
        """Does what `create_copy` does, with the shard of an embedded collection: its points and its index.

        `files` are those of its folder, each with the path in it; nobody may change them meanwhile.

        Raises:
            ManifestError: something has the name already, which is not changed.
            OSError: the disk is full, or a file cannot be read; nothing is left behind.
        """
        shard = [(inside, file) for inside, file in files if inside != MANIFEST]
        with self.creating(name) as partial:
            require_space(
                self.directory, self._tuning.spare_bytes + sum(allocated_bytes(file) for _, file in shard)
            )
            with progress.bar(f"copying {name}", unit="files", total=len(shard)) as bar:
                for inside, file in shard:
                    target = partial / inside
                    target.parent.mkdir(parents=True, exist_ok=True)
                    copy_sparse(file, target)
                    bar.advance(1)
            write_json(partial / UNFINISHED, _describe_copy(manifest, name, source))

    def _create(self, name: str, manifest: CollectionManifest, file: str, data: Mapping[str, Any]) -> None:
        import qdrant_edge as edge

        folder = self.directory / name
        with self.creating(name) as partial:
            require_room(partial, folder)
            with engine_errors(folder):
                shard = edge.EdgeShard.create(str(partial / SHARD), config_of(manifest, self._tuning))
                index_payloads(shard, LINKED_FIELDS)
                shard.close()
            write_json(partial / SHARD / _OWNER, {"collection": manifest.collection})
            write_json(partial / file, data)

    @contextmanager
    def creating(self, name: str) -> Iterator[Path]:
        """Yields a hidden folder, which becomes the collection when the block ends without an error.

        Raises:
            ManifestError: something has its name already, which is not changed.
            OSError: the disk is full.
        """
        folder = self.directory / name
        with self._locked(name):
            if folder.exists():
                raise ManifestError(
                    f"{folder} exists already; it was not changed", collection=name, path=folder
                )
            require_space(self.directory, self._tuning.spare_bytes)
            partial = self._hidden(name)
            try:
                yield partial
                sync_tree(partial)
                partial.rename(folder)
                sync_folder(self.directory)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def count_points_in(self, partial: Path, name: str) -> int:
        """Returns how many points are in the folder of `creating`, which must hold a collection of this name.

        Raises:
            ManifestError: its manifest is not ours, or is another collection's.
            StoreError: its shard cannot be loaded.
        """
        manifest = _read_manifest(partial)
        require_own_name(manifest, name, place=str(partial))
        _require_own_shard(partial, manifest)
        shard = Shard(partial, view=None, tuning=self._tuning, on_load=lambda _: None)
        try:
            return shard.count()
        finally:
            shard.close()

    def open(self, name: str) -> "EmbeddedCollection":
        """Locks the collection, and loads its shard if its cache is out of date.

        Otherwise the first use loads it. A read-only collection is opened by a private view, which refuses
        writes.
        """
        if self.local.unwritable_part(self._own(name)) is not None:
            return self.open_view(name)
        lock = self._acquire(name)
        try:
            folder = self._own(name)  # again: it may have been deleted while we waited
            manifest = read_manifest(folder)
            _require_own_shard(folder, manifest)
            sweep_partials(folder)
            collection = EmbeddedCollection(folder, manifest, lock, self._tuning)
            if not collection.upkeep.is_cache_valid:
                collection.load()
        except BaseException:
            lock.release()
            raise
        return collection

    def find_copy(self, name: str) -> UnfinishedCopy | None:
        """Reads `unfinished.json` without the lock: the file is never changed, but replaced by a manifest."""
        folder = self.directory / name
        is_unfinished = is_collection_name(name) and not (folder / MANIFEST).exists()
        return _read_unfinished(folder) if is_unfinished and (folder / UNFINISHED).is_file() else None

    def open_copy(self, name: str) -> "EmbeddedCollection":
        """Locks the collection and loads its shard."""
        lock = self._acquire(name)
        try:
            manifest = self._manifest_of_copy(name)
            _require_own_shard(self.directory / name, manifest)
            collection = EmbeddedCollection(self.directory / name, manifest, lock, self._tuning)
            collection.load()
        except BaseException:
            lock.release()
            raise
        return collection

    def _manifest_of_copy(self, name: str) -> CollectionManifest:
        if (copy := self.find_copy(name)) is None:
            raise self._missing(name)
        return copy.manifest

    def copying(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002 - as of a server
        """Does nothing: an open collection is locked."""
        return nullcontext()

    def open_view(self, name: str, *, timeout_s: float | None = None) -> "EmbeddedCollection":
        """Opens a private view, which shows the collection as it is now and refuses writes.

        Writers are kept out while the view is made; afterwards this process alone uses it, and others may
        write to the collection. `timeout_s` is how long a writer is waited for, by default as in `open`.

        Raises:
            CollectionMissingError, ManifestError: as `open`.
            StoreLockedError: another process has the collection open.
            StoreError: the temporary folder has no room for the view.
        """
        wait_s = self._lock_timeout_s if timeout_s is None else timeout_s
        with (
            self._naming_holder(name),
            locks.hold_shared(self.directory, name, what=f"collection {name}", timeout_s=wait_s),
        ):
            folder = self._own(name)
            manifest = read_manifest(folder)
            _require_own_shard(folder, manifest)
            view = PrivateView(folder / SHARD)
            try:
                collection = EmbeddedCollection(folder, manifest, view, self._tuning, name=name)
                try:
                    collection.load()
                finally:
                    view.require_unchanged()
            except BaseException:
                view.release()
                raise
            return collection

    def delete(self, name: str) -> None:
        """Renames the folder, then deletes its files; files that a killed process left are deleted later."""
        self._own(name)
        with self._locked(name):
            hidden = self._hidden(name)
            self._own(name).rename(hidden / name)
            sync_folder(self.directory)
            shutil.rmtree(hidden)

    def resolve(self, name: str) -> str:
        """Returns the name itself: the embedded store has no aliases."""
        return name

    def rebuilding(self, name: str) -> AbstractContextManager[None]:
        """Holds a lock for rebuilds, so that the collection can be searched in the meantime."""
        self._make_directory()
        what = f"the rebuild of {name}"
        return locks.hold(self.directory, f"{name}.rebuilding", what=what, timeout_s=self._lock_timeout_s)

    def replace(self, name: str) -> None:
        """Replaces a collection by two renames; if this process is killed, the next one does the second.

        Each step is synced to the disk before the next, so that a power cut has the same effect as a kill.
        """
        staged = staged_name(name)
        self._own(staged)
        with self._locked(staged), self._locked(name):
            folder, whole = self.directory / name, self._own(staged)
            sync_tree(whole)
            (whole / WHOLE).touch()
            sync_folder(whole)
            hidden = self._hidden(name)
            if folder.exists():
                self._own(name).rename(hidden / name)
            self._finish_replacement(name)
            shutil.rmtree(hidden)

    def close(self) -> None:
        """Does nothing: nothing is held between collections."""

    def _finish_replacement(self, name: str) -> None:
        """Gives a complete staged collection its final name if that is free."""
        folder, staged = self.directory / name, self.directory / staged_name(name)
        if (staged / WHOLE).is_file() and not folder.exists():
            staged.rename(folder)
            sync_folder(self.directory)
        if not name.endswith(STAGED_SUFFIX):
            (folder / WHOLE).unlink(missing_ok=True)
        if (folder / MANIFEST).is_file():
            (folder / UNFINISHED).unlink(missing_ok=True)

    def _hidden(self, name: str) -> Path:
        """Creates a hidden folder beside the collection, which is not listed as a collection."""
        return Path(tempfile.mkdtemp(dir=self.directory, prefix=f".{name}."))

    def _sweep(self, name: str) -> None:
        """Deletes the hidden folders of killed processes.

        The held lock guarantees that no other is at work.
        """
        for left_over in self.directory.glob(f".{glob.escape(name)}.????????"):
            shutil.rmtree(left_over, ignore_errors=True)

    def _own(self, name: str) -> Path:
        folder = self.local.folder_of(name)
        if folder is not None:
            return folder
        if (copy := self.find_copy(name)) is not None:
            raise copy.error(name, place=str(self.directory))
        if is_collection_name(name) and (self.directory / name).exists():
            raise _no_manifest(self.directory / name)
        raise self._missing(name)

    def _missing(self, name: str) -> CollectionMissingError:
        return CollectionMissingError(
            f"there is no collection {name} in {self.directory}",
            collection=name,
            path=self.directory,
            hint=Hint(Action.LIST_COLLECTIONS),
        )

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        lock = self._acquire(name)
        try:
            yield
        finally:
            lock.release()

    def _acquire(self, name: str) -> "BaseFileLock":
        """Acquires the lock of a collection, and clears or completes what a killed process left."""
        self._make_directory()
        try:
            with self._naming_holder(name):
                lock = locks.acquire(
                    self.directory, name, what=f"collection {name}", timeout_s=self._lock_timeout_s
                )
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._finish_replacement(name)
            self._sweep(name)
        except BaseException:
            lock.release()
            raise
        return lock

    @contextmanager
    def _naming_holder(self, name: str) -> Iterator[None]:
        """Adds the remedy to errors about a lock that another process holds."""
        try:
            yield
        except StoreLockedError as error:
            if error.holder is None:
                raise
            raise StoreLockedError(
                f"{error}, or use a server: docker compose up qdrant",
                holder=error.holder,
                waited_s=error.waited_s,
                path=self.directory / name,
            ) from error

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> Exception:
        if is_disk_full(error):
            return error
        if is_write_refused(error) and self.directory.is_dir():
            return self.local.read_only(self.directory)
        return self.local.unusable(error.strerror)


def _no_manifest(folder: Path) -> ManifestError:
    what = f"{folder} has no manifest of lookalike's; it was not changed"
    if (folder / SHARD).is_dir():
        return ManifestError(f"{what}: {_mend(folder)}", collection=folder.name, path=folder)
    return ManifestError(
        f"{what}: move it elsewhere", collection=folder.name, path=folder, hint=Hint(Action.CHANGE_STORE)
    )


def _mend(folder: Path) -> str:
    return f"put {MANIFEST} back from a backup, or remove {folder} and ingest again"


def read_manifest(folder: Path) -> CollectionManifest:
    """Returns the manifest beside a shard.

    Raises:
        FileNotFoundError: it does not exist, or no longer.
        ManifestError: it is unreadable, not Lookalike's, or of another collection.
    """
    manifest = _read_manifest(folder)
    require_own_name(manifest, folder.name, place=str(folder))
    return manifest


def _read_manifest(folder: Path) -> CollectionManifest:
    path = folder / MANIFEST
    try:
        return CollectionManifest.from_json(parse_json(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read: {error}; {_mend(folder)}", path=path) from error
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}", path=path, hint=error.hint) from error


def _describe_copy(manifest: CollectionManifest, name: str, source: str) -> dict[str, Any]:
    """Returns the content of `unfinished.json`."""
    return {_SOURCE: source, _TO_BE: manifest.named(name).with_revision(None).to_json()}


def _read_unfinished(folder: Path) -> UnfinishedCopy:
    """Returns whose copy a folder is to become.

    Raises:
        ManifestError: its `unfinished.json` is unreadable.
    """
    path = folder / UNFINISHED
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        return UnfinishedCopy(
            source=str(data[_SOURCE]), manifest=CollectionManifest.from_json(dict(data[_TO_BE]))
        )
    except (OSError, ValueError, TypeError, KeyError, ManifestError) as error:
        raise ManifestError(
            f"{path} cannot be read: {error}; remove {folder}, and copy the collection again", path=path
        ) from error


def _require_own_shard(folder: Path, manifest: CollectionManifest) -> None:
    """Refuses a shard that belongs to another collection; older shards do not name their collection.

    Raises:
        ManifestError: there is no shard, or it and the manifest beside it are of two collections.
    """
    if not (folder / SHARD).is_dir():
        raise ManifestError(
            f"{folder} has lost its folder {SHARD}, which holds all points: remove {folder}, and "
            "restore a backup or ingest again",
            collection=manifest.collection,
            path=folder,
        )
    try:
        owner = parse_json((folder / SHARD / _OWNER).read_bytes())["collection"]
    except (OSError, ValueError, TypeError, KeyError):
        return
    if owner != manifest.collection:
        raise ManifestError(
            f"{folder / SHARD} belongs to {owner}, the manifest beside it to {manifest.collection}: "
            "restore the right files, or remove the folder and ingest again",
            collection=manifest.collection,
            path=folder,
        )
