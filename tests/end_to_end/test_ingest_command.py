"""Tests `ingest`: its counts, its JSON, its exit codes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.stores.embedded import EmbeddedStore
from PIL import Image
from read_only import read_only


@pytest.fixture
def images(shell: Any, ingested: Any) -> Path:
    """Copies the small image folder beside an empty store."""
    source = ingested.folder / "pictures"
    for path in source.rglob("*.png"):
        target = shell.folder / "pictures" / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return shell.folder / "pictures"


def test_a_second_run_embeds_nothing(shell: Any, images: Path) -> None:
    """The first run adds everything; the second finds it unchanged and opens no session."""
    (first,) = shell.ingest("pictures", "--json").json
    (second,) = shell.ingest("pictures", "--json").json
    keys = "schema dataset root store part interrupted found not_taken skipped other_files excluded"
    more = "linked_folders rules split_classes unused_labels overlapping_datasets gone_datasets"
    last = "collections took_ms images_per_second from_stored"
    assert list(first) == [*keys.split(), *more.split(), *last.split()]
    assert (first["schema"], first["dataset"], first["root"]) == (1, "pictures", str(images))
    assert (first["store"], first["found"], first["skipped"]) == ("embedded", 12, [])
    keys = "name provider added updated moved unchanged removed excluded removed_paths away_paths waiting"
    assert list(first["collections"][0]) == keys.split()
    assert first["collections"][0]["added"] == 12
    assert first["collections"][0]["provider"] == "CPUExecutionProvider"
    assert first["images_per_second"] > 0
    assert second["collections"][0]["unchanged"] == 12
    assert second["collections"][0]["provider"] is None


def test_the_summary_is_on_stdout_and_progress_is_not(shell: Any, images: Path) -> None:
    """A pipe receives the summary only; without a terminal there is no progress bar."""
    done = shell.ingest("pictures")
    assert done.out.splitlines()[0] == f"pictures: 12 images in {images}"
    assert "store: embedded" in done.err
    assert "\x1b" not in done.err + done.out
    assert "━" not in done.err


def test_status_counts_exactly(ingested: Any) -> None:
    """Both collections are listed, with datasets, classes and manifests."""
    (status,) = ingested("ingest", "status", "--json").json
    assert (status["schema"], status["store"], len(status["collections"])) == (1, "embedded", 2)
    for collection in status["collections"]:
        assert collection["points"] == 12
        assert collection["datasets"] == {"pictures": 12}
        assert collection["classes"] == {"circle": 4, "square": 4, "stripes": 4}
        assert collection["manifest"]["identity"]["dimension"] == 64
    assert "12 points" in ingested("ingest", "status").out


def test_excluded_images_are_removed_and_stay_excluded(shell: Any, images: Path) -> None:
    """No pruning is needed; later runs keep the rule, `status` shows it, and `--no-exclude` ends it."""
    shell.ingest("pictures")
    done = shell.ingest("pictures", "--exclude", "circle", "--exclude", "/square/c*", "--json")
    (report,) = done.json
    assert report["found"] == 7
    assert report["excluded"] == {"folders": 1, "images": 1}
    assert report["rules"]["exclude"] == ["circle", "/square/c*"]
    assert report["collections"][0]["removed"] == report["collections"][0]["excluded"] == 5
    assert "circle/crimson.png" in done.err
    again = shell.ingest("pictures")
    assert "the remembered rules of dataset pictures apply: without 'circle', '/square/c*'" in again.err
    assert "excluded: 1 folder, 1 image" in again.out.splitlines()
    assert "(2 exclude patterns)" in shell("ingest", "status").out
    assert shell.ingest("pictures", "--no-exclude", "--json").json[0]["collections"][0]["added"] == 5
    assert "without" not in shell("ingest", "status").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--exclude", "a", "--no-exclude"], "leave --no-exclude out"),
        (["--exclude", "#recycle"], "--exclude: '#recycle' matches nothing"),
        (["--class-level", "0"], "--class-level: 0 is no folder"),
        (["--exclude", "*"], "holds no images"),
    ],
)
def test_invalid_rules_are_wrong_usage(shell: Any, images: Path, words: list[str], message: str) -> None:
    """The message names the option, and nothing is stored."""
    done = shell.ingest("pictures", *words)
    assert done.code == 2
    assert message in done.err
    assert shell("ingest", "status", "--json").json[0]["collections"] == []


def test_linked_folders_are_reported_and_can_be_followed(shell: Any, images: Path) -> None:
    """The report names the option that follows them."""
    (shell.folder / "album").mkdir()
    (shell.folder / "album" / "1.png").write_bytes((images / "circle" / "crimson.png").read_bytes())
    (shell.folder / "album" / "linked").symlink_to(images / "square", target_is_directory=True)
    done = shell.ingest("album")
    assert "1 link to a folder was not followed; use --follow-links" in done.err
    (report,) = shell.ingest("album", "--follow-links", "--json").json
    assert (report["found"], report["linked_folders"]) == (5, 0)


def test_splits_are_no_classes(shell: Any, images: Path) -> None:
    """The report names the option that takes the folders inside the splits; here they are the images' own."""
    for split in ("train", "val"):
        shutil.copytree(images, shell.folder / "data" / split)
    done = shell.ingest("data")
    assert "warning: the classes are train, val" in done.err
    assert "--class-level 2" in done.err
    done = shell.ingest("data", "--class-level", "2", "--json")
    assert "warning" not in done.err
    assert done.json[0]["collections"][0]["updated"] == 24
    (collection,) = shell("ingest", "status", "--json").json[0]["collections"]
    assert collection["classes"] == {"circle": 8, "square": 8, "stripes": 8}
    assert shell.ingest("data", "--class-level", "-1", "--json").json[0]["collections"][0]["unchanged"] == 24


