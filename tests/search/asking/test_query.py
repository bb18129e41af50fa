"""Queries of a real collection: drawn images, a small real model, Qdrant's own engine."""

import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import (
    CollectionMissingError,
    ImageError,
    ManifestError,
    SkipReason,
    UsageError,
    WeightsError,
)
from lookalike_core.images.decoding import MAX_PIXELS, decode
from lookalike_core.models.embedder import BATCH_SIZE, SMALL_JOB, Embedder
from lookalike_core.models.providers import CPU
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.points import PointFilter, SearchHit, point_id
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from lookalike_search.asking.answers import Answer, QueryOptions
from lookalike_search.asking.examples import Example
from lookalike_search.asking.query import Searcher
from lookalike_search.asking.query_batch import answer_all
from lookalike_search.asking.query_sources import Source
from one_answer import answer_of
from PIL import Image
from refusals import refuses

SCORE_TOLERANCE = 1e-3
"""On the score of an image with itself: Qdrant squares and adds up float32."""

IMAGES = ("1.png", "cat/1.png", "cat/2.png", "cat/3.png", "dog/1.png", "dog/2.png")

Draw = Callable[..., list[Path]]


@dataclass(frozen=True, kw_only=True)
class Library:
    """Ingested images in `root`, with a home in `home`."""

    root: Path
    home: Settings

    def ingest(
        self,
        spec: ModelSpec,
        root: Path | None = None,
        *,
        dataset: str = "data",
        distances: Sequence[Distance] = (Distance.COSINE,),
    ) -> None:
        """Ingests a folder."""
        request = IngestRequest(
            dataset=Dataset(name=dataset, root=root or self.root), specs=[spec], distances=distances
        )
        run_ingest(request, store=self.store, settings=self.home, stop=StopRequest())

    @property
    def store(self) -> EmbeddedStore:
        """The store of the collections."""
        return EmbeddedStore(self.home.qdrant_dir)

    def name(self, distance: Distance = Distance.COSINE) -> str:
        """Returns the name of the collection of this distance."""
        [name] = [name for name in self.store.names() if name.endswith(distance)]
        return name

    def opened(self, distance: Distance = Distance.COSINE) -> AbstractContextManager[Searcher]:
        """Returns a searcher for a `with` block."""
        name = self.name(distance)
        return Searcher.opened(name, store=self.store, settings=self.home)

    def ask(self, path: str) -> Answer:
        """Opens the cosine collection and returns its answer to a file below the root."""
        with self.opened() as searcher:
            return ask(searcher, str(self.root / path), QueryOptions())

    def only_model(self) -> Path:
        """Returns the only model file."""
        [model] = self.home.models_dir.glob("*.onnx")
        return model

    def scores(self, query: Path, files: list[Path], distance: Distance) -> list[float]:
        """Returns the expected score of each file, computed from the images."""
        embedder = Embedder.load(self.only_model(), provider="cpu")
        one, *others = embedder.embed(
            [decode(io.BytesIO(f.read_bytes()), f.name).pixels for f in [query, *files]]
        )
        if distance is Distance.EUCLID:
            return [float(np.linalg.norm(one - each)) for each in others]
        return [float(one @ each / np.linalg.norm(one) / np.linalg.norm(each)) for each in others]


