"""Images in an object store and in Parquet: the commands do with them what they do with a folder.

The object store is moto's, an S3 server in this process.
"""

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import UsageError
from lookalike_core.stores.embedded import EmbeddedStore
from object_store import Bucket, serve_bucket
from PIL import Image

import lookalike

pytest.importorskip("moto", reason="needs moto, an S3 server: install the group `check`")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

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


def test_changes_in_a_bucket_are_seen(remote: Any, bucket: Bucket) -> None:
    """Objects are added, replaced, moved and deleted; those deleted stay until they are pruned."""
    bucket.upload(draw(remote.folder / "pictures"), "photos")
    other = (remote.folder / "pictures" / "cat" / "1.jpg").read_bytes()
    ingest(remote, f"{bucket.url}/photos", "home")
    bucket.put("photos/dog/small/3.png", other)  # updated: a copy of known bytes
    bucket.put("photos/bird/moved.jpg", (remote.folder / "pictures/dog/über #1%20.jpg").read_bytes())
    bucket.delete("photos/dog/über #1%20.jpg")
    bucket.delete("photos/cat/2.jpg")
    report = ingest(remote, f"{bucket.url}/photos", "home")["collections"][0]
    assert {key: report[key] for key in ("added", "updated", "moved", "unchanged", "removed")} == {
        "added": 0,
        "updated": 1,
        "moved": 1,
        "unchanged": 3,
        "removed": 0,
    }
    report = ingest(remote, f"{bucket.url}/photos", "home", "--prune")["collections"][0]
    assert report["removed"] == 1
    for key in (
        "1.jpg",
        "cat/1.jpg",
        "cat/same as 1.jpg",
        "dog/small/3.png",
        "bird/moved.jpg",
        *BROKEN,
        ".hidden/1.jpg",
    ):
        bucket.delete(f"photos/{key}")
    done = remote(
        "ingest",
        "run",
        f"{bucket.url}/photos",
        *remote.model,
        "--prune",
        "--dataset",
        "data",
        LOOKALIKE_HOME=str(remote.folder / "home"),
    )
    assert done.code == 2, done.err
    assert len(points(remote.folder / "home")) == 5
    assert "no images" in done.err
    ingest(remote, f"{bucket.url}/photos", "home", "--prune", "--force")
    assert points(remote.folder / "home") == {}


def test_a_bucket_is_searched_verified_rebuilt_and_removed(remote: Any, bucket: Bucket) -> None:
    """Hits show URLs; their images are read again from the bucket where they are needed."""
    folder = draw(remote.folder / "pictures")
    bucket.upload(folder, "photos")
    url = f"{bucket.url}/photos"
    assert remote.ingest(url).code == 0
    for query in (folder / "cat/1.jpg", f"{url}/cat/1.jpg"):
        done = remote("search", "query", str(query), "--include-self", "--html", "page.html", "--json")
        assert done.code == 0, done.err
        assert done.json[0]["hits"][0]["file"] == f"{url}/cat/1.jpg"
        page = (remote.folder / "page.html").read_text(encoding="utf-8")
        assert page.count("data:image") >= len(PATHS) - 1
    done = remote("ingest", "verify")
    assert done.code == 0, (done.out, done.err)
    done = remote("search", "duplicates", "--json")
    assert done.code == 0, done.err
    assert f"{url}/cat/same as 1.jpg" in done.out
    done = remote("ingest", "status", "--json")
    assert done.json[0]["collections"][0]["manifest"]["datasets"] == {"photos": url}
    [name] = [each["name"] for each in done.json[0]["collections"]]
    done = remote("ingest", "rebuild", name)
    assert done.code == 0, done.err
    done = remote("ingest", "remove", "--path", f"{url}/cat", "--yes")
    assert done.code == 0, done.err
    left = points(remote.folder / "home")
    assert sorted(payload["path"] for payload, _ in left.values()) == [
        "1.jpg",
        "dog/small/3.png",
        "dog/über #1%20.jpg",
    ]


