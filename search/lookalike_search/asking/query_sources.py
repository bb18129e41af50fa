"""Query images: files, the files of a folder, indexed images, or images and vectors in memory.

A name that exists as a file is that file; only others are looked up among indexed images.
"""

import io
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
from lookalike_core.arrays import FloatVector, Pixels
from lookalike_core.errors import ImageError, SkipReason, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.decoding import (
    MAX_PIXELS,
    DecodedImage,
    OpenImage,
    is_open_image,
    prepare_image,
    prepare_pixels,
)
from lookalike_core.images.region import Part, Region
from lookalike_core.images.scan import FoundFile, OtherFiles, scan
from lookalike_core.missing_path import CHECK_PATH, describe_missing
from lookalike_core.sources.file_systems import is_url
from lookalike_core.sources.source_path import SourcePath, parse_root
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.overlapping_roots import file_of, first_by_rule
from lookalike_core.stores.points import Payload, point_id, usable_rows
from lookalike_core.stores.protocol import Collection
from lookalike_core.text import find_name, is_unicode, unicode_forms
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """A query image that is not read yet; `name` is the user's name for it, `title` the one in messages.

    `file` is its path, None where none is known. `payloads` holds the payload of each collection that has the
    image, if it was named by its id or by its path in a dataset. `problem` says why it cannot be read, if
    that is known already. `region` is the part of it that is meant, None for all of it.

    An image in memory has `content`, the bytes of its file or a stream of them that is read once; or
    `pixels`, prepared for a network, uint8 `[224, 224, 3]`; or `vector`, a feature vector, float32 `[D]`.
    `part` is the part of an image that its `pixels` show, where there is a region, and `whole` shows all of
    the image, uint8 `[224, 224, 3]`.
    """

    name: str
    called: str | None = None
    file: Path | None = None
    payloads: Sequence[Payload] = ()
    problem: ImageError | None = None
    content: bytes | BinaryIO | None = None
    pixels: Pixels | None = None
    vector: FloatVector | None = None
    region: Region | None = None
    part: Part | None = None
    whole: Pixels | None = None

    @property
    def id(self) -> str | None:
        """The id of an indexed image; None for other sources."""
        return self.payloads[0].id if self.payloads else None

    @property
    def title(self) -> str:
        """The name in messages."""
        return self.called or self.name


QueryInput: TypeAlias = (
    "str | os.PathLike[str] | bytes | BinaryIO | OpenImage | NDArray[np.uint8] | FloatVector | Source"
)
"""A query: a path, or an indexed image's id or path; an image file's bytes, or a stream of
them; an image that is open in Pillow; sRGB values, uint8 `[H, W, 3]`; a feature vector, float32 `[D]`."""


def find_sources(
    query: QueryInput,
    collections: Sequence[Collection],
    *,
    dataset: str | None = None,
    others: OtherFiles | None = None,
    max_pixels: int = MAX_PIXELS,
    region: Region | None = None,
) -> list[Source]:
    """Returns the image of a query; of a folder, all images below it in the order of their names.

    Files of other kinds in the folder are counted in `others`. With a `region` that part of each is meant.

    The URL of an object in an object store, and the path of an image in a Parquet file, are read there.

    A name that is no file is looked up as the id of an indexed image, as its path below its dataset's root,
    and as that path behind `DATASET/`, in any Unicode form. `dataset` chooses among several datasets that
    hold such a path. A missing image, or one that cannot be read from memory, is a source with a problem, so
    that other queries are answered.

    Raises:
        UsageError: the name is empty, a folder holds no image, several datasets hold the path, an object in
            memory is of a type that is no query, or a region of a vector is wanted.
    """
    if not isinstance(query, Source | str | os.PathLike):
        return [_in_memory(query, collections, max_pixels, region)]
    named = [query] if isinstance(query, Source) else _find_named(query, collections, dataset, others)
    return named if region is None else [replace(source, region=region) for source in named]


def _find_named(
    query: str | os.PathLike[str],
    collections: Sequence[Collection],
    dataset: str | None,
    others: OtherFiles | None,
) -> list[Source]:
    name = os.fspath(query)
    if not name:
        raise UsageError("an image's name is empty; name a file")
    file = _expand_user(name)
    if isinstance(place := parse_root(str(file) if not is_url(name) else name), SourcePath):
        return [Source(name=name, file=place.absolute())]
    if not _exists(file):
        return [_find_indexed(name, collections, dataset)]
    if os.path.isdir(file):  # noqa: PTH112 - pathlib raises where a name is too long
        return list(_images_below(name, file, OtherFiles() if others is None else others))
    return [Source(name=name, file=file)]


