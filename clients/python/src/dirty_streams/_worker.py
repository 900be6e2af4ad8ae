"""The loop of a group's worker, and its heartbeat."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from . import _commands
from ._events import Entities
from ._loops import (
    Handle,
    Loop,
    Outage,
    Pause,
    Send,
    Sleep,
    Steps,
    Tell,
    Turn,
    consumer_name,
    log,
    now,
    persist,
    sources,
)
from ._operations import Ack
from ._words import seconds
from .errors import DirtyError, NotHeldError, is_outage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._entity import Entity, Stream
    from ._events import Batch, Event
    from ._loops import Source
    from ._words import Name, Span


C = TypeVar("C")


class _Acknowledged:
    """What a handler returns if its own flush has acknowledged the event."""

    def __repr__(self) -> str:
        return "ACKNOWLEDGED"


ACKNOWLEDGED = _Acknowledged()
"""A handler returns it if it has acknowledged the event itself, with `client.flush(…, ack=event.ack)`."""


@dataclass(frozen=True)
class Policy:
    """How a worker works: the arguments of `Worker`."""

    limit: int | None
    block: float
    fatal: tuple[type[Exception], ...]
    unavailable: tuple[type[Exception], ...]
    retry_base: float
    retry_cap: float
    hold_for: float
    on_missed: Callable[[Name, int | None], Any]
    on_failure: Callable[[Event, Exception, str | None], Any]
    on_late: Callable[[Event], Any]
    ack_every: float = 1.0
    patience: float = 5.0

    def delay(self, deliveries: int) -> float:
        """How long a failed event waits."""
        return float(min(self.retry_cap, self.retry_base * 2.0 ** min(deliveries - 1, 60)))


@dataclass(frozen=True)
class Consumer:
    """A consumer of a group."""

    stream: Name
    group: Name
    name: Name

    def __str__(self) -> str:
        return f"{_shown(self.stream)}/{_shown(self.group)}/{_shown(self.name)}"


def _shown(name: Name) -> str:
    return name if isinstance(name, str) else repr(name)


class Lease:
    """The events that a consumer holds, and since when it knows that from the server.

    The loop and its heartbeat share it; they may be two threads.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}
        self._batch = 0
        self._confirmed = 0.0
        self._begun: float | None = None
        self.claim: float | None = None
        """The group's CLAIM in seconds, once it is known."""

    def take(self, event_ids: Sequence[str], asked: float) -> None:
        """A batch has come, which was asked for then."""
        with self._lock:
            self._batch += 1
            self._held = dict.fromkeys(event_ids, self._batch)
            self._confirmed = asked

    def settle(self, event_ids: Sequence[str]) -> None:
        """These events are about to be acknowledged, or given back."""
        with self._lock:
            for event_id in event_ids:
                self._held.pop(event_id, None)

    def drop(self) -> None:
        """Nobody knows what is held: a reply was lost."""
        with self._lock:
            self._held = {}

    def holds(self, event_id: str) -> bool:
        """Whether the server has not said that this event is another's."""
        with self._lock:
            return event_id in self._held

    def held(self) -> dict[str, int]:
        """What is held, each with the number of its batch."""
        with self._lock:
            return dict(self._held)

    def confirm(self, held: dict[str, int], lost: Sequence[str], asked: float) -> None:
        """The server has said that of these events, all but the lost ones are held.

        An event that has come again meanwhile, in a later batch, is not lost.
        """
        with self._lock:
            for event_id in lost:
                if self._held.get(event_id) == held.get(event_id):
                    self._held.pop(event_id, None)
            if any(batch == self._batch for batch in held.values()):
                self._confirmed = max(self._confirmed, asked)

    def doubtful(self) -> bool:
        """Whether so much time has passed that others may soon have the events."""
        with self._lock:
            return self.claim is not None and self._clock() - self._confirmed >= self.claim / 2

    def begin(self) -> None:
        """A handler begins."""
        with self._lock:
            self._begun = self._clock()

    def end(self) -> None:
        """The handler has ended."""
        with self._lock:
            self._begun = None

    def handling(self) -> float:
        """For how long a handler has been running."""
        with self._lock:
            return 0.0 if self._begun is None else self._clock() - self._begun

    def rest(self) -> float:
        """In how many seconds the next HOLD is due."""
        with self._lock:
            if self.claim is None:
                return 0.05
            third = max(self.claim / 3, 0.01)
            return third - (self._clock() - self._confirmed) if self._held else third


class Idle:
    """Which of a worker's loops have nothing to handle. They end together, when none has."""

    def __init__(self, loops: int) -> None:
        self._busy = set(range(loops))

    def note(self, loop: int, *, busy: bool) -> None:
        """A reply has brought events, or none."""
        (self._busy.add if busy else self._busy.discard)(loop)

    def __call__(self) -> bool:
        return not self._busy


