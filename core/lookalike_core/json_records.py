"""From JSON back to records: a frozen dataclass is made of a JSON object by the annotations of its fields.

The way there is `lookalike_core.text.json_line`.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache, partial
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")


def read_record(
    kind: type[Record], data: object, *, former_names: Mapping[str, str] = {}, is_complete: bool = False
) -> Record:
    """Returns the record that a JSON object describes; keys that are no fields are ignored.

    `former_names` maps former keys to the names of today; where both are there, that of today counts. A
    field that is missing has its default, unless the object has to be complete. Records in fields are read
    by their own `from_json`, if they have one.

    Raises:
        ValueError: a field is missing, or its value is of another type or refused; the message names it.
        UsageError: a record refuses a value as it refuses an argument.
    """
    given = _require(Mapping, data)
    given = {former_names.get(key, key): given[key] for key in given if former_names.get(key) not in given}
    values = {}
    for field in fields(kind):
        if field.name in given:
            annotation: Any = field.type
            try:
                values[field.name] = _reader(annotation)(given[field.name])
            except (ValueError, OverflowError) as error:
                raise ValueError(f"{field.name}: {error}") from error
        elif is_complete or (field.default is MISSING and field.default_factory is MISSING):
            raise ValueError(f"{field.name} is missing")
    return kind(**values)


@cache
def _reader(kind: Any) -> Any:  # noqa: ANN401, PLR0911 - a return for each kind
    """Returns what makes of a JSON value one of an annotation's type: those below, or a record of them."""
    origin, args = get_origin(kind), get_args(kind)
    parts = [_reader(each) for each in args if each not in (NoneType, Ellipsis)]
    if origin is UnionType:  # X | None
        return lambda value: None if value is None else parts[0](value)
    if origin is tuple and Ellipsis in args:
        return lambda value: tuple(map(parts[0], _require((list, tuple), value)))
    if origin is tuple:
        return lambda value: tuple(
            read(part) for read, part in zip(parts, _require((list, tuple), value), strict=True)
        )
    if origin is Mapping:
        return lambda value: {parts[0](k): parts[1](v) for k, v in _require(Mapping, value).items()}
    if is_dataclass(kind):
        return getattr(kind, "from_json", None) or partial(read_record, kind)  # type: ignore[arg-type]
    if issubclass(kind, StrEnum):
        return kind
    return partial(_read_number if kind in (int, float) else _require, kind)


def _read_number(kind: type[int | float], value: Any) -> int | float:  # noqa: ANN401 - as given
    """Returns an int or a float; servers write 512 as 512.0, and 1.0 as 1."""
    if type(value) not in (int, float) or (kind is int and value != int(value)):  # a bool is neither
        raise ValueError(f"{value!r} is not of type {kind.__name__}")
    return kind(value)


def _require(kind: type | tuple[type, ...], value: Any) -> Any:  # noqa: ANN401 - as given
    if not isinstance(value, kind):
        raise ValueError(f"{value!r} is of another type")  # noqa: TRY004 - a wrong value of what is read
    return value
