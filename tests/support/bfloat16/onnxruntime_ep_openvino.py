"""Stands in for OpenVINO's plugin on a processor that computes in bfloat16, which few machines have.

With this folder on `PYTHONPATH` a command finds this module in the place of the plugin, and `auto` takes it.
It is no library that ONNX Runtime loads: it changes the runtime itself, which names a device then that
computes in bfloat16. What runs there is computed by the processor in the emulation of
`benchmarks/rounding.py`, with the embeddings rounded as well, which a plugin may do or not. So it proves what
becomes of such numbers, and nothing of the plugin.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

_ROUNDING = Path(__file__).parents[3] / "benchmarks" / "rounding.py"
_DEVICE = SimpleNamespace(
    ep_name="OpenVINOExecutionProvider",
    ep_metadata={"ov_device": "CPU", "OPTIMIZATION_CAPABILITIES": "FP32 INT8 BF16 EXPORT_IMPORT"},
)
_get_ep_devices = onnxruntime.get_ep_devices
_register = onnxruntime.register_execution_provider_library
_Options, _Session = onnxruntime.SessionOptions, onnxruntime.InferenceSession


def get_library_path() -> str:
    """Returns a name from which nothing is loaded."""
    return "bfloat16 stand-in"


class Options(_Options):
    """Session options that record whether the session is to run on the device."""

    is_for_device = False

    def add_provider_for_devices(self, devices: list[Any], _options: dict[str, str]) -> None:
        """Selects the only device."""
        assert devices == [_DEVICE]
        self.is_for_device = True


class Session(_Session):
    """A session that rounds if it is to run on the device, and is unchanged otherwise."""

    def __init__(self, model: Any, sess_options: Any = None, *words: Any, **named: Any) -> None:
        self._rounds = isinstance(sess_options, Options) and sess_options.is_for_device
        if self._rounds:
            import onnx

            rounded = _rounding().convert_to_bfloat16(onnx.load(model))
            super().__init__(rounded.SerializeToString(), _Options(), providers=["CPUExecutionProvider"])
        else:
            super().__init__(model, sess_options, *words, **named)

    def get_providers(self) -> list[str]:
        """Names the plugin first, as its sessions do."""
        return [_DEVICE.ep_name] if self._rounds else list(super().get_providers())

    def run(self, *words: Any, **named: Any) -> list[Any]:
        """Computes the outputs, rounded."""
        outputs = super().run(*words, **named)
        if not self._rounds:
            return list(outputs)
        return [_rounding().round_to_bfloat16(np.asarray(output)) for output in outputs]


def _register_unless_ours(name: str, path: str) -> None:
    if path != get_library_path():
        _register(name, path)


def _rounding() -> ModuleType:
    """Imports the emulation from the benchmarks, which are not on the path."""
    if "rounding" not in sys.modules:
        spec = importlib.util.spec_from_file_location("rounding", _ROUNDING)
        assert spec is not None
        assert spec.loader is not None
        sys.modules["rounding"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["rounding"])
    return sys.modules["rounding"]


onnxruntime.get_ep_devices = lambda: [*_get_ep_devices(), _DEVICE]
onnxruntime.register_execution_provider_library = _register_unless_ours
onnxruntime.SessionOptions = Options
onnxruntime.InferenceSession = Session
