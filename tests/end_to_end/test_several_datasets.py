"""Tests several datasets: several folders in one run, renamed folders, and nested folders."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.errors import UsageError

import lookalike

PATHS = ("1.png", "cat/1.png", "cat/2.png")


@pytest.fixture
def renamed(shell: Any, draw: Any) -> Path:
    """Ingests a folder as `my photos`, then renames it to `album`."""
    draw(shell.folder / "my photos", *PATHS)
    assert shell.ingest("my photos").code == 0
    return Path((shell.folder / "my photos").rename(shell.folder / "album"))


def count_by_dataset(shell: Any) -> dict[str, int]:
    """Returns the number of points of each dataset."""
    (status,) = shell("ingest", "status", "--json").json
    found: dict[str, int] = status["collections"][0]["datasets"]
    return found


def suggested_command(said: str, command: str) -> list[str]:
    """Returns the words of a command at the end of a message's line."""
    match = re.search(rf"{command} .*$", said, re.MULTILINE)
    assert match, said
    return shlex.split(match.group(0))


def test_a_renamed_folder_is_reported_with_a_working_remedy(shell: Any, renamed: Path) -> None:
    """Its images reuse the vectors of the old dataset, whose points have no files any more."""
    for added, unchanged in ((3, 0), (0, 3)):
        done = shell.ingest("album", "--json")
        (report,) = done.json
        (collection,) = report["collections"]
        assert (collection["added"], collection["unchanged"]) == (added, unchanged)
        old = str(shell.folder / "my photos")
        assert f"dataset my photos ({old}) is gone, and all 3 images of it are in album" in done.err
        assert report["gone_datasets"] == [{"dataset": "my photos", "root": old, "points": 3, "shared": 3}]
    assert shell(*suggested_command(done.err, "ingest remove"), "--yes").code == 0
    assert count_by_dataset(shell) == {"album": 3}
    assert "is gone" not in shell.ingest("album").err
    assert renamed.is_dir()


@pytest.mark.usefixtures("renamed")
def test_a_dry_run_of_a_renamed_folder_names_the_remedy(shell: Any) -> None:
    """Nothing is stored under the new name."""
    done = shell.ingest("album", "--dry-run")
    assert shell(*suggested_command(done.err, "ingest run")).code == 0
    assert count_by_dataset(shell) == {"my photos": 3}


def test_the_remedy_for_a_renamed_folder_keeps_its_rules(shell: Any, draw: Any) -> None:
    """The suggested command moves the dataset with its rules, in a dry run and after a run."""
    draw(shell.folder / "photos", *PATHS, "cat/raw/3.png", "cat/raw/4.png")
    assert shell.ingest("photos", "--exclude", "raw", "--class-level", "-1").code == 0
    (shell.folder / "photos").rename(shell.folder / "album")
    for options in (["--dry-run"], []):
        said = shell.ingest("album", *options).err
        (line,) = [line for line in said.splitlines() if "do not apply to album" in line]
        assert "of dataset photos" in line
        assert "without 'raw', classes by folder -1" in line
        assert line.endswith("use --dataset photos --new-root")
    done = shell.ingest("album", "--dataset", "photos", "--new-root", "--json")
    assert done.json[0]["collections"][0]["unchanged"] == 3
    assert "do not apply" not in shell.ingest("album", "--exclude", "raw", "--class-level", "-1").err


@pytest.mark.usefixtures("renamed")
def test_suggested_commands_name_the_store(shell: Any) -> None:
    """Without `--store` they could change a dataset of the same name in the default store."""
    (shell.folder / "album").rename(shell.folder / "my photos")
    store = f"embedded:{shell.folder}/a store"
    shell.ingest("my photos", "--store", store)
    (shell.folder / "my photos").rename(shell.folder / "album")
    dry = shell.ingest("album", "--store", store, "--dry-run")
    assert suggested_command(dry.err, "ingest run")[-2:] == ["--store", store]
    done = shell.ingest("album", "--store", store)
    assert shell(*suggested_command(done.err, "ingest remove"), "--yes").code == 0
    assert count_by_dataset(shell) == {"my photos": 3}