def test_a_bucket_is_ingested_in_parts_with_labels_and_rules(remote: Any, bucket: Bucket) -> None:
    """Two parts make the points of one run; labels and exclusions are those of a folder."""
    folder = draw(remote.folder / "pictures")
    bucket.upload(folder, "photos")
    (remote.folder / "labels.csv").write_text("path,class\ncat/1.jpg,lion\n", encoding="utf-8")
    options = ("--labels", str(remote.folder / "labels.csv"), "--exclude", "small/", "--class-level", "-1")
    ingest(remote, folder, "local", *options)
    for part in ("1/2", "2/2"):
        ingest(remote, f"{bucket.url}/photos", "parts", *options, "--part", part)
    assert points(remote.folder / "parts") == points(remote.folder / "local")
    dry = ingest(remote, f"{bucket.url}/photos", "dry", *options, "--dry-run")
    assert dry["collections"][0]["added"] == 5
    assert (
        not (remote.folder / "dry" / "qdrant").exists()
        or not EmbeddedStore(remote.folder / "dry" / "qdrant").names()
    )


@pytest.mark.parametrize(
    ("root", "code", "said"),
    [
        ("{url}/nothing", 2, "does not exist"),
        ("s3://no-such-bucket-here/x", 2, "does not exist"),
        ("{url}/photos/1.jpg", 2, "is not a folder"),
        ("s3://key:secret@bucket/x", 2, "credentials"),
        ("{url}/photos?endpoint_override=localhost", 2, "AWS_ENDPOINT_URL"),
        ("s3://", 2, "no folder of a bucket"),
        ("s3://b/../x", 2, "no folder of a bucket"),
        ("ftp://host/x", 2, "cannot be read"),
        ("nothing.parquet", 2, "does not exist"),
    ],
)
def test_what_is_no_folder_of_a_store_is_refused(
    remote: Any, bucket: Bucket, root: str, code: int, said: str
) -> None:
    """The message names the place and what to do, and never a secret."""
    bucket.put("photos/1.jpg", b"x")
    done = remote.ingest(root.format(url=bucket.url))
    assert (done.code, said in done.err, "secret" in done.err) == (code, True, False), done.err


def test_a_store_that_does_not_answer_is_named(remote: Any, bucket: Bucket) -> None:
    """The run ends with exit code 1: nothing is wrong with the command, and nothing is removed."""
    remote.environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    done = remote.ingest(f"s3://{bucket.name}-away/photos")
    assert done.code == 1, done.err
    assert f"s3://{bucket.name}-away/photos cannot be read" in done.err
    assert "check the network and AWS_ENDPOINT_URL" in done.err


def test_a_bucket_cannot_be_watched(remote: Any, bucket: Bucket) -> None:
    """No events come from there."""
    bucket.upload(draw(remote.folder / "pictures"), "photos")
    done = remote("ingest", "watch", f"{bucket.url}/photos", *remote.model)
    assert done.code == 2, done.err
    assert "cannot be watched" in done.err


