"""Measures how often the votes of neighbours are right, over their number and over noise on the queries.

    python benchmarks/votes.py [--store STORE] [--k 1,5,10,20] [--noise 10,20,40] [--sample 200] [--seeds 3]
        [--saved FOLDER] [--plot FILE] COLLECTION [COLLECTION ...]

Singh, Haddon, Markou (Pattern Recognition 34(8), 2001) ask this of two votes on image textures. Without noise
every image with a class is a query by its stored vector. With noise a sample of them, the same for all levels
and seeds, is read from its files and embedded again, as `search evaluate --noise` does, once for each seed of
the noise; an image counts once, by its mean over the seeds. Intervals are a bootstrap over images, p is that
of the paired sign-flip test with Holm's correction. It also counts the queries for which the rule
`nearest-class`, which asks the classes among the k neighbours, and the paper's, which asks all, differ.
`--saved` keeps the vectors of the sample, so that a long run can be made in parts.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.open_store import open_store
from lookalike_search.evaluation.bootstrap import Estimate, estimate
from lookalike_search.evaluation.comparisons import sign_flip_p
from lookalike_search.evaluation.image_noise import draw_order
from lookalike_search.evaluation.labelled_vectors import LabelledImages, load_labelled
from lookalike_search.evaluation.leave_one_out import Ballot, QueryResults, leave_one_out
from lookalike_search.evaluation.noisy_queries import NoisyQueries, embed_noisy
from lookalike_search.evaluation.similarity_blocks import changed_blocks
from lookalike_search.evaluation.summary import Evaluation, summarise
from lookalike_search.evaluation.vote_study import (
    StudiedRule,
    StudyPart,
    VoteComparison,
    VoteCounter,
    make_study,
    measure_votes,
)
from lookalike_search.reports.vote_plots import write_vote_plot
from machine import describe

NEAR_ABOVE = 0.99


def main() -> None:
    """Prints a table for each collection, the certain differences, and what the restriction costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--store")
    parser.add_argument("--k", default="1,5,10,20")
    parser.add_argument("--noise", default="10,20,40")
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--saved", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    print(describe())
    settings, ks = Settings.from_environment(), [int(k) for k in arguments.k.split(",")]
    evaluations = []
    for name in arguments.collections:
        with open_store(arguments.store, settings).open(name) as collection:
            manifest, images = collection.manifest, load_labelled(collection)
        evaluation = study(name, images, manifest, ks, arguments, settings)
        print_study(evaluation)
        evaluations.append(evaluation)
    if arguments.plot:
        write_vote_plot(arguments.plot, evaluations)


def study(
    name: str,
    images: LabelledImages,
    manifest: CollectionManifest,
    ks: Sequence[int],
    arguments: argparse.Namespace,
    settings: Settings,
) -> Evaluation:
    """Returns the evaluation of a collection, with its study."""
    counter = VoteCounter(Ballot.of(images.vectors), ks)
    results = leave_one_out(images.vectors, on_block=counter.add)
    stored = measure_votes(
        counter.votes(),
        np.arange(len(images.payloads)),
        classes=images.vectors.classes,
        relevant=results.relevant,
    )
    levels = [float(level) for level in arguments.noise.split(",")]
    order = draw_order(images.vectors, results.relevant > 0)
    parts: dict[float, list[StudyPart]] = {level: [] for level in [0.0, *levels]}
    for seed in range(arguments.seeds):
        found = embedded(
            name, images, manifest, order, [0.0, *levels] if not seed else levels, seed, arguments, settings
        )
        for level, part in measured(images, results, found, ks):
            parts[level].append(part)
    noisy = [averaged(each) for each in parts.values()]
    return replace(summarise(name, images, results), vote_study=make_study(stored, noisy))


