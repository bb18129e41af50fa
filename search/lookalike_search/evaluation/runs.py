"""Runs an evaluation: first collections, then fusions of their rankings."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from lookalike_core import progress
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.logs import get_logger
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import EVERYTHING, PointFilter
from lookalike_core.stores.protocol import Collection
from numpy.typing import NDArray

from lookalike_search.collection_choice import resolve_dataset
from lookalike_search.evaluation.comparisons import Comparison, Contest, compare_settings
from lookalike_search.evaluation.head_splits import PartFigures, split_figures
from lookalike_search.evaluation.head_training import read_head_training
from lookalike_search.evaluation.image_noise import draw_order
from lookalike_search.evaluation.index_recall import IndexedNeighbours, find_indexed_neighbours, measure_index
from lookalike_search.evaluation.labelled_vectors import (
    LabelledImages,
    SharedImages,
    load_labelled,
    shared_images,
)
from lookalike_search.evaluation.leave_one_out import SHOWN, Ballot, QueryResults, draw_queries, leave_one_out
from lookalike_search.evaluation.noisy_queries import NoisyQueries, embed_noisy
from lookalike_search.evaluation.plan import Plan
from lookalike_search.evaluation.similarity_blocks import changed_blocks, count_passes
from lookalike_search.evaluation.summary import Evaluation, Fusion, best_values_of, summarise, values_of
from lookalike_search.evaluation.vote_study import (
    StudyOptions,
    StudyPart,
    VoteCounter,
    VoteStudy,
    make_study,
    measure_votes,
)

_logger = get_logger("search")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """Options of every setting; `leave_one_out` says what `k`, `near_above` and `without_near` do.

    `where` selects the images that are queries and neighbours; with `queries` only a random sample of so many
    are queries. `seed` draws bootstraps, halves, samples and noise, `indexed` measures the store's own index
    too, and `study` studies the votes, the noise only of single collections.
    """

    where: PointFilter = EVERYTHING
    queries: int | None = None
    k: int = SHOWN
    near_above: float = NEAR_ABOVE
    without_near: bool = False
    seed: int = 0
    indexed: bool = False
    study: StudyOptions | None = None


class OpenCollections(Protocol):
    """Opens collections by name: a store, or indexes that are open already."""

    def manifest(self, name: str) -> CollectionManifest:
        """Returns the manifest of a collection."""

    def open(self, name: str) -> Collection:
        """Returns a collection, to be used in a `with` block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An evaluation, and how it differs from the earlier ones that it is compared with.

    `parts` are the figures of training images of a head and of others; None without a head.
    """

    evaluation: Evaluation
    differences: Sequence[Comparison]
    parts: Sequence[PartFigures] | None = None


def evaluate_settings(
    store: OpenCollections, plan: Plan, options: EvaluationOptions, *, settings: Settings
) -> Iterator[Setting]:
    """Evaluates each of the collections, then each of the pairs fused by each of the rules.

    A collection is compared with all before it, a fusion with each of its collections and with the other
    fusions of them, always on the same queries and images (equal bytes and class). A collection that holds
    further images, or has other near-duplicates where those are left out, is evaluated again for the
    comparison. Two that share too few images are not compared, and a warning is logged.

    Raises:
        UsageError: a collection holds, or a pair shares, too few images with a class; or noise is to be
            studied in a required fusion.
        ImageError: noise is to be studied, and no image of a collection can be embedded again.
    """
    if options.study and options.study.noise and plan.pairs and not plan.pairs_may_fail:
        raise UsageError(
            "noise is studied in single collections, not in fusions of them; evaluate them without fusing",
            argument=Argument.NOISE,
            hint=Hint(Action.LEAVE_OUT_INSTEAD, {Argument.NOISE: None}),
        )
    for setting in _settings(store, plan, options, settings):
        evaluation = setting.evaluation
        manifests = {name: store.manifest(name) for name in evaluation.collections}
        training = read_head_training(manifests, settings=settings)
        if training is None:
            yield setting
            continue
        best = best_values_of(evaluation.results)
        parts = split_figures(
            evaluation.values, best, evaluation.images.payloads, training=training, seed=options.seed
        )
        yield replace(setting, parts=list(parts))


def _settings(
    store: OpenCollections, plan: Plan, options: EvaluationOptions, settings: Settings
) -> Iterator[Setting]:
    done: dict[str, Evaluation] = {}
    for name in plan.collections:
        evaluation = _evaluate_collection(store, name, options, settings)
        contests = list(_contests(list(done.values()), evaluation, options))
        yield Setting(evaluation=evaluation, differences=compare_settings(contests, seed=options.seed))
        done[name] = evaluation
    for pair in plan.pairs:
        try:
            yield from _evaluate_fusions([done[name] for name in pair], plan.rules, options)
        except UsageError as error:
            if not plan.pairs_may_fail:
                raise
            _logger.warning("%s: not fused: %s", " + ".join(pair), error, extra={"hint": error.hint})


def _evaluate_collection(
    store: OpenCollections, name: str, options: EvaluationOptions, settings: Settings
) -> Evaluation:
    with store.open(name) as source:
        manifest = source.manifest
        options = replace(options, where=resolve_dataset(options.where, manifest))
        images = load_labelled(source, options.where)
        indexed = _ask_index(source, images, options) if options.indexed else None
    embed = partial(_embed_noisy, images, manifest, options=options, settings=settings)
    evaluation = _evaluate(name, [images], options, embed=embed)
    if indexed is None:
        return evaluation
    found = measure_index(images.vectors, evaluation.results, indexed, seed=options.seed)
    return replace(evaluation, indexed=found)


def _ask_index(source: Collection, images: LabelledImages, options: EvaluationOptions) -> IndexedNeighbours:
    queries = draw_queries(len(images.payloads), options.queries, seed=options.seed)
    with progress.bar(f"{source.name}, by index", unit="images", total=len(queries)) as bar:
        return find_indexed_neighbours(
            source,
            images,
            options.where,
            queries=queries,
            without_near_above=options.near_above if options.without_near else None,
            on_done=bar.advance,
        )


def _evaluate(
    name: str,
    networks: Sequence[LabelledImages],
    options: EvaluationOptions,
    fusion: Fusion | None = None,
    embed: Callable[[StudyOptions, QueryResults], NoisyQueries] | None = None,
) -> Evaluation:
    """Evaluates one network, or several fused; `embed` embeds the noisy queries of a study."""
    vectors = [images.vectors for images in networks]
    rule = fusion.rule if fusion else FusionRule.RRF
    ballot = Ballot.of(*vectors, rule=rule)
    counter = VoteCounter(ballot, options.study.ks) if options.study else None
    queries = draw_queries(len(networks[0].payloads), options.queries, seed=options.seed)
    total = count_passes(len(networks), rule) * len(queries)
    with progress.bar(name, unit="images", total=total) as bar:
        results = leave_one_out(
            *vectors,
            rule=rule,
            k=options.k,
            near_above=options.near_above,
            without_near=options.without_near,
            queries=options.queries,
            seed=options.seed,
            on_block=counter.add if counter else lambda _: None,
            on_done=bar.advance,
        )
    evaluation = summarise(name, networks[0], results, seed=options.seed, fusion=fusion)
    if options.study is None or counter is None:
        return evaluation
    stored = measure_votes(
        counter.votes(),
        results.queries,
        classes=ballot.classes,
        relevant=results.relevant,
        seed=options.seed,
    )
    noisy = embed(options.study, results) if embed and options.study.noise else None
    return replace(evaluation, vote_study=_study(networks[0], results, stored, noisy, options))


def _embed_noisy(
    images: LabelledImages,
    manifest: CollectionManifest,
    study: StudyOptions,
    results: QueryResults,
    *,
    options: EvaluationOptions,
    settings: Settings,
) -> NoisyQueries:
    """Embeds a sample of the images that have another one of their class to find."""
    return embed_noisy(
        images.payloads,
        manifest,
        draw_order(images.vectors, results.relevant > 0, seed=options.seed),
        levels=study.noise,
        sample=study.sample,
        seed=options.seed,
        settings=settings,
    )


def _study(
    images: LabelledImages,
    results: QueryResults,
    stored: StudyPart,
    noisy: NoisyQueries | None,
    options: EvaluationOptions,
) -> VoteStudy:
    if noisy is None:
        return make_study(stored, seed=options.seed)
    parts = []
    for level, vectors in noisy.vectors.items():
        counter = VoteCounter(Ballot.of(images.vectors), list(stored.votes))
        for block in changed_blocks(
            images.vectors,
            noisy.rows,
            vectors,
            near_above=options.near_above,
            without_near=options.without_near,
        ):
            counter.add(block)
        part = measure_votes(
            counter.votes(),
            noisy.rows,
            classes=images.vectors.classes,
            relevant=results.relevant,
            noise=level,
            seed=options.seed,
        )
        parts.append(part)
    return make_study(stored, parts, left_out=noisy.left_out, provider=noisy.provider, seed=options.seed)


def _contests(
    earlier: Sequence[Evaluation], evaluation: Evaluation, options: EvaluationOptions
) -> Iterator[Contest]:
    for one in earlier:
        try:
            shared = shared_images([one.images, evaluation.images])
        except UsageError as error:
            _logger.warning(
                "%s and %s: not compared: %s",
                one.collection,
                evaluation.collection,
                error,
                extra={"hint": error.hint},
            )
            continue
        one_values, other_values = _comparable_values([one, evaluation], shared, options)
        yield Contest(
            one=one.collection,
            other=evaluation.collection,
            one_values=one_values,
            other_values=other_values,
            is_partial=shared.only_in_some > 0,
        )


def _comparable_values(
    alone: Sequence[Evaluation], shared: SharedImages, options: EvaluationOptions
) -> list[Mapping[str, NDArray[np.float64]]]:
    """Returns the values of each evaluation, for the same queries among the same images.

    Near-duplicates in any of the collections are left out of all. An evaluation that was made on the same
    images is used again.
    """
    near = options.without_near and any(each.near_identical for each in alone)
    return [
        each.values
        if images is each.images and not near
        else _evaluate_again(
            each.collection,
            images,
            [other for other in shared.networks if near and other is not images],
            options,
        )
        for each, images in zip(alone, shared.networks, strict=True)
    ]


def _evaluate_again(
    name: str,
    images: LabelledImages,
    others: Sequence[LabelledImages],
    options: EvaluationOptions,
) -> Mapping[str, NDArray[np.float64]]:
    """Evaluates a collection again, without near-duplicates in it or in the others where there are some."""
    queries = draw_queries(len(images.payloads), options.queries, seed=options.seed)
    with progress.bar(f"{name}, to compare", unit="images", total=len(queries)) as bar:
        results = leave_one_out(
            images.vectors,
            k=1,
            near_above=options.near_above,
            without_near=bool(others),
            near_in=[each.vectors for each in others],
            queries=options.queries,
            seed=options.seed,
            on_done=bar.advance,
        )
    return values_of(results, images.vectors.classes)


def _evaluate_fusions(
    alone: Sequence[Evaluation],
    rules: Sequence[FusionRule],
    options: EvaluationOptions,
) -> Iterator[Setting]:
    shared = shared_images([each.images for each in alone])
    names = [each.collection for each in alone]
    count = len(shared.networks[0].payloads)
    before = [
        (each.collection, values, len(each.images.payloads) > count)
        for each, values in zip(alone, _comparable_values(alone, shared, options), strict=True)
    ]
    for rule in rules:
        fusion = Fusion(rule=rule, collections=names, only_in_some=shared.only_in_some)
        evaluation = _evaluate(f"{' + '.join(names)} ({rule})", shared.networks, options, fusion)
        contests = [
            Contest(
                one=name,
                other=evaluation.collection,
                one_values=values,
                other_values=evaluation.values,
                is_partial=is_partial,
            )
            for name, values, is_partial in before
        ]
        yield Setting(evaluation=evaluation, differences=compare_settings(contests, seed=options.seed))
        before.append((evaluation.collection, evaluation.values, False))