@pytest.mark.parametrize(("shared", "said"), [(9, "ingest remove"), (5, "disk may not be mounted"), (4, "")])
def test_no_removal_is_advised_for_a_disk_that_may_be_unmounted(
    shell: Any, draw: Any, shared: int, said: str
) -> None:
    """Some images of it were copied here; its other images would be lost."""
    files = draw(shell.folder / "usb", *(f"{number}.png" for number in range(10)))
    draw(shell.folder / "here", "own.png", seed=50)
    for file in files[:shared]:
        shutil.copy(file, shell.folder / "here")
    shell.ingest("usb")
    (shell.folder / "usb").rename(shell.folder / "away")
    done = shell.ingest("here", "--json")
    assert done.json[0]["gone_datasets"][0]["shared"] == shared
    warned = [line for line in done.err.splitlines() if "dataset usb" in line]
    assert [said in line for line in warned] == ([True] if said else [])
    assert ("ingest remove" in done.err) == (shared == 9)


def test_a_missing_folder_without_shared_images_is_not_reported(shell: Any, draw: Any) -> None:
    """Its disk may not be mounted."""
    draw(shell.folder / "one", "1.png")
    draw(shell.folder / "two", "2.png", "3.png")
    shell.ingest("one")
    (shell.folder / "one").rename(shell.folder / "away")
    assert "is gone" not in shell.ingest("two").err


@pytest.mark.usefixtures("renamed")
def test_duplicates_name_the_remedy_for_a_missing_folder(shell: Any) -> None:
    """After the suggested command, no missing file is left."""
    shell.ingest("album")
    done = shell("search", "duplicates")
    assert "--prune" not in done.err
    assert shell(*suggested_command(done.err, "ingest remove"), "--yes").code == 0
    assert shell("search", "duplicates", "--json").json == []


def test_duplicates_name_the_remedy_for_missing_files(shell: Any, draw: Any) -> None:
    """The suggested ingest has the folder's path and the dataset's name."""
    (first, second) = draw(shell.folder / "my photos", "1.png", "2.png")
    second.write_bytes(first.read_bytes())
    shell.ingest("my photos", "--dataset", "pets")
    second.unlink()
    done = shell("search", "duplicates")
    assert shell(*suggested_command(done.err, "ingest run")).code == 0
    assert count_by_dataset(shell) == {"pets": 1}


@pytest.mark.parametrize("order", [("all", "all/cat"), ("all/cat", "all"), ("all", "link"), ("link", "all")])
def test_nested_datasets_are_warned_of(shell: Any, draw: Any, order: tuple[str, str]) -> None:
    """This holds in either order and through links; the warning suggests to remove the inner one."""
    draw(shell.folder / "all", *PATHS)
    (shell.folder / "link").symlink_to(shell.folder / "all/cat")
    first, second = (shell.ingest(folder, "--dataset", Path(folder).name, "--json") for folder in order)
    inner = Path(next(folder for folder in order if folder != "all")).name
    assert "is inside dataset" not in first.err
    assert (
        f"dataset {inner} ({shell.folder}/all/cat) is inside dataset all ({shell.folder}/all)" in second.err
    )
    assert [each["dataset"] for each in second.json[0]["overlapping_datasets"]] == [Path(order[0]).name]
    assert shell(*suggested_command(second.err, "ingest remove"), "--yes").code == 0
    assert count_by_dataset(shell) == {"all": 3}


def test_one_folder_under_two_names_is_warned_of(shell: Any, draw: Any) -> None:
    """The warning says that the images are the same, stored twice."""
    draw(shell.folder / "all", *PATHS)
    shell.ingest("all")
    said = shell.ingest("all", "--dataset", "again").err
    assert f"({shell.folder}/all) has the folder of dataset" in said
    assert "is inside dataset" not in said
    draw(shell.folder / "all2", "1.png")
    assert "is inside dataset" not in shell.ingest("all2").err


@pytest.mark.parametrize("order", [("links", "pets"), ("pets", "links")])
def test_a_dataset_reached_by_followed_links_is_warned_of(
    shell: Any, draw: Any, order: tuple[str, str]
) -> None:
    """This holds in either order; after the suggested removal each file has one point."""
    draw(shell.folder / "pets", *PATHS)
    draw(shell.folder / "links", "4.png", seed=9)
    (shell.folder / "links/pets").symlink_to(shell.folder / "pets")
    options = {"links": ["--follow-links"], "pets": []}
    first, second = (shell.ingest(folder, *options[folder], "--json") for folder in order)
    assert "share images" not in first.err
    assert "share images through links" in second.err
    assert [each["dataset"] for each in second.json[0]["overlapping_datasets"]] == [order[0]]
    answer = shell("search", "query", shell.folder / "links/4.png", "--json").json[0]
    assert len(answer["hits"]) == 3
    assert shell(*suggested_command(second.err, "ingest remove"), "--yes").code == 0


