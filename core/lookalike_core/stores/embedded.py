"""The embedded store: Qdrant's engine in this process, one folder per collection, no server.

`local_folder` shows the layout of the files. A collection in a read-only folder is opened as in
`private_view`.
"""

import glob
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike_core import locks
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
from lookalike_core.stores.edge_requests import config_of
from lookalike_core.stores.edge_shard import index_payloads
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.local_folder import MANIFEST, SHARD, WHOLE, LocalFolder
from lookalike_core.stores.private_view import PrivateView

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_TIMEOUT_S = 10.0

_LOOKS = 5

_OWNER = "lookalike.json"
"""A file inside the shard, which the engine ignores: it names the collection that the shard belongs to."""


class EmbeddedStore:
    """Collections as folders below `directory`; implements `Store`."""

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

    def create(self, manifest: CollectionManifest, *, name: str | None = None) -> None:
        """Creates the folder under a temporary name and renames it into place."""
        import qdrant_edge as edge

        name = name or manifest.collection
        folder = self.directory / name
        with self._locked(name):
            if folder.exists():
                raise ManifestError(
                    f"{folder} exists already; it was not changed", collection=name, path=folder
                )
            require_space(self.directory, self._tuning.spare_bytes)
            partial = self._hidden(name)
            try:
                require_room(partial, folder)
                with engine_errors(folder):
                    shard = edge.EdgeShard.create(str(partial / SHARD), config_of(manifest, self._tuning))
                    index_payloads(shard)
                    shard.close()
                write_json(partial / SHARD / _OWNER, {"collection": manifest.collection})
                write_json(partial / MANIFEST, manifest.named(name).with_revision(None).to_json())
                sync_tree(partial)
                partial.rename(folder)
                sync_folder(self.directory)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def open(self, name: str) -> "EmbeddedCollection":
        """Locks the collection, and loads its shard if its cache is out of date.

        Otherwise the first use loads it. A read-only collection is opened by a private view, which refuses
        writes.
        """
        if self.local.unwritable_part(self._own(name)) is not None:
            return self._open_view(name)
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

    def _open_view(self, name: str) -> "EmbeddedCollection":
        """Keeps writers out while the view is made; afterwards this process alone uses it."""
        with (
            self._naming_holder(name),
            locks.hold_shared(
                self.directory, name, what=f"collection {name}", timeout_s=self._lock_timeout_s
            ),
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
        if is_collection_name(name) and (self.directory / name).exists():
            raise _no_manifest(self.directory / name)
        raise self._missing(name)

    def _missing(self, name: str) -> CollectionMissingError:
        return CollectionMissingError(
            f"there is no collection {name} in {self.directory}", collection=name, path=self.directory
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
    path = folder / MANIFEST
    try:
        manifest = CollectionManifest.from_json(parse_json(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read: {error}; {_mend(folder)}", path=path) from error
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}", path=path, hint=error.hint) from error
    require_own_name(manifest, folder.name, place=str(folder))
    return manifest


def _require_own_shard(folder: Path, manifest: CollectionManifest) -> None:
    """Refuses a shard that belongs to another collection; older shards do not name their collection.

    Raises:
        ManifestError: the shard and the manifest beside it are of two collections.
    """
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
