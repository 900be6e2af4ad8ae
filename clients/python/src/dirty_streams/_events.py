"""Events and batches, as readers get them."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ._entity import Entity, entity_type
from ._model import Model
from ._replies import mapping, moment
from ._values import decoded, decoded_fields, unwrapped, unwrapped_fields
from ._words import Name, string, text

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping

    from ._operations import Ack
    from ._values import Value

T = TypeVar("T")
_EMPTY: Mapping[Any, Any] = MappingProxyType({})


class Op(str, enum.Enum):
    """What happened to the entity. `READ` is a stored entity, in the snapshot phase of a cursor."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    TOUCH = "touch"
    READ = "read"

    def __str__(self) -> str:
        return self.value


class Change(NamedTuple):
    """The values of a field before and after an event; None is null."""

    old: Value
    new: Value


@dataclass(frozen=True)
class Dead:
    """Why a reader gave up on an event of a dead stream.

    Attributes:
        id: The event's id in its own stream.
        stream: That stream.
        reader: The group or cursor that gave up on it.
        consumer: The consumer that failed last, or went silent.
        error: The message of the last failure.
        deliveries: How many deliveries counted, and `failures` how many of them failed.
        first: When it failed first, and `last` when it failed last, or its consumer went silent.
    """

    id: str
    stream: Name
    reader: Name
    consumer: Name
    error: Name
    deliveries: int
    failures: int
    first: dt.datetime
    last: dt.datetime


@dataclass(frozen=True)
class Event:
    """A change of an entity.

    Attributes:
        event_id: The event's id in the stream; None for a `READ`.
        entity: The entity's name; None for an entry that the module did not write, which has `fields` alone.
        id: The entity's id, as its type's `id_type` makes it; otherwise text, or bytes that are not UTF-8.
        op: What happened.
        version: The entity's version, if it has one and the format carries it.
        changes: The changed fields. Of images (PAYLOAD IMAGES), the fields in which they differ.
        before: The state before the event, and `after` the state after it; empty if the stream does not carry them.
        meta: What the flush said with META.
        deliveries: For a group, the number of deliveries including this one, and `failures` how many failed.
        dead: For an entry of a dead stream, who gave up and why.
        fields: The fields of an entry that is not an event of the module.
        declaration: The entity type, if the reader knows it.
        ack: For a worker's handler: give it to a flush, which then acknowledges the event in the same unit.
    """

    event_id: str | None
    entity: Name | None = None
    id: Any = None
    op: Op | None = None
    version: int | None = None
    changes: Mapping[Name, Change] = field(default_factory=dict)
    before: Mapping[Name, Value] = field(default_factory=dict)
    after: Mapping[Name, Value] = field(default_factory=dict)
    meta: Mapping[Name, Name] = field(default_factory=dict)
    deliveries: int = 0
    failures: int = 0
    dead: Dead | None = None
    fields: tuple[tuple[Name, Name], ...] = ()
    declaration: Entity | None = field(default=None, repr=False, compare=False)
    ack: Ack | None = field(default=None, repr=False, compare=False)

    def as_(self, cls: type[T], *, id: str | tuple[str, ...] | None = None) -> T:  # noqa: A002
        """The state after the event as an instance of a dataclass or Pydantic model.

        It is made of `after`, or of the new values of `changes` if the stream does not carry `after`; of a delete,
        of `before` or the old values.

        Args:
            cls: The class.
            id: The field that is the id; by default that of the entity type, or `id`.
        """
        known = self.declaration.model if self.declaration is not None else None
        if known is None or known.cls is not cls or id is not None:
            known = Model(cls, id if id is not None else known.id if known is not None else "id")
        if self.op is Op.DELETE:
            state = self.before or {name: change.old for name, change in self.changes.items()}
        else:
            state = self.after or {name: change.new for name, change in self.changes.items()}
        loaded: T = known.load(
            self.id, {name: value for name, value in state.items() if value is not None}
        )
        return loaded


@dataclass(frozen=True)
class Batch:
    """The reply to a reader.

    Attributes:
        events: The events, in order.
        missed: How many events this reader can no longer get; None if the number is unknown. Test for `!= 0`.
        more: Whether another call now would return events, or has entries left to examine.
        not_held: The acknowledged ids that this consumer did not hold; for a group.
        position: The position after these events; for a cursor and for `read`.
        phase: In the snapshot phase of a cursor, the phase of the next call, `snapshot` or `stream`.
        scanned: In that phase, the number of entities examined.
        begin: In that phase, whether the entities are read from the beginning with this reply.
        stream: The key of the stream, if the batch is from a `Follower` or `read`.
    """

    events: tuple[Event, ...]
    missed: int | None = 0
    more: bool = False
    not_held: tuple[str, ...] = ()
    position: str | None = None
    phase: str | None = None
    scanned: int | None = None
    begin: bool = False
    stream: Name | None = None

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)


