"""The relay: sends entities that are marked, as their rows are now."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, update
from sqlalchemy import exc as sql_errors
from sqlalchemy.orm import Session

from .._operations import Delete, Effect, Operation, Snapshot
from .._threads import Signals, Stop
from ..errors import BadValueError, DirtyError, FullError, LimitError, WrongTypeError, is_outage
from ._lock import Lock
from ._marks import log
from ._tracked import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.engine import Connection, Engine

    from .._stats import ReconcileStatus
    from .._words import Id, Name
    from ..client import Client
    from ._marks import Marks
    from ._tracked import Tracked

_REFUSED = (
    BadValueError,
    LimitError,
    WrongTypeError,
    FullError,
    TypeError,
    ValueError,
    OverflowError,
)
_LONGEST_PAUSE = 10.0


@dataclass
class Sent:
    """What a turn of the relay has done.

    Attributes:
        effects: The effects, by entities: pairs of the type's key and the id.
        refused: The errors of those that could not be sent, which stay marked and are sent again later.
        marks: How many marks have been removed.
        standby: Whether another relay is at work, so this one has done nothing.
    """

    effects: dict[tuple[str, Id], Effect] = field(default_factory=dict)
    refused: dict[tuple[str, Id], Exception] = field(default_factory=dict)
    marks: int = 0
    standby: bool = False


@dataclass
class _Entity:
    """An entity that is marked, and what is to be sent of it."""

    tracked: Tracked
    key: str
    id: Id
    meta: str | None
    marks: list[int]
    error: str | None = None  # why it was refused before
    operation: Operation | None = None
    result: Effect | Exception | None = None


class Relay:
    """Sends the entities that are marked, as their rows are now, and removes the marks."""

    def __init__(
        self,
        engine: Engine,
        client: Client,
        marks: Marks,
        *,
        batch: int = 500,
        interval: float = 0.1,
        retry: float = 10.0,
        on_sent: Callable[[Sent], None] | None = None,
        signals: bool = True,
    ) -> None:
        """Makes a relay.

        Args:
            engine: The database with the rows and the marks.
            client: The client of Redis.
            marks: The marks, with all tracked classes.
            batch: How many marks a turn takes.
            interval: How many seconds it sleeps when nothing is marked.
            retry: After how many seconds it sends refused entities again.
            on_sent: Is called with the result of each turn that has done something.
            signals: Whether `run` ends in order at SIGTERM and SIGINT.
        """
        self.engine = engine
        self.client = client
        self.marks = marks
        self.batch = batch
        self.interval = interval
        self.retry = retry
        self.on_sent = on_sent
        self._signals = signals
        self._stop = Stop()
        self._lock = Lock(marks.table)
        self._connection: Connection | None = None
        self._refused_after = 0  # refused marks up to this one have been sent again
        self._retry_at = 0.0

    def run(self, *, until_idle: bool = False) -> None:
        """Sends what is marked, until `stop`, SIGTERM or SIGINT; then what it has read is sent first.

        While Redis or the database is away, it waits and goes on.

        Args:
            until_idle: Ends when nothing is marked but what is refused.
        """
        pause = 0.0
        with Signals(self._stop, wanted=self._signals):
            try:
                while not self._stop():
                    try:
                        sent = self._turn()
                    except Exception as error:
                        if not _is_away(error):
                            raise
                        if not pause:
                            log.warning("the marks wait: %s", error)
                        self._close()
                        pause = min(_LONGEST_PAUSE, pause * 2 or 0.1)
                        self._stop.sleep(pause)
                        continue
                    if pause:
                        log.warning("the relay goes on")
                    pause = 0.0
                    if sent.standby:
                        self._stop.sleep(max(self.interval, 1.0))
                    elif sent.effects or sent.refused or sent.marks:
                        if self.on_sent is not None:
                            self.on_sent(sent)
                    elif until_idle:
                        return
                    else:
                        self._stop.sleep(self.interval)
            finally:
                self._close()

    def stop(self) -> None:
        """Lets `run` end, from another thread or a signal's handler."""
        self._stop.set()

    def send_once(self) -> Sent:
        """Sends what is marked: a turn of at most `batch` marks."""
        try:
            return self._turn()
        finally:
            self._close()

    def seed(self, model: type[Any], **options: Any) -> int:
        """Stores all rows without publishing, by `Client.seed`, whose options it takes."""
        tracked = self.marks.one(model)
        return self.client.seed(tracked.entity, self._rows(tracked), **options)

    def reconcile(self, model: type[Any], **options: Any) -> ReconcileStatus:
        """Makes Redis equal to the rows, by `Client.reconcile`, whose options it takes, while all others go on."""
        tracked = self.marks.one(model)
        # Whatever a relay has sent since the beginning is `newer` for all that.
        options.setdefault("force", tracked.marks_version)
        return self.client.reconcile(tracked.entity, self._rows(tracked), **options)

    # A turn

    @property
    def _alone(self) -> bool:
        """Whether only one relay may be at work: without a version, an older state could be sent behind a newer one."""
        return not all(tracked.marks_version for tracked in self.marks.tracked)

    def _turn(self) -> Sent:
        connection = self._connected()
        if self._alone and not self._lock.held(connection):
            return Sent(standby=True)
        entities = self._read(connection)
        for tracked in self.marks.tracked:
            self._send(tracked, [each for each in entities if each.tracked is tracked])
        self._unmark(connection, entities)
        sent = Sent(
            marks=sum(len(each.marks) for each in entities if isinstance(each.result, Effect))
        )
        for each in entities:
            name = each.tracked.key, each.id
            if isinstance(each.result, Effect):
                sent.effects[name] = each.result
                if each.result is Effect.CONFLICT:
                    log.warning(
                        "%s %r: Redis has other content under the version of its mark", *name
                    )
            elif each.result is not None:
                sent.refused[name] = each.result
                level = log.debug if each.error == str(each.result) else log.warning
                level("%s %r is refused: %s", *name, each.result)
        return sent

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.invalidated or self._connection.closed:
            self._close()
            self._connection = self.engine.connect()
        return self._connection

    def _close(self) -> None:
        self._lock.release()
        if self._connection is not None:
            with contextlib.suppress(sql_errors.DBAPIError):
                self._connection.close()
            self._connection = None

    def _read(self, connection: Connection) -> list[_Entity]:
        """Marks and rows of one snapshot, so that no row is older than its mark, and none is newer than a mark is."""
        with _one_snapshot(connection) as session:
            entities = self._marked(session)
            for tracked in self.marks.tracked:
                some = [each for each in entities if each.tracked is tracked]
                if some:
                    keys = [tracked.primary_key(each.key) for each in some]
                    rows = tracked.load(session, keys)
                    for each, key in zip(some, keys, strict=True):
                        self._make(each, rows.get(key))
            return entities

    def _marked(self, session: Session) -> list[_Entity]:
        columns = self.marks.table.c
        statement = select(columns.mark, columns.entity, columns.id, columns.meta, columns.error)
        # Marks of a release that tracks more are left to its relay.
        statement = statement.where(
            columns.entity.in_([tracked.key for tracked in self.marks.tracked])
        )
        statement = statement.order_by(columns.mark).limit(self.batch)
        found = list(session.execute(statement.where(columns.error.is_(None))))
        if time.monotonic() >= self._retry_at:
            again = statement.where(columns.error.is_not(None), columns.mark > self._refused_after)
            refused = list(session.execute(again))
            found += refused
            self._refused_after = refused[-1].mark if refused else 0
            if not refused:
                self._retry_at = time.monotonic() + self.retry
        entities: dict[tuple[str, str], _Entity] = {}
        for mark, entity, text, meta, error in found:
            tracked = self.marks.by_key(entity)
            primary_key = tracked.primary_key(text)
            key = tracked.text(primary_key)  # a trigger writes it with other spaces
            each = entities.get((entity, key))
            if each is None:
                each = entities[entity, key] = _Entity(
                    tracked, key, tracked.id_of(primary_key), meta, []
                )
            each.marks.append(mark)
            each.meta, each.error = meta, each.error or error
        return list(entities.values())

    def _make(self, each: _Entity, row: Any) -> None:
        tracked = each.tracked
        version = (
            {tracked.entity.version: max(each.marks)} if tracked.entity.version is not None else {}
        )
        if row is None or not self.marks.is_of(tracked, row):
            each.operation = Delete(each.id, version)
            return
        each.id = tracked.id_of(identity(row))
        try:
            fields = (
                tracked.checked(tracked.snapshot_of(row)) if version else tracked.snapshot_of(row)
            )
            each.operation = Snapshot(each.id, {**fields, **version})
        except sql_errors.SQLAlchemyError:
            raise
        except Exception as error:
            each.result = error  # the application's snapshot= has failed

    def _send(self, tracked: Tracked, entities: Sequence[_Entity]) -> None:
        by_meta: dict[str | None, list[_Entity]] = {}
        for each in entities:
            if each.operation is not None:
                by_meta.setdefault(each.meta, []).append(each)
        for meta, some in by_meta.items():
            self._flush(tracked, some, None if meta is None else json.loads(meta))

    def _flush(
        self, tracked: Tracked, entities: Sequence[_Entity], meta: dict[Name, Name] | None
    ) -> None:
        """A refused command is sent in halves, until the entity that is refused is alone."""
        try:
            effects = self.client.flush(
                tracked.entity, *(each.operation for each in entities), meta=meta
            )
        except Exception as error:
            if not _is_refusal(error):
                raise
            if len(entities) == 1 or isinstance(error, FullError):
                for each in entities:
                    each.result = error
                return
            middle = len(entities) // 2
            self._flush(tracked, entities[:middle], meta)
            self._flush(tracked, entities[middle:], meta)
        else:
            for each, effect in zip(entities, effects, strict=True):
                each.result = effect

    def _unmark(self, connection: Connection, entities: Sequence[_Entity]) -> None:
        """Removes exactly the marks that were read: one with a lower number may be committed later."""
        mark = self.marks.table.c.mark
        sent = sorted(
            mark for each in entities if isinstance(each.result, Effect) for mark in each.marks
        )
        refused = [each for each in entities if isinstance(each.result, Exception)]
        if not (sent or refused):
            return
        with connection.begin():
            _isolate(connection, "READ COMMITTED")
            for at in range(0, len(sent), 500):
                connection.execute(delete(self.marks.table).where(mark.in_(sent[at : at + 500])))
            for each in refused:
                if each.error != str(each.result):
                    told = update(self.marks.table).where(mark.in_(each.marks))
                    connection.execute(told.values(error=str(each.result)))

    def _rows(self, tracked: Tracked) -> Iterator[tuple[Id, dict[Any, Any]]]:
        if not tracked.marks_version:
            yield from self.marks.rows(self.engine, tracked.model)
            return
        page: list[tuple[Id, dict[Any, Any]]] = []
        for key, row in self.marks.objects(self.engine, tracked, page=self.batch):
            page.append((tracked.id_of(key), tracked.checked(tracked.snapshot_of(row))))
            if len(page) == self.batch:
                yield from self._versioned(tracked, page)
                page = []
        yield from self._versioned(tracked, page)

    def _versioned(
        self, tracked: Tracked, page: list[tuple[Id, dict[Any, Any]]]
    ) -> Iterator[tuple[Id, dict[Any, Any]]]:
        """Rows with the versions that Redis has, so that an equal one is no change."""
        stored = (
            self.client.get_many(tracked.entity, [entity_id for entity_id, _ in page])
            if page
            else []
        )
        version = tracked.entity.version
        for (entity_id, fields), found in zip(page, stored, strict=True):
            yield entity_id, {**fields, version: (found or {}).get(version) or 0}


