"""Execution providers: ONNX Runtime with CUDA, with the OpenVINO plugin, or on the CPU.

The runtime's list of available providers includes some that do not work, so each is tried in order, and the
one that a session really uses is read back from it. Source: https://onnxruntime.ai/docs/execution-providers/
"""

import ctypes
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any

from lookalike_core import own_process
from lookalike_core.cpu_count import fewer_than_all
from lookalike_core.errors import ModelError, ProviderError
from lookalike_core.hints import Action, Hint
from lookalike_core.memory import is_out_of_memory, memory_error
from lookalike_core.models.external_data import check_self_contained
from lookalike_core.models.graph_cache import entry_path, require_own, weights_path, write_entry
from lookalike_core.processor import gains_by_openvino
from lookalike_core.settings import ProviderChoice

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"

_FATAL = 4

_WEIGHTS_FILE = "session.optimized_model_external_initializers_file_name"
_WEIGHTS_FROM = "session.optimized_model_external_initializers_min_size_in_bytes"
_SMALL_BYTES = 1024
"""Values of fewer bytes are stored in the graph: shapes and the like, which the runtime looks at."""

PLUGIN_WOULD_GAIN = (
    "this processor computes in bfloat16, with which OpenVINO's plugin embeds about five times as fast; "
    'install it with: python -m pip install "lookalike[openvino]"'
)
"""The notice where the plugin is missing; five times was measured on a processor with AMX."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSession:
    """A session, the provider that it uses, and a notice about a provider that is installed but not used."""

    session: Any
    provider: str
    notice: str | None


def open_session(
    path: Path,
    choice: ProviderChoice,
    *,
    threads: int | None = None,
    cache_dir: Path | None = None,
    is_small_job: bool = False,
) -> OpenedSession:
    """Opens a session for a model on the first provider that works.

    `AUTO` tries CUDA if NVIDIA's driver is installed; then OpenVINO's plugin if it is installed and the CPU
    computes in bfloat16, which is several times as fast; then the CPU. For a small job (`is_small_job`) it
    skips the plugin, whose compilation of a model would take longer than the job. The CPU and the plugin
    compute in `threads` threads; None means as many as this process may use if that is fewer than the machine
    has, and otherwise the runtime's default. The optimized graph is read from the folder `cache_dir`, or
    written there for the next process; the first time, a notice says if the plugin would pay.

    Raises:
        ModelError: the file is no model that can be loaded.
        ProviderError: the session does not use the provider that was named.
    """
    _check(path)
    notice = None
    if choice in (ProviderChoice.AUTO, ProviderChoice.CUDA):
        session = _open_on_cuda(path)
        if session is not None and session.get_providers()[0] == CUDA:
            return OpenedSession(session=session, provider=CUDA, notice=None)
        if choice is ProviderChoice.CUDA:
            raise ProviderError(f"a GPU is required, but the session runs on {CPU}: {why_no_cuda()}")
        if has_cuda_driver():
            notice = f"an NVIDIA driver is installed, but its GPU is not used: {why_no_cuda()}"
    if choice is ProviderChoice.OPENVINO or (
        choice is ProviderChoice.AUTO and not is_small_job and openvino_pays()
    ):
        session, problem = _open_on_openvino(path, threads)
        if session is not None:
            return OpenedSession(session=session, provider=OPENVINO, notice=notice)
        if choice is ProviderChoice.OPENVINO:
            raise ProviderError(f"OpenVINO was requested, but cannot be used: {problem}")
        notice = notice or f"OpenVINO's plugin is installed and not in use: {problem}"
    session, is_cached = _open_on_processor(path, threads, cache_dir)
    if choice is ProviderChoice.AUTO and not is_small_job and not is_cached and plugin_would_gain():
        notice = notice or PLUGIN_WOULD_GAIN
    return OpenedSession(session=session, provider=session.get_providers()[0], notice=notice)


@cache
def load_runtime() -> Any:  # noqa: ANN401 - an untyped library
    """Imports ONNX Runtime without the telemetry that its builds send by default from 1.29 on.

    An environment variable disables it at import, and is set for that long; a host application that has
    imported the runtime, or set the variable, decides itself. In a command's own process its log is silenced.
    """
    with _set_variable("ORT_DISABLE_TELEMETRY", "1"):
        import onnxruntime

    if own_process.is_own():
        onnxruntime.set_default_logger_severity(_FATAL)
    return onnxruntime


@contextmanager
def _set_variable(name: str, value: str) -> Iterator[None]:
    """Sets an environment variable for the length of a block, unless it is set."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)


