"""The `search` command: its subcommands, one module each."""

from lookalike_core.cli.subcommands import lazy_app

SUBCOMMANDS = {
    "query": "Print the nearest neighbours of each image, best first.",
    "evaluate": "Measure how good the neighbours are: every image is a query, and its class the truth.",
    "calibrate": "Learn how likely neighbours and verdicts are right; queries show it from then on.",
    "neighbours": "Print the nearest neighbours of every image, as a table.",
    "export": "Write a collection's images, classes and vectors to a file: Parquet, NumPy or CSV.",
    "duplicates": "Show groups of the same image, and which file to keep; nothing is deleted.",
    "audit": "Find wrong labels, outliers, leaked duplicates and classes that look the same.",
    "explain": "Show where in two images their similarity comes from, cell by cell.",
    "serve": "Serve the page and answer queries over HTTP, with collections open and models loaded.",
    "map": "Draw a collection as a map: similar images near each other, coloured by class.",
    "privacy": "Measure what stored vectors give away: an attacker reconstructs images from them.",
}

app = lazy_app("Find the images most like a given one.", package=__package__, subcommands=SUBCOMMANDS)
