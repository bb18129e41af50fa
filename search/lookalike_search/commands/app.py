"""The `search` command: its subcommands, one module each."""

from lookalike_core.cli.subcommands import lazy_app

SUBCOMMANDS = {
    "query": "Print the nearest neighbours of each image, best first.",
    "evaluate": "Measure how good the neighbours are, with intervals.",
    "calibrate": "Learn probabilities of neighbours and verdicts.",
    "neighbours": "Print the nearest neighbours of every image.",
    "export": "Write images, classes and vectors to a file.",
    "duplicates": "Group copies of an image; nothing is deleted.",
    "audit": "Find wrong labels, outliers and leaks.",
    "explain": "Show where a similarity comes from.",
    "serve": "Serve the page and an HTTP API.",
    "map": "Draw a collection as a map.",
    "privacy": "Measure what stored vectors give away.",
}

app = lazy_app("Find the images most like a given one.", package=__package__, subcommands=SUBCOMMANDS)
