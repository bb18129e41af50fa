"""The meaning of a query's name: files first, then indexed images."""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from lookalike_core.errors import SkipReason, UsageError
from lookalike_core.stores.points import point_id
from lookalike_core.stores.protocol import Collection, Store
from lookalike_search.asking.query_sources import Source, find_known_payload, find_sources
from refusals import refuses

Fill = Callable[..., str]


@pytest.fixture
def collection(both_stores: Store, fill: Fill) -> Iterator[Collection]:
    """Returns two datasets that share a path; one is named like a folder of the other."""
    name = fill(
        both_stores,
        {"cat/1.png": [1, 0], "cat/2.png": [0, 1], "data/3.png": [1, 1], "more:cat/1.png": [1, 2]},
    )
    with both_stores.open(name) as opened:
        yield opened


def found(name: str, collection: Collection, dataset: str | None = None) -> Source:
    """Returns the single image of a name."""
    [source] = find_sources(name, [collection], dataset=dataset)
    return source


@pytest.mark.parametrize(
    ("name", "dataset", "path"),
    [
        ("cat/2.png", "data", "cat/2.png"),
        ("./cat//2.png", "data", "cat/2.png"),
        ("data/cat/2.png", "data", "cat/2.png"),
        ("data/cat/1.png", "data", "cat/1.png"),
        ("more/cat/1.png", "more", "cat/1.png"),
        ("data/3.png", "data", "data/3.png"),
        (point_id("data", "cat/2.png"), "data", "cat/2.png"),
        (point_id("more", "cat/1.png").upper(), "more", "cat/1.png"),
    ],
)
def test_an_indexed_image_is_found_by_its_path_and_by_its_id(
    collection: Collection, tmp_path: Path, name: str, dataset: str, path: str
) -> None:
    """The source has its payload and its file's path; the file need not exist."""
    source = found(name, collection)
    [payload] = source.payloads
    assert (payload.dataset, payload.path) == (dataset, path)
    assert source.id == point_id(dataset, path)
    assert source.name == name
    assert source.file == tmp_path / dataset / path
    assert source.problem is None


def test_a_path_in_several_datasets_is_ambiguous(collection: Collection) -> None:
    """The message names both and two ways to choose; `--dataset` chooses."""
    with refuses(UsageError, match=r"data, more.*write data/cat/1\.png.*--dataset data"):
        find_sources("cat/1.png", [collection])
    assert found("cat/1.png", collection, "more").payloads[0].dataset == "more"
    assert found("cat/2.png", collection, "more").payloads[0].dataset == "data"
    with pytest.raises(UsageError, match="several datasets"):
        find_sources("cat/1.png", [collection], dataset="a third")


def test_a_file_takes_precedence_over_an_indexed_path(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes may differ from the indexed ones."""
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/2.png").write_bytes(b"another")
    monkeypatch.chdir(tmp_path)
    source = found("cat/2.png", collection)
    assert source.payloads == ()
    assert source.file == Path("cat/2.png")


@pytest.mark.parametrize(
    "name", ["gone.png", "dog/1.png", "\udc80.png", point_id("data", "gone.png"), "\t\n", "cat/2.png/3"]
)
def test_a_missing_name_is_a_source_with_a_problem(collection: Collection, name: str) -> None:
    """Other queries are still answered."""
    problem = found(name, collection).problem
    assert problem is not None
    assert problem.reason is SkipReason.VANISHED
    assert collection.name in str(problem)


def test_a_name_that_cannot_be_stat_is_taken_for_a_file(collection: Collection) -> None:
    """Reading it gives the reason, here that the name is too long."""
    assert found("1" * 5000, collection).file is not None


def test_a_folder_is_all_of_its_images_in_order(collection: Collection, tmp_path: Path) -> None:
    """Names begin with the folder as given; hidden files are left out, and a broken link has a problem."""
    for path in ("b/2.png", "b/1.jpg", "a.webp", "b/note.txt", ".hidden.png", "@eaDir/a.jpg"):
        (tmp_path / "queries" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "queries" / path).write_bytes(b"x")
    (tmp_path / "queries/c.png").symlink_to(tmp_path / "nowhere.png")
    folder = tmp_path / "queries"
    sources = find_sources(str(folder), [collection])
    assert [source.name for source in sources] == [
        str(folder / path) for path in ("a.webp", "b/1.jpg", "b/2.png", "c.png")
    ]
    assert [source.problem and source.problem.reason for source in sources] == [
        None,
        None,
        None,
        SkipReason.VANISHED,
    ]


def test_an_empty_folder_and_an_empty_name_are_wrong_usage(collection: Collection, tmp_path: Path) -> None:
    """Neither gives a query."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty holds no image"):
        find_sources(str(tmp_path / "empty"), [collection])
    with pytest.raises(UsageError, match="name is empty"):
        find_sources("", [collection])


