"""Tests `exporter`: its output and its failures."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from keras_files import Model, save_keras

TINY_LAYERS = ("block1_conv1", "block1_conv2")


def test_run_prints_the_path_of_a_checked_model(shell: Any) -> None:
    """Only the path is on stdout; the file passes ONNX' full check."""
    done = shell("exporter", "run", *shell.model)
    assert done.code == 0, done.err
    (path,) = done.out.splitlines()
    onnx.checker.check_model(path, full_check=True)


def test_run_exports_once(shell: Any) -> None:
    """A second run finds the model and prints no message of an export."""
    first, second = shell("exporter", "run", *shell.model), shell("exporter", "run", *shell.model)
    assert first.out == second.out
    assert "exported" in first.err
    assert "exported" not in second.err


def test_run_writes_to_the_named_output(shell: Any) -> None:
    """`--output` names the file, and the home gets no model."""
    done = shell("exporter", "run", *shell.model, "--output", "out/model.onnx", "--json")
    assert done.json[0]["path"] == str(shell.folder / "out/model.onnx")
    assert done.json[0]["identity"]["dimension"] == 64
    assert not list((shell.folder / "home").rglob("*.onnx"))


def test_list_shows_the_exported_models(shell: Any) -> None:
    """The list is empty at first, then has the model."""
    assert "nothing yet" in shell("exporter", "list").out
    assert shell("exporter", "list", "--json").out == ""
    path = shell("exporter", "run", *shell.model).out.strip()
    assert path in shell("exporter", "list").out
    assert shell("exporter", "list", "--json").json[0]["path"] == path


def test_wrong_options_exit_2_and_wrong_files_3(shell: Any) -> None:
    """Unknown backbone, layer or pooling is wrong usage; an unusable weights file is not."""
    assert shell("exporter", "run", "--backbone", "alexnet").code == 2
    assert shell("exporter", "run", "--backbone", "vgg", "--layer", "block9").code == 2
    assert shell("exporter", "run", "--backbone", "vgg", "--layer", "fc1", "--pooling", "max").code == 2
    assert shell("exporter", "run", "--backbone", "resnet", "--pooling", "flatten").code == 2
    assert shell("exporter", "run", "--backbone", "resnet", "--weights", "imagenet-wheel").code == 2
    assert shell("exporter", "run", "--backbone", "vgg", "--weights", "missing.h5").code == 3
    assert shell("exporter", "run", "--backbone", "resnet", "--weights", shell.weights).code == 3


def test_run_finds_the_network_in_a_fine_tuned_model(shell: Any) -> None:
    """The model equals that of the flat file; two candidates, or another network, exit 3."""
    with h5py.File(shell.weights) as file:
        layers = {
            name: dict(zip(("kernel", "bias"), (array[()] for array in file[name].values()), strict=True))
            for name in TINY_LAYERS
        }
    head = {"kernel": np.zeros((64, 3), np.float32), "bias": np.zeros(3, np.float32)}
    save_keras(shell.folder / "tuned.keras", Model(vgg16=Model(layers), dense=head))
    save_keras(shell.folder / "twins.keras", Model(left=Model(layers), right=Model(layers)))
    run = ["exporter", "run", "--backbone", "vgg", "--layer", "block1_conv2", "--json", "--weights"]
    flat, tuned, twins = (shell(*run, file) for file in (shell.weights, "tuned.keras", "twins.keras"))
    assert tuned.code == 0, tuned.err
    assert tuned.json[0]["identity"] == flat.json[0]["identity"]
    assert twins.code == 3
    assert "twins.keras holds 2 networks with a layer block1_conv1: left, right; save the one" in twins.err
    other = shell("exporter", "run", "--backbone", "resnet", "--weights", "tuned.keras")
    assert other.code == 3
    assert "inside vgg16: layer conv1_conv is missing, and there are layers of VGG16" in other.err
    assert "use --backbone vgg" in other.err


@pytest.mark.slow  # compares with Keras, where it is installed
def test_verify_lists_passed_and_skipped_checks(shell: Any) -> None:
    """One line a check, or one JSON object; exit code 0 if none failed."""
    done = shell("exporter", "verify", *shell.model)
    assert done.code == 0, done.out + done.err
    assert all(line.split()[0] in ("ok", "skipped") for line in done.out.splitlines())
    (report,) = shell("exporter", "verify", *shell.model, "--json").json
    assert list(report) == ["schema", "path", "failed", "checks"]
    assert report["failed"] is False
    assert {"name", "outcome", "detail"} == set(report["checks"][0])


def test_verify_exits_1_where_the_model_differs_from_its_card(shell: Any) -> None:
    """A fingerprint that is not that of the weights is named as a mismatch."""
    card = Path(shell("exporter", "run", *shell.model).out.strip()).with_suffix(".json")
    data = json.loads(card.read_text())
    data["manifest"]["identity"]["weights_fingerprint"] = "0" * 64
    card.write_text(json.dumps(data))
    done = shell("exporter", "verify", *shell.model)
    assert done.code == 1
    assert "FAILED" in done.out
    assert "Traceback" not in done.err


def test_int8_needs_calibration_images(shell: Any, draw: Any) -> None:
    """Without a folder the message names the option; with one the model is made, and named int8."""
    model = (*shell.model, "--layer", "block1_pool")  # int8 needs a second convolution
    done = shell("exporter", "run", *model, "--precision", "int8")
    assert done.code == 2
    assert "--calibrate DIR (ingest sample DIR draws one)" in done.err
    draw(shell.folder / "pictures", "a.png", "b.png")
    options = ("--precision", "int8", "--calibrate", "pictures", "--json")
    (record,) = shell("exporter", "run", *model, *options).json
    assert record["graph_precision"] == "int8"
    assert record["activation_ranges"]["pictures"] == 2
    assert shell("exporter", "run", *model, "--precision", "int8", "--calibrate", "no").code == 2
