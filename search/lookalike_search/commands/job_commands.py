"""The commands that do the jobs of `search serve`: `search evaluate`, `audit` and others."""

import os
import sys
from collections.abc import Callable, Sequence

from lookalike_core.errors import UsageError

from lookalike_search.analysis.collection_map import MOST
from lookalike_search.commands import audit
from lookalike_search.commands.map import LIMIT
from lookalike_search.serving.indexed_images import is_id
from lookalike_search.serving.jobs import JobKind
from lookalike_search.serving.query_fields import MOST_VOTERS, Fields

_MOST_SEED = 2**32 - 1


def job_command(store: str | None) -> Callable[[str], Callable[[JobKind, Fields], Sequence[str]]]:
    """Returns a function that takes the default collection, and returns the one that `Jobs` takes.

    `store` is the value of `--store`, None where there is none.
    """
    program = [sys.executable, "-m", "lookalike_search.commands.job_process"]
    stored = [] if store is None else [f"--store={store}"]
    return lambda default: lambda kind, fields: [*program, *job_words(kind, fields, default=default), *stored]


def job_words(kind: JobKind, fields: Fields, *, default: str) -> list[str]:
    """Returns the words of `search` for a job; a name is joined to its option, whatever it begins with.

    Raises:
        UsageError: a field is unknown or out of range.
    """
    values: dict[str, str | float | None] = {"--collection": fields.text("collection") or default}
    if kind is not JobKind.EXPLANATION:
        values["--dataset"] = fields.text("dataset")
    flags: dict[str, bool] = {}
    match kind:
        case JobKind.EVALUATION:
            words = ["evaluate"]
            values["--k"] = fields.whole("k", 10, low=1, high=MOST_VOTERS)
            values["--near-above"] = fields.optional_number("near_above", low=0, high=1)
            flags = {"--without-near": fields.flag("without_near"), "--indexed": fields.flag("indexed")}
        case JobKind.DUPLICATES:
            words = ["duplicates"]
            values["--above"] = fields.optional_number("above", low=0, high=1)
        case JobKind.AUDIT:
            words = ["audit"]
            values["--near-above"] = fields.optional_number("near_above", low=0, high=1)
            values["--fdr"] = fields.share("fdr")
            values["--limit"] = fields.whole("limit", audit.SHOWN, low=1, high=audit.MOST_SHOWN)
            flags = {"--files": fields.flag("files")}
        case JobKind.MAP:
            words = ["map"]
            values["--limit"] = fields.whole("limit", LIMIT, low=1, high=MOST)
        case JobKind.EXPLANATION:
            words = ["explain", _read_id(fields, "query"), _read_id(fields, "neighbour")]
            region = fields.region("region")
            values["--region"] = None if region is None else str(region)
    if kind in (JobKind.EVALUATION, JobKind.AUDIT, JobKind.MAP):
        values["--seed"] = fields.whole("seed", 0, low=0, high=_MOST_SEED)
    fields.require_all_read()
    words += ["--json", *(f"{name}={value}" for name, value in values.items() if value is not None)]
    return words + [name for name, is_set in flags.items() if is_set]


def _read_id(fields: Fields, name: str) -> str:
    """Returns the id of an indexed image; a file of that name would be read in its place."""
    id_ = fields.text(name) or ""
    if not is_id(id_) or os.path.lexists(id_):
        raise UsageError(f"{name} is no id of an indexed image", argument=name)
    return id_