def _in_memory(
    query: object, collections: Sequence[Collection], max_pixels: int, region: Region | None
) -> Source:
    if isinstance(query, bytes | bytearray | memoryview):
        return Source(name="<bytes>", content=bytes(query), region=region)
    if isinstance(query, np.ndarray):
        return _of_array(query, collections, max_pixels, region)
    if is_open_image(query):
        name = str(getattr(query, "filename", "") or "<image>")
        prepare = partial(prepare_image, query, name, max_pixels=max_pixels)
        return _prepared(name, prepare, region)
    if isinstance(query, io.TextIOBase) or not hasattr(query, "read"):
        raise UsageError(
            f"{type(query).__name__} cannot be a query; give a path, bytes, a file opened in binary, "
            "an image open in Pillow, an array or an indexed image's id"
        )
    stream = cast("BinaryIO", query)
    if stream.seekable():
        stream.seek(0)
    called = getattr(stream, "name", None)
    return Source(name=called if isinstance(called, str) else "<file>", content=stream, region=region)


def _of_array(
    array: NDArray[Any], collections: Sequence[Collection], max_pixels: int, region: Region | None
) -> Source:
    name = "<array>"
    match array.ndim, array.dtype.kind:
        case 3, "u" if array.dtype == np.uint8 and array.shape[2] == _RGB:
            prepare = partial(prepare_pixels, array, name, max_pixels=max_pixels)
            return _prepared(name, prepare, region)
        case 1, "f" if region is not None:
            raise UsageError(
                "a feature vector has no region; give the image that it was computed from",
                argument=Argument.REGION,
            )
        case 1, "f":
            return _of_vector(np.ascontiguousarray(array, dtype=np.float32), collections)
    raise UsageError(
        f"an array of {array.dtype} {list(array.shape)} is no image and no feature vector; "
        "give uint8 [H, W, 3] or float32 [D]"
    )


_RGB = 3


def _of_vector(vector: FloatVector, collections: Sequence[Collection]) -> Source:
    if len(collections) > 1:
        raise UsageError("a feature vector belongs to one network; search one collection with it")
    for collection in collections:
        if len(vector) != (dimension := collection.manifest.identity.dimension):
            raise UsageError(
                f"the vector has {len(vector)} values; those of {collection.name} have {dimension}"
            )
    name = "<vector>"
    if usable_rows(vector[np.newaxis]).all():
        return Source(name=name, vector=vector)
    problem = ImageError(f"{name} is zero, or not finite", reason=SkipReason.NO_EMBEDDING)
    return Source(name=name, problem=problem)


def _prepared(name: str, prepare: Callable[..., DecodedImage], region: Region | None) -> Source:
    try:
        image = prepare(region=region)
        if region is None:
            return Source(name=name, pixels=image.pixels)
        whole = prepare().pixels
    except ImageError as error:
        return Source(name=name, problem=error)
    return Source(name=name, pixels=image.pixels, region=region, part=image.part, whole=whole)


def _expand_user(name: str) -> Path:
    """Returns a path with `~` expanded; unlike pathlib, it keeps a leading `~` that names no user's home."""
    return Path(os.path.expanduser(name))  # noqa: PTH111


