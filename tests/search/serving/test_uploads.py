"""Uploads: an image is sent once, and asked with until it is not cached any more."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from json_shape import find_differences
from lookalike_search.asking.searched_collection import SearchedCollection
from lookalike_search.serving.limits import ServingLimits
from lookalike_search.serving.problems import Code, RefusedError
from lookalike_search.serving.records import UploadRecord
from lookalike_search.serving.uploads import CachedUpload, Uploads
from made_collections import manifest_of
from PIL import Image

UPLOADS = "/api/v1/uploads"
QUERY = "/api/v1/query"
PNG = {"content-type": "image/png"}
TIMES = ("took_ms", "query", "provider")


@pytest.fixture
def image(served: Any) -> bytes:
    """Returns an image of the collection."""
    content: bytes = (served.images / "cat" / "1.png").read_bytes()
    return content


@pytest.fixture
def upload(client: Any, image: bytes) -> str:
    """Returns the id of an upload."""
    added = client.post(UPLOADS, files={"image": ("one.png", image)})
    assert added.status_code == 201, added.text
    id_: str = added.json()["upload"]
    return id_


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    """Returns an answer without what differs from run to run."""
    return {key: value for key, value in answer.items() if key not in TIMES}


def test_an_upload_is_described_and_removed(client: Any, image: bytes) -> None:
    """It comes as a form or as the body itself; its address is that of the header."""
    form = client.post(UPLOADS, files={"image": ("../one.png", image)})
    raw = client.post(UPLOADS, content=image, headers=PNG)
    assert (form.status_code, raw.status_code) == (201, 201)
    assert list(find_differences(form.json(), (UploadRecord,))) == []
    assert (form.json()["name"], raw.json()["name"]) == ("one.png", "upload")
    assert (form.json()["width"], form.json()["height"], form.json()["expires_s"]) == (64, 48, 1800)
    address = form.headers["location"]
    assert address == f"{UPLOADS}/{form.json()['upload']}"
    assert client.get(address).json() == form.json()
    assert len({form.json()["upload"], raw.json()["upload"]}) == 2
    assert client.delete(address).json() == form.json()
    for method in ("GET", "DELETE"):
        gone = client.request(method, address)
        assert (gone.status_code, gone.json()["code"]) == (404, "upload")
        assert "upload the image again" in gone.json()["detail"]


def test_a_query_by_an_upload_is_that_of_its_file(client: Any, image: bytes, upload: str) -> None:
    """As JSON, as a form and by its own address, with pages, filters, regions and several collections."""
    names = [each["name"] for each in client.get("/api/v1/collections").json()["collections"]]
    for fields in (
        {},
        {"limit": 3, "offset": 2},
        {"where": '{"class": "dog"}'},
        {"region": "12,8,40,30"},
        {"limit": 3, "locate": "true"},
        {"collection": names},
    ):
        sent = client.post(QUERY, files={"image": ("one.png", image)}, data=fields)
        assert sent.status_code == 200, sent.text
        form = client.post(QUERY, data=fields | {"upload": upload}, files={"and": ("", b"")})
        assert form.status_code == 400
        form = client.post(QUERY, files=[("upload", (None, upload)), *form_parts(fields)])
        own = client.get(f"{UPLOADS}/{upload}/neighbours", params=fields)
        for again in (form, own):
            assert again.status_code == 200, again.text
            assert without_times(again.json()) == without_times(sent.json())
    plain = client.post(QUERY, json={"upload": upload, "limit": 3}).json()
    assert plain["query"] == "one.png"
    prefixed = client.post(QUERY, json={"upload": f"upload:{upload}", "limit": 3}).json()
    assert without_times(prefixed) == without_times(plain)
    vector = client.post("/api/v1/embed", json={"upload": upload}).json()["vector"]
    assert vector == client.post("/api/v1/embed", content=image, headers=PNG).json()["vector"]


def form_parts(fields: dict[str, Any]) -> list[tuple[str, tuple[None, str]]]:
    """Returns fields as the parts of a form."""
    return [
        (name, (None, each))
        for name, value in fields.items()
        for each in ([str(value)] if not isinstance(value, list) else value)
    ]


def test_an_upload_is_an_example_among_indexed_images(client: Any, image: bytes, upload: str) -> None:
    """In a list its id has a prefix, since paths and ids are in it, too."""
    sent = client.post(
        QUERY, data={"path": "cat/5.png", "not": "dog/1.png"}, files={"and": ("one.png", image)}
    )
    named = {"path": "cat/5.png", "and": [f"upload:{upload}"], "not": ["dog/1.png"]}
    again = client.post(QUERY, json=named)
    assert again.status_code == 200, again.text
    assert without_times(again.json()) == without_times(sent.json())
    assert again.json()["positives"] == ["one.png"]
    id_ = again.json()["hits"][0]["id"]
    params = {"and": f"upload:{upload}"}
    assert client.get(f"/api/v1/images/{id_}/neighbours", params=params).status_code == 200
    unknown = client.post(QUERY, json={"path": "cat/5.png", "not": [f"upload:{'0' * 32}"]})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "upload")
    path = client.post(QUERY, json={"path": "cat/5.png", "not": ["upload:a.png"]})
    assert (path.status_code, path.json()["code"]) == (404, "image")


def test_an_upload_is_embedded_once_by_each_model(
    client: Any, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for its parts, which are embedded each time."""
    runs = []
    embed = SearchedCollection.embed

    def count(network: SearchedCollection, pixels: Any) -> Any:
        runs.append(network.name)
        return embed(network, pixels)

    monkeypatch.setattr(SearchedCollection, "embed", count)
    names = [each["name"] for each in client.get("/api/v1/collections").json()["collections"]]
    upload = client.post(UPLOADS, content=image, headers=PNG).json()["upload"]
    for fields in ({}, {"limit": 3}, {"collection": [names[0]]}):
        assert client.post(QUERY, json=fields | {"upload": upload}).status_code == 200
    for name in names:  # their spaces differ by the distance alone
        assert client.post(QUERY, json={"upload": upload, "collection": [name]}).status_code == 200
    assert len(runs) == 1
    together = client.post(QUERY, json={"upload": upload, "and": [f"upload:{upload}", "cat/2.png"]})
    assert together.status_code == 200
    assert len(runs) == 1


