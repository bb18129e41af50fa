"""The API: what `search query --json` prints comes over HTTP, and errors as problems."""

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import httpx
import numpy as np
import pytest
from json_shape import find_differences
from lookalike_exporter.recorded_models import get_feature_model
from lookalike_search.asking.answer_records import Answer, FusedAnswer
from lookalike_search.serving.problems import Problem
from lookalike_search.serving.records import Embedding, IndexedImage, ServedCollections
from PIL import Image

QUERY = "/api/v1/query"
TIMES = ("took_ms", "provider", "query")


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    """Returns an answer without what differs from run to run."""
    return {key: value for key, value in answer.items() if key not in TIMES}


def is_problem(response: httpx.Response, status: int, code: str) -> bool:
    """Returns whether a response is a problem of this status and code, in the documented form."""
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert list(find_differences(problem, (Problem,))) == []
    return (response.status_code, problem["status"], problem["code"]) == (status, status, code)


def test_an_uploaded_image_has_the_answer_of_the_command(album: Any, served: Any, client: Any) -> None:
    """As a form and as the body itself, as for an image from a pipe; only times and the name differ."""
    image = served.images / "cat" / "1.png"
    printed = album("search", "query", "-", "--json", "--limit", "3", data=image.read_bytes()).json[0]
    form = client.post(QUERY, files={"image": ("one.png", image.read_bytes())}, data={"limit": "3"})
    assert form.status_code == 200, form.text
    assert without_times(form.json()) == without_times(printed)
    assert form.json()["query"] == "one.png"
    raw = client.post(
        QUERY, content=image.read_bytes(), headers={"content-type": "image/png"}, params={"limit": 3}
    )
    assert without_times(raw.json()) == without_times(form.json())
    assert list(find_differences(raw.json(), (Answer,))) == []


def test_an_indexed_image_has_the_answer_of_the_command(album: Any, client: Any) -> None:
    """By its path, by its id, with further examples, filters and pages, and by its own address."""
    words = (
        "cat/1.png",
        "--and",
        "cat/2.png",
        "--not",
        "dog/1.png",
        "--class",
        "dog",
        "--limit",
        "2",
        "--offset",
        "1",
    )
    printed = album("search", "query", *words, "--exact", "--json").json[0]
    fields = {"path": "cat/1.png", "and": ["cat/2.png"], "not": ["dog/1.png"], "where": {"class": "dog"}}
    answer = client.post(QUERY, json=fields | {"limit": 2, "offset": 1, "exact": True}).json()
    assert without_times(answer) == without_times(printed)
    id_ = client.post(QUERY, json={"path": "cat/1.png"}).json()["hits"][0]["id"]
    by_id = client.post(QUERY, json={"id": id_, "limit": 2}).json()
    address = f"/api/v1/images/{id_}/neighbours"
    assert without_times(client.get(address, params={"limit": 2}).json()) == without_times(by_id)
    where = client.get(address, params={"limit": 2, "where": '{"class": "dog"}'}).json()
    assert {hit["class"] for hit in where["hits"]} == {"dog"}


def test_chosen_neighbours_are_those_of_the_command(album: Any, client: Any) -> None:
    """By fields of JSON and of an address."""
    first = {"path": "cat/1.png", "limit": 1, "include_self": True}
    id_ = client.post(QUERY, json=first).json()["hits"][0]["id"]
    fields = {"one_per": "class", "diverse": 0.5}
    words = ["--one-per", "class", "--diverse", "0.5"]
    printed = album("search", "query", "cat/1.png", *words, "--json").json[0]
    answer = client.post(QUERY, json={"path": "cat/1.png"} | fields).json()
    assert without_times(answer) == without_times(printed)
    assert client.get(f"/api/v1/images/{id_}/neighbours", params=fields).json()["hits"] == answer["hits"]
    assert len({hit["class"] for hit in answer["hits"]}) == len(answer["hits"]) > 1


