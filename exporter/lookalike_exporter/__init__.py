"""Stage 1: Keras weights become an ONNX model.

A `spec.ModelSpec` describes a model, a `heads.head_file.Head` a new last layer behind one. Other stages get
the model of a spec from `export`, of a head from `heads.head_graph`, and of a collection, whichever of the
two it was made with, from `collection_models`; each is exported first where it is not there yet.
"""
