"""Models: backbones, ONNX Runtime sessions, and manifests, which decide whether vectors can be compared."""
