"""Explains vectors that are not those of their files: damaged, swapped, or of another model."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import StoreError
from lookalike_core.stores.points import Payload
from lookalike_core.stores.protocol import Collection
from numpy.typing import NDArray

from lookalike_ingest.integrity.faults import Fault, Finding
from lookalike_ingest.integrity.reread_files import Mismatch
from lookalike_ingest.integrity.tolerance import Agreement, Tolerance, compare_vectors

SEARCHED = 200
"""For how many vectors it is searched where else they are stored."""

FEWEST = 3
"""The fewest differing vectors that can be called another model's."""

FEWEST_ALIKE = 8
"""The fewest differing vectors whose similarities among each other tell of another model."""

ALIKE = 0.5
"""The correlation of similarities above which two sets of vectors are two models' of the same images."""

_COMPARED = 200

EmbedFile = Callable[[Payload], FloatVector | None]
"""Returns the vector that an indexed image's file gives now; None if it is unreadable or was changed."""


def diagnose(
    mismatches: Sequence[Mismatch],
    collection: Collection,
    *,
    compared: int,
    tolerance: Tolerance,
    embed_file: EmbedFile,
) -> list[Finding]:
    """Returns a fault for each vector that is not its file's, and for each that turns out to be its partner.

    `compared` is how many vectors were compared at all.
    """
    damaged = [one for one in mismatches if one.deviation.agreement is Agreement.DAMAGED]
    others = [one for one in mismatches if one.deviation.agreement is not Agreement.DAMAGED]
    swapped = _find_swapped(others, collection, tolerance, embed_file)
    left = [one for one in others if one.point.id not in swapped]
    found = [
        one.finding(
            Fault.VECTOR_DIFFERS,
            f"{one.deviation.values} of {len(one.stored)} values differ from those of the file",
        )
        for one in damaged
    ]
    found += swapped.values()
    fault = Fault.OTHER_MODEL if is_other_model(left, compared=compared) else Fault.VECTOR_DIFFERS
    whose = "of another model" if fault is Fault.OTHER_MODEL else "not the file's"
    return found + [
        one.finding(
            fault, f"the vector is {whose}: they are {one.deviation.distance:.2g} of its length apart"
        )
        for one in left
    ]


def _find_swapped(
    mismatches: Sequence[Mismatch], collection: Collection, tolerance: Tolerance, embed_file: EmbedFile
) -> dict[str, Finding]:
    """Returns by id the faults of images whose vector is stored with another image, and of that one.

    A near-duplicate's own vector may be as near, so the other image must have lost its own.
    """
    known = {one.point.id: one.fresh for one in mismatches}
    found: dict[str, Finding] = {}

    def fits(stored: FloatVector, fresh: FloatVector) -> bool:
        agreement = compare_vectors(stored, fresh, collection.manifest.distance, tolerance).agreement
        return agreement in (Agreement.SAME, Agreement.ROUNDED)

    for one in mismatches[:SEARCHED]:
        holder = _find_holder(one, collection)
        if holder is None:
            continue
        stored = collection.vectors([holder.id]).get(holder.id)
        if stored is None or not fits(stored, one.fresh):
            continue
        own = known.get(holder.id)
        own = embed_file(holder) if own is None else own
        if own is None or fits(stored, own):
            continue
        found[one.point.id] = one.finding(
            Fault.VECTORS_SWAPPED, f"its vector is stored with {holder.path} of {holder.dataset}"
        )
        detail = f"it has the vector of {one.point.payload.path} of {one.point.payload.dataset}"
        found.setdefault(
            holder.id,
            Finding(
                fault=Fault.VECTORS_SWAPPED,
                detail=detail,
                dataset=holder.dataset,
                path=holder.path,
                id=holder.id,
            ),
        )
    return found


def _find_holder(one: Mismatch, collection: Collection) -> Payload | None:
    """Returns the image whose stored vector is nearest to the one that a file gives; None if unknown."""
    if not np.isfinite(one.fresh).all() or not one.fresh.any():
        return None
    for exact in (True, False):  # a server may not allow exact searches
        with suppress(StoreError):
            hits = collection.query(one.fresh, limit=2, exact=exact)
            others = [hit.payload for hit in hits if hit.payload.id != one.point.id]
            return others[0] if others else None
    return None


def is_other_model(mismatches: Sequence[Mismatch], *, compared: int) -> bool:
    """Returns whether vectors are another model's of the same images. Pure.

    They are if most of all compared vectors differ, or if they are as similar among each other as those of
    the collection's model are: what two models make of the same images.
    """
    if len(mismatches) < FEWEST:
        return False
    if 2 * len(mismatches) > compared:
        return True
    if len(mismatches) < FEWEST_ALIKE:
        return False
    some = mismatches[:_COMPARED]
    stored, fresh = (
        _similarities(np.array(vectors, dtype=np.float64))
        for vectors in ([one.stored for one in some], [one.fresh for one in some])
    )
    return bool(np.corrcoef(stored, fresh)[0, 1] >= ALIKE)


def _similarities(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the cosines of all pairs of vectors, around their mean."""
    centred = vectors - vectors.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    units = centred / np.where(lengths > 0, lengths, 1)
    return np.asarray((units @ units.T)[np.triu_indices(len(units), 1)])
