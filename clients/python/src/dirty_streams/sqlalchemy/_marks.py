"""The table of marks: which entities have changed since they were sent."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
)
from sqlalchemy.orm import Mapper, Session, scoped_session, sessionmaker

from . import _triggers
from ._session import Listener, UnmarkedError
from ._tracked import Part, Tracked, column_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection, Engine

    from .._entity import Entity
    from .._words import Id
    from ._session import Change, Targets

log = logging.getLogger("dirty_streams.sqlalchemy")


class Marks:
    """Notes which entities have changed, in the transactions that change them. A `Relay` sends those.

    Attributes:
        table: The table of marks, which belongs to the application's migrations like any other of its tables.
    """

    def __init__(
        self, metadata: MetaData, *, name: str = "dirty_marks", schema: str | None = None
    ) -> None:
        """Makes the table of marks.

        Args:
            metadata: Where the tables of the tracked classes are, too: `Base.metadata`.
            name: The table's name.
            schema: The table's schema.
        """
        self.table = Table(
            name,
            metadata,
            # A number is never given twice, so that it can be the version of an entity that is deleted and comes back.
            Column(
                "mark",
                BigInteger().with_variant(Integer, "sqlite"),
                primary_key=True,
                autoincrement=True,
            ),
            Column("entity", String(255), nullable=False),
            Column("id", Text, nullable=False),
            Column("meta", Text),
            Column("error", Text),
            Column("marked_at", DateTime(timezone=True), server_default=func.now(), nullable=False),
            schema=schema,
            sqlite_autoincrement=True,
        )
        self._insert = insert(self.table).inline()
        self._by_key: dict[str, Tracked] = {}
        self._by_class: dict[type[Any], list[Tracked]] = {}
        self._parts: dict[Table, list[tuple[Tracked, Sequence[Column[Any]]]]] = {}
        self._targets: dict[Table, list[tuple[Tracked, Sequence[Column[Any]]]]] = {}
        self._of_mapper: dict[
            Mapper[Any], tuple[list[Tracked], list[tuple[Tracked, Sequence[Column[Any]]]]]
        ] = {}
        self._listeners: list[Listener] = []

    @property
    def tracked(self) -> Sequence[Tracked]:
        """The tracked classes, in the order in which they are sent."""
        return tuple(self._by_key.values())

    def track(
        self,
        model: type[Any],
        entity: Entity,
        *,
        id: Callable[..., Id] | None = None,  # noqa: A002
        snapshot: Callable[[Any], Mapping[str, Any]] | None = None,
        parts: Mapping[Part, str | Sequence[str]] | None = None,
    ) -> None:
        """Says that the rows of a class are the entities of a type.

        Args:
            model: The mapped class. Rows of its subclasses are entities of the type as well, unless the subclass is
                tracked itself.
            entity: The entity type. If it has a `version`, that is the number of the mark.
            id: Makes the id from the values of the primary key. By default it is the value of its column; several are
                joined by `-`.
            snapshot: Makes the fields from an object, whose relationships it may use. By default they are the
                attributes of its columns.
            parts: Classes or tables whose rows are parts of this class's entities, as the lines of an order are, each
                with its attributes (columns of a table) that hold the primary key of this class: to change a part marks
                the entity.

        Raises:
            TypeError: The class is not mapped, or its primary key makes no clear id: give `id`.
            ValueError: The type is tracked already, STATELESS, or has a version that is a column of the class.
        """
        tracked = Tracked(model, entity, id=id, snapshot=snapshot, parts=parts)
        if tracked.key in self._by_key:
            raise ValueError(
                f"{tracked.key!r} is tracked already, as {self._by_key[tracked.key]!r}"
            )
        if snapshot is None:
            tracked.checked(dict.fromkeys(column_names(tracked.mapper)))
        self._by_key[tracked.key] = tracked
        self._by_class.setdefault(model, []).append(tracked)
        for table, columns in tracked.parts.items():
            self._parts.setdefault(table, []).append((tracked, columns))
        self._of_mapper.clear()
        self._targets.clear()
        for listener in self._listeners:
            self._listen_to(listener, tracked)

    def listen(self, *sessions: Any, unseen: str = "refuse") -> None:
        """Marks what these sessions change, in the same transaction.

        Args:
            sessions: `Session` classes, `sessionmaker`, `async_sessionmaker`, `scoped_session`, or single sessions.
            unseen: What becomes of a statement that changes a tracked table and cannot be marked, such as
                `session.execute(text("UPDATE …"))`: `refuse` raises an `UnmarkedError`, `ignore` executes it.
        """
        if unseen not in ("refuse", "ignore"):
            raise ValueError(f"unseen is 'refuse' or 'ignore', not {unseen!r}")
        listener = Listener(self, refuse=unseen == "refuse")
        for target in sessions:
            listener.listen(_session_target(target))
        self._listeners.append(listener)
        for tracked in self.tracked:
            self._listen_to(listener, tracked)

    def _listen_to(self, listener: Listener, tracked: Tracked) -> None:
        listener.track(tracked.model)
        for mapper in tracked.mapper.registry.mappers:
            for column in tracked.parts.get(mapper.local_table, ()):  # type: ignore[call-overload]
                attribute = mapper.get_property_by_column(column).key
                listener.track_part(mapper.class_, getattr(mapper.class_, attribute))
        for table in tracked.tables:
            for key in table.foreign_keys:
                action = {key.ondelete, key.onupdate} - {None, "RESTRICT", "NO ACTION"}
                if action and key.column.table not in tracked.tables:
                    log.warning(
                        "%s.%s has ON … %s: rows that the database changes by itself leave no mark; "
                        "create_triggers sees them",
                        table.name,
                        key.parent.name,
                        "/".join(sorted(map(str, action))),
                    )

    def mark(self, session: Session, model: type[Any], *keys: Any) -> None:
        """Marks entities by hand, in the session's transaction: behind a statement that changed them.

        Args:
            session: The session.
            model: The tracked class.
            keys: Primary keys, as values or tuples, or objects.
        """
        found = self._by_class.get(model)
        if found is None:
            raise ValueError(f"{model.__name__} is not tracked")
        self.insert(
            session,
            [
                (tracked, tracked.text(tracked.primary_key_of(key)))
                for tracked in found
                for key in keys
            ],
        )

    def insert(self, session: Session, changes: Iterable[Change]) -> None:
        """Writes marks in the session's transaction, into the database where the rows are."""
        meta = session.info.get("dirty_meta")
        text = None if meta is None else json.dumps(meta, ensure_ascii=False)
        rows: dict[Connection, list[dict[str, Any]]] = {}
        for tracked, key in changes:
            connection = session.connection(bind_arguments={"mapper": tracked.mapper})
            rows.setdefault(connection, []).append({"entity": tracked.key, "id": key, "meta": text})
        for connection, values in rows.items():
            level = connection.get_execution_options().get("isolation_level")
            if (
                level or getattr(connection.dialect, "_on_connect_isolation_level", None)
            ) == "AUTOCOMMIT":
                raise UnmarkedError(
                    "a change and its mark are one transaction, which AUTOCOMMIT does not have"
                )
            connection.execute(self._insert, values)

    def rows(
        self, source: Engine | Session, model: type[Any], *, page: int = 1000
    ) -> Iterator[tuple[Id, dict[Any, Any]]]:
        """All rows of a tracked class, as ids and fields: for `Client.seed` and `Client.reconcile`.

        They are read when the first is asked for, so behind the beginning of a run, in one transaction.

        Args:
            source: The engine, or a session that has no transaction.
            model: The tracked class.
            page: How many rows are in memory at a time.

        Raises:
            ValueError: The class is not tracked, or the number of the mark is its version: use `Relay.reconcile`.
        """
        tracked = self.one(model)
        if tracked.marks_version:
            raise ValueError(
                f"the version of {tracked.key!r} is that of marks, which rows do not have: use Relay.reconcile"
            )
        for key, row in self.objects(source, tracked, page=page):
            yield tracked.id_of(key), tracked.snapshot_of(row)

    def objects(
        self, source: Engine | Session, tracked: Tracked, *, page: int
    ) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """All objects of a tracked class, with their primary keys."""
        session = source if isinstance(source, Session) else Session(source)
        if session.in_transaction():
            raise ValueError(
                "the session has a transaction, whose rows may be older than the run: commit it first"
            )
        with session:
            statement = tracked.select().execution_options(yield_per=page)
            for row in session.scalars(statement):
                if self.is_of(tracked, row):
                    yield tracked.mapper.primary_key_from_instance(row), row

    def one(self, model: type[Any]) -> Tracked:
        """The only tracking of a class."""
        found = self._by_class.get(model, [])
        if len(found) != 1:
            raise ValueError(
                f"{model.__name__} is tracked as {len(found)} entity types, not as one"
            )
        return found[0]

    def create_triggers(self, connection: Connection) -> None:
        """Creates triggers that mark whatever changes the rows, SQL by hand included: instead of `listen`.

        On PostgreSQL and SQLite. Repeat it in the migration that changes a primary key or the tracked classes.
        """
        _triggers.create(connection, self.table, self.all_targets())

    def drop_triggers(self, connection: Connection) -> None:
        """Drops what `create_triggers` has created."""
        _triggers.drop(connection, self.table, self.all_targets())

    # What listeners, triggers and relays ask

    def by_key(self, key: str) -> Tracked:
        """The tracked class of a mark."""
        return self._by_key[key]

    def tracked_of(self, mapper: Mapper[Any]) -> Sequence[Tracked]:
        """The tracked class that an object belongs to: the nearest one that it inherits."""
        return self._found(mapper)[0]

    def parts_of(self, mapper: Mapper[Any]) -> Targets:
        """The tracked classes that objects of a class are parts of."""
        return self._found(mapper)[1]

    def is_of(self, tracked: Tracked, row: Any) -> bool:
        """Whether an object is an entity of this type, and not of that of a subclass."""
        return tracked in self.tracked_of(row.__mapper__)

    def _found(
        self, mapper: Mapper[Any]
    ) -> tuple[list[Tracked], list[tuple[Tracked, Sequence[Column[Any]]]]]:
        found = self._of_mapper.get(mapper)
        if found is None:
            chain = [
                self._by_class[each.class_]
                for each in mapper.iterate_to_root()
                if each.class_ in self._by_class
            ]
            parts = [part for table in mapper.tables for part in self._parts.get(table, ())]  # type: ignore[call-overload]
            found = self._of_mapper[mapper] = (chain[0] if chain else [], parts)
        return found

    def targets_of(self, table: Any) -> Targets:
        """Whose entities the rows of a table are, or are parts of."""
        if not self._targets:
            self._targets = self.all_targets()
        return self._targets.get(table, ())

    def all_targets(self) -> dict[Table, list[tuple[Tracked, Sequence[Column[Any]]]]]:
        """Whose entities the rows of each table are, or are parts of."""
        found: dict[Table, list[tuple[Tracked, Sequence[Column[Any]]]]] = {}
        for tracked in self.tracked:
            for table in tracked.tables:
                found.setdefault(table, []).append((tracked, tracked.columns_in(table)))
        for table, parts in self._parts.items():
            found.setdefault(table, []).extend(parts)
        return found

    @property
    def table_names(self) -> list[str]:
        """The names of the tables that statements may not change without marks."""
        return [table.name for table in self.all_targets()]


def _session_target(target: Any) -> Any:
    """What events of a session are listened to at."""
    # Not imported here: since SQLAlchemy 2.1 that fails without greenlet, which only its extra `asyncio` brings.
    asynchronous = sys.modules.get("sqlalchemy.ext.asyncio")
    if asynchronous is not None and isinstance(target, asynchronous.async_sessionmaker):
        given = target.kw.get("sync_session_class")
        if given is None:  # a class of its own, so that other sessions are not listened to
            given = type("MarkedSession", (Session,), {})
            target.configure(sync_session_class=given)
        return given
    if isinstance(target, (Session, scoped_session, sessionmaker)):
        return target
    if isinstance(target, type) and issubclass(target, Session):
        return target
    sync = getattr(target, "sync_session", None) or getattr(target, "sync_session_class", None)
    if sync is not None:
        return sync
    raise TypeError(f"marks listen to sessions, not to {target!r}")
