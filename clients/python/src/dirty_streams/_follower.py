"""The loops of readers in order: of a cursor, and from a position that the application keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from . import _commands
from ._events import Entities
from ._loops import Give, Loop, Outage, Pause, Send, log, now, persist, sources
from ._words import seconds
from .errors import is_outage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._commands import SNAPSHOT, Place, Where
    from ._entity import Entity, Stream
    from ._events import Batch
    from ._loops import Source
    from ._words import Name, Span

C = TypeVar("C")


class MissedError(Exception):
    """Events were trimmed or deleted before this reader got them: load the entities from their source.

    Attributes:
        stream: The stream.
        missed: How many; None if the number is unknown.
        batch: What comes after them. Nothing of it is acknowledged.
    """

    def __init__(self, stream: Name, batch: Batch) -> None:
        self.stream, self.missed, self.batch = stream, batch.missed, batch
        number = "an unknown number of" if batch.missed is None else batch.missed
        super().__init__(f"{number} events of {stream!r} were lost before they were read")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.stream, self.batch)


@dataclass(frozen=True)
class FollowPolicy:
    """How a follower reads: the arguments of `Follower`."""

    limit: int | None
    block: float
    snapshot: SNAPSHOT | None
    rebuild: bool
    take_missed: bool
    until_idle: bool
    patience: float = 5.0


class CursorLoop:
    """The loop of a cursor on one stream."""

    def __init__(
        self,
        source: Source,
        cursor: Name,
        policy: FollowPolicy,
        entities: Entities,
        *,
        stopping: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._source, self._cursor = source, cursor
        self._policy, self._entities = policy, entities
        self._stopping, self._clock = stopping, clock
        self._outage = Outage(f"{source.key!r}/{cursor!r}")
        self._acknowledged: str | None = None

    def run(self) -> Loop:
        """Gives batches until it is told to stop, or the head of the stream is reached."""
        position: str | None = None
        if self._policy.rebuild:
            yield from self._from_the_beginning()
        while not self._stopping():
            try:
                batch: Batch = yield Send(self._follow(position))
            except Exception as error:
                yield from self._outage.wait(error)
                continue
            self._outage.over()
            self._acknowledged = position or self._acknowledged
            if batch.missed != 0 and not self._policy.take_missed:
                if self._policy.snapshot is None:
                    raise MissedError(self._source.key, batch)
                log.warning(
                    "%r missed events of %r: it begins again with the entities that are stored",
                    self._cursor,
                    self._source.key,
                )
                yield from self._from_the_beginning()
                position = None
                continue
            if self._stopping():
                break
            if batch.events or batch.phase is not None or batch.missed != 0:
                yield Give(replace(batch, stream=self._source.key))
            position = batch.position
            if self._policy.until_idle and not batch.more and batch.phase != "snapshot":
                break
        if position is not None and position != self._acknowledged:
            yield from self._acknowledge(position)

    def _follow(self, position: str | None) -> _commands.Command[Batch]:
        return _commands.follow(
            self._source.key,
            self._cursor,
            ack=position if position != self._acknowledged else None,
            limit=self._policy.limit,
            block=None if self._policy.until_idle else self._policy.block,
            entities=self._entities,
        )

    def _from_the_beginning(self) -> Loop:
        start = self._policy.snapshot
        if start is None:
            raise ValueError("to begin again, a follower needs the entity types of its snapshot")
        seek = _commands.seek(
            self._source.key, b"CURSOR", self._cursor, start, self._source.partition
        )
        yield from persist(seek, self._outage, self._stopping)

    def _acknowledge(self, position: str) -> Loop:
        deadline = self._clock() + self._policy.patience
        while True:
            try:
                yield Send(_commands.ack_position(self._source.key, self._cursor, position))
            except Exception as error:
                if not is_outage(error):
                    raise
                if self._clock() >= deadline:
                    log.warning("%r: the last batch is not acknowledged: %s", self._cursor, error)
                    return
                yield Pause(self._outage.delay())
            else:
                return


class BaseFollower(Generic[C]):
    """The arguments of a follower."""

    def __init__(
        self,
        client: C,
        stream: Stream | Name,
        cursor: Name,
        *,
        entities: Iterable[Entity] = (),
        partitions: Iterable[int] | None = None,
        limit: int | None = None,
        block: Span = 1.0,
        snapshot: SNAPSHOT | None = None,
        rebuild: bool = False,
        take_missed: bool = False,
        until_idle: bool = False,
        signals: bool = True,
    ) -> None:
        """A follower that has not begun.

        Args:
            client: The client.
            stream: The stream; a `Stream` of an entity type with partitions is read as all its partitions.
            cursor: The cursor, which a deployment has declared.
            entities: The entity types that it knows, for the types of values.
            partitions: Only these partitions of the stream.
            limit: How many events a batch has at most; by default 100.
            block: How long a call waits for events, and so how long a stop may take while there are none.
            snapshot: `SNAPSHOT(users)`: when events were missed, it begins again with the entities that are stored.
                The next batch with entities has `begin`.
            rebuild: Begins with the entities that are stored, whatever the cursor has read: for a copy in memory.
            take_missed: `batch.missed` tells of missed events, and nothing else happens.
            until_idle: Ends at the head of the stream.
            signals: Whether SIGTERM and SIGINT stop the iteration, if it is in the main thread.

        Raises:
            ValueError: `rebuild` without `snapshot`.
        """
        if rebuild and snapshot is None:
            raise ValueError("rebuild needs snapshot")
        self._client, self._cursor = client, cursor
        self._sources = sources(stream, partitions)
        self._entities = Entities(entities)
        self._policy = FollowPolicy(
            limit=limit,
            block=max(seconds(block), 0.001),
            snapshot=snapshot,
            rebuild=rebuild,
            take_missed=take_missed,
            until_idle=until_idle,
        )
        self._signals = signals
        self._clock = now
        self._over = False
        self._prepare()

    def _prepare(self) -> None:
        raise NotImplementedError

    @property
    def stopped(self) -> bool:
        """Whether a signal or `stop` has said that it is to end."""
        raise NotImplementedError

    def _loops(self, stopping: Callable[[], bool]) -> list[Loop]:
        if self._over:
            raise RuntimeError("this follower was stopped: make another one")
        return [
            CursorLoop(
                source,
                self._cursor,
                self._policy,
                self._entities,
                stopping=stopping,
                clock=self._clock,
            ).run()
            for source in self._sources
        ]


@dataclass(frozen=True)
class ReadPolicy:
    """How `read` reads: its arguments."""

    limit: int | None
    block: float
    shard: tuple[int, int] | None
    min_age: float | None
    where: Where | None
    take_missed: bool
    until_idle: bool


class ReadLoop:
    """The loop of a reader of one stream whose position the application keeps."""

    def __init__(
        self,
        source: Source,
        position: Place,
        policy: ReadPolicy,
        entities: Entities,
        *,
        stopping: Callable[[], bool],
    ) -> None:
        self._source, self._position = source, position
        self._policy, self._entities = policy, entities
        self._stopping = stopping
        self._outage = Outage(f"{source.key!r}")

    def run(self) -> Loop:
        """Gives batches until it is told to stop, or the head of the stream is reached."""
        position, given = self._position, False
        while not self._stopping():
            try:
                batch: Batch = yield Send(self._read(position, wait=given))
            except Exception as error:
                yield from self._outage.wait(error)
                continue
            self._outage.over()
            if batch.missed != 0 and not self._policy.take_missed:
                raise MissedError(self._source.key, batch)
            if self._stopping():
                return
            if batch.events or batch.position != position:
                yield Give(replace(batch, stream=self._source.key))
            position, given = batch.position, True
            if self._policy.until_idle and not batch.more:
                return

    def _read(self, position: Place, *, wait: bool) -> _commands.Command[Batch]:
        # The first call does not wait: `$` is where the stream ends now, also if that reply is lost.
        return _commands.read(
            self._source.key,
            position,
            shard=self._policy.shard,
            min_age=self._policy.min_age,
            limit=self._policy.limit,
            block=self._policy.block if wait and not self._policy.until_idle else None,
            where=self._policy.where,
            entities=self._entities,
        )


def read_loops(
    stream: Stream | Name,
    position: Place | Mapping[Name, Place],
    stopping: Callable[[], bool],
    *,
    entities: Iterable[Entity],
    partitions: Iterable[int] | None,
    shard: tuple[int, int] | None,
    min_age: Span | None,
    where: Where | None,
    limit: int | None,
    block: Span,
    take_missed: bool,
    until_idle: bool,
) -> list[Loop]:
    """The loops of `read`."""
    policy = ReadPolicy(
        limit=limit,
        block=max(seconds(block), 0.001),  # 0 is for ever
        shard=shard,
        min_age=None if min_age is None else seconds(min_age),
        where=where,
        take_missed=take_missed,
        until_idle=until_idle,
    )
    known = Entities(entities)
    return [
        ReadLoop(source, place, policy, known, stopping=stopping).run()
        for source, place in _positions(sources(stream, partitions), position)
    ]


def _positions(streams: Sequence[Source], position: Any) -> list[tuple[Source, Place]]:
    """Where to read each stream from."""
    if isinstance(position, Mapping):
        return [(source, position.get(source.key, "0")) for source in streams]
    if len(streams) > 1 and position not in {"0", 0, "$"} and isinstance(position, (str, bytes)):
        raise ValueError("each partition has a position of its own: give a mapping")
    return [(source, position) for source in streams]
