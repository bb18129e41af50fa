"""Images in an object store and in Parquet: the commands do with them what they do with a folder.

The object store is moto's, an S3 server in this process.
"""

import itertools
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.stores.embedded import EmbeddedStore
from object_store import Bucket, serve_bucket
from PIL import Image

pytest.importorskip("moto", reason="needs moto, an S3 server: install the group `check`")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

pytestmark = pytest.mark.slow

COLLECTION = "vgg16-block1_conv1-avg-w"
TIMES = ("mtime_ns", "ctime_ns", "ingested_at")
PATHS = ("1.jpg", "cat/1.jpg", "cat/2.jpg", "cat/same as 1.jpg", "dog/über #1%20.jpg", "dog/small/3.png")
UNDATED = "dog/small/3.png"
BROKEN = ("cat/broken.jpg", "cat/empty.png")
TAKEN = "2019:05:04 03:02:01"


def draw(root: Path) -> Path:
    """Draws images, some with the time of a camera, one a copy; and two files that are no images."""
    for number, path in enumerate(PATHS):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if path == "cat/same as 1.jpg":
            shutil.copy(root / "1.jpg", file)
            continue
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50 + number, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = TAKEN
        Image.fromarray(pixels).save(file, exif=exif)
    (root / BROKEN[0]).write_bytes(b"no image")
    (root / BROKEN[1]).write_bytes(b"")
    (root / "notes.txt").write_bytes(b"beside images")
    (root / ".hidden").mkdir()
    shutil.copy(root / "1.jpg", root / ".hidden" / "1.jpg")
    return root


def write_parquet(
    file: Path, images: Mapping[str | None, bytes | None] | Sequence[tuple[Any, Any]], **more: Any
) -> Path:
    """Writes images as Hugging Face does, in row groups of two."""
    pairs = list(images.items()) if isinstance(images, Mapping) else list(images)
    column = pa.array(
        [{"bytes": content, "path": path} for path, content in pairs],
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
    )
    table = pa.table({"image": column, **more})
    names = {"label": {"names": ["tabby", "poodle"], "_type": "ClassLabel"}}
    info = {"info": {"features": {"image": {"_type": "Image"}} | names}}
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), file, row_group_size=2)
    return file


def read_folder(root: Path) -> dict[str, bytes]:
    """Returns the images of a folder by their paths, and the files that are none."""
    return {path: (root / path).read_bytes() for path in sorted([*PATHS, *BROKEN])}


def points(home: Path) -> dict[str, tuple[dict[str, Any], bytes]]:
    """Returns the points of the one collection by id: payloads without times of files, and vectors."""
    store = EmbeddedStore(home / "qdrant")
    [name] = store.names()
    with store.open(name) as collection:
        payloads = {payload.id: asdict(payload) for payload in collection.scan()}
        vectors = collection.vectors(list(payloads))
    for payload in payloads.values():
        for time in TIMES:
            del payload[time]
        if payload["path"] == UNDATED:
            del payload["taken_at"]
    return {id_: (payload, vectors[id_].tobytes()) for id_, payload in payloads.items()}


_names = (f"pictures-{number}" for number in itertools.count())


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    """Returns an empty bucket; connections to stores are kept by their name."""
    with serve_bucket(next(_names)) as served:
        yield served


@pytest.fixture
def remote(shell: Any, bucket: Bucket) -> Any:
    """Returns a shell whose commands reach the bucket."""
    shell.environment.update(bucket.environment)
    return shell


def ingest(shell: Any, root: object, home: str, *options: str) -> dict[str, Any]:
    """Ingests a root into a home of its own as dataset `data`, and returns the report."""
    done = shell(
        "ingest",
        "run",
        str(root),
        *shell.model,
        "--dataset",
        "data",
        "--json",
        *options,
        LOOKALIKE_HOME=str(shell.folder / home),
    )
    assert done.code == 0, done.err
    [report] = done.json
    return dict(report)


def test_a_folder_parquet_and_an_object_store_give_equal_collections(remote: Any, bucket: Bucket) -> None:
    """Ids, vectors and payloads are equal but for times of files, and so is what was skipped."""
    folder = draw(remote.folder / "pictures")
    bucket.upload(folder, "some/pictures")
    images = list(read_folder(folder).items())
    whole = write_parquet(remote.folder / "whole.parquet", images)
    write_parquet(remote.folder / "parts" / "train" / "0.parquet", images[:3])
    write_parquet(remote.folder / "parts" / "train" / "1.parquet", images[3:])
    bucket.upload(remote.folder / "parts", "parts")
    roots = {
        "folder": str(folder),
        "object-store": f"{bucket.url}/some/pictures",
        "file": str(whole),
        "files": str(remote.folder / "parts"),
        "remote-files": f"{bucket.url}/parts/",
    }
    reports = {name: ingest(remote, root, name) for name, root in roots.items()}
    wanted = points(remote.folder / "folder")
    assert len(wanted) == len(PATHS)
    assert {payload.get("taken_at") for payload, _ in wanted.values()} == {"2019-05-04T03:02:01+00:00", None}
    for name, report in reports.items():
        assert points(remote.folder / name) == wanted, name
        for key in ("found", "skipped"):
            assert report[key] == reports["folder"][key], (name, key)
        assert report["collections"][0]["added"] == len(PATHS)
    assert reports["object-store"]["root"] == f"{bucket.url}/some/pictures"
    assert reports["remote-files"]["root"] == f"{bucket.url}/parts/*.parquet"
    assert reports["file"]["root"] == str(whole)
    for name, root in roots.items():
        again = ingest(remote, root, name)
        assert again["collections"][0]["unchanged"] == len(PATHS), name
        assert again["collections"][0]["provider"] is None, name
