"""Several datasets: folders of one run, renamed folders, and folders in folders."""

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
    """A folder that was ingested as `my photos` and is called `album` now."""
    draw(shell.folder / "my photos", *PATHS)
    assert shell.ingest("my photos").code == 0
    return Path((shell.folder / "my photos").rename(shell.folder / "album"))


def datasets(shell: Any) -> dict[str, int]:
    """How many points each has."""
    (status,) = shell("ingest", "status", "--json").json
    found: dict[str, int] = status["collections"][0]["datasets"]
    return found


def advice(said: str, command: str) -> list[str]:
    """The words of a command as a message gives it, at its line's end."""
    match = re.search(rf"{command} .*$", said, re.MULTILINE)
    assert match, said
    return shlex.split(match.group(0))


def test_a_renamed_folder_is_told_of_and_the_command_that_is_said_ends_it(shell: Any, renamed: Path) -> None:
    """Its images take their vectors from the old name's points, which are dead from then on."""
    for added, unchanged in ((3, 0), (0, 3)):
        done = shell.ingest("album", "--json")
        (report,) = done.json
        (collection,) = report["collections"]
        assert (collection["added"], collection["unchanged"]) == (added, unchanged)
        old = str(shell.folder / "my photos")
        assert f"dataset my photos ({old}) is gone, and all 3 images of it are in album" in done.err
        assert report["gone_datasets"] == [{"dataset": "my photos", "root": old, "points": 3, "shared": 3}]
    assert shell(*advice(done.err, "ingest remove"), "--yes").code == 0
    assert datasets(shell) == {"album": 3}
    assert "is gone" not in shell.ingest("album").err
    assert renamed.is_dir()


@pytest.mark.usefixtures("renamed")
def test_a_dry_run_says_how_to_keep_the_name(shell: Any) -> None:
    """Nothing is stored under the new one yet."""
    done = shell.ingest("album", "--dry-run")
    assert shell(*advice(done.err, "ingest run")).code == 0
    assert datasets(shell) == {"my photos": 3}


def test_a_renamed_folder_loses_no_rules_without_a_word(shell: Any, draw: Any) -> None:
    """What is said moves the dataset with its rules, in a dry run and behind a run."""
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
def test_what_is_said_to_be_done_names_the_store_that_was_used(shell: Any) -> None:
    """It would mean another one else, which may have a dataset of the name, too."""
    (shell.folder / "album").rename(shell.folder / "my photos")
    store = f"embedded:{shell.folder}/a store"
    shell.ingest("my photos", "--store", store)
    (shell.folder / "my photos").rename(shell.folder / "album")
    dry = shell.ingest("album", "--store", store, "--dry-run")
    assert advice(dry.err, "ingest run")[-2:] == ["--store", store]
    done = shell.ingest("album", "--store", store)
    assert shell(*advice(done.err, "ingest remove"), "--yes").code == 0
    assert datasets(shell) == {"my photos": 3}


@pytest.mark.parametrize(("shared", "said"), [(9, "ingest remove"), (5, "disk may not be mounted"), (4, "")])
def test_no_removal_is_advised_where_a_disk_may_be_away(
    shell: Any, draw: Any, shared: int, said: str
) -> None:
    """Images that were copied from it are here; those that are nowhere else would be lost."""
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


def test_a_folder_that_is_gone_and_shares_nothing_is_not_spoken_of(shell: Any, draw: Any) -> None:
    """Its disk may not be mounted."""
    draw(shell.folder / "one", "1.png")
    draw(shell.folder / "two", "2.png", "3.png")
    shell.ingest("one")
    (shell.folder / "one").rename(shell.folder / "away")
    assert "is gone" not in shell.ingest("two").err


@pytest.mark.usefixtures("renamed")
def test_duplicates_say_what_to_do_about_a_folder_that_is_gone(shell: Any) -> None:
    """The command that is said leaves none."""
    shell.ingest("album")
    done = shell("search", "duplicates")
    assert "--prune" not in done.err
    assert shell(*advice(done.err, "ingest remove"), "--yes").code == 0
    assert shell("search", "duplicates", "--json").json == []


