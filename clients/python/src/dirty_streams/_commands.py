"""The commands as words, and their replies as values, without any input or output."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from . import _stats
from ._entity import at_partition
from ._events import NO_ENTITIES
from ._operations import Effect, Flushed
from ._replies import count, done, ids, ok, pairs
from ._values import decoded_fields
from ._words import id_bytes, listed, milliseconds, name, number, seconds, string, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ._entity import Entity
    from ._events import Batch, Entities
    from ._operations import Ack, Operation
    from ._words import Id, Meta, Name, Span, Word

T = TypeVar("T")


@dataclass(frozen=True)
class Command(Generic[T]):
    """A command that can be sent.

    Attributes:
        words: Its words, the key second.
        parse: Makes its value of the reply, whose texts are bytes.
        once: It must not be sent again after a lost reply without PENDING.
        block: For how many seconds the server may wait before it replies; 0 is for ever, None is not at all.
    """

    words: tuple[Word, ...]
    parse: Callable[[Any], T]
    once: bool = False
    block: float | None = None

    @property
    def key(self) -> Word:
        """The key that decides to which node of a cluster it goes."""
        return self.words[1]


# Starts of readers.


@dataclass(frozen=True, init=False)
class SNAPSHOT:
    """The start of a cursor that gets the stored entities of these types first.

    Of a type with partitions, each partition's cursor gets the entities of its own partition.
    """

    entities: tuple[Entity | Name, ...]

    def __init__(self, *entities: Entity | Name) -> None:
        object.__setattr__(self, "entities", entities)

    def words(self, partition: int | None) -> tuple[Word, ...]:
        """The words of the start."""
        keys = [name(_key(entity, partition)) for entity in self.entities]
        return (b"SNAPSHOT", number(len(keys)), *keys)


@dataclass(frozen=True)
class NativeGroup:
    """The start of a reader that takes over this native consumer group."""

    group: Name

    def words(self, partition: int | None) -> tuple[Word, ...]:  # noqa: ARG002
        """The words of the start."""
        return (b"GROUP", name(self.group))


Place = Any
"""Where to read from: `"0"` (also 0), `"$"`, a position, an event's id, or a datetime with a zone."""

Start = Any
"""A place, `SNAPSHOT(…)` or `NativeGroup(…)`."""