@contextlib.contextmanager
def _one_snapshot(connection: Connection) -> Iterator[Session]:
    """A session whose statements see the same state of the database."""
    with Session(connection, autoflush=False) as session, session.begin():
        session.connection()
        _isolate(connection, "REPEATABLE READ")
        if connection.dialect.name == "sqlite":
            raw: Any = connection.connection.dbapi_connection
            if not raw.in_transaction:  # sqlite3 itself begins at the first change
                connection.exec_driver_sql("BEGIN")
        yield session


def _isolate(connection: Connection, level: str) -> None:
    """The isolation of a transaction that has begun. SQLite and MySQL need none."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")


def _is_refusal(error: Exception) -> bool:
    """Whether an entity of the command may be the reason. Other errors concern them all."""
    if is_outage(error):
        return False
    if type(error) is DirtyError:
        return error.code == "ERR" and "unknown command" not in error.message
    return isinstance(error, _REFUSED)


def _is_away(error: Exception) -> bool:
    """Whether Redis or the database cannot do its work now, and may do it later."""
    if isinstance(error, sql_errors.DBAPIError):
        return error.connection_invalidated or isinstance(
            error, (sql_errors.OperationalError, sql_errors.InterfaceError)
        )
    return is_outage(error) or isinstance(error, sql_errors.TimeoutError)