@pytest.fixture(scope="module")
def library(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Library:
    """Returns seven images, two of them equal and one of another dataset; tests do not change them."""
    folder = tmp_path_factory.mktemp("library")
    draw(folder / "data", *IMAGES)
    draw(folder / "more", "cat/9.png")
    (folder / "data" / "copy").mkdir()
    (folder / "data" / "copy" / "1.png").write_bytes((folder / "data" / "cat" / "1.png").read_bytes())
    library = Library(root=folder / "data", home=Settings(home=folder / "home", provider="cpu"))
    spec = ModelSpec.of("vgg", layer="block1_conv1", weights=str(tiny_weights))
    library.ingest(spec, distances=list(Distance))
    library.ingest(spec, folder / "more", dataset="more", distances=list(Distance))
    return library


@pytest.fixture
def searcher(library: Library) -> Iterator[Searcher]:
    """Yields a searcher of the cosine collection."""
    with library.opened() as searcher:
        yield searcher


@pytest.fixture
def own_library(tmp_path: Path, home: Settings, draw: Draw) -> Library:
    """Returns two images that are not ingested yet, for tests that change files."""
    draw(tmp_path / "data", "cat/1.png", "dog/1.png")
    return Library(root=tmp_path / "data", home=home)


def ask(searcher: Searcher, name: Any, options: QueryOptions) -> Answer:
    """Returns the answer to the single image of a name."""
    return answer_of(searcher, name, options)


def answers_of(searcher: Searcher, *queries: str) -> list[Answer]:
    """Returns the answers of one batch."""
    return [
        outcome for outcome in answer_all(searcher, queries, QueryOptions()) if isinstance(outcome, Answer)
    ]


def one_of(read: Example | ImageError) -> Example:
    """Returns a readable image."""
    assert isinstance(read, Example)
    return read


def paths(answer: Answer) -> list[str]:
    """Returns the paths of the neighbours, best first, with a dataset other than `data`."""
    payloads = [hit.payload for hit in answer.hits]
    return [p.path if p.dataset == "data" else f"{p.dataset}:{p.path}" for p in payloads]


@pytest.mark.parametrize(("distance", "score"), [(Distance.COSINE, 1.0), (Distance.EUCLID, 0.0)])
def test_an_image_is_its_own_nearest_neighbour(library: Library, distance: Distance, score: float) -> None:
    """With `include_self` it is found at similarity 1 or distance 0."""
    with library.opened(distance) as searcher:
        answer = ask(searcher, str(library.root / "dog/1.png"), QueryOptions(include_self=True))
    assert paths(answer)[0] == "dog/1.png"
    assert answer.hits[0].score == pytest.approx(score, abs=SCORE_TOLERANCE)


def test_the_query_and_its_exact_duplicates_are_no_neighbours(library: Library, searcher: Searcher) -> None:
    """Without `include_self` the rest of the ranking stays the same."""
    query = str(library.root / "cat/1.png")
    everything = paths(ask(searcher, query, QueryOptions(include_self=True)))
    others = paths(ask(searcher, query, QueryOptions()))
    assert set(everything[:2]) == {"cat/1.png", "copy/1.png"}
    assert others == everything[2:]
    assert len(others) == 6


@pytest.mark.parametrize("distance", Distance)
def test_neighbours_are_ordered_by_their_vectors(
    library: Library, tmp_path: Path, draw: Draw, distance: Distance
) -> None:
    """For an image that is not indexed the order equals one computed without Qdrant."""
    [query] = draw(tmp_path, "query.png", seed=5)
    with library.opened(distance) as searcher:
        answer = ask(searcher, str(query), QueryOptions())
    assert len(answer.hits) == 8
    files = [library.root.parent / hit.payload.dataset / hit.payload.path for hit in answer.hits]
    scores = library.scores(query, files, distance)
    assert scores == sorted(scores, reverse=distance.higher_is_nearer)
    np.testing.assert_allclose([hit.score for hit in answer.hits], scores, atol=SCORE_TOLERANCE)


@pytest.mark.parametrize("exact", [False, True])
def test_exact_is_passed_to_the_store(
    library: Library, searcher: Searcher, monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    """A collection this small gives the same hits either way, so the calls are compared."""
    asked: list[bool] = []
    query = EmbeddedCollection.query

    def remembered(collection: EmbeddedCollection, *arguments: Any, **options: Any) -> list[SearchHit]:
        asked.append(options["exact"])
        return query(collection, *arguments, **options)

    monkeypatch.setattr(EmbeddedCollection, "query", remembered)
    ask(searcher, str(library.root / "dog/1.png"), QueryOptions(exact=exact))
    assert set(asked) == {exact}


def test_limit_bounds_the_neighbours(library: Library, searcher: Searcher) -> None:
    """The nearest are returned."""
    query = str(library.root / "dog/1.png")
    assert (
        paths(ask(searcher, query, QueryOptions(limit=3))) == paths(ask(searcher, query, QueryOptions()))[:3]
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            QueryOptions(where=PointFilter(classes=frozenset({"cat"}))),
            {"cat/1.png", "cat/2.png", "cat/3.png", "more:cat/9.png"},
        ),
        (
            QueryOptions(where=PointFilter(classes=frozenset({"cat"}), dataset="data")),
            {"cat/1.png", "cat/2.png", "cat/3.png"},
        ),
        (QueryOptions(where=PointFilter(classes=frozenset({""}))), {"1.png"}),
        (QueryOptions(where=PointFilter(dataset="more")), {"more:cat/9.png"}),
        (QueryOptions(where=PointFilter(classes=frozenset({"dog"}))), {"dog/2.png"}),
        (QueryOptions(where=PointFilter(classes=frozenset({"dog"}), dataset="more")), set()),
    ],
    ids=["class", "class-and-dataset", "no-class", "dataset", "class-of-its-own", "neither"],
)
def test_class_and_dataset_filter_neighbours(
    library: Library, searcher: Searcher, options: QueryOptions, expected: set[str]
) -> None:
    """All images that fit are found, without exact duplicates of the query."""
    answer = ask(searcher, str(library.root / "dog/1.png"), options)
    assert set(paths(answer)) == expected
    assert len(answer.hits) == len(expected)


