"""The page of a map: a mark and a thumbnail a picture, in a real browser, and colours for every eye."""

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from chromium import Tab
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import Payload
from lookalike_search.analysis.collection_map import CollectionMap, Sampled, mapped
from lookalike_search.analysis.projection import Method, Projection
from lookalike_search.reports.map import DARK, EDGE, LIGHT, SHAPES, write_map
from made_collections import manifest_of, payload_of
from numpy.typing import NDArray
from page_rules import read_page

Draw = Callable[..., list[Path]]

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


def payload(path: str, class_name: str | None) -> Payload:
    """Of a picture whose bytes are its path's."""
    return payload_of(path, class_name=class_name, sha256=path)


def sampled(root: Path, classes: Sequence[str | None], paths: Sequence[str] = ()) -> Sampled:
    """Random vectors of length 1, one for each class named."""
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


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Path:
    """Twelve pictures of two classes and none; one file is missing, one class has a name to be wary of."""
    folder = tmp_path_factory.mktemp("map")
    draw(folder, *[f"{number}.png" for number in range(11)])
    drawn = mapped(sampled(folder, ["cat", "<b>dog</b>\u202e", None] * 4), seed=0)
    assert write_map(folder / "map.html", drawn, seed=0) == 1
    return folder / "map.html"


def test_every_picture_is_a_mark_and_has_its_thumbnail_once(page: Path) -> None:
    """All of them without a script; the one whose file is gone without a thumbnail."""
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"<use href=\"#\w+\" x=", text)) == 12
    assert len(set(re.findall(r'<img src="(data:image/[^"]+)"', text))) == 11
    assert text.count("data:image/") == 11
    assert "12 of 24 pictures" in text


def test_the_page_keeps_to_the_rules_of_pages(page: Path) -> None:
    """Structure, names of pictures, references, and no address to load from."""
    assert read_page(page).problems == []


def test_classes_come_by_name_and_those_without_one_last(page: Path) -> None:
    """A class's name is text, whatever it holds."""
    text = page.read_text(encoding="utf-8")
    assert "<b>dog" not in text
    assert "\u202e" not in text
    legend = re.findall(r'<label>.*?</svg> (.*?) <span class="faint number">(\d+)', text, re.DOTALL)
    assert legend == [("&lt;b&gt;dog&lt;/b&gt;\\u202e", "4"), ("cat", "4"), ("(no class)", "4")]


def test_places_keep_their_ratio_and_lie_inside(tmp_path: Path) -> None:
    """A wide map is half as high as it is wide, and its distances are of one scale."""
    places = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 1.0]])
    drawn = CollectionMap(
        sampled=sampled(tmp_path, ["a", "a", "a"]),
        projection=Projection(places=places, method=Method.PCA),
        trust=None,
    )
    assert write_map(tmp_path / "map.html", drawn, seed=0) == 3
    text = (tmp_path / "map.html").read_text(encoding="utf-8")
    marks = np.array(re.findall(r'<use href="#\w+" x="([\d.]+)" y="([\d.]+)"', text), dtype=np.float64)
    assert 'viewBox="0 0 1000 500"' in text
    assert (marks >= 0).all()
    assert (marks <= (1000, 500)).all()
    one, other = np.linalg.norm(np.diff(marks, axis=0), axis=1)
    assert one / other == pytest.approx(10, rel=1e-3)
    assert "Too few pictures to measure it" in text


@pytest.mark.parametrize("count", [1, 36])
def test_any_number_of_classes_has_marks(tmp_path: Path, count: int) -> None:
    """Beyond 35, colours and shapes repeat, and it is said."""
    names = [f"class {number:02}" for number in range(count)] * 2
    drawn = CollectionMap(
        sampled=sampled(tmp_path, names),
        projection=Projection(
            places=np.random.default_rng(0).normal(0, 1, (len(names), 2)), method=Method.PCA
        ),
        trust=None,
    )
    write_map(tmp_path / "map.html", drawn, seed=0)
    text = (tmp_path / "map.html").read_text(encoding="utf-8")
    looks = re.findall(r'<g class="of-\d+ (k\d)">\s*<use href="#(\w+)"', text)
    assert len(looks) == count
    assert len(set(looks)) == min(count, len(LIGHT) * len(SHAPES))
    assert ("repeat after 35 classes" in text) == (count > 35)


