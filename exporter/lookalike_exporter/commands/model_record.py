"""The JSON of one model."""

from lookalike_exporter.model_cache import ModelFile


def model_json(model: ModelFile) -> dict[str, object]:
    """Returns the keys of the model's manifest beside its path, as `json_records.Model` has them."""
    return {"schema": 1, "path": model.path, **model.manifest.to_json()}
