"""`ingest verify`: what it prints, its exit codes, and what it refuses."""

import json
import os
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lookalike_ingest.commands.verify import NEXT_STEPS, format_bound
from lookalike_ingest.integrity.faults import Fault

IMAGES = tuple(f"{'ab'[number % 2]}/{number}.png" for number in range(8))


@pytest.fixture
def filled(shell: Any, draw: Callable[..., list[Path]]) -> Any:
    """Returns a shell with a collection."""
    draw(shell.folder / "data", *IMAGES)
    assert shell.ingest("data").code == 0
    return shell


def replace_in_place(file: Path) -> None:
    """Replaces the bytes of a file, and keeps its size and time."""
    status = file.stat()
    file.write_bytes(bytes(status.st_size))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_sound_store_is_exit_0(filled: Any) -> None:
    """Every collection is verified; the bound is of the whole sample here."""
    done = filled("ingest", "verify")
    assert done.code == 0, done.err
    assert "no fault found in 8 points" in done.out
    assert "8 files read and embedded again on CPUExecutionProvider" in done.out
    assert "with 95 % confidence at most 0 % of the points" in done.out


def test_an_empty_store_is_exit_6_with_the_next_step(shell: Any) -> None:
    """Nothing was verified, which must not look like a store without faults."""
    for words in ([], ["--json"]):
        done = shell("ingest", "verify", *words)
        assert (done.code, done.out) == (6, "")
        assert "there are no collections in embedded; create it with: ingest run DIR" in done.err


def test_a_fault_is_exit_1_with_its_image_and_the_next_step(filled: Any) -> None:
    """The finding names dataset and path."""
    replace_in_place(filled.folder / "data" / "a" / "2.png")
    done = filled("ingest", "verify", "--all")
    assert done.code == 1
    assert "faults found, 1 of 8 points wrong" in done.out
    assert "file-replaced: 1" in done.out
    assert "data: 'a/2.png': the file has other bytes, but the same size and time" in done.out
    assert "ingest run DIR --rehash" in done.out
    assert "confidence" not in done.out, "all files were compared"


def test_the_next_step_for_a_copy_by_another_name_is_to_copy_again(filled: Any) -> None:
    """Neither an ingest nor a rebuild would write to it, so neither is advised."""
    [name] = [each["name"] for each in filled("ingest", "status", "--json").json[0]["collections"]]
    assert filled("ingest", "copy", name, "--to", "embedded", "--as", "holidays").code == 0
    replace_in_place(filled.folder / "data" / "a" / "2.png")
    done = filled("ingest", "verify", "holidays", "--all")
    assert (done.code, "file-replaced: 1" in done.out) == (1, True)
    assert "verify the collection that it was copied from, and copy that one again" in done.out
    assert "ingest run" not in done.out
    assert "--rehash" in filled("ingest", "verify", name, "--all").out


def test_json_has_the_findings(filled: Any) -> None:
    """One object for each collection."""
    (filled.folder / "data" / "b" / "3.png").unlink()
    done = filled("ingest", "verify", "--sample", "50%", "--seed", "3", "--json")
    assert done.code == 1
    [found] = map(json.loads, done.out.splitlines())
    assert (found["sound"], found["counts"], found["sampled"]) == (False, {"file-missing": 1}, 4)
    [finding] = found["findings"]
    assert (finding["dataset"], finding["path"], finding["fault"]) == ("data", "b/3.png", "file-missing")
    assert 0 < found["share_at_most_wrong"] < 1
    assert found["at_most_wrong"] == round(found["share_at_most_wrong"] * found["points"])


def test_a_disk_that_is_not_mounted_is_said_and_exit_0(filled: Any) -> None:
    """The points are neither wrong nor verified."""
    (filled.folder / "data").rename(filled.folder / "elsewhere")
    done = filled("ingest", "verify")
    assert done.code == 0
    assert "8 files not checked: their disk may not be mounted" in done.out
    assert "confidence" not in done.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--all", "--sample", "1%"], 2, "leave --sample and --seed out"),
        (["--all", "--seed", "1"], 2, "leave --sample and --seed out"),
        (["--sample", "half"], 2, "as 1%, or a number"),
        (["vgg16-euclid"], 6, "no collection vgg16-euclid"),
    ],
)
def test_what_cannot_be_verified_is_refused(filled: Any, words: list[str], code: int, said: str) -> None:
    """The message says what would do."""
    done = filled("ingest", "verify", *words)
    assert (done.code, said in done.err) == (code, True), done.err


def test_other_collections_are_verified_where_one_cannot_be_read(filled: Any) -> None:
    """The exit code is that of the one that cannot."""
    assert filled.ingest("data", "--distance", "euclid").code == 0
    names = [line.partition(":")[0] for line in filled("ingest", "status").out.splitlines() if line[0] != " "]
    cosine = next(name for name in names if name.endswith("cosine"))
    (filled.folder / "home" / "qdrant" / cosine / "manifest.json").write_text("{")
    done = filled("ingest", "verify")
    assert done.code == 6
    assert "euclid: no fault found in 8 points" in done.out
    assert "manifest.json" in done.err


def test_a_damaged_shard_is_a_finding(filled: Any) -> None:
    """And no error: it is what was asked for."""
    [shard] = (filled.folder / "home" / "qdrant").glob("*/shard")
    next(shard.rglob("segment.json")).unlink()
    done = filled("ingest", "verify", "--json")
    assert done.code == 1
    assert json.loads(done.out)["counts"].keys() == {"store-damaged"}
    assert "no point can be read" in filled("ingest", "verify").out


def test_a_list_of_points_that_is_damaged_stops_nothing(filled: Any) -> None:
    """It is a finding; everything else is verified all the same."""
    [listed] = (filled.folder / "home" / "qdrant").glob("*/points.db")
    with sqlite3.connect(listed) as database:
        database.execute("DROP TABLE points")
    database.close()
    done = filled("ingest", "verify", "--json")
    assert done.code == 1, done.err
    found = json.loads(done.out)
    assert (found["counts"], found["reread"]) == ({"list-differs": 1}, 8)


def test_every_fault_has_a_next_step() -> None:
    """Which names a command, or a backup."""
    assert NEXT_STEPS.keys() == set(Fault)
    assert all(re.search("ingest (run|rebuild)|backup", step) for step in NEXT_STEPS.values())


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0 %"),
        (0.00991, "1.00 %"),
        (0.0091, "0.91 %"),
        (0.000123, "0.013 %"),
        (1, "100 %"),
        (0.3117, "32 %"),
    ],
)
def test_a_bound_is_rounded_up(share: float, said: str) -> None:
    """It would not be one otherwise."""
    assert format_bound(share) == said
