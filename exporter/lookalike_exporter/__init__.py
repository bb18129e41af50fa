"""Stage 1: exports Keras weights as an ONNX model.

A `spec.ModelSpec` describes a model, a `heads.head_file.Head` a new last layer for one. Other stages get the
model of either, and that of a collection, from `model_resolver`, which exports it if it is not in the cache.
"""
