"""Compares parsed JSON with types: typed dictionaries, dataclasses, enumerations, and containers of these."""

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from lookalike_core.models.model_manifest import JSON_KEYS


def find_differences(value: object, form: Sequence[type], where: str = "") -> Iterator[str]:
    """Yields where an object differs from the records that together define its keys.

    A typed dictionary says which keys may be left out; of a dataclass it is those that may be None.
    """
    if not isinstance(value, dict):
        yield f"{where}: {value!r} is no object"
        return
    hints = {key: hint for record in form for key, hint in _hints(record).items()}
    optional = {key for record in form for key in _optional(record)}
    for key in value.keys() - hints.keys():
        yield f"{where}.{key} is not documented"
    for key in hints.keys() - value.keys() - optional:
        yield f"{where}.{key} is documented and missing"
    for key in hints.keys() & value.keys():
        yield from _misfits(value[key], hints[key], f"{where}.{key}")


def _optional(record: Any) -> set[str]:
    if is_typeddict(record):
        return set(record.__optional_keys__)
    return {key for key, hint in _hints(record).items() if type(None) in get_args(hint)}


def _hints(record: Any) -> dict[str, Any]:
    keys = JSON_KEYS if is_dataclass(record) else {}
    return {keys.get(name, name): hint for name, hint in get_type_hints(record).items()}


def _misfits(value: object, hint: Any, where: str) -> Iterator[str]:
    origin, inner = get_origin(hint), get_args(hint)
    if is_typeddict(hint) or is_dataclass(hint):
        yield from find_differences(value, [hint], where)
    elif origin in (Union, types.UnionType):
        tried = [list(_misfits(value, each, where)) for each in inner]
        if all(tried):
            yield from max(tried, key=len)
    elif isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        for key, each in value.items():
            yield from _misfits(key, inner[0], f"{where}[{key!r}]")
            yield from _misfits(each, inner[1], f"{where}[{key!r}]")
    elif isinstance(origin, type) and issubclass(origin, Sequence) and isinstance(value, list):
        for number, each in enumerate(value):
            yield from _misfits(each, inner[0], f"{where}[{number}]")
    elif not _has_plain_type(value, hint):
        yield f"{where}: {value!r} is no {hint}"


def _has_plain_type(value: object, hint: Any) -> bool:
    """Returns whether a value that contains no others has a type that its hint allows."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return value in list(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is Path:
        return isinstance(value, str)
    return hint in (str, int, bool, type(None)) and type(value) is hint