def test_a_dry_run_stores_nothing(shell: Any, images: Path) -> None:
    """It prints what would be added, and `status` finds no collection."""
    (report,) = shell.ingest("pictures", "--dry-run", "--json").json
    assert report["collections"][0]["added"] == 12
    assert shell("ingest", "status", "--json").json[0]["collections"] == []


def test_changes_are_counted_by_kind(shell: Any, images: Path) -> None:
    """Added, updated, moved, removed and unchanged files have separate counts."""
    shell.ingest("pictures")
    (images / "circle/crimson.png").rename(images / "circle/red.png")
    (images / "square/crimson.png").unlink()
    Image.new("RGB", (50, 50), "teal").save(images / "stripes/crimson.png")
    Image.new("RGB", (50, 50), "pink").save(images / "pink.png")
    (report,) = shell.ingest("pictures", "--prune", "--json").json
    counts = {
        key: report["collections"][0][key] for key in ("added", "updated", "moved", "removed", "unchanged")
    }
    assert counts == {"added": 1, "updated": 1, "moved": 1, "removed": 1, "unchanged": 9}
    (status,) = shell("ingest", "status", "--json").json
    assert status["collections"][0]["classes"] == {"": 1, "circle": 4, "square": 3, "stripes": 4}


def test_labels_come_from_a_table(shell: Any, images: Path) -> None:
    """Listed files have the table's class, others their folder's; rows without a file are counted."""
    (shell.folder / "labels.csv").write_text("path,class\ncircle/crimson.png,round\nnowhere.png,x\n")
    done = shell.ingest("pictures", "--labels", "labels.csv")
    assert "no image here for 1 row of the label table" in done.err
    (status,) = shell("ingest", "status", "--json").json
    assert status["collections"][0]["classes"] == {"circle": 3, "round": 1, "square": 4, "stripes": 4}


def test_skipped_images_are_listed_and_exit_1_with_strict(shell: Any, images: Path) -> None:
    """The other images are ingested in both cases."""
    (images / "broken.jpg").write_bytes(b"nothing of an image")
    done = shell.ingest("pictures", "--json")
    assert done.code == 0
    assert done.json[0]["skipped"] == [{"path": "broken.jpg", "reason": "not-an-image"}]
    assert "'broken.jpg': not-an-image" in done.err
    assert shell.ingest("pictures", "--strict").code == 1


