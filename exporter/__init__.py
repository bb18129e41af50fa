"""Stage 1: Keras weights become an ONNX model.

`ready_model` is the one function that other stages call: it hands over a model file, exporting it
first where it is not there yet.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.export import ModelFile, ModelSpec, ready_model

__all__ = ["ModelFile", "ModelSpec", "ready_model"]


def __getattr__(name: str) -> object:
    """Imports what is in `__all__` when it is asked for: the command must not wait for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from exporter import export

    return getattr(export, name)