def test_an_unreadable_query_does_not_stop_the_next_one(
    library: Library, searcher: Searcher, tmp_path: Path
) -> None:
    """One searcher answers several queries; the error names the image and the reason."""
    (tmp_path / "note.jpg").write_text("hello", encoding="utf-8")
    with pytest.raises(ImageError, match=r"note\.jpg is not an image") as refused:
        ask(searcher, str(tmp_path / "note.jpg"), QueryOptions())
    assert refused.value.reason is SkipReason.NOT_AN_IMAGE
    with pytest.raises(ImageError, match=r"gone\.jpg does not exist, and no image of"):
        ask(searcher, str(tmp_path / "gone.jpg"), QueryOptions())
    assert len(ask(searcher, str(library.root / "dog/1.png"), QueryOptions()).hits) == 7


def test_several_queries_share_one_session(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first answer shows the loading time."""
    loaded: list[Path] = []
    load = Embedder.load

    def counted(path: Path, **options: Any) -> Embedder:
        loaded.append(path)
        return load(path, **options)

    monkeypatch.setattr(Embedder, "load", counted)
    queries = [str(library.root / "dog/1.png")] * 3
    with library.opened() as searcher:
        answers = answers_of(searcher, *queries)
    assert len(loaded) == 1
    assert answers[0].load_ms > 0
    assert [answer.load_ms for answer in answers[1:]] == [0, 0]
    assert all(answer.embed_ms > 0 and answer.search_ms > 0 for answer in answers)


def test_queries_are_embedded_in_batches(
    library: Library, tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers are in order, indexed and unreadable queries included, and equal those of single queries."""
    files = draw(tmp_path, *(f"{number:02}.png" for number in range(BATCH_SIZE + 3)), seed=5)
    names = [*(str(file) for file in files), "cat/1.png"]
    names[3:3] = [str(tmp_path / "gone.png")]
    sizes: list[int] = []
    embed = Embedder.embed
    monkeypatch.setattr(Embedder, "embed", lambda one, p: (sizes.append(len(p)), embed(one, p))[1])
    with library.opened() as searcher:
        sources = [source for name in names for source in searcher.find(name)]
        read = list(searcher.read_all(sources, max_pixels=MAX_PIXELS))
        alone = ask(searcher, names[-2], QueryOptions())
        together = searcher.answer(one_of(read[-2]), QueryOptions())
    assert sizes == [BATCH_SIZE - 1, 4, 1]
    assert isinstance(read[3], ImageError)
    assert [one_of(each).name for each in read if each is not read[3]] == names[:3] + names[4:]
    assert (one_of(read[-1]).provider, one_of(read[0]).provider) == (None, CPU)
    assert paths(together) == paths(alone)
    assert [hit.score for hit in together.hits] == pytest.approx([hit.score for hit in alone.hits], abs=1e-6)


def test_look_ahead_is_bounded(library: Library, searcher: Searcher, draw: Draw, tmp_path: Path) -> None:
    """A folder of a million images does not have to fit into memory."""
    [file] = draw(tmp_path, "1.png")
    taken: list[Source] = []
    endless = (taken.append(source) or source for source in repeat(Source(name="1", file=file)))
    assert next(iter(searcher.read_all(endless, max_pixels=MAX_PIXELS)))
    assert BATCH_SIZE <= len(taken) <= 3 * BATCH_SIZE


def test_a_slowly_starting_provider_is_used_for_many_images_only(
    library: Library, tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image is embedded on the CPU before such a provider has started; a folder is worth the start."""
    files = draw(tmp_path, *(f"{number:02}.png" for number in range(SMALL_JOB + 1)), seed=5)
    asked: list[bool] = []
    load = Embedder.load

    def noted(path: Path, *, is_small_job: bool, **options: Any) -> Embedder:
        asked.append(is_small_job)
        return load(path, **options)

    monkeypatch.setattr(Embedder, "load", noted)
    with library.opened() as searcher:
        for folder in (files[:1], files, files[:1]):
            sources = [source for file in folder for source in searcher.find(str(file))]
            assert len(list(searcher.read_all(sources, max_pixels=MAX_PIXELS))) == len(folder)
    assert asked == [True, False]


def test_an_indexed_image_needs_no_model(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stored vector is used, and gives the same neighbours as its file."""
    by_file = library.ask("dog/1.png")
    monkeypatch.setattr(Embedder, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    with library.opened() as searcher:
        by_path = ask(searcher, "dog/1.png", QueryOptions())
        assert by_path.indexed is not None
        by_id = ask(searcher, by_path.indexed.id, QueryOptions())
    assert paths(by_path) == paths(by_id) == paths(by_file)
    assert by_path.provider is None
    assert by_path.file == library.root / "dog/1.png"
    assert by_path.class_name == "dog"


def test_a_model_is_loaded_when_the_first_file_is_embedded(library: Library, searcher: Searcher) -> None:
    """That answer shows the loading time; indexed images need no model."""
    open_ms = searcher.load_ms
    assert ask(searcher, "dog/1.png", QueryOptions()).load_ms == open_ms
    later = ask(searcher, str(library.root / "dog/1.png"), QueryOptions())
    assert later.provider == CPU
    assert later.load_ms == searcher.load_ms > open_ms


def test_the_class_of_a_file_in_an_ingested_folder_is_known(
    library: Library, searcher: Searcher, tmp_path: Path, draw: Draw
) -> None:
    """A page can mark right neighbours; an image from elsewhere has no class."""
    [elsewhere] = draw(tmp_path, "cat/query.png", seed=9)
    assert ask(searcher, str(library.root / "dog/1.png"), QueryOptions()).class_name == "dog"
    assert ask(searcher, str(library.root / "1.png"), QueryOptions()).class_name is None
    assert ask(searcher, str(elsewhere), QueryOptions()).indexed is None


def test_an_image_is_decoded_once_for_all_networks(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network embeds the same pixels."""
    decoded: list[str] = []
    embedded: list[int] = []
    embed = Embedder.embed
    monkeypatch.setattr(
        "lookalike_search.asking.examples.decode",
        lambda s, name, **kw: (decoded.append(name), decode(s, name, **kw))[1],
    )
    monkeypatch.setattr(Embedder, "embed", lambda one, p: (embedded.append(1), embed(one, p))[1])
    names = [library.name(distance) for distance in Distance]
    with Searcher.opened(*names, store=library.store, settings=library.home) as searcher:
        answer = ask(searcher, str(library.root / "dog/1.png"), QueryOptions())
    assert (len(decoded), len(embedded)) == (1, 2)
    assert len(answer.hits) == 7
    assert answer.provider == CPU


def test_examples_change_the_scores_and_are_no_hits(library: Library, searcher: Searcher) -> None:
    """The scores equal those of the combined vector, computed by numpy."""
    queries = [str(library.root / path) for path in ("cat/1.png", "cat/2.png", "dog/1.png")]
    sources = [source for query in queries for source in searcher.find(query)]
    read = [one_of(each) for each in searcher.read_all(sources, max_pixels=MAX_PIXELS)]
    answer = answer_of(searcher, queries[0], QueryOptions(), positives=queries[1:2], negatives=queries[2:])
    assert set(paths(answer)) == {"1.png", "cat/3.png", "dog/2.png", "more:cat/9.png"}
    one, two, three = (each.vectors[0] / np.linalg.norm(each.vectors[0]) for each in read)
    wanted = one + two - three
    stored = searcher.networks[0].collection.vectors([hit.payload.id for hit in answer.hits])
    for hit in answer.hits:
        score = stored[hit.payload.id] @ wanted / np.linalg.norm(wanted)
        assert hit.score == pytest.approx(score, abs=SCORE_TOLERANCE)


def test_examples_that_cancel_out_are_refused(library: Library) -> None:
    """The message says which options to change."""
    with library.opened(Distance.EUCLID) as searcher:
        [stored] = searcher.networks[0].collection.vectors([id_ := point_id("data", "cat/1.png")]).values()
        with refuses(ImageError, match="leave one of --and or --not out"):
            answer_of(searcher, id_, QueryOptions(), negatives=[2 * stored])


def test_the_first_answer_shows_the_loading_time_though_a_query_before_it_fails(
    library: Library, tmp_path: Path
) -> None:
    """The failed query has no answer that could show it."""
    with library.opened() as searcher:
        queries = [str(tmp_path / "gone.jpg"), *[str(library.root / "dog/1.png")] * 2]
        first, second = answers_of(searcher, *queries)
    assert first.load_ms > 0
    assert second.load_ms == 0


@pytest.mark.parametrize(
    "given",
    [
        Path.read_bytes,
        lambda file: io.BytesIO(file.read_bytes()),
        lambda file: file.open("rb"),
        Image.open,
        lambda file: np.asarray(Image.open(file).convert("RGB")),
        lambda file: file,
    ],
    ids=["bytes", "stream", "file", "image", "array", "path"],
)
def test_an_image_in_memory_has_the_answer_of_its_file(
    library: Library, searcher: Searcher, given: Callable[[Path], Any]
) -> None:
    """This holds for each type of query; `include_self` is set, since pixels have no hash to leave out."""
    file = library.root / "dog/1.png"
    options = QueryOptions(include_self=True)
    named = ask(searcher, str(file), options)
    query = given(file)
    answer = ask(searcher, query, options)
    assert [(hit.rank, hit.score, hit.payload.id) for hit in answer.hits] == [
        (hit.rank, hit.score, hit.payload.id) for hit in named.hits
    ]
    if hasattr(query, "close"):
        query.close()


def test_exact_duplicates_of_bytes_in_memory_are_left_out(library: Library, searcher: Searcher) -> None:
    """Pixels have no hash, so the indexed image is their nearest neighbour."""
    file = library.root / "dog/1.png"
    assert paths(ask(searcher, file.read_bytes(), QueryOptions())) == paths(
        ask(searcher, str(file), QueryOptions())
    )
    with Image.open(file) as image:
        assert paths(ask(searcher, image, QueryOptions()))[0] == "dog/1.png"


def test_a_stream_is_read_from_its_beginning(library: Library, searcher: Searcher) -> None:
    """Its position is at the end, as after a write; Pillow rewinds, too."""
    stream = io.BytesIO()
    stream.write((library.root / "dog/1.png").read_bytes())
    assert ask(searcher, stream, QueryOptions()).query == "<file>"


def test_a_feature_vector_is_searched_with_unchanged(searcher: Searcher) -> None:
    """No model is loaded; float64 is accepted; a zero or non-finite vector has a problem."""
    [source] = searcher.find("dog/2.png")
    vector = searcher.networks[0].stored_vector(source.id or "")
    assert vector is not None
    answer = ask(searcher, vector.astype(np.float64), QueryOptions())
    assert (answer.hits[0].payload.path, answer.provider) == ("dog/2.png", None)
    [nothing] = searcher.find(np.zeros_like(vector))
    assert nothing.problem is not None
    assert nothing.problem.reason is SkipReason.NO_EMBEDDING


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"an array of uint8 \[4, 4\] is no image"),
        (np.zeros((4, 4, 4), np.uint8), "no image and no feature vector"),
        (np.zeros((4, 4, 3), np.float32), "no image and no feature vector"),
        (np.ones(3, np.float32), "the vector has 3 values; those of vgg16"),
        (io.StringIO("text"), "StringIO cannot be a query"),
        (7, "int cannot be a query"),
    ],
    ids=["grey", "four-channels", "float-image", "short-vector", "text", "number"],
)
def test_objects_of_other_types_are_refused(searcher: Searcher, query: Any, message: str) -> None:
    """The message names the given and the accepted types."""
    with pytest.raises(UsageError, match=message):
        searcher.find(query)


def test_an_array_without_pixels_has_a_problem(searcher: Searcher) -> None:
    """Other queries of the same call are answered, as beside an empty file."""
    [source] = searcher.find(np.zeros((0, 4, 3), np.uint8))
    assert source.problem is not None
    assert source.problem.reason is SkipReason.EMPTY


class Endless(io.BytesIO):
    """An endless stream of zeros."""

    def read(self, size: int | None = -1) -> bytes:
        """Returns as many bytes as requested."""
        return bytes(size or 0)


def test_a_stream_over_the_memory_limit_is_refused(searcher: Searcher) -> None:
    """It counts as an unreadable image; other queries of the same call are answered."""
    [read] = searcher.read_all(searcher.find(Endless()), max_pixels=MAX_PIXELS)
    assert isinstance(read, ImageError)
    assert read.reason is SkipReason.TOO_LARGE


def test_a_file_whose_name_begins_with_a_tilde_is_found(
    library: Library, searcher: Searcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~copy` is not a user's home; `~/` is still expanded."""
    image = (library.root / "dog/1.png").read_bytes()
    (tmp_path / "~copy of dog.png").write_bytes(image)
    (tmp_path / "dog.png").write_bytes(image)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for query in ("~copy of dog.png", "~/dog.png"):
        assert len(ask(searcher, query, QueryOptions()).hits) == 7


def test_the_provider_is_read_back_from_the_session(library: Library, searcher: Searcher) -> None:
    """`--json` shows it."""
    assert ask(searcher, str(library.root / "dog/1.png"), QueryOptions()).provider == CPU


def test_opening_a_missing_collection_fails(library: Library) -> None:
    """The error names the collection."""
    with (
        pytest.raises(CollectionMissingError, match="vgg16-cosine"),
        Searcher.opened("vgg16-cosine", store=library.store, settings=library.home),
    ):
        pytest.fail("it was opened")


def test_a_model_that_is_gone_is_exported_again(
    own_library: Library, tiny_spec: ModelSpec, said: list[str]
) -> None:
    """It is exported from the weights of the collection, and a message says so."""
    own_library.ingest(tiny_spec)
    shutil.rmtree(own_library.home.models_dir)
    said.clear()
    with own_library.opened() as searcher:
        answer = ask(searcher, str(own_library.root / "cat/1.png"), QueryOptions(include_self=True))
    assert paths(answer)[0] == "cat/1.png"
    assert any("again" in line and tiny_spec.weights in line for line in said)
    assert list(own_library.home.models_dir.glob("*.onnx")) != []


def test_weights_that_changed_are_refused(
    own_library: Library, tmp_path: Path, write_weights: Callable[..., Path]
) -> None:
    """Their vectors are of another embedding space than the stored ones; the message names both."""
    weights = write_weights(tmp_path / "own.h5", seed=1)
    own_library.ingest(ModelSpec.of("vgg", layer="block1_conv1", weights=str(weights)))
    model = own_library.only_model()
    write_weights(weights, seed=2)
    assert len(own_library.ask("cat/1.png").hits) == 1, "the model that is there still serves"
    model.unlink()
    with pytest.raises(ManifestError, match=r"weights_fingerprint was \w{64} and is \w{64}.*Restore the old"):
        own_library.ask("cat/1.png")


def test_missing_weights_are_named_by_their_path(
    own_library: Library, tmp_path: Path, write_weights: Callable[..., Path]
) -> None:
    """They are needed where the exported model is gone, too."""
    weights = write_weights(tmp_path / "own.h5")
    own_library.ingest(ModelSpec.of("vgg", layer="block1_conv1", weights=str(weights)))
    weights.unlink()
    own_library.only_model().unlink()
    with pytest.raises(WeightsError, match=r"own\.h5"):
        own_library.ask("cat/1.png")


def test_a_query_with_a_zero_vector_is_refused(
    own_library: Library, tmp_path: Path, write_weights: Callable[..., Path]
) -> None:
    """A zero vector has no nearest neighbours, but Qdrant returns some all the same.

    The kernels add up what is brighter than the mean colour, which in a black image is nothing.
    """
    weights = write_weights(tmp_path / "bright.h5", kernel=1.0)
    Image.new("RGB", (9, 9), "white").save(own_library.root / "white.png")
    Image.new("RGB", (9, 9), "black").save(tmp_path / "black.png")
    own_library.ingest(ModelSpec.of("vgg", layer="block1_conv1", weights=str(weights)))
    with pytest.raises(ImageError, match=r"black\.png has no embedding") as refused:
        own_library.ask("../black.png")
    assert refused.value.reason is SkipReason.NO_EMBEDDING


def test_the_notice_of_an_idle_gpu_is_logged(
    library: Library, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """A warning comes before the line that names the provider."""
    load = Embedder.load

    def noticing(path: Path, **options: Any) -> Embedder:
        embedder = load(path, **options)
        embedder.notice = "a GPU is not in use"
        return embedder

    monkeypatch.setattr(Embedder, "load", noticing)
    said.clear()
    with library.opened() as searcher:
        ask(searcher, str(library.root / "dog/1.png"), QueryOptions())
    assert said == ["a GPU is not in use", "vgg16 runs on CPUExecutionProvider"]
