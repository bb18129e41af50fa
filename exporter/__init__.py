"""Stage 1: Keras weights become an ONNX model.

`ready_model` is the one function that other stages call: it hands over a model file, exporting it
first where it is not there yet.
"""

from exporter.export import ModelFile, ModelSpec, ready_model

__all__ = ["ModelFile", "ModelSpec", "ready_model"]
