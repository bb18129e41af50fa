"""The `ingest` command: its subcommands, one module each."""

from lookalike_core.cli.subcommands import lazy_app

SUBCOMMANDS = {
    "run": "Bring collections up to date with folders.",
    "watch": "Keep collections up to date with folders, until it is stopped.",
    "status": "Show the collections and what is in them.",
    "verify": "Verify that collections are what their files and models make; nothing is written.",
    "rebuild": "Rebuild a collection from its datasets; the old one stays until the new one is complete.",
    "remove": "Remove a dataset, or images by path or class, from the collections; the files stay.",
    "import": "Import a collection from a Parquet file; nothing is embedded.",
    "copy": "Copy collections to another store, and compare every point.",
    "backup": "Back a collection up to one file.",
    "restore": "Restore a collection from its backup.",
    "sample": "Draw a small labelled set of images for a first try.",
}

app = lazy_app(
    "Turn a folder of images into searchable collections.",
    package=__package__,
    subcommands=SUBCOMMANDS,
    continued=("run", "rebuild", "remove", "import", "copy"),
)
