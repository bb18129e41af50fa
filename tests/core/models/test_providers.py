"""Execution providers: real sessions on this machine's hardware."""

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
from lookalike_core.settings import ProviderChoice, Settings
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.spec import ModelSpec

ROUNDING = 2.0**-8
"""The largest relative change of a value by rounding to bfloat16."""

ANGLE = 6 * ROUNDING
"""Radians by which an embedding turns at most if all values are off by six roundings: of the pixels, of the
kernels and activations of two layers, and of the embedding. In fp32 it turns by far less."""


@pytest.fixture(scope="module")
def model(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    """Yields VGG16's first block, exported from random weights."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), provider="cpu")
    spec = ModelSpec.of("vgg", layer="block1_pool", weights=str(tiny_weights))
    return ensure_exported(spec, settings=settings)


@pytest.fixture
def fresh_plugin() -> Iterator[None]:
    """Clears the registration of the plugin, before and after the test."""
    providers._register_openvino.cache_clear()  # noqa: SLF001 - once a process is once too few for tests
    yield
    providers._register_openvino.cache_clear()  # noqa: SLF001


def test_a_missing_required_gpu_is_an_error_with_a_remedy(model: ModelFile) -> None:
    """Falling back to the CPU would take hours instead of minutes."""
    if Embedder.load(model.path, provider="auto").provider == CUDA:
        pytest.skip("a GPU is there")
    with pytest.raises(
        ProviderError, match=r"a GPU is required, but the session runs on CPU\w+: (.+)"
    ) as refused:
        Embedder.load(model.path, provider="cuda")
    assert str(refused.value).endswith(providers.why_no_cuda())


def test_an_unused_gpu_is_reported(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With a driver but without CUDA's libraries, the message names the package to install.

    A stand-in reports the driver. Output of the library about it must not reach stdout.
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
    """The CPU was chosen deliberately."""
    monkeypatch.setattr(providers, "has_cuda_driver", lambda: True)
    assert Embedder.load(model.path, provider="cpu").notice is None


@pytest.mark.parametrize(
    ("available", "driver", "said"),
    [
        ([CPU], True, "built for the CPU only"),
        ([CUDA, CPU], False, "no NVIDIA driver"),
        ([CUDA, CPU], True, "its extra lookalike[cuda]"),
    ],
    ids=["cpu-build", "no-driver", "no-libraries"],
)
def test_each_cause_of_missing_cuda_is_named(
    monkeypatch: pytest.MonkeyPatch, available: list[str], driver: bool, said: str
) -> None:
    """There are three; only for the last one is the remedy the extra."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: available)
    monkeypatch.setattr(providers, "has_cuda_driver", lambda: driver)
    assert said in providers.why_no_cuda()


def test_the_runtime_sends_no_telemetry_and_writes_no_files(tmp_path: Path) -> None:
    """On import, its telemetry would leave a session file in the temporary folder."""
    program = "from lookalike_core.models.providers import why_no_cuda; why_no_cuda()"
    kept = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    subprocess.run([sys.executable, "-c", program], check=True, env=kept | {"TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # the plugin is installed where all tests run
def test_openvino_computes_the_same_embeddings(model: ModelFile) -> None:
    """They agree up to bfloat16 rounding, if the CPU uses it; the session ran on the plugin."""
    if not providers.has_openvino():
        pytest.skip("OpenVINO's plugin is not made for this platform, or not for this processor")
    pixels = np.random.default_rng(1).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    plugin = Embedder.load(model.path, provider="openvino")
    assert plugin.provider == OPENVINO
    there, here = plugin.embed(pixels), Embedder.load(model.path, provider="cpu").embed(pixels)
    cosine = (there * here).sum(axis=1) / np.linalg.norm(there, axis=1) / np.linalg.norm(here, axis=1)
    assert (cosine >= np.cos(ANGLE)).all()


def test_requesting_openvino_without_the_plugin_names_its_extra(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch, fresh_plugin: None
) -> None:
    """A provider that was named is never silently replaced."""
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", None)
    with pytest.raises(ProviderError, match=r"cannot be used: .* its extra lookalike\[openvino\]"):
        Embedder.load(model.path, provider="openvino")


def test_a_cpu_without_openvino_support_is_reported(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message does not advise installing the plugin; `auto` logs nothing.

    A stand-in reports the plugin as installed.
    """
    monkeypatch.setattr(providers, "_register_openvino", lambda: True)
    monkeypatch.setattr(providers, "_openvino_devices", lambda: iter([]))
    with pytest.raises(ProviderError, match="installed and offers nothing for this processor"):
        Embedder.load(model.path, provider="openvino")
    monkeypatch.setattr(providers, "has_cuda_driver", lambda: False)
    assert Embedder.load(model.path, provider="auto").notice is None


@pytest.mark.parametrize("gains", [True, False, None])
def test_a_missing_openvino_plugin_is_named_once_where_it_would_gain(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch, fresh_plugin: None, tmp_path: Path, gains: bool | None
) -> None:
    """The plugin is an optional extra. A stand-in reports the processor's features.

    Neither the second session of the model, a small job, nor a provider that was named says so.
    """
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", None)
    monkeypatch.setattr(providers, "gains_by_openvino", lambda: gains)
    monkeypatch.setattr(providers, "has_cuda_driver", lambda: False)
    expected = providers.PLUGIN_WOULD_GAIN if gains else None
    silent = tmp_path / "silent"
    assert Embedder.load(model.path, cache_dir=silent, is_small_job=True, provider="auto").notice is None
    assert Embedder.load(model.path, cache_dir=silent, provider="auto").notice is None
    assert Embedder.load(model.path, provider="cpu").notice is None
    for notice in (expected, None):
        embedder = Embedder.load(model.path, cache_dir=tmp_path / "optimized", provider="auto")
        assert (embedder.provider, embedder.notice) == (CPU, notice)


def test_an_installed_plugin_is_not_recommended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it does not load, the other notice says why."""
    monkeypatch.setattr(providers, "gains_by_openvino", lambda: True)
    monkeypatch.setattr(providers, "find_spec", lambda _: object())
    assert not providers.plugin_would_gain()


@pytest.mark.parametrize(
    ("threads", "allowed", "expected"),
    [
        (3, None, {"load_config": '{"CPU": {"INFERENCE_NUM_THREADS": "3"}}'}),
        (None, 2, {"load_config": '{"CPU": {"INFERENCE_NUM_THREADS": "2"}}'}),
        (None, None, {}),
    ],
    ids=["named", "allowed", "all"],
)
def test_the_number_of_threads_reaches_openvino(
    model: ModelFile,
    monkeypatch: pytest.MonkeyPatch,
    threads: int | None,
    allowed: int | None,
    expected: dict[str, str],
) -> None:
    """It is OpenVINO's own option, for the plugin ignores the session's; a stand-in is the runtime."""
    given: list[dict[str, str]] = []

    class Options:
        def add_session_config_entry(self, *_: str) -> None: ...

        def add_provider_for_devices(self, _devices: list[object], options: dict[str, str]) -> None:
            given.append(options)

    session = SimpleNamespace(get_providers=lambda: [OPENVINO])
    runtime = SimpleNamespace(SessionOptions=Options, InferenceSession=lambda *_: session)
    monkeypatch.setattr(providers, "load_runtime", lambda: runtime)
    monkeypatch.setattr(providers, "_register_openvino", lambda: True)
    monkeypatch.setattr(providers, "_openvino_devices", lambda: iter([object()]))
    monkeypatch.setattr(providers, "fewer_than_all", lambda: allowed)
    opened = providers.open_session(model.path, ProviderChoice.OPENVINO, threads=threads)
    assert (opened.provider, given) == (OPENVINO, [expected])


def test_a_broken_openvino_plugin_is_skipped_with_a_notice(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_plugin: None
) -> None:
    """Embedding continues on the CPU; a stand-in names a file that is no library."""
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
def test_auto_uses_openvino_on_bfloat16_cpus(
    monkeypatch: pytest.MonkeyPatch, capabilities: str, taken: bool
) -> None:
    """On others it is about as fast, but starts more slowly."""
    device = SimpleNamespace(ep_metadata={"OPTIMIZATION_CAPABILITIES": capabilities})
    monkeypatch.setattr(providers, "_openvino_devices", lambda: iter([device]))
    assert providers.openvino_pays() is taken


def test_openvino_is_not_loaded_for_few_images(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading the plugin takes longer than embedding one image."""
    monkeypatch.setattr(providers, "_openvino_devices", lambda: pytest.fail("it was looked for"))
    monkeypatch.setattr(providers, "has_cuda_driver", lambda: False)
    assert Embedder.load(model.path, is_small_job=True).provider == CPU