def test_a_folder_of_broken_images_exits_1(shell: Any) -> None:
    """Images were found, and none could be embedded."""
    (shell.folder / "bad").mkdir()
    (shell.folder / "bad/a.jpg").write_bytes(b"x")
    done = shell.ingest("bad")
    assert done.code == 1
    assert "could be used, of 1 found" in done.err


def test_folders_without_images_exit_2(shell: Any) -> None:
    """A folder that is missing, empty, without images, or a file, has one clear line each."""
    (shell.folder / "empty").mkdir()
    (shell.folder / "texts").mkdir()
    (shell.folder / "texts/a.txt").write_text("a")
    for name in ("missing", "empty", "texts", "texts/a.txt"):
        done = shell.ingest(name)
        (line,) = [line for line in done.err.splitlines() if line.startswith("error")]
        assert done.code == 2
        assert str(shell.folder / name) in line


@pytest.mark.parametrize(
    "words",
    [
        ["--backbone", "resnet", "--pooling", "max"],
        ["--pooling", "none"],
        ["--layer", "no_such_layer"],
        ["--distance", "dot"],
        ["--labels", "missing.csv"],
        ["--batch-size", "0"],
    ],
)
def test_wrong_usage_exits_2(shell: Any, images: Path, words: list[str]) -> None:
    """Contradicting options are refused before anything is made."""
    done = shell("ingest", "run", "pictures", "--backbone", "vgg", "--weights", shell.weights, *words)
    assert done.code == 2, done.err
    assert not (shell.folder / "home/qdrant").exists()


def test_another_folder_under_a_dataset_s_name_exits_2(shell: Any, images: Path) -> None:
    """`--new-root` tells that the dataset's folder has moved; then nothing is embedded."""
    shell.ingest("pictures")
    (shell.folder / "elsewhere").mkdir()
    images.rename(shell.folder / "elsewhere/pictures")
    done = shell.ingest("elsewhere/pictures")
    assert done.code == 2
    assert "--new-root" in done.err
    (report,) = shell.ingest("elsewhere/pictures", "--new-root", "--json").json
    assert report["collections"][0]["unchanged"] == 12


def test_unusable_weights_exit_3(shell: Any, images: Path) -> None:
    """A file that is not HDF5, and a layer that the file lacks."""
    (shell.folder / "text.h5").write_text("no weights")
    done = shell("ingest", "run", "pictures", "--backbone", "vgg", "--weights", "text.h5")
    assert done.code == 3
    assert "text.h5" in done.err
    done = shell("ingest", "run", "pictures", "--backbone", "vgg", "--weights", shell.weights)
    assert done.code == 3
    assert "block2_conv1" in done.err


def test_a_required_but_missing_gpu_exits_3(shell: Any, images: Path) -> None:
    """It does not fall back to the CPU; the message names the package to install."""
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has an NVIDIA GPU")
    done = shell.ingest("pictures", "--require-gpu")
    assert done.code == 3
    assert "GPU" in done.err


def test_an_unreachable_store_exits_5(shell: Any, images: Path) -> None:
    """A named store is never replaced by another, and nothing is embedded before it answers."""
    done = shell.ingest("pictures", "--store", "http://127.0.0.1:9")
    assert done.code == 5
    assert "127.0.0.1:9" in done.err
    assert not (shell.folder / "home/models").exists()


def test_a_collection_of_another_space_exits_6(shell: Any, images: Path) -> None:
    """The message names both embedding spaces."""
    shell.ingest("pictures")
    (manifest,) = (shell.folder / "home/qdrant").glob("*/manifest.json")
    manifest.write_text(manifest.read_text().replace('"preprocessing": "', '"preprocessing": "old-'))
    done = shell.ingest("pictures")
    assert done.code == 6
    assert "preprocessing is old-" in done.err


