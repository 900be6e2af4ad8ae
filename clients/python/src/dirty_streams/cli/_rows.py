"""Rows of a table or view, page by page, in the order of its key and without OFFSET."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ._output import Failure
from ._text import decoded, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.engine import Connection, Engine, Row
    from sqlalchemy.sql.elements import ColumnElement

PAGE = 2_000


class NotUnique(Failure):
    pass


@dataclass(frozen=True)
class Selection:
    """What of the table is an entity: the options of `dirty sync`."""

    table: str
    id: Sequence[str] = ()
    columns: Sequence[str] = ()
    exclude: Sequence[str] = ()
    where: str | None = None
    separator: str = "-"
    id_field: bool | None = None  # whether the column of the id is a field, too


def engine_of(url: str) -> Engine:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise Failure(
            "--db takes an SQLAlchemy URL, such as sqlite:///app.db or postgresql://user@host/db"
        ) from None
    if parsed.drivername in ("postgres", "postgresql"):
        # SQLAlchemy means psycopg2 by these, which few have: take the driver that is installed.
        old = installed("psycopg2") and not installed("psycopg")
        parsed = parsed.set(drivername="postgresql+psycopg2" if old else "postgresql+psycopg")
    file = parsed.database
    is_file = parsed.get_backend_name() == "sqlite" and not file_is_special(file)
    if is_file and not Path(file or "").exists():
        raise Failure(f"there is no file {plain(file or '')!r}")  # SQLite would make one
    try:
        return sa.create_engine(parsed)
    except ModuleNotFoundError as error:
        raise Failure(
            f"the driver of {parsed.drivername} is not installed: {missing_driver(parsed.drivername, error.name)}"
        ) from None
    except (sa.exc.NoSuchModuleError, sa.exc.ArgumentError) as error:
        raise Failure(f"no database {plain(parsed.drivername)!r}: {plain(str(error))}") from None


def file_is_special(file: str | None) -> bool:
    """Whether SQLite means no file by it, or a URI of its own."""
    return not file or file.startswith(("file:", ":"))


def installed(module: str) -> bool:
    return find_spec(module) is not None


PACKAGES = {"psycopg": "psycopg[binary]", "MySQLdb": "mysqlclient", "psycopg2": "psycopg2-binary"}


def missing_driver(drivername: str, module: str | None) -> str:
    package = PACKAGES.get(module or "", module or drivername)
    return f"pip install '{package}', or with pipx: pipx inject dirty-streams '{package}'"


def sql_failure(error: Exception) -> Failure:
    """The database's own words, on one line, without SQLAlchemy's link and statement."""
    cause = getattr(error, "orig", None) or error
    text = " ".join(str(cause).split()) or type(cause).__name__
    return Failure(f"SQL: {plain(text)}")


@contextmanager
def failures_of(engine: Engine) -> Iterator[None]:
    """Tells a missing driver and what the database refuses, each on one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise Failure(
            f"the driver of the database is not installed: {missing_driver(engine.driver, error.name)}"
        ) from None
    except sa.exc.SQLAlchemyError as error:
        raise sql_failure(error) from None