def test_filters_are_those_of_the_command(album: Any, client: Any) -> None:
    """Each may be a text or a list of texts; the image says when it was taken."""
    options = [
        "--class",
        "dog",
        "--class",
        "cat",
        "--path",
        "dog/",
        "--since",
        "2001-01-01",
        "--min-width",
        "64",
    ]
    printed = album("search", "query", "cat/1.png", "--exact", *options, "--json").json[0]
    where = {"class": ["dog", "cat"], "path": "dog", "since": "2001-01-01", "min_width": 64}
    answer = client.post(QUERY, json={"path": "cat/1.png", "exact": True, "where": where}).json()
    assert without_times(answer) == without_times(printed)
    assert {hit["path"].split("/")[0] for hit in answer["hits"]} == {"dog"}
    image = client.get(f"/api/v1/images/{answer['hits'][0]['id']}").json()
    assert image["taken_at"].endswith("+00:00")


def test_an_uploaded_example_goes_with_an_indexed_one(served: Any, client: Any) -> None:
    """The order of examples is that of the fields, whether they are files or names."""
    file = (served.images / "dog" / "3.png").read_bytes()
    answer = client.post(
        QUERY, data={"path": "cat/1.png", "not": "cat/5.png"}, files={"and": ("d.png", file)}
    )
    found = answer.json()
    assert (found["query"], found["positives"], found["negatives"]) == ("cat/1.png", ["d.png"], ["cat/5.png"])


def test_several_collections_are_fused(album: Any, client: Any) -> None:
    """As by the command, whose order of collections is kept."""
    names = [each["name"] for each in client.get("/api/v1/collections").json()["collections"]]
    chosen = [word for name in names for word in ("--collection", name)]
    printed = album("search", "query", "cat/1.png", *chosen, "--fusion", "zscore", "--json").json[0]
    answer = client.post(QUERY, json={"path": "cat/1.png", "collection": names, "fusion": "zscore"}).json()
    assert without_times(answer) == without_times(printed)
    assert list(find_differences(answer, (FusedAnswer,))) == []


def test_an_embedding_is_that_of_the_model(served: Any, client: Any) -> None:
    """An indexed image has its stored vector, which is normalised; an upload that of the network."""
    image = (served.images / "cat" / "1.png").read_bytes()
    raw = client.post("/api/v1/embed", content=image, headers={"content-type": "image/png"}).json()
    stored = client.post("/api/v1/embed", json={"path": "cat/1.png"}).json()
    assert list(find_differences(raw, (Embedding,))) == []
    vector = np.array(raw["vector"])
    np.testing.assert_allclose(vector / np.linalg.norm(vector), stored["vector"], atol=1e-6)
    assert (raw["provider"], stored["provider"]) == ("CPUExecutionProvider", None)


def test_a_region_has_an_embedding(served: Any, client: Any) -> None:
    """It is what a query with this region is searched with, of an upload and of an indexed image."""
    image = (served.images / "cat" / "1.png").read_bytes()
    data = {"region": "12,8,40,30"}
    part = client.post("/api/v1/embed", files={"image": image}, data=data).json()
    assert list(find_differences(part, (Embedding,))) == []
    assert part["region"] == {"x": 12, "y": 8, "width": 40, "height": 30}
    indexed = client.post("/api/v1/embed", json={"path": "cat/1.png", "region": [12, 8, 40, 30]}).json()
    assert (indexed["vector"], indexed["region"]) == (part["vector"], part["region"])
    nearest = client.post(QUERY, json={"path": "cat/1.png", **data}).json()["hits"][0]
    stored = client.post("/api/v1/embed", json={"id": nearest["id"]}).json()
    assert "region" not in stored
    vector = np.array(part["vector"]) / np.linalg.norm(part["vector"])
    assert vector @ np.array(stored["vector"]) == pytest.approx(nearest["score"], abs=1e-6)
    outside = client.post("/api/v1/embed", files={"image": image}, data={"region": "60,40,5,5"})
    assert is_problem(outside, 422, "image")


def test_collections_and_images_are_described(album: Any, served: Any, client: Any) -> None:
    """With exact counts, and the digest of the file."""
    found = client.get("/api/v1/collections").json()
    assert list(find_differences(found, (ServedCollections,))) == []
    assert [each["points"] for each in found["collections"]] == [16, 16]
    assert found["collections"][0]["classes"] == {"cat": 8, "dog": 8}
    id_ = client.post(QUERY, json={"path": "cat/1.png"}).json()["hits"][0]["id"]
    image = client.get(f"/api/v1/images/{id_}").json()
    assert list(find_differences(image, (IndexedImage,))) == []
    assert (image["id"], image["file"]) == (id_, str(served.images / image["path"]))


