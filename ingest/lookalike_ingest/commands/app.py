"""The `ingest` command: its subcommands, one module each."""

from lookalike_core.cli.subcommands import lazy_app

SUBCOMMANDS = {
    "run": "Bring collections up to date with folders.",
    "watch": "Keep collections up to date with folders.",
    "status": "Show the collections and what is in them.",
    "verify": "Compare collections with their files and models.",
    "rebuild": "Build a collection again from its images.",
    "remove": "Remove images from collections; files stay.",
    "import": "Import a collection from a Parquet file.",
    "copy": "Copy collections to another store.",
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
