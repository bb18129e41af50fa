"""Heads: new last layers, each in a small file made by `exporter fit`.

A head belongs to one base, a model without a head. Its file holds the layer's arrays, a record of its
training data, and all that is needed to export the model of base and head again.
"""

import hashlib
import json
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lookalike_core.atomic import atomic_path, parse_json
from lookalike_core.errors import ManifestError, ModelError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.models.backbones import BACKBONES, Pooling
from lookalike_core.models.model_manifest import ModelIdentity, ModelManifest
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from numpy.typing import NDArray

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
HEAD_SCHEMA = 1
"""The schema of the head files that this version writes."""

_HASH_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """A fitted layer: unit vectors of `base` times `weight` float32 `[D', D]`, plus `bias` float32 `[D']`.

    `classes` are those that it was fitted to, `trained` the SHA-256 of its training images. `record`
    describes in JSON how it was made; nothing is computed from it.
    """

    name: str
    base: ModelManifest
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    classes: Sequence[str]
    trained: frozenset[str]
    record: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The name and 8 hex digits of a hash of base, weight and bias, as identities have it."""
        digest = hashlib.sha256(self.base.identity.key.encode())
        for array in (self.weight, self.bias):
            digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        return f"{self.name}-{digest.hexdigest()[:8]}"

    @property
    def identity(self) -> ModelIdentity:
        """The identity of the model of base and head."""
        return self.base.identity.with_head(self.key, dimension=len(self.bias))

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns float32 `[N, D']` of length 1 for the base's vectors, float32 `[N, D]` of any length.

        A vector of zeros has no direction, and gives NaN.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            mapped = units @ self.weight.T + self.bias
            return np.asarray(mapped / np.linalg.norm(mapped, axis=1, keepdims=True), dtype=np.float32)


def check_name(name: str) -> None:
    """Refuses invalid names, and names that could be taken for another part of a collection's name.

    Raises:
        UsageError: the name is one of these.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!a} is not a valid name of a head; use a lower-case letter and up to 39 more, digits or "
            "underscores",
            argument=Argument.NAME,
        )
    from lookalike_exporter.spec import NETWORKS  # a query reads no names of layers

    taken = {
        *Pooling,
        *Distance,
        *(word for record in BACKBONES for word in (record.name, record.short_name)),
        *(layer for network in NETWORKS.values() for layer in network().layers),
    }
    if name in taken or re.fullmatch("w[0-9a-f]{8}", name):
        raise UsageError(
            f"{name} is reserved in the names of collections; choose another name",
            argument=Argument.NAME,
        )


def head_path(name: str, settings: Settings) -> Path:
    """Returns the path for the head of a name, which need not exist."""
    return settings.heads_dir / f"{name}.npz"


def write_head(head: Head, settings: Settings) -> Path:
    """Writes a head under its name, atomically; the same head gives the same bytes."""
    path = head_path(head.name, settings)
    said = {
        "schema": HEAD_SCHEMA,
        "name": head.name,
        "base": head.base.to_json(),
        "classes": list(head.classes),
        "record": head.record,
    }
    trained = b"".join(bytes.fromhex(sha256) for sha256 in sorted(head.trained))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            weight=head.weight,
            bias=head.bias,
            trained=np.frombuffer(trained, dtype=np.uint8),
            said=np.frombuffer(json.dumps(said, sort_keys=True).encode(), dtype=np.uint8),
        )
    return path


def read_head(name: str, settings: Settings) -> Head:
    """Reads the head of a name.

    Raises:
        UsageError: there is no such head; the message lists the existing ones.
        ModelError: its file is damaged.
    """
    path = head_path(name, settings) if NAME.fullmatch(name) else None
    if path is None or not path.is_file():
        there = ", ".join(sorted(file.stem for file in settings.heads_dir.glob("*.npz"))) or "none"
        raise UsageError(
            f"there is no head {name!a} in {settings.heads_dir}; available: {there}",
            path=path,
            hint=Hint(Action.FIT_HEAD),
        )
    return _read(path)


