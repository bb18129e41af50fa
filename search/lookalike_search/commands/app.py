"""The `search` command: its subcommands, one module each."""

from lookalike_core.cli.subcommands import lazy_app

SUBCOMMANDS = {
    "query": "Print the nearest neighbours of each image, best first.",
    "evaluate": "Measure how good the neighbours are: every image is a query, and its class the truth.",
    "calibrate": "Learn how likely neighbours and verdicts are right; queries show it from then on.",
    "neighbours": "Print the nearest neighbours of every image, as a table.",
    "duplicates": "Show groups of the same image, and which file to keep; nothing is deleted.",
    "explain": "Show where in two images their similarity comes from, cell by cell.",
    "map": "Draw a collection as a map: similar images near each other, coloured by class.",
}

app = lazy_app("Find the images most like a given one.", package=__package__, subcommands=SUBCOMMANDS)