def test_a_thumbnail_is_small_and_cached(served: Any, client: Any) -> None:
    """It is not sent again to a client that has it, and is read from the disk the next time."""
    id_ = client.post(QUERY, json={"path": "cat/1.png"}).json()["hits"][0]["id"]
    address = f"/api/v1/images/{id_}/thumbnail"
    first = client.get(address, params={"edge": 32})
    assert max(Image.open(io.BytesIO(first.content)).size) == 32
    assert len(list((served.home / "thumbnails").rglob("*-32"))) == 1
    assert client.get(address, params={"edge": 32}).content == first.content
    again = client.get(address, params={"edge": 32}, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("fields", "argument"),
    [
        ({}, "id"),
        ({"path": ""}, "id"),
        ({"path": "cat/1.png", "id": "x"}, "id"),
        ({"path": "cat/1.png", "limit": 0}, "limit"),
        ({"path": "cat/1.png", "limit": True}, "limit"),
        ({"path": "cat/1.png", "limit": "10"}, "limit"),
        ({"path": "cat/1.png", "limit": 1e300}, "limit"),
        ({"path": "cat/1.png", "offset": -1}, "offset"),
        ({"path": "cat/1.png", "min_score": 2}, "min_score"),
        ({"path": "cat/1.png", "max_distance": 2}, "max_distance"),
        ({"path": "cat/1.png", "exact": "yes"}, "exact"),
        ({"path": "cat/1.png", "vote": "loudest"}, "vote"),
        ({"path": "cat/1.png", "fusion": "rrf"}, "fusion"),
        ({"path": "cat/1.png", "where": "cat"}, "where"),
        ({"path": "cat/1.png", "where": {"class": "cta"}}, "class"),
        ({"path": "cat/1.png", "where": {"dataset": "none"}}, "dataset"),
        ({"path": "cat/1.png", "where": {"colour": "red"}}, "colour"),
        ({"path": "cat/1.png", "where": {"not_class": "cta"}}, "not_class"),
        ({"path": "cat/1.png", "where": {"class": [1]}}, "class"),
        ({"path": "cat/1.png", "where": {"path": "cta/"}}, "path"),
        ({"path": "cat/1.png", "where": {"since": "noon"}}, "since"),
        ({"path": "cat/1.png", "where": {"min_width": "64"}}, "min_width"),
        ({"path": "cat/1.png", "limits": 3}, "limits"),
        ({"path": "cat/1.png", "and": [1]}, "and"),
        ({"path": ["cat/1.png"]}, "path"),
        ({"path": "cat/1.png", "min_score": 10**400}, "min_score"),
        ({"path": "cat/1.png", "confidence": 0}, "confidence"),
        ({"path": "cat/1.png", "confidence": 1}, "confidence"),
        ({"path": "cat/1.png", "confidence": 95}, "confidence"),
        ({"path": "cat/1.png", "confidence": "95%"}, "confidence"),
        ({"path": "cat/1.png", "confidence": True}, "confidence"),
        ({"path": "cat/1.png", "locate": 1}, "locate"),
        ({"path": "cat/1.png", "min_chance": 80}, "min_chance"),
        ({"path": "cat/1.png", "min_chance": 0.8}, "min_chance"),
        ({"path": "cat/1.png", "one_per": "dataset"}, "one_per"),
        ({"path": "cat/1.png", "one_per": "class", "where": {"class": "cat"}}, "one_per"),
        ({"path": "cat/1.png", "diverse": 1.5}, "diverse"),
        ({"path": "cat/1.png", "diverse": True}, "diverse"),
        ({"path": "cat/1.png", "region": ""}, "region"),
        ({"path": "cat/1.png", "region": "1,2,3"}, "region"),
        ({"path": "cat/1.png", "region": "1,2,3%,4%"}, "region"),
        ({"path": "cat/1.png", "region": "-1,0,5,5"}, "region"),
        ({"path": "cat/1.png", "region": "0,0,0,5"}, "region"),
        ({"path": "cat/1.png", "region": "0%,0%,101%,5%"}, "region"),
        ({"path": "cat/1.png", "region": "9" * 1000}, "region"),
        ({"path": "cat/1.png", "region": []}, "region"),
        ({"path": "cat/1.png", "region": [1, 2, 3, 4, 5]}, "region"),
        ({"path": "cat/1.png", "region": [1, 2, 3, True]}, "region"),
        ({"path": "cat/1.png", "region": [1, 2, 3, "4"]}, "region"),
        ({"path": "cat/1.png", "region": [1, 2, 3, 10**400]}, "region"),
        ({"path": "cat/1.png", "region": {"x": 1}}, "region"),
    ],
)
def test_a_wrong_field_is_refused_and_named(client: Any, fields: dict[str, Any], argument: str) -> None:
    """With the code of wrong usage."""
    response = client.post(QUERY, json=fields)
    assert is_problem(response, 400, "usage"), response.text
    assert (response.json()["argument"], response.json()["exit_code"]) == (argument, 2)


