"""Images that were uploaded once, to be searched with several times: in memory alone, within a bound."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lookalike_core.arrays import FloatVector, Pixels
from lookalike_core.models.model_manifest import ModelIdentity

from lookalike_search.asking.examples import Example
from lookalike_search.asking.searched_collection import SearchedCollection
from lookalike_search.serving.limits import ServingLimits
from lookalike_search.serving.problems import Code, RefusedError
from lookalike_search.serving.query_fields import Upload, UploadId

_ID_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CachedUpload(Upload):
    """An upload that is cached under an id, which cannot be guessed.

    `pixels` are uint8 `[224, 224, 3]` RGB, and `vectors` its float32 `[D]` by the model that embedded it.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(_ID_BYTES))
    sha256: str
    width: int
    height: int
    pixels: Pixels
    vectors: dict[ModelIdentity, FloatVector] = field(default_factory=dict)

    def to_example(self, networks: Sequence[SearchedCollection]) -> Example | None:
        """Returns it with the vectors of all networks; None where one of them did not embed it yet."""
        vectors = [self.vectors.get(network.manifest.identity) for network in networks]
        known = [vector for vector in vectors if vector is not None]
        if len(known) < len(vectors):
            return None
        return Example(
            name=self.name,
            file=None,
            sha256=frozenset({self.sha256}),
            indexed=None,
            vectors=known,
            provider=networks[0].provider,
            embed_ms=0.0,
        )


class Uploads:
    """Caches uploads for `upload_s` after their last use; together they take at most `upload_bytes`.

    Those that were not used for longest are removed first. All methods are those of one event loop.
    """

    def __init__(self, limits: ServingLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._known: OrderedDict[str, tuple[CachedUpload, float]] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """What all uploads take, in bytes."""
        return self._bytes

    def add(self, upload: CachedUpload) -> None:
        """Caches an upload.

        Raises:
            RefusedError: it alone takes more than all may.
        """
        if _size_of(upload) > self._limits.upload_bytes:
            raise RefusedError(
                Code.TOO_LARGE,
                f"uploads are cached within {self._limits.upload_bytes:,} bytes, and this one has more; "
                "send it with the query",
            )
        self._known[upload.id] = upload, self._clock()
        self._bytes += _size_of(upload)
        self._remove_surplus()

    def get(self, id_: str) -> CachedUpload:
        """Returns an upload, whose time begins anew.

        Raises:
            RefusedError: it is unknown, or not cached any more.
        """
        self.remove_expired()
        if id_ not in self._known:
            raise RefusedError(
                Code.UPLOAD, "this upload is unknown, or not cached any more; upload the image again"
            )
        upload, _ = self._known[id_]
        self._known[id_] = upload, self._clock()
        self._known.move_to_end(id_)
        return upload

    def find(self, example: Upload | UploadId | str) -> Upload | str:
        """Returns an image of a query, which is the upload where it was named by its id.

        Raises:
            RefusedError: as `get`.
        """
        return self.get(example.id) if isinstance(example, UploadId) else example

    def add_vector(self, upload: CachedUpload, identity: ModelIdentity, vector: FloatVector) -> None:
        """Caches the vector of an upload, unless that was removed meanwhile."""
        if upload.id not in self._known or identity in upload.vectors:
            return
        upload.vectors[identity] = vector
        self._bytes += vector.nbytes
        self._remove_surplus()

    def remove(self, id_: str) -> CachedUpload:
        """Removes an upload, and returns it.

        Raises:
            RefusedError: as `get`.
        """
        upload = self.get(id_)
        self._remove(id_)
        return upload

    def remove_expired(self) -> None:
        """Removes what was not used for too long."""
        until = self._clock() - self._limits.upload_s
        for id_, (_, used) in list(self._known.items()):
            if used > until:
                return
            self._remove(id_)

    def _remove_surplus(self) -> None:
        self.remove_expired()
        while self._bytes > self._limits.upload_bytes:
            self._remove(next(iter(self._known)))

    def _remove(self, id_: str) -> None:
        upload, _ = self._known.pop(id_)
        self._bytes -= _size_of(upload)


def _size_of(upload: CachedUpload) -> int:
    vectors = sum(vector.nbytes for vector in upload.vectors.values())
    return len(upload.content) + upload.pixels.nbytes + vectors
