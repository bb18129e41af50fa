"""Models: backbones, ONNX Runtime sessions, and manifests that say which vectors may be compared."""