def why_no_cuda() -> str:
    """Returns why CUDA cannot be used on this machine, and the remedy."""
    if CUDA not in load_runtime().get_available_providers():
        return "this ONNX Runtime is built for the CPU only"
    if not has_cuda_driver():
        return "no NVIDIA driver is installed"
    return "the CUDA libraries do not load; install this project with its extra lookalike[cuda]"


def has_cuda_driver() -> bool:
    """Returns whether NVIDIA's driver library loads.

    Checked first, since a session without it logs errors.
    """
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def find_cuda_fault() -> str | None:
    """Returns what the dynamic loader says if CUDA's provider or cuDNN does not load; None if both do.

    cuDNN is loaded by the provider itself, when it is first needed.
    """
    _preload_cuda()
    folder = Path(load_runtime().__file__).parent / "capi"
    for name in _CUDA_LIBRARIES["win32" if sys.platform == "win32" else "linux"]:
        path = folder / name
        try:
            ctypes.CDLL(str(path) if path.exists() else name, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            return str(error)
    return None


_CUDA_LIBRARIES = {
    "linux": ("libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so", "libcudnn.so.9"),
    "win32": ("onnxruntime_providers_shared.dll", "onnxruntime_providers_cuda.dll", "cudnn64_9.dll"),
}
"""The libraries of ONNX Runtime for CUDA, and cuDNN, in the order in which they need each other."""


def cuda_version() -> str | None:
    """Returns the version of CUDA that ONNX Runtime is built for, such as 13.0; None if for none."""
    return getattr(load_runtime(), "cuda_version", None) or None


def first_line(error: Exception) -> str:
    """Returns the first line of a library's error, shortened."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _open_on_cuda(path: Path) -> Any | None:  # noqa: ANN401
    """Opens a session that should run on CUDA; None where CUDA is missing or fails."""
    if CUDA not in load_runtime().get_available_providers() or not has_cuda_driver():
        return None
    _preload_cuda()
    try:
        return load_runtime().InferenceSession(
            path, _make_options(), providers=[CUDA, CPU], enable_fallback=0
        )
    except Exception:  # noqa: BLE001 - of a broken model the processor says so
        return None


def _preload_cuda() -> None:
    """Loads CUDA's libraries, as `onnxruntime.preload_dlls` does, which prints the failures."""
    preload = load_runtime().preload_dlls
    silent = {**preload.__globals__, "print": lambda *_, **__: None}
    FunctionType(preload.__code__, silent, argdefs=preload.__defaults__)()


def _open_on_openvino(path: Path, threads: int | None) -> tuple[Any | None, str]:
    """Opens a session that runs entirely on OpenVINO, or returns None and the reason."""
    try:
        is_installed, device = _register_openvino(), next(_openvino_devices(), None)
    except Exception as error:  # noqa: BLE001 - whatever a plugin does, the processor is there
        return None, f"it does not load ({first_line(error)})"
    if not is_installed:
        return None, "install this project with its extra lookalike[openvino]"
    if device is None:
        return None, "its plugin is installed and offers nothing for this processor, as for all but Intel's"
    options = _make_options()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices([device], _openvino_options(threads))
    try:
        return load_runtime().InferenceSession(path, options), ""
    except Exception as error:  # noqa: BLE001 - as above
        return None, f"it cannot run this model ({first_line(error)})"


def _openvino_options(threads: int | None) -> dict[str, str]:
    """Returns the plugin's options, in which OpenVINO's own are a JSON object by device.

    The plugin ignores the session's number of threads, and its former option for it (`num_of_threads`).
    """
    threads = threads or fewer_than_all()
    if threads is None:
        return {}
    return {"load_config": json.dumps({"CPU": {"INFERENCE_NUM_THREADS": str(threads)}})}


def _open_on_processor(path: Path, threads: int | None, cache_dir: Path | None) -> tuple[Any, bool]:
    """Opens a session on the CPU, and returns whether it is that of the cached graph.

    A failing cache is no error.
    """
    session = None
    if cache_dir is not None:
        entry = entry_path(path, cache_dir, runtime=load_runtime().__version__)
        try:
            return _open_cached(entry, path, threads), True
        except Exception as error:
            if is_out_of_memory(error):  # the model itself takes as much
                raise memory_error(error, f"loading {entry}") from error
            with suppress(OSError):
                entry.unlink(missing_ok=True)  # or it would be left as that of another process
            session = _open_and_cache(path, entry, threads)
    return session or _open(path, _make_options(threads), [CPU]), False


def _open_and_cache(path: Path, entry: Path, threads: int | None) -> Any | None:  # noqa: ANN401
    """Opens a session and caches its optimized graph if possible; None if neither worked."""
    session = None
    with suppress(Exception), write_entry(entry, path) as graph:
        options = _make_options(threads)
        options.optimized_model_filepath = str(graph)
        options.add_session_config_entry(_WEIGHTS_FILE, weights_path(graph).name)
        options.add_session_config_entry(_WEIGHTS_FROM, str(_SMALL_BYTES))
        session = _open(path, options, [CPU])
    return session


def _open_cached(entry: Path, model: Path, threads: int | None) -> Any:  # noqa: ANN401
    """Opens a session on the cached graph, without optimizing it again.

    Raises:
        Exception: the graph is missing, damaged, or of another model.
    """
    require_own(entry, model)
    options = _make_options(threads)
    options.graph_optimization_level = load_runtime().GraphOptimizationLevel.ORT_DISABLE_ALL
    return _open(entry, options, [CPU])


def plugin_would_gain() -> bool:
    """Returns whether OpenVINO's plugin is not installed, and would be several times as fast as the CPU."""
    return not has_plugin() and gains_by_openvino() is True


def has_plugin() -> bool:
    """Returns whether OpenVINO's plugin is installed, without importing it."""
    try:
        return find_spec("onnxruntime_ep_openvino") is not None
    except ValueError:  # a module that is imported, and says nothing of where it came from
        return True


def has_openvino() -> bool:
    """Returns whether the plugin is installed and supports this CPU."""
    return next(_openvino_devices(), None) is not None


def openvino_pays() -> bool:
    """Returns whether the plugin is installed and the CPU computes in bfloat16.

    On other CPUs it is about as fast as ONNX Runtime itself and takes longer to start (benchmarks/README.md).
    """
    try:
        device = next(_openvino_devices(), None)
    except Exception:  # noqa: BLE001 - a broken plugin: let it say so where it is used
        return True
    return device is not None and "BF16" in device.ep_metadata.get("OPTIMIZATION_CAPABILITIES", "").split()


def _openvino_devices() -> Iterator[Any]:
    """Yields the CPU as OpenVINO's plugin offers it; nothing if the plugin is not installed.

    Nor for CPUs of other makers than Intel: https://github.com/microsoft/onnxruntime/pull/31981
    """
    if _register_openvino():
        for device in load_runtime().get_ep_devices():
            if device.ep_name == OPENVINO and device.ep_metadata.get("ov_device") == "CPU":
                yield device


@cache
def _register_openvino() -> bool:
    """Registers the plugin, once in a process; returns whether it is installed."""
    try:
        import onnxruntime_ep_openvino as plugin
    except ModuleNotFoundError:
        return False
    load_runtime().register_execution_provider_library("openvino", plugin.get_library_path())
    return True


def _check(path: Path) -> None:
    """Refuses a file that does not exist, or takes values from other files."""
    try:
        check_self_contained(path)
    except ModelError:
        raise
    except Exception as error:
        raise _model_error(path, error) from error


def _make_options(threads: int | None = None) -> Any:  # noqa: ANN401
    options = load_runtime().SessionOptions()
    options.log_severity_level = _FATAL  # what fails is raised, or read back from the session
    options.enable_mem_pattern = False  # it holds all activations twice: 360 MB for VGG16
    options.intra_op_num_threads = threads or fewer_than_all() or 0  # 0: the runtime counts the cores
    return options


def _open(path: Path, options: Any, providers: list[str]) -> Any:  # noqa: ANN401
    try:
        return load_runtime().InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as error:
        raise _model_error(path, error) from error


def _model_error(path: Path, error: Exception) -> ModelError | MemoryError:
    if is_out_of_memory(error):
        return memory_error(error, f"loading {path}")
    if not path.is_file():
        return ModelError(f"{path} does not exist", path=path, hint=Hint(Action.EXPORT))
    return ModelError(f"{path} cannot be loaded ({first_line(error)}); remove it and try again", path=path)
