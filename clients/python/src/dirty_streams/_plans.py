"""What takes several commands, written once for both clients: generators that yield commands and get their values.

A plan that yields a command gets its value, or the error is raised there. One that yields a list of commands gets a
list, in which the value of a refused command is its error; the list is sent at once.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import time
from collections.abc import AsyncIterable, Generator
from typing import TYPE_CHECKING, Any, TypeVar, Union

from redis.exceptions import ResponseError

from . import _commands
from ._commands import Command
from ._entity import Entity, Stream, entity_type
from ._operations import Effect, Seed, Snapshot, _Operation
from ._stats import ReconcileStatus
from ._words import listed
from .errors import LimitError, NoDeclarationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from ._operations import Ack, Operation
    from ._values import Value
    from ._words import Fields, Id, Name

T = TypeVar("T")
Plan = Generator[Union[Command[Any], "list[Command[Any]]"], Any, T]


def raised(values: list[Any]) -> list[Any]:
    """The values of a list of commands, unless one was refused."""
    for value in values:
        if isinstance(value, ResponseError):
            raise value
    return values


def unique(prefix: str = "") -> str:
    """A name that no other process has: of a consumer, or of a run."""
    host = socket.gethostname().partition(".")[0]
    return f"{prefix}{host}-{os.getpid()}-{secrets.token_hex(4)}"


# Entities.


def partitions(entity: Entity) -> Sequence[int | None]:
    """The partitions of an entity type, or None for one that has none."""
    return (None,) if entity.partitions is None else range(entity.partitions)


def declare(entity: Entity) -> Plan[bool]:
    """Declares all partitions: whether a declaration was applied."""
    entity_type(entity)
    return any(raised((yield [_commands.declare(entity, n) for n in partitions(entity)])))


def flush(
    entity: Entity, operations: Iterable[Any], *, ack: Ack | None = None, **options: Any
) -> Plan[list[Any]]:
    """Flushes to the partitions of the ids. Results stand in the order of the operations."""
    entity_type(entity)
    made = [operation_of(entity, operation) for operation in operations]
    split: dict[int, list[int]] = {}
    for index, operation in enumerate(made):
        split.setdefault(entity.partition(operation.id), []).append(index)
    if ack is not None and len(split) > 1:
        raise ValueError("a flush with ack= is one unit, so its entities must be in one partition")
    commands = {
        n: _commands.flush(entity.keys[n], (made[index] for index in indexes), ack=ack, **options)
        for n, indexes in split.items()
    }
    values = yield from _declared(entity, commands)
    results: list[Any] = [None] * len(made)
    for n, indexes in split.items():
        told = values[n]
        if options.get("defer") is not None:
            told = told * len(indexes)
        for index, result in zip(indexes, told, strict=True):
            results[index] = result
    return results


def operation_of(entity: Entity, operation: Any) -> Operation:
    """An operation; of an instance of the type's class, its snapshot."""
    return operation if isinstance(operation, _Operation) else entity.snapshot(operation)  # type: ignore[return-value]


def _declared(entity: Entity, commands: Mapping[int, Command[T]]) -> Plan[dict[int, T]]:
    """Commands by partitions. Those that are refused with NODECL declare the type again, and are sent once more."""
    if len(commands) == 1:
        values = []
        for command in commands.values():
            try:
                values.append((yield command))
            except NoDeclarationError as error:
                values.append(error)
    else:
        values = yield list(commands.values())
    made: dict[int, T] = {}
    failed: ResponseError | None = None
    for (n, command), value in zip(commands.items(), values, strict=True):
        if isinstance(value, NoDeclarationError) and entity.declarable:
            yield _commands.declare(entity, None if entity.partitions is None else n)
            made[n] = yield command
        elif isinstance(value, ResponseError):
            failed = failed or value
        else:
            made[n] = value
    if failed is not None:
        raise failed
    return made


