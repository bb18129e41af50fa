"""The ONNX Runtime sessions of an ingest."""

from lookalike_core.logs import get_logger
from lookalike_core.models.embedder import Embedder
from lookalike_core.settings import Settings
from lookalike_exporter.model_cache import ModelFile

_logger = get_logger("ingest")


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
