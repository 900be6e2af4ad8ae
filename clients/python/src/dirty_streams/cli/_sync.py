"""`dirty sync`: a table of SQL, and the entities that it ought to be in Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._words import text
from ..errors import NoDeclarationError
from ._check import Check
from ._declare import commands_of, entity_of, typed
from ._output import Cell, Output
from ._progress import steps
from ._repair import repair
from ._table import DIFFERS, SAME, SHOWN, Sync
from ._target import Refused
from ._text import json_line, plain, plural

if TYPE_CHECKING:
    import argparse

    from ._server import Server


def sync(options: argparse.Namespace, server: Server, output: Output) -> int:
    """Runs the command; the result is its exit code."""
    common = Sync(options, server, output)
    try:
        if options.declare and not (options.seed or options.repair):
            return show_declaration(common)
        if options.declare:
            declare(common)
        if options.seed:
            return seed(common)
        return repair(common) if options.repair else Check(common).run()
    finally:
        common.engine.dispose()


# ---- --declare ----


def declaration(common: Sync) -> list[list[bytes | str]]:
    """The commands."""
    options = common.options
    source = common.source(None)
    entity = entity_of(
        source, options.key or options.table, tuple(options.stream), options.partitions, "FULL"
    )
    return commands_of(entity)


def show_declaration(common: Sync) -> int:
    """Prints the commands; redis-cli takes them."""
    for words in declaration(common):
        common.output.line(typed(words))
    return SAME


def declare(common: Sync) -> None:
    """Declares what is not declared: an existing declaration stays as it is."""
    for words in declaration(common):
        try:
            common.server.info(words[1])
        except NoDeclarationError:
            common.server.call(*words)
            common.output.note(f"declared: {typed(words)}")


# ---- --seed ----


def seed(common: Sync) -> int:
    """Stores all rows, and publishes nothing."""
    output = common.output
    types = common.types()
    source = common.source(types)
    words = common.words(source, types)
    began, rows = time.monotonic(), 0
    refusals: list[tuple[bytes, str]] = []
    refused = 0
    with steps(output) as progress, source.connect() as connection:
        for _, operations, outcomes in common.send_all(
            source, words, connection, progress, "SEED", *common.force
        ):
            rows += len(operations)
            for operation, outcome in zip(operations, outcomes, strict=True):
                if isinstance(outcome, Refused):
                    refused += 1
                    if len(refusals) < SHOWN:
                        refusals.append((operation.id, outcome.message))
    seconds = time.monotonic() - began
    if common.options.json:
        shown = [{"id": text(one), "error": message} for one, message in refusals]
        output.line(json_line({"rows": rows, "refused": refused, "first": shown}))
        return DIFFERS if refused else SAME
    output.line(f"seeded {plain(common.target.key)}: {common.rate(rows, seconds)}")
    if refused:
        output.line(Cell(f"{plural(refused, 'row')} refused:", "red"))
        common.show_refused(refusals)
    return DIFFERS if refused else SAME
