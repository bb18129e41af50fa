"""Every setting that is to be evaluated, one after the other: collections, and the rankings of two fused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lookalike.console import Reporter
from lookalike.errors import UsageError
from lookalike.stores.points import EVERYTHING, PointFilter
from lookalike.stores.protocol import Collection, Store
from search.choice import require_dataset
from search.quality.evaluation import DEPTH, NEAR_ABOVE, leave_one_out
from search.quality.fused import leave_one_out_fused, passes, shared_pictures
from search.quality.indexed import IndexedNeighbours, index_figures, indexed_neighbours
from search.quality.labelled import LabelledPictures, load_labelled
from search.quality.summary import Evaluation, Fusion, summed_up
from search.ranking.fusion import FusionRule


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """What is the same for every setting; `leave_one_out` says what `k`, `near_above` and `without_near` do.

    `where` says which pictures ask and are found, `seed` draws bootstraps and folds, and `indexed` has the
    store's own index asked too.
    """

    where: PointFilter = EVERYTHING
    k: int = DEPTH
    near_above: float = NEAR_ABOVE
    without_near: bool = False
    seed: int = 0
    indexed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to evaluate: `collections`, and `pairs` of them whose rankings are fused by each of `rules`.

    A pair that shares too few pictures is an error, or said and left out where `pairs_may_fail`.
    """

    collections: Sequence[str]
    pairs: Sequence[Sequence[str]] = ()
    rules: Sequence[FusionRule] = ()
    pairs_may_fail: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An evaluation, and those before it that it is to be compared with."""

    evaluation: Evaluation
    compared_with: Sequence[Evaluation]


def evaluated(store: Store, plan: Plan, options: EvaluationOptions, reporter: Reporter) -> Iterator[Setting]:
    """Each of the collections, then each of the pairs fused by each of the rules.

    A collection is compared with all before it. A fusion is compared with each of its collections, over the
    same pictures and among the same pictures, and with the other fusions of them.

    Raises:
        UsageError: a collection holds, or a pair shares, too few pictures with a class.
    """
    done: dict[str, Evaluation] = {}
    for name in plan.collections:
        evaluation = _of_collection(store, name, options, reporter)
        yield Setting(evaluation=evaluation, compared_with=list(done.values()))
        done[name] = evaluation
    for pair in plan.pairs:
        try:
            yield from _fusions([done[name] for name in pair], plan.rules, options, reporter)
        except UsageError as error:
            if not plan.pairs_may_fail:
                raise
            reporter.say(f"{' + '.join(pair)}: not fused: {error}")


def _of_collection(store: Store, name: str, options: EvaluationOptions, reporter: Reporter) -> Evaluation:
    with store.open(name) as source:
        require_dataset([source.manifest], options.where.dataset)
        pictures = load_labelled(source, options.where)
        indexed = _indexed(source, pictures, options, reporter) if options.indexed else None
    evaluation = _exact(name, pictures, options, reporter)
    if indexed is None:
        return evaluation
    exact = evaluation.results.neighbours[:, :DEPTH]
    return replace(evaluation, indexed=index_figures(pictures.vectors, exact, indexed, seed=options.seed))


def _indexed(
    source: Collection, pictures: LabelledPictures, options: EvaluationOptions, reporter: Reporter
) -> IndexedNeighbours:
    with reporter.bar(f"{source.name}, by index", unit="images", total=len(pictures.payloads)) as bar:
        return indexed_neighbours(
            source,
            pictures,
            options.where,
            without_near_above=options.near_above if options.without_near else None,
            on_done=bar.advance,
        )


def _exact(
    name: str, pictures: LabelledPictures, options: EvaluationOptions, reporter: Reporter
) -> Evaluation:
    with reporter.bar(name, unit="images", total=len(pictures.payloads)) as bar:
        results = leave_one_out(
            pictures.vectors,
            k=options.k,
            near_above=options.near_above,
            without_near=options.without_near,
            on_done=bar.advance,
        )
    return summed_up(name, pictures, results, seed=options.seed)


def _fusions(
    alone: Sequence[Evaluation],
    rules: Sequence[FusionRule],
    options: EvaluationOptions,
    reporter: Reporter,
) -> Iterator[Setting]:
    """Where a collection holds pictures that the other lacks, it is evaluated again without them."""
    shared = shared_pictures([each.pictures for each in alone])
    compared_with = [
        each if pictures is each.pictures else _exact(each.collection, pictures, options, reporter)
        for each, pictures in zip(alone, shared.networks, strict=True)
    ]
    for rule in rules:
        names = [each.collection for each in alone]
        fusion = Fusion(rule=rule, collections=names, only_in_some=shared.only_in_some)
        evaluation = _fused(fusion, shared.networks, options, reporter)
        yield Setting(evaluation=evaluation, compared_with=list(compared_with))
        compared_with.append(evaluation)


def _fused(
    fusion: Fusion, networks: Sequence[LabelledPictures], options: EvaluationOptions, reporter: Reporter
) -> Evaluation:
    name = f"{' + '.join(fusion.collections)} ({fusion.rule})"
    total = passes(len(networks), fusion.rule) * len(networks[0].payloads)
    with reporter.bar(name, unit="images", total=total) as bar:
        results = leave_one_out_fused(
            [pictures.vectors for pictures in networks],
            fusion.rule,
            k=options.k,
            near_above=options.near_above,
            without_near=options.without_near,
            seed=options.seed,
            on_done=bar.advance,
        )
    return summed_up(name, networks[0], results, seed=options.seed, fusion=fusion)