def get(entity: Entity, ids: Iterable[Id]) -> Plan[list[dict[Any, Value] | None]]:
    """The snapshots of entities, in the order of their ids."""
    entity_type(entity)
    ids = list(listed(ids, "ids"))
    split: dict[int, list[int]] = {}
    for index, entity_id in enumerate(ids):
        split.setdefault(entity.partition(entity_id), []).append(index)
    found: list[dict[Any, Value] | None] = [None] * len(ids)
    for n, indexes in split.items():
        wanted = [ids[index] for index in indexes]
        values = yield _commands.get(entity.keys[n], wanted, entity.all_types)
        for index, value in zip(indexes, values, strict=True):
            found[index] = value
    return found


def commit(entity: Entity, tokens: Sequence[Name]) -> Plan[list[list[Any] | None]]:
    """Commits at all partitions: the results of each flush, partition by partition; None where nothing waits."""
    values = raised((yield [_commands.commit(key, tokens) for key in entity.keys]))
    return [
        list(itertools.chain.from_iterable(some))
        if (some := [v for v in of_token if v is not None])
        else None
        for of_token in zip(*values, strict=True)
    ]


def abort(entity: Entity, tokens: Sequence[Name]) -> Plan[int]:
    """Aborts at all partitions."""
    return sum(raised((yield [_commands.abort(key, tokens) for key in entity.keys])))


def deferred(entity: Entity, **options: Any) -> Plan[list[Any]]:
    """The flushes that wait at all partitions."""
    values = raised((yield [_commands.deferred(key, **options) for key in entity.keys]))
    return list(itertools.chain.from_iterable(values))


# Rows of a database.

Row = Any
"""A pair of an id and a mapping, or an instance of the type's class."""


def chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Lists of at most so many rows."""
    iterator = iter(rows)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


async def async_chunks(
    rows: Iterable[Row] | AsyncIterable[Row], size: int
) -> AsyncIterator[list[Row]]:
    """The same of rows that may have to be awaited."""
    if not isinstance(rows, AsyncIterable):
        for chunk in chunks(rows, size):
            yield chunk
        return
    gathered: list[Row] = []
    async for row in rows:
        gathered.append(row)
        if len(gathered) == size:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


def send_rows(
    entity: Entity,
    rows: Sequence[Row],
    operation: Callable[[Id, Fields], Operation],
    batch: int,
    **options: Any,
) -> Plan[list[Effect]]:
    """Sends rows at once, in flushes of at most `batch`."""
    entity_type(entity)
    split: dict[int, list[Operation]] = {}
    for row in rows:
        entity_id, fields = row if isinstance(row, tuple) else entity.dump(row)
        split.setdefault(entity.partition(entity_id), []).append(operation(entity_id, fields))
    commands = [
        (n, _commands.flush(entity.keys[n], operations[at : at + batch], **options))
        for n, operations in split.items()
        for at in range(0, len(operations), batch)
    ]
    values = yield [command for _, command in commands]
    effects: list[Effect] = []
    for (n, command), value in zip(commands, values, strict=True):
        if isinstance(value, NoDeclarationError) and entity.declarable and "run" not in options:
            value = (yield from _declared(entity, {n: command}))[n]  # noqa: PLW2901
        if isinstance(value, ResponseError):
            raise value
        effects += value
    return effects


def seed(entity: Entity, rows: Sequence[Row], batch: int) -> Plan[int]:
    """Seeds rows: how many were stored."""
    effects = yield from send_rows(entity, rows, Seed, batch)
    return effects.count(Effect.SEED)


class Reconciliation:
    """A run of DIRTY.RECONCILE over all partitions: `begin`, `send` until all rows are sent, `sweep`; or `abort`."""

    def __init__(
        self,
        entity: Entity,
        *,
        run: Name | None = None,
        max_delete: int | str | None = None,
        batch: int = 200,
        sweep: bool = True,
        force: bool = False,
    ) -> None:
        self.entity = entity
        self.run: Name = run if run is not None else unique(time.strftime("%Y-%m-%dT%H:%M:%S-"))
        self.max_delete = max_delete
        self.batch = batch
        self.sweeps = sweep
        self.force = force

    def begin(self) -> Plan[None]:
        """Begins the run at each partition."""
        commands = {n: self._step("BEGIN", key) for n, key in enumerate(self.entity.keys)}
        yield from _declared(self.entity, commands)

    def send(self, rows: Sequence[Row]) -> Plan[list[Effect]]:
        """Sends rows."""
        return (
            yield from send_rows(
                self.entity, rows, Snapshot, self.batch, run=self.run, force=self.force
            )
        )

    def sweep(self) -> Plan[ReconcileStatus]:
        """Deletes what no row named, if all is as `max_delete` allows."""
        keys = self.entity.keys
        if not self.sweeps:
            counted = yield from self._swept(keys, None, dry_run=True)
            raised((yield [self._step("ABORT", key) for key in keys]))
            return counted
        if len(keys) == 1:
            return (yield from self._swept(keys, self.max_delete))
        counted = yield from self._swept(keys, None, dry_run=True)
        allowed = self._allowed(counted.scanned - counted.foreign)
        if counted.missing > allowed:
            raise LimitError(
                f"{counted.missing} of {counted.scanned - counted.foreign} entities would be deleted; "
                f"max_delete allows {allowed}"
            )
        return (yield from self._swept(keys, allowed))

    def abort(self) -> Plan[None]:
        """Ends the run at each partition, where it has not ended."""
        yield [self._step("ABORT", key) for key in self.entity.keys]

    def _step(self, step: str, key: Name, **options: Any) -> Command[Any]:
        return _commands.reconcile(step, key, self.run, **options)

    def _swept(
        self, keys: Sequence[Name], max_delete: int | str | None, *, dry_run: bool = False
    ) -> Plan[ReconcileStatus]:
        statuses: list[ReconcileStatus] = []
        for key in keys:
            command = self._step("SWEEP", key, max_delete=max_delete, dry_run=dry_run)
            status = yield command
            while status.phase != "done":
                status = yield command
            statuses.append(status)
        return total(statuses)

    def _allowed(self, found: int) -> int:
        if self.max_delete is None:
            return max(10, found // 100)
        if isinstance(self.max_delete, str) and self.max_delete.endswith("%"):
            return int(found * float(self.max_delete[:-1]) / 100)
        return int(self.max_delete)


def total(statuses: Sequence[ReconcileStatus]) -> ReconcileStatus:
    """The sum of the partitions."""
    numbers = {
        field: sum(getattr(status, field) for status in statuses)
        for field in ReconcileStatus.__dataclass_fields__
        if field != "phase"
    }
    phases = {status.phase for status in statuses}
    return ReconcileStatus(phase=min(phases, key=_PHASES.index), **numbers)


_PHASES = ["rows", "counting", "deleting", "done"]


def reconcile_status(entity: Entity, run: Name) -> Plan[ReconcileStatus]:
    """The state of a run, over all partitions."""
    return total(raised((yield [_commands.reconcile("STATUS", key, run) for key in entity.keys])))


# Readers.


def stream_keys(stream: Stream | Name) -> list[tuple[int | None, Name]]:
    """The keys of a stream, with the numbers of their partitions."""
    if isinstance(stream, Stream):
        if stream.partitions is not None:
            return list(enumerate(stream.keys))
        return [(None, stream.name)]
    return [(None, stream)]


def stream_key(stream: Stream | Name) -> Name:
    """The key of a stream that has no partitions."""
    keys = stream_keys(stream)
    if len(keys) != 1:
        raise TypeError(f"{stream.name!r} has partitions: name one of its keys")  # type: ignore[union-attr]
    return keys[0][1]


def on_all(
    stream: Stream | Name, command: Callable[[Name, int | None], Command[T]]
) -> Plan[list[T]]:
    """A command at all partitions of a stream."""
    return raised((yield [command(key, n) for n, key in stream_keys(stream)]))


def any_of(
    stream: Stream | Name, command: Callable[[Name, int | None], Command[bool]]
) -> Plan[bool]:
    """Whether a command did something at any partition of a stream."""
    return any((yield from on_all(stream, command)))
