"""Checks of `exporter verify` without Keras; `tests/parity/test_verify.py` has those with Keras."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from lookalike_core.cli.hint_words import full_message
from lookalike_core.models.backbones import Pooling
from lookalike_core.settings import Settings
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.verify import Check, Outcome, verify_model
from onnx import numpy_helper

OK, FAILED, SKIPPED = Outcome.OK, Outcome.FAILED, Outcome.SKIPPED


@pytest.fixture(autouse=True)
def _without_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides Keras, as if only the runtime dependencies were installed."""
    monkeypatch.setitem(sys.modules, "keras", None)


@pytest.fixture
def spec(tmp_path: Path, save: Any, vgg_arrays: Any) -> ModelSpec:
    """Returns the spec of the tap `block1_pool` of VGG16."""
    return ModelSpec.of("vgg", layer="block1_pool", weights=str(save(tmp_path / "vgg.h5", vgg_arrays)))


@pytest.fixture
def model(spec: ModelSpec, home: Settings) -> ModelFile:
    """Exports the model of the spec."""
    return ensure_exported(spec, settings=home)


def test_a_sound_model_passes_all_checks(model: ModelFile, spec: ModelSpec) -> None:
    """Without Keras the comparison is skipped, with a hint how to install it."""
    report = verify_model(model, spec)
    assert {check.name: check.outcome for check in report.checks} == {
        "ONNX checker": OK,
        "input and output": OK,
        "manifest": OK,
        "weights fingerprint": OK,
        "session": OK,
        "Keras side by side": SKIPPED,
        "other layers": SKIPPED,
    }
    assert not report.failed
    detail = _named(report, "Keras side by side").detail
    assert "install it with: pip install tensorflow-cpu" in full_message(detail)


def test_layers_not_in_the_model_are_reported_as_unchecked(model: ModelFile, spec: ModelSpec) -> None:
    """VGG16 has eighteen layers after its first pooling."""
    detail = _named(verify_model(model, spec), "other layers").detail
    assert detail.startswith("18 of 21 are not needed for block1_pool")
    assert "block2_conv1, block2_conv2, block2_pool, ..." in detail


def test_a_whole_network_has_no_unchecked_layers() -> None:
    """The check of other layers is left out."""
    from lookalike_exporter.verify import _list_other_layers

    assert list(_list_other_layers(ModelSpec.of("resnet"))) == []


def test_changed_weights_fail_the_fingerprint(
    model: ModelFile, spec: ModelSpec, save: Any, vgg_arrays: Any
) -> None:
    """The weights file is read again, and differs from that of the export."""
    vgg_arrays["block1_conv2"]["bias"] += 1
    save(Path(spec.weights), vgg_arrays)
    report = verify_model(model, spec)
    assert report.failed
    assert _failed(report) == ["weights fingerprint"]


def test_unreadable_weights_fail_the_fingerprint(model: ModelFile, spec: ModelSpec) -> None:
    """The check is not just skipped."""
    path = Path(spec.weights)
    path.write_bytes(path.read_bytes()[:-1])
    assert _failed(verify_model(model, spec)) == ["weights fingerprint"]


def test_missing_weights_skip_the_fingerprint(model: ModelFile, spec: ModelSpec) -> None:
    """The model may still be sound, but its source cannot be checked."""
    Path(spec.weights).unlink()
    check = _named(verify_model(model, spec), "weights fingerprint")
    assert check.outcome is SKIPPED
    assert f"file is missing: {spec.weights}" in check.detail


def _fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _other_manifest(model: onnx.ModelProto) -> None:
    model.metadata_props[0].value = model.metadata_props[0].value.replace("block1_pool", "block1_conv2")


def _no_manifest(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def _not_finite(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == "block1_conv2/bias":
            values = np.full(64, np.inf, dtype=np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Nonsense"


def _images_that_see_each_other(model: onnx.ModelProto) -> None:
    """Subtracts the mean of the batch from every vector."""
    model.graph.node[-1].output[0] = "alone"
    mean = onnx.helper.make_node("ReduceMean", ["alone"], ["mean"], axes=[0], keepdims=1)
    less = onnx.helper.make_node("Sub", ["alone", "mean"], ["embeddings"])
    model.graph.node.extend([mean, less])


@pytest.mark.parametrize(
    ("spoil", "failed"),
    [
        (_fixed_batch, ["input and output", "session"]),
        (_other_manifest, ["manifest"]),
        (_no_manifest, ["manifest", "session"]),
        (_not_finite, ["session"]),
        (_unknown_operator, ["ONNX checker", "session"]),
        (_images_that_see_each_other, ["session"]),
    ],
)
def test_each_kind_of_damage_fails_its_own_check(
    spoil: Callable[[onnx.ModelProto], None], failed: list[str], model: ModelFile, spec: ModelSpec
) -> None:
    """All other checks still run."""
    proto = onnx.load(model.path)
    spoil(proto)
    onnx.save_model(proto, model.path)
    assert _failed(verify_model(model, spec)) == failed


def test_a_truncated_file_fails_every_check_that_reads_it(model: ModelFile, spec: ModelSpec) -> None:
    """The report has the failures; no exception is raised."""
    model.path.write_bytes(model.path.read_bytes()[:-1])
    report = verify_model(model, spec)
    assert _failed(report) == ["ONNX checker", "input and output", "manifest", "session"]


def test_a_model_of_another_spec_fails(model: ModelFile, spec: ModelSpec) -> None:
    """It has average pooling, but maximum pooling is expected."""
    report = verify_model(model, replace(spec, pooling=Pooling.MAX))
    assert _failed(report) == ["manifest"]


def _named(report: Any, name: str) -> Check:
    check: Check = next(check for check in report.checks if check.name == name)
    return check


def _failed(report: Any) -> list[str]:
    return [check.name for check in report.checks if check.outcome is FAILED]
