"""Makes the page of a map of drawn images."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import Payload
from lookalike_search.analysis.collection_map import Sampled, map_collection
from lookalike_search.reports.map import map_page
from made_collections import manifest_of, payload_of

Draw = Callable[..., list[Path]]


def payload(path: str, class_name: str | None) -> Payload:
    """Returns the payload of an image whose bytes are its path."""
    return payload_of(path, class_name=class_name, sha256=path)


def make_sample(root: Path, classes: Sequence[str | None], paths: Sequence[str] = ()) -> Sampled:
    """Returns random vectors of length 1, one for each class named."""
    random = np.random.default_rng(0)
    paths = paths or [f"{number}.png" for number in range(len(classes))]
    vectors = random.normal(0, 1, (len(classes), 16)).astype(np.float32)
    manifest = manifest_of(Distance.COSINE, 16, {"data": str(root)})
    return Sampled(
        collection="vgg16-cosine",
        manifest=manifest,
        payloads=[payload(path, name) for path, name in zip(paths, classes, strict=True)],
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        total=2 * len(classes),
    )


def make_map(folder: Path, draw: Draw) -> Path:
    """Writes the map of twelve images of two classes and none, one without a file; a class is named <b>."""
    draw(folder, *[f"{number}.png" for number in range(11)])
    drawn = map_collection(make_sample(folder, ["cat", "<b>dog</b>\u202e", None] * 4), seed=0)
    page, without = map_page(drawn, seed=0)
    page.write(folder / "map.html")
    assert without == 1
    return folder / "map.html"
