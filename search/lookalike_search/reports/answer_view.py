"""What is said about an answer, by the same words in reports and on the page of `search serve`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.stores.collection_manifest import CollectionManifest

from lookalike_search.asking.answers import (
    Answer,
    Neighbour,
    QueryOptions,
    describe_place,
    paths_collide,
    why_empty,
)

_FUSED = {
    FusionRule.RRF: "fused ranks",
    FusionRule.ZSCORE: "fused similarities",
    FusionRule.CALIBRATED: "fused chances",
}
"""What a fused score is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """Answers from collections with these manifests, by these options; `templates/answer.html` shows them."""

    manifests: Sequence[CollectionManifest]
    options: QueryOptions

    @property
    def searched(self) -> str:
        """The names of the collections."""
        return " and ".join(manifest.collection for manifest in self.manifests)

    @property
    def is_fused(self) -> bool:
        """Whether there are several collections."""
        return len(self.manifests) > 1

    @property
    def score(self) -> str:
        """What a neighbour's score is."""
        if self.is_fused:
            return _FUSED[self.options.fusion]
        return self.manifests[0].distance.score_name

    @property
    def networks(self) -> Mapping[str, str]:
        """Backbones by collection, where no two collections share one."""
        networks = [manifest.identity.backbone for manifest in self.manifests]
        if len(set(networks)) < len(networks):
            return {}
        return {manifest.collection: manifest.identity.backbone for manifest in self.manifests}

    def is_verdict_right(self, answer: Answer) -> bool | None:
        """Returns whether the verdict is the query's class; None where one of the two is unknown."""
        if answer.verdict is None or answer.class_name is None:
            return None
        return answer.verdict.class_name == answer.class_name

    def has_ambiguous_paths(self, answer: Answer) -> bool:
        """Returns whether two of the images shown have the same path, in different datasets."""
        return paths_collide([each for hit in answer.hits for each in hit.scene])

    def count_classes(self, answer: Answer) -> list[tuple[str, int]]:
        """Returns the classes of the neighbours with the number of each, the most frequent first."""
        return Counter(name for hit in answer.hits if (name := hit.payload.class_name)).most_common()

    def say_why_empty(self, answer: Answer) -> str:
        """Returns in words why an answer has no neighbours."""
        return why_empty(answer, self.options)

    def describe_place(self, hit: Neighbour) -> str:
        """Returns in words where in a neighbour the similarity comes from."""
        return describe_place(hit.located)
