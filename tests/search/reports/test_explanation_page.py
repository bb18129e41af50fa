"""The page of an explanation: complete without a script, and more with one, in a real browser."""

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from chromium import Tab
from lookalike_core.images.thumbnails import encoded
from lookalike_core.models.backbones import Pooling
from lookalike_core.models.model_manifest import ModelIdentity, WeightsKind, WeightsSource
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_search.analysis.attribution import explain
from lookalike_search.analysis.explanation import ComparedVector, Explained, SeenPicture
from lookalike_search.reports.explanation import write_explanations
from page_rules import read_page

HOSTILE = '<script>alert("1")</script>\u202e.jpg'


def picture(name: str, width: int, height: int) -> SeenPicture:
    """Noise of that size."""
    random = np.random.default_rng(width)
    shown = encoded(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
    return SeenPicture(name=name, pixels=np.zeros((224, 224, 3), np.uint8), shown=shown)


def explained(backbone: str, layer: str, distance: Distance = Distance.COSINE, low: float = 0.0) -> Explained:
    """Random features of seven by seven cells, explained."""
    random = np.random.default_rng(0)
    manifest = CollectionManifest(
        identity=ModelIdentity(
            backbone=backbone,
            layer=layer,
            pooling=Pooling.AVG,
            preprocessing="p",
            precision_class="float32",
            weights_fingerprint="0" * 64,
            dimension=8,
        ),
        distance=distance,
        weights=WeightsSource(kind=WeightsKind.IMAGENET, official=True),
        exporter_version="0",
        graph_revision=1,
        provider="CPUExecutionProvider",
        created_at="2026-01-01T00:00:00+00:00",
        datasets={},
    )
    maps = [random.uniform(low, 1, (7, 7, 8)).astype(np.float32) for _ in range(2)]
    maps[1][3, 5] *= 4
    compared = ComparedVector(vector=np.ones(8, np.float32), is_stored=True, agreement=0.9999123)
    return Explained(
        collection=manifest.collection,
        manifest=manifest,
        provider="cpu",
        explanation=explain(*maps),
        query=replace(compared, is_stored=False, agreement=1.0),
        neighbour=compared,
    )


PICTURES = (picture("cat.jpg", 120, 80), picture(HOSTILE, 60, 90))


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Two networks, one of which compares by distance; the second picture has a name to be wary of."""
    path = tmp_path / "explained.html"
    sections = [explained("resnet101v2", "post_relu"), explained("vgg16", "block5_pool", Distance.EUCLID)]
    write_explanations(path, PICTURES, sections)
    return path


def test_every_cell_stands_on_the_page_without_a_script(page: Path) -> None:
    """A coloured cell with its share as its title, and the same numbers in tables that sum to 100 %."""
    text = page.read_text(encoding="utf-8")
    assert text.count('<rect class="cell"') == 2 * 2 * 49
    shares = [float(share) for share in re.findall(r"row \d, column \d: (-?[\d.]+) %</title>", text)]
    assert sum(shares[:49]) == pytest.approx(100, abs=49 * 0.05)
    tables = re.findall(r"<tbody>.*?</tbody>", text, re.DOTALL)
    numbers = [float(number) for number in re.findall(r"<td>(-?[\d.]+)</td>", tables[0])]
    assert numbers == shares[:49]


def test_the_page_keeps_to_the_rules_of_pages(page: Path) -> None:
    """Structure, names of pictures, references, and no address to load from."""
    assert read_page(page).problems == []


def test_cells_lie_on_the_centre_square(page: Path) -> None:
    """Of a picture of 120 x 80 the network sees 80 x 80, from 20 on."""
    text = page.read_text(encoding="utf-8")
    lefts = [float(x) for x in re.findall(r'<rect class="cell" x="([\d.]+)"', text)[:49]]
    tops = [float(y) for y in re.findall(r'<rect class="cell" x="[\d.]+" y="([\d.]+)"', text)[:49]]
    assert (min(lefts), min(tops)) == (20, 0)
    assert max(lefts) == pytest.approx(20 + 80 * 6 / 7, abs=0.01)
    assert max(tops) == pytest.approx(80 * 6 / 7, abs=0.01)


def test_a_name_is_text(page: Path) -> None:
    """Neither markup nor a character that turns the direction of what follows."""
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "\u202e" not in text


def test_a_distance_is_not_what_is_explained(page: Path) -> None:
    """Said for the collection that compares by distance, and for no other."""
    assert page.read_text(encoding="utf-8").count("what is taken apart here is the cosine similarity") == 1


def test_whose_arithmetic_it_is_stands_on_the_page(page: Path) -> None:
    """What filled the collection, what the cells were computed on, and how well both agree."""
    text = page.read_text(encoding="utf-8")
    text = html.unescape(text)
    assert "The query's vector, computed here, is compared with the stored vector of the neighbour." in text
    assert "filled on CPUExecutionProvider; the cells are computed on cpu" in text
    assert text.count("a cosine of 0.999912,") == 2


def test_a_similarity_below_zero_is_given_in_plain_numbers(tmp_path: Path) -> None:
    """Per cent of it would turn the signs round."""
    path = tmp_path / "negative.html"
    found = explained("vgg16", "block5_pool", low=-1.0)
    cosine = -abs(found.explanation.cosine)
    turned = explain(np.full((7, 7, 2), (1.0, 0.0), np.float32), np.full((7, 7, 2), (-0.5, 1.0), np.float32))
    assert cosine < 0
    assert turned.cosine < 0
    write_explanations(path, PICTURES, [replace(found, explanation=turned)])
    text = path.read_text(encoding="utf-8")
    assert "The similarity is not above zero" in text
    assert re.search(r"row 1, column 1: -0\.\d+</title>", text)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_is_quiet_asks_for_nothing_and_fits(
    page: Path, tab: Tab, width: int, scheme: Literal["light", "dark"]
) -> None:
    """From a file, on a desk and on a phone."""
    tab.show_as(width=width, phone=width < 500, scheme=scheme)
    tab.open(page)
    assert tab.logged == []
    assert [url for url in tab.requested if not url.startswith("data:")] == [page.as_uri()]
    assert tab.run("document.documentElement.scrollWidth") <= width
    loaded = "[...document.querySelectorAll('svg image')].every(i => i.getBBox().width > 0)"
    assert tab.run(loaded)


def test_a_cell_shows_what_it_matches(page: Path, tab: Tab) -> None:
    """By keyboard: the cell is ringed, its three best matches are, and they are told."""
    tab.open(page)
    told = tab.run("""(() => {
        const svg = document.querySelector('svg.picture');
        svg.focus();
        svg.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowUp', bubbles: true }));
        return document.querySelector('[data-told]').textContent;
    })()""")
    assert told.startswith("The query's row 3, column 4 brings ")
    assert "the neighbour's row 4, column 6" in told
    pictures = "[...document.querySelectorAll('.section:first-of-type svg.picture')]"
    rings = f"{pictures}.map(picture => picture.querySelectorAll('.ring').length)"
    assert tab.run(rings) == [2, 6]
    tab.run("document.activeElement.blur()")
    assert tab.run(rings) == [0, 0]
    assert tab.logged == []
