"""What can be done about an error or a notice, as data.

The library says what is the case; what could be done about it by other arguments or another step is a `Hint`.
The commands put it into words about options (`lookalike_core.cli.hint_words`), a program reads it as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self


class Argument(StrEnum):
    """What a caller can choose; a command has an option for each, of the same name."""

    AND = "and"
    BACKBONE = "backbone"
    ALL = "all"
    CLASS = "class"
    CLASS_LEVEL = "class_level"
    COLLECTION = "collection"
    DATASET = "dataset"
    DIMS = "dims"
    DISTANCE = "distance"
    EXACT = "exact"
    EXCLUDE = "exclude"
    FOLDER = "folder"
    """The folder of images; of a command it is no option, but stands by itself."""
    FOLLOW_LINKS = "follow_links"
    FORCE = "force"
    FUSION = "fusion"
    HEAD = "head"
    KEEP_IN = "keep_in"
    LABELS = "labels"
    LAYER = "layer"
    MAX_DISTANCE = "max_distance"
    MAX_PIXELS = "max_pixels"
    MIN_SCORE = "min_score"
    NAME = "name"
    NEW_ROOT = "new_root"
    NOT = "not"
    OUTPUT = "output"
    PATH = "path"
    IMAGES = "images"
    POOLING = "pooling"
    PRECISION = "precision"
    PROVIDER = "provider"
    PRUNE = "prune"
    QUANTIZE = "quantize"
    QUERY = "query"
    REQUIRE_GPU = "require_gpu"
    STORE = "store"
    WEIGHTS = "weights"


class Action(StrEnum):
    """What could be done next; each says which arguments its hints may carry."""

    USE = "use"
    """Other values of arguments."""
    USE_INSTEAD = "use-instead"
    """As `USE`, where the message names another way already."""
    LEAVE_OUT = "leave-out"
    """Arguments that are better not given."""
    LEAVE_OUT_INSTEAD = "leave-out-instead"
    """As `LEAVE_OUT`, where the message names another way already."""
    LEAVE_ONE_OUT = "leave-one-out"
    """Arguments of which there is one too many."""
    RAISE_LIMIT = "raise-limit"
    """An argument that is the limit."""
    PIPE = "pipe"
    """An image on standard input, which has a name of its own."""
    CHECK_PATH = "check-path"
    """The name of a file or folder that is not there, and whether its disk is."""
    REPEAT = "repeat"
    """The same again, which goes on where it ended."""
    CHANGE_PROVIDER = "change-provider"
    """Another execution provider, or a look at the model on this one."""

    NAME_WEIGHTS = "name-weights"
    """The weights file, fetched by other means."""
    OTHER_WEIGHTS = "other-weights"
    """The weights file, fetched by other means, or weights from another source."""

    NAME_CALIBRATION_FOLDER = "name-calibration-folder"
    """A folder of images to calibrate a model of int8 on."""
    EXPORT = "export"
    """Export the model."""
    INGEST = "ingest"
    """Make the collection: `backbone`, `distance`, `layer`, `pooling`, `weights`, `precision`, `head`."""
    FILL = "fill"
    """Ingest into the collection that is there."""
    INGEST_AGAIN = "ingest-again"
    """Ingest each folder again, which adds what is missing."""
    UPDATE = "update"
    """Ingest the folder again, whose files have changed."""
    LABEL = "label"
    """Ingest with `labels`, where folders do not say the classes."""
    REBUILD = "rebuild"
    """Make the `collection` anew."""
    REBUILD_OR_CHANGE_STORE = "rebuild-or-change-store"
    """Make the `collection` anew, or use another store, which leaves it as it is."""
    CONTINUE_REBUILD = "continue-rebuild"
    """Go on with making the `collection` anew."""
    CONTINUE_REBUILD_INSTEAD = "continue-rebuild-instead"
    """As `CONTINUE_REBUILD`, where the message names another way already."""
    REQUANTIZE = "requantize"
    """Make the `collection` anew with the `quantize` that was asked for."""
    MOVE_OR_RENAME_DATASET = "move-or-rename-dataset"
    """Say that the dataset's folder has moved, or give the dataset a name of its own."""
    MOVE_OR_REMOVE_DATASET = "move-or-remove-dataset"
    """Say where the folder of the `dataset` is now, or take it out."""
    MOVE_DATASET = "move-dataset"
    """Say that the `folder` is the `dataset`'s new place, if it was renamed or moved."""
    UPDATE_DATASET = "update-dataset"
    """Bring the `dataset` of this `folder` up to date, with what its collection was made with."""
    FORGET_DATASET = "forget-dataset"
    """Take the `dataset` out, if its folder was renamed or moved and is ingested under its new name."""
    KEEP_ONE_DATASET = "keep-one-dataset"
    """Take the `dataset` out, whose images another one holds as well."""
    PRUNE_AWAY = "prune-away"
    """Prune with `force`, which gives up what may be away only."""
    REPEAT_OR_FORCE = "repeat-or-force"
    """The same again, which goes on where it ended; or the points of what is missing are given up."""
    SAY_RULES = "say-rules"
    """Say how the folder is to be walked, rather than leave it to what collections remember."""
    NAME_DATASET = "name-dataset"
    """Another name for the dataset."""
    REMOVE_DATASET = "remove-dataset"
    """Take out the `dataset` whose images are gone for good, or prune it."""
    EXCLUDE_LESS = "exclude-less"
    """Other patterns, or none, or none of the default excludes."""
    SEE_STATUS = "see-status"
    """See which collections there are, and what is in them."""

    FIT_HEAD = "fit-head"
    """Fit a head."""
    REFIT_HEAD = "refit-head"
    """Fit the head of this `name` again, in the place of the one that is there."""
    REFIT_HEAD_AND_REBUILD = "refit-head-and-rebuild"
    """Fit the head of this `name` again, and make the `collection` anew that was made with it."""
    REBUILD_AND_REFIT_HEAD = "rebuild-and-refit-head"
    """Make the collections anew that the head of this `name` was fitted to, then fit it, then its own."""
    RENAME_OR_REPLACE_HEAD = "rename-or-replace-head"
    """Give the new head another name, or replace the old one and make its collections anew."""
    ADD_COLLECTIONS = "add-collections"
    """Several collections: named, one of each network, or all."""
    ONE_COLLECTION = "one-collection"
    """One collection, by its name."""
    FUSE = "fuse"
    """Search several collections together rather than through one head."""
    CALIBRATE = "calibrate"
    """Calibrate each `collection`."""
    RECALIBRATE = "recalibrate"
    """Calibrate the `collection` again."""

    SEARCH_STORE = "search-store"
    """The other store, which has the collection."""
    CHANGE_FOLDER = "change-folder"
    """Another folder for the embedded store."""
    CHANGE_STORE = "change-store"
    """Another store."""
    USE_EMBEDDED = "use-embedded"
    """The embedded store, although something like a server runs here."""
    NAME_SERVER = "name-server"
    """Name the server at `store`, so that it is sent the key; or use the embedded store."""
    SET_KEY = "set-key"
    """Another API key, or another store."""
    CORRECT_KEY = "correct-key"
    """The API key without anything around it."""
    SET_HOME = "set-home"
    """Name a folder to keep models and collections in."""
    OTHER_HOME = "other-home"
    """Name another folder to keep models in, and then the `store`, too, if it lies in the one so far."""
    INSTALL_KERAS = "install-keras"
    """Install Keras."""


Value = str | tuple[str, ...] | None
"""Of an argument: one value, or several; None where it has none, or where the reader has to choose."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What could be done, with the values that arguments should have for it."""

    action: Action
    values: Mapping[Argument, Value] = field(default_factory=dict)


class Notice(str):
    """A line for people about what happened, with a hint where something can be done about it."""

    __slots__ = ("hint",)
    hint: Hint | None

    def __new__(cls, text: str, *, hint: Hint | None = None) -> Self:
        """Returns the text, which is all that `str` and a log handler see of it."""
        notice = super().__new__(cls, text)
        notice.hint = hint
        return notice

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Hint | None]]:
        return (str(self),), {"hint": self.hint}