def test_what_is_no_query_is_refused(client: Any) -> None:
    """Each with the status and the code that says why."""
    json_type = {"content-type": "application/json"}
    assert is_problem(client.post(QUERY, content=b"{", headers=json_type), 400, "usage")
    assert is_problem(client.post(QUERY, content=b"[" * 10**5, headers=json_type), 400, "usage")
    assert is_problem(client.post(QUERY, content=b"[]", headers=json_type), 400, "usage")
    assert is_problem(client.post(QUERY, content=b" " * 2**21, headers=json_type), 413, "too-large")
    assert is_problem(
        client.post(QUERY, content=b"a", headers={"content-type": "text/plain"}), 415, "media-type"
    )
    assert is_problem(client.post(QUERY, content=b"a"), 415, "media-type")
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert is_problem(client.post(QUERY, content=b"--x\r\nnothing", headers=broken), 400, "usage")
    garbage = client.post(QUERY, content=b"garbage", headers={"content-type": "image/jpeg"})
    assert is_problem(garbage, 422, "image")
    assert garbage.json()["reason"] == "not-an-image"
    assert is_problem(client.get("/api/v1/image"), 404, "not-found")
    assert is_problem(client.get(QUERY), 405, "method")
    assert client.get(QUERY).headers["allow"] == "POST"
    assert is_problem(client.get(f"/api/v1/images/{uuid4()}"), 404, "image")
    assert is_problem(client.post(QUERY, json={"path": "a.png", "collection": ["x"]}), 404, "collection")
    missing = client.post(QUERY, json={"path": "cat/none.png"})
    assert is_problem(missing, 404, "image")


def test_files_are_read_neither_by_path_nor_by_link(
    served: Any, client: Any, tmp_path: Path, draw: Callable[..., list[Path]]
) -> None:
    """A path of a file on the disk is no indexed image, and an indexed path may lead elsewhere by now."""
    (secret,) = draw(tmp_path, "secret.png")
    for name in (str(secret), f"../../../../../..{secret}", "/etc/passwd", f"file://{secret}", "~", "/"):
        assert is_problem(client.post(QUERY, json={"path": name}), 404, "image"), name
        assert is_problem(client.post(QUERY, json={"id": name}), 404, "image"), name
    for path in ("..%2f..%2fetc%2fpasswd", "../../etc/passwd", "%2e%2e/secret.png"):
        assert client.get(f"/api/v1/images/{path}/thumbnail").status_code == 404
    id_ = client.post(QUERY, json={"path": "dog/1.png"}).json()["hits"][0]["id"]
    place = served.images / client.get(f"/api/v1/images/{id_}").json()["path"]
    content = place.read_bytes()
    try:
        place.unlink()
        place.symlink_to(secret)
        response = client.get(f"/api/v1/images/{id_}/thumbnail", params={"edge": 100})
        assert is_problem(response, 422, "image")
        place.unlink()
        assert is_problem(client.get(f"/api/v1/images/{id_}/thumbnail", params={"edge": 100}), 404, "image")
    finally:
        place.unlink(missing_ok=True)
        place.write_bytes(content)
    assert client.get(f"/api/v1/images/{id_}/thumbnail", params={"edge": 100}).status_code == 200


