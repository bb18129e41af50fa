"""Tests the main path on every available execution provider, and a collection shared by two of them.

What they do is compared with the processor alone, which all other tests name. `auto` takes OpenVINO's plugin
where the processor computes in bfloat16. Few machines have such a one, and so a stand-in for it is always
there: see `support/bfloat16`.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.models.providers import CPU, CUDA, OPENVINO, has_cuda_driver, has_openvino, load_runtime
from lookalike_core.stores.embedded import EmbeddedStore
from PIL import Image

STAND_IN = Path(__file__).parents[1] / "support" / "bfloat16"
VICTIM = Path(__file__).parents[1] / "torture" / "victim.py"

CLASSES = ("ant", "bee", "cow")
IN_CLASS = 12

ROUNDING = 2.0**-8
"""The largest relative change by rounding to bfloat16: numbers of 8 bits of
significand are up to 2**-7 apart, and the nearer one is taken."""

ANGLE = 4 * ROUNDING
"""Radians by which four roundings turn an embedding at most: of pixels, kernels, activations and
embedding. Sums of mixed signs could lose more, and averages over cells lose much less. CUDA's TF32 has three
bits more, and sums of float32 in another order differ far less."""

SAME = np.cos(ANGLE)
"""The lowest cosine between the embeddings of an image on two providers."""

EXACT = 1e-5
"""Tolerance between two computations from the same stored embeddings, in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A shell whose commands run on one provider, beside `images/` and the collections filled there."""

    shell: Any
    provider: str
    report: dict[str, Any]

    @property
    def collection(self) -> str:
        """Returns the name of the collection that compares by cosine."""
        [name] = [each["name"] for each in self.report["collections"] if each["name"].endswith("cosine")]
        return str(name)

    def vectors(self, home: Path | None = None) -> dict[str, np.ndarray]:
        """Returns path -> stored embedding, of this home or of another."""
        store = EmbeddedStore((home or self.shell.folder / "home") / "qdrant")
        with store.open(self.collection) as collection:
            ids = {payload.id: payload.path for payload in collection.scan()}
            return {ids[key]: vector for key, vector in collection.vectors(list(ids)).items()}


VARIABLES = {
    "cuda": {"LOOKALIKE_PROVIDER": "cuda"},
    "openvino": {"LOOKALIKE_PROVIDER": "openvino"},
    "bfloat16": {"LOOKALIKE_PROVIDER": "auto", "PYTHONPATH": str(STAND_IN), "CUDA_VISIBLE_DEVICES": "-1"},
}
"""Name -> environment of its commands; with the last one, `auto` finds the stand-in."""

RUNS_ON = {"cpu": CPU, "cuda": CUDA, "openvino": OPENVINO, "bfloat16": OPENVINO}


def make_filled_place(shell: Any, name: str) -> Place:
    """Draws the images and ingests them on a provider, with both distances."""
    shell.environment.update(VARIABLES.get(name, {}))
    for number, label in enumerate(CLASSES):
        for image in range(IN_CLASS):
            draw_noise(shell.folder / "pictures" / label / f"{image:02}.png", number, image)
    draw_noise(shell.folder / "query.png", 1, 99)
    done = shell.ingest("pictures", "--distance", "cosine", "--distance", "euclid", "--json")
    assert done.code == 0, done.err
    return Place(shell=shell, provider=RUNS_ON[name], report=done.json[0])


def draw_noise(path: Path, number: int, image: int) -> None:
    """Draws noise around a colour of its class."""
    random = np.random.default_rng(100 * number + image)
    pixels = random.integers(0, 120, (48, 48, 3))
    pixels[..., number] += random.integers(20, 130)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def processor(make_shell: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Ingests on the CPU alone, in fp32: the reference for the other providers."""
    return make_filled_place(make_shell(tmp_path_factory.mktemp("processor")), "cpu")


