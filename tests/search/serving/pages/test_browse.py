"""The view of classes and images, as a browser without scripts gets it."""

import re
import shutil
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from lookalike_search.serving.image_order import ImageGroup
from lookalike_search.serving.pages.browse import PER_PAGE, list_classes

HOSTILE = "<b>\u202ecat"
MANY = 130


@pytest.fixture(scope="module")
def shelf(
    make_shell: Callable[[Path], Any],
    draw: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    start_serving: Callable[..., Any],
) -> Iterator[Any]:
    """Returns a client of a server with two datasets: many copies of an image, and some in odd classes."""
    shell = make_shell(tmp_path_factory.mktemp("shelf"))
    [first] = draw(shell.folder / "many", "cat/0000.png")
    for number in range(1, MANY):
        shutil.copy(first, first.with_name(f"{number:04}.png"))
    draw(shell.folder / "few", "alone.png", "cat/1.png", f"{HOSTILE}/1.png")
    for folder in ("many", "few"):
        done = shell.ingest(folder)
        assert done.code == 0, done.err
    with start_serving(shell.folder / "home") as served, served.client() as client:
        yield client


def links(html: str) -> list[str]:
    """Returns the addresses that a page links to."""
    return [unescape(each) for each in re.findall(r'href="([^"]*)"', html)]


def test_classes_have_counts_and_an_image(shelf: Any) -> None:
    """Those of all datasets together; images without a class come last."""
    page = shelf.get("/browse").text
    assert "133 images of 2 classes" in page
    assert re.findall(r'number">([\d,]+)</span></span></a>', page) == ["1", "131", "1"]
    assert shelf.get(next(each for each in links(page) if each == "/browse?class=")).status_code == 200
    thumbnail = unescape(re.findall(r'<img src="([^"]*)"', page)[0])
    assert shelf.get(thumbnail).headers["content-type"] in ("image/webp", "image/jpeg")


def test_classes_are_found_by_a_part_of_their_name(shelf: Any) -> None:
    """In any case; nothing found says so."""
    assert "1 class has" in shelf.get("/browse?q=NO+cl").text
    assert "0 classes have" in shelf.get("/browse?q=zebra").text
    assert "1 image of 1 class" not in shelf.get("/browse?dataset=few").text
    assert "3 images of 2 classes" in shelf.get("/browse?dataset=few").text


def test_names_are_escaped(shelf: Any) -> None:
    """A class may be named like markup."""
    for address in ("/browse", "/browse?q=%3Cb%3E", f"/browse?class={HOSTILE}", "/browse?images=all"):
        page = shelf.get(address)
        assert page.status_code == 200, address
        assert "<b>" not in page.text
        assert "\u202e" not in page.text


def test_pages_lead_to_each_other(shelf: Any) -> None:
    """Every image of a class is on one page, and links back to asking with it."""
    first = shelf.get("/browse?class=cat").text
    later = next(each for each in links(first) if "after=" in each)
    second = shelf.get(later).text
    ids = [re.findall(r'href="/\?id=([^"&]+)', page) for page in (first, second)]
    assert [len(each) for each in ids] == [PER_PAGE, 31]
    assert len({*ids[0], *ids[1]}) == 131
    assert 'aria-posinset="101"' in second
    assert next(each for each in links(second) if "offset=0" in each)
    assert len(re.findall('class="tile"', shelf.get("/browse?class=cat&dataset=few").text)) == 1


def test_links_keep_the_named_collection(shelf: Any) -> None:
    """Also to asking; without a name the default is meant."""
    name = shelf.get("/api/v1/collections").json()["default"]
    for address in (f"/browse?collection={name}", f"/browse?class=cat&collection={name}"):
        own = [each for each in links(shelf.get(address).text) if each.startswith(("/browse", "/?"))]
        assert own
        assert all(f"collection={name}" in each for each in own)


def test_links_repeat_no_collection_that_is_not_served(shelf: Any) -> None:
    """Nor one hundreds of times: there are thousands of links on a page."""
    name = shelf.get("/api/v1/collections").json()["default"]
    for path in ("/browse", "/browse?images=all", "/map", "/duplicates", "/evaluation"):
        address = f"{path}{'&' if '?' in path else '?'}collection={name}"
        assert shelf.get(address).status_code == 200
        assert shelf.get(f"{address}&collection={'c' * 5_000}").status_code == 404
        assert shelf.get(f"{address}&collection={name}").status_code == 400


def test_what_is_not_there_is_a_problem_with_choices(shelf: Any) -> None:
    """An unknown class, dataset, collection or image after which to go on, and fields that mean nothing."""
    unknown = shelf.get("/browse?class=cta")
    assert (unknown.status_code, "nearest: cat" in unknown.text) == (400, True)
    assert shelf.get("/browse?class=cat&dataset=none").status_code == 400
    assert shelf.get("/browse?collection=none").status_code == 404
    assert shelf.get("/browse?class=cat&after=0").status_code == 400
    assert shelf.get("/browse?images=some").status_code == 400
    assert shelf.get("/browse?clas=cat").status_code == 400
    assert shelf.get("/browse?page=0").status_code == 400


def test_a_dataset_without_images_says_so(shelf: Any) -> None:
    """The last image of a class may have gone."""
    assert "no images without a class" in shelf.get("/browse?class=&dataset=many").text


def test_classes_of_datasets_are_one() -> None:
    """The image is that of the first dataset."""
    groups = [
        ImageGroup(dataset=dataset, class_name=name, count=count, first_id=f"{dataset}-{name}")
        for dataset, name, count in (("a", "", 1), ("a", "Dog", 2), ("b", "ant", 3), ("b", "Dog", 4))
    ]
    found = list_classes(groups, dataset=None, kept={"dataset": None})
    assert [(each.name, each.count, each.image) for each in found] == [
        ("ant", 3, "b-ant"),
        ("Dog", 6, "a-Dog"),
        ("", 1, "a-"),
    ]
    assert [each.count for each in list_classes(groups, dataset="b", kept={})] == [3, 4]
