"""The `ingest` command: its subcommands, one module each."""

from lookalike_core.cli.subcommands import lazy_app

SUBCOMMANDS = {
    "run": "Bring collections up to date with folders.",
    "status": "Show the collections and what is in them.",
    "rebuild": "Rebuild a collection from its datasets; the old one stays until the new one is complete.",
    "remove": "Remove a dataset, or images by path or class, from the collections; the files stay.",
    "sample": "Draw a small labelled set of images for a first try.",
}

app = lazy_app(
    "Turn a folder of images into searchable collections.", package=__package__, subcommands=SUBCOMMANDS
)
