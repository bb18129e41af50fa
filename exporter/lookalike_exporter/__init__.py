"""Stage 1: Keras weights become an ONNX model.

A `spec.ModelSpec` describes a model, a `heads.head_file.Head` a new last layer behind one. Other stages get
the model of either, and that of a collection, from `model_resolver`; it is exported first where it is not
there yet.
"""
