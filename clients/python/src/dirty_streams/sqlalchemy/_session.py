"""Marks what a session changes, in the same transaction, and refuses what it cannot see."""

from __future__ import annotations

import re
import weakref
from typing import TYPE_CHECKING, Any

from sqlalchemy import Delete, Insert, Update, event, inspect
from sqlalchemy.engine.result import null_result
from sqlalchemy.orm import ORMExecuteState, Session, attributes, object_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Result
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Mapper
    from sqlalchemy.schema import Column

    from ._marks import Marks
    from ._tracked import Tracked

    Change = tuple[Tracked, str]
    """An entity that changed: its tracked class, and the text of its primary key."""

    Targets = Sequence[tuple[Tracked, Sequence[Column[Any]]]]
    """Whose entities the rows of a table are, or are parts of, and the columns with their primary keys."""


class UnmarkedError(RuntimeError):
    """A statement would change rows of a tracked class in a way that leaves no mark. It was not executed."""


class _Scope:
    """What is known of a session."""

    def __init__(self) -> None:
        self.changes: dict[Change, None] = {}  # of the flush that is under way
        self.noted: set[Any] = set()  # the states of the objects that were looked at
        self.flushing = False
        self.executing = 0  # statements whose rows are marked

    def begin(self, *, flushing: bool) -> None:
        """A flush begins, or has ended."""
        self.changes.clear()
        self.noted.clear()
        self.flushing = flushing


