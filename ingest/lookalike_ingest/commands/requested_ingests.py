"""The requests that the options of `ingest run` and `ingest watch` stand for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from lookalike_core.atomic import parse_path
from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_core.settings import Settings
from lookalike_core.stores.cluster_layout import ClusterLayout
from lookalike_core.stores.collection_manifest import Distance, VectorQuantization

from lookalike_ingest.dataset_rules import RuleChoice
from lookalike_ingest.durations import parse_duration
from lookalike_ingest.engines.engine import EngineChoice
from lookalike_ingest.parts import Part
from lookalike_ingest.request import (
    Dataset,
    IngestRequest,
    ModelChoice,
    check_pruning,
    describe_datasets,
    load_labels,
)
from lookalike_ingest.subset import Subset
from lookalike_ingest.synsets import choose_synset_labels


def choose_rules(
    *,
    exclude: Sequence[str] | None,
    no_exclude: bool,
    default_excludes: bool | None,
    follow_links: bool | None,
    class_level: int | None,
) -> RuleChoice:
    """Returns the rules that the options stand for.

    Raises:
        UsageError: patterns are given and to be forgotten.
    """
    if exclude and no_exclude:
        raise UsageError("--exclude replaces the remembered patterns; leave --no-exclude out")
    return RuleChoice(
        exclude=() if no_exclude else exclude,
        default_excludes=default_excludes,
        follow_links=follow_links,
        class_level=class_level,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedIngests:
    """The values of the options, as they were given."""

    folders: Sequence[str | Path]
    model: ModelChoice
    rules: RuleChoice
    distances: Sequence[Distance]
    dataset: str | None
    new_root: bool
    labels: Path | None
    synsets: Path | None
    val_solution: Path | None
    prune: bool
    prune_after: str | None
    batch_size: int | None
    max_pixels: int
    quantize: VectorQuantization | None
    layout: ClusterLayout | None = None
    subset: Subset | None = None
    part: Part | None = None
    engine: EngineChoice | None = None
    dry_run: bool = False
    force: bool = False
    rehash: bool = False

    def check(self, *, may_be_missing: bool = False) -> list[Dataset]:
        """Returns the datasets of the folders, after refusing options that exclude each other.

        Raises:
            UsageError: options exclude each other, or a folder is missing and must not be.
        """
        self.model.check()
        check_pruning(prune=self.prune, prune_after=self._prune_after, force=self.force)
        self.rules.check()
        datasets = describe_datasets(
            self.folders, self.dataset, moved=self.new_root, may_be_missing=may_be_missing or self.force
        )
        for each in datasets:
            self.rules.check_for(each.root)
        if self.labels is not None and len(datasets) > 1:
            raise UsageError(
                "the paths of a label table are relative to one folder; ingest each folder separately",
                argument=Argument.LABELS,
            )
        return datasets

    def request(self, dataset: Dataset, settings: Settings) -> IngestRequest:
        """Returns the request for one of the folders.

        Raises:
            UsageError: a table or a head cannot be read.
        """
        label_of = partial(
            choose_synset_labels,
            names=parse_path(str(self.synsets), "--synsets") if self.synsets else None,
            solution=parse_path(str(self.val_solution), "--val-solution") if self.val_solution else None,
        )
        labels = self.labels and parse_path(str(self.labels), "--labels")
        return IngestRequest(
            dataset=dataset,
            specs=self.model.resolve(settings),
            distances=list(dict.fromkeys(self.distances or [Distance.COSINE])),
            labels=load_labels(labels, dataset.root) if labels else {},
            label_of=label_of(dataset.root),
            subset=self.subset,
            part=self.part,
            engine=self.engine,
            rules=self.rules,
            batch_size=self.batch_size,
            max_pixels=self.max_pixels,
            dry_run=self.dry_run,
            prune=self.prune,
            prune_after=self._prune_after,
            force=self.force,
            rehash=self.rehash,
            quantize=self.quantize,
            layout=self.layout,
        )

    @property
    def tables(self) -> list[Path]:
        """The tables of classes, whose changes change classes."""
        return [table for table in (self.labels, self.synsets, self.val_solution) if table is not None]

    @property
    def _prune_after(self) -> timedelta | None:
        return None if self.prune_after is None else parse_duration(self.prune_after, Argument.PRUNE_AFTER)
