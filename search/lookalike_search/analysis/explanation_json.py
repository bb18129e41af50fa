"""The JSON of an explanation, for `search explain --json` and for `search serve`."""

from collections.abc import Sequence
from typing import Literal

from lookalike_core.models.backbones import Pooling
from lookalike_core.stores.collection_manifest import Distance

from lookalike_search.analysis.attribution import Pair, strongest_pairs
from lookalike_search.analysis.explanation import ComparedImage, Explained
from lookalike_search.asking.answer_json import region_json
from lookalike_search.asking.answer_records import Regional

PAIRS = 5
"""The number of pairs of cells that are listed."""


class Explanation(Regional):
    """Where the similarity of two images comes from, by one network."""

    schema: Literal[1]
    query: str
    """The query as it was named."""
    neighbour: str
    """The neighbour as it was named."""
    collection: str
    backbone: str
    layer: str
    pooling: Pooling
    distance: Distance
    provider: str
    """The execution provider that computed the cells."""
    filled_on: str | None
    """The execution provider that filled the collection."""
    store: str
    score: float
    """The score that `search query` shows."""
    cosine: float
    """Cosine similarity of the vectors that `search query` compares."""
    query_vector: Literal["stored", "computed"]
    """Whether the query's vector was read from the collection or computed."""
    neighbour_vector: Literal["stored", "computed"]
    """Whether the neighbour's vector was read from the collection or computed."""
    agreement: float
    """The lower of the two cosines between a vector and the sum of its cells."""
    query_shares: list[list[float]]
    """Rows of cells; all sum to `cosine`."""
    neighbour_shares: list[list[float]]
    """Rows of cells; all sum to `cosine`."""
    pairs: Sequence[Pair]
    """The pairs of cells that add most to the cosine, the largest first."""


def explanation_json(
    explained: Explained, query: ComparedImage, neighbour: ComparedImage, store: str
) -> Explanation:
    """Returns the JSON of an explanation."""
    explanation, manifest = explained.explanation, explained.manifest
    compared_query, compared_neighbour = explained.compared
    return {
        "schema": 1,
        "query": query.name,
        **region_json(query.part),
        "neighbour": neighbour.name,
        "collection": explained.collection,
        "backbone": manifest.identity.backbone,
        "layer": manifest.identity.layer,
        "pooling": manifest.identity.pooling,
        "distance": manifest.distance,
        "provider": explained.provider,
        "filled_on": manifest.provider or None,
        "store": store,
        "score": explained.score,
        "cosine": explanation.cosine,
        "query_vector": "stored" if compared_query.is_stored else "computed",
        "neighbour_vector": "stored" if compared_neighbour.is_stored else "computed",
        "agreement": explained.agreement,
        "query_shares": explanation.query.tolist(),
        "neighbour_shares": explanation.neighbour.tolist(),
        "pairs": strongest_pairs(explanation, PAIRS),
    }