class Source:
    """The selected rows. `fields` are the names that they have in Redis, in the order of the columns."""

    def __init__(
        self, engine: Engine, selection: Selection, has_field: Callable[[sa.Column[Any]], bool]
    ) -> None:
        """Whether entities have the id as a field, too, `has_field` tells if the selection does not."""
        self.engine = engine
        self.selection = selection
        self.table = reflected(engine, selection.table)
        self.raw = engine.dialect.name == "sqlite"
        self.id_columns = self._id_columns()
        # Pages go by the primary key, since that is unique, whatever the ids are made of.
        self.key_columns = list(self.table.primary_key.columns) or self.id_columns
        self.fields = self._fields(has_field)
        self._columns = self._selected()
        self._key_at = [self._columns.index(column) for column in self.key_columns]
        self._id_at = [self._columns.index(column) for column in self.id_columns]
        self._field_at = [self._columns.index(column) for column in self.fields.values()]

    # ---- What is selected ----

    def _column(self, name: str, option: str) -> sa.Column[Any]:
        column = self.table.columns.get(name)
        if column is None:
            known = ", ".join(map(plain, self.table.columns.keys()))
            raise Failure(
                f"{option}: {plain(self.selection.table)} has no column {plain(name)!r}, but {known}"
            )
        return column

    def _id_columns(self) -> list[sa.Column[Any]]:
        if self.selection.id:
            return [self._column(name, "--id") for name in self.selection.id]
        keys = list(self.table.primary_key.columns)
        if not keys:
            raise Failure(
                f"{plain(self.selection.table)} has no primary key: name the columns of the id by --id"
            )
        return keys

    def _fields(self, has_field: Callable[[sa.Column[Any]], bool]) -> dict[str, sa.Column[Any]]:
        excluded = {self._column(name, "--exclude").name for name in self.selection.exclude}
        if not self.selection.columns:
            if len(self.id_columns) == 1:
                column, wanted = self.id_columns[0], self.selection.id_field
                if not (has_field(column) if wanted is None else wanted):
                    excluded.add(column.name)
            return {
                column.name: column for column in self.table.columns if column.name not in excluded
            }
        fields = {}
        for item in self.selection.columns:
            field, renamed, name = item.partition("=")
            fields[field] = self._column(name if renamed else field, "--columns")
        return {field: column for field, column in fields.items() if column.name not in excluded}

    def _selected(self) -> list[sa.Column[Any]]:
        selected = list(self.key_columns)
        for column in (*self.id_columns, *self.fields.values()):
            if not any(column is other for other in selected):
                selected.append(column)
        return selected

    def _expression(self, column: sa.Column[Any]) -> ColumnElement[Any]:
        if self.raw:
            # SQLite keeps texts, numbers and bytes, whatever the column says: the declaration converts them.
            return sa.type_coerce(column, sa.types.NullType()).label(None)
        if isinstance(column.type, sa.JSON):
            # As text, because a JSON number that became a float would lose digits.
            return sa.cast(column, sa.Text).label(None)
        return column

    def _key(self, column: sa.Column[Any]) -> ColumnElement[Any]:
        return sa.type_coerce(column, sa.types.NullType()) if self.raw else column

    def _statement(self) -> sa.Select[Any]:
        statement = sa.select(*map(self._expression, self._columns))
        if self.selection.where:
            statement = statement.where(sa.literal_column(f"({self.selection.where})"))
        return statement

    # ---- Reading ----

    def connect(self) -> Connection:
        """Each page is a statement of its own: no transaction stays open for the minutes of a large table."""
        with failures_of(self.engine):
            return self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def count(self, connection: Connection) -> int:
        statement = sa.select(sa.func.count()).select_from(self.table)
        if self.selection.where:
            statement = statement.where(sa.literal_column(f"({self.selection.where})"))
        try:
            return int(connection.execute(statement).scalar_one())
        except sa.exc.SQLAlchemyError as error:
            raise sql_failure(error) from None

    def pages(self, connection: Connection, size: int = PAGE) -> Iterator[Sequence[Row[Any]]]:
        keys = [self._key(column) for column in self.key_columns]
        # One row more than the page has, to see that the last key is not that of the next row, too.
        first = self._statement().order_by(*keys).limit(size + 1)
        last: tuple[Any, ...] | None = None
        while True:
            statement = first if last is None else first.where(self._after(keys, last))
            rows = self._all(connection, statement)
            self._check(rows, last)
            if len(rows) <= size:
                if rows:
                    yield rows
                return
            page = rows[:size]
            last = self.key(page[-1])
            yield page

    def _all(self, connection: Connection, statement: sa.Select[Any]) -> Sequence[Row[Any]]:
        try:
            return connection.execute(statement).all()
        except sa.exc.SQLAlchemyError as error:
            raise sql_failure(error) from None
        except (ValueError, OverflowError) as error:
            # A value that Python has not, such as a date before Christ.
            raise Failure(f"SQL: {plain(str(error))}") from None

    def _after(
        self, keys: Sequence[ColumnElement[Any]], last: Sequence[Any]
    ) -> ColumnElement[bool]:
        if len(keys) == 1:
            after: ColumnElement[bool] = keys[0] > last[0]
            return after
        if self.engine.dialect.name in ("sqlite", "postgresql", "mysql", "mariadb"):
            # The index of the primary key serves a comparison of rows.
            values = sa.tuple_(
                *(sa.literal(value, key.type) for key, value in zip(keys, last, strict=True))
            )
            return sa.tuple_(*keys) > values
        alternatives = []
        for index, key in enumerate(keys):
            equal = [other == value for other, value in zip(keys[:index], last, strict=True)]
            alternatives.append(sa.and_(*equal, key > last[index]))
        return sa.and_(keys[0] >= last[0], sa.or_(*alternatives))

    def _check(self, rows: Sequence[Row[Any]], last: tuple[Any, ...] | None) -> None:
        """The primary key needs no check, but for SQLite, where it may be null."""
        for row in rows:
            key = self.key(row)
            if None in key:
                names = ", ".join(plain(column.name) for column in self.key_columns)
                raise Failure(
                    f"a row of {plain(self.selection.table)} has null in its key ({names})"
                )
            if key == last:
                raise NotUnique(
                    f"--id is not unique: several rows of {plain(self.selection.table)}"
                    f" have {plain(decoded(self.id(row)))!r}"
                )
            last = key

    def again(self, connection: Connection, keys: Sequence[tuple[Any, ...]]) -> Iterator[Row[Any]]:
        """The rows of these keys as they are now, those that are still selected."""
        columns = [self._key(column) for column in self.key_columns]
        for start in range(0, len(keys), 200):
            some = keys[start : start + 200]
            if len(columns) == 1:
                condition: ColumnElement[bool] = columns[0].in_([key[0] for key in some])
            else:
                condition = sa.or_(
                    *(
                        sa.and_(
                            *(column == value for column, value in zip(columns, key, strict=True))
                        )
                        for key in some
                    )
                )
            yield from self._all(connection, self._statement().where(condition))

    def ids_of(self, connection: Connection, ids: Sequence[bytes]) -> set[bytes]:
        """Those of the ids that rows have, now."""
        parts = [sa.cast(column, sa.Text) for column in self.id_columns]
        whole: ColumnElement[Any] = parts[0]
        for part in parts[1:]:
            whole = whole + sa.literal(self.selection.separator) + part
        found: set[bytes] = set()
        for start in range(0, len(ids), 200):
            texts = [text for one in ids[start : start + 200] if is_text(text := decoded(one))]
            statement = self._statement().where(whole.in_(texts))
            found.update(self.id(row) for row in self._all(connection, statement))
        return found

    # ---- A row ----

    def key(self, row: Row[Any]) -> tuple[Any, ...]:
        return tuple(row[index] for index in self._key_at)

    def id(self, row: Row[Any]) -> bytes:
        parts = [id_part(row[index]) for index in self._id_at]
        return parts[0] if len(parts) == 1 else self.selection.separator.encode().join(parts)

    def values(self, row: Row[Any]) -> list[Any]:
        return [row[index] for index in self._field_at]


def reflected(engine: Engine, name: str) -> sa.Table:
    schema, _, table = name.rpartition(".")
    with (
        failures_of(engine),
        engine.connect() as connection,
        warnings.catch_warnings(),
    ):
        # Types that SQLAlchemy does not know come as the driver gives them.
        warnings.simplefilter("ignore")
        try:
            return sa.Table(
                table,
                sa.MetaData(),
                schema=schema or None,
                autoload_with=connection,
                resolve_fks=False,
            )
        except sa.exc.NoSuchTableError:
            raise Failure(f"the database has no table or view {plain(name)!r}") from None


def is_text(text: str) -> bool:
    """No key of SQL is an id that is not UTF-8, or has a NUL, which PostgreSQL does not take."""
    return not any(char == "\0" or "\udc80" <= char <= "\udcff" for char in text)


def id_part(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bool):
        return b"1" if value else b"0"
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).encode()
    if value is None:
        raise Failure("a row has null in its id")
    return str(value).encode()
