"""Tests `ingest import`: a collection moves by a file, and is then searched and updated there."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest


@pytest.fixture
def exported(ingested: Any, tmp_path: Path) -> Path:
    """Writes the cosine collection of the drawn images to a file."""
    path = tmp_path / "all.parquet"
    assert ingested("search", "export", "--distance", "cosine", "--output", path).code == 0
    return path


def test_an_imported_collection_is_searched_and_kept_up_to_date(
    shell: Any, ingested: Any, exported: Path
) -> None:
    """Answers are equal, and the next ingest finds every file unchanged."""
    done = shell("ingest", "import", exported)
    assert done.code == 0, done.err
    assert f"-cosine: 12 added, 0 replaced from {exported}, 12 images now" in done.out
    words = ("search", "query", "circle/crimson.png", "--distance", "cosine", "--json")
    [here], [there] = shell(*words).json, ingested(*words).json
    assert here["hits"] == there["hits"]
    [status] = shell("ingest", "status", "--json").json[0]["collections"]
    assert (status["points"], status["datasets"]) == (12, {"pictures": 12})
    done = shell.ingest(ingested.folder / "pictures", "--json")
    [collection] = done.json[0]["collections"]
    assert (collection["unchanged"], collection["added"], collection["provider"]) == (12, 0, None)


def test_a_collection_moves_to_a_server_and_back(
    shell: Any, ingested: Any, tmp_path: Path, qdrant: Any
) -> None:
    """Its Euclidean vectors and its rows are those that it set out with."""
    server = f"http://{qdrant.host}:{qdrant.port}"
    there = tmp_path / "there.parquet"
    assert ingested("search", "export", "--distance", "euclid", "--output", there).code == 0
    done = shell("ingest", "import", there, "--store", server, "--json")
    assert done.code == 0, done.err
    name = done.json[0]["collection"]
    assert (done.json[0]["added"], name.endswith("-euclid")) == (12, True)
    words = ("search", "export", "--collection", name, "--store", server)
    done = shell(*words, "--output", tmp_path / "back.parquet")
    assert done.code == 0, done.err
    assert pq.read_table(tmp_path / "back.parquet").equals(pq.read_table(there))
    qdrant.client.delete_collection(name)


def test_an_import_takes_the_name_that_is_given(shell: Any, exported: Path) -> None:
    """The collection of its own name may be another one, which is not changed."""
    [said] = shell("ingest", "import", exported, "--as", "holidays", "--json").json
    assert (said["collection"], said["added"]) == ("holidays", 12)
    [status] = shell("ingest", "status", "--json").json[0]["collections"]
    assert (status["name"], status["points"]) == ("holidays", 12)
    [said] = shell("ingest", "import", exported, "--as", "holidays", "--json").json
    assert (said["added"], said["replaced"]) == (0, 12)
    done = shell("search", "query", "circle/crimson.png", "--collection", "holidays", "--json")
    assert done.code == 0, done.err
    done = shell("ingest", "import", exported, "--as", "a/b")
    assert done.code == 2
    assert "--as: 'a/b' cannot be the name of a collection" in done.err


def test_the_same_import_again_replaces(shell: Any, exported: Path) -> None:
    """The JSON counts added and replaced images."""
    for added in (12, 0):
        [said] = shell("ingest", "import", exported, "--json").json
        assert (said["added"], said["replaced"], said["points"]) == (added, 12 - added, 12)
        assert said["missing_head"] is None


def test_a_dataset_with_another_folder_asks_for_new_root(
    shell: Any, ingested: Any, exported: Path, tmp_path: Path
) -> None:
    """The message names both folders and the option."""
    shutil.copytree(ingested.folder / "pictures", tmp_path / "pictures")
    assert shell.ingest("pictures").code == 0
    done = shell("ingest", "import", exported)
    assert (done.code, done.out) == (2, "")
    assert f"has the root {tmp_path / 'pictures'}, and {ingested.folder / 'pictures'} in" in done.err
    assert "take the file's folder for it with --new-root" in done.err
    assert shell("ingest", "import", exported, "--new-root").code == 0


def test_a_part_is_imported_into_the_whole(shell: Any, exported: Path, tmp_path: Path) -> None:
    """Its images are replaced, the others stay."""
    assert shell("ingest", "import", exported).code == 0
    part = tmp_path / "part.parquet"
    assert shell("search", "export", "--output", part, "--class", "circle").code == 0
    assert pq.read_metadata(part).num_rows == 4
    done = shell("ingest", "import", part)
    assert done.code == 0, done.err
    assert "0 added, 4 replaced" in done.out
    assert "12 images now" in done.out


def test_invalid_files_are_refused(
    shell: Any, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its exit code and names the file; nothing is created."""
    (tmp_path / "cut.parquet").write_bytes(exported.read_bytes()[:2_000])
    (tmp_path / "table.csv").write_text("path,class\n", encoding="utf-8")
    pq.write_table(pq.read_table(exported).replace_schema_metadata(None), tmp_path / "foreign.parquet")
    for name, code, said in [
        ("none.parquet", 2, "none.parquet does not exist"),
        (".", 2, "is not a file"),
        ("table.csv", 2, "is not a Parquet file"),
        ("cut.parquet", 1, "is damaged"),
        ("foreign.parquet", 6, "has no manifest of lookalike's"),
    ]:
        done = shell("ingest", "import", name)
        assert (done.code, done.out) == (code, ""), done.err
        assert said in done.err
        assert str(tmp_path / name).rstrip(".") in done.err
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    done = shell("ingest", "import", exported)
    assert done.code == 2
    assert 'pip install "lookalike[parquet]"' in done.err
    assert shell("ingest", "status", "--json").json[0]["collections"] == []


def test_another_space_is_refused(shell: Any, exported: Path) -> None:
    """With exit code 6, both sides, and the next step."""
    assert shell("ingest", "import", exported).code == 0
    table = pq.read_table(exported)
    manifest = json.loads(table.schema.metadata[b"lookalike"])
    manifest["identity"]["preprocessing"] = "another"
    pq.write_table(table.replace_schema_metadata({b"lookalike": json.dumps(manifest).encode()}), exported)
    done = shell("ingest", "import", exported)
    assert (done.code, done.out) == (6, "")
    assert "import it into a collection or a store of its own; use --as NAME" in done.err