def test_originals_are_sent_only_where_that_is_wanted(album: Any, client: Any, start_serving: Any) -> None:
    """As attachments, whose content no browser shows."""
    id_ = client.post(QUERY, json={"path": "cat/1.png"}).json()["hits"][0]["id"]
    path = client.get(f"/api/v1/images/{id_}").json()["file"]
    assert is_problem(client.get(f"/api/v1/images/{id_}/original"), 404, "not-found")
    with start_serving(album.folder / "home", serves_originals=True) as other, other.client() as its:
        response = its.get(f"/api/v1/images/{id_}/original")
        assert response.content == Path(path).read_bytes()
        assert response.headers["content-disposition"] == "attachment"


@pytest.mark.parametrize("name", ["<script>alert(1)</script>.png", "\u202egnp.exe.png", "a" * 2**18 + ".png"])
def test_a_strange_name_does_no_harm(served: Any, client: Any, name: str) -> None:
    """It is text in ASCII, of bounded length."""
    image = (served.images / "cat" / "1.png").read_bytes()
    response = client.post(QUERY, files={"image": (name, image)})
    if response.status_code == 200:
        assert response.text.isascii()
        assert len(response.json()["query"]) <= 200
        assert response.headers["content-type"] == "application/json"
    else:
        assert is_problem(response, 400, "usage")


def test_metrics_count_steps_and_refusals(served: Any, client: Any) -> None:
    """In the form that Prometheus reads."""
    image = (served.images / "cat" / "1.png").read_bytes()
    client.post(QUERY, content=image, headers={"content-type": "image/png"})
    client.post(QUERY, json={})
    text = client.get("/metrics").text
    for step in ("decode", "queue", "embed", "search"):
        assert f"lookalike_{step}_seconds_count" in text
    assert 'lookalike_request_seconds_count{endpoint="query",status="200"}' in text
    assert 'lookalike_rejected_requests_total{code="usage"}' in text
    assert text.count("} 16.0") >= 1
    assert (client.get("/livez").text, client.get("/readyz").status_code) == ("ok\n", 200)


@pytest.mark.parametrize("name", ["limit", "offset", "min_score", "k", "near_above", "diverse"])
def test_described_bounds_are_those_that_are_checked(client: Any, name: str) -> None:
    """The least and the greatest value are taken, and none beyond."""
    schema = client.get("/openapi.json").json()["components"]["schemas"]["QueryFields"]["properties"][name]
    low, high = schema["minimum"], schema["maximum"]
    for value in (low, high):
        assert client.post(QUERY, json={"path": "cat/1.png", name: value}).status_code == 200
    for value in (low - 1, high + 1):
        assert client.post(QUERY, json={"path": "cat/1.png", name: value}).json()["argument"] == name


def test_the_description_names_every_record_once(client: Any) -> None:
    """Each reference has a schema; the fields of a query are described, and no others are taken."""
    described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    schemas = described["components"]["schemas"]
    named = {part.split('"')[0] for part in json.dumps(described).split("#/components/schemas/")[1:]}
    assert named <= schemas.keys()
    assert schemas["QueryFields"]["additionalProperties"] is False
    assert {"and", "not", "where", "fusion"} <= schemas["QueryFields"]["properties"].keys()
    assert set(schemas["Answer"]["required"]) >= {"schema", "query", "hits", "verdict"}
    assert set(described["paths"]) >= {"/api/v1/query", "/api/v1/images/{id}/thumbnail"}


