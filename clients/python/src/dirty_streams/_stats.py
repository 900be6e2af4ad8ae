"""Replies that describe: declarations, streams with their readers, pending events, runs, waiting flushes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from ._replies import mapping, maybe, maybe_string, moment, pairs
from ._words import string, text

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from ._words import Name

T = TypeVar("T")


@dataclass(frozen=True)
class ConsumerStats:
    """A consumer of a group: `pending` counts the events that it holds, `idle` are seconds since its last call."""

    name: Name
    pending: int
    idle: float | None
    waiting: bool | None = None


@dataclass(frozen=True)
class ReaderStats:
    """A reader of a stream, as DIRTY.STATS tells it. Spans are seconds; what its kind does not have is None."""

    name: Name
    kind: str
    lag: int | None
    oldest_unread: float | None
    missed: int | None
    position: str | None
    consumers: tuple[ConsumerStats, ...] = ()
    dead: Name | None = None
    min_age: float | None = None
    where: tuple[Name, ...] = ()
    revision: int | None = None
    shard: tuple[int, int] | None = None
    delivered: int | None = None
    redelivered: int | None = None
    acknowledged: int | None = None
    failed: int | None = None
    died: int | None = None
    rejected: int | None = None
    missed_total: int | None = None
    bytes: int | None = None
    order: Name | None = None
    claim: float | None = None
    max_pending: int | None = None
    max_deliveries: int | None = None
    on_dead: str | None = None
    pending: int | None = None
    held: int | None = None
    queued: int | None = None
    due: int | None = None
    held_keys: int | None = None
    parked_keys: int | None = None
    lowest_pending_id: str | None = None
    stalled: bool | None = None
    paused: bool | None = None
    turn: Name | None = None


@dataclass(frozen=True)
class StreamStats:
    """A stream and its readers, as DIRTY.STATS tells them; `oldest_event` is in seconds."""

    length: int
    bytes: int
    oldest_event: float | None
    first_id: str | None
    last_id: str
    dead: int
    readers: tuple[ReaderStats, ...]

    def reader(self, name: Name) -> ReaderStats | None:
        """The reader of this name."""
        wanted = name.encode() if isinstance(name, str) else name
        for reader in self.readers:
            found = reader.name
            if (found.encode() if isinstance(found, str) else found) == wanted:
                return reader
        return None


@dataclass(frozen=True)
class Pending:
    """An event that a group has not finished.

    Attributes:
        id: The event's id.
        state: `held`, `delayed`, `free`, `queued` or `parked`.
        consumer: Who holds it, or what it waits for; None if nobody does.
        idle: Seconds since it was delivered or held.
        due: When it comes to whoever asks; None if it waits for other events.
        deliveries: The deliveries that count, and `failures` how many of them failed.
        error: The message of the last failure.
        key: The entity's name and id (ORDER ENTITY), or a value (ORDER META).
    """

    id: str
    state: str
    consumer: Name | None
    idle: float | None
    due: dt.datetime | None
    deliveries: int
    failures: int
    error: Name | None
    key: tuple[Name, ...] | Name | None


@dataclass(frozen=True)
class ReconcileStatus:
    """The state of a run of DIRTY.RECONCILE. Of an entity type with partitions, the sum of its partitions."""

    phase: str
    scanned: int
    seen: int
    same: int
    repaired: int
    stale: int
    newer: int
    foreign: int
    missing: int
    deleted: int

    @property
    def differs(self) -> int:
        """The number of rows and entities that were not equal."""
        return self.repaired + self.missing


@dataclass(frozen=True)
class Deferred:
    """A flush that waits for its COMMIT. All but the token is None if this version of the module cannot read it."""

    token: Name
    age: float | None
    size: int | None
    operations: tuple[tuple[str, Name], ...] | None


def stream_stats(reply: Any) -> StreamStats:
    """The reply of DIRTY.STATS."""
    told = _seconds(mapping(reply))
    return StreamStats(
        length=told["length"],
        bytes=told["bytes"],
        oldest_event=told["oldest_event"],
        first_id=maybe_string(told["first_id"]),
        last_id=string(told["last_id"]),
        dead=told["dead"],
        readers=tuple(_reader(reader) for reader in told["readers"]),
    )


def _reader(reply: Any) -> ReaderStats:
    told = _seconds(mapping(reply))
    for name in ("stalled", "paused"):
        if told.get(name) is not None:
            told[name] = bool(told[name])
    for name in ("kind", "position", "on_dead", "lowest_pending_id"):
        told[name] = maybe_string(told.get(name))
    for name in ("name", "dead", "order", "turn"):
        told[name] = maybe(told.get(name))
    told["where"] = tuple(text(word) for word in told.get("where") or ())
    told["shard"] = None if told.get("shard") is None else tuple(told["shard"])
    told["consumers"] = tuple(_consumer(consumer) for consumer in told["consumers"])
    return _made(ReaderStats, told)


def _consumer(reply: Any) -> ConsumerStats:
    told = _seconds(mapping(reply))
    waiting = told.get("waiting")
    return ConsumerStats(
        name=text(told["name"]),
        pending=told["pending"],
        idle=told.get("idle"),
        waiting=None if waiting is None else bool(waiting),
    )


def pending(reply: Any) -> list[Pending]:
    """The reply of DIRTY.PENDING."""
    return [_pending(mapping(event)) for event in reply]


def _pending(told: Mapping[str, Any]) -> Pending:
    idle, due, key = told["idle-ms"], told["due-ms"], told["key"]
    return Pending(
        id=string(told["id"]),
        state=string(told["state"]),
        consumer=maybe(told["consumer"]),
        idle=None if idle is None else idle / 1000,
        due=None if due is None else moment(due),
        deliveries=told["deliveries"],
        failures=told["failures"],
        error=maybe(told["error"]),
        key=tuple(text(part) for part in key) if isinstance(key, list) else maybe(key),
    )


def reconcile_status(reply: Any) -> ReconcileStatus:
    """The reply of DIRTY.RECONCILE SWEEP and STATUS."""
    told = mapping(reply)
    told["phase"] = string(told["phase"])
    return _made(ReconcileStatus, told)


def deferred(reply: Any) -> list[Deferred]:
    """The reply of DIRTY.DEFERRED."""
    return [
        Deferred(
            token=text(token),
            age=None if age is None else age / 1000,
            size=size,
            operations=None
            if operations is None
            else tuple((string(op), text(entity_id)) for op, entity_id in operations),
        )
        for token, age, size, operations in reply
    ]


def info(reply: Any) -> dict[str, Any]:
    """The reply of DIRTY.INFO, as `redis-cli --json` shows it: lists, maps, text."""
    told = _plain(mapping(reply))
    told["stateless"] = bool(told["stateless"])
    told["types"] = {text(name): text(kind) for name, kind in pairs(mapping(reply)["types"])}
    told["streams"] = [_plain(mapping(stream)) for stream in mapping(reply)["streams"]]
    for stream in told["streams"]:
        stream["safenumbers"] = bool(stream["safenumbers"])
    return told


def _plain(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _texts(value) for name, value in told.items()}


def _texts(value: Any) -> Any:
    if isinstance(value, bytes):
        return text(value)
    if isinstance(value, list):
        return [_texts(item) for item in value]
    return value


def _seconds(told: Mapping[str, Any]) -> dict[str, Any]:
    """Names as Python writes them, and ms as seconds."""
    made = {}
    for name, value in told.items():
        if name.endswith("-ms"):
            made[name.removesuffix("-ms").replace("-", "_")] = (
                None if value is None else value / 1000
            )
        else:
            made[name.replace("-", "_")] = value
    return made


def _made(cls: type[T], told: Mapping[str, Any]) -> T:
    """An instance of what is told; elements that a later module tells besides are left out."""
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    return cls(**{name: value for name, value in told.items() if name in known})