def test_a_locked_store_exits_7(shell: Any, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the process that holds the lock; writers and readers wait a limited time."""
    (report,) = shell.ingest("pictures", "--json").json
    commands = (
        ("ingest", "run", "pictures", *shell.model),
        ("search", "query", "pictures/circle/crimson.png"),
    )
    defaults = EmbeddedStore.__init__.__kwdefaults__
    assert defaults["lock_timeout_s"] == 10
    monkeypatch.setitem(defaults, "lock_timeout_s", 0.5)
    with EmbeddedStore(shell.folder / "home/qdrant").open(report["collections"][0]["name"]):
        ended = [shell(*words) for words in commands]
    for done in ended:
        assert done.code == 7
        assert f"process {os.getpid()}" in done.err
        assert "waited 0.5 s" in done.err


SIGNALLED = """
import os, signal, sys
from lookalike_core.stores.embedded_collection import EmbeddedCollection

upsert, number = EmbeddedCollection.upsert, getattr(signal, sys.argv.pop(1))

def write_and_signal(*words):
    upsert(*words)
    os.kill(os.getpid(), number)

EmbeddedCollection.upsert = write_and_signal
from lookalike_ingest.__main__ import main
main()
"""
"""`ingest`, which sends a signal to itself after each batch that it writes."""


def start_signalled(shell: Any, signal_name: str, *words: str) -> "subprocess.Popen[bytes]":
    """Starts `ingest` so that it sends itself a signal after each batch."""
    return subprocess.Popen(
        [sys.executable, "-c", SIGNALLED, signal_name, *words, *shell.model],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow  # two processes at once
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
def test_a_search_waits_for_an_ingest_to_end(shell: Any, images: Path) -> None:
    """It then answers from what was written; the lock of a killed ingest does not block it."""
    shell.ingest("pictures")
    process = start_signalled(shell, "SIGSTOP", "run", "pictures", "--dataset", "again", "--batch-size", "1")
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    searching = subprocess.Popen(
        [Path(sys.executable).parent / "search", "query", images / "circle/crimson.png", "--json"],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        searching.communicate(timeout=3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    out, err = searching.communicate(timeout=120)
    assert searching.returncode == 0, err
    assert json.loads(out)["hits"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT as a terminal does")
def test_ctrl_c_exits_130_and_the_next_run_continues(shell: Any, images: Path) -> None:
    """The current batch is finished; no stored image is embedded again."""
    for number in range(40):
        Image.new("RGB", (64, 64), (number, 255 - number, 40)).save(images / f"{number:03}.png")
    process = start_signalled(shell, "SIGINT", "run", "pictures", "--batch-size", "4", "--json")
    printed, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert json.loads(printed)["interrupted"] is True
    assert b"run the same command again" in said
    stored = shell("ingest", "status", "--json").json[0]["collections"][0]["points"]
    (report,) = shell.ingest("pictures", "--json").json
    counts = report["collections"][0]
    assert 0 < stored < 52
    assert report["interrupted"] is False
    assert (counts["unchanged"], counts["added"]) == (stored, 52 - stored)


def test_a_traceback_is_shown_only_on_request(shell: Any) -> None:
    """By default an error is one line."""
    assert "Traceback" not in shell.ingest("missing").err
    assert "Traceback" in shell.ingest("missing", "--verbose").err


@pytest.mark.slow  # draws two hundred images
def test_sample_draws_labelled_images_and_a_query(shell: Any) -> None:
    """It writes ten class folders of twenty images, and one image beside them."""
    done = shell("ingest", "sample", "drawn", "--query", "query.jpg")
    assert done.code == 0
    folders = [path for path in (shell.folder / "drawn").iterdir() if path.is_dir()]
    assert [len(list(folder.iterdir())) for folder in folders] == [20] * 10
    assert (shell.folder / "query.jpg").is_file()


def test_a_home_that_cannot_be_made_is_one_error_line(shell: Any, images: Path) -> None:
    """The line names its path; the exit code is 1, or 5 if its folder is read-only."""
    if os.geteuid() == 0:
        (shell.folder / "blocked").write_text("a file stands where the home should be")
    else:
        (shell.folder / "blocked").mkdir(mode=0o500)
    done = shell("ingest", "run", "pictures", *shell.model, LOOKALIKE_HOME=str(shell.folder / "blocked/home"))
    assert done.code == (1 if os.geteuid() == 0 else 5)
    assert "blocked" in done.err
    assert "Traceback" not in done.err


def test_a_foreign_collection_exits_6_before_anything_is_embedded(shell: Any, images: Path) -> None:
    """A folder with the collection's name and no manifest stays unchanged, in a dry run too."""
    (report,) = shell.ingest("pictures", "--dry-run", "--json").json
    foreign = shell.folder / "home/qdrant" / report["collections"][0]["name"] / "precious.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("not a collection")
    for words in (["pictures"], ["pictures", "--dry-run"]):
        done = shell.ingest(*words)
        assert done.code == 6
        assert "runs on" not in done.err
    assert foreign.read_text() == "not a collection"


@pytest.mark.slow  # two processes at once
def test_two_concurrent_first_ingests_share_model_and_collection(shell: Any, images: Path) -> None:
    """The later one waits; the model is exported once, and both fill one collection."""
    other = shell.folder / "other"
    for path in images.rglob("*.png"):
        (other / path.relative_to(images)).parent.mkdir(parents=True, exist_ok=True)
        (other / path.relative_to(images)).write_bytes(path.read_bytes() + b"\0")
    program = Path(sys.executable).parent / "ingest"
    both = [
        subprocess.Popen(
            [program, "run", name, *shell.model],
            cwd=shell.folder,
            env=shell.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for name in ("pictures", "other")
    ]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum(b"exported" in lines for lines in said) == 1, said
    (status,) = shell("ingest", "status", "--json").json
    assert status["collections"][0]["datasets"] == {"pictures": 12, "other": 12}


def test_invalid_names_exit_2_before_any_work(shell: Any, images: Path) -> None:
    """A folder name that is not Unicode, an empty path, an unknown user, a loop of links."""
    odd = os.fsdecode(b"bad\xffroot")
    images.rename(shell.folder / odd)
    (shell.folder / "loop").symlink_to("loop")
    for words in ([odd], ["", "--dataset", "x"], ["~nobody-of-this-name"], ["loop"], [odd, "--dataset", " "]):
        done = shell.ingest(*words)
        assert done.code == 2, done.err
        assert "Traceback" not in done.err
    assert not (shell.folder / "home/qdrant").exists()


def test_pruning_keeps_points_of_undecodable_file_names(shell: Any, images: Path) -> None:
    """In a locale that cannot decode a file's name, the file still exists."""
    (images / "caf\u00e9.png").write_bytes((images / "circle/crimson.png").read_bytes() + b"\0")
    shell.ingest("pictures")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = shell("ingest", "run", "pictures", *shell.model, "--prune", "--json", **plain)
    assert done.json[0]["collections"][0]["removed"] == 0


def test_other_files_are_counted_and_reported(shell: Any, images: Path) -> None:
    """An ingest, a dry run and the query of a folder report them; also of folders without any image."""
    (images / "other").mkdir()
    for name in ("1.mov", "2.MOV", "raw.cr2", "notes", ".hidden.txt"):
        (images / "other" / name).write_bytes(b"x")
    said = "4 other files: 2 .mov, 1 without a suffix, 1 .cr2"
    first, second = shell.ingest("pictures", "--dry-run"), shell.ingest("pictures", "--json")
    assert said in first.out.splitlines()
    assert second.json[0]["other_files"] == {"total": 4, "by_suffix": {".mov": 2, ".cr2": 1, "": 1}}
    sampled = shell.ingest("pictures", "--json", "--max-per-class", "1")
    assert sampled.json[0]["other_files"]["total"] == 4
    asked = shell("search", "query", "pictures", "--json")
    assert f"pictures: {said}" in asked.err.splitlines()
    (images / "other").rename(shell.folder / "other")
    for done in (shell.ingest("other"), shell("search", "query", "other")):
        assert done.code == 2
        assert f", but {said};" in done.err


def test_control_characters_in_names_are_escaped(shell: Any, images: Path) -> None:
    """A class with a line break or an escape sequence is one line in every report."""
    (images / "circle").rename(images / "\x1b[31mcir\ncle")
    said = shell.ingest("pictures").out + shell("ingest", "status").out
    said += shell("search", "query", "pictures/square/crimson.png").out
    assert "\x1b" not in said
    assert "cir\\ncle" in said


@pytest.mark.skipif(sys.platform == "win32", reason="closes a file descriptor as a shell does")
def test_a_closed_stderr_loses_only_messages(shell: Any, images: Path) -> None:
    """The work is done, and the summary is on stdout."""
    program = Path(sys.executable).parent / "ingest"
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", program, "run", "pictures", *shell.model, "--json"],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    assert done.returncode == 0
    assert '"added": 12' in done.stdout


def test_a_collection_of_another_version_is_rebuilt(shell: Any, images: Path) -> None:
    """Reading and writing are refused, both versions are named, and one command rebuilds it."""
    shell.ingest("pictures")
    (manifest,) = (shell.folder / "home/qdrant").glob("*/manifest.json")
    name = manifest.parent.name
    manifest.write_text(manifest.read_text().replace('"preprocessing": "', '"preprocessing": "old-'))
    for refused in (shell.ingest("pictures"), shell("search", "query", images / "circle/crimson.png")):
        assert refused.code == 6
        assert "preprocessing is old-crop" in refused.err
        assert f"ingest rebuild {name}" in refused.err
    assert "old-crop" in shell("ingest", "status").out
    (report,) = shell("ingest", "rebuild", name, "--json").json
    keys = "schema name store points gone left_out skipped embedded taken_over took_ms"
    assert list(report) == keys.split()
    assert (report["name"], report["points"], report["gone"], report["embedded"]) == (name, 12, 0, 12)
    assert shell("search", "query", images / "circle/crimson.png").code == 0
    assert shell("ingest", "rebuild", name).out.startswith(f"{name}: 12 points rebuilt in ")
    assert shell("ingest", "rebuild", "none").code == 6


@pytest.fixture
def two_datasets(shell: Any, images: Path) -> Path:
    """Ingests the images under two dataset names into two collections."""
    for dataset in ("pictures", "again"):
        done = shell.ingest("pictures", "--dataset", dataset, "--distance", "cosine", "--distance", "euclid")
        assert done.code == 0, done.err
    return images


def test_a_dataset_is_removed_from_every_collection(shell: Any, two_datasets: Path) -> None:
    """Its points and its name go, the other dataset and the files stay; a second removal finds none."""
    (removed,) = shell("ingest", "remove", "--dataset", "again", "--yes", "--json").json
    assert list(removed) == ["schema", "dataset", "paths", "classes", "store", "collections"]
    assert [holding["removed"] for holding in removed["collections"]] == [12, 12]
    for collection in shell("ingest", "status", "--json").json[0]["collections"]:
        assert collection["datasets"] == {"pictures": 12}
        assert list(collection["manifest"]["datasets"]) == ["pictures"]
    assert len(list(two_datasets.rglob("*.png"))) == 12
    done = shell("ingest", "remove", "--dataset", "again", "--yes")
    assert done.code == 2
    assert "no collection here holds a dataset 'again'; available: 'pictures'" in done.err


def test_a_dataset_is_removed_from_one_collection(shell: Any, two_datasets: Path) -> None:
    """`--collection` leaves the others unchanged; a missing one exits 6."""
    names = [found["name"] for found in shell("ingest", "status", "--json").json[0]["collections"]]
    done = shell("ingest", "remove", "--dataset", "again", "--collection", names[0], "--yes")
    assert done.out == f"removed 12 points of again from {names[0]}\n"
    counts = [c["datasets"] for c in shell("ingest", "status", "--json").json[0]["collections"]]
    assert counts == [{"pictures": 12}, {"again": 12, "pictures": 12}]
    assert shell("ingest", "remove", "--dataset", "again", "--collection", "none", "--yes").code == 6


def test_images_are_removed_by_path_and_class(shell: Any, two_datasets: Path) -> None:
    """Files and datasets stay; all filters must match, and an unmatched one is an error."""
    words = ("--dataset", "again", "--path", "circle", "--class", "circle", "--yes", "--json")
    (removed,) = shell("ingest", "remove", *words).json
    assert (removed["dataset"], removed["paths"], removed["classes"]) == ("again", ["circle"], ["circle"])
    gone = len(list((two_datasets / "circle").iterdir()))
    assert [holding["removed"] for holding in removed["collections"]] == [gone, gone]
    for collection in shell("ingest", "status", "--json").json[0]["collections"]:
        assert collection["datasets"] == {"again": 12 - gone, "pictures": 12}
    assert len(list(two_datasets.rglob("*.png"))) == 12
    done = shell("ingest", "remove", *words)
    assert done.code == 2
    assert "no collection here holds an image of class 'circle', path 'circle', dataset 'again'" in done.err


def test_a_removed_image_comes_back_with_the_next_ingest(shell: Any, two_datasets: Path) -> None:
    """Its file still exists; only excluded files stay out."""
    file = next(two_datasets.rglob("*.png"))
    assert shell("ingest", "remove", "--path", file, "--yes").code == 0
    assert {c["points"] for c in shell("ingest", "status", "--json").json[0]["collections"]} == {22}
    again = shell.ingest("pictures", "--json").json[0]
    assert again["collections"][0]["added"] == 1


def test_a_removal_lists_its_images_before_the_question(shell: Any, two_datasets: Path) -> None:
    """The first images with their datasets, and filters without a match; nothing is removed before."""
    done = shell("ingest", "remove", "--path", "circle", "--path", "none", "--class", "circle")
    assert done.code == 2
    said = done.err.splitlines()
    count = len(list((two_datasets / "circle").iterdir()))
    assert "warning: path 'none' matches no image here" in said
    assert sum(line.startswith("  dataset again: 'circle/") for line in said) == count
    assert sum(line.startswith("  dataset pictures: 'circle/") for line in said) == count
    assert said[-1].startswith("error: stdin is not a terminal")
    assert all(c["points"] == 24 for c in shell("ingest", "status", "--json").json[0]["collections"])


@pytest.mark.skipif(os.name == "nt", reason="folders have no such permissions on Windows")
def test_a_removal_from_a_read_only_store_is_refused_without_a_question(
    shell: Any, two_datasets: Path
) -> None:
    """No answer could allow it."""
    with read_only(shell.folder / "home"):
        done = shell("ingest", "remove", "--dataset", "again")
    assert done.code == 5, done.err
    assert "is read-only" in done.err


def test_a_removal_needs_a_filter(shell: Any, two_datasets: Path) -> None:
    """A dataset, a path or a class must be named."""
    done = shell("ingest", "remove", "--yes")
    assert done.code == 2
    assert "nothing to remove is given" in done.err
    assert all(c["points"] == 24 for c in shell("ingest", "status", "--json").json[0]["collections"])


def test_a_file_replaced_with_the_same_mtime_is_embedded_again(shell: Any, images: Path) -> None:
    """Size and mtime are equal, but ctime differs."""
    assert shell.ingest("pictures").code == 0
    first, second = sorted((images / "circle").iterdir())[:2]
    before = first.stat()
    size = max(before.st_size, second.stat().st_size)
    for file in (first, second):
        file.write_bytes(file.read_bytes().ljust(size, b"\0"))
    assert shell.ingest("pictures").code == 0
    before = first.stat()
    first.write_bytes(second.read_bytes())
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))
    report = shell.ingest("pictures", "--json").json[0]["collections"][0]
    assert (report["updated"], report["unchanged"]) == (1, 11)
    assert shell.ingest("pictures", "--json").json[0]["collections"][0]["unchanged"] == 12