class Listener:
    """The hooks of a class of sessions.

    Flushes and ORM statements are marked. A guard looks at the text of all other statements of the sessions'
    connections: one that changes a tracked table is refused.
    """

    def __init__(self, marks: Marks, *, refuse: bool) -> None:
        self.marks = marks
        self.refuse = refuse
        self._scopes: weakref.WeakKeyDictionary[Session, _Scope] = weakref.WeakKeyDictionary()
        self._sessions: weakref.WeakKeyDictionary[Connection, weakref.ref[Session]] = (
            weakref.WeakKeyDictionary()
        )
        self._guard: re.Pattern[str] | None = None

    def listen(self, target: Any) -> None:
        """Listens to a class of sessions, or to one session."""
        event.listen(target, "before_flush", self._before_flush)
        event.listen(target, "after_flush", self._after_flush)
        event.listen(target, "after_flush_postexec", self._after_flush_postexec)
        event.listen(target, "after_soft_rollback", self._after_soft_rollback)
        event.listen(target, "do_orm_execute", self._execute)
        if self.refuse:
            event.listen(target, "after_begin", self._after_begin)

    def track(self, model: type[Any]) -> None:
        """Listens to a class whose rows are entities, or parts of them."""
        self._guard = None
        event.listen(model, "after_insert", self._changed, propagate=True)
        event.listen(model, "after_update", self._changed, propagate=True)
        event.listen(model, "before_delete", self._deleted, propagate=True)

    def track_part(self, model: type[Any], attribute: Any) -> None:
        """Listens to a class whose rows are parts, and lets the attribute keep its old value: whose part it was."""
        self.track(model)
        event.listen(attribute, "set", _kept, active_history=True, propagate=True)

    def _scope(self, session: Session) -> _Scope:
        scope = self._scopes.get(session)
        if scope is None:
            scope = self._scopes[session] = _Scope()
        return scope

    # Flushes

    def _before_flush(self, session: Session, *_: Any) -> None:
        scope = self._scope(session)
        scope.begin(flushing=True)

    def _changed(self, _mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
        self._note(target, deleted=False)

    def _deleted(self, _mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
        self._note(target, deleted=True)

    def _after_flush(self, session: Session, *_: Any) -> None:
        scope = self._scope(session)
        for target in session.dirty:  # post_update has written behind after_update
            self._note(target, deleted=False)
        # Behind the statements of the flush: they have locked the rows, so the later mark is of the later change.
        self.marks.insert(session, scope.changes)

    def _after_flush_postexec(self, session: Session, *_: Any) -> None:
        self._scope(session).begin(flushing=False)

    def _after_soft_rollback(self, session: Session, *_: Any) -> None:
        self._scope(session).begin(flushing=False)  # a flush that failed came to no end

    def _note(self, target: Any, *, deleted: bool) -> None:
        session = object_session(target)
        scope = None if session is None else self._scopes.get(session)
        if session is None or scope is None or not scope.flushing:
            return
        state = inspect(target)
        tracked = self.marks.tracked_of(state.mapper)
        parts = self.marks.parts_of(state.mapper)
        if not (tracked or parts) or (state in scope.noted and not parts):
            return
        collections = any(each.relational for each in tracked)
        new = state.key is None
        if not (deleted or new or session.is_modified(target, include_collections=collections)):
            return
        scope.noted.add(state)
        for each in tracked:
            scope.changes.update((change, None) for change in _own(each, state, deleted=deleted))
        for each, columns in parts:
            scope.changes.update((change, None) for change in _of_part(each, columns, state))

    # Statements

    def _execute(self, state: ORMExecuteState) -> Result[Any] | None:
        statement = state.statement
        if not isinstance(statement, (Insert, Update, Delete)):
            return None
        targets = self.marks.targets_of(statement.table)
        if not targets:
            return None
        scope = self._scope(state.session)
        scope.executing += 1
        try:
            if state.execution_options.get("dirty_marks", True):
                return _Statement(self.marks, state, statement, targets).execute()
            return state.invoke_statement()
        finally:
            scope.executing -= 1

    # All others

    def _after_begin(self, session: Session, _transaction: Any, connection: Connection) -> None:
        if connection not in self._sessions:
            event.listen(connection, "before_cursor_execute", self._before_cursor_execute)
        self._sessions[connection] = weakref.ref(session)

    def _before_cursor_execute(
        self,
        connection: Connection,
        _cursor: Any,
        statement: str,
        _parameters: Any,
        context: Any,
        _many: bool,
    ) -> None:
        reference = self._sessions.get(connection)
        session = None if reference is None else reference()
        scope = None if session is None else self._scope(session)
        if scope is None or scope.flushing or scope.executing:
            return
        if self._guard is None:
            self._guard = _guard(self.marks.table_names)
        found = self._guard.search(statement)
        if found and context.execution_options.get("dirty_marks", True):
            raise UnmarkedError(
                f"{' '.join(found[0].split())!r} would leave no mark: use objects or an ORM statement of the session; "
                "or mark the rows by Marks.mark, and execute it with execution_options(dirty_marks=False)"
            )


def _kept(*_: Any) -> None:
    """Does nothing: that somebody listens is the reason to load the old value."""


def _guard(tables: Iterable[str]) -> re.Pattern[str]:
    """Finds what changes one of these tables in the text of a statement."""
    names = "|".join(re.escape(name) for name in sorted(tables)) or r"(?!)"
    return re.compile(
        r"\b(?:insert(?:\s+or\s+\w+)?\s+into|replace\s+into|update(?:\s+or\s+(?:abort|fail|ignore|replace|rollback))?"
        r"|delete\s+from|merge\s+into|truncate(?:\s+table)?)(?:\s+only)?\s+"
        rf"(?:[\w\"`\[\]]+\.)?[\"`\[]?(?:{names})[\"`\]]?(?![\w.])",
        re.IGNORECASE,
    )


def _own(tracked: Tracked, state: Any, *, deleted: bool) -> Iterator[Change]:
    """The entity that an object is: under its old primary key, and under its new one."""
    old = state.key and state.key[1]
    if old is not None:
        yield tracked, tracked.text(old)
    if deleted:
        return
    new = tuple(
        state.dict.get(name, None if old is None else old[index])
        for index, name in enumerate(tracked.attributes)
    )
    if None not in new:
        yield tracked, tracked.text(new)


def _of_part(tracked: Tracked, columns: Sequence[Column[Any]], state: Any) -> Iterator[Change]:
    """The entities that an object is and was a part of."""
    names = [state.mapper.get_property_by_column(column).key for column in columns]
    histories = [attributes.get_history(state.obj(), name) for name in names]
    for values in (
        [history.added or history.unchanged for history in histories],
        [history.deleted or history.unchanged for history in histories],
    ):
        key = [value[0] if value else None for value in values]
        if None not in key:
            yield tracked, tracked.text(key)


class _Statement:
    """An INSERT, UPDATE or DELETE on a tracked table, whose rows it gets by RETURNING."""

    def __init__(
        self,
        marks: Marks,
        state: ORMExecuteState,
        statement: Insert | Update | Delete,
        targets: Targets,
    ) -> None:
        self.marks = marks
        self.state = state
        self.statement = statement
        self.targets = targets
        self.columns = list(dict.fromkeys(column for _, columns in targets for column in columns))
        self.many = isinstance(state.parameters, (list, tuple))

    def execute(self) -> Result[Any]:
        """Executes the statement, marks its rows, and returns its result as it would be without that."""
        statement = self.statement
        if isinstance(statement, Update) and self.many and self.state.is_orm_statement:
            return self._update_by_primary_key(statement)
        if self.many and not isinstance(statement, Insert):
            raise UnmarkedError(f"the rows of an executemany cannot be known: {statement}")
        moved = _assigned(statement, self.state.parameters) & {
            column.key for column in self.columns
        }
        if moved and not isinstance(statement, Insert):
            raise UnmarkedError(
                f"the old values of {sorted(moved)} cannot be known, so use objects: {statement}"
            )
        self._check_returning()
        if statement._returning:
            return self._returning()
        if not isinstance(statement, Insert):
            return self._rows_matched(statement)
        if self._is_plain(statement):
            return self._inserted(statement)
        return self._inserted_rows(statement)

    def _check_returning(self) -> None:
        dialect = self.state.session.get_bind(**self.state.bind_arguments).dialect
        kind = (
            type(self.statement).__name__ if type(self.statement) in (Update, Delete) else "Insert"
        )
        if not getattr(dialect, f"{kind.lower()}_returning"):
            raise UnmarkedError(
                f"{dialect.name} has no {kind.upper()} … RETURNING, so use objects: {self.statement}"
            )

    def _expressions(self) -> list[Any]:
        mapper = self.state.bind_mapper
        if not self.state.is_orm_statement or mapper is None:
            return list(self.columns)
        return [
            getattr(mapper.class_, mapper.get_property_by_column(column).key)
            for column in self.columns
        ]

    def _mark(self, rows: Iterable[Sequence[Any]]) -> None:
        changes: dict[Change, None] = {}
        places = {column: index for index, column in enumerate(self.columns)}
        for row in rows:
            for tracked, columns in self.targets:
                key = [row[places[column]] for column in columns]
                if None not in key:
                    changes[tracked, tracked.text(key)] = None
        self.marks.insert(self.state.session, changes)

    def _returning(self) -> Result[Any]:
        """The caller has RETURNING, too: its columns come first."""
        labelled = [each.label(f"dirty_{index}") for index, each in enumerate(self._expressions())]
        result = self.state.invoke_statement(statement=self.statement.returning(*labelled)).freeze()
        own = len(result().keys()) - len(labelled)
        self._mark(row[own:] for row in result())
        return result().columns(*range(own))

    def _rows_matched(self, statement: Update | Delete) -> Result[Any]:
        result: Any = self.state.invoke_statement(
            statement=statement.return_defaults(*self._expressions())
        )
        rows = result.returned_defaults_rows or ()
        self._mark([row._mapping[column] for column in self.columns] for row in rows)
        return result  # type: ignore[no-any-return]

    def _update_by_primary_key(self, statement: Update) -> Result[Any]:
        """A list of rows with their primary keys, which are the attributes' names."""
        mapper = self.state.bind_mapper
        if mapper is None or statement._where_criteria:
            raise UnmarkedError(f"the rows of an executemany cannot be known: {statement}")
        names = [mapper.get_property_by_column(column).key for column in self.columns]
        given = [dict(row) for row in self.state.parameters or () if isinstance(row, dict)]
        keys = {mapper.get_property_by_column(column).key for column in mapper.primary_key}
        moved = sorted(
            {name for row in given for name in names if name in row and name not in keys}
        )
        if moved or not keys.issuperset(names):
            raise UnmarkedError(
                f"the rows that {names} point to cannot be known, so use objects: {statement}"
            )
        result = self.state.invoke_statement()
        self._mark([row[name] for name in names] for row in given)
        return result

    def _is_plain(self, statement: Insert) -> bool:
        """Whether it is of one row, whose primary key is known then, and the only one that the targets need."""
        return not (
            self.many
            or self.state.parameters
            or statement._multi_values
            or statement.select is not None
            or statement._post_values_clause is not None
            or not all(column.primary_key for column in self.columns)
        )

    def _inserted(self, statement: Insert) -> Result[Any]:
        result: Any = self.state.invoke_statement()
        names = [column.name for column in statement.table.primary_key]
        key = dict(zip(names, result.inserted_primary_key, strict=True))
        self._mark([[key[column.name] for column in self.columns]])
        return result  # type: ignore[no-any-return]

    def _inserted_rows(self, statement: Insert) -> Result[Any]:
        """RETURNING hides from the caller what an INSERT tells: that is added to a result without rows."""
        rows = self.state.invoke_statement(
            statement=statement.returning(*self._expressions())
        ).all()
        self._mark(rows)
        result: Any = null_result()
        result.rowcount = len(rows)
        result.inserted_primary_key = rows[0] if len(rows) == 1 else None
        return result  # type: ignore[no-any-return]


def _assigned(statement: Insert | Update | Delete, parameters: Any) -> set[str]:
    """The keys of the columns that an UPDATE sets."""
    if not isinstance(statement, Update):
        return set()
    assigned: list[Any] = [*(getattr(statement, "_values", None) or {})]
    assigned += [column for column, _ in getattr(statement, "_ordered_values", None) or ()]
    assigned += [*parameters] if isinstance(parameters, dict) else []
    return {getattr(column, "key", column) for column in assigned}