def embedded(
    name: str,
    images: LabelledImages,
    manifest: CollectionManifest,
    order: np.ndarray,
    levels: Sequence[float],
    seed: int,
    arguments: argparse.Namespace,
    settings: Settings,
) -> NoisyQueries:
    """Returns the sample embedded with the noise of a seed, from the saved vectors where they are."""
    words = "-".join(f"{level:g}" for level in levels)
    saved = arguments.saved and arguments.saved / f"{name}-{arguments.sample}-{seed}-{words}.npz"
    if saved and saved.exists():
        with np.load(saved) as file:
            vectors = dict(zip(levels, file["vectors"], strict=True))
            return NoisyQueries(rows=file["rows"], vectors=vectors, left_out=0, provider="saved")
    found = embed_noisy(
        images.payloads,
        manifest,
        order,
        levels=levels,
        sample=arguments.sample,
        seed=seed,
        settings=settings,
    )
    if saved:
        saved.parent.mkdir(parents=True, exist_ok=True)
        np.savez(saved, rows=found.rows, vectors=np.stack([found.vectors[level] for level in levels]))
    return found


def measured(
    images: LabelledImages, results: QueryResults, found: NoisyQueries, ks: Sequence[int]
) -> Iterator[tuple[float, StudyPart]]:
    """Yields each level with the votes of its queries."""
    for level, vectors in found.vectors.items():
        counter = VoteCounter(Ballot.of(images.vectors), ks)
        for block in changed_blocks(
            images.vectors, found.rows, vectors, near_above=NEAR_ABOVE, without_near=False
        ):
            counter.add(block)
        yield (
            level,
            measure_votes(
                counter.votes(),
                found.rows,
                classes=images.vectors.classes,
                relevant=results.relevant,
                noise=level,
            ),
        )


def averaged(parts: Sequence[StudyPart]) -> StudyPart:
    """Returns one part for several draws of the noise: each image counts by its mean over them."""
    right = {
        k: {rule: np.mean([part.right[k][rule] for part in parts], axis=0) for rule in StudiedRule}
        for k in parts[0].right
    }
    return replace(
        parts[0],
        right=right,
        accuracy={k: {rule: estimate(each) for rule, each in rules.items()} for k, rules in right.items()},
        tied={k: estimate(np.mean([part.votes[k].tied for part in parts], axis=0)) for k in parts[0].votes},
    )


def print_study(evaluation: Evaluation) -> None:
    """Prints the table of a collection, its certain differences, and what the restriction costs."""
    found = evaluation.vote_study
    if found is None:
        return
    print(f"\n{evaluation.collection}\n\n| noise | images | k | {' | '.join(StudiedRule)} | tied |")
    print(f"|{'---|' * (len(StudiedRule) + 4)}")
    for part in found.parts:
        for k in found.ks:
            cells = [shown(each) for each in part.accuracy[k].values()]
            noise = "stored" if part.noise is None else f"{part.noise:g}"
            print(f"| {noise} | {len(part.rows)} | {k} | {' | '.join(cells)} | {part.tied[k].value:.1%} |")
    print_differences("rules", found.rules)
    print_differences("levels", found.levels)
    print("\nnearest-class, which asks the classes among the k, against all classes, stored vectors:")
    for k, votes in found.stored.votes.items():
        one, other = votes.verdicts[StudiedRule.NEAREST_CLASS], votes.verdicts[StudiedRule.NEAREST_OF_ALL]
        right = found.stored.right[k]
        pair = right[StudiedRule.NEAREST_CLASS], right[StudiedRule.NEAREST_OF_ALL]
        gain = estimate(pair[1] - pair[0])
        print(
            f"k {k}: {int((one != other).sum())} of {len(one)} verdicts differ; all classes "
            f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}; p {sign_flip_p(*pair):.4f})"
        )


def print_differences(title: str, found: Sequence[VoteComparison]) -> None:
    """Prints the certain differences, and how many others there are."""
    certain = [each for each in found if each.is_certain]
    print(f"\n{title}: {len(certain)} of {len(found)} differences are certain")
    for each in certain:
        gain = each.difference
        noise = "stored" if each.noise is None else f"noise {each.noise:g}"
        other = each.against_rule if each.rule is not each.against_rule else f"noise {each.against_noise:g}"
        print(
            f"{each.rule}, k {each.k}, {noise} against {other}: {gain.value:+.4f} "
            f"({gain.low:+.4f} to {gain.high:+.4f}; p {each.p:.4f})"
        )


def shown(found: Estimate) -> str:
    """Returns a figure with its interval."""
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


if __name__ == "__main__":
    main()
