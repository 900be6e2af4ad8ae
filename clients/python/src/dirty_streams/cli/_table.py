"""What all ways of `dirty sync` have in common: the table, the entity type, and how rows are sent."""

from __future__ import annotations

import zoneinfo
from datetime import timezone
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..errors import NoDeclarationError
from ._convert import UnfitError, Words
from ._declare import type_of
from ._output import Cell, Failure, Output
from ._rows import PAGE, Selection, Source, engine_of
from ._target import Operation, Outcome, Target, not_declared
from ._text import Shortener, plain, plural

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine import Connection, Row

    from ._progress import Steps
    from ._server import Server


SAME, DIFFERS = 0, 1

SHOWN = 10
"""How many differences are shown one by one."""


class Sync:
    """What all ways to synchronise have in common."""

    def __init__(self, options: argparse.Namespace, server: Server, output: Output) -> None:
        self.options = options
        self.server = server
        self.output = output
        self.short = Shortener(full=options.full)
        self.target = Target(server, options.key or options.table, options.partitions)
        self.zone = zone_of(options.zone)
        self.engine = engine_of(options.db)
        self.force = ("FORCE",) if options.force else ()

    # ---- What is compared ----

    def types(self) -> dict[str, str]:
        """The declared types."""
        try:
            return self.target.types()
        except NoDeclarationError as error:
            raise not_declared(error) from None

    def source(self, types: dict[str, str] | None) -> Source:
        """The rows. `types` are the declared ones, if there is a declaration."""

        def has_field(column: sa.Column[Any]) -> bool:
            """Entities tell; where there are none, the declaration, unless a text needs no type."""
            if types is None:
                return True
            stored = self.target.fields_of_some_entity()
            if stored is not None:
                return column.name in stored
            return column.name in types or type_of(column) is None

        options = self.options
        selection = Selection(
            table=options.table,
            id=options.id,
            columns=options.columns,
            exclude=options.exclude,
            where=options.where,
            separator=options.separator,
            id_field=options.id_field,
        )
        return Source(self.engine, selection, has_field)

    # ---- Rows and operations ----

    def operations(self, source: Source, words: Words, rows: Sequence[Row[Any]]) -> list[Operation]:
        """The words of rows."""
        return [self.operation(source, words, row) for row in rows]

    def operation(self, source: Source, words: Words, row: Row[Any]) -> Operation:
        """The words of a row; a value that fits nowhere is told with the row."""
        try:
            return Operation(source.id(row), words.of(source.values(row)))
        except UnfitError as error:
            return Operation(source.id(row), (), str(error))

    def words(self, source: Source, types: dict[str, str]) -> Words:
        """Converts the columns to the types of their fields."""
        fields = {name: types.get(name) for name in source.fields}
        # SQLite does not check what is in such a column.
        is_json = [
            isinstance(column.type, sa.JSON) and not source.raw for column in source.fields.values()
        ]
        return Words(fields, is_json, self.zone)

    def send_all(
        self,
        source: Source,
        words: Words,
        connection: Connection,
        progress: Steps,
        verb: str,
        *options: str,
    ) -> Iterator[tuple[Sequence[Row[Any]], list[Operation], list[Outcome]]]:
        """Sends all rows, a page at a time."""
        bars = self.output.errors.is_terminal
        advance = progress.step("rows", source.count(connection) if bars else None)
        for rows in source.pages(connection, PAGE):
            operations = self.operations(source, words, rows)
            yield rows, operations, self.target.send(verb, operations, *options)
            advance(len(rows))

    # ---- Output ----

    def rate(self, rows: int, seconds: float) -> str:
        """How many rows in which time."""
        return f"{plural(rows, 'row')} in {seconds:.1f} s ({rows / max(seconds, 0.001):,.0f}/s)"

    def entity(self, entity_id: bytes) -> Cell:
        """An entity, as events show it."""
        return Cell(self.short.entity(self.target.key, entity_id), "bold")

    def show_refused(self, refused: Sequence[tuple[bytes, str]]) -> None:
        """Rows that Redis did not take."""
        for entity_id, message in refused:
            self.output.line("  ", self.entity(entity_id), f"  {plain(message)}")


def zone_of(name: str) -> Any:
    """The zone of times without one."""
    if name.upper() == "UTC":
        return timezone.utc
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Failure(f"--zone: there is no time zone {plain(name)!r}") from None
