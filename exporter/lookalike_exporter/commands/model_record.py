"""The JSON of one model."""

from lookalike_exporter.model_cache import ModelFile


def model_json(model: ModelFile) -> dict[str, object]:
    """Returns the JSON of a model: its path and the keys of its manifest."""
    return {"schema": 1, "path": model.path, **model.manifest.to_json()}
