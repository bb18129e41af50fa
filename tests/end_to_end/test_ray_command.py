"""Tests `ingest run --engine ray`: what it refuses, and that it makes what the ordinary ingest makes."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_ingest.engines.ray_cluster import connected
from loopback_cluster import EQUAL_PRIORITY
from object_store import serve_bucket
from qdrant_stand_in import running_stand_in

VECTOR_TOLERANCE = 1e-6
BROKEN = "b/broken.png"
TIMES = ("mtime_ns", "ctime_ns", "taken_at", "ingested_at")
NOT_COMPARED = ("store", "took_ms", "images_per_second")

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None or sys.platform == "win32", reason="Ray is not installed, or has no nodes here"
)


@pytest.fixture(autouse=True)
def equal_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives workers the priority of other processes."""
    for name, value in EQUAL_PRIORITY.items():
        monkeypatch.setenv(name, value)


def error_line(done: Any) -> str:
    """Returns the one line that names the fault; there is nothing on stdout."""
    assert "Traceback" not in done.err
    assert done.out == ""
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    return str(line)


@pytest.fixture
def images(shell: Any, draw: Any) -> Path:
    """Draws a folder of images, of which two are the same, and a file that is none."""
    folder: Path = shell.folder / "pictures"
    draw(folder, *(f"{name}/{number}.png" for name in "ab" for number in range(8)))
    shutil.copy(folder / "a/0.png", folder / "b/0.png")
    (folder / BROKEN).write_bytes(b"no image")
    return folder


def test_an_embedded_store_is_refused(shell: Any, images: Path) -> None:
    """Only one process at a time can write to it."""
    done = shell.ingest("pictures", "--engine", "ray")
    assert done.code == 2
    assert error_line(done).endswith(
        "--engine: its workers write to the store at once, which only a Qdrant server allows; "
        "use --store http://HOST:6333"
    )
    assert not (shell.folder / "home" / "models").exists()


def test_an_address_without_an_engine_is_refused(shell: Any, images: Path) -> None:
    """The message has the option that is missing."""
    done = shell.ingest("pictures", "--address", "auto")
    assert done.code == 2
    assert "--address: an address has a meaning only with an engine; use --engine ray" in error_line(done)


@needs_ray
def test_an_address_where_nothing_answers_is_exit_1(shell: Any, images: Path, qdrant: Any) -> None:
    """Before anything is exported; a dry run needs no cluster."""
    url = f"http://{qdrant.host}:{qdrant.port}"
    keys = {name: value for name, value in os.environ.items() if name == "QDRANT_API_KEY"}
    words = ["ingest", "run", "pictures", *shell.model, "--store", url, "--engine", "ray"]
    done = shell(*words, "--address", "127.0.0.1:1", **keys)
    assert done.code == 1
    assert "no Ray cluster answers at 127.0.0.1:1" in error_line(done)
    assert not (shell.folder / "home" / "models").exists()
    assert shell(*words, "--address", "127.0.0.1:1", "--dry-run", **keys).code == 0


@pytest.fixture
def stores() -> Iterator[list[Any]]:
    """Runs two servers, for the two ways of ingesting."""
    with running_stand_in() as one, running_stand_in() as other:
        yield [one, other]


def run_both(shell: Any, stores: list[Any], *words: str) -> list[Any]:
    """Ingests by Ray and without it; compares what is reported and stored, and returns what was done."""
    options = ["--distance", "euclid", "--distance", "cosine", "--batch-size", "2", "--prune", "--json"]
    command = ["ingest", "run", "pictures", *options, *shell.model]
    by_ray = shell(*command, "--store", stores[0].url, "--engine", "ray", *words)
    as_ever = shell(*command, "--store", stores[1].url)
    reports = [
        {name: value for name, value in done.json[0].items() if name not in NOT_COMPARED}
        for done in (by_ray, as_ever)
    ]
    assert reports[0] == reports[1], by_ray.err
    assert len(by_ray.json) == 1
    assert points_of(stores[0]).keys() == points_of(stores[1]).keys()
    for key, (payload, vector) in points_of(stores[0]).items():
        expected, its_vector = points_of(stores[1])[key]
        assert payload | {"ingested_at": ""} == expected | {"ingested_at": ""}
        np.testing.assert_allclose(vector, its_vector, rtol=0, atol=VECTOR_TOLERANCE)
    return [by_ray, as_ever]