def test_the_library_adds_a_bucket(remote: Any, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it adds a folder; it has no folder to watch there."""
    bucket.upload(draw(remote.folder / "pictures"), "photos")
    for name, value in {**bucket.environment, "LOOKALIKE_HOME": str(remote.folder / "home")}.items():
        monkeypatch.setenv(name, value)
    url = f"{bucket.url}/photos"
    model = lookalike.Model("vgg16", weights=remote.weights, layer="block1_conv1")
    with lookalike.open(remote.folder / "photos.index", model=model) as index:
        report = index.add(url)
        assert (str(report.root), report.added) == (url, len(PATHS))
        assert str(index.search(f"{url}/cat/1.jpg", include_self=True)[0].file) == f"{url}/cat/1.jpg"
        with pytest.raises(UsageError, match="cannot be watched"):
            next(index.watch(url))


def test_a_parquet_dataset_is_searched_verified_and_rebuilt(shell: Any) -> None:
    """Its rows are read again where files would be, and none is offered for deletion."""
    images = list(read_folder(draw(shell.folder / "pictures")).items())
    file = write_parquet(shell.folder / "photos.parquet", images)
    assert shell.ingest(file).code == 0
    done = shell("search", "query", f"{file}/cat/1.jpg", "--include-self", "--json")
    assert done.code == 0, done.err
    assert done.json[0]["hits"][0]["file"] == f"{file}/cat/1.jpg"
    done = shell("search", "query", "cat/1.jpg", "--html", "page.html")
    assert done.code == 0, done.err
    page = (shell.folder / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image") >= len(PATHS) - 1
    done = shell("ingest", "verify")
    assert done.code == 0, (done.out, done.err)
    done = shell("search", "duplicates")
    assert done.code == 0, done.err
    assert "same as 1.jpg" in done.out
    [name] = [each["name"] for each in shell("ingest", "status", "--json").json[0]["collections"]]
    assert shell("ingest", "rebuild", name).code == 0
    write_parquet(file, images[2:])
    done = shell("ingest", "run", str(file), *shell.model, "--prune", "--json")
    assert done.code == 0, done.err
    [collection] = done.json[0]["collections"]
    assert collection["removed"] == 2
    file.unlink()
    done = shell("ingest", "run", str(file), *shell.model, "--prune", "--json")
    assert (done.code, "does not exist" in done.err) == (2, True), done.err
    assert len(points(shell.folder / "home")) == len(PATHS) - 2
    assert shell("search", "query", str(shell.folder / "pictures/cat/1.jpg"), "--html", "page.html").code == 0
    assert shell("ingest", "verify").code == 0


def test_an_exported_collection_is_not_embedded_again(shell: Any) -> None:
    """Its thumbnails are images in the form of Hugging Face, too."""
    assert shell.ingest(draw(shell.folder / "pictures")).code == 0
    done = shell("search", "export", "--output", "all.parquet", "--thumbnails")
    assert done.code == 0, done.err
    done = shell.ingest("all.parquet")
    assert (done.code, "import it with: ingest import" in done.err) == (2, True), done.err


def test_an_entry_is_read_in_another_process(remote: Any, bucket: Bucket) -> None:
    """A `FoundFile` says where the image is, and all else comes from the environment."""
    folder = draw(remote.folder / "pictures")
    bucket.upload(folder, "photos")
    file = write_parquet(remote.folder / "photos.parquet", {UNDATED: (folder / UNDATED).read_bytes()})
    program = (
        "import pickle, sys\n"
        "from lookalike_core.images.scan import look_up\n"
        "from lookalike_core.sources.source_path import parse_root\n"
        "found = next(look_up(parse_root(sys.argv[1]), [sys.argv[2]]))\n"
        "sys.stdout.buffer.write(pickle.dumps(found))"
    )
    reader = (
        "import pickle, sys; from lookalike_ingest.image_reader import read_image\n"
        "read = read_image(pickle.load(sys.stdin.buffer), lambda _: False)\n"
        "print(read.sha256, read.found.bytes, read.image.width, read.problem)"
    )
    content = (folder / UNDATED).read_bytes()
    for root in (str(folder), f"{bucket.url}/photos", str(file)):
        listed = subprocess.run(
            [sys.executable, "-c", program, root, UNDATED],
            env=remote.environment,
            capture_output=True,
            check=True,
        )
        read = subprocess.run(
            [sys.executable, "-c", reader],
            input=listed.stdout,
            env=remote.environment,
            capture_output=True,
            check=True,
        )
        assert read.stdout.decode().split() == [
            hashlib.sha256(content).hexdigest(),
            str(len(content)),
            "55",
            "None",
        ]
