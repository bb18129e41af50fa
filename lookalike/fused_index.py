"""Searches several indexes as one, by fused rankings."""

from collections.abc import Iterable, Sequence

from lookalike_core.errors import UsageError
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.protocol import Collection
from lookalike_search.asking.searched_collection import SearchedCollection
from lookalike_search.evaluation.plan import Plan
from lookalike_search.evaluation.runs import EvaluationOptions, evaluate_settings

from lookalike.arguments import check_choice, check_number, check_study, check_whole, filter_by_dataset
from lookalike.index import Index
from lookalike.model import settings_for
from lookalike.notebook import shows_progress
from lookalike.records import Evaluation
from lookalike.searching import Searchable


def fuse(indexes: Iterable[Index]) -> "FusedIndex":
    """Returns several indexes as one, which fuses their rankings: `search(image, rule="rrf")`.

    Raises:
        UsageError: there are fewer than two indexes, or one of them is given twice.
    """
    return FusedIndex(indexes)


class FusedIndex(Searchable):
    """Several indexes that are searched as one; closing them is up to the caller."""

    def __init__(self, indexes: Iterable[Index]) -> None:
        self.indexes = tuple(indexes)
        if len(self.indexes) < _FEWEST:
            raise UsageError(
                f"fusion needs at least two indexes, not {len(self.indexes)}", argument="indexes"
            )
        if len({id(index) for index in self.indexes}) < len(self.indexes):
            raise UsageError("the same index is given twice; fuse different indexes", argument="indexes")

    def __repr__(self) -> str:
        return f"<lookalike.FusedIndex of {', '.join(map(repr, self.indexes))}>"

    def _networks(self) -> list[SearchedCollection]:
        """Returns the collections and their models, in the order of the indexes."""
        return [network for index in self.indexes for network in index._networks()]

    @shows_progress
    def evaluate(
        self,
        *,
        rule: str = FusionRule.RRF,
        dataset: str | None = None,
        k: int | Sequence[int] = 10,
        near_above: float = NEAR_ABOVE,
        without_near: bool = False,
        seed: int = 0,
    ) -> Evaluation:
        """Measures how good the fused neighbours are, over the images that all indexes hold.

        The `differences` of the evaluation compare the fusion with each index alone.

        Args:
            rule: How rankings become one: `rrf`, `zscore` or `calibrated`.
            dataset: As for `Index.evaluate`, and so are all other arguments.
            k: How many neighbours vote, or several numbers, as for `Index.evaluate`.
            near_above: The cosine similarity over which two images count as near-duplicates, 0 to 1.
            without_near: Leave out near-duplicates of the query.
            seed: The seed of the bootstrap.

        Raises:
            UsageError: the indexes share too few images with a class, or two collections have the same name.
        """
        voters, study = check_study(k)
        options = EvaluationOptions(
            where=filter_by_dataset(dataset),
            k=voters,
            study=study,
            near_above=check_number(near_above, "near_above"),
            without_near=without_near,
            seed=check_whole(seed, "seed"),
        )
        opened = _Opened(self.indexes)
        names = list(opened.by_name)
        plan = Plan(collections=names, pairs=[names], rules=[check_choice(FusionRule, rule, "rule")])
        *_, fused = evaluate_settings(opened, plan, options, settings=settings_for())
        return Evaluation._of(fused, opened.manifest(names[0]), k=voters)


class _Opened:
    """The collections of indexes, each in its index's store; implements `OpenCollections`."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self.by_name = {index.collection: index for index in indexes}
        if len(self.by_name) < len(indexes):
            raise UsageError("two of the collections have the same name and cannot be told apart")

    def manifest(self, name: str) -> CollectionManifest:
        return self.by_name[name].manifest

    def open(self, name: str) -> Collection:
        return self.by_name[name]._opened()


_FEWEST = 2
