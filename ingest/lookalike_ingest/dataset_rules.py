"""Chooses the rules that apply to a dataset's folder: requested ones first, then remembered ones."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn, Self

from lookalike_core.errors import CollectionMissingError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.folder_rules import DEFAULT_RULES, FolderRules
from lookalike_core.logs import get_logger
from lookalike_core.stores.bulk_reads import readable_manifests
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.protocol import Store

_logger = get_logger("ingest")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChoice:
    """The requested `FolderRules`; a field that is None keeps its remembered value."""

    exclude: Sequence[str] | None = None
    default_excludes: bool | None = None
    follow_links: bool | None = None
    class_level: int | None = None

    @classmethod
    def of(cls, rules: FolderRules) -> Self:
        """Returns the choice of exactly these rules."""
        return cls(**{field.name: getattr(rules, field.name) for field in fields(rules)})

    def over(self, remembered: FolderRules) -> FolderRules:
        """Returns the remembered rules, with the requested ones in their place.

        Raises:
            UsageError: the class level is 0.
        """
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        before = {field.name: getattr(remembered, field.name) for field in fields(remembered)}
        chosen: dict[str, Any] = {name: before[name] if own[name] is None else own[name] for name in own}
        return FolderRules(**(chosen | {"exclude": tuple(chosen["exclude"])}))

    def check(self) -> None:
        """Refuses invalid rules.

        Raises:
            UsageError: a pattern is malformed, or the class level is 0.
        """
        _ = self.over(DEFAULT_RULES).exclusion

    def check_for(self, root: Path) -> None:
        """Refuses patterns that cannot match inside a folder, because they are not relative to it.

        Raises:
            UsageError: a pattern is an absolute path, or relative to another folder.
        """
        for pattern in self.exclude or ():
            taken_back = "!" if pattern.startswith("!") else ""
            plain = pattern.removeprefix("!")
            if plain.startswith("../"):
                _refuse(pattern, root, "it is outside")
            elif plain.startswith("./"):
                _refuse(pattern, root, f"write {taken_back + plain[1:]!r}")
            elif plain.startswith("/") and root != Path("/"):
                path = Path(os.path.realpath(plain))
                if path.is_relative_to(root) and path != root:
                    _refuse(pattern, root, f"write {f'{taken_back}/{path.relative_to(root).as_posix()}'!r}")


def _refuse(pattern: str, root: Path, instead: str) -> NoReturn:
    raise UsageError(
        f"{pattern!r} matches nothing: patterns are relative to {root}; {instead}", argument=Argument.EXCLUDE
    )


def resolve_rules(dataset: str, choice: RuleChoice, *, targets: Sequence[str], store: Store) -> FolderRules:
    """Returns the rules that apply to a dataset's folder.

    Fields that are not requested come from the target collections or, if none of them has the dataset, from
    other collections of the store.

    Raises:
        UsageError: collections remember different rules, and `choice` does not say which apply.
    """
    remembered = _read_rules(dataset, targets, store) or {
        name: manifest.rules_of(dataset)
        for name, manifest in readable_manifests(store)
        if dataset in manifest.datasets
    }
    applied = {choice.over(rules): name for name, rules in remembered.items()}
    if len(applied) > 1:
        said = "; ".join(f"{name}: {rules}" for rules, name in applied.items())
        raise UsageError(
            f"collections remember different rules for the folder of dataset {dataset} ({said})",
            hint=Hint(Action.SAY_RULES),
        )
    [rules] = applied or [choice.over(DEFAULT_RULES)]
    if rules != choice.over(DEFAULT_RULES):
        _logger.info("the remembered rules of dataset %s apply: %s", dataset, rules)
    return rules


def _read_rules(dataset: str, targets: Sequence[str], store: Store) -> Mapping[str, FolderRules]:
    """Returns the remembered rules by collection, for existing targets that have the dataset."""
    return {
        name: manifest.rules_of(dataset)
        for name, manifest in read_manifests(targets, store)
        if dataset in manifest.datasets
    }


def read_manifests(targets: Sequence[str], store: Store) -> Iterator[tuple[str, CollectionManifest]]:
    """Yields the name and manifest of each target collection that exists; reads no others."""
    for name in targets:
        try:
            yield name, store.manifest(name)
        except CollectionMissingError:
            continue
