"""A finished map for a browser: its classes as records, and its points as bytes that need no parsing.

The bytes are arrays in little-endian order, one after the other: the number of points N and of bytes of all
paths, uint32; x and y, float32 `[N]`; class numbers and dataset numbers, uint32 `[N]`; the ends of the paths,
uint32 `[N]`; ids, 16 bytes each; and the paths in UTF-8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

import numpy as np
from lookalike_core.text import one_line

from lookalike_search.reports.map import MapLayout, lay_out
from lookalike_search.serving.jobs import Job
from lookalike_search.serving.pages.job_view import read_result


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnMap:
    """A map: what its job said of it, its layout, the datasets by number, and its points as bytes."""

    record: Mapping[str, Any]
    layout: MapLayout
    datasets: Sequence[str]
    points: bytes


@lru_cache(maxsize=4)
def draw_map(job: Job) -> DrawnMap:
    """Returns the map of a job that is done."""
    record = read_result(job)[0]
    images = record["places"]
    places = np.array([(each["x"], each["y"]) for each in images], dtype=np.float64)
    layout = lay_out(places, [each["class"] or "" for each in images])
    datasets = sorted({each["dataset"] for each in images})
    points = _pack(images, layout, datasets)
    return DrawnMap(
        record={name: value for name, value in record.items() if name != "places"},
        layout=layout,
        datasets=datasets,
        points=points,
    )


def _pack(images: Sequence[Mapping[str, Any]], layout: MapLayout, datasets: Sequence[str]) -> bytes:
    classes = np.zeros(len(images), dtype="<u4")
    for each in layout.classes:
        classes[np.asarray(each.rows)] = each.number
    numbers = {name: number for number, name in enumerate(datasets)}
    paths = [one_line(each["path"]).encode("utf-8", "replace") for each in images]
    ends = np.cumsum([len(path) for path in paths])
    arrays = [
        np.array([len(images), ends[-1]], dtype="<u4"),
        layout.places[:, 0].astype("<f4"),
        layout.places[:, 1].astype("<f4"),
        classes,
        np.array([numbers[each["dataset"]] for each in images], dtype="<u4"),
        ends.astype("<u4"),
    ]
    ids = b"".join(UUID(each["id"]).bytes for each in images)
    return b"".join([*(each.tobytes() for each in arrays), ids, *paths])
