"""A mapped class whose rows are the entities of a type."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, inspect, select, tuple_
from sqlalchemy.orm import ColumnProperty, Mapper, lazyload, undefer, with_polymorphic
from sqlalchemy.schema import Column

from ._keys import codec_of, dumped, loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy.orm import Session
    from sqlalchemy.sql import Select

    from .._entity import Entity
    from .._words import Id

Part = type | Table
"""A mapped class or a table whose rows are parts of other entities."""

_PLAIN = (
    int,
    uuid.UUID,
    dt.date,
)  # no two keys of such values have the same text when they are joined by "-"


class Tracked:
    """A mapped class whose rows are the entities of a type.

    Attributes:
        model: The class.
        entity: The entity type.
        key: The entity's key, by which marks name it.
        parts: The columns with the primary key of this class, by the tables of its parts.
    """

    def __init__(
        self,
        model: type[Any],
        entity: Entity,
        *,
        id: Callable[..., Id] | None = None,  # noqa: A002
        snapshot: Callable[[Any], Mapping[str, Any]] | None = None,
        parts: Mapping[Part, str | Sequence[str]] | None = None,
    ) -> None:
        mapper = inspect(model, raiseerr=False)
        if not isinstance(mapper, Mapper):
            raise TypeError(f"{model!r} is not a mapped class")
        if entity.stateless:
            raise ValueError(
                f"{entity.key!r} is STATELESS: a relay sends whole states, which need snapshots"
            )
        self.model = model
        self.mapper: Mapper[Any] = mapper
        self.entity = entity
        self.key = entity.key if isinstance(entity.key, str) else entity.key.decode()
        self.columns = mapper.primary_key
        self.attributes = [mapper.get_property_by_column(column).key for column in self.columns]
        try:
            self.codecs = [codec_of(column.type) for column in self.columns]
        except TypeError as error:
            raise TypeError(f"{model.__name__}: {error}") from None
        kinds = [codec.kind for codec in self.codecs]
        ambiguous = len(kinds) > 1 and not all(issubclass(kind, _PLAIN) for kind in kinds)
        if id is None and (ambiguous or dt.datetime in kinds):
            names = ", ".join(self.attributes)
            raise TypeError(
                f"{model.__name__} has the primary key {names}, of which two may have the same text: "
                f"give id=lambda {names}: …"
            )
        self._id = id
        self._snapshot = snapshot
        self._names: dict[Mapper[Any], tuple[str, ...]] = {}
        self.parts = {
            _table(part): _columns(part, [names] if isinstance(names, str) else names)
            for part, names in (parts or {}).items()
        }
        for table, columns in self.parts.items():
            if len(columns) != len(self.columns):
                raise ValueError(
                    f"a part of {model.__name__} names its primary key {self.attributes}, "
                    f"not {[column.name for column in columns]} of {table.name!r}"
                )

    def __repr__(self) -> str:
        return f"{self.model.__name__} as {self.key!r}"

    @property
    def relational(self) -> bool:
        """Whether collections of an object belong to its entity, too."""
        return self._snapshot is not None

    @property
    def marks_version(self) -> bool:
        """Whether the number of the mark is the version of the entity."""
        return self.entity.version is not None

    @property
    def tables(self) -> list[Table]:
        """The tables that hold rows of the class, those of its subclasses included."""
        tables = [table for mapper in self.mapper.self_and_descendants for table in mapper.tables]
        return [table for table in dict.fromkeys(tables) if isinstance(table, Table)]

    def columns_in(self, table: Table) -> list[Column[Any]]:
        """The columns of one of the tables that hold the primary key."""
        for mapper in self.mapper.self_and_descendants:
            if table in mapper.tables:
                sources = [mapper.get_property_by_column(column).columns for column in self.columns]
                return [
                    next(column for column in source if column.table is table) for source in sources
                ]
        raise KeyError(table.name)

    def text(self, key: Sequence[Any]) -> str:
        """The text of a primary key in the table of marks."""
        return dumped(self.codecs, key)

    def primary_key(self, text: str) -> tuple[Any, ...]:
        """The primary key of a text."""
        return loaded(self.codecs, text)

    def primary_key_of(self, key: Any) -> tuple[Any, ...]:
        """The primary key that a caller gives: a value, a tuple of them, or an instance."""
        if isinstance(key, self.model):
            state = inspect(key)
            return tuple(state.identity or self.mapper.primary_key_from_instance(key))
        values = tuple(key) if isinstance(key, (tuple, list)) else (key,)
        if len(values) != len(self.columns):
            raise ValueError(
                f"the primary key of {self.model.__name__} is {', '.join(self.attributes)}, not {key!r}"
            )
        return values

    def id_of(self, key: Sequence[Any]) -> Id:
        """The entity's id."""
        if self._id is not None:
            return self._id(*key)
        if (
            len(key) == 1
            and isinstance(key[0], (bytes, str, int))
            and not isinstance(key[0], (bool, enum.Enum))
        ):
            return key[0]
        return "-".join(
            str(codec.dump(value)) for codec, value in zip(self.codecs, key, strict=True)
        )

    def select(self) -> Select[Any]:
        """Selects all rows with what the snapshot needs."""
        source: Any = self.model
        if self.mapper.polymorphic_on is not None:
            source = with_polymorphic(self.model, "*")
        statement = select(source)
        if self._snapshot is None:
            statement = statement.options(lazyload("*"))
        if any(attribute.deferred for attribute in self.mapper.column_attrs):
            statement = statement.options(undefer("*"))
        return statement

    def load(self, session: Session, keys: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], Any]:
        """The objects of some primary keys."""
        found = {identity(row): row for row in self._loaded(session, keys)}
        missing = [key for key in keys if key not in found]
        if missing and len(found) > len(keys) - len(missing):
            # Keys that are the same to the database alone, as in a collation without regard to case.
            for key in missing:
                found.update((key, row) for row in self._loaded(session, [key]))
        return found

    def _loaded(self, session: Session, keys: Sequence[tuple[Any, ...]]) -> Iterable[Any]:
        if len(self.columns) == 1:
            wanted = self.columns[0].in_([key[0] for key in keys])
        else:
            wanted = tuple_(*self.columns).in_(keys)
        return session.scalars(
            self.select().where(wanted).execution_options(populate_existing=True)
        )

    def snapshot_of(self, row: Any) -> dict[Any, Any]:
        """The fields of an object: what `snapshot` makes of it, or the attributes of its columns."""
        if self._snapshot is not None:
            return dict(self._snapshot(row))
        mapper: Mapper[Any] = inspect(row).mapper
        names = self._names.get(mapper)
        if names is None:
            names = self._names[mapper] = tuple(column_names(mapper))
        return {name: _plain(getattr(row, name)) for name in names}

    def checked(self, fields: dict[Any, Any]) -> dict[Any, Any]:
        """The same fields, which must leave the version to the mark."""
        if self.entity.version in fields:
            raise ValueError(
                f"the version of {self.key!r} is the number of the mark, so its rows have no field "
                f"{self.entity.version!r}"
            )
        return fields


def identity(row: Any) -> tuple[Any, ...]:
    """The primary key of an object that was loaded."""
    return tuple(inspect(row).identity)


def column_names(mapper: Mapper[Any]) -> Iterable[str]:
    """The attributes of a class that are columns of its tables."""
    for attribute in mapper.column_attrs:
        if isinstance(attribute, ColumnProperty) and isinstance(attribute.columns[0], Column):
            yield attribute.key


def _plain(value: Any) -> Any:
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    return value


def _table(part: Part) -> Table:
    table = part if isinstance(part, Table) else inspect(part).local_table
    if not isinstance(table, Table):
        raise TypeError(f"{part!r} is not mapped to a table")
    return table


def _columns(part: Part, names: Sequence[str]) -> list[Column[Any]]:
    if isinstance(part, Table):
        return [part.columns[name] for name in names]
    attributes: Any = inspect(part).column_attrs
    return [attributes[name].columns[0] for name in names]
