"""Options that several subcommands of `exporter` take."""

from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.atomic import parse_path
from lookalike_core.missing_path import require_folder

BackboneOption = Annotated[
    str, typer.Option("--backbone", metavar="BACKBONE", help="Network: resnet (ResNet101V2) or vgg (VGG16).")
]


CalibrateOption = Annotated[
    Path | None,
    typer.Option("--calibrate", metavar="DIR", help="Images to find int8 activation ranges on."),
]


def folder_option(named: Path | None, option: str) -> Path | None:
    """Returns the folder that an option names, or None if it was not given.

    Raises:
        UsageError: there is no such folder.
    """
    folder = parse_path(str(named), option) if named is not None else None
    if folder is not None:
        require_folder(folder, option)
    return folder