def test_a_changed_ctime_costs_no_embedding(shell: Any, images: Path) -> None:
    """Another mode or name of a file changes its ctime, and not its bytes."""
    assert shell.ingest("pictures").code == 0
    for file in images.rglob("*.png"):
        file.chmod(0o600)
    report = shell.ingest("pictures", "--json").json[0]
    assert report["collections"][0]["unchanged"] == 12
    assert report["collections"][0]["provider"] is None


def test_rehash_reads_every_file_and_embeds_only_changed_ones(shell: Any, images: Path) -> None:
    """A point whose file has other bytes is found, even if size and times are equal."""
    assert shell.ingest("pictures").code == 0
    report = shell.ingest("pictures", "--rehash", "--json").json[0]
    assert report["collections"][0]["unchanged"] == 12
    assert report["collections"][0]["provider"] is None
    file = next(images.rglob("*.png"))
    file.write_bytes(b"no image")
    os.utime(file, ns=(1, 1))
    assert shell.ingest("pictures", "--rehash", "--json").json[0]["skipped"][0]["path"].endswith(file.name)


def test_removals_need_confirmation(shell: Any, two_datasets: Path) -> None:
    """Without a terminal `--yes` is needed; the message names what would be removed."""
    done = shell("ingest", "remove", "--dataset", "again")
    assert done.code == 2
    assert "holds 12 points of again" in done.err
    assert "--yes" in done.err
    assert all(c["points"] == 24 for c in shell("ingest", "status", "--json").json[0]["collections"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize(("answer", "code", "points"), [("n\n", 1, 24), ("y\n", 0, 12)])
def test_a_removal_asks_on_a_terminal(
    shell: Any, two_datasets: Path, answer: str, code: int, points: int
) -> None:
    """Answering no changes nothing."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [Path(sys.executable).parent / "ingest", "remove", "--dataset", "again"],
        cwd=shell.folder,
        env=shell.environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.write(ours, answer.encode())
    _, said = process.communicate(timeout=120)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, said
    assert b"remove them?" in said
    assert {c["points"] for c in shell("ingest", "status", "--json").json[0]["collections"]} == {points}


def test_pruning_reports_its_removals(shell: Any, images: Path) -> None:
    """A dry run lists them first; `--force` also empties a dataset, and `--force` alone is wrong usage."""
    shell.ingest("pictures")
    (images / "circle" / "crimson.png").unlink()
    done = shell.ingest("pictures", "--prune", "--dry-run", "--json")
    assert done.json[0]["collections"][0]["removed_paths"] == ["circle/crimson.png"]
    assert "would remove from" in done.err
    assert "'circle/crimson.png'" in done.err
    assert "removed from" in shell.ingest("pictures", "--prune").err
    for path in images.rglob("*.png"):
        path.unlink()
    refused = shell.ingest("pictures", "--prune")
    assert (refused.code, "--prune --force" in refused.err) == (2, True)
    assert shell.ingest("pictures", "--force").code == 2
    done = shell.ingest("pictures", "--prune", "--force", "--json")
    assert (done.code, done.json[0]["collections"][0]["removed"]) == (0, 11)


@pytest.mark.skipif(os.name == "nt", reason="on Windows a lock cannot be tested without taking it")
def test_status_and_query_report_a_running_ingest(shell: Any, images: Path) -> None:
    """This holds before any collection exists, too; no message advises to start another ingest."""
    with EmbeddedStore(shell.folder / "home/qdrant").local.ingesting():
        (status,) = shell("ingest", "status", "--json").json
        assert status["collections"] == []
        assert status["ingest_under_way"].startswith("process ")
        said = f"an ingest into this store is under way, by {status['ingest_under_way']}"
        assert shell("ingest", "status").out.splitlines() == [said]
        for words in (("query", images / "circle/crimson.png"), ("evaluate",), ("duplicates",)):
            done = shell("search", *words)
            assert done.code == 6
            assert f"A{said[1:]}, and may be making it; try again when it is done" in done.err
            assert "ingest run" not in done.err
    (status,) = shell("ingest", "status", "--json").json
    assert status["ingest_under_way"] is None
    assert "make one with: ingest run DIR" in shell("ingest", "status").out
