"""Explanations over HTTP: those of `search explain`, without its start-up."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from json_shape import find_differences
from lookalike_search.analysis.explanation_json import Explanation
from lookalike_search.asking.searched_collection import SearchedCollection
from waiting import wait_until

EXPLAIN = "/api/v1/explain"
QUERY = "/api/v1/query"


@pytest.fixture
def pair(client: Any) -> tuple[str, str]:
    """Returns the ids of two indexed images."""
    hits = client.post(QUERY, json={"path": "cat/1.png"}).json()["hits"]
    return hits[0]["id"], hits[1]["id"]


def without_store(explanation: dict[str, Any]) -> dict[str, Any]:
    """Returns an explanation without what only names where it was asked for."""
    return explanation | {"store": "", "query": ""}


def test_an_explanation_is_that_of_the_command(album: Any, client: Any, pair: tuple[str, str]) -> None:
    """Of two indexed images, by either address; the shares of each sum to the score of the neighbour."""
    first, second = pair
    printed = album("search", "explain", first, second, "--json").json[0]
    by_address = client.get(f"/api/v1/images/{first}/explain", params={"neighbour": second})
    assert by_address.status_code == 200, by_address.text
    found = by_address.json()
    assert list(find_differences(found, (Explanation,))) == []
    assert without_store(found) == without_store(printed)
    assert client.post(EXPLAIN, json={"id": first, "neighbour": second}).json() == found
    hits = client.post(QUERY, json={"id": first}).json()["hits"]
    score = next(hit["score"] for hit in hits if hit["id"] == second)
    for shares in (found["query_shares"], found["neighbour_shares"]):
        assert sum(map(sum, shares)) == pytest.approx(score, abs=1e-5)
    assert client.post(EXPLAIN, json={"path": "cat/1.png", "neighbour": "cat/2.png"}).status_code == 200


def test_an_upload_is_explained(album: Any, served: Any, client: Any, pair: tuple[str, str]) -> None:
    """Sent as a form or as the body, or before; as a part of it, and by a Euclidean collection, too."""
    image = (served.images / "dog" / "3.png").read_bytes()
    upload = client.post("/api/v1/uploads", files={"image": ("d.png", image)}).json()["upload"]
    _, second = pair
    euclid = next(
        each["name"]
        for each in client.get("/api/v1/collections").json()["collections"]
        if each["distance"] == "euclid"
    )
    for more in ({}, {"region": "12,8,40,30"}, {"collection": euclid}):
        fields = more | {"neighbour": second}
        words = [f"--{name}={value}" for name, value in more.items()]
        printed = album("search", "explain", "-", second, *words, "--json", data=image).json[0]
        form = client.post(EXPLAIN, files={"image": ("d.png", image)}, data=fields)
        assert form.status_code == 200, form.text
        raw = client.post(EXPLAIN, content=image, headers={"content-type": "image/png"}, params=fields)
        named = client.post(EXPLAIN, json=fields | {"upload": upload})
        again = client.post(EXPLAIN, json=fields | {"upload": upload})
        for found in (form, raw, named, again):
            assert without_store(found.json()) == without_store(printed)
        assert form.json()["query"] == named.json()["query"] == "d.png"


def test_a_region_of_an_indexed_image_is_explained(album: Any, client: Any, pair: tuple[str, str]) -> None:
    """As by the command."""
    first, second = pair
    region = {"region": "12,8,40,30"}
    printed = album("search", "explain", first, second, "--region=12,8,40,30", "--json").json[0]
    found = client.get(f"/api/v1/images/{first}/explain", params={"neighbour": second} | region).json()
    assert without_store(found) == without_store(printed)
    assert (found["query_vector"], found["neighbour_vector"]) == ("computed", "stored")
    whole = client.post(EXPLAIN, json={"id": first, "neighbour": second, "region": "0%,0%,100%,100%"}).json()
    assert whole["query_vector"] == "stored"


@pytest.mark.parametrize(
    ("fields", "status", "code", "argument"),
    [
        ({"path": "cat/1.png"}, 400, "usage", "neighbour"),
        ({"neighbour": "cat/1.png"}, 400, "usage", "id"),
        ({"path": "cat/1.png", "neighbour": ""}, 400, "usage", "neighbour"),
        ({"path": "cat/1.png", "neighbour": ["cat/2.png"]}, 400, "usage", "neighbour"),
        ({"path": "cat/1.png", "neighbour": "cat/2.png", "limit": 3}, 400, "usage", "limit"),
        ({"path": "cat/1.png", "neighbour": "cat/none.png"}, 404, "image", None),
        ({"path": "/etc/passwd", "neighbour": "cat/1.png"}, 404, "image", None),
        ({"path": "cat/1.png", "neighbour": "../../etc/passwd"}, 404, "image", None),
        ({"upload": "0" * 32, "neighbour": "cat/1.png"}, 404, "upload", None),
        ({"path": "cat/1.png", "neighbour": "cat/2.png", "region": "0,0,65,9"}, 422, "image", None),
        ({"path": "cat/1.png", "neighbour": "cat/2.png", "collection": "x"}, 404, "collection", None),
    ],
)
def test_what_cannot_be_explained_is_refused(
    client: Any, fields: dict[str, Any], status: int, code: str, argument: str | None
) -> None:
    """Before the model runs."""
    refused = client.post(EXPLAIN, json=fields)
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
    assert refused.json().get("argument") == argument


def test_a_changed_file_is_not_explained(served: Any, client: Any) -> None:
    """Only the bytes that were ingested are read."""
    place = served.images / "dog" / "2.png"
    content = place.read_bytes()
    try:
        place.write_bytes((served.images / "dog" / "3.png").read_bytes())
        refused = client.post(EXPLAIN, json={"path": "dog/2.png", "neighbour": "cat/1.png"})
        assert (refused.status_code, refused.json()["code"]) == (422, "image")
        place.unlink()
        refused = client.post(EXPLAIN, json={"path": "cat/1.png", "neighbour": "dog/2.png"})
        assert (refused.status_code, refused.json()["code"]) == (404, "image")
    finally:
        place.write_bytes(content)


def test_others_have_the_model_between_the_two_images(
    album: Any, start_serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests for it run in the order in which they came."""
    image = Path(album.folder / "album" / "cat" / "1.png").read_bytes()
    runs: list[str] = []
    started, goes_on = threading.Event(), threading.Event()
    features, embed = SearchedCollection.features, SearchedCollection.embed

    def wait(network: SearchedCollection, pixels: Any) -> Any:
        runs.append("features")
        started.set()
        assert goes_on.wait(60)
        return features(network, pixels)

    def count(network: SearchedCollection, pixels: Any) -> Any:
        runs.append("embed")
        return embed(network, pixels)

    with start_serving(album.folder / "home") as served, served.client() as client:
        monkeypatch.setattr(SearchedCollection, "features", wait)
        monkeypatch.setattr(SearchedCollection, "embed", count)
        with ThreadPoolExecutor(2) as pool, served.client() as other, served.client() as third:
            explained = pool.submit(
                client.post, EXPLAIN, json={"path": "cat/1.png", "neighbour": "cat/2.png"}
            )
            assert started.wait(60)
            found = pool.submit(other.post, QUERY, content=image, headers={"content-type": "image/png"})
            wait_until(lambda: "lookalike_batch_images_count 1.0" in third.get("/metrics").text)
            goes_on.set()
            assert (explained.result().status_code, found.result().status_code) == (200, 200)
    assert runs == ["features", "embed", "features"]
