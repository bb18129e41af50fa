"""The ONNX Runtime sessions of an ingest."""

from lookalike_core.logs import get_logger
from lookalike_core.models.embedder import BATCH_SIZE, Embedder
from lookalike_core.models.providers import CUDA
from lookalike_core.settings import Settings
from lookalike_exporter.model_cache import ModelFile

_BATCH_SIZES = {CUDA: 128}
"""Images per batch for providers that need more than `BATCH_SIZE`; a GPU idles between small batches."""

LARGEST_BATCH = max(BATCH_SIZE, *_BATCH_SIZES.values())

_logger = get_logger("ingest")


def default_batch_size(provider: str) -> int:
    """Returns how many images an execution provider gets at once, unless a size is given."""
    return _BATCH_SIZES.get(provider, BATCH_SIZE)


class Embedders:
    """Opens one session for each model, when the first image needs it, and keeps it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._open: dict[str, Embedder] = {}

    def of(self, model: ModelFile) -> Embedder:
        """Returns the model's session."""
        key = str(model.path)
        if key not in self._open:
            embedder = Embedder.from_settings(model.path, self.settings, expected=model.manifest)
            embedder.log_provider(_logger)
            self._open[key] = embedder
        return self._open[key]
