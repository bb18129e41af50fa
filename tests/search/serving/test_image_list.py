"""Lists of indexed images: in a defined order, by pages that fit together."""

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_shape import find_differences
from lookalike_core.stores.points import Payload
from lookalike_search.serving.image_order import ImageOrder
from lookalike_search.serving.records import ListedImages

IMAGES = "/api/v1/images"


def walk(client: Any, **params: Any) -> list[dict[str, Any]]:
    """Returns all images of a list, page by page."""
    found: list[dict[str, Any]] = []
    page = client.get(IMAGES, params=params).json()
    while True:
        assert list(find_differences(page, (ListedImages,))) == []
        assert page["offset"] == len(found)
        found += page["images"]
        if page["next"] is None:
            assert len(found) == page["total"]
            return found
        page = client.get(IMAGES, params=params | {"after": page["next"]}).json()


def test_pages_hold_every_image_once_in_order(client: Any) -> None:
    """By dataset, class and path, whatever the size of a page; by places as well as by ids."""
    every = walk(client, limit=500)
    assert len(every) == 16
    keys = [(each["dataset"], each["class"], each["path"]) for each in every]
    assert keys == sorted(keys)
    for limit in (1, 3, 16):
        assert walk(client, limit=limit) == every
    middle = client.get(IMAGES, params={"offset": 5, "limit": 4}).json()
    assert (middle["images"], middle["total"]) == (every[5:9], 16)
    known = client.get(f"{IMAGES}/{every[0]['id']}").json()
    assert every[0].items() <= known.items()
    beyond = client.get(IMAGES, params={"offset": 99}).json()
    assert (beyond["images"], beyond["next"], beyond["total"]) == ([], None, 16)


def test_a_list_is_of_a_class_and_a_dataset(client: Any) -> None:
    """Counted by itself; an image of another class has a place in it, too."""
    every = walk(client)
    dogs = walk(client, **{"class": "dog", "limit": 3})
    assert dogs == [each for each in every if each["class"] == "dog"]
    assert walk(client, dataset="album", limit=7) == every
    after_cats = client.get(IMAGES, params={"class": "dog", "after": every[2]["id"]}).json()
    assert after_cats["images"] == dogs
    assert client.get(IMAGES, params={"class": ""}).json()["total"] == 0
    names = [each["name"] for each in client.get("/api/v1/collections").json()["collections"]]
    for name in names:
        assert client.get(IMAGES, params={"collection": name}).json()["collection"] == name


@pytest.mark.parametrize(
    ("params", "status", "argument"),
    [
        ({"class": "cta"}, 400, "class"),
        ({"dataset": "none"}, 400, "dataset"),
        ({"limit": 501}, 400, "limit"),
        ({"limit": 0}, 400, "limit"),
        ({"offset": -1}, 400, "offset"),
        ({"after": "x"}, 400, "after"),
        ({"after": str(UUID(int=0)), "offset": 1}, 400, "after"),
        ({"after": str(UUID(int=0))}, 404, None),
        ({"where": "{}"}, 400, "where"),
        ({"collection": "x"}, 404, None),
    ],
)
def test_a_wrong_list_is_refused(
    client: Any, params: dict[str, Any], status: int, argument: str | None
) -> None:
    """With the field that is wrong."""
    refused = client.get(IMAGES, params=params)
    assert (refused.status_code, refused.json().get("argument")) == (status, argument), refused.text


def test_a_list_shows_what_was_ingested_meanwhile(
    make_shell: Callable[..., Any], draw: Callable[..., Any], start_serving: Any, tmp_path: Any
) -> None:
    """Once the collection was opened anew; an id that was given out before stays good."""
    shell = make_shell(tmp_path)
    draw(tmp_path / "album", "cat/1.png", "cat/3.png", "0.png")
    assert shell.ingest("album").code == 0
    with start_serving(tmp_path / "home") as served, served.client() as client:
        first = client.get(IMAGES, params={"limit": 2}).json()
        assert [each["path"] for each in first["images"]] == ["0.png", "cat/1.png"]
        assert first["images"][0]["class"] is None
        draw(tmp_path / "album", "cat/0.png", "cat/2.png")
        assert shell.ingest("album").code == 0
        until = time.monotonic() + 60
        while client.get(IMAGES).json()["total"] < 5:
            assert time.monotonic() < until
            time.sleep(0.05)
        rest = client.get(IMAGES, params={"after": first["next"]}).json()
        assert [each["path"] for each in rest["images"]] == ["cat/2.png", "cat/3.png"]


def payload_of(dataset: str, class_name: str | None, path: str) -> Payload:
    """Returns the payload of an image."""
    return Payload(
        dataset=dataset,
        path=path,
        class_name=class_name,
        sha256="",
        width=1,
        height=1,
        bytes=1,
        mtime_ns=0,
        ingested_at="",
    )


@given(
    images=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from([None, "x", "y"]), st.sampled_from("123456")),
        unique_by=lambda each: (each[0], each[2]),
    ),
    dataset=st.sampled_from([None, "a", "b"]),
    class_name=st.sampled_from([None, "", "x", "y"]),
    limit=st.integers(1, 5),
)
def test_pages_of_any_filter_are_those_of_a_sorted_list(
    images: Sequence[tuple[str, str | None, str]], dataset: str | None, class_name: str | None, limit: int
) -> None:
    """From every place on, and after every image."""
    ordered = sorted(images, key=lambda each: (each[0], each[1] or "", each[2]))
    order = ImageOrder(payload_of(*each) for each in images)
    ids = {payload_of(*each).id: each for each in ordered}
    assert len(order) == len(images)
    wanted = [
        id_ for id_, each in ids.items() if dataset in (None, each[0]) and class_name in (None, each[1] or "")
    ]
    for offset in range(len(wanted) + 1):
        page = order.page(dataset=dataset, class_name=class_name, limit=limit, offset=offset)
        assert page is not None
        assert (list(page.ids), page.total) == (wanted[offset : offset + limit], len(wanted))
    for place, id_ in enumerate(ids):
        page = order.page(dataset=dataset, class_name=class_name, limit=limit, after=id_)
        later = [each for each in list(ids)[place + 1 :] if each in wanted]
        assert page is not None
        assert list(page.ids) == later[:limit]
        assert page.offset == len(wanted) - len(later)
