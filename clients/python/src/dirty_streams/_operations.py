"""Operations of a flush."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._values import encoded
from ._words import Id, Name, Word, id_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._words import Fields


class Effect(str, enum.Enum):
    """What an operation did."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    NONE = "none"
    STALE = "stale"
    CONFLICT = "conflict"
    HIDDEN = "hidden"
    NEWER = "newer"
    TOUCH = "touch"
    SEED = "seed"
    DEFERRED = "deferred"
    UNREADABLE = "unreadable"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class _Operation:
    id: Id

    def words(self) -> tuple[Word, ...]:
        """The words of the operation."""
        return (self.verb, id_bytes(self.id))

    @property
    def verb(self) -> Word:
        """The operation's word."""
        return type(self).__name__.upper().encode()


@dataclass(frozen=True)
class _WithFields(_Operation):
    fields: Fields

    def words(self) -> tuple[Word, ...]:
        return (*super().words(), *encoded(self.fields))


@dataclass(frozen=True)
class Snapshot(_WithFields):
    """Stores the whole state of an entity; fields that are left out become null."""


@dataclass(frozen=True)
class Insert(_WithFields):
    """Stores the whole state of a new entity."""


@dataclass(frozen=True)
class Update(_WithFields):
    """Stores only these fields of an entity that exists; None removes a field."""


@dataclass(frozen=True)
class Seed(_WithFields):
    """Stores the whole state of an entity without publishing."""


@dataclass(frozen=True)
class Touch(_Operation):
    """Publishes an update without changes."""


@dataclass(frozen=True)
class Delete(_Operation):
    """Deletes an entity. `fields` holds its VERSION, if it is given."""

    fields: Fields = field(default_factory=dict)

    def words(self) -> tuple[Word, ...]:
        words = super().words()
        return (*words, *encoded(self.fields)) if self.fields else words


@dataclass(frozen=True)
class StatelessUpdate(_Operation):
    """An update of a STATELESS type, whose old values the module does not know."""

    old: Fields
    new: Fields

    @property
    def verb(self) -> Word:
        return b"UPDATE"

    def words(self) -> tuple[Word, ...]:
        form, old = encoded(self.old)
        other, new = encoded(self.new)
        if form != other:
            form, old, new = (
                b"MSGPACK",
                encoded(self.old, b"MSGPACK")[1],
                encoded(self.new, b"MSGPACK")[1],
            )
        return (*super().words(), form, old, new)


Operation = Snapshot | Insert | Update | Delete | Touch | Seed | StatelessUpdate


def snapshot(id: Id, fields: Fields) -> Snapshot:  # noqa: A002
    """Stores the whole state of an entity; fields that are left out become null."""
    return Snapshot(id, fields)


def insert(id: Id, fields: Fields) -> Insert:  # noqa: A002
    """Stores the whole state of a new entity; `ExistsError` if it exists with other values."""
    return Insert(id, fields)


def update(id: Id, fields: Fields) -> Update:  # noqa: A002
    """Stores only these fields; None removes a field. `NoEntityError` if there is no such entity."""
    return Update(id, fields)


def change(id: Id, old: Fields, new: Fields) -> StatelessUpdate:  # noqa: A002
    """An update of a STATELESS type, with the old and the new values of the same fields."""
    return StatelessUpdate(id, old, new)


def delete(id: Id, fields: Fields | None = None) -> Delete:  # noqa: A002
    """Deletes an entity. `fields` may give its VERSION."""
    return Delete(id, fields or {})


def touch(id: Id) -> Touch:  # noqa: A002
    """Publishes an update without changes."""
    return Touch(id)


def seed(id: Id, fields: Fields) -> Seed:  # noqa: A002
    """Stores the whole state of an entity without publishing: for rows that exist already."""
    return Seed(id, fields)


@dataclass(frozen=True)
class Flushed:
    """The result of an operation of a flush with events.

    Attributes:
        effect: What it did.
        fields: The names of the fields that changed.
        events: The id of the event in each stream; None in a dry run.
    """

    effect: Effect
    fields: tuple[Name, ...]
    events: Mapping[Name, str | None]


@dataclass(frozen=True)
class Ack:
    """Events that a flush acknowledges in the same unit, or is refused with `NotHeldError`."""

    stream: Name
    group: Name
    consumer: Name
    ids: tuple[str, ...]
