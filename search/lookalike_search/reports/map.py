"""The page of `search map`: places in two dimensions, with a marker and a thumbnail for each image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from lookalike_core import progress
from lookalike_core.images.thumbnails import Thumbnail, make_thumbnails
from lookalike_core.stores.overlapping_roots import file_of
from numpy.typing import NDArray

from lookalike_search.analysis.collection_map import CollectionMap, Sampled
from lookalike_search.reports.page import Page

EDGE = 96
"""Pixels of a thumbnail's longer side: about 2 KB each on the page."""

WIDTH = 1000.0
MARGIN = 24.0
"""Of the drawing, in its own units."""

LIGHT = ("#fa491c", "#b40aff", "#2d9ba1", "#0e1478", "#6b1e07", "#255f84", "#1b0205")
DARK = ("#eb090c", "#b017f6", "#74f9f2", "#9ba1f4", "#e6ab4d", "#1e8086", "#fdfe26")
"""On light and on dark ground: chosen to be far apart also for who sees no red, no green or no blue."""

SHAPES = ("circle", "square", "triangle", "diamond", "cross")
"""With a number of colours that they share no divisor with, together they tell 35 classes apart."""

DISTINCT = len(LIGHT) * len(SHAPES)
"""Classes after which colours and shapes repeat."""

MOST_LABELS = 40
"""Classes whose names stand on the map; the largest, where there are more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassOnMap:
    """A class, the rows of its images, and the place of its name; `name` is empty for no class."""

    number: int
    name: str
    colour: int
    shape: str
    rows: Sequence[int]
    x: float
    y: float
    has_label: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MapLayout:
    """A drawing: places float64 `[N, 2]` in a box of `WIDTH` x `height`, and the classes of the images."""

    places: NDArray[np.float64]
    height: float
    classes: Sequence[ClassOnMap]


def map_page(drawn: CollectionMap, *, seed: int) -> tuple[Page, int]:
    """Returns the page, and how many images are on it without a thumbnail."""
    layout = lay_out(drawn.projection.places, [each.class_name or "" for each in drawn.sampled.payloads])
    images = list(_thumbnails(drawn.sampled))
    page = Page(
        "map.html",
        drawn=drawn,
        sampled=drawn.sampled,
        shown=len(drawn.sampled.payloads),
        total=drawn.sampled.total,
        classes=layout.classes,
        places=layout.places,
        images=images,
        seed=seed,
        width=WIDTH,
        height=layout.height,
        light=LIGHT,
        dark=DARK,
        distinct=DISTINCT,
    )
    return page, images.count(None)


def lay_out(places: NDArray[np.float64], names: Sequence[str]) -> MapLayout:
    """Returns the drawing of places float64 `[N, 2]`, by the class of each, `""` for none."""
    fitted, height = _fit_to_page(places)
    return MapLayout(places=fitted, height=height, classes=list(_classes(names, fitted)))


def _fit_to_page(places: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Returns the places in the drawing, with one scale for both axes, and the drawing's height."""
    low, high = places.min(axis=0), places.max(axis=0)
    extent = np.where(high > low, high - low, 1.0)
    scale = min((WIDTH - 2 * MARGIN) / extent[0], (WIDTH - 2 * MARGIN) / extent[1])
    height = float(np.clip(extent[1] * scale + 2 * MARGIN, WIDTH / 2, WIDTH))
    centre = np.array([WIDTH, height]) / 2
    return (places - (low + high) / 2) * scale + centre, height


def _thumbnails(sampled: Sampled) -> Iterator[str | None]:
    """Yields each image as a data URI, None where its file cannot be read."""
    files = [file_of(sampled.manifest, payload.dataset, payload.path) for payload in sampled.payloads]
    made = make_thumbnails((file for file in files if file is not None), EDGE)
    with progress.bar("thumbnails", unit="images", total=len(files)) as bar:
        for file in files:
            image = next(made) if file is not None else None
            bar.advance(1)
            yield image.uri if isinstance(image, Thumbnail) else None


def _classes(names: Sequence[str], places: NDArray[np.float64]) -> Iterator[ClassOnMap]:
    """Yields the classes by name; images without a class come last."""
    members: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        members.setdefault(name, []).append(row)
    labelled = set(sorted(members, key=lambda name: (-len(members[name]), name))[:MOST_LABELS])
    for number, name in enumerate(sorted(members, key=lambda name: (not name, name))):
        rows = members[name]
        x, y = _middle(places[rows])
        yield ClassOnMap(
            number=number,
            name=name,
            colour=number % len(LIGHT),
            shape=SHAPES[number % len(SHAPES)],
            rows=rows,
            x=x,
            y=y,
            has_label=bool(name) and name in labelled,
        )


def _middle(places: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the place nearest to the medians: a class in two parts is labelled in one of them."""
    away = ((places - np.median(places, axis=0)) ** 2).sum(axis=1)
    x, y = places[int(away.argmin())]
    return float(x), float(y)
