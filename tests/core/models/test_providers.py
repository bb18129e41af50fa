"""What a model runs on: real sessions, on what is there."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from lookalike_core.errors import ProviderError
from lookalike_core.models import providers
from lookalike_core.models.embedder import Embedder
from lookalike_core.models.providers import CPU, CUDA, OPENVINO
from lookalike_core.settings import Settings
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.spec import ModelSpec

ROUNDING = 2.0**-8
"""What rounding to bfloat16 changes of a value at most, as a part of it."""

ANGLE = 6 * ROUNDING
"""Radians by which an embedding turns at most where all values are off by six roundings: of the pixels, of
the kernels and activations of two layers, and of the embedding. In fp32 it turns by far less."""


@pytest.fixture(scope="module")
def model(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    """VGG16's first block, exported from random weights."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), provider="cpu")
    spec = ModelSpec.of("vgg", layer="block1_pool", weights=str(tiny_weights))
    return ensure_exported(spec, settings=settings)


@pytest.fixture
def fresh_plugin() -> Iterator[None]:
    """The plugin is looked for anew, before and after."""
    providers._register_openvino.cache_clear()  # noqa: SLF001 - once a process is once too few for tests
    yield
    providers._register_openvino.cache_clear()  # noqa: SLF001


def test_a_required_gpu_that_is_not_there_is_said_with_a_next_step(model: ModelFile) -> None:
    """Falling back to the CPU would take hours where minutes were expected."""
    if Embedder.load(model.path, provider="auto").provider == CUDA:
        pytest.skip("a GPU is there")
    with pytest.raises(
        ProviderError, match=r"a GPU is required and the session runs on CPU\w+: (.+)"
    ) as refused:
        Embedder.load(model.path, provider="cuda")
    assert str(refused.value).endswith(providers.why_no_cuda())


def test_a_gpu_that_lies_idle_is_noticed(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With a driver and without CUDA's libraries the message names what to install.

    A stand-in: the driver is only said to be there. What the library prints about it must not reach
    stdout, where results are.
    """
    monkeypatch.setattr(providers, "has_cuda_driver", lambda: True)
    embedder = Embedder.load(model.path, provider="auto")
    if embedder.provider == CUDA:
        pytest.skip("a GPU is there and in use")
    assert embedder.notice is not None
    assert embedder.notice.endswith(providers.why_no_cuda())
    assert capfd.readouterr().out == ""


def test_a_named_cpu_provider_gives_no_notice_of_a_gpu(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was a choice."""
    monkeypatch.setattr(providers, "has_cuda_driver", lambda: True)
    assert Embedder.load(model.path, provider="cpu").notice is None


@pytest.mark.parametrize(
    ("available", "driver", "said"),
    [
        ([CPU], True, "built for the CPU alone"),
        ([CUDA, CPU], False, "no NVIDIA driver"),
        ([CUDA, CPU], True, "its extra lookalike[cuda]"),
    ],
    ids=["cpu-build", "no-driver", "no-libraries"],
)
def test_why_there_is_no_cuda_is_said_for_each_cause(
    monkeypatch: pytest.MonkeyPatch, available: list[str], driver: bool, said: str
) -> None:
    """The three things between a machine and CUDA; only the last one is for the extra to mend."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: available)
    monkeypatch.setattr(providers, "has_cuda_driver", lambda: driver)
    assert said in providers.why_no_cuda()


def test_the_runtime_neither_reports_home_nor_writes_files(tmp_path: Path) -> None:
    """Its telemetry leaves a session file among the temporary ones as soon as it is loaded."""
    program = "from lookalike_core.models.providers import why_no_cuda; why_no_cuda()"
    kept = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    subprocess.run([sys.executable, "-c", program], check=True, env=kept | {"TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_openvino_computes_the_same_embeddings(model: ModelFile) -> None:
    """As far as its roundings let it, where it computes in bfloat16; and it ran on the plugin."""
    if not providers.has_openvino():
        pytest.skip("OpenVINO's plugin is not made for this platform, or not for this processor")
    pixels = np.random.default_rng(1).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    plugin = Embedder.load(model.path, provider="openvino")
    assert plugin.provider == OPENVINO
    there, here = plugin.embed(pixels), Embedder.load(model.path, provider="cpu").embed(pixels)
    cosine = (there * here).sum(axis=1) / np.linalg.norm(there, axis=1) / np.linalg.norm(here, axis=1)
    assert (cosine >= np.cos(ANGLE)).all()


def test_openvino_that_is_asked_for_and_not_installed_is_said_with_its_extra(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch, fresh_plugin: None
) -> None:
    """A name that was given is never passed over in silence."""
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", None)
    with pytest.raises(ProviderError, match=r"cannot be used: .* its extra lookalike\[openvino\]"):
        Embedder.load(model.path, provider="openvino")


def test_a_processor_that_openvino_does_not_offer_is_said(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin is there, so that installing it is no advice; `auto` says nothing of it.

    A stand-in: the plugin is only said to be there.
    """
    monkeypatch.setattr(providers, "_register_openvino", lambda: True)
    monkeypatch.setattr(providers, "_openvino_devices", lambda: iter([]))
    with pytest.raises(ProviderError, match="installed and offers nothing for this processor"):
        Embedder.load(model.path, provider="openvino")
    monkeypatch.setattr(providers, "has_cuda_driver", lambda: False)
    assert Embedder.load(model.path, provider="auto").notice is None


def test_a_missing_openvino_plugin_gives_no_notice(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch, fresh_plugin: None
) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", None)
    embedder = Embedder.load(model.path, provider="auto")
    assert embedder.provider != OPENVINO
    assert "OpenVINO" not in (embedder.notice or "")


def test_a_broken_openvino_plugin_is_skipped_with_a_notice(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_plugin: None
) -> None:
    """Half an installation keeps nobody from embedding; a stand-in names a file that is no library."""
    (tmp_path / "plugin.so").write_bytes(b"not a library")
    broken = SimpleNamespace(get_library_path=lambda: str(tmp_path / "plugin.so"))
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", broken)
    embedder = Embedder.load(model.path, provider="auto")
    if embedder.provider == CUDA:
        pytest.skip("a GPU is there and goes first")
    assert embedder.provider == CPU
    assert embedder.notice is not None
    assert embedder.notice.startswith("OpenVINO's plugin is installed and not in use: it does not load")
    assert "\n" not in embedder.notice


@pytest.mark.parametrize(
    ("capabilities", "taken"), [("FP32 INT8 BF16 EXPORT_IMPORT", True), ("WINOGRAD FP32 INT8", False)]
)
def test_auto_takes_openvino_on_bfloat16_processors(
    monkeypatch: pytest.MonkeyPatch, capabilities: str, taken: bool
) -> None:
    """Where the processor has bfloat16 it is several times as fast; elsewhere it only starts more slowly."""
    device = SimpleNamespace(ep_metadata={"OPTIMIZATION_CAPABILITIES": capabilities})
    monkeypatch.setattr(providers, "_openvino_devices", lambda: iter([device]))
    assert providers.openvino_pays() is taken


def test_openvino_is_not_loaded_for_few_images(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading the plugin alone takes longer than one of them."""
    monkeypatch.setattr(providers, "_openvino_devices", lambda: pytest.fail("it was looked for"))
    monkeypatch.setattr(providers, "has_cuda_driver", lambda: False)
    assert Embedder.load(model.path, is_small_job=True).provider == CPU
