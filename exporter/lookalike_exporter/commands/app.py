"""The `exporter` command: its subcommands, one module each."""

from lookalike_core.cli.subcommands import lazy_app

SUBCOMMANDS = {
    "run": "Export one model; nothing is done where it is there already.",
    "list": "Show what can be exported and what is here.",
    "verify": "Check a model, and compare it with Keras; one of 16 or 8 bits is compared with that of 32.",
    "fit": "Fit a new last layer to the classes of a collection.",
}

app = lazy_app(
    "Turn Keras' ResNet101V2 and VGG16 into ONNX models.", package=__package__, subcommands=SUBCOMMANDS
)