def test_an_indexed_image_is_found_in_any_collection(both_stores: Store, fill: Fill) -> None:
    """The source has the payload of each collection."""
    one = fill(both_stores, {"cat/1.png": [1, 0], "cat/2.png": [0, 1]})
    two = fill(both_stores, {"cat/2.png": [1, 0, 0], "cat/3.png": [0, 1, 0]}, copies={"cat/2.png": "older"})
    with ExitStack() as stack:
        opened = [stack.enter_context(both_stores.open(name)) for name in (one, two)]
        counts = [len(find_sources(f"cat/{number}.png", opened)[0].payloads) for number in (1, 2, 3)]
        [both] = find_sources("cat/2.png", opened)
    assert counts == [1, 2, 1]
    assert len({payload.sha256 for payload in both.payloads}) == 2


def test_a_file_in_an_ingested_folder_is_known_by_its_bytes(
    both_stores: Store, fill: Fill, tmp_path: Path
) -> None:
    """It is known by any path that leads to it; a changed file and one elsewhere are not."""
    with both_stores.open(fill(both_stores, {"cat/1.png": [1, 0]})) as collection:
        [payload] = collection.scan()
        file = tmp_path / "data/cat/1.png"
        file.parent.mkdir(parents=True)
        (tmp_path / "link").symlink_to(tmp_path / "data")
        file.write_bytes(b"x")
        other = hashlib.sha256(b"x").hexdigest()
        assert find_known_payload(file, payload.sha256, [collection]) == payload
        assert find_known_payload(tmp_path / "link/cat/1.png", payload.sha256, [collection]) == payload
        assert find_known_payload(file, other, [collection]) is None
        assert find_known_payload(tmp_path / "cat/1.png", payload.sha256, [collection]) is None


COMPOSED, DECOMPOSED = "Ka\u0308fer/\u00fc1.png", "Ka\u0308fer/u\u03081.png"
"""Of a folder whose name is decomposed, with a file in either form."""


@pytest.mark.parametrize("path", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("behind", ["", "Gro\u0308\u00dfe/", "Gr\u00f6\u00dfe/"])
def test_an_indexed_path_is_found_in_any_unicode_form(
    both_stores: Store, fill: Fill, path: str, form: str, behind: str
) -> None:
    """The typed path and each folder on the disk may be in different normal forms."""
    name = fill(both_stores, {f"Gro\u0308\u00dfe:{path}": [1, 0], "other:1.png": [0, 1]})
    with both_stores.open(name) as collection:
        source = found(behind + unicodedata.normalize(form, path), collection)
    assert [payload.path for payload in source.payloads] == [path]


def test_of_two_paths_in_two_unicode_forms_each_is_found(both_stores: Store, fill: Fill) -> None:
    """A disk may hold both; the typed form is preferred."""
    name = fill(both_stores, {COMPOSED: [1, 0], DECOMPOSED: [0, 1]})
    with both_stores.open(name) as collection:
        for path in (COMPOSED, DECOMPOSED):
            assert found(path, collection).payloads[0].path == path