def test_folders_of_one_run_that_link_to_each_other_are_warned_of(shell: Any, draw: Any) -> None:
    """Two folders that link to the same third folder are warned of, too."""
    for name in ("one", "two", "three", "four", "third"):
        draw(shell.folder / name, f"{name}.png")
    links = {"one/l": "two", "two/l": "one", "three/l": "third", "four/l": "third"}
    for link, folder in links.items():
        (shell.folder / link).symlink_to(shell.folder / folder)
    reports = shell.ingest("one", "two", "three", "four", "--follow-links", "--json").json
    overlapping = [[each["dataset"] for each in report["overlapping_datasets"]] for report in reports]
    assert overlapping == [[], ["one"], [], ["three"]]


def test_a_known_folder_keeps_its_dataset_name(shell: Any, draw: Any) -> None:
    """It would be stored twice otherwise; another name must be passed explicitly."""
    draw(shell.folder / "new", *PATHS)
    assert shell.ingest("new", "--dataset", "old").code == 0
    done = shell.ingest("new", "--json")
    assert f"{shell.folder}/new is the folder of dataset old, which is brought up to date" in done.err
    assert (done.json[0]["dataset"], done.json[0]["collections"][0]["unchanged"]) == ("old", 3)
    assert count_by_dataset(shell) == {"old": 3}
    assert shell.ingest("new", "--dataset", "older").code == 0
    refused = shell.ingest("new")
    assert refused.code == 2
    assert "is the folder of several datasets (old, older); use --dataset" in refused.err
    assert count_by_dataset(shell) == {"old": 3, "older": 3}


def test_a_dry_run_warns_of_folders_that_would_overlap(shell: Any, draw: Any) -> None:
    """The warning is that of the run, but suggests no removal, since nothing is stored yet."""
    draw(shell.folder / "all", *PATHS)
    dry = shell.ingest("all", "all/cat", "--dry-run", "--json")
    warning = f"dataset cat ({shell.folder}/all/cat) is inside dataset all ({shell.folder}/all)"
    assert warning in dry.err
    assert "ingest remove" not in dry.err
    assert [len(line["overlapping_datasets"]) for line in dry.json] == [0, 1]
    shell.ingest("all")
    dry = shell.ingest("all/cat", "--dry-run")
    assert warning in dry.err
    assert "ingest remove" not in dry.err
    assert "ingest remove --dataset cat" in shell.ingest("all/cat").err


def test_an_empty_folder_is_reported_by_its_state(shell: Any, draw: Any) -> None:
    """A removal is suggested by name for a dataset that has stored points."""
    (image,) = draw(shell.folder / "my photos", "1.png")
    draw(shell.folder / "other", "2.png", seed=5)
    image.rename(shell.folder / "1.png")
    done = shell.ingest("my photos")
    assert done.code == 2
    assert "holds no images (" in done.err
    assert "if a disk is not mounted" in done.err
    assert "ingest remove" not in done.err
    (shell.folder / "1.png").rename(image)
    shell.ingest("my photos", "--dataset", "pets")
    image.unlink()
    assert "ingest remove --dataset pets, or" in shell.ingest("my photos").err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--exclude", "*.png"), "holds no images but what is excluded (1 image); exclude less with"),
        (("--exclude", "cat", "--exclude", "1.*"), "what is excluded (1 folder, 1 image); exclude less"),
    ],
)
def test_a_fully_excluded_folder_is_not_reported_as_unmounted(
    shell: Any, draw: Any, options: tuple[str, ...], said: str
) -> None:
    """The message names the rules instead."""
    draw(shell.folder / "all", "1.png", *(["cat/2.png"] if "cat" in options else []))
    done = shell.ingest("all", *options)
    assert done.code == 2
    assert said in done.err
    assert "mounted" not in done.err


def test_a_folder_of_only_hidden_images_or_links_is_reported(shell: Any, draw: Any) -> None:
    """The message names the remedy."""
    draw(shell.folder, "elsewhere/1.png", "hidden/.a/1.png")
    (shell.folder / "links").mkdir()
    (shell.folder / "links/there").symlink_to(shell.folder / "elsewhere")
    assert "holds no images but hidden ones; exclude less" in shell.ingest("hidden").err
    said = shell.ingest("links").err
    assert "holds no images but what is linked (1 folder); use --follow-links" in said


@pytest.fixture
def folders(shell: Any, draw: Any) -> list[str]:
    """Draws three folders of two images each."""
    for name in ("one", "two", "three"):
        draw(shell.folder / name, f"{name}/1.png", f"{name}/2.png")
    return ["one", "two", "three"]