@pytest.fixture(scope="module", params=list(VARIABLES))
def place(
    request: pytest.FixtureRequest,
    make_shell: Callable[[Path], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Place:
    """Ingests on each available provider in turn."""
    name = request.param
    if name == "openvino" and not has_openvino():
        pytest.skip("OpenVINO's plugin is not installed, or does not support this processor")
    if name == "cuda" and not (has_cuda_driver() and CUDA in load_runtime().get_available_providers()):
        pytest.skip("CUDA is not available")
    return make_filled_place(make_shell(tmp_path_factory.mktemp(name)), name)


def test_embeddings_agree_with_those_of_the_cpu(place: Place, processor: Place) -> None:
    """They agree within the provider's rounding, and the manifest records the provider."""
    assert {each["provider"] for each in place.report["collections"]} == {place.provider}
    status = place.shell("ingest", "status", "--json").json[0]
    assert {each["manifest"]["provider"] for each in status["collections"]} == {place.provider}
    there, here = place.vectors(), processor.vectors()
    assert there.keys() == here.keys()
    assert len(there) == len(CLASSES) * IN_CLASS
    assert min(cosine(there[path], here[path]) for path in here) >= SAME


def test_the_stand_in_rounds_to_bfloat16(make_shell: Any, processor: Place, tmp_path: Path) -> None:
    """Every stored value of raw vectors is a bfloat16 number, and differs from that of fp32."""
    there = make_filled_place(make_shell(tmp_path), "bfloat16")
    vectors = there.vectors(), processor.vectors()
    assert max(float(np.abs(vectors[0][path] - vectors[1][path]).max()) for path in vectors[0]) > 1e-4
    with EmbeddedStore(tmp_path / "home" / "qdrant").open(
        there.collection.replace("cosine", "euclid")
    ) as raw:
        stored = np.stack(list(raw.vectors([payload.id for payload in raw.scan()]).values()))
    assert not (stored.view(np.uint32) & 0xFFFF).any()


def test_a_query_agrees_with_the_cpu(place: Place, processor: Place) -> None:
    """The ten hits are the same up to exchanges by rounding, and scores differ as little as embeddings do."""
    words = ["search", "query", "query.png", "--collection", place.collection, "--json"]
    ours = place.shell(*words).json[0]["hits"]
    theirs = processor.shell(*words, "--limit", "36").json[0]["hits"]
    score = {hit["path"]: hit["score"] for hit in theirs}
    assert len(ours) == 10
    assert all(hit["score"] == pytest.approx(score[hit["path"]], abs=ANGLE) for hit in ours)
    assert min(score[hit["path"]] for hit in ours) >= theirs[9]["score"] - 2 * ANGLE
    assert {hit["class"] for hit in ours[:5]} == {hit["class"] for hit in theirs[:5]}


def test_an_indexed_image_finds_itself(place: Place) -> None:
    """Given as a file, it is embedded again, perhaps on another provider, since it is a single image."""
    words = ["pictures/bee/03.png", "--collection", place.collection, "--json"]
    [answer] = place.shell("search", "query", *words, "--include-self").json
    first = answer["hits"][0]
    assert (first["path"], first["score"]) == ("bee/03.png", pytest.approx(1, abs=ANGLE**2 / 2 + EXACT))
    [answer] = place.shell("search", "query", *words).json
    assert "bee/03.png" not in {hit["path"] for hit in answer["hits"]}


@pytest.mark.parametrize(
    ("query", "distance"), [("query.png", "cosine"), ("query.png", "euclid"), ("bee/03.png", "cosine")]
)
@pytest.mark.parametrize("asked_on", ["cpu", "itself"])
def test_shares_sum_to_the_score_on_every_provider(
    place: Place, query: str, asked_on: str, distance: str
) -> None:
    """The score is the query's own up to float32's last digits; providers of both vectors are named."""
    provider = {OPENVINO: "openvino", CUDA: "cuda"}[place.provider] if asked_on == "itself" else asked_on
    words = ["--distance", distance, "--json", "--provider", provider]
    hit = place.shell("search", "query", query, *words).json[0]["hits"][2]
    done = place.shell("search", "explain", query, hit["path"], *words)
    assert done.code == 0, done.err
    [found] = done.json
    assert found["score"] == pytest.approx(hit["score"], rel=EXACT)
    total = found["cosine"] if distance == "euclid" else hit["score"]
    for side in ("query_shares", "neighbour_shares"):
        assert np.sum(found[side]) == pytest.approx(total, abs=EXACT)
    assert found["filled_on"] == place.provider
    assert found["provider"] == RUNS_ON[provider]
    assert (found["query_vector"], found["neighbour_vector"]) == (
        "computed" if query == "query.png" else "stored",
        "stored",
    )
    assert SAME <= found["agreement"] <= 1 + EXACT


def test_shares_sum_to_the_score_of_int8_models_and_quantized_vectors(
    place: Place, make_shell: Callable[[Path], Any], tmp_path: Path
) -> None:
    """The score is computed from whole vectors, whatever quantized vectors the search used."""
    shell = make_shell(tmp_path)
    images = str(place.shell.folder / "pictures")
    model = ["--backbone", "vgg", "--layer", "block1_conv2", "--weights", str(shell.weights)]
    fewer_bits = ["--precision", "int8", "--quantize", "int8"]
    there = place.shell.environment | {"LOOKALIKE_HOME": shell.environment["LOOKALIKE_HOME"]}
    done = shell("ingest", "run", images, *model, *fewer_bits, "--json", **there)
    assert done.code == 0, done.err
    assert done.json[0]["collections"][0]["provider"] == place.provider
    query = str(place.shell.folder / "query.png")
    hit = shell("search", "query", query, "--json").json[0]["hits"][0]
    done = shell("search", "explain", query, hit["path"], "--json")
    assert done.code == 0, done.err
    [found] = done.json
    assert (found["filled_on"], found["provider"]) == (place.provider, CPU)
    for side in ("query_shares", "neighbour_shares"):
        assert np.sum(found[side]) == pytest.approx(hit["score"], abs=EXACT)


def test_neighbours_agree_with_those_of_the_cpu(place: Place, processor: Place) -> None:
    """One neighbour of ten may differ, for one image of each class."""
    figures = [
        each.shell("search", "evaluate", "--collection", place.collection, "--json").json[0]
        for each in (place, processor)
    ]
    one, other = (figure["precision_at_10"]["value"] for figure in figures)
    assert one == pytest.approx(other, abs=1 / 10 / IN_CLASS)


def test_a_head_is_fitted_and_queried(place: Place) -> None:
    """Fitted on stored embeddings and queried with new ones, it finds images of the query's class."""
    done = place.shell("exporter", "fit", "--collection", place.collection, "--name", "pets", "--json")
    assert done.code == 0, done.err
    done = place.shell("ingest", "run", "pictures", "--head", "pets", "--json")
    assert done.code == 0, done.err
    assert done.json[0]["from_stored"] == len(CLASSES) * IN_CLASS
    done = place.shell("search", "query", "query.png", "--head", "pets", "--json")
    assert done.code == 0, done.err
    assert [hit["class"] for hit in done.json[0]["hits"][:5]] == ["bee"] * 5
    other = f"embedded:{place.shell.folder / 'other'}"
    done = place.shell("ingest", "run", "pictures", "--head", "pets", "--json", "--store", other)
    assert (done.code, done.json[0]["from_stored"]) == (0, 0)
    assert done.json[0]["collections"][0]["provider"] == place.provider
    found = place.shell("search", "evaluate", "--head", "pets", "--json", "--store", other).json[0]
    assert found["precision_at_1"]["value"] >= 0.9


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_ingest_is_finished_by_the_next_one(
    place: Place, make_shell: Callable[[Path], Any], tmp_path: Path
) -> None:
    """It is killed while it writes its second batch; the next run completes the same collection."""
    shell = make_shell(tmp_path)
    shell.environment.update(place.shell.environment)
    shell.environment["LOOKALIKE_HOME"] = str(tmp_path / "home")
    words = ["ingest", "run", str(place.shell.folder / "pictures"), *shell.model, "--batch-size", "9"]
    read, write = os.pipe()
    config = json.dumps({"trap": "upsert", "nth": 2, "fd": write})
    with subprocess.Popen(
        [sys.executable, VICTIM, config, *words],
        cwd=tmp_path,
        env=shell.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[write],
    ) as victim:
        os.close(write)
        assert os.read(read, 4) == b"now\n"
        victim.send_signal(signal.SIGKILL)
    os.close(read)
    assert victim.returncode == -signal.SIGKILL
    done = shell(*words, "--json")
    assert done.code == 0, done.err
    [report] = done.json[0]["collections"]
    assert (report["provider"], report["added"] + report["unchanged"]) == (place.provider, 36)
    repaired, undisturbed = place.vectors(tmp_path / "home"), place.vectors()
    assert repaired.keys() == undisturbed.keys()
    assert min(cosine(repaired[path], undisturbed[path]) for path in undisturbed) >= 1 - EXACT


def test_another_provider_adds_to_the_collection(
    place: Place, make_shell: Callable[[Path], Any], tmp_path: Path
) -> None:
    """The CPU continues another provider's collection: one space, and nothing is embedded again."""
    shell = make_shell(tmp_path)
    shell.environment.update(place.shell.environment)
    shell.environment["LOOKALIKE_HOME"] = str(tmp_path / "home")
    for image in range(9):
        draw_noise(tmp_path / "pictures" / "cow" / f"{image}.png", 2, image)
    assert shell.ingest("pictures").code == 0
    draw_noise(tmp_path / "pictures" / "cow" / "new.png", 2, 50)
    done = shell.ingest("pictures", "--provider", "cpu", "--json")
    assert done.code == 0, done.err
    [report] = done.json[0]["collections"]
    assert (report["provider"], report["added"], report["unchanged"]) == (CPU, 1, 9)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the cosine of two vectors."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
