"""The sessions of an ingest, and what is said of their provider."""

import sys
from dataclasses import replace

import pytest
from lookalike_core.models import providers
from lookalike_core.settings import ProviderChoice, Settings
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.embedders import Embedders


def test_the_first_ingest_names_a_plugin_that_would_gain(
    home: Settings, tiny_spec: ModelSpec, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line with the command that installs it. A stand-in reports the processor's features."""
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", None)
    monkeypatch.setattr(providers, "has_cuda_driver", lambda: False)
    monkeypatch.setattr(providers, "gains_by_openvino", lambda: True)
    providers._register_openvino.cache_clear()  # noqa: SLF001 - it may have been found before
    settings = replace(home, provider=ProviderChoice.AUTO)
    model = ensure_exported(tiny_spec, settings=settings)
    runs = "vgg16 runs on CPUExecutionProvider"
    for expected in ([providers.PLUGIN_WOULD_GAIN, runs], [runs]):
        said.clear()
        Embedders(settings).of(model)
        assert said == expected
    providers._register_openvino.cache_clear()  # noqa: SLF001 - others may find it
    assert 'python -m pip install "lookalike[openvino]"' in providers.PLUGIN_WOULD_GAIN