def _exists(file: Path) -> bool:
    """Returns whether a file exists; one without permission counts, since reading it gives the reason."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def _images_below(name: str, folder: Path, others: OtherFiles) -> Iterator[Source]:
    is_empty = True
    for found in scan(folder, others):
        is_empty = False
        shown = str(PurePath(name) / found.path)
        if isinstance(found, FoundFile):
            yield Source(name=shown, file=found.file)
        else:
            problem = ImageError(
                f"{shown} is left out: {found.reason}", reason=found.reason, path=folder / found.path
            )
            yield Source(name=shown, problem=problem)
    if is_empty:
        beside = f", but {others}" if others.total else ""
        raise UsageError(f"the folder {name} holds no image{beside}; name one that does, or an image")


def find_indexed(name: str, collections: Sequence[Collection], dataset: str | None = None) -> Source | None:
    """Returns the indexed image of an id or a path; None where no collection has it. No file is looked for.

    `dataset` chooses among several datasets that hold the path.

    Raises:
        UsageError: several datasets hold it.
    """
    datasets = {each: None for collection in collections for each in collection.manifest.datasets}
    known = find_name(dataset, datasets) if dataset is not None else None
    for ids in _readings(name, list(datasets)):
        found = _read_payloads(ids, collections)
        meant = {key: value for key, value in found.items() if value[0].dataset == known} or found
        holders = sorted({payloads[0].dataset for payloads in meant.values()})
        if len(holders) > 1:
            raise UsageError(
                f"{name} is in several datasets ({', '.join(holders)}); write {holders[0]}/{name}",
                hint=Hint(Action.USE_INSTEAD, {Argument.DATASET: holders[0]}),
            )
        for payloads in meant.values():
            return Source(
                name=name,
                file=find_file(payloads[0], [each.manifest for each in collections]),
                payloads=payloads,
            )
    return None


def _find_indexed(name: str, collections: Sequence[Collection], dataset: str | None) -> Source:
    """Returns the indexed image by the first reading of the name that matches one."""
    if (source := find_indexed(name, collections, dataset)) is not None:
        return source
    if re.match(_URL, name):
        said = f"{name} is a URL, which is not downloaded; give a file"
        return Source(name=name, problem=ImageError(said, reason=SkipReason.VANISHED))
    said = describe_missing(_expand_user(name))
    if where := " or ".join(collection.name for collection in collections):
        said = f"{said}, and no image of {where} has this path or id"
    problem = ImageError(said, reason=SkipReason.VANISHED, path=_expand_user(name), hint=CHECK_PATH)
    return Source(name=name, problem=problem)


def _readings(name: str, datasets: Sequence[str]) -> Iterator[list[str]]:
    """Yields the ids that a name may mean, the plainest reading first."""
    if re.fullmatch(_UUID, name.lower()):
        yield [name.lower()]
    path = PurePath(name).as_posix()
    if path.isascii() or is_unicode(path):
        inside = [
            (dataset, path[len(behind) :])
            for dataset in datasets
            for behind in unicode_forms(f"{dataset}/")
            if path.startswith(behind)
        ]
        yield [point_id(dataset, path) for dataset in datasets]
        yield [point_id(dataset, below) for dataset, below in inside]
        if not path.isascii():
            yield [point_id(dataset, form) for dataset in datasets for form in _path_forms(path)]
            yield [point_id(dataset, form) for dataset, below in inside for form in _path_forms(below)]


def _path_forms(path: str) -> list[str]:
    """Returns a path in the Unicode forms that it may have on a disk, where each folder may have its own."""
    forms = itertools.product(*map(unicode_forms, path.split("/")))
    return ["/".join(names) for names in itertools.islice(forms, _MAX_PATH_FORMS)]


_MAX_PATH_FORMS = 3**5


_URL = r"(?i)[a-z][a-z0-9+.-]*://"


_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def _read_payloads(ids: Sequence[str], collections: Sequence[Collection]) -> dict[str, list[Payload]]:
    """Returns by id the payloads of the collections that have the image."""
    found: dict[str, list[Payload]] = {}
    for collection in collections:
        for key, payload in collection.payloads(ids).items():
            found.setdefault(key, []).append(payload)
    return found


def find_file(payload: Payload, manifests: Sequence[CollectionManifest]) -> Path | None:
    """Returns the path of an indexed image's file, by the first manifest that has its dataset's root."""
    files = (file_of(manifest, payload.dataset, payload.path) for manifest in manifests)
    return next((file for file in files if file), None)


def find_known_payload(file: Path, sha256: str, collections: Sequence[Collection]) -> Payload | None:
    """Returns the payload of a file in an ingested folder, if its bytes are those that were ingested.

    Where several datasets hold the file, it is the payload that represents it.
    """
    place = file.absolute().parent.resolve() / file.name
    for collection in collections:
        there = []
        for dataset, root in collection.manifest.datasets.items():
            if place.is_relative_to(root) and is_unicode(str(place)):
                ids = [point_id(dataset, form) for form in unicode_forms(place.relative_to(root).as_posix())]
                found = collection.payloads(ids)
                same = (found[each] for each in ids if each in found and found[each].sha256 == sha256)
                there += list(itertools.islice(same, 1))
        if there:
            return first_by_rule(there, collection.manifest.datasets)
    return None
