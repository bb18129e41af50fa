"""The `exporter` command: its subcommands, one module each."""

from lookalike_core.cli.subcommands import lazy_app

SUBCOMMANDS = {
    "run": "Export one model, unless it is in the cache already.",
    "list": "Show the models that can be exported, and those in the cache.",
    "verify": "Check a model and compare it with Keras, or an fp16 or int8 model with its fp32 model.",
    "fit": "Fit a new last layer, a head, to a collection: to its classes, or without labels.",
}

app = lazy_app(
    "Turn Keras' ResNet101V2 and VGG16 into ONNX models.", package=__package__, subcommands=SUBCOMMANDS
)
