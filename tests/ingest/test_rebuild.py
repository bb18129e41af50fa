"""Making a collection anew: the old one serves until the new one is whole."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from exporter import ModelSpec
from ingest.rebuild import RebuildReport, rebuild
from ingest.run import IngestRequest, StopRequest, run_ingest
from ingest.target import Dataset
from lookalike.console import Quiet
from lookalike.errors import CollectionMissingError, ManifestError, UsageError
from lookalike.manifest import Distance
from lookalike.settings import Settings
from lookalike.stores.embedded import EmbeddedStore
from lookalike.stores.points import FloatVector, Payload
from lookalike.stores.protocol import staged_name

PICTURES = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png", "3.png")


class Rebuilds:
    """A home whose one collection holds two datasets."""

    def __init__(self, folder: Path, home: Settings, spec: ModelSpec) -> None:
        self.roots = {"one": folder / "one", "two": folder / "two"}
        self.home, self.spec = home, spec
        self.store = EmbeddedStore(home.qdrant_dir)

    def ingest(self, dataset: str, labels: Mapping[str, str | None]) -> None:
        """Brings one dataset in."""
        request = IngestRequest(
            dataset=Dataset(name=dataset, root=self.roots[dataset]),
            specs=[self.spec],
            distances=[Distance.COSINE],
            labels=labels,
        )
        run_ingest(request, store=self.store, settings=self.home, reporter=Quiet(), stop=StopRequest())

    @property
    def name(self) -> str:
        """Of the one collection."""
        (name,) = self.store.names()
        return name

    def rebuild(self, stop: StopRequest | None = None, reporter: Quiet | None = None) -> RebuildReport:
        """As the command would do it, a picture a batch."""
        return rebuild(
            self.name,
            batch_size=1,
            store=self.store,
            settings=self.home,
            reporter=reporter or Quiet(),
            stop=stop or StopRequest(),
        )

    def age(self) -> None:
        """Makes the collection one of another preprocessing."""
        manifest = self.store.directory / self.name / "manifest.json"
        data = json.loads(manifest.read_text(encoding="utf-8"))
        data["identity"]["preprocessing"] = "squash-nearest-32"
        manifest.write_text(json.dumps(data), encoding="utf-8")

    def stored(self) -> dict[str, tuple[Payload, FloatVector]]:
        """Every point by dataset and path."""
        with self.store.open(self.name) as collection:
            payloads = list(collection.scan())
            vectors = collection.vectors([payload.id for payload in payloads])
        return {f"{p.dataset}:{p.path}": (p, vectors[p.id]) for p in payloads}


@pytest.fixture
def rebuilds(
    tmp_path: Path, home: Settings, tiny_spec: ModelSpec, draw: Callable[..., list[Path]]
) -> Rebuilds:
    """Ten pictures, one of them with a class from a table."""
    one = Rebuilds(tmp_path, home, tiny_spec)
    for seed, (dataset, root) in enumerate(one.roots.items()):
        draw(root, *PICTURES, seed=seed)
        one.ingest(dataset, {"cat/1.png": "tiger"} if dataset == "one" else {})
    return one


def test_a_collection_of_another_version_is_made_anew(rebuilds: Rebuilds) -> None:
    """Ids, classes and datasets are kept, whatever table they came from; afterwards it is this version's."""
    before = rebuilds.stored()
    rebuilds.age()
    with pytest.raises(ManifestError, match=rf"ingest rebuild {rebuilds.name}"):
        rebuilds.ingest("one", {})
    report = rebuilds.rebuild()
    assert (report.points, report.gone, report.embedded, report.interrupted) == (10, 0, 10, False)
    after = rebuilds.stored()
    assert after.keys() == before.keys()
    for key, (payload, vector) in after.items():
        assert payload.class_name == before[key][0].class_name
        np.testing.assert_array_equal(vector, before[key][1])
    manifest = rebuilds.store.manifest(rebuilds.name)
    assert manifest.datasets == {name: str(root) for name, root in rebuilds.roots.items()}
    assert not list(rebuilds.store.directory.glob(".*"))
    rebuilds.ingest("one", {"cat/1.png": "tiger"})


class StoppingLater(Quiet):
    """Asks to stop once so many pictures have been written, and counts on."""

    def __init__(self, stop: StopRequest, after: int) -> None:
        self.stop, self.left = stop, after

    def advance(self, done: int, *, skipped: int = 0) -> None:  # noqa: ARG002
        """A batch is done."""
        self.left -= done
        self.stop.requested = self.left <= 0


@pytest.mark.parametrize("after", [1, 5, 7])
def test_an_interrupted_rebuild_goes_on(rebuilds: Rebuilds, after: int) -> None:
    """Meanwhile the old collection is as it was; no picture is embedded twice."""
    rebuilds.age()
    before, manifest = rebuilds.stored(), rebuilds.store.manifest(rebuilds.name)
    stop = StopRequest()
    first = rebuilds.rebuild(stop, StoppingLater(stop, after))
    assert (first.interrupted, first.embedded) == (True, after)
    assert rebuilds.store.manifest(rebuilds.name) == manifest
    assert {key: payload for key, (payload, _) in rebuilds.stored().items()} == {
        key: payload for key, (payload, _) in before.items()
    }
    second = rebuilds.rebuild()
    assert (second.interrupted, second.embedded, second.points) == (False, 10 - after, 10)
    assert rebuilds.store.manifest(rebuilds.name).identity != manifest.identity


def test_what_was_staged_for_another_space_is_staged_anew(rebuilds: Rebuilds) -> None:
    """An upgrade came between the two calls."""
    stop = StopRequest()
    rebuilds.rebuild(stop, StoppingLater(stop, 2))
    manifest = rebuilds.store.directory / staged_name(rebuilds.name) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"preprocessing": "', '"preprocessing": "old-'))
    assert rebuilds.rebuild().embedded == 10


def test_pictures_that_are_gone_are_counted(rebuilds: Rebuilds) -> None:
    """They cannot be embedded again, and that is said."""
    (rebuilds.roots["one"] / "cat/1.png").unlink()
    report = rebuilds.rebuild()
    assert (report.points, report.gone) == (9, 1)


def test_a_folder_that_is_not_there_stops_before_anything_is_done(rebuilds: Rebuilds) -> None:
    """A disk that is not mounted must cost nothing."""
    shutil.move(rebuilds.roots["two"], rebuilds.roots["two"].with_name("away"))
    with pytest.raises(UsageError, match=r"dataset two of .*which is not there; mount it"):
        rebuilds.rebuild()
    assert len(rebuilds.stored()) == 10
    assert staged_name(rebuilds.name) not in rebuilds.store


def test_an_emptied_folder_stops_it_too(rebuilds: Rebuilds) -> None:
    """The old collection keeps what it has."""
    shutil.rmtree(rebuilds.roots["two"])
    rebuilds.roots["two"].mkdir()
    with pytest.raises(UsageError, match="holds no pictures"):
        rebuilds.rebuild()
    assert len(rebuilds.stored()) == 10


def test_a_collection_that_is_not_there(rebuilds: Rebuilds) -> None:
    """Nothing is made in its place."""
    with pytest.raises(CollectionMissingError):
        rebuild("none", store=rebuilds.store, settings=rebuilds.home, reporter=Quiet(), stop=StopRequest())
    assert "none" not in rebuilds.store
