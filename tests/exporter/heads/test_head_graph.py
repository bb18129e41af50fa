"""Models of a base and a head in each precision: against NumPy, as optimized graphs, and exported again."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from lookalike_core.errors import ManifestError
from lookalike_core.models.embedder import Embedder
from lookalike_core.models.model_manifest import Precision
from lookalike_core.settings import Settings
from lookalike_exporter.export import add_activation_ranges, ensure_exported
from lookalike_exporter.heads.head_file import Head, read_head, write_head
from lookalike_exporter.heads.head_graph import get_headed_model
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.verify import Outcome, verify_headed_model
from onnx import numpy_helper
from refusals import refuses

PARITY = 0.99999
"""Least cosine between the graph's output and the head applied to the base's vectors in NumPy."""

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(params=[*Precision])
def base(
    request: pytest.FixtureRequest,
    tiny_weights: Path,
    tmp_path: Path,
    draw: Callable[..., list[Path]],
    home: Settings,
) -> ModelFile:
    """Exports VGG16's first two convolutions in each precision: 64 values."""
    spec = ModelSpec.of("vgg", layer="block1_pool", weights=str(tiny_weights), precision=request.param)
    draw(tmp_path / "pictures", "a.png", "b.png", "c.png")
    spec = add_activation_ranges(spec, tmp_path / "pictures", settings=home)
    return ensure_exported(spec, settings=home)


@pytest.fixture
def head(base: ModelFile, home: Settings) -> Head:
    """Returns a random head of 16 values, read from its file."""
    random = np.random.default_rng(1)
    made = Head(
        name="pets",
        base=base.manifest,
        weight=random.normal(size=(16, 64)).astype(np.float32),
        bias=(0.1 * random.normal(size=16)).astype(np.float32),
        classes=["cat", "dog"],
        trained=frozenset(),
        record={"seed": 0},
    )
    write_head(made, home)
    return read_head("pets", home)


@pytest.fixture
def model(head: Head, home: Settings) -> ModelFile:
    """Exports the model of base and head."""
    return get_headed_model(head, settings=home)


def test_the_graph_agrees_with_the_head_in_numpy(model: ModelFile, head: Head, base: ModelFile) -> None:
    """An int8 base has no fp32 model: the head was fitted to its own vectors."""
    plain, found = (Embedder.load(each.path, provider="cpu").embed(IMAGES) for each in (base, model))
    assert found.shape == (4, 16)
    assert (found * head.apply(plain)).sum(axis=1).min() >= PARITY
    assert model.manifest.graph_precision is base.manifest.graph_precision
    assert model.manifest.identity == head.identity
    assert model.manifest.identity.precision_class == base.manifest.identity.precision_class
    assert model.manifest.activation_ranges == base.manifest.activation_ranges


def test_a_head_of_former_preprocessing_has_to_be_fitted_again(
    head: Head, model: ModelFile, home: Settings
) -> None:
    """This holds even if its model is in the cache, because images are now prepared differently."""
    assert model.path.is_file()
    former = replace(head.base.identity, preprocessing="crop-bicubic-224+caffe")
    old = replace(head, base=replace(head.base, identity=former))
    with refuses(ManifestError, match=r"ingest rebuild.*exporter fit --collection NAME --name pets --force"):
        get_headed_model(old, settings=home)


def test_a_cached_optimized_graph_gives_the_same_vectors(model: ModelFile, tmp_path: Path) -> None:
    """They are equal to the last bit, both when it is written and when it is loaded."""
    plain = Embedder.load(model.path, provider="cpu").embed(IMAGES)
    for _ in range(2):
        kept = Embedder.load(model.path, provider="cpu", cache_dir=tmp_path / "optimized")
        assert np.array_equal(kept.embed(IMAGES), plain)
        assert kept.manifest == model.manifest
    assert len(list((tmp_path / "optimized").glob("*.onnx"))) == 1


def test_lost_models_are_exported_again_from_weights_and_head(
    model: ModelFile, head: Head, home: Settings
) -> None:
    """The head's file has the activation ranges of an int8 base, so that no image is needed."""
    before = Embedder.load(model.path, provider="cpu").embed(IMAGES)
    shutil.rmtree(home.models_dir)
    again = get_headed_model(head, settings=home)
    assert again == model
    assert np.array_equal(Embedder.load(again.path, provider="cpu").embed(IMAGES), before)


def test_another_model_in_the_place_of_a_headed_one_is_replaced(
    model: ModelFile, head: Head, base: ModelFile, home: Settings
) -> None:
    """The model of another head is replaced, too."""
    own = model.path.read_bytes()
    other = replace(head, name="other", bias=head.bias + 1)
    for wrong in (base, get_headed_model(other, settings=home)):
        shutil.copyfile(wrong.path, model.path)
        assert get_headed_model(head, settings=home) == model
        assert model.path.read_bytes() == own


def test_a_sound_model_passes_all_checks(model: ModelFile, head: Head, base: ModelFile) -> None:
    """No check is skipped."""
    report = verify_headed_model(model, head, base)
    assert {check.name: check.outcome for check in report.checks} == dict.fromkeys(
        ("ONNX checker", "input and output", "manifest", "session", "numpy side by side"), Outcome.OK
    )


def test_a_model_with_other_output_or_another_head_fails(
    model: ModelFile, head: Head, base: ModelFile
) -> None:
    """The graph has another bias, or the head has been replaced since."""
    graph = onnx.load(model.path)
    for kernel in graph.graph.initializer:
        if kernel.name == "head/bias":
            kernel.CopyFrom(numpy_helper.from_array(head.bias + 1, kernel.name))
    onnx.save(graph, model.path)
    failed = [check for check in verify_headed_model(model, head, base).checks if check.outcome != Outcome.OK]
    assert [check.name for check in failed] == ["numpy side by side"]
    assert "at least 0.99999" in failed[0].detail
    other = replace(head, weight=-head.weight)
    names = [c.name for c in verify_headed_model(model, other, base).checks if c.outcome != Outcome.OK]
    assert names == ["manifest", "numpy side by side"]