def points_of(server: Any) -> dict[tuple[str, str], Any]:
    """Returns payload and vector by collection and id, of all points."""
    found = {}
    for each in server.client.get_collections().collections:
        records, _ = server.client.scroll(each.name, limit=1000, with_vectors=True)
        found |= {(each.name, record.id): (record.payload, np.asarray(record.vector)) for record in records}
    return found


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, about settings of its own
def test_ray_makes_what_one_process_makes(shell: Any, images: Path, stores: list[Any], draw: Any) -> None:
    """New, changed, moved, copied and deleted files, and then none of these; Ray says nothing."""
    host = dict(os.environ), signal.getsignal(signal.SIGTERM)
    with connected(None):
        done, _ = run_both(shell, stores)
        assert done.code == 0, done.err
        said = [line for line in done.err.splitlines() if not line.startswith(("exported ", "pictures: "))]
        assert said == [
            f"store: {stores[0].url}",
            "embedding on Ray with 1 worker",
            f"skipped {BROKEN!r}: not-an-image",
        ]
        (images / "a/1.png").rename(images / "moved.png")
        (images / "a/2.png").unlink()
        shutil.copy(images / "a/3.png", images / "copied.png")
        draw(images, "a/4.png", "new/1.png", seed=1)
        os.utime(images / "a/5.png", (1, 1))
        done, _ = run_both(shell, stores)
        first = done.json[0]["collections"][0]
        assert (first["added"], first["updated"], first["moved"], first["removed"]) == (2, 1, 1, 1)
    assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == host


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, about settings of its own
def test_a_bucket_and_parquet_make_what_their_folder_makes(
    shell: Any, images: Path, stores: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers read images in an object store and in Parquet, and the points are those of a folder."""
    pytest.importorskip("moto", reason="needs moto, an S3 server: install the group `check`")
    words = ["ingest", "run", *shell.model, "--dataset", "pictures", "--json"]
    assert shell(*words, "pictures", "--store", stores[1].url).code == 0
    expected = untimed_points_of(stores[1])
    assert len(expected) == 16
    with serve_bucket("pictures-by-ray") as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        shell.environment.update(bucket.environment)
        bucket.upload(images, "pictures")
        write_parquet(images, shell.folder / "pictures.parquet")
        with connected(None):
            for root in (f"{bucket.url}/pictures", "pictures.parquet"):
                with running_stand_in() as store:
                    done = shell(*words, root, "--store", store.url, "--engine", "ray")
                    assert done.code == 0, done.err
                    assert [each["path"] for each in done.json[0]["skipped"]] == [BROKEN]
                    found = untimed_points_of(store)
                assert found.keys() == expected.keys()
                for key, (payload, vector) in found.items():
                    assert payload == expected[key][0]
                    np.testing.assert_allclose(vector, expected[key][1], rtol=0, atol=VECTOR_TOLERANCE)


def untimed_points_of(server: Any) -> dict[tuple[str, str], Any]:
    """Returns all points, without the times of files, which a bucket and a Parquet file do not have."""
    return {
        key: ({name: value for name, value in payload.items() if name not in TIMES}, vector)
        for key, (payload, vector) in points_of(server).items()
    }


def write_parquet(folder: Path, file: Path) -> None:
    """Writes all files of a folder as Hugging Face does, in row groups of three."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    rows = [{"bytes": path.read_bytes(), "path": path.relative_to(folder).as_posix()} for path in paths]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pq.write_table(pa.table({"image": pa.array(rows, kind)}), file, row_group_size=3)


@needs_ray
def test_nothing_to_read_needs_no_cluster(shell: Any, images: Path, stores: list[Any]) -> None:
    """Ray is not even imported."""
    (images / BROKEN).unlink()
    words = [*shell.model, "--store", stores[0].url]
    assert shell("ingest", "run", "pictures", *words).code == 0
    code = (
        "import sys; from lookalike_ingest.__main__ import main\n"
        "try: main()\n"
        "finally: print(sorted({'ray', 'pandas', 'pyarrow'} & sys.modules.keys()))"
    )
    done = shell("python", "-c", code, "run", "pictures", *words, "--engine", "ray")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "[]"
