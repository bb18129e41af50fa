"""Attacks vectors: trains decoders on a part of the images, and measures what they reconstruct of the rest.

Two decoders of each kind are trained on four fifths of the images, each without another fifth. Images of
these two fifths are therefore reconstructed twice: by a decoder that was trained on them, and by one that has
not seen them, so that both are compared on the same images. A third decoder leaves out whole classes.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from lookalike_core import progress
from numpy.typing import NDArray

from lookalike_search.analysis.inversion import Attacker, Decoder, ImageArray, train_decoder
from lookalike_search.analysis.reconstruction_quality import identify_originals, measure_psnr, measure_ssim
from lookalike_search.evaluation.bootstrap import FEWEST_QUERIES, Estimate, estimate
from lookalike_search.evaluation.comparisons import compare_pairs

IntVector = NDArray[np.int64]
FloatVector = NDArray[np.float64]

PARTS = 5
"""One of so many parts is held out."""

FEWEST = 25
"""Fewest images that are attacked: five are then held out, the fewest that have an interval."""

FIRST = 10
"""How many nearest candidates count as the first ones."""

RECOGNISED = 100
"""Reconstructions of each kind whose class is recognised by default."""

EXAMPLES = 12
"""Reconstructions of each kind that a page shows."""

FEWEST_CLASSES = 2

Recognise = Callable[[ImageArray, IntVector], Sequence[str | None]]
"""Returns the class that the network recognises in each of images uint8 `[M, 32, 32, 3]`, by the neighbours
of its vector. The images are shown for rows int64 `[M]`, whose own vectors are no neighbours."""


class Group(StrEnum):
    """The images that a row of figures is about, or what is shown in their place."""

    TRAINED = "trained on"
    """Images that the decoder was trained on."""
    UNSEEN = "unseen"
    """Images that it was not trained on, of classes that it was: the same images as those of `TRAINED`."""
    UNSEEN_CLASSES = "unseen classes"
    """Images of classes that it was not trained on."""
    MEAN = "mean image"
    """The mean of the training images, shown for each unseen image."""
    NEAREST = "nearest training image"
    """The training image whose vector is nearest, shown for each unseen image."""
    REDUCED = "original, 32 x 32"
    """The unseen image itself, reduced to 32 x 32 pixels: as much as a perfect reconstruction would give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackedImages:
    """Different images: vectors float32 `[N, D]`, images uint8 `[N, 32, 32, 3]`, classes, None for none."""

    vectors: NDArray[np.float32]
    images: ImageArray
    classes: Sequence[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of a group, each a mean over `images` with its interval; `attacker` is None for baselines.

    `first` and `in_ten` are how often an image is the nearest, or among the ten nearest, to its
    reconstruction of `candidates` images; `first_of_each` and `in_ten_of_each` are these for each image,
    float64 `[images]`, in an order that depends on the seed and the classes alone. `recognised` is how often
    the network finds the right class in a reconstruction, over `embedded` of them; None where that was not
    measured.
    """

    group: Group
    attacker: Attacker | None
    images: int
    candidates: int
    psnr: Estimate
    ssim: Estimate
    first: Estimate
    in_ten: Estimate
    recognised: Estimate | None
    embedded: int
    first_of_each: FloatVector = field(repr=False, compare=False)
    in_ten_of_each: FloatVector = field(repr=False, compare=False)

    @property
    def chance_of_first(self) -> float:
        """How often an image is the nearest by chance."""
        return 1 / self.candidates

    @property
    def chance_of_ten(self) -> float:
        """How often an image is among the ten nearest by chance."""
        return min(1.0, FIRST / self.candidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asymmetry:
    """How much more often images are identified by a decoder that was trained on them, over the same images.

    `p` is that of the paired sign-flip test, corrected for the number of attackers.
    """

    attacker: Attacker
    images: int
    difference: Estimate
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An image, by its row, as a decoder of each attacker reconstructs it: uint8 `[32, 32, 3]`."""

    group: Group
    row: int
    reconstructions: Mapping[Attacker, ImageArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackResult:
    """The figures of an attack; `missing` says why there are no unseen classes, or no recognised ones."""

    rows: Sequence[Row]
    asymmetries: Sequence[Asymmetry]
    examples: Sequence[Example]
    trained_on: int
    """Images that a decoder was trained on."""
    unseen_classes: Sequence[str]
    missing: Sequence[str]


def attack(
    attacked: AttackedImages,
    *,
    seed: int = 0,
    recognise: Recognise | None = None,
    recognised: int = RECOGNISED,
    recognised_groups: Collection[Group] = tuple(Group),
    attackers: Sequence[Attacker] = tuple(Attacker),
) -> AttackResult:
    """Trains the decoders of each attacker, and returns the figures of their reconstructions.

    There must be at least `FEWEST` images. `recognise` is called once, with at most `recognised`
    reconstructions of each kind, those of `recognised_groups`; without it no class is recognised.

    The same input and seed give the same figures: BLAS runs in one thread, since the number of threads
    changes the last bits.
    """
    from threadpoolctl import threadpool_limits

    asked = _Question(recognise=recognise, count=recognised, groups=recognised_groups)
    with threadpool_limits(1):
        return _attack(attacked, seed, asked, attackers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What is to be recognised: `count` images of each of these groups, nothing without `recognise`."""

    recognise: Recognise | None
    count: int
    groups: Collection[Group]


def _attack(
    attacked: AttackedImages, seed: int, asked: _Question, attackers: Sequence[Attacker]
) -> AttackResult:
    random = np.random.default_rng(seed)
    splits = _make_splits(attacked.classes, random)
    can_recognise = len({name for name in attacked.classes if name}) >= FEWEST_CLASSES
    sampled = [
        _draw_labelled(attacked.classes, rows, asked.count, random) for rows in splits.of_known_and_unseen
    ]
    decoders = dict(_train_all(attacked, splits.all, attackers, seed))
    shown = list(_show_all(attacked, splits, decoders, attackers))
    measured = [
        _measure(attacked, each, sampled[each.group is Group.UNSEEN_CLASSES], seed=seed) for each in shown
    ]
    if asked.recognise is not None and can_recognise:
        asked_about = [each for each in measured if each.row.group in asked.groups]
        known = _recognise_classes(attacked, asked_about, asked.recognise, seed=seed)
        rest = iter(known)
        measured = [next(rest) if each.row.group in asked.groups else each for each in measured]
    return AttackResult(
        rows=[each.row for each in measured],
        asymmetries=_compare(measured, attackers, seed),
        examples=list(_draw_examples(attacked, splits, decoders, attackers, random)),
        trained_on=len(splits.first.training),
        unseen_classes=splits.unseen_classes,
        missing=list(_say_missing(splits, can_recognise=can_recognise)),
    )


def _say_missing(splits: "Splits", *, can_recognise: bool) -> Iterator[str]:
    if splits.without_classes is None:
        yield "unseen classes are left out: too few classes, or too few images outside of the largest one"
    if not can_recognise:
        yield "no class is recognised: the images are of fewer than two classes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Rows that a decoder is trained on, and rows that it has not seen, ascending."""

    training: IntVector
    held_out: IntVector


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """Two splits that hold out a different fifth of the images each, and one that holds out classes."""

    first: Split
    second: Split
    without_classes: Split | None
    unseen_classes: Sequence[str]

    @property
    def all(self) -> Sequence[Split]:
        """All splits, in the order of their decoders."""
        last = [] if self.without_classes is None else [self.without_classes]
        return [self.first, self.second, *last]

    @property
    def of_known_and_unseen(self) -> Sequence[IntVector]:
        """The rows of the two fifths, and those of unseen classes, none where no class is left out."""
        known = np.union1d(self.first.held_out, self.second.held_out)
        unseen = np.empty(0, np.int64) if self.without_classes is None else self.without_classes.held_out
        return [known, unseen]


def _make_splits(classes: Sequence[str | None], random: np.random.Generator) -> Splits:
    first, second = _split_folds(classes, random)
    without = _leave_classes_out(classes, len(first.held_out), random)
    held_out = [] if without is None else without.held_out.tolist()
    return Splits(
        first=first,
        second=second,
        without_classes=without,
        unseen_classes=sorted({name for row in held_out if (name := classes[row]) is not None}),
    )


def _split_folds(classes: Sequence[str | None], random: np.random.Generator) -> list[Split]:
    """Returns two splits that hold out a different fifth of the images each, stratified by class.

    Both fifths have the same number of images, so that chance is the same.
    """
    order = random.permutation(len(classes))
    order = order[np.argsort([classes[row] or "" for row in order], kind="stable")]
    size = len(order) // PARTS
    parts = [np.sort(random.permutation(order[start::PARTS])[:size]) for start in range(2)]
    every = np.arange(len(classes))
    return [Split(training=np.setdiff1d(every, part), held_out=part) for part in parts]


def _leave_classes_out(classes: Sequence[str | None], size: int, random: np.random.Generator) -> Split | None:
    """Returns a split whose held-out images are `size` of classes without a training image, or fewer.

    Classes are drawn until they have `size` images, but never half of all; None where there are too few.
    Images without a class are not trained on, since they may be of one that is left out.
    """
    named = np.array([name or "" for name in classes])
    labelled = np.flatnonzero(named != "")
    names, counts = np.unique(named[labelled], return_counts=True)
    drawn: list[str] = []
    images = 0
    for number in random.permutation(len(names)).tolist():
        if images < size and 2 * (images + counts[number]) <= len(labelled):
            drawn.append(str(names[number]))
            images += int(counts[number])
    held_out = labelled[np.isin(named[labelled], drawn)]
    if len(held_out) < FEWEST_QUERIES:
        return None
    chosen = np.sort(random.permutation(held_out)[:size])
    return Split(training=labelled[~np.isin(named[labelled], drawn)], held_out=chosen)


def _train_all(
    attacked: AttackedImages, splits: Sequence[Split], attackers: Sequence[Attacker], seed: int
) -> Iterator[tuple[tuple[Attacker, int], Decoder]]:
    """Yields the decoder of each attacker for each split, by its number."""
    total = len(attackers) * sum(len(split.training) for split in splits)
    with progress.bar("decoders", unit="images", total=total) as bar:
        for attacker in attackers:
            for number, split in enumerate(splits):
                rows = split.training
                decoder = train_decoder(attacker, attacked.vectors[rows], attacked.images[rows], seed=seed)
                yield (attacker, number), decoder
                bar.advance(len(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Images uint8 `[N, 32, 32, 3]` that are shown for rows int64 `[N]`, each other's candidates."""

    rows: IntVector
    images: ImageArray


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What is shown for the images of a group."""

    group: Group
    attacker: Attacker | None
    parts: Sequence[_Part]


def _show_all(
    attacked: AttackedImages,
    splits: Splits,
    decoders: Mapping[tuple[Attacker, int], Decoder],
    attackers: Sequence[Attacker],
) -> Iterator[_Shown]:
    """Yields the reconstructions of each attacker and group, and then the baselines."""
    folds = [splits.first, splits.second]
    for attacker in attackers:
        by = [decoders[attacker, number] for number in range(len(splits.all))]
        for group, pairs in (
            (Group.TRAINED, list(zip(folds, [by[1], by[0]], strict=True))),
            (Group.UNSEEN, list(zip(folds, by[:2], strict=True))),
            (Group.UNSEEN_CLASSES, list(zip(splits.all[2:], by[2:], strict=True))),
        ):
            parts = [
                _Part(rows=split.held_out, images=decoder.reconstruct(attacked.vectors[split.held_out]))
                for split, decoder in pairs
            ]
            if parts:
                yield _Shown(group=group, attacker=attacker, parts=parts)
    for group, baseline in (
        (Group.MEAN, _mean_image),
        (Group.NEAREST, _nearest_images),
        (Group.REDUCED, _originals),
    ):
        parts = [_Part(rows=fold.held_out, images=baseline(attacked, fold)) for fold in folds]
        yield _Shown(group=group, attacker=None, parts=parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """A row, and the part whose class is recognised."""

    row: Row
    sampled: _Part


def _measure(attacked: AttackedImages, shown: _Shown, sampled: IntVector, *, seed: int) -> _Measured:
    """Returns the figures of a group without those that the network recognises; `sampled` are rows."""
    values = [_measure_part(part, attacked.images[part.rows]) for part in shown.parts]
    psnr, ssim, first, in_ten = (np.concatenate(each) for each in zip(*values, strict=True))
    row = Row(
        group=shown.group,
        attacker=shown.attacker,
        images=len(first),
        candidates=len(shown.parts[0].rows),
        psnr=estimate(psnr, seed=seed),
        ssim=estimate(ssim, seed=seed),
        first=estimate(first, seed=seed),
        in_ten=estimate(in_ten, seed=seed),
        recognised=None,
        embedded=0,
        first_of_each=first,
        in_ten_of_each=in_ten,
    )
    rows = np.concatenate([part.rows for part in shown.parts])
    images = np.concatenate([part.images for part in shown.parts])
    chosen = np.isin(rows, sampled)
    return _Measured(row=row, sampled=_Part(rows=rows[chosen], images=images[chosen]))


def _measure_part(part: _Part, originals: ImageArray) -> tuple[FloatVector, ...]:
    return (
        measure_psnr(part.images, originals),
        measure_ssim(part.images, originals),
        identify_originals(part.images, originals, first=1),
        identify_originals(part.images, originals, first=FIRST),
    )


def _recognise_classes(
    attacked: AttackedImages, measured: Sequence[_Measured], recognise: Recognise, *, seed: int
) -> list[_Measured]:
    """Returns the rows with how often the right class is recognised."""
    images, rows = (
        np.concatenate(each)
        for each in zip(*((each.sampled.images, each.sampled.rows) for each in measured), strict=True)
    )
    classes = [attacked.classes[row] for row in rows.tolist()]
    found = recognise(images, rows) if len(rows) else []
    right = np.array([float(one == other) for one, other in zip(found, classes, strict=True)])
    ends = np.cumsum([len(each.sampled.rows) for each in measured])[:-1]
    return [
        replace(
            each,
            row=replace(
                each.row,
                recognised=estimate(values, seed=seed) if len(values) else None,
                embedded=len(values),
            ),
        )
        for each, values in zip(measured, np.split(right, ends), strict=True)
    ]


def _mean_image(attacked: AttackedImages, fold: Split) -> ImageArray:
    mean = np.rint(attacked.images[fold.training].mean(axis=0)).astype(np.uint8)
    return np.repeat(mean[np.newaxis], len(fold.held_out), axis=0)


def _nearest_images(attacked: AttackedImages, fold: Split) -> ImageArray:
    """Returns the training images whose vectors are nearest to the held-out ones, by Euclidean distance.

    For vectors of length 1 that is the order of cosine similarity.
    """
    held_out, training = (
        attacked.vectors[rows].astype(np.float64) for rows in (fold.held_out, fold.training)
    )
    distances = np.einsum("nd,nd->n", training, training) - 2 * held_out @ training.T
    return np.asarray(attacked.images[fold.training[distances.argmin(axis=1)]])


def _originals(attacked: AttackedImages, fold: Split) -> ImageArray:
    return np.asarray(attacked.images[fold.held_out])


def _draw_labelled(
    classes: Sequence[str | None], rows: IntVector, count: int, random: np.random.Generator
) -> IntVector:
    """Returns at most `count` of the rows that have a class."""
    return random.permutation(rows[[bool(classes[row]) for row in rows.tolist()]])[:count]


def _compare(measured: Sequence[_Measured], attackers: Sequence[Attacker], seed: int) -> list[Asymmetry]:
    """Returns for each attacker how much more often the images it was trained on are the first."""
    firsts = {(each.row.group, each.row.attacker): each.row.first_of_each for each in measured}
    pairs = [(firsts[Group.UNSEEN, each], firsts[Group.TRAINED, each]) for each in attackers]
    return [
        Asymmetry(attacker=attacker, images=len(trained), difference=difference, p=p)
        for attacker, (_, trained), (difference, p) in zip(
            attackers, pairs, compare_pairs(pairs, seed=seed), strict=True
        )
    ]


def _draw_examples(
    attacked: AttackedImages,
    splits: Splits,
    decoders: Mapping[tuple[Attacker, int], Decoder],
    attackers: Sequence[Attacker],
    random: np.random.Generator,
) -> Iterator[Example]:
    """Yields examples of each group; those trained on and unseen are the same images."""
    same = np.sort(random.permutation(splits.first.held_out)[:EXAMPLES])
    groups = [(Group.TRAINED, same, 1), (Group.UNSEEN, same, 0)]
    if splits.without_classes is not None:
        others = np.sort(random.permutation(splits.without_classes.held_out)[:EXAMPLES])
        groups.append((Group.UNSEEN_CLASSES, others, 2))
    for group, rows, number in groups:
        images = {
            attacker: decoders[attacker, number].reconstruct(attacked.vectors[rows]) for attacker in attackers
        }
        for place, row in enumerate(rows.tolist()):
            yield Example(
                group=group, row=row, reconstructions={name: each[place] for name, each in images.items()}
            )
