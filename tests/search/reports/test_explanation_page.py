"""The page of an explanation, complete without a script."""

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from explanation_pages import IMAGES, explain_noise, make_page
from lookalike_search.analysis.attribution import explain
from lookalike_search.reports.explanation import explanations_page
from page_rules import read_page


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Returns the page of `make_page`."""
    return make_page(tmp_path)


def test_every_cell_is_on_the_page_without_a_script(page: Path) -> None:
    """Each is a coloured cell titled with its share; tables have the same numbers, which sum to 100 %."""
    text = page.read_text(encoding="utf-8")
    assert text.count('<rect class="cell heat-') == 2 * 2 * 49
    shares = [float(share) for share in re.findall(r"row \d, column \d: (-?[\d.]+) %</title>", text)]
    assert sum(shares[:49]) == pytest.approx(100, abs=49 * 0.05)
    tables = re.findall(r"<tbody>.*?</tbody>", text, re.DOTALL)
    numbers = [float(number) for number in re.findall(r"<td>(-?[\d.]+)</td>", tables[0])]
    assert numbers == shares[:49]


def test_the_page_keeps_to_the_rules_of_pages(page: Path) -> None:
    """Structure, alternative texts and references are valid, and nothing is loaded."""
    assert read_page(page).problems == []


def test_cells_cover_the_centre_square(page: Path) -> None:
    """Of an image of 120 x 80 the network sees 80 x 80, from column 20 on."""
    text = page.read_text(encoding="utf-8")
    lefts = [float(x) for x in re.findall(r'<rect class="cell heat-\d+" x="([\d.]+)"', text)[:49]]
    tops = [float(y) for y in re.findall(r'<rect class="cell heat-\d+" x="[\d.]+" y="([\d.]+)"', text)[:49]]
    assert (min(lefts), min(tops)) == (20, 0)
    assert max(lefts) == pytest.approx(20 + 80 * 6 / 7, abs=0.01)
    assert max(tops) == pytest.approx(80 * 6 / 7, abs=0.01)


def test_names_are_escaped(page: Path) -> None:
    """Markup and characters that change the direction of text are escaped."""
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "\u202e" not in text


def test_a_euclidean_collection_explains_the_cosine(page: Path) -> None:
    """The page says so for a Euclidean collection only."""
    assert page.read_text(encoding="utf-8").count("the shares are those of the cosine similarity") == 1


def test_the_page_names_providers_and_agreement(page: Path) -> None:
    """It names the provider of the collection, the one that computed the cells, and their agreement."""
    text = page.read_text(encoding="utf-8")
    text = html.unescape(text)
    assert "The query's vector, computed here, is compared with the stored vector of the neighbour." in text
    assert "filled on CPUExecutionProvider; the cells are computed on cpu" in text
    assert text.count("a cosine of 0.999912;") == 2


def test_shares_of_a_negative_similarity_are_plain_numbers(tmp_path: Path) -> None:
    """Per cent of a negative number would flip the signs."""
    path = tmp_path / "negative.html"
    found = explain_noise("vgg16", "block5_pool", low=-1.0)
    cosine = -abs(found.explanation.cosine)
    turned = explain(np.full((7, 7, 2), (1.0, 0.0), np.float32), np.full((7, 7, 2), (-0.5, 1.0), np.float32))
    assert cosine < 0
    assert turned.cosine < 0
    explanations_page(IMAGES, [replace(found, explanation=turned)]).write(path)
    text = path.read_text(encoding="utf-8")
    assert "The similarity is not above zero" in text
    assert re.search(r"row 1, column 1: -0\.\d+</title>", text)
