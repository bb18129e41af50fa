"""Heads: new last layers for a frozen network, their files, their ONNX graphs and their training."""