def read_collection_head(identity: ModelIdentity, settings: Settings, *, collection: str) -> Head:
    """Reads the head that a collection's vectors were made with.

    Raises:
        ManifestError: the head is missing, or another one has its name now.
        ModelError: its file is damaged.
    """
    name = name_of_head(identity)
    path = head_path(name, settings)
    again = Hint(Action.REFIT_HEAD_AND_REBUILD, {Argument.NAME: name, Argument.COLLECTION: collection})
    if not path.is_file():
        raise ManifestError(
            f"{collection} was made with the head {name}, which is not in {path}; restore that file",
            collection=collection,
            path=path,
            hint=again,
        )
    head = _read(path)
    if head.identity != identity:
        raise ManifestError(
            f"{collection} was made with the head {identity.head}, and {path} holds {head.key}; "
            "restore that file",
            collection=collection,
            path=path,
            hint=again,
        )
    return head


def name_of_head(identity: ModelIdentity) -> str:
    """Returns the name of the head in an identity that has one."""
    return (identity.head or "").rpartition("-")[0]


def _read(path: Path) -> Head:
    try:
        return _parse(path)
    except ModelError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        ManifestError,
    ) as error:
        raise ModelError(
            f"{path} is not a valid head file ({error}); restore it",
            path=path,
            hint=Hint(Action.REFIT_HEAD, {Argument.NAME: path.stem}),
        ) from error


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Reads an array of plain numbers: by default numpy refuses objects, which it would unpickle."""
    size = archive.getinfo(f"{name}.npy").file_size
    with archive.open(f"{name}.npy") as member:
        header = _HEADERS[np.lib.format.read_magic(member)]  # what the next line would take memory by
        shape, _, dtype = header(member)
        if math.prod(shape) * dtype.itemsize != size - member.tell():
            raise ValueError(f"its {name} is truncated")
    with archive.open(f"{name}.npy") as member:
        return np.asarray(np.lib.format.read_array(member))


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def _parse(path: Path) -> Head:
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")
        weight, bias, trained, said = (
            _read_array(archive, name) for name in ("weight", "bias", "trained", "said")
        )
    said = parse_json(said.tobytes())
    _check_known(path, said)
    base, classes, record = ModelManifest.from_json(said["base"]), said["classes"], said["record"]
    _check_arrays(weight, bias, trained, dimension=base.identity.dimension)
    if base.identity.head is not None or not isinstance(classes, list) or not isinstance(record, dict):
        raise ValueError("its description is malformed")
    hashes = trained.tobytes().hex()
    width = 2 * _HASH_BYTES
    return Head(
        name=path.stem,
        base=base,
        weight=weight,
        bias=bias,
        classes=tuple(map(str, classes)),
        trained=frozenset(hashes[start : start + width] for start in range(0, len(hashes), width)),
        record=record,
    )


def _check_known(path: Path, said: Mapping[str, Any]) -> None:
    """Refuses a file of a newer version, and a file with another head's name; older files have none.

    Raises:
        ModelError: the file is one of these.
    """
    if int(said["schema"]) > HEAD_SCHEMA:
        raise ModelError(
            f"the head {path} has schema {said['schema']} and this version reads up to {HEAD_SCHEMA}; "
            "upgrade lookalike"
        )
    name = said.get("name", path.stem)
    if name != path.stem:
        raise ModelError(
            f"{path} holds the head {name!a} and not {path.stem}; rename the file back",
            path=path,
            hint=Hint(Action.REFIT_HEAD, {Argument.NAME: path.stem}),
        )


def _check_arrays(weight: NDArray[Any], bias: NDArray[Any], trained: NDArray[Any], *, dimension: int) -> None:
    if weight.dtype != np.float32 or bias.dtype != np.float32:
        raise ValueError("its values are not float32")
    if bias.ndim != 1 or not len(bias) or weight.shape != (len(bias), dimension):
        raise ValueError(
            f"a weight of {list(weight.shape)} and a bias of {list(bias.shape)} do not fit {dimension} values"
        )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ValueError("its values are not finite")
    if trained.dtype != np.uint8 or trained.ndim != 1 or len(trained) % _HASH_BYTES:
        raise ValueError("its list of images is malformed")
