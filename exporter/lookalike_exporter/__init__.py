"""Stage 1: Keras weights become an ONNX model.

`ready_model` hands a model file to the other stages, exporting it first where it is not there yet;
`unpooled_model` hands over the same model with every value of its last layer; `outdated` says which
collections this version's models do not fit; `calibrated` finds the quantization of an int8 model.
`named_head` and `head_of` find a new last layer.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lookalike_exporter.export import FeatureModel, ModelSpec, calibrated, unpooled_model
    from lookalike_exporter.heads.head_file import Head, head_name, head_of, head_path, named_head
    from lookalike_exporter.model_cache import ModelFile, outdated, ready_model

__all__ = [
    "FeatureModel",
    "Head",
    "ModelFile",
    "ModelSpec",
    "calibrated",
    "head_name",
    "head_of",
    "head_path",
    "named_head",
    "outdated",
    "ready_model",
    "unpooled_model",
]

_HOMES = {
    **dict.fromkeys(["Head", "head_name", "head_of", "head_path", "named_head"], "heads.head_file"),
    **dict.fromkeys(["ModelFile", "outdated", "ready_model"], "model_cache"),
}
"""The modules of names that are not `export`'s."""


def __getattr__(name: str) -> object:
    """Imports what is in `__all__` when it is asked for: the command must not wait for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"lookalike_exporter.{_HOMES.get(name, 'export')}"), name)
