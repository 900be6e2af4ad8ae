"""A declaration for a table: types from its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from .._entity import Entity, Stream
from ._text import decoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._rows import Source


def type_of(column: sa.Column[Any]) -> str | None:
    """The type that keeps what the column holds; None for texts, which need none."""
    kind = column.type
    if isinstance(kind, sa.Boolean):
        return "bool"
    if isinstance(kind, sa.Integer):
        return "uint" if getattr(kind, "unsigned", False) else "int"
    if isinstance(kind, sa.Float):
        return "float"
    if isinstance(kind, sa.Numeric):
        return decimal_of(kind)
    if isinstance(kind, sa.DateTime):
        return "time" if kind.timezone else "datetime"
    if isinstance(kind, sa.Date):
        return "date"
    return "json" if isinstance(kind, sa.JSON) else None


def decimal_of(kind: sa.Numeric[Any]) -> str:
    """NUMERIC(10,2) has two digits behind the point, NUMERIC as many as are given."""
    if kind.scale is None:
        return "decimal" if kind.precision is None else "decimal:0"
    return f"decimal:{max(kind.scale, 0)}"


def types_of(source: Source) -> dict[str, str]:
    """The types of the selected columns."""
    guessed = ((field, type_of(column)) for field, column in source.fields.items())
    return {field: kind for field, kind in guessed if kind is not None}


def entity_of(
    source: Source, key: str, streams: tuple[str, ...], partitions: int | None, payload: str
) -> Entity:
    """The entity type of the table."""
    return Entity(
        key,
        types=types_of(source),
        streams=[Stream(name, payload=payload) for name in streams or (f"{key}-changes",)],
        partitions=partitions,
    )


def commands_of(entity: Entity) -> list[list[bytes | str]]:
    """The commands that declare it: one, or one for each partition."""
    if entity.partitions is None:
        return [["DIRTY.DECLARE", entity.key, *entity.words()]]
    return [
        ["DIRTY.DECLARE", key, *entity.words(partition)]
        for partition, key in enumerate(entity.keys)
    ]


SPECIAL: Mapping[int, str] = {10: "\\n", 13: "\\r", 9: "\\t", 34: '\\"', 92: "\\\\"}


def typed(words: list[bytes | str]) -> str:
    """A command as redis-cli takes it."""
    return " ".join(map(quoted, words))


def quoted(word: bytes | str) -> str:
    """In quotes if it must be."""
    text = decoded(word)
    data = text.encode("utf-8", "surrogateescape")
    if text and text.isprintable() and not set(text) & set(" \"'\\"):
        return text
    spelled = (
        SPECIAL.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in data
    )
    return f'"{"".join(spelled)}"'