def test_several_folders_are_ingested_in_one_run(shell: Any, folders: list[str]) -> None:
    """Each is a dataset with its own line in the summary, and the model is opened once."""
    done = shell.ingest(*folders, "./one", "--json")
    assert done.code == 0
    assert [(line["dataset"], line["root"]) for line in done.json] == [
        (name, str(shell.folder / name)) for name in folders
    ]
    assert done.err.count("runs on CPUExecutionProvider") == 1
    assert count_by_dataset(shell) == dict.fromkeys(sorted(folders), 2)
    assert shell.ingest(*folders).out.count("2 images in") == 3


def test_max_per_class_applies_to_each_folder(shell: Any, folders: list[str]) -> None:
    """The folders are not sampled as one set."""
    reports = shell.ingest(*folders, "--max-per-class", "1", "--json").json
    assert [report["not_taken"] for report in reports] == [1, 1, 1]


def test_a_missing_folder_exits_2_before_any_work(shell: Any, folders: list[str]) -> None:
    """It may come first, in the middle or last in the list of folders."""
    done = shell.ingest(*folders, "four")
    assert (done.code, done.out) == (2, "")
    assert f"{shell.folder}/four does not exist" in done.err
    assert shell("ingest", "status", "--json").json[0]["collections"] == []


@pytest.mark.parametrize("option", ["--dataset", "--labels"])
def test_options_for_one_folder_exit_2_with_several(shell: Any, folders: list[str], option: str) -> None:
    """The message suggests to ingest each alone; a folder that is named twice counts once."""
    (shell.folder / "labels.csv").write_text("path,class\none/1.png,x\n")
    done = shell.ingest(*folders, option, "labels.csv")
    assert (done.code, done.out) == (2, "")
    assert f"error: {option}: " in done.err
    assert "each folder separately" in done.err
    assert shell.ingest("one", "one", option, "labels.csv").code == 0


def test_folders_of_the_same_name_exit_2(shell: Any, draw: Any) -> None:
    """They would be one dataset, and their images would replace each other."""
    draw(shell.folder, "a/photos/1.png", "b/photos/2.png")
    done = shell.ingest("a/photos", "b/photos")
    assert done.code == 2
    assert "would both be the dataset photos" in done.err
    assert "--dataset" in done.err


def test_the_exit_code_is_the_worst_of_all_folders(shell: Any, folders: list[str]) -> None:
    """The other folders are ingested, and the problems of each are listed at the end."""
    (shell.folder / "empty").mkdir()
    (shell.folder / "broken").mkdir()
    (shell.folder / "broken/1.png").write_bytes(b"no image")
    first, *others = folders
    done = shell.ingest(first, "empty", "broken", *others, "--json")
    assert done.code == 2
    assert [line["dataset"] for line in done.json] == [first, "empty", "broken", *others]
    assert done.json[1].keys() == {"schema", "dataset", "root", "error"}
    *_, less, worst = done.err.splitlines()
    assert "could be used, of 1 found" in less
    assert worst == f"error: {done.json[1]['error']}"
    assert count_by_dataset(shell) == {"broken": 0, **dict.fromkeys(sorted(folders), 2)}
    assert shell.ingest(first, "broken").code == 1


def test_the_library_adds_several_folders(
    shell: Any, folders: list[str], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a dataset, and the model is opened once; a missing folder is refused first."""
    monkeypatch.setenv("LOOKALIKE_HOME", str(shell.folder / "home"))
    model = lookalike.Model("vgg", layer="block1_conv1", weights=shell.weights, provider="cpu")
    with lookalike.open(shell.folder / "store", model=model) as index:
        with pytest.raises(UsageError, match="does not exist"):
            index.add_many([*(shell.folder / name for name in folders), shell.folder / "four"])
        reports = index.add_many([shell.folder / name for name in folders])
        assert [(report.dataset, report.added) for report in reports] == [(name, 2) for name in folders]
        assert index.datasets == dict.fromkeys(sorted(folders), 2)
        (shell.folder / "empty").mkdir()
        with pytest.raises(
            lookalike.errors.FoldersError, match="1 of 4 folders could not be added: "
        ) as some:
            index.add_many([shell.folder / name for name in (*folders[:2], "empty", folders[2])])
        assert [(report.dataset, report.unchanged) for report in some.value.reports] == [
            (name, 2) for name in folders
        ]
        assert "holds no images" in str(some.value.errors[shell.folder / "empty"])
    assert sum("runs on" in line for line in said) == 1