REGIONS = ["12,8,40,30", "0,0,64,48", "18.75%,16.667%,62.5%,62.5%"]


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_has_the_answer_of_the_command(album: Any, served: Any, client: Any, region: str) -> None:
    """Of an upload and of an indexed image, in one collection and in several; it is none of the examples."""
    image = (served.images / "cat" / "1.png").read_bytes()
    asked = ("search", "query", "--json", "--limit", "4", "--region", region)
    printed = album(*asked, "-", data=image).json[0]
    form = client.post(QUERY, files={"image": ("one.png", image)}, data={"limit": "4", "region": region})
    assert without_times(form.json()) == without_times(printed)
    assert list(find_differences(form.json(), (Answer,))) == []
    printed = album(*asked, "cat/1.png", "--and", "cat/2.png").json[0]
    fields = {"path": "cat/1.png", "and": ["cat/2.png"], "limit": 4, "region": region}
    answer = client.post(QUERY, json=fields).json()
    assert (answer["region"], without_times(answer)) == (printed["region"], without_times(printed))
    names = [each["name"] for each in client.get("/api/v1/collections").json()["collections"]]
    chosen = [word for name in names for word in ("--collection", name)]
    printed = album(*asked, "cat/1.png", *chosen).json[0]
    answer = client.post(
        QUERY, json={"path": "cat/1.png", "limit": 4, "region": region, "collection": names}
    ).json()
    assert without_times(answer) == without_times(printed)


def test_a_region_is_text_or_four_numbers(client: Any) -> None:
    """Numbers are pixels; an address has text, and so has the one of an indexed image."""
    asked = {"path": "cat/1.png", "limit": 3}
    text = client.post(QUERY, json=asked | {"region": "12,8,40,30"}).json()
    assert text["region"] == {"x": 12, "y": 8, "width": 40, "height": 30}
    numbers = client.post(QUERY, json=asked | {"region": [12, 8, 40, 30.0]}).json()
    assert without_times(numbers) == without_times(text)
    id_ = client.post(QUERY, json={"path": "cat/2.png"}).json()["hits"][0]["id"]
    by_id = client.post(QUERY, json={"id": id_, "limit": 3, "region": "12,8,40,30"}).json()
    address = f"/api/v1/images/{id_}/neighbours"
    params = {"limit": 3, "region": "12,8,40,30"}
    assert without_times(client.get(address, params=params).json()) == without_times(by_id)
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert {"region", "locate", "confidence"} <= schemas["QueryFields"]["properties"].keys()


def test_places_of_the_similarity_are_those_of_the_command(album: Any, served: Any, client: Any) -> None:
    """Of a part, of a whole upload, and of an indexed image, which is embedded nowhere else."""
    image = (served.images / "cat" / "1.png").read_bytes()
    asked = ("search", "query", "--json", "--limit", "3", "--locate")
    printed = album(*asked, "-", "--region", "12,8,40,30", data=image).json[0]
    form = client.post(
        QUERY,
        files={"image": ("one.png", image)},
        data={"limit": "3", "region": "12,8,40,30", "locate": "true"},
    )
    assert without_times(form.json()) == without_times(printed)
    assert sum(map(sum, form.json()["hits"][0]["located"]["shares"])) == pytest.approx(
        form.json()["hits"][0]["score"], abs=1e-6
    )
    printed = album(*asked, "cat/1.png").json[0]
    answer = client.post(QUERY, json={"path": "cat/1.png", "limit": 3, "locate": True}).json()
    assert without_times(answer) == without_times(printed)
    assert list(find_differences(answer, (Answer,))) == []


def test_many_neighbours_are_located_in_parts(client: Any) -> None:
    """All of them are, in their order; more than a hundred are refused."""
    plain = client.post(QUERY, json={"path": "cat/1.png", "limit": 15, "include_self": True}).json()
    more = {"path": "cat/1.png", "limit": 100, "include_self": True, "locate": True}
    found = client.post(QUERY, json=more).json()
    assert [hit["id"] for hit in found["hits"]][:15] == [hit["id"] for hit in plain["hits"]]
    assert all("shares" in hit["located"] for hit in found["hits"])
    refused = client.post(QUERY, json=more | {"limit": 101})
    assert is_problem(refused, 400, "usage")
    assert refused.json()["argument"] == "limit"


@pytest.mark.parametrize("region", ["0,0,65,10", [60, 40, 10, 4]])
def test_a_region_beyond_the_image_is_a_problem_of_the_image(served: Any, client: Any, region: Any) -> None:
    """Of an indexed image, and of an upload."""
    for response in (
        client.post(QUERY, json={"path": "cat/1.png", "region": region}),
        client.post(
            QUERY,
            files={"image": (served.images / "cat" / "1.png").read_bytes()},
            data={"region": "0,0,65,10"},
        ),
    ):
        assert is_problem(response, 422, "image"), response.text
        assert response.json()["reason"] == "outside"