def test_duplicates_say_what_to_do_about_files_that_are_gone(shell: Any, draw: Any) -> None:
    """With the folder's own path, and the name that it was given."""
    (first, second) = draw(shell.folder / "my photos", "1.png", "2.png")
    second.write_bytes(first.read_bytes())
    shell.ingest("my photos", "--dataset", "pets")
    second.unlink()
    done = shell("search", "duplicates")
    assert shell(*advice(done.err, "ingest run")).code == 0
    assert datasets(shell) == {"pets": 1}


@pytest.mark.parametrize("order", [("all", "all/cat"), ("all/cat", "all"), ("all", "link"), ("link", "all")])
def test_a_folder_in_the_folder_of_another_dataset_is_warned_of(
    shell: Any, draw: Any, order: tuple[str, str]
) -> None:
    """In either order, behind links too; the inner one is what may go."""
    draw(shell.folder / "all", *PATHS)
    (shell.folder / "link").symlink_to(shell.folder / "all/cat")
    first, second = (shell.ingest(folder, "--dataset", Path(folder).name, "--json") for folder in order)
    inner = Path(next(folder for folder in order if folder != "all")).name
    assert "is inside dataset" not in first.err
    assert (
        f"dataset {inner} ({shell.folder}/all/cat) is inside dataset all ({shell.folder}/all)" in second.err
    )
    assert [each["dataset"] for each in second.json[0]["overlapping_datasets"]] == [Path(order[0]).name]
    assert shell(*advice(second.err, "ingest remove"), "--yes").code == 0
    assert datasets(shell) == {"all": 3}


def test_one_folder_under_two_names_is_warned_of(shell: Any, draw: Any) -> None:
    """As the same images twice."""
    draw(shell.folder / "all", *PATHS)
    shell.ingest("all")
    said = shell.ingest("all", "--dataset", "again").err
    assert f"({shell.folder}/all) has the folder of dataset" in said
    assert "is inside dataset" not in said
    draw(shell.folder / "all2", "1.png")
    assert "is inside dataset" not in shell.ingest("all2").err


@pytest.mark.parametrize("order", [("links", "pets"), ("pets", "links")])
def test_a_dataset_that_followed_links_lead_to_is_warned_of(
    shell: Any, draw: Any, order: tuple[str, str]
) -> None:
    """In either order; a file is one hit, and removing the dataset that is named leaves one point of it."""
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
    assert shell(*advice(second.err, "ingest remove"), "--yes").code == 0


def test_folders_of_one_run_that_link_to_each_other_are_warned_of(shell: Any, draw: Any) -> None:
    """Those that link to one and the same third folder, too."""
    for name in ("one", "two", "three", "four", "third"):
        draw(shell.folder / name, f"{name}.png")
    links = {"one/l": "two", "two/l": "one", "three/l": "third", "four/l": "third"}
    for link, folder in links.items():
        (shell.folder / link).symlink_to(shell.folder / folder)
    reports = shell.ingest("one", "two", "three", "four", "--follow-links", "--json").json
    overlapping = [[each["dataset"] for each in report["overlapping_datasets"]] for report in reports]
    assert overlapping == [[], ["one"], [], ["three"]]


def test_a_folder_keeps_the_name_that_it_is_known_by(shell: Any, draw: Any) -> None:
    """It would be stored twice else; another name has to be said."""
    draw(shell.folder / "new", *PATHS)
    assert shell.ingest("new", "--dataset", "old").code == 0
    done = shell.ingest("new", "--json")
    assert f"{shell.folder}/new is the folder of dataset old, which is brought up to date" in done.err
    assert (done.json[0]["dataset"], done.json[0]["collections"][0]["unchanged"]) == ("old", 3)
    assert datasets(shell) == {"old": 3}
    assert shell.ingest("new", "--dataset", "older").code == 0
    refused = shell.ingest("new")
    assert refused.code == 2
    assert "is the folder of several datasets (old, older); use --dataset" in refused.err
    assert datasets(shell) == {"old": 3, "older": 3}


def test_a_dry_run_warns_of_folders_that_would_overlap(shell: Any, draw: Any) -> None:
    """As the run itself would, but names no command for what is in no collection."""
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


