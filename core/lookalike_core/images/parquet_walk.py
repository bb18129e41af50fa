"""Lists the images in a Parquet dataset as those of a folder are listed."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from lookalike_core.images.found_files import UNKNOWN_BYTES, FoundFile, Skipped
from lookalike_core.images.image_walk import ImageWalk
from lookalike_core.sources.file_systems import source_errors
from lookalike_core.sources.parquet_images import open_images, reopen_images
from lookalike_core.sources.parquet_rows import RowPlace


class ParquetWalk(ImageWalk):
    """One pass through the rows of a Parquet dataset; implements `ImageSource`.

    Only paths and classes are read. Whatever the suffix, a row is an image.
    """

    def entries(self) -> Iterator[FoundFile | Skipped]:
        """Yields the images in the order of files and rows.

        Raises:
            UsageError: there is no such dataset, or a file of it has no column of images.
            LookalikeError: a file is damaged, or the store does not answer or refuses.
        """
        with source_errors(self._root):
            for row in reopen_images(str(self._root)).rows():
                if self._is_excluded(row.path):
                    continue
                if self._takes is None or self._takes(row.path):
                    yield self._found(row.path, row.place, row.class_name)
                else:
                    self._others.passed_over += 1

    def at(self, paths: Iterable[str]) -> Iterator[FoundFile | Skipped]:
        """Yields the images at these paths."""
        with source_errors(self._root):
            wanted = list(paths)
            classes: dict[str, str | None] = dict.fromkeys(wanted)
            places: dict[str, RowPlace] = {}
            for row in reopen_images(str(self._root)).rows():
                if row.path in classes:
                    classes[row.path], places[row.path] = row.class_name, row.place
        for path in wanted:
            if path in places:
                yield self._found(path, places[path], classes[path])

    def image_names(self) -> Iterator[str]:
        """Yields the names of images."""
        with suppress(OSError):
            for row in open_images(str(self._root)).rows():
                if not self._is_excluded(row.path):
                    yield PurePosixPath(row.path).name

    def _is_excluded(self, path: str) -> bool:
        if not self._exclusion.covers(path):
            return False
        self._others.excluded_images += not any(name.startswith(".") for name in path.split("/"))
        return True

    def _found(self, path: str, place: RowPlace, class_name: str | None) -> FoundFile:
        return FoundFile(
            path=path,
            root=self._root,
            bytes=UNKNOWN_BYTES,
            mtime_ns=place.mtime_ns,
            ctime_ns=place.mtime_ns,
            class_level=self._class_level,
            row=place,
            own_class=class_name,
        )