@pytest.mark.parametrize(("colours", "ground"), [(LIGHT, "#ffffff"), (DARK, "#1e2026")])
@pytest.mark.parametrize("eye", SEEN_AS)
def test_colours_are_told_apart_by_every_eye(colours: Sequence[str], ground: str, eye: str) -> None:
    """Each from each other, and from the ground by WCAG's 3 to 1 for what is drawn."""
    seen = [_oklab(np.array(SEEN_AS[eye]) @ _linear(colour)) for colour in colours]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > APART
    light = [float(np.dot((0.2126, 0.7152, 0.0722), _linear(colour))) for colour in (ground, *colours)]
    for each in light[1:]:
        assert (max(light[0], each) + 0.05) / (min(light[0], each) + 0.05) >= 3


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


def test_a_mark_shows_its_picture_by_keyboard(page: Path, tab: Tab) -> None:
    """Arrow keys go from mark to mark; what is shown is also said."""
    tab.show_as()
    tab.open(page)
    shown = tab.run("""(() => {
        const map = document.querySelector('[data-map]'), seen = [];
        map.focus();
        for (const key of ['ArrowLeft', 'ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown']) {
            map.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
            const near = document.querySelector('.near');
            seen.push([near.hidden, near.querySelector('.path').textContent,
                       document.querySelector('[role=status]').textContent]);
        }
        return seen;
    })()""")
    assert not any(hidden for hidden, _, _ in shown)
    assert len({path for _, path, _ in shown}) > 1
    assert all(said.endswith(f": {path}") for _, path, said in shown)
    assert tab.logged == []


def test_a_mark_shows_its_picture_where_it_is_pointed_at(page: Path, tab: Tab) -> None:
    """The thumbnail is that of the list; elsewhere it goes away."""
    tab.show_as()
    tab.open(page)
    size = tab.run("""(async () => {
        const mark = document.querySelector('use[data-n="3"]');
        mark.dispatchEvent(new PointerEvent('pointerenter'));
        const image = document.querySelector('.near img');
        await image.decode();
        return [image.naturalWidth, image.src === document.querySelector('#p3 img').src];
    })()""")
    assert size == [min(64, EDGE), True]
    tab.run("document.querySelector('[data-map]').dispatchEvent(new PointerEvent('pointerleave'))")
    assert tab.run("document.querySelector('.near').hidden")


def test_classes_are_hidden_and_the_map_is_zoomed(page: Path, tab: Tab) -> None:
    """A class's box takes its marks away; the buttons bring the map nearer and back."""
    tab.show_as()
    tab.open(page)
    shown = "[...document.querySelectorAll('use[data-n]')].filter(u => u.getClientRects().length).length"
    assert tab.run(shown) == 12
    tab.run("document.querySelector('#show-0').click()")
    assert tab.run(shown) == 8
    box = "document.querySelector('[data-map]').viewBox.baseVal.width"
    full = tab.run(box)
    tab.run("document.querySelector('[aria-label=\"Zoom in\"]').click()")
    assert tab.run(box) == pytest.approx(full / 1.5)
    tab.run("[...document.querySelectorAll('button')].find(b => b.textContent === 'Whole map').click()")
    assert tab.run(box) == full
    assert tab.logged == []


def _linear(colour: str) -> NDArray[np.float64]:
    """Of sRGB in hex (IEC 61966-2-1)."""
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _oklab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lightness and two directions of colour, in hundredths (https://bottosson.github.io/posts/oklab/)."""
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
