# Written from ../client.py by scripts/asyncio_client.py: change that file.
"""The client for redis-py with asyncio."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar, overload

from redis import asyncio as redis
from redis.exceptions import ResponseError

from .. import _commands, _plans
from .._commands import Command, Selector
from .._connections import checked
from .._events import NO_ENTITIES, Batch, Entities
from ._transport import replies

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
    from typing import Literal

    from .._entity import Entity, Stream
    from .._operations import Ack, Effect, Flushed
    from .._plans import Plan, Row
    from .._stats import Deferred, Pending, ReconcileStatus, StreamStats
    from .._values import Value
    from .._words import Id, Meta, Name, Span

T = TypeVar("T")


class Client:
    """The commands of Dirty Streams over a client of redis-py, which keeps its protocol, decoding and time-outs.

    A client may be used by several tasks, as that of redis-py.

    Args:
        client: A `redis.asyncio.Redis`, or a `redis.asyncio.RedisCluster`.
    """

    def __init__(self, client: redis.Redis | redis.RedisCluster) -> None:
        if not isinstance(client, (redis.Redis, redis.RedisCluster)):
            raise TypeError(
                f"a client takes a {redis.__name__}.Redis or {redis.__name__}.RedisCluster, "
                f"not a {type(client).__module__}.{type(client).__name__}"
            )
        self.redis = client

    # Sending.

    async def execute(self, command: Command[T]) -> T:
        """Sends a command and returns its value."""
        (reply,) = await replies(self.redis, [command])
        return command.parse(checked(reply))

    async def execute_all(self, commands: Sequence[Command[Any]]) -> list[Any]:
        """Sends commands at once and returns their values; that of a refused command is its error."""
        told = await replies(self.redis, commands)
        values: list[Any] = []
        for command, reply in zip(commands, told, strict=True):
            try:
                values.append(command.parse(checked(reply)))
            except ResponseError as error:
                values.append(error)
        return values

    async def _run(self, plan: Plan[T]) -> T:
        try:
            request = next(plan)
            while True:
                if isinstance(request, list):
                    request = plan.send(await self.execute_all(request))
                    continue
                try:
                    value = await self.execute(request)
                except Exception as error:
                    request = plan.throw(error)
                else:
                    request = plan.send(value)
        except StopIteration as end:
            result: T = end.value
            return result

    # Declarations.

    async def declare(self, entity: Entity) -> bool:
        """Declares an entity type, at each of its partitions.

        Returns:
            Whether the declaration was applied; False if one with a higher revision was kept.
        """
        return await self._run(_plans.declare(entity))

    async def info(self, key: Entity | Name) -> dict[str, Any]:
        """The declaration in force at a key, or at the first of a type's keys."""
        return await self.execute(
            _commands.info(key if isinstance(key, (str, bytes)) else key.keys[0])
        )

    # Writing entities.

    @overload
    async def flush(
        self,
        entity: Entity,
        *operations: Any,
        meta: Meta | None = None,
        with_events: Literal[False] = False,
        force: bool = False,
        once: Name | None = None,
        once_for: Span | None = None,
        defer: Name | None = None,
        run: Name | None = None,
        dry_run: bool = False,
        ack: Ack | None = None,
    ) -> list[Effect]: ...

    @overload
    async def flush(
        self,
        entity: Entity,
        *operations: Any,
        meta: Meta | None = None,
        with_events: Literal[True],
        force: bool = False,
        once: Name | None = None,
        once_for: Span | None = None,
        defer: Name | None = None,
        run: Name | None = None,
        dry_run: bool = False,
        ack: Ack | None = None,
    ) -> list[Flushed]: ...

    async def flush(self, entity: Entity, *operations: Any, **options: Any) -> list[Any]:
        """Writes entities, as one unit; of a type with partitions, as one unit for each partition.

        If the type is not declared, it is declared, and the flush is sent once more.

        Args:
            entity: The entity type.
            operations: `snapshot(…)`, `insert(…)`, …; an instance of the type's class is its snapshot.
            options: `meta` are pairs for all events. `with_events` returns `Flushed`. `force` applies the operations
                whatever their versions are. `once` is a token under which the flush happens once, for `once_for`
                seconds. `defer` is a token under which it waits for `commit`. `run` is a run of a reconciliation.
                `dry_run` changes nothing. `ack` acknowledges events in the same unit.

        Returns:
            An effect, or a `Flushed`, for each operation.
        """
        return await self._run(_plans.flush(entity, operations, **options))

    async def commit(self, entity: Entity, *tokens: Name) -> list[list[Any] | None]:
        """Carries out deferred flushes: the results of each; None where nothing waits any more."""
        return await self._run(_plans.commit(entity, tokens))

    async def abort(self, entity: Entity, *tokens: Name) -> int:
        """Drops deferred flushes, and returns how many there were."""
        return await self._run(_plans.abort(entity, tokens))

    async def deferred(
        self, entity: Entity, *, min_age: Span | None = None, limit: int | None = None
    ) -> list[Deferred]:
        """The deferred flushes that wait."""
        return await self._run(_plans.deferred(entity, min_age=min_age, limit=limit))

    # Reading entities.

    async def get(self, entity: Entity, id: Id) -> dict[Any, Value] | None:  # noqa: A002
        """The snapshot of an entity; None if there is none."""
        (found,) = await self._run(_plans.get(entity, [id]))
        return found

    async def get_many(self, entity: Entity, ids: Iterable[Id]) -> list[dict[Any, Value] | None]:
        """The snapshots of entities, in the order of their ids."""
        return await self._run(_plans.get(entity, ids))

    async def scan(
        self, entity: Entity, *, limit: int | None = None
    ) -> AsyncIterator[tuple[Any, dict[Any, Value]]]:
        """The ids and snapshots of all entities, in pages of about `limit`. An entity may come twice."""
        for key in entity.keys:
            cursor = b"0"
            while True:
                command = _commands.scan(key, cursor, entity.all_types, limit=limit)
                cursor, page = await self.execute(command)
                for entity_id, fields in page:
                    yield entity.id_of(entity_id), fields
                if cursor == b"0":
                    break

    # Rows of a database.

    async def seed(
        self,
        entity: Entity,
        rows: Iterable[Row] | AsyncIterable[Row],
        *,
        batch: int = 200,
        pipeline: int = 20,
    ) -> int:
        """Stores rows that exist already, without publishing.

        Args:
            entity: The entity type.
            rows: Pairs of an id and a mapping, or instances of the type's class.
            batch: How many rows a flush has.
            pipeline: How many flushes are sent at once.

        Returns:
            How many rows were stored. All others were the same already.
        """
        stored = 0
        async for chunk in _plans.async_chunks(rows, batch * pipeline):
            stored += await self._run(_plans.seed(entity, chunk, batch))
        return stored

    async def reconcile(
        self,
        entity: Entity,
        rows: Iterable[Row] | AsyncIterable[Row],
        *,
        max_delete: int | str | None = None,
        batch: int = 200,
        pipeline: int = 20,
        run: Name | None = None,
        sweep: bool = True,
        force: bool = False,
    ) -> ReconcileStatus:
        """Makes the entities equal to the rows, with events, while writers go on.

        Args:
            entity: The entity type.
            rows: All rows, as pairs of an id and a mapping, or as instances of the type's class. The transaction that
                reads them must begin after this method is called: give a generator that begins it.
            max_delete: How many entities may be deleted: a number, or a part such as `"1%"`; by default the larger of
                10 and 1%.
            batch: How many rows a flush has.
            pipeline: How many flushes are sent at once.
            run: The name of the run, by default a new one.
            sweep: Whether entities without a row are deleted. If not, they are only counted.
            force: Whether rows replace entities of a higher version.

        Returns:
            The state at the end.

        Raises:
            LimitError: More entities would be deleted than `max_delete` allows. None was.
            NoRunError: The run has ended, by a restart or a new declaration: call again.
        """
        steps = _plans.Reconciliation(
            entity, run=run, max_delete=max_delete, batch=batch, sweep=sweep, force=force
        )
        await self._run(steps.begin())
        try:
            async for chunk in _plans.async_chunks(rows, batch * pipeline):
                await self._run(steps.send(chunk))
            return await self._run(steps.sweep())
        except BaseException:
            with contextlib.suppress(redis.RedisError):
                await self._run(steps.abort())
            raise

    async def reconcile_status(self, entity: Entity, run: Name) -> ReconcileStatus:
        """The state of a run."""
        return await self._run(_plans.reconcile_status(entity, run))

    # Declaring readers.

    async def group(
        self,
        stream: Stream | Name,
        name: Name,
        *,
        start: _commands.Start | None = None,
        order: str | None = None,
        claim: Span | None = None,
        max_pending: int | None = None,
        max_deliveries: int | None = None,
        dead: Name | None = None,
        on_dead: str | None = None,
        min_age: Span | None = None,
        where: _commands.Where | None = None,
        revision: int | None = None,
    ) -> bool:
        """Declares a group, at each partition of the stream. Declare readers at deployment, not in workers.

        Args:
            stream: The stream, or the `Stream` of an entity type with partitions.
            name: The group.
            start: Where a new group begins: `"0"`, `"$"`, a datetime, an event's id, or `NativeGroup(…)`.
            order: `NONE`, `ENTITY`, `STREAM` or `META name`.
            claim: After this time without news of its holder an event comes again.
            max_pending: How many events a consumer may hold.
            max_deliveries: An event whose nth delivery fails dies.
            dead: The stream of dead events.
            on_dead: `SKIP` or `PARK`.
            min_age: Younger events are held back.
            where: Which events it gets.
            revision: A declaration with a lower revision does not replace this one.

        Returns:
            Whether the declaration was applied; False if one with a higher revision was kept.
        """
        return await self._run(
            _plans.any_of(
                stream,
                lambda key, n: _commands.group(
                    key,
                    name,
                    start=start,
                    order=order,
                    claim=claim,
                    max_pending=max_pending,
                    max_deliveries=max_deliveries,
                    dead=dead,
                    on_dead=on_dead,
                    min_age=min_age,
                    where=where,
                    revision=revision,
                    partition=n,
                ),
            )
        )

    async def cursor(
        self,
        stream: Stream | Name,
        name: Name,
        *,
        start: _commands.Start | None = None,
        shard: tuple[int, int] | None = None,
        dead: Name | None = None,
        min_age: Span | None = None,
        where: _commands.Where | None = None,
        revision: int | None = None,
    ) -> bool:
        """Declares a cursor, at each partition of the stream. Declare readers at deployment.

        Args:
            stream: The stream, or the `Stream` of an entity type with partitions.
            name: The cursor.
            start: Where a new cursor begins: as of a group, or `SNAPSHOT(users)` for the stored entities first.
            shard: The index and count of shards.
            dead: The stream of dead events.
            min_age: Younger events are held back.
            where: Which events it gets.
            revision: A declaration with a lower revision does not replace this one.

        Returns:
            Whether the declaration was applied; False if one with a higher revision was kept.
        """
        return await self._run(
            _plans.any_of(
                stream,
                lambda key, n: _commands.cursor(
                    key,
                    name,
                    start=start,
                    shard=shard,
                    dead=dead,
                    min_age=min_age,
                    where=where,
                    revision=revision,
                    partition=n,
                ),
            )
        )

    # Reading events.

    async def consume(
        self,
        stream: Stream | Name,
        group: Name,
        consumer: Name,
        *,
        ack: Sequence[str] = (),
        pending: bool = False,
        limit: int | None = None,
        block: Span | None = None,
        entities: Iterable[Entity] | Entities = (),
    ) -> Batch:
        """Acknowledges events of a group and reads the next ones.

        It is never sent again: after a lost reply, call it with `pending`.
        """
        return await self.execute(
            _commands.consume(
                _plans.stream_key(stream),
                group,
                consumer,
                ack=ack,
                pending=pending,
                limit=limit,
                block=block,
                entities=_entities(entities),
            )
        )

    async def follow(
        self,
        stream: Stream | Name,
        cursor: Name,
        *,
        ack: str | None = None,
        limit: int | None = None,
        block: Span | None = None,
        entities: Iterable[Entity] | Entities = (),
    ) -> Batch:
        """Acknowledges a position of a cursor and reads the next events."""
        return await self.execute(
            _commands.follow(
                _plans.stream_key(stream),
                cursor,
                ack=ack,
                limit=limit,
                block=block,
                entities=_entities(entities),
            )
        )

    async def read(
        self,
        stream: Stream | Name,
        start: _commands.Place,
        *,
        shard: tuple[int, int] | None = None,
        min_age: Span | None = None,
        limit: int | None = None,
        block: Span | None = None,
        where: _commands.Where | None = None,
        entities: Iterable[Entity] | Entities = (),
    ) -> Batch:
        """Reads events from a position that the caller keeps."""
        return await self.execute(
            _commands.read(
                _plans.stream_key(stream),
                start,
                shard=shard,
                min_age=min_age,
                limit=limit,
                block=block,
                where=where,
                entities=_entities(entities),
            )
        )

    async def ack(
        self,
        stream: Stream | Name,
        group: Name,
        consumer: Name,
        ids: Sequence[str],
        *,
        force: bool = False,
    ) -> list[str]:
        """Acknowledges events of a group, and returns the ids that the consumer does not hold."""
        if not ids:
            return []
        key = _plans.stream_key(stream)
        return await self.execute(_commands.ack(key, group, consumer, ids, force=force))

    async def ack_position(self, stream: Stream | Name, cursor: Name, position: str) -> bool:
        """Moves a cursor to a position, and returns whether it has moved."""
        return await self.execute(
            _commands.ack_position(_plans.stream_key(stream), cursor, position)
        )

    async def hold(
        self, stream: Stream | Name, group: Name, consumer: Name, ids: Sequence[str] = ()
    ) -> list[str]:
        """Says that a consumer still works on these events, or on all that it holds. Returns ids that it does not."""
        return await self.execute(_commands.hold(_plans.stream_key(stream), group, consumer, ids))

    async def fail(
        self,
        stream: Stream | Name,
        group: Name,
        consumer: Name,
        message: Name,
        ids: Sequence[str],
        *,
        delay: Span | None = None,
        fatal: bool = False,
        force: bool = False,
    ) -> list[str]:
        """Gives events back, and says why. Returns `retry`, `dead` or `not-held` for each."""
        return await self.execute(
            _commands.fail(
                _plans.stream_key(stream),
                group,
                consumer,
                message,
                ids,
                delay=delay,
                fatal=fatal,
                force=force,
            )
        )

    async def fail_cursor(
        self, stream: Stream | Name, cursor: Name, message: Name, ids: Sequence[str]
    ) -> list[str]:
        """Copies events to the dead stream of a cursor. Returns `dead` or `not-held` for each."""
        key = _plans.stream_key(stream)
        return await self.execute(_commands.fail_cursor(key, cursor, message, ids))

    async def leave(self, stream: Stream | Name, group: Name, consumer: Name) -> int:
        """Removes a consumer, and returns how many events others may take now."""
        return await self.execute(_commands.leave(_plans.stream_key(stream), group, consumer))

    # Operating readers.

    async def stats(self, stream: Stream | Name) -> StreamStats:
        """A stream and its readers."""
        return await self.execute(_commands.stats(_plans.stream_key(stream)))

    async def pending(
        self,
        stream: Stream | Name,
        group: Name,
        *,
        consumer: Name | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Pending]:
        """The events that a group has not finished, at all partitions, in pages of `limit`."""
        for _, key in _plans.stream_keys(stream):
            after = None
            while True:
                page = await self.execute(
                    _commands.pending(key, group, consumer=consumer, after=after, limit=limit)
                )
                for event in page:
                    yield event
                if not page:
                    break
                after = page[-1].id

    async def redrive(
        self,
        stream: Stream | Name,
        group: Name,
        *,
        entity: tuple[Name, Id] | None = None,
        key: Name | None = None,
        ids: Sequence[str] | None = None,
    ) -> int:
        """Brings dead events back to their group, all or some, and returns how many."""
        dead = Selector(entity, key, ids)
        return sum(
            await self._run(_plans.on_all(stream, lambda at, _: _commands.redrive(at, group, dead)))
        )

    async def discard(
        self,
        stream: Stream | Name,
        reader: Name,
        *,
        entity: tuple[Name, Id] | None = None,
        key: Name | None = None,
        ids: Sequence[str] | None = None,
        kind: Literal["GROUP", "CURSOR"] = "GROUP",
    ) -> int:
        """Removes dead events, all or some, and returns how many. `kind` is `GROUP` or `CURSOR`."""
        dead, word = Selector(entity, key, ids), kind.encode()
        return sum(
            await self._run(
                _plans.on_all(stream, lambda at, _: _commands.discard(at, word, reader, dead))
            )
        )

    async def pause(self, stream: Stream | Name, group: Name, *, on: bool = True) -> None:
        """Stops the delivery to a group, or resumes it."""
        await self._run(_plans.on_all(stream, lambda key, _: _commands.pause(key, group, on=on)))

    async def seek(
        self,
        stream: Stream | Name,
        reader: Name,
        start: _commands.Start,
        *,
        kind: Literal["GROUP", "CURSOR"] | None = None,
    ) -> None:
        """Moves a reader to another place. `kind` is `GROUP`, but for a `SNAPSHOT`, which is for cursors alone."""
        known = kind or ("CURSOR" if isinstance(start, _commands.SNAPSHOT) else "GROUP")
        word = known.encode()
        await self._run(
            _plans.on_all(stream, lambda key, n: _commands.seek(key, word, reader, start, n))
        )

    async def forget(
        self, stream: Stream | Name, reader: Name, *, kind: Literal["GROUP", "CURSOR"] = "GROUP"
    ) -> bool:
        """Removes a reader, and returns whether there was one. `kind` is `GROUP` or `CURSOR`."""
        word = kind.encode()
        return await self._run(
            _plans.any_of(stream, lambda key, _: _commands.forget(key, word, reader))
        )


def _entities(entities: Iterable[Entity] | Entities) -> Entities:
    if isinstance(entities, Entities):
        return entities
    return Entities(entities) if entities else NO_ENTITIES