def test_a_thumbnail_of_an_upload_is_upright(client: Any) -> None:
    """Within the edge; it is not to be stored anywhere."""
    turned = Image.new("RGB", (60, 30), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    file = io.BytesIO()
    turned.save(file, "jpeg", exif=exif)
    added = client.post(UPLOADS, content=file.getvalue(), headers={"content-type": "image/jpeg"}).json()
    assert (added["width"], added["height"]) == (30, 60)
    found = client.get(f"{UPLOADS}/{added['upload']}/thumbnail", params={"edge": 20})
    assert found.headers["cache-control"] == "no-store"
    with Image.open(io.BytesIO(found.content)) as small:
        assert small.size == (10, 20)
        assert Image.MIME[small.format or ""] == found.headers["content-type"]
    assert client.get(f"{UPLOADS}/{'0' * 32}/thumbnail").json()["code"] == "upload"
    assert client.get(f"{UPLOADS}/{added['upload']}/thumbnail?edge=1").json()["argument"] == "edge"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"content": b"garbage", "headers": PNG}, 422, "image"),
        ({"content": b"", "headers": PNG}, 422, "image"),
        ({"json": {"image": "x"}}, 415, "media-type"),
        ({"files": {"images": b"x"}}, 400, "usage"),
        ({"files": {"image": (None, "text")}}, 400, "usage"),
        ({"files": [("image", b"x"), ("image", b"y")]}, 400, "usage"),
        ({"content": b"x", "headers": PNG, "params": {"limit": 3}}, 400, "usage"),
    ],
)
def test_what_is_no_upload_is_refused(client: Any, body: dict[str, Any], status: int, code: str) -> None:
    """As a query would refuse it."""
    refused = client.post(UPLOADS, **body)
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text


def test_uploads_are_forgotten_beyond_their_bound(
    album: Any, image: bytes, start_serving: Callable[..., Any]
) -> None:
    """The one that was not used for longest first; one that alone is too large is refused."""
    each = len(image) + 224 * 224 * 3
    limits = ServingLimits(upload_bytes=3 * each)
    with start_serving(album.folder / "home", limits=limits) as served, served.client() as client:
        ids = [client.post(UPLOADS, content=image, headers=PNG).json()["upload"] for _ in range(3)]
        assert client.get(f"{UPLOADS}/{ids[0]}").status_code == 200
        client.post(UPLOADS, content=image, headers=PNG)
        statuses = [client.get(f"{UPLOADS}/{id_}").status_code for id_ in ids]
        assert statuses == [200, 404, 200]
    limits = ServingLimits(upload_bytes=1000)
    with start_serving(album.folder / "home", limits=limits) as served, served.client() as client:
        refused = client.post(UPLOADS, content=image, headers=PNG)
        assert (refused.status_code, refused.json()["code"]) == (413, "too-large")


def test_no_form_is_written_to_the_disk(client: Any, image: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large it is."""
    monkeypatch.setattr("tempfile.TemporaryFile", None)
    large = image + b"\0" * 2**21
    for address in (UPLOADS, QUERY):
        assert client.post(address, files={"image": ("one.png", large)}).is_success


class Clock:
    """Stands in for the clock."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Returns the time."""
        return self.now


def cached(size: int) -> CachedUpload:
    """Returns an upload of a size."""
    pixels = np.zeros((0, 0, 3), dtype=np.uint8)
    return CachedUpload(name="a", content=b"x" * size, sha256="", width=1, height=1, pixels=pixels)


def test_an_upload_expires_after_its_last_use() -> None:
    """Then it is unknown, and takes no memory."""
    clock = Clock()
    uploads = Uploads(ServingLimits(upload_s=10), clock=clock)
    first, second = cached(100), cached(50)
    uploads.add(first)
    uploads.add(second)
    clock.now = 9
    assert uploads.get(first.id) is first
    clock.now = 11
    assert uploads.get(first.id) is first
    with pytest.raises(RefusedError, match="upload the image again") as refused:
        uploads.get(second.id)
    assert refused.value.code is Code.UPLOAD
    assert uploads.bytes == 100
    clock.now = 21
    uploads.remove_expired()
    assert uploads.bytes == 0


def test_vectors_count_among_the_bytes_of_uploads() -> None:
    """They are removed with their upload, and not cached for one that is gone."""
    uploads, identity = Uploads(ServingLimits(upload_bytes=1000)), manifest_of().identity
    first, second = cached(400), cached(400)
    uploads.add(first)
    uploads.add(second)
    vector = np.zeros(75, dtype=np.float32)
    uploads.add_vector(second, identity, vector)
    assert uploads.bytes == 700
    with pytest.raises(RefusedError):
        uploads.get(first.id)
    uploads.add_vector(first, identity, vector)
    uploads.add_vector(second, identity, vector)
    assert uploads.bytes == 700
    uploads.remove(second.id)
    assert uploads.bytes == 0