class WorkerLoop:
    """A consumer's loop: `run`, and beside it `beat`.

    Attributes:
        consumer: The stream, the group, and the consumer's name.
        ended: Whether `run` is over.
    """

    def __init__(
        self,
        consumer: Consumer,
        policy: Policy,
        entities: Entities,
        *,
        number: int,
        until: Idle | None,
        stopping: Callable[[], bool],
        release: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.consumer = consumer
        self.ended = False
        self._words = (consumer.stream, consumer.group, consumer.name)
        self._policy, self._entities = policy, entities
        self._number, self._until = number, until
        self._stopping, self._release, self._clock = stopping, release, clock
        self._lease = Lease(clock)
        self._outage = Outage(str(consumer))
        self._done: dict[str, Event] = {}
        self._told = 0.0
        self._joined = False

    def run(self) -> Loop:
        """Handles events until it is told to stop, or none is left."""
        try:
            yield from self._work()
        except GeneratorExit:
            raise
        except BaseException:
            yield from self._let_go(patience=0.0)
            raise
        else:
            yield from self._let_go(patience=self._policy.patience)
        finally:
            self.ended = True

    def _work(self) -> Loop:
        # At first, what a process of this name has left; after an outage, what a lost reply brought.
        pending = True
        while not self._stopping():
            asked, joined = self._clock(), self._joined
            try:
                if self._lease.claim is None:
                    yield from self._learn()
                self._joined = True  # also if the reply is lost
                batch: Batch = yield Send(self._consume(pending=pending))
            except Exception as error:
                if isinstance(error, DirtyError) and not is_outage(error):
                    self._joined = joined  # a command that is refused does nothing
                self._lease.drop()
                self._lease.claim = None
                pending = True
                yield from self._outage.wait(error)
                continue
            self._outage.over()
            self._told = self._clock()
            acknowledged, self._done = self._done, {}
            if not pending:
                yield from self._late(acknowledged, batch.not_held)
            pending = False
            self._lease.take([_id(event) for event in batch.events], asked)
            if batch.missed != 0:
                yield Tell(self._policy.on_missed, (self.consumer.stream, batch.missed))
            yield from self._handle_all(batch.events)
            if self._until is not None:
                self._until.note(self._number, busy=bool(batch.events) or batch.more)
                if self._until():
                    return
                if not batch.events and not batch.more:
                    yield Sleep(0.02)  # what the others do may bring something to handle

    def _learn(self) -> Steps[None]:
        stats = yield Send(_commands.stats(self.consumer.stream))
        reader = stats.reader(self.consumer.group)
        if reader is not None and reader.claim is not None:
            # Without one, the next call says that there is no such group.
            self._lease.claim = reader.claim

    def _consume(self, *, pending: bool) -> _commands.Command[Batch]:
        self._lease.settle(list(self._done))
        return _commands.consume(
            *self._words,
            ack=list(self._done),
            pending=pending,
            limit=self._policy.limit,
            block=self._policy.block if self._until is None else None,
            entities=self._entities,
        )

    def _handle_all(self, events: Sequence[Event]) -> Loop:
        for event in events:
            if self._stopping():
                return
            if not self._lease.holds(_id(event)):
                continue  # given back with a failed event before it, or claimed by another consumer
            if not (yield Turn()):
                return
            try:
                if self._lease.doubtful() and not (yield from self._hold()):
                    return
                if self._lease.holds(_id(event)):
                    yield from self._handle(replace(event, ack=Ack(*self._words, (_id(event),))))
            finally:
                self._release()
            if self._done and self._clock() - self._told >= self._policy.ack_every:
                yield from self._ack()

    def _handle(self, event: Event) -> Loop:
        self._lease.begin()
        try:
            result = yield from self._call(event)
        except Exception as error:
            self._lease.end()
            if isinstance(error, NotHeldError):
                yield from self._hold()  # whether it is this event that another consumer has
            if self._lease.holds(_id(event)):
                yield from self._fail(event, error)
            else:
                yield Tell(self._policy.on_late, (event,))
        else:
            if result is ACKNOWLEDGED:
                self._lease.settle([_id(event)])
            elif not self._lease.holds(_id(event)):
                yield Tell(self._policy.on_late, (event,))
            elif result is not _UNFINISHED:
                self._done[_id(event)] = event
        finally:
            self._lease.end()

    def _call(self, event: Event) -> Steps[Any]:
        system = Outage(
            str(self.consumer), first=self._policy.retry_base, cap=self._policy.retry_cap
        )
        while True:
            try:
                return (yield Handle(event))
            except self._policy.unavailable as error:
                log.warning("%s: waiting to handle %s: %r", self.consumer, event.event_id, error)
                yield Sleep(system.delay())
                if self._stopping():
                    return _UNFINISHED
            if not self._lease.holds(_id(event)):
                return _UNFINISHED

    def _fail(self, event: Event, error: Exception) -> Loop:
        policy = self._policy
        fatal = isinstance(error, policy.fatal)
        command = _commands.fail(
            *self._words,
            f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace"),
            [_id(event)],
            delay=None if fatal else policy.delay(event.deliveries),
            fatal=fatal,
        )
        self._lease.settle([_id(event)])
        fates = yield from persist(command, self._outage, self._stopping)
        yield Tell(policy.on_failure, (event, error, fates[0] if fates else None))
        if self._lease.held():
            # It tells which later events the server has given back, whatever the ORDER is.
            yield from self._hold()

    def _hold(self) -> Steps[bool]:
        """Asks what is held still. False if the loop is to stop while Redis is away."""
        while True:
            held, asked = self._lease.held(), self._clock()
            try:
                lost = yield Send(_commands.hold(*self._words, list(held)))
            except Exception as error:
                yield from self._outage.wait(error)
                if self._stopping():
                    return False
            else:
                self._outage.over()
                self._lease.confirm(held, lost, asked)
                yield from self._forget(lost)
                return True

    def _forget(self, lost: Sequence[str]) -> Loop:
        """Of events that are handled and not yet acknowledged, these are another's."""
        for event_id in lost:
            event = self._done.pop(event_id, None)
            if event is not None:
                yield Tell(self._policy.on_late, (event,))

    def _ack(self) -> Loop:
        command = _commands.ack(*self._words, list(self._done))
        try:
            not_held = yield Send(command)
        except Exception as error:
            if not is_outage(error):
                raise
            self._told = self._clock()  # the next call acknowledges them, or a later try
            return
        self._told = self._clock()
        acknowledged, self._done = self._done, {}
        self._lease.settle(list(acknowledged))
        yield from self._late(acknowledged, not_held)

    def _late(self, acknowledged: dict[str, Event], not_held: Sequence[str]) -> Loop:
        for event_id in not_held:
            event = acknowledged.get(event_id)
            if event is not None:
                yield Tell(self._policy.on_late, (event,))

    def _let_go(self, patience: float) -> Loop:
        """Acknowledges what is handled, and hands the rest to others."""
        if not self._joined:
            return
        commands: list[_commands.Command[Any]] = [self.leave()]
        deadline = self._clock() + patience
        if self._done:
            commands.insert(0, _commands.ack(*self._words, list(self._done)))
        self._lease.drop()
        while commands:
            try:
                yield Send(commands[0])
                del commands[0]
            except Exception as error:
                if not is_outage(error) or self._clock() >= deadline:
                    log.warning("%s: could not leave its group: %s", self.consumer, error)
                    return
                yield Pause(self._outage.delay())

    @property
    def handling(self) -> bool:
        """Whether a handler is running."""
        return self._lease.handling() > 0

    def leave(self) -> _commands.Command[int]:
        """The command that hands on what the consumer holds."""
        return _commands.leave(*self._words)

    def beat(self) -> Loop:
        """The heartbeat: says that the consumer still works on what it holds."""
        outage, told = Outage(str(self.consumer)), False
        while not self.ended:
            rest = self._lease.rest()
            if self._lease.handling() > self._policy.hold_for:
                if not told:
                    log.error("%s: a handler hangs; its events go to others", self.consumer)
                told, rest = True, 1.0
            else:
                told = False
            held, asked = self._lease.held(), self._clock()
            if rest > 0 or not held:
                yield Pause(max(rest, 0.01))
                continue
            try:
                lost = yield Send(_commands.hold(*self._words, list(held)))
            except Exception as error:
                if not is_outage(error):
                    log.warning("%s: HOLD was refused: %s", self.consumer, error)
                yield Pause(outage.delay())
            else:
                outage = Outage(str(self.consumer))
                self._lease.confirm(held, lost, asked)


class BaseWorker(Generic[C]):
    """The arguments of a worker."""

    def __init__(
        self,
        client: C,
        stream: Stream | Name,
        group: Name,
        handler: Callable[[Event], Any],
        *,
        entities: Iterable[Entity] = (),
        consumer: str | None = None,
        partitions: Iterable[int] | None = None,
        concurrency: int = 1,
        limit: int | None = None,
        block: Span = 1.0,
        fatal: type[Exception] | Iterable[type[Exception]] = (),
        unavailable: type[Exception] | Iterable[type[Exception]] = (),
        retry_base: Span = 1.0,
        retry_cap: Span = 60.0,
        hold_for: Span = 3600.0,
        on_missed: Callable[[Name, int | None], Any] | None = None,
        on_failure: Callable[[Event, Exception, str | None], Any] | None = None,
        on_late: Callable[[Event], Any] | None = None,
        signals: bool = True,
    ) -> None:
        """A worker that has not begun.

        Args:
            client: The client.
            stream: The stream; a `Stream` of an entity type with partitions is read as all its partitions.
            group: The group, which a deployment has declared.
            handler: Handles an event. If it raises, the event fails, and comes again later.
            entities: The entity types that it knows, for the types of values.
            consumer: The consumer's name, which no other process may have; by default each `run` has a new one.
            partitions: Only these partitions of the stream.
            concurrency: How many handlers may run at a time, in threads. Above one for a single stream, each thread is
                a consumer of its own; events of one key still come one after the other.
            limit: How many events one call returns at most; by default 100.
            block: How long a call waits for events, and so how long a stop may take while there are none.
            fatal: The exception, or the exceptions, of a handler that kill the event at once.
            unavailable: Exceptions that say that something the handler needs is away: it waits, keeps the event, and
                calls the handler again. The event does not fail.
            retry_base: How long a failed event waits; twice as long after each delivery.
            retry_cap: The longest such wait.
            hold_for: A handler that runs longer than this hangs: its events go to others.
            on_missed: Called with the stream and the number of events that were trimmed or deleted before the group
                read them, or None if the number is unknown; by default an error in the log.
            on_failure: Called with the event, the exception, and `retry`, `dead`, `not-held` or None if nobody knows.
            on_late: Called with an event that was handled too slowly: another consumer has it, too.
            signals: Whether SIGTERM and SIGINT stop `run`, if it is called in the main thread.
        """
        self._client = client
        self._handler = handler
        callbacks = [given for given in (on_missed, on_failure, on_late) if given is not None]
        for function in (handler, *callbacks):
            if not callable(function):
                raise TypeError(f"{function!r} is not callable")
        self._policy = Policy(
            limit=limit,
            block=max(seconds(block), 0.001),  # 0 is for ever
            fatal=_exceptions(fatal, "fatal"),
            unavailable=_exceptions(unavailable, "unavailable"),
            retry_base=seconds(retry_base),
            retry_cap=seconds(retry_cap),
            hold_for=seconds(hold_for),
            on_missed=on_missed or _log_missed,
            on_failure=on_failure or _log_failure,
            on_late=on_late or _log_late,
        )
        self._entities = Entities(entities)
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {concurrency}")
        self._sources = sources(stream, partitions)
        self._group, self._consumer, self._concurrency = group, consumer, concurrency
        self._signals = signals
        self._clock = now
        self._over = False
        self._prepare((handler, *callbacks))

    def _prepare(self, functions: Sequence[Callable[..., Any]]) -> None:
        raise NotImplementedError

    @property
    def stopped(self) -> bool:
        """Whether a signal or `stop` has said that it is to end."""
        raise NotImplementedError

    def _loops(
        self, *, until_idle: bool, stopping: Callable[[], bool], release: Callable[[], None]
    ) -> list[WorkerLoop]:
        if self._over:
            raise RuntimeError("this worker was stopped: make another one")
        # Each run has a name of its own, because another process or thread may run the same worker.
        consumers = _consumers(
            self._sources, self._group, self._consumer or consumer_name(), self._concurrency
        )
        until = Idle(len(consumers)) if until_idle else None
        return [
            WorkerLoop(
                consumer,
                self._policy,
                self._entities,
                number=number,
                until=until,
                stopping=stopping,
                release=release,
                clock=self._clock,
            )
            for number, consumer in enumerate(consumers)
        ]


_UNFINISHED = object()


def _id(event: Event) -> str:
    return event.event_id or ""


def _consumers(
    streams: Sequence[Source], group: Name, name: str, concurrency: int
) -> list[Consumer]:
    """The consumers of a worker: at least one for each stream, and as many as there may be handlers at a time."""
    each = -(-concurrency // len(streams))
    names = [name] if each == 1 else [f"{name}.{n}" for n in range(each)]
    return [Consumer(stream.key, group, name) for name in names for stream in streams]


def _exceptions(given: Any, what: str) -> tuple[type[Exception], ...]:
    """Classes of exceptions, of which there may be one or any list."""
    classes = (given,) if isinstance(given, (type, str)) else tuple(given)
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, Exception)):
            raise TypeError(f"{what} takes exceptions, not {cls!r}")
    return classes


def _log_missed(stream: Name, missed: int | None) -> None:
    number = "an unknown number of" if missed is None else missed
    log.error(
        "%s events of %r were lost before they were read: load the entities from their source",
        number,
        stream,
    )


def _log_failure(event: Event, error: Exception, fate: str | None) -> None:
    log.error("%s of %s %s failed (%s)", event.op, event.entity, event.id, fate, exc_info=error)


def _log_late(event: Event) -> None:
    log.warning("%s was handled too slowly: another consumer has it, too", event.event_id)
