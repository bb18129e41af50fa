"""What is asked with, found by its name: a file, a folder's files, standard input, or an indexed picture.

What exists as a file is a file; only what does not is looked for among the indexed.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from lookalike_core.errors import PictureError, SkipReason, UsageError
from lookalike_core.images.decoding import Pixels
from lookalike_core.images.scan import FoundFile, OtherFiles, scan
from lookalike_core.stores.points import FloatVector, Payload, point_id
from lookalike_core.stores.protocol import Collection

from lookalike_search.collection_choice import file_of

STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """A picture to ask with, not read yet; `name` is what people called it.

    `file` is where it lies, None for standard input and where nobody knows. `payloads` holds what each
    collection that has it knows of an indexed one, which was asked for by its id or path. `problem` says
    why it cannot be read, where that is known already.

    What is in memory already is its file's bytes, `content`, or its `pixels` as a network sees them, uint8
    `[224, 224, 3]`, or its feature `vector`, float32 `[D]`, of the one network that is asked.
    """

    name: str
    file: Path | None = None
    payloads: Sequence[Payload] = ()
    problem: PictureError | None = None
    content: bytes | None = None
    pixels: Pixels | None = None
    vector: FloatVector | None = None

    @property
    def id(self) -> str | None:
        """Of an indexed picture."""
        return self.payloads[0].id if self.payloads else None


def find_sources(
    name: str,
    collections: Sequence[Collection],
    *,
    dataset: str | None = None,
    others: OtherFiles | None = None,
) -> list[Source]:
    """The picture of a name; where it names a folder, all below it in the order of their names.

    Files of other kinds that lie in the folder are counted in `others`.

    `-` is standard input. What is no file is taken for the id of an indexed picture, for its path below its
    dataset's root, or for that path behind `DATASET/`. `dataset` says which one is meant where several hold
    such a path. What is not there at all is a source with a problem, so that others are answered.

    Raises:
        UsageError: the name is empty, a folder holds no picture, or several datasets hold the path.
    """
    if not name:
        raise UsageError("a picture's name is empty; name a file, or - for standard input")
    if name == STDIN:
        return [Source(name=name)]
    file = _path(name)
    if not _is_there(file):
        return [_indexed(name, collections, dataset)]
    if os.path.isdir(file):  # noqa: PTH112 - pathlib raises where a name is too long
        return list(_below(name, file, OtherFiles() if others is None else others))
    return [Source(name=name, file=file)]


def _path(name: str) -> Path:
    """Unlike pathlib's, this leaves a file alone whose name begins with `~` and is no user's."""
    return Path(os.path.expanduser(name))  # noqa: PTH111


def _is_there(file: Path) -> bool:
    """Also what cannot be looked at is: reading it says why."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def _below(name: str, folder: Path, others: OtherFiles) -> Iterator[Source]:
    is_empty = True
    for found in scan(folder, others):
        is_empty = False
        shown = str(PurePath(name) / found.path)
        if isinstance(found, FoundFile):
            yield Source(name=shown, file=found.file)
        else:
            problem = PictureError(f"{shown} is left out: {found.reason}", reason=found.reason)
            yield Source(name=shown, problem=problem)
    if is_empty:
        beside = f", but {others}" if others.total else ""
        raise UsageError(
            f"the folder {name} holds no picture to ask with{beside}; name one that does, or a picture"
        )


def _indexed(name: str, collections: Sequence[Collection], dataset: str | None) -> Source:
    """The first reading of the name under which there is a picture."""
    datasets = {each: None for collection in collections for each in collection.manifest.datasets}
    for ids in _readings(name, list(datasets)):
        found = _payloads(ids, collections)
        meant = {key: value for key, value in found.items() if value[0].dataset == dataset} or found
        if len(meant) > 1:
            holders = sorted(payloads[0].dataset for payloads in meant.values())
            raise UsageError(
                f"{name} is in several datasets ({', '.join(holders)}); "
                f"write {holders[0]}/{name}, or choose with --dataset {holders[0]}"
            )
        for payloads in meant.values():
            return Source(name=name, file=_file(payloads[0], collections), payloads=payloads)
    where = " or ".join(collection.name for collection in collections)
    problem = PictureError(
        f"{name} is not there, and no picture of {where} has it for its path or id",
        reason=SkipReason.VANISHED,
    )
    return Source(name=name, problem=problem)


def _readings(name: str, datasets: Sequence[str]) -> Iterator[list[str]]:
    """The ids that a name may stand for, the plainest reading first."""
    if re.fullmatch(_UUID, name.lower()):
        yield [name.lower()]
    path = PurePath(name).as_posix()
    if path.isascii() or _is_unicode(path):
        yield [point_id(dataset, path) for dataset in datasets]
        yield [
            point_id(dataset, path.removeprefix(f"{dataset}/"))
            for dataset in datasets
            if path.startswith(f"{dataset}/")
        ]


_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def _is_unicode(text: str) -> bool:
    """What is not cannot be indexed."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _payloads(ids: Sequence[str], collections: Sequence[Collection]) -> dict[str, list[Payload]]:
    """Id -> what each collection that has it knows."""
    found: dict[str, list[Payload]] = {}
    for collection in collections:
        for key, payload in collection.payloads(ids).items():
            found.setdefault(key, []).append(payload)
    return found


def _file(payload: Payload, collections: Sequence[Collection]) -> Path | None:
    files = (file_of(each.manifest, payload.dataset, payload.path) for each in collections)
    return next((file for file in files if file), None)


def known_payload(file: Path, sha256: str, collections: Sequence[Collection]) -> Payload | None:
    """What is known of a file that lies in an ingested folder and has the bytes that it had then."""
    place = file.absolute().parent.resolve() / file.name
    for collection in collections:
        for dataset, root in collection.manifest.datasets.items():
            if place.is_relative_to(root) and _is_unicode(str(place)):
                id_ = point_id(dataset, place.relative_to(root).as_posix())
                payload = collection.payloads([id_]).get(id_)
                if payload is not None and payload.sha256 == sha256:
                    return payload
    return None
