"""The `search` command: its subcommands, one module each."""

from lookalike_core.cli.subcommands import lazy_app

SUBCOMMANDS = {
    "query": "Print the nearest neighbours of each image, best first.",
    "evaluate": "Measure how good the neighbours are: every image asks, and the classes tell.",
    "calibrate": "Learn how often neighbours of a score are right, and how often verdicts are, "
    "for queries to show.",
    "neighbours": "Print the nearest neighbours of each and every image, as a table.",
    "duplicates": "Show groups of the same image, and which file to keep; nothing is deleted.",
    "explain": "Show where in two images their similarity comes from: what each cell adds to it.",
    "map": "Draw a collection in two dimensions: near ones near, coloured by class.",
}

app = lazy_app("Find the images most like a given one.", package=__package__, subcommands=SUBCOMMANDS)
