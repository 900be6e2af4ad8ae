"""The types of an entity's fields from the columns of a mapped class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect, types

from .._entity import Entity
from ._tracked import column_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Mapper

    from .._words import Name

_TYPES: tuple[tuple[type[types.TypeEngine[Any]], str], ...] = (
    (types.Boolean, "bool"),
    (types.Integer, "int"),
    (types.Float, "float"),
    (types.Interval, "float"),
    (types.Date, "date"),
    (types.JSON, "json"),
    (types.ARRAY, "json"),
)


def entity_of(
    model: type[Any], key: Name, *, types: Mapping[str, str] | None = None, **options: Any
) -> Entity:
    """The entity type of a mapped class, with the types of its columns and those of its subclasses.

    Args:
        model: The class.
        key: The declaration's key.
        types: Types that replace those of the columns, or are the types of other fields.
        options: All others of `Entity`.
    """
    mapper: Mapper[Any] = inspect(model)
    found = {
        name: kind
        for each in mapper.self_and_descendants
        for name in column_names(each)
        if (kind := _type_of(each.columns[name].type)) is not None
    }
    return Entity(key, types={**found, **(types or {})}, **options)


def _type_of(kind: types.TypeEngine[Any]) -> str | None:
    if isinstance(kind, types.TypeDecorator) and not isinstance(kind, types.Interval):
        kind = kind.impl_instance
    if isinstance(kind, types.DateTime):
        return "time" if kind.timezone else "datetime"
    if isinstance(kind, types.Numeric) and kind.asdecimal:
        return "decimal" if kind.scale is None else f"decimal:{kind.scale}"
    return next((name for known, name in _TYPES if isinstance(kind, known)), None)
