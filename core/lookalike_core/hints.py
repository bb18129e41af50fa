"""Remedies for errors and notices, as data.

The library's messages state the problem; a remedy that consists of other arguments or another step is a
`Hint`. The commands word it in terms of options (`lookalike_core.cli.hint_words`); a program reads it as
data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self


class Argument(StrEnum):
    """Arguments that a caller can choose; a command has an option of the same name for each."""

    AND = "and"
    BACKBONE = "backbone"
    ALL = "all"
    AS = "as_name"
    """The name of a copy; in a command its option is `--as`."""
    CLASS = "class"
    CLASS_LEVEL = "class_level"
    COLLECTION = "collection"
    CONFIDENCE = "confidence"
    DATASET = "dataset"
    DIMS = "dims"
    DISTANCE = "distance"
    DIVERSE = "diverse"
    EXACT = "exact"
    EXCLUDE = "exclude"
    FOLDER = "folder"
    """The folder of images; in a command it is a positional argument and no option."""
    FOLLOW_LINKS = "follow_links"
    FORCE = "force"
    FUSION = "fusion"
    HEAD = "head"
    KEEP_IN = "keep_in"
    LABELS = "labels"
    LAYER = "layer"
    LOCATE = "locate"
    MAX_DISTANCE = "max_distance"
    MAX_PIXELS = "max_pixels"
    MIN_CHANCE = "min_chance"
    MIN_SCORE = "min_score"
    MIN_WIDTH = "min_width"
    NAME = "name"
    NEW_ROOT = "new_root"
    NOISE = "noise"
    NOT = "not"
    NOT_CLASS = "not_class"
    ONE_PER = "one_per"
    OUTPUT = "output"
    PART = "part"
    PATH = "path"
    IMAGES = "images"
    INCLUDE_SELF = "include_self"
    POOLING = "pooling"
    PRECISION = "precision"
    PRINCIPAL = "principal"
    PROVIDER = "provider"
    POLL = "poll"
    PRUNE = "prune"
    PRUNE_AFTER = "prune_after"
    QUANTIZE = "quantize"
    QUERY = "query"
    REGION = "region"
    REQUIRE_GPU = "require_gpu"
    SINCE = "since"
    STORE = "store"
    TO = "to"
    UNLABELLED = "unlabelled"
    UNTIL = "until"
    WEIGHTS = "weights"
    WITHOUT_NEAR = "without_near"


class Action(StrEnum):
    """The remedies; each says which arguments its hints may carry."""

    USE = "use"
    """Use other values of arguments."""
    USE_INSTEAD = "use-instead"
    """As `USE`, as an alternative to a remedy that the message gives."""
    LEAVE_OUT = "leave-out"
    """Omit arguments."""
    LEAVE_OUT_INSTEAD = "leave-out-instead"
    """As `LEAVE_OUT`, as an alternative to a remedy that the message gives."""
    LEAVE_ONE_OUT = "leave-one-out"
    """Omit one of these arguments, which exclude each other."""
    RAISE_LIMIT = "raise-limit"
    """Raise the argument that is the limit."""
    PIPE = "pipe"
    """Pass the image on standard input, which has a name of its own."""
    CHECK_PATH = "check-path"
    """Check the name of a file or folder that does not exist, and that its disk is mounted."""
    REPEAT = "repeat"
    """Repeat the command, which resumes where it ended."""
    CHANGE_PROVIDER = "change-provider"
    """Use another execution provider, or check the model on this one."""

    NAME_WEIGHTS = "name-weights"
    """Download the weights file by other means, and name it."""
    OTHER_WEIGHTS = "other-weights"
    """Download the weights file by other means, or use weights from another source."""

    NAME_CALIBRATION_FOLDER = "name-calibration-folder"
    """Name a folder of images to calibrate an int8 model on."""
    EXPORT = "export"
    """Export the model."""
    INGEST = "ingest"
    """Create the collection: `backbone`, `distance`, `layer`, `pooling`, `weights`, `precision`, `head`."""
    FILL = "fill"
    """Ingest into the collection that exists."""
    INGEST_AGAIN = "ingest-again"
    """Ingest each folder again, which adds what is missing."""
    UPDATE = "update"
    """Ingest the folder, whose files have changed, again."""
    LABEL = "label"
    """Ingest with `labels`, where folder names are not the classes."""
    REBUILD = "rebuild"
    """Rebuild the `collection`."""
    REBUILD_OR_CHANGE_STORE = "rebuild-or-change-store"
    """Rebuild the `collection`, or use another store and leave this one unchanged."""
    CONTINUE_REBUILD = "continue-rebuild"
    """Resume the rebuild of the `collection`."""
    CONTINUE_REBUILD_INSTEAD = "continue-rebuild-instead"
    """As `CONTINUE_REBUILD`, as an alternative to a remedy that the message gives."""
    CONTINUE_COPY = "continue-copy"
    """Resume the interrupted copy, as an alternative to a remedy that the message gives."""
    REQUANTIZE = "requantize"
    """Rebuild the `collection` with the `quantize` that was requested."""
    MOVE_OR_RENAME_DATASET = "move-or-rename-dataset"
    """Pass the dataset's new folder if it has moved, or give the new dataset another name."""
    MOVE_OR_REMOVE_DATASET = "move-or-remove-dataset"
    """Pass the new folder of the `dataset` if it has moved, or remove it from the collection."""
    TAKE_NEW_ROOT = "take-new-root"
    """Take the folder of the file as that of the dataset, if the dataset has moved."""
    MOVE_DATASET = "move-dataset"
    """Pass `folder` as the new folder of the `dataset`, if it was renamed or moved."""
    UPDATE_DATASET = "update-dataset"
    """Update the `dataset` of this `folder`, with the arguments that its collection was made with."""
    FORGET_DATASET = "forget-dataset"
    """Remove the `dataset`, if its folder was renamed or moved and is ingested under its new name."""
    KEEP_ONE_DATASET = "keep-one-dataset"
    """Remove the `dataset`, whose images another dataset holds as well."""
    PRUNE_AWAY = "prune-away"
    """Prune with `force`, which also deletes points whose files may be missing only for a time."""
    REPEAT_OR_FORCE = "repeat-or-force"
    """Repeat the command, which resumes where it ended; or delete the points of missing files by force."""
    SAY_RULES = "say-rules"
    """Pass the rules by which the folder is walked, instead of those that the collections have stored."""
    NAME_DATASET = "name-dataset"
    """Use another name for the dataset."""
    REMOVE_DATASET = "remove-dataset"
    """Remove the `dataset` whose images are deleted for good, or prune it."""
    EXCLUDE_LESS = "exclude-less"
    """Use other exclude patterns, or none, or switch the default excludes off."""
    LIST_COLLECTIONS = "list-collections"
    """Run `status` to see which collections there are."""
    SEE_STATUS = "see-status"
    """Run `status` to see the collections and their contents."""

    FIT_HEAD = "fit-head"
    """Fit a head."""
    REFIT_HEAD = "refit-head"
    """Fit the head of this `name` again, replacing the old one."""
    REFIT_HEAD_AND_REBUILD = "refit-head-and-rebuild"
    """Fit the head of this `name` again, and rebuild the `collection` that was made with it."""
    REBUILD_AND_REFIT_HEAD = "rebuild-and-refit-head"
    """Rebuild the collections that the head of this `name` was fitted to, refit it, then rebuild its own."""
    RENAME_OR_REPLACE_HEAD = "rename-or-replace-head"
    """Give the new head another name, or replace the old one and rebuild its collections."""
    ADD_COLLECTIONS = "add-collections"
    """Name several collections, one of each network, or all of them."""
    ONE_COLLECTION = "one-collection"
    """Name one collection."""
    FUSE = "fuse"
    """Search several collections by fusion instead of through one head."""
    CALIBRATE = "calibrate"
    """Calibrate each `collection`."""
    RECALIBRATE = "recalibrate"
    """Calibrate the `collection` again."""

    SEARCH_STORE = "search-store"
    """Search the other store, which has the collection."""
    CHANGE_FOLDER = "change-folder"
    """Use another folder for the embedded store."""
    CHANGE_STORE = "change-store"
    """Use another store."""
    USE_EMBEDDED = "use-embedded"
    """Use the embedded store, although a server seems to run on this machine."""
    NAME_SERVER = "name-server"
    """Name the server at `store`, so that the key is sent to it, or use the embedded store."""
    SET_KEY = "set-key"
    """Use another API key, or another store."""
    CORRECT_KEY = "correct-key"
    """Pass the API key without surrounding characters."""
    SET_HOME = "set-home"
    """Name a folder for models and collections."""
    OTHER_HOME = "other-home"
    """Name another folder for models, and the `store` too, if it is in the present folder."""
    INSTALL_KERAS = "install-keras"
    """Install Keras."""


Value = str | tuple[str, ...] | None
"""An argument's value, or several; None for an argument without a value, or for the reader to choose."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A remedy, with the values that arguments should have for it."""

    action: Action
    values: Mapping[Argument, Value] = field(default_factory=dict)


class Notice(str):
    """A message about an event, with a hint if there is a remedy."""

    __slots__ = ("hint",)
    hint: Hint | None

    def __new__(cls, text: str, *, hint: Hint | None = None) -> Self:
        """Returns the notice as its text, so that `str` and log handlers see that alone."""
        notice = super().__new__(cls, text)
        notice.hint = hint
        return notice

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Hint | None]]:
        return (str(self),), {"hint": self.hint}