class Entities:
    """The entity types that a reader knows, by their names in events."""

    def __init__(self, entities: Iterable[Entity] = ()) -> None:
        if isinstance(entities, (str, bytes, Entity)):
            raise TypeError(f"entities are a list, not {entities!r}")
        self._by_name: dict[Any, Entity] = {
            text(entity_type(entity).name): entity for entity in entities
        }

    def batch(self, reply: Any) -> Batch:
        """The batch of a reply with JSON."""
        parts = mapping(reply)
        position, phase = parts.get("position"), parts.get("phase")
        return Batch(
            events=tuple(self.event(json.loads(event)) for event in parts["events"]),
            missed=parts["missed"],
            more=bool(parts["more"]),
            not_held=tuple(string(event_id) for event_id in parts.get("not-held", ())),
            position=None if position is None else string(position),
            phase=None if phase is None else string(phase),
            scanned=parts.get("scanned"),
            begin=bool(parts.get("begin", False)),
        )

    def event(self, told: dict[str, Any]) -> Event:
        """The event of a JSON text."""
        if "base64" in told:
            return self.event(self._unwrapped(told["base64"]))
        deliveries, failures = told.get("deliveries", 0), told.get("failures", 0)
        dead = told.get("dead")
        if "entity" not in told:
            words = told.get("fields", ())
            return Event(
                told["id"],
                deliveries=deliveries,
                failures=failures,
                fields=tuple(zip(words[::2], words[1::2], strict=True)),
            )
        declaration = self._by_name.get(told["entity"])
        types: Mapping[str, str] = declaration.all_types if declaration is not None else _EMPTY
        op = Op(told["op"])
        before = decoded_fields(told.get("before", _EMPTY), types)
        after = decoded_fields(told.get("after", _EMPTY), types)
        changes = {
            name: Change(*(decoded(value, types.get(name)) for value in pair))
            for name, pair in told.get("changes", _EMPTY).items()
        }
        if "changes" not in told and op is not Op.READ:
            changes = _differences(before, after)
        return Event(
            event_id=told["id"],
            entity=told["entity"],
            id=told["entity-id"] if declaration is None else declaration.id_of(told["entity-id"]),
            op=op,
            version=told.get("version"),
            changes=changes,
            before=before,
            after=after,
            meta=told.get("meta", {}),
            deliveries=deliveries,
            failures=failures,
            dead=None if dead is None else _dead(dead),
            declaration=declaration,
        )

    def _unwrapped(self, told: dict[str, Any]) -> dict[str, Any]:
        """What stands in the `base64` of an event's text, with its strings as text, or bytes that are not UTF-8."""
        made = {name: unwrapped(value) for name, value in told.items()}
        declaration = self._by_name.get(made.get("entity"))
        types: Mapping[str, str] = declaration.all_types if declaration is not None else _EMPTY
        for image in ("before", "after"):
            if image in told:
                made[image] = unwrapped_fields(told[image], types)
        if "changes" in told:
            made["changes"] = {
                name: pair if types.get(name) == "json" else [unwrapped(value) for value in pair]
                for name, pair in told["changes"].items()
            }
        for strings in ("meta", "dead"):
            if strings in told:
                made[strings] = unwrapped_fields(told[strings], _EMPTY)
        if "fields" in told:
            made["fields"] = [unwrapped(word) for word in told["fields"]]
        return made


NO_ENTITIES = Entities()
"""For readers that know no entity types."""


def _differences(before: Mapping[Name, Value], after: Mapping[Name, Value]) -> dict[Any, Change]:
    """The changes of an event that has both images instead."""
    return {
        name: Change(before.get(name), after.get(name))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    }


def _dead(told: dict[str, Any]) -> Dead:
    return Dead(
        id=told["id"],
        stream=told["stream"],
        reader=told["reader"],
        consumer=told["consumer"],
        error=told["error"],
        deliveries=told["deliveries"],
        failures=told["failures"],
        first=moment(told["first-ms"]),
        last=moment(told["last-ms"]),
    )
