"""The `exporter` command: its subcommands, one module each."""

from lookalike_core.cli.subcommands import lazy_app

SUBCOMMANDS = {
    "run": "Export one model, unless it is there already.",
    "list": "Show what can be exported and what is here.",
    "verify": "Check a model and compare it with Keras, or one of fp16 or int8 with that of fp32.",
    "fit": "Fit a new last layer, a head, to the classes of a collection.",
}

app = lazy_app(
    "Turn Keras' ResNet101V2 and VGG16 into ONNX models.", package=__package__, subcommands=SUBCOMMANDS
)