def place(value: Place) -> Word:
    """The word of a place."""
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise ValueError(f"a place in a stream is a time with a zone, not {value!r}")
        epoch = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
        return number((value - epoch) // dt.timedelta(milliseconds=1))
    if isinstance(value, int) and not isinstance(value, bool):
        return number(value)
    return name(value)


def start_words(value: Start, partition: int | None) -> tuple[Word, ...]:
    """The words of a start."""
    if isinstance(value, (SNAPSHOT, NativeGroup)):
        return value.words(partition)
    return (place(value),)


def _key(entity: Entity | Name, partition: int | None) -> Name:
    if isinstance(entity, (str, bytes)):
        return entity
    return entity.keys[partition or 0]


# Filters.


@dataclass(frozen=True)
class Where:
    """Which events a reader gets. Of each kind one must match, and all kinds that are given.

    Attributes:
        entities: Names of entity types.
        ids: Ids of entities.
        ops: Letters of `IUD`.
        fields: Updates must change one of these fields.
        meta: Pairs of META: a value, or a sequence of values, by names.
    """

    entities: Sequence[Name] = ()
    ids: Sequence[Id] = ()
    ops: str | None = None
    fields: Sequence[Name] = ()
    meta: Mapping[Name, Name | Sequence[Name]] | None = None

    def __post_init__(self) -> None:
        for what in ("entities", "ids", "fields"):
            listed(getattr(self, what), what)

    def words(self) -> Iterator[Word]:
        """The filters."""
        for entity in self.entities:
            yield from (b"ENTITY", name(entity))
        if self.ids:
            yield from (b"ID", number(len(self.ids)), *map(id_bytes, self.ids))
        if self.ops is not None:
            yield from (b"OPS", name(self.ops))
        if self.fields:
            yield from (b"FIELDS", number(len(self.fields)), *map(name, self.fields))
        for pair, values in (self.meta or {}).items():
            for value in (values,) if isinstance(values, (str, bytes)) else values:
                yield from (b"META", name(pair), name(value))


def where_words(where: Where | None) -> tuple[Word, ...]:
    """WHERE and its filters."""
    filters = () if where is None else tuple(where.words())
    return (b"WHERE", *filters) if filters else ()


# Entities.


def declare(entity: Entity, partition: int | None = None) -> Command[bool]:
    """DIRTY.DECLARE at one of the type's keys."""
    words = (b"DIRTY.DECLARE", name(entity.keys[partition or 0]), *entity.words(partition))
    return Command(words, ok)


def info(key: Name) -> Command[dict[str, Any]]:
    """DIRTY.INFO."""
    return Command((b"DIRTY.INFO", name(key)), _stats.info)


def flush(
    key: Name,
    operations: Iterable[Operation],
    *,
    meta: Meta | None = None,
    with_events: bool = False,
    force: bool = False,
    once: Name | None = None,
    once_for: Span | None = None,
    defer: Name | None = None,
    run: Name | None = None,
    dry_run: bool = False,
    ack: Ack | None = None,
) -> Command[list[Any]]:
    """DIRTY.FLUSH: effects, or `Flushed` with events."""
    words: list[Word] = [b"DIRTY.FLUSH", name(key)]
    if meta:
        words += (b"META", number(len(meta)))
        for pair, value in meta.items():
            words += (name(pair), name(value))
    if with_events:
        words.append(b"WITHEVENTS")
    if force:
        words.append(b"FORCE")
    if once is not None:
        words += (b"ONCE", name(once))
        if once_for is not None:
            words.append(milliseconds(once_for))
    if defer is not None:
        words += (b"DEFER", name(defer))
    if run is not None:
        words += (b"RUN", name(run))
    if dry_run:
        words.append(b"DRYRUN")
    if ack is not None:
        words += (b"ACK", name(ack.stream), b"GROUP", name(ack.group), name(ack.consumer))
        words += (number(len(ack.ids)), *map(name, ack.ids))
    for operation in operations:
        words += operation.words()
    return Command(tuple(words), results)


def results(reply: Any) -> list[Effect | Flushed]:
    """The results of a flush."""
    return [
        flushed(result) if isinstance(result, list) else Effect(string(result)) for result in reply
    ]


def flushed(reply: Any) -> Flushed:
    """The result of an operation with events."""
    effect, fields, events = reply
    return Flushed(
        Effect(string(effect)),
        tuple(text(field) for field in fields),
        {
            text(stream): None if event_id is None else string(event_id)
            for stream, event_id in pairs(events)
        },
    )


def commit(key: Name, tokens: Sequence[Name]) -> Command[list[list[Effect | Flushed] | None]]:
    """DIRTY.COMMIT: the results of each flush, None where nothing waits."""
    return Command(
        (b"DIRTY.COMMIT", name(key), *map(name, tokens)),
        lambda reply: [None if flush is None else results(flush) for flush in reply],
    )


def abort(key: Name, tokens: Sequence[Name]) -> Command[int]:
    """DIRTY.ABORT."""
    return Command((b"DIRTY.ABORT", name(key), *map(name, tokens)), count)


def deferred(
    key: Name, *, min_age: Span | None = None, limit: int | None = None
) -> Command[list[_stats.Deferred]]:
    """DIRTY.DEFERRED."""
    words: list[Word] = [b"DIRTY.DEFERRED", name(key)]
    if min_age is not None:
        words += (b"MINAGE", milliseconds(min_age))
    words += _count(limit)
    return Command(tuple(words), _stats.deferred)


def get(
    key: Name, entity_ids: Sequence[Id], types: Mapping[str, str]
) -> Command[list[dict[Name, Any] | None]]:
    """DIRTY.GET of snapshots. It asks for the stored texts, which may be any bytes."""
    return Command(
        (b"DIRTY.GET", name(key), b"RAW", *map(id_bytes, entity_ids)),
        lambda reply: [None if told is None else _snapshot(told, types) for told in reply],
    )


def scan(
    key: Name, cursor: Word, types: Mapping[str, str], *, limit: int | None = None
) -> Command[tuple[Word, list[tuple[Word, dict[Name, Any]]]]]:
    """DIRTY.SCAN: the next cursor, and pairs of an id and a snapshot."""
    return Command(
        (b"DIRTY.SCAN", name(key), cursor, *_count(limit), b"RAW"),
        lambda reply: (
            reply[0],
            [(entity_id, _snapshot(told, types)) for entity_id, told in reply[1]],
        ),
    )


def _snapshot(told: Any, types: Mapping[str, str]) -> dict[Name, Any]:
    fields = {text(field): text(value) for field, value in pairs(told)}
    return decoded_fields(fields, types, stored=True)


def reconcile(
    step: str,
    key: Name,
    run: Name,
    *,
    max_delete: int | str | None = None,
    dry_run: bool = False,
    limit: int | None = None,
) -> Command[Any]:
    """DIRTY.RECONCILE: BEGIN, SWEEP, ABORT or STATUS."""
    words: list[Word] = [b"DIRTY.RECONCILE", name(key), name(step), name(run)]
    if max_delete is not None:
        words += (b"MAXDELETE", name(str(max_delete)))
    if dry_run:
        words.append(b"DRYRUN")
    words += _count(limit)
    parsers: dict[str, Callable[[Any], Any]] = {
        "BEGIN": done,
        "ABORT": lambda reply: count(reply) == 1,
    }
    return Command(tuple(words), parsers.get(step, _stats.reconcile_status))


def _count(limit: int | None) -> tuple[Word, ...]:
    return () if limit is None else (b"COUNT", number(limit))


# Readers.


def group(
    stream: Name,
    group: Name,
    *,
    start: Start | None = None,
    order: str | None = None,
    claim: Span | None = None,
    max_pending: int | None = None,
    max_deliveries: int | None = None,
    dead: Name | None = None,
    on_dead: str | None = None,
    min_age: Span | None = None,
    where: Where | None = None,
    revision: int | None = None,
    partition: int | None = None,
) -> Command[bool]:
    """DIRTY.READER of a group."""
    words: list[Word] = [b"DIRTY.READER", name(stream), b"GROUP", name(group)]
    if start is not None:
        words += (b"FROM", *start_words(start, partition))
    if order is not None:
        words += (b"ORDER", *map(str.encode, order.split(" ", 1)))
    if claim is not None:
        words += (b"CLAIM", milliseconds(claim))
    if max_pending is not None:
        words += (b"MAXPENDING", number(max_pending))
    if max_deliveries is not None:
        words += (b"MAXDELIVERIES", number(max_deliveries))
    if on_dead is not None:
        words += (b"ONDEAD", name(on_dead))
    words += _of_both(
        None if dead is None else at_partition(dead, partition), min_age, where, revision
    )
    return Command(tuple(words), ok)


def cursor(
    stream: Name,
    cursor: Name,
    *,
    start: Start | None = None,
    shard: tuple[int, int] | None = None,
    dead: Name | None = None,
    min_age: Span | None = None,
    where: Where | None = None,
    revision: int | None = None,
    partition: int | None = None,
) -> Command[bool]:
    """DIRTY.READER of a cursor."""
    words: list[Word] = [b"DIRTY.READER", name(stream), b"CURSOR", name(cursor)]
    if start is not None:
        words += (b"FROM", *start_words(start, partition))
    words += _shard(shard)
    words += _of_both(
        None if dead is None else at_partition(dead, partition), min_age, where, revision
    )
    return Command(tuple(words), ok)


def _shard(shard: tuple[int, int] | None) -> tuple[Word, ...]:
    return () if shard is None else (b"SHARD", number(shard[0]), number(shard[1]))


def _of_both(
    dead: Name | None, min_age: Span | None, where: Where | None, revision: int | None
) -> list[Word]:
    words: list[Word] = []
    if dead is not None:
        words += (b"DEAD", name(dead))
    if min_age is not None:
        words += (b"MINAGE", milliseconds(min_age))
    if revision is not None:
        words += (b"REVISION", number(revision))
    return [*words, *where_words(where)]


def consume(
    stream: Name,
    group: Name,
    consumer: Name,
    *,
    ack: Sequence[str] = (),
    pending: bool = False,
    limit: int | None = None,
    block: Span | None = None,
    entities: Entities = NO_ENTITIES,
) -> Command[Batch]:
    """DIRTY.CONSUME of a group."""
    words: list[Word] = [b"DIRTY.CONSUME", name(stream), b"GROUP", name(group), name(consumer)]
    if ack:
        words += (b"ACK", number(len(ack)), *map(name, listed(ack, "ids")))
    if pending:
        words.append(b"PENDING")
    return _reading(words, limit, block, (), entities, once=True)


def follow(
    stream: Name,
    cursor: Name,
    *,
    ack: str | None = None,
    limit: int | None = None,
    block: Span | None = None,
    entities: Entities = NO_ENTITIES,
) -> Command[Batch]:
    """DIRTY.CONSUME of a cursor."""
    words: list[Word] = [b"DIRTY.CONSUME", name(stream), b"CURSOR", name(cursor)]
    if ack is not None:
        words += (b"ACK", name(ack))
    return _reading(words, limit, block, (), entities, once=True)


def read(
    stream: Name,
    start: Place,
    *,
    shard: tuple[int, int] | None = None,
    min_age: Span | None = None,
    limit: int | None = None,
    block: Span | None = None,
    where: Where | None = None,
    entities: Entities = NO_ENTITIES,
) -> Command[Batch]:
    """DIRTY.READ."""
    words: list[Word] = [b"DIRTY.READ", name(stream), b"FROM", place(start), *_shard(shard)]
    if min_age is not None:
        words += (b"MINAGE", milliseconds(min_age))
    return _reading(words, limit, block, where_words(where), entities, once=False)


def _reading(
    words: list[Word],
    limit: int | None,
    block: Span | None,
    where: tuple[Word, ...],
    entities: Entities,
    *,
    once: bool,
) -> Command[Batch]:
    words += _count(limit)
    if block is not None:
        words += (b"BLOCK", milliseconds(block))
    words += (b"JSON", *where)
    wait = None if block is None else seconds(block)
    return Command(tuple(words), entities.batch, once=once, block=wait)


def ack(
    stream: Name, group: Name, consumer: Name, event_ids: Sequence[str], *, force: bool = False
) -> Command[list[str]]:
    """DIRTY.ACK of a group: the ids that were not held."""
    return Command(
        (
            *(b"DIRTY.ACK", name(stream), b"GROUP", name(group), name(consumer)),
            *((b"FORCE",) if force else ()),
            *map(name, listed(event_ids, "ids")),
        ),
        ids,
    )


def ack_position(stream: Name, cursor: Name, position: str) -> Command[bool]:
    """DIRTY.ACK of a cursor: whether it has moved."""
    return Command(
        (b"DIRTY.ACK", name(stream), b"CURSOR", name(cursor), name(position)),
        lambda reply: count(reply) == 1,
    )


def hold(
    stream: Name, group: Name, consumer: Name, event_ids: Sequence[str] = ()
) -> Command[list[str]]:
    """DIRTY.HOLD: the ids that are not held; without ids, of all that the consumer holds."""
    words = (b"DIRTY.HOLD", name(stream), b"GROUP", name(group), name(consumer))
    return Command((*words, *map(name, listed(event_ids, "ids"))), ids)


def fail(
    stream: Name,
    group: Name,
    consumer: Name,
    message: Name,
    event_ids: Sequence[str],
    *,
    delay: Span | None = None,
    fatal: bool = False,
    force: bool = False,
) -> Command[list[str]]:
    """DIRTY.FAIL of a group: `retry`, `dead` or `not-held` for each id."""
    words: list[Word] = [b"DIRTY.FAIL", name(stream), b"GROUP", name(group), name(consumer)]
    words.append(name(message))
    if force:
        words.append(b"FORCE")
    if delay is not None:
        words += (b"DELAY", milliseconds(delay))
    if fatal:
        words.append(b"FATAL")
    return Command((*words, *map(name, listed(event_ids, "ids"))), ids)


def fail_cursor(
    stream: Name, cursor: Name, message: Name, event_ids: Sequence[str]
) -> Command[list[str]]:
    """DIRTY.FAIL of a cursor: `dead` or `not-held` for each id."""
    words = (b"DIRTY.FAIL", name(stream), b"CURSOR", name(cursor), name(message))
    return Command((*words, *map(name, listed(event_ids, "ids"))), ids)


def leave(stream: Name, group: Name, consumer: Name) -> Command[int]:
    """DIRTY.LEAVE: how many events others may take now."""
    return Command((b"DIRTY.LEAVE", name(stream), b"GROUP", name(group), name(consumer)), count)


def stats(stream: Name) -> Command[_stats.StreamStats]:
    """DIRTY.STATS."""
    return Command((b"DIRTY.STATS", name(stream)), _stats.stream_stats)


def pending(
    stream: Name,
    group: Name,
    *,
    consumer: Name | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Command[list[_stats.Pending]]:
    """DIRTY.PENDING, a page of it."""
    words: list[Word] = [b"DIRTY.PENDING", name(stream), b"GROUP", name(group)]
    if consumer is not None:
        words += (b"CONSUMER", name(consumer))
    if after is not None:
        words += (b"AFTER", name(after))
    words += _count(limit)
    return Command(tuple(words), _stats.pending)


@dataclass(frozen=True)
class Selector:
    """Dead events: all of a reader, or only some. Give one argument.

    Attributes:
        entity: The name and id of an entity.
        key: The value of META in a group with that order.
        ids: The ids of events in their own stream.
    """

    entity: tuple[Name, Id] | None = None
    key: Name | None = None
    ids: Sequence[str] | None = None

    def words(self) -> tuple[Word, ...]:
        """The selector."""
        if [self.entity, self.key, self.ids].count(None) < 2:
            raise ValueError("give one of entity, key and ids")
        if self.entity is not None:
            return (b"ENTITY", name(self.entity[0]), id_bytes(self.entity[1]))
        if self.key is not None:
            return (b"KEY", name(self.key))
        if self.ids is not None:
            return (b"IDS", number(len(self.ids)), *map(name, listed(self.ids, "ids")))
        return (b"ALL",)


def redrive(stream: Name, group: Name, selector: Selector) -> Command[int]:
    """DIRTY.REDRIVE."""
    return Command(
        (b"DIRTY.REDRIVE", name(stream), b"GROUP", name(group), *selector.words()), count
    )


def discard(stream: Name, kind: Word, reader: Name, selector: Selector) -> Command[int]:
    """DIRTY.DISCARD."""
    return Command((b"DIRTY.DISCARD", name(stream), kind, name(reader), *selector.words()), count)


def pause(stream: Name, group: Name, *, on: bool) -> Command[None]:
    """DIRTY.PAUSE."""
    words = (b"DIRTY.PAUSE", name(stream), b"GROUP", name(group), b"ON" if on else b"OFF")
    return Command(words, done)


def seek(
    stream: Name, kind: Word, reader: Name, start: Start, partition: int | None = None
) -> Command[None]:
    """DIRTY.SEEK."""
    return Command(
        (b"DIRTY.SEEK", name(stream), kind, name(reader), *start_words(start, partition)), done
    )


def forget(stream: Name, kind: Word, reader: Name) -> Command[bool]:
    """DIRTY.FORGET."""
    return Command(
        (b"DIRTY.FORGET", name(stream), kind, name(reader)), lambda reply: count(reply) == 1
    )
