"""The `exporter` command: its subcommands, one module each."""

from lookalike_core.cli.subcommands import lazy_app

SUBCOMMANDS = {
    "run": "Export a model, unless it is in the cache.",
    "list": "List models: those to export, those in the cache.",
    "verify": "Compare a model with Keras, or with its fp32 model.",
    "fit": "Fit a new last layer (head) to a collection.",
}

app = lazy_app(
    "Turn Keras' ResNet101V2 and VGG16 into ONNX models.", package=__package__, subcommands=SUBCOMMANDS
)
