"""Triggers that mark the rows that they see changed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import LargeBinary, literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Table
    from sqlalchemy.engine import Connection
    from sqlalchemy.schema import Column

    from ._session import Targets


def create(connection: Connection, marks: Table, targets: Mapping[Table, Targets]) -> None:
    """Creates the triggers, in place of those that are there."""
    drop(connection, marks, targets)
    statements = {"postgresql": _postgresql, "sqlite": _sqlite}.get(connection.dialect.name)
    if statements is None:
        raise NotImplementedError(f"there are no triggers for {connection.dialect.name}")
    for table, found in targets.items():
        for statement in statements(_Names(connection, marks, table), found):
            connection.exec_driver_sql(statement)


def drop(connection: Connection, marks: Table, targets: Mapping[Table, Targets]) -> None:
    """Drops the triggers, if they are there."""
    for table in targets:
        names = _Names(connection, marks, table)
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS {names.function} CASCADE")
        else:
            for event in ("insert", "update", "delete"):
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {names.trigger(event)}")


class _Names:
    """Quoted names for a table's triggers."""

    def __init__(self, connection: Connection, marks: Table, table: Table) -> None:
        self._preparer = connection.dialect.identifier_preparer
        self._dialect = connection.dialect
        self._schema = table.schema
        self.table = self._preparer.format_table(table)
        self.bare_table = self._preparer.format_table(table, use_schema=False)
        # SQLite wants no schema in a trigger, which is in that of its table.
        self.marks = self._preparer.format_table(
            marks, use_schema=connection.dialect.name == "postgresql"
        )
        # PostgreSQL cuts names at 63 bytes.
        digest = hashlib.sha256(f"{marks.fullname} {table.fullname}".encode()).hexdigest()[:8]
        self._stem = f"{marks.name[:20]}_{table.name[:20]}_{digest}"

    def trigger(self, event: str) -> str:
        """A trigger's name, which SQLite wants with its schema."""
        name = self._preparer.quote(f"{self._stem}_{event}")
        if self._schema is None or self._dialect.name == "postgresql":
            return name
        return f"{self._preparer.quote(self._schema)}.{name}"

    @property
    def function(self) -> str:
        name = self._preparer.quote(self._stem)
        return (
            f"{name}()"
            if self._schema is None
            else f"{self._preparer.quote(self._schema)}.{name}()"
        )

    def column(self, column: Column[Any]) -> str:
        """A column's name."""
        return self._preparer.format_column(column)

    def text(self, value: str) -> str:
        """A literal."""
        compiled = literal(value).compile(
            dialect=self._dialect, compile_kwargs={"literal_binds": True}
        )
        return str(compiled).replace("%%", "%")


def _insert(
    names: _Names, found: Targets, row: str, array: str, condition: str = "true"
) -> Iterator[str]:
    """Statements that mark the entities of a row."""
    for tracked, columns in found:
        given = [f"{row}.{names.column(column)}" for column in columns]
        exists = " AND ".join(f"{value} IS NOT NULL" for value in given)
        yield (
            f"INSERT INTO {names.marks} (entity, id) SELECT {names.text(tracked.key)}, {array % ', '.join(given)} "
            f"WHERE {exists} AND {condition};"
        )


def _moved(names: _Names, found: Targets, operator: str) -> Iterator[tuple[Targets, str]]:
    """Each target with the condition that a row has gone over to another entity."""
    for each in found:
        columns = [names.column(column) for column in each[1]]
        yield (
            [each],
            "(" + " OR ".join(f"new.{name} {operator} old.{name}" for name in columns) + ")",
        )


def _postgresql(names: _Names, found: Targets) -> Iterator[str]:
    array = "jsonb_build_array(%s)::text"
    old = " ".join(_insert(names, found, "old", array))
    new = " ".join(_insert(names, found, "new", array))
    gone_over = " ".join(
        statement
        for target, condition in _moved(names, found, "IS DISTINCT FROM")
        for statement in _insert(names, target, "new", array, condition)
    )
    all_rows = " ".join(
        statement.replace(" WHERE ", f" FROM {names.table} AS gone WHERE ", 1)
        for statement in _insert(names, found, "gone", array)
    )
    function = names.function
    yield (
        f"CREATE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS $dirty$ BEGIN "
        f"IF TG_OP = 'INSERT' THEN {new} "
        f"ELSIF TG_OP = 'UPDATE' THEN {old} {gone_over} "
        f"ELSIF TG_OP = 'DELETE' THEN {old} "
        f"ELSE {all_rows} END IF; RETURN NULL; END $dirty$"
    )
    each = f"FOR EACH ROW EXECUTE FUNCTION {function}"
    yield f"CREATE TRIGGER {names.trigger('insert')} AFTER INSERT OR DELETE ON {names.table} {each}"
    yield (
        f"CREATE TRIGGER {names.trigger('update')} AFTER UPDATE ON {names.table} FOR EACH ROW "
        f"WHEN (old.* *<> new.*) EXECUTE FUNCTION {function}"
    )
    yield (
        f"CREATE TRIGGER {names.trigger('delete')} BEFORE TRUNCATE ON {names.table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {function}"
    )


def _sqlite(names: _Names, found: Targets) -> Iterator[str]:
    old = " ".join(_insert_sqlite(names, found, "old"))
    new = " ".join(_insert_sqlite(names, found, "new"))
    gone_over = " ".join(
        statement
        for target, condition in _moved(names, found, "IS NOT")
        for statement in _insert_sqlite(names, target, "new", condition)
    )
    for event, statements in (("insert", new), ("update", f"{old} {gone_over}"), ("delete", old)):
        yield (
            f"CREATE TRIGGER {names.trigger(event)} AFTER {event.upper()} ON {names.bare_table} "
            f"BEGIN {statements} END"
        )


def _insert_sqlite(
    names: _Names, found: Targets, row: str, condition: str = "true"
) -> Iterator[str]:
    for tracked, columns in found:
        values = [_json_value(names, row, column) for column in columns]
        statements = _insert(names, [(tracked, columns)], row, "json_array(%s)", condition)
        for statement in statements:
            plain = ", ".join(f"{row}.{names.column(column)}" for column in columns)
            yield statement.replace(f"json_array({plain})", f"json_array({', '.join(values)})", 1)


def _json_value(names: _Names, row: str, column: Column[Any]) -> str:
    value = f"{row}.{names.column(column)}"
    return f"'\\x' || lower(hex({value}))" if isinstance(column.type, LargeBinary) else value
