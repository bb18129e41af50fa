"""Pictures become vectors: one ONNX Runtime session, on the provider that it really runs on."""

import ctypes
import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import ManifestError, ModelError, ProviderError
from lookalike.files import parse_json
from lookalike.manifest import METADATA_KEY, ModelManifest
from lookalike.model_file import check_self_contained
from lookalike.pictures.decoding import Pixels
from lookalike.stores.points import FloatVector

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

BATCH_SIZE = 16
"""Pictures a run; on a processor larger batches take memory and gain nothing."""

_FATAL = 4


class Embedder:
    """A loaded model. `provider` is what the session runs on, read back from it.

    `notice` is what people should be told whose GPU is there and not in use.
    """

    def __init__(self, session: Any, manifest: ModelManifest) -> None:  # noqa: ANN401 - untyped library
        self._session = session
        self.manifest = manifest
        self.provider: str = session.get_providers()[0]
        self.notice: str | None = None

    @classmethod
    def load(cls, path: Path, *, provider: str = "auto") -> Self:
        """Opens a session on CUDA where there is one (`auto`), on it alone (`cuda`), or on the CPU (`cpu`).

        Raises:
            ModelError: the file is not a model that the exporter made.
            ProviderError: CUDA was required and the session runs on something else.
        """
        with redirect_stdout(io.StringIO()):  # the library prints there what it could not load
            session = _session(path, _providers(provider))
        try:
            embedder = cls(session, _manifest(session))
        except ManifestError as error:
            raise ModelError(f"{path}: {error}") from error
        if provider == "cuda" and embedder.provider != CUDA:
            raise ProviderError(
                f"a GPU is required and the session runs on {embedder.provider}: {why_no_cuda()}"
            )
        if provider == "auto" and embedder.provider != CUDA and has_cuda_driver():
            embedder.notice = f"an NVIDIA driver is here and its GPU is not in use: {why_no_cuda()}"
        return embedder

    def embed(self, pixels: NDArray[np.uint8] | Sequence[Pixels]) -> NDArray[np.float32]:
        """float32 `[N, D]` for uint8 `[N, 224, 224, 3]` RGB.

        Raises:
            ModelError: the provider failed, for want of memory as a rule.
        """
        try:
            (vectors,) = self._session.run(None, {"images": np.asarray(pixels, dtype=np.uint8)})
        except Exception as error:
            raise ModelError(
                f"{self.provider} failed on {len(pixels)} pictures ({_first_line(error)}); "
                "a smaller --batch-size needs less memory"
            ) from error
        return np.asarray(vectors, dtype=np.float32)

    def embed_one(self, pixels: Pixels) -> FloatVector:
        """float32 `[D]` for uint8 `[224, 224, 3]` RGB."""
        return np.asarray(self.embed(pixels[np.newaxis])[0], dtype=np.float32)


def why_no_cuda() -> str:
    """What stands between this machine and CUDA, and what to do about it."""
    if CUDA not in _runtime().get_available_providers():
        return "this ONNX Runtime is built for the CPU alone"
    if not has_cuda_driver():
        return "no NVIDIA driver is installed"
    return "the CUDA libraries do not load; install this project with its extra lookalike[cuda]"


def has_cuda_driver() -> bool:
    """Whether NVIDIA's driver library loads; asked first, since a session without it only complains."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _providers(provider: str) -> list[str]:
    runtime = _runtime()
    wants_cuda = provider != "cpu" and CUDA in runtime.get_available_providers()
    if not (wants_cuda and has_cuda_driver()):
        return [CPU]
    runtime.preload_dlls()
    return [CUDA, CPU]


@cache
def _runtime() -> Any:  # noqa: ANN401
    """ONNX Runtime, with the telemetry off that its builds send home by default from 1.29 on.

    It reads the variable as it is loaded, and so it is set before; who has set it is left in charge.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _session(path: Path, providers: Sequence[str]) -> Any:  # noqa: ANN401
    runtime = _runtime()
    runtime.set_default_logger_severity(_FATAL)  # what fails is raised, or read back from the session
    try:
        check_self_contained(path)
        options = runtime.SessionOptions()
        options.enable_mem_pattern = False  # it holds all activations twice: 360 MB for VGG16
        return runtime.InferenceSession(path, options, providers=list(providers))
    except ModelError:
        raise
    except Exception as error:
        if not path.is_file():
            raise ModelError(f"{path} is not there; exporter run makes it") from error
        raise ModelError(
            f"{path} cannot be loaded ({_first_line(error)}); remove it and try again"
        ) from error


def _manifest(session: Any) -> ModelManifest:  # noqa: ANN401
    properties = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in properties:
        raise ManifestError("it carries no manifest; export it with: exporter run")
    try:
        return ModelManifest.from_json(parse_json(properties[METADATA_KEY]))
    except ValueError as error:
        raise ManifestError(f"its manifest is no JSON ({error}); export it with: exporter run") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