def test_a_changed_file_has_no_region(served: Any, client: Any) -> None:
    """Only the bytes that were ingested are read; a neighbour says so in place of the similarity's place."""
    place = served.images / "dog" / "2.png"
    content = place.read_bytes()
    try:
        place.write_bytes((served.images / "dog" / "3.png").read_bytes())
        changed = client.post(QUERY, json={"path": "dog/2.png", "region": "1,1,9,9"})
        assert is_problem(changed, 422, "image")
        whole = client.post(QUERY, json={"path": "dog/2.png", "region": "0%,0%,100%,100%"})
        assert whole.status_code == 200
        asked = {"path": "dog/1.png", "limit": 15, "locate": True}
        hits = client.post(QUERY, json=asked).json()["hits"]
        located = next(hit["located"] for hit in hits if hit["path"] == "dog/2.png")
        assert located == {"error": "unreadable"}
        place.unlink()
        assert is_problem(client.post(QUERY, json={"path": "dog/2.png", "region": "1,1,9,9"}), 404, "image")
    finally:
        place.write_bytes(content)


def test_several_collections_have_neither_places_nor_prediction_sets(client: Any) -> None:
    """As by the command, which refuses them; a collection without a calibration has no sets either."""
    names = [each["name"] for each in client.get("/api/v1/collections").json()["collections"]]
    for field, value in (("locate", True), ("confidence", 0.9)):
        refused = client.post(QUERY, json={"path": "cat/1.png", "collection": names, field: value})
        assert is_problem(refused, 400, "usage")
        assert refused.json()["argument"] == field
    refused = client.post(QUERY, json={"path": "cat/1.png", "confidence": 0.9})
    assert is_problem(refused, 400, "usage")
    assert "is not calibrated" in refused.json()["detail"]


def test_a_prediction_set_is_that_of_the_command(
    make_shell: Callable[[Path], Any],
    draw: Callable[..., object],
    start_serving: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a collection that was calibrated while it was served; only for whole images and collections.

    The model that locates is loaded once, although the collection is opened anew.
    """
    loading = Mock(wraps=get_feature_model)
    monkeypatch.setattr("lookalike_exporter.recorded_models.get_feature_model", loading)
    shell = make_shell(tmp_path)
    draw(tmp_path / "album", *(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(12)))
    assert shell.ingest("album").code == 0
    with start_serving(tmp_path / "home") as served, served.client() as client:
        asked = {"path": "cat/1.png", "confidence": 0.8}
        assert is_problem(client.post(QUERY, json=asked), 400, "usage")
        assert client.post(QUERY, json=asked | {"confidence": None, "locate": True}).status_code == 200
        done = shell("search", "calibrate")
        assert done.code == 0, done.err
        until = time.monotonic() + 60
        while client.post(QUERY, json=asked).status_code != 200 and time.monotonic() < until:
            time.sleep(0.1)
        printed = shell("search", "query", "cat/1.png", "--confidence", "0.8", "--json").json[0]
        answer = client.post(QUERY, json=asked).json()
        assert without_times(answer) == without_times(printed)
        assert list(find_differences(answer, (Answer,))) == []
        loading.reset_mock()
        located = client.post(QUERY, json=asked | {"locate": True}).json()
        assert "shares" in located["hits"][0]["located"]
        loading.assert_not_called()
        image = (served.images / "cat" / "1.png").read_bytes()
        form = client.post(QUERY, files={"image": image}, data={"confidence": "0.8"}).json()
        printed = shell("search", "query", "-", "--confidence", "0.8", "--json", data=image).json[0]
        assert without_times(form) == without_times(printed)
        for more in ({"and": ["cat/2.png"]}, {"where": {"class": "cat"}}, {"region": "1,1,9,9"}):
            refused = client.post(QUERY, json=asked | more)
            assert is_problem(refused, 400, "usage"), refused.text
            assert refused.json()["argument"] == "confidence"
