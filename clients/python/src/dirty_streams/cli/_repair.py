"""`dirty sync --repair`: Redis is made equal to the table, by a run of DIRTY.RECONCILE."""

from __future__ import annotations

import os
import re
import socket
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..errors import ExistsError, LimitError, NoRunError
from ._output import Failure
from ._progress import Steps, steps
from ._table import SAME, Sync
from ._target import Refused
from ._text import json_line, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.engine import Connection

    from .._words import Name
    from ._convert import Words
    from ._rows import Source


COUNTED = ("same", "repaired", "deleted", "newer", "stale", "foreign")


def repair(common: Sync) -> int:
    """Makes Redis equal to the table, by a run of DIRTY.RECONCILE; without its end nothing is deleted."""
    limit = max_delete(common.options.max_delete)
    types = common.types()
    source = common.source(types)
    words = common.words(source, types)
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    run = f"dirty-sync {now} {socket.gethostname()} {os.getpid()}"
    began = time.monotonic()
    begun: list[Name] = []
    try:
        with steps(common.output) as progress, source.connect() as connection:
            for key in common.target.keys:
                begun.append(key)  # before the reply, which may be lost
                begin(common, key, run)
            rows = repair_rows(common, source, words, connection, progress, run)
            statuses = sweep_all(common, run, rows, limit, progress)
    except BaseException as error:
        abort(common, begun, run)
        if isinstance(error, NoRunError):
            raise Failure(
                "Redis was restarted or failed over in the middle, or the declaration was changed:"
                " nothing was deleted; begin again"
            ) from None
        raise
    report_repair(common, statuses, rows, time.monotonic() - began)
    return SAME


def begin(common: Sync, key: Name, run: str) -> None:
    """Begins the run of a key."""
    try:
        common.server.call("DIRTY.RECONCILE", key, "BEGIN", run)
    except ExistsError as error:
        raise Failure(
            f"{plain(error.message)}: if nobody is at work in it, DIRTY.RECONCILE"
            f" {plain(key)} ABORT ends it"
        ) from None


def repair_rows(  # noqa: PLR0917
    common: Sync,
    source: Source,
    words: Words,
    connection: Connection,
    progress: Steps,
    run: str,
) -> int:
    """Sends all rows."""
    rows = 0
    for _, operations, outcomes in common.send_all(
        source, words, connection, progress, "SNAPSHOT", *common.force, "RUN", run
    ):
        rows += len(operations)
        for operation, outcome in zip(operations, outcomes, strict=True):
            if isinstance(outcome, Refused):
                name = common.short.entity(common.target.key, operation.id)
                raise Failure(
                    f"{name}: {outcome.message}; nothing was deleted. --check lists such rows"
                )
    return rows


def abort(common: Sync, keys: Sequence[Name], run: str) -> None:
    """Ends the run, by another connection: that of the run may be within a reply."""
    if not keys:
        return
    try:
        server = common.server.again()
        for key in keys:
            server.call("DIRTY.RECONCILE", key, "ABORT", run)
        server.close()
    except Exception as error:
        common.output.note(f"the run {run!r} was not ended, and ends in an hour: {error}")


def max_delete(given: str | None) -> str | None:
    """A number, or a part with %."""
    if given is not None and re.fullmatch(r"\d+%?", given, re.ASCII) is None:
        raise Failure(f"--max-delete takes a number or a part such as 1%, not {plain(given)!r}")
    return given


def sweep_all(
    common: Sync, run: str, rows: int, limit: str | None, progress: Steps
) -> list[dict[str, Any]]:
    """Deletes what only Redis has, unless it is too much."""
    keys = common.target.keys
    seen = sum(common.target.reconcile(key, "STATUS", run)["seen"] for key in keys)
    if seen < rows:
        raise Failure(f"--id is not unique: {rows:,} rows have {seen:,} ids; nothing was deleted")
    if len(keys) == 1:
        option = () if limit is None else ("MAXDELETE", limit)
        return [sweep(common, keys[0], run, option, progress)]
    # The limit is one of all partitions together.
    counts = [sweep(common, key, run, ("DRYRUN",), progress) for key in keys]
    missing, scanned = (sum(one[name] for one in counts) for name in ("missing", "scanned"))
    allowed = allowed_of(limit, scanned)
    if missing > allowed:
        raise too_many(missing, scanned, allowed)
    return [
        sweep(common, key, run, ("MAXDELETE", one["missing"]), progress)
        for key, one in zip(keys, counts, strict=True)
    ]


def allowed_of(limit: str | None, scanned: int) -> int:
    """How many may be deleted."""
    if limit is None:
        return max(10, scanned // 100)
    if limit.endswith("%"):
        return int(limit[:-1]) * scanned // 100
    return int(limit)


def too_many(missing: int, scanned: int, allowed: int) -> Failure:
    """The number is in the message."""
    return Failure(
        f"{missing:,} of {scanned:,} entities are only in Redis and would be deleted;"
        f" --max-delete allows {allowed:,}. Nothing was deleted"
    )


LIMIT = re.compile(r"(\d+) of (\d+) entities would be deleted; MAXDELETE allows (\d+)")


def sweep(
    common: Sync, key: Name, run: str, options: Sequence[str | int], progress: Steps
) -> dict[str, Any]:
    """Repeats SWEEP until it is through."""
    counting: Callable[[int], None] | None = None
    deleting: Callable[[int], None] | None = None
    scanned = deleted = 0
    while True:
        try:
            status = common.target.reconcile(key, "SWEEP", run, *options)
        except LimitError as error:
            found = LIMIT.search(error.message)
            raise too_many(*map(int, found.groups())) if found else error from None
        phase = bytes(status["phase"]).decode()
        if phase == "done":
            return status
        if phase == "counting":
            counting = counting or progress.step("counting", None)
            counting(status["scanned"] - scanned)
            scanned = status["scanned"]
        else:
            deleting = deleting or progress.step("deleting", status["missing"])
            deleting(status["deleted"] - deleted)
            deleted = status["deleted"]


def report_repair(
    common: Sync, statuses: Sequence[dict[str, Any]], rows: int, seconds: float
) -> None:
    """What was done."""
    totals = {name: sum(status[name] for status in statuses) for name in COUNTED}
    if common.options.json:
        common.output.line(json_line({"rows": rows, **totals}))
        return
    words = {
        "repaired": "repaired",
        "deleted": "deleted",
        "newer": "flushed by others meanwhile",
        "stale": "newer in Redis",
        "foreign": "with a colon in the id left alone",
    }
    parts = [f"{totals['same']:,} the same"]
    parts += [
        f"{totals[name]:,} {told}"
        for name, told in words.items()
        if totals[name] or name in ("repaired", "deleted")
    ]
    common.output.line(
        f"{plain(common.target.key)}: {', '.join(parts)}; {common.rate(rows, seconds)}"
    )
