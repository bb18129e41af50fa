"""Plans an evaluation: which collections, and which of them fused by which rules."""

from collections.abc import Sequence
from dataclasses import dataclass

from lookalike_core.errors import CollectionMissingError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.logs import get_logger
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.protocol import Store

from lookalike_search.collection_choice import BOTH, CollectionSelector

_logger = get_logger("search")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings to evaluate: `collections`, and `pairs` of them, fused by each of `rules`.

    A pair that shares too few images is an error, or left out with a warning where `pairs_may_fail`.
    """

    collections: Sequence[str]
    pairs: Sequence[Sequence[str]] = ()
    rules: Sequence[FusionRule] = ()
    pairs_may_fail: bool = False


def plan_evaluation(
    selector: CollectionSelector,
    rules: Sequence[FusionRule] = (),
    *,
    store: Store,
    settings: Settings,
) -> Plan:
    """Returns the plan for a selector and fusion rules.

    Both networks, and several named collections with a rule, are fused as one pair. `all` fuses the pair of
    each distance that both networks have, by every rule where none is given, and leaves out pairs that cannot
    be fused; a single collection needs no rule. The default is reciprocal rank fusion.

    Raises:
        CollectionMissingError: no collection fits, or a required pair is missing.
        UsageError: fields contradict each other, or there is a rule and nothing to fuse.
    """
    selector.check()
    names, both = list(dict.fromkeys(selector.names)), selector.is_both
    takes_pairs = selector.all and (both or selector.backbone is None)
    if rules and not (takes_pairs or both or names[1:]):
        raise UsageError(
            "fusion needs several collections", argument=Argument.FUSION, hint=Hint(Action.ADD_COLLECTIONS)
        )
    names = selector.resolve(store, settings=settings)
    is_required = both or bool(rules)
    pairs = [names] if is_required else []
    if takes_pairs:
        pairs = _find_pairs(store, settings, selector.distance, is_required=is_required)
    default = list(FusionRule) if selector.all else [FusionRule.RRF]
    return Plan(
        collections=names,
        pairs=pairs,
        rules=list(dict.fromkeys(rules)) or default,
        pairs_may_fail=selector.all,
    )


def _find_pairs(
    store: Store, settings: Settings, distance: Distance | None, *, is_required: bool
) -> list[list[str]]:
    """Returns the pair of each distance that both networks have; raises if a required one is missing."""

    def pair(metric: Distance | None) -> list[str]:
        selector = CollectionSelector(backbone=BOTH, distance=metric)
        return selector.resolve(store, settings=settings)

    pairs = []
    for metric in [distance] if distance else Distance:
        try:
            pairs.append(pair(metric))
        except CollectionMissingError:
            continue
        except UsageError as error:
            _logger.info("%s is not fused: %s", metric, error, extra={"hint": error.hint})
    return pairs if pairs or not is_required else [pair(distance)]
