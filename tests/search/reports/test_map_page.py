"""The page of a map: a marker and a thumbnail for each image, and colours for every colour vision."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from lookalike_search.analysis.collection_map import CollectionMap
from lookalike_search.analysis.projection import Method, Projection
from lookalike_search.reports.map import DARK, LIGHT, SHAPES, map_page
from map_pages import Draw, make_map, make_sample
from numpy.typing import NDArray
from page_rules import read_page

APART = 15

"""Of 100 in lightness and colour (OKLab), by which two colours are to differ."""

SEEN_AS = {
    "all": np.eye(3),
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}

"""Linear RGB as people see it (Machado, Oliveira and Fernandes, 2009, at full severity)."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Path:
    """Returns the page of `make_map`."""
    return make_map(tmp_path_factory.mktemp("map"), draw)


def test_every_image_has_one_marker_and_one_thumbnail(page: Path) -> None:
    """All are there without a script; an image whose file is missing has no thumbnail."""
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"<use href=\"#\w+\" x=", text)) == 12
    assert len(set(re.findall(r'<img src="(data:image/[^"]+)"', text))) == 11
    assert text.count("data:image/") == 11
    assert "12 of 24 images" in text


def test_the_page_keeps_to_the_rules_of_pages(page: Path) -> None:
    """Structure, alternative texts and references are valid, and nothing is loaded."""
    assert read_page(page).problems == []


def test_classes_are_sorted_with_no_class_last(page: Path) -> None:
    """Class names are escaped."""
    text = page.read_text(encoding="utf-8")
    assert "<b>dog" not in text
    assert "\u202e" not in text
    legend = re.findall(r'<label>.*?</svg> (.*?) <span class="faint number">(\d+)', text, re.DOTALL)
    assert legend == [("&lt;b&gt;dog&lt;/b&gt;\\u202e", "4"), ("cat", "4"), ("(no class)", "4")]


def test_places_keep_their_proportions_inside_the_drawing(tmp_path: Path) -> None:
    """Both axes have one scale: a map twice as wide as high stays so."""
    places = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 1.0]])
    drawn = CollectionMap(
        sampled=make_sample(tmp_path, ["a", "a", "a"]),
        projection=Projection(places=places, method=Method.PCA),
        trust=None,
    )
    page, without = map_page(drawn, seed=0)
    assert without == 3
    page.write(tmp_path / "map.html")
    text = (tmp_path / "map.html").read_text(encoding="utf-8")
    marks = np.array(re.findall(r'<use href="#\w+" x="([\d.]+)" y="([\d.]+)"', text), dtype=np.float64)
    assert 'viewBox="0 0 1000 500"' in text
    assert (marks >= 0).all()
    assert (marks <= (1000, 500)).all()
    one, other = np.linalg.norm(np.diff(marks, axis=0), axis=1)
    assert one / other == pytest.approx(10, rel=1e-3)
    assert "Too few images to measure it" in text


@pytest.mark.parametrize("count", [1, 36])
def test_any_number_of_classes_has_markers(tmp_path: Path, count: int) -> None:
    """From 36 classes on colours and shapes repeat, and the page says so."""
    names = [f"class {number:02}" for number in range(count)] * 2
    drawn = CollectionMap(
        sampled=make_sample(tmp_path, names),
        projection=Projection(
            places=np.random.default_rng(0).normal(0, 1, (len(names), 2)), method=Method.PCA
        ),
        trust=None,
    )
    page, _ = map_page(drawn, seed=0)
    page.write(tmp_path / "map.html")
    text = (tmp_path / "map.html").read_text(encoding="utf-8")
    looks = re.findall(r'<g class="of-\d+ (k\d)">\s*<use href="#(\w+)"', text)
    assert len(looks) == count
    assert len(set(looks)) == min(count, len(LIGHT) * len(SHAPES))
    assert ("repeat after 35 classes" in text) == (count > 35)


@pytest.mark.parametrize(("colours", "ground"), [(LIGHT, "#ffffff"), (DARK, "#1e2026")])
@pytest.mark.parametrize("eye", SEEN_AS)
def test_colours_differ_for_every_colour_vision(colours: Sequence[str], ground: str, eye: str) -> None:
    """They differ from each other, and from the ground by WCAG's 3:1 for graphics."""
    seen = [_oklab(np.array(SEEN_AS[eye]) @ _linear(colour)) for colour in colours]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > APART
    light = [float(np.dot((0.2126, 0.7152, 0.0722), _linear(colour))) for colour in (ground, *colours)]
    for each in light[1:]:
        assert (max(light[0], each) + 0.05) / (min(light[0], each) + 0.05) >= 3


def _linear(colour: str) -> NDArray[np.float64]:
    """Returns linear RGB of sRGB in hex (IEC 61966-2-1)."""
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _oklab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns lightness and two colour axes, in hundredths (https://bottosson.github.io/posts/oklab/)."""
    cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return 100 * np.array(lab) @ np.cbrt(np.array(cones) @ np.clip(linear, 0, 1))