def test_an_empty_folder_is_spoken_of_as_what_it_is(shell: Any, draw: Any) -> None:
    """A removal is advised for a dataset that is stored alone, by its name."""
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
def test_a_folder_that_is_excluded_whole_is_no_disk_that_is_away(
    shell: Any, draw: Any, options: tuple[str, ...], said: str
) -> None:
    """The rules are what may be wrong."""
    draw(shell.folder / "all", "1.png", *(["cat/2.png"] if "cat" in options else []))
    done = shell.ingest("all", *options)
    assert done.code == 2
    assert said in done.err
    assert "mounted" not in done.err


def test_a_folder_of_hidden_images_or_links_alone_says_so(shell: Any, draw: Any) -> None:
    """What would take them follows."""
    draw(shell.folder, "elsewhere/1.png", "hidden/.a/1.png")
    (shell.folder / "links").mkdir()
    (shell.folder / "links/there").symlink_to(shell.folder / "elsewhere")
    assert "holds no images but hidden ones; exclude less" in shell.ingest("hidden").err
    said = shell.ingest("links").err
    assert "holds no images but what is linked (1 folder); use --follow-links" in said


@pytest.fixture
def folders(shell: Any, draw: Any) -> list[str]:
    """Three folders of two images each."""
    for name in ("one", "two", "three"):
        draw(shell.folder / name, f"{name}/1.png", f"{name}/2.png")
    return ["one", "two", "three"]


def test_several_folders_are_ingested_in_one_run(shell: Any, folders: list[str]) -> None:
    """Each is a dataset of its own with its own line, and the model is opened once."""
    done = shell.ingest(*folders, "./one", "--json")
    assert done.code == 0
    assert [(line["dataset"], line["root"]) for line in done.json] == [
        (name, str(shell.folder / name)) for name in folders
    ]
    assert done.err.count("runs on CPUExecutionProvider") == 1
    assert datasets(shell) == dict.fromkeys(sorted(folders), 2)
    assert shell.ingest(*folders).out.count("2 images in") == 3


def test_max_per_class_counts_in_each_folder(shell: Any, folders: list[str]) -> None:
    """They are not one set."""
    reports = shell.ingest(*folders, "--max-per-class", "1", "--json").json
    assert [report["not_taken"] for report in reports] == [1, 1, 1]


def test_a_folder_that_is_missing_is_2_before_anything_is_done(shell: Any, folders: list[str]) -> None:
    """Wherever it stands."""
    done = shell.ingest(*folders, "four")
    assert (done.code, done.out) == (2, "")
    assert f"{shell.folder}/four does not exist" in done.err
    assert shell("ingest", "status", "--json").json[0]["collections"] == []


@pytest.mark.parametrize("option", ["--dataset", "--labels"])
def test_what_is_for_one_folder_is_2_with_several(shell: Any, folders: list[str], option: str) -> None:
    """The message says to ingest each by itself; one folder that is named twice is one."""
    (shell.folder / "labels.csv").write_text("path,class\none/1.png,x\n")
    done = shell.ingest(*folders, option, "labels.csv")
    assert (done.code, done.out) == (2, "")
    assert f"error: {option}: " in done.err
    assert "each folder separately" in done.err
    assert shell.ingest("one", "one", option, "labels.csv").code == 0


def test_folders_that_are_called_alike_are_2(shell: Any, draw: Any) -> None:
    """Their images would get into each other's way."""
    draw(shell.folder, "a/photos/1.png", "b/photos/2.png")
    done = shell.ingest("a/photos", "b/photos")
    assert done.code == 2
    assert "would both be the dataset photos" in done.err
    assert "--dataset" in done.err


def test_the_worst_of_several_folders_is_the_exit_code(shell: Any, folders: list[str]) -> None:
    """The others are ingested all the same, and what is wrong with each is said at the end."""
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
    assert datasets(shell) == {"broken": 0, **dict.fromkeys(sorted(folders), 2)}
    assert shell.ingest(first, "broken").code == 1


def test_the_library_adds_several_folders(
    shell: Any, folders: list[str], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a dataset, and the model is opened once; one that is missing is refused first."""
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
