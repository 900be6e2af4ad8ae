"""The options of `dirty`."""

from __future__ import annotations

import argparse
import os
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

from ._output import Failure


class Parser(argparse.ArgumentParser):
    """Errors are one line."""

    def error(self, message: str) -> NoReturn:
        """For `main`, which prints it."""
        raise Failure(f"{message} ({self.prog} --help)")


def positive(word: str) -> int:
    """A number of 1 or more."""
    number = int(word) if word.isascii() and word.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, not {word!r}")
    return number


def seconds(word: str) -> float:
    """A time span."""
    try:
        span = float(word)
    except ValueError:
        span = -1
    if not 0 <= span < 1e6:
        raise argparse.ArgumentTypeError(f"expected a number of seconds, not {word!r}")
    return span


def address(word: str) -> tuple[str, int]:
    """Where to listen: `host:port`, `[::1]:port`, or `:port` for all addresses."""
    host, colon, port = word.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, not {word!r}")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)  # noqa: S104


def count(word: str) -> int:
    """A number of 0 or more."""
    if not (word.isascii() and word.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a number, not {word!r}")
    return int(word)


def listed(word: str) -> list[str]:
    """Names between commas."""
    return [name for name in word.split(",") if name]


def installed_version() -> str:
    """The version of the package."""
    try:
        return version("dirty-streams")
    except PackageNotFoundError:
        return "unknown"


def parser() -> argparse.ArgumentParser:
    """All commands."""
    common = argparse.ArgumentParser(add_help=False)
    server = common.add_argument_group("server")
    server.add_argument(
        "--redis",
        metavar="URL",
        default=os.environ.get("REDIS_URL") or "redis://localhost:6379",
        help="default: $REDIS_URL, or redis://localhost:6379",
    )
    server.add_argument("--cluster", action="store_true", help="the URL is a node of a cluster")
    common.add_argument("--color", choices=("auto", "always", "never"), default="auto")

    root = Parser(
        prog="dirty",
        description="Looks at Dirty Streams, and keeps Redis in sync with a table.",
        epilog="Exit codes: 0 done, in sync; 1 something differs; 2 an error.",
    )
    root.add_argument("--version", action="version", version=f"dirty {installed_version()}")
    commands = root.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: str, text: str, **options: Any) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = options.pop("under", commands).add_parser(
            name, help=text, description=text, parents=[common], **options
        )
        made.set_defaults(run=run)
        return made

    add_sync(command("sync", "sync", "Seeds, checks or repairs the entities of a table."))
    add_watch(command("watch", "watch", "Shows events as they come."))
    add_stats(command("stats", "stats", "Shows all streams and their readers."))
    add_exporter(
        command("exporter", "exporter", "Serves metrics of streams and readers to Prometheus.")
    )
    add_pending(command("pending", "pending", "Lists what a group has not finished."))
    text = "Lists, redrives or discards dead events."
    dead = commands.add_parser("dead", help=text, description=text)
    under = dead.add_subparsers(metavar="ACTION", required=True)
    add_dead(command("list", "dead_list", "Lists dead events, the oldest first.", under=under))
    text = "Gives dead events to their group again."
    add_selector(command("redrive", "redrive", text, under=under), "GROUP")
    text = "Removes dead events for good."
    discard = command("discard", "discard", text, under=under)
    add_selector(discard, "READER")
    discard.add_argument("--yes", action="store_true", help="ask nothing")
    return root


def add_sync(made: argparse.ArgumentParser) -> None:
    """`dirty sync`."""
    made.add_argument("--db", metavar="URL", required=True, help="an SQLAlchemy URL")
    made.add_argument("--table", metavar="NAME", required=True, help="a table or view; schema.name")
    made.add_argument("--key", metavar="KEY", help="the declaration's key; default: the table")
    made.add_argument("--partitions", metavar="N", type=positive, help="of KEY{0} … KEY{N-1}")

    what = made.add_argument_group("what to do")
    modes = what.add_mutually_exclusive_group()
    modes.add_argument("--check", action="store_true", help="say how much differs; the default")
    modes.add_argument("--seed", action="store_true", help="store all rows, publish nothing")
    modes.add_argument("--repair", action="store_true", help="make Redis equal to the table")
    what.add_argument(
        "--max-delete",
        metavar="N|N%",
        help="how many entities --repair may delete; default: the larger of 10 and 1%%",
    )
    what.add_argument("--force", action="store_true", help="whatever the versions of VERSION say")
    what.add_argument(
        "--declare",
        action="store_true",
        help="print a declaration for the table; with --seed or --repair, declare if nothing is",
    )
    what.add_argument(
        "--stream", metavar="NAME", action="append", default=[], help="of --declare; KEY-changes"
    )
    what.add_argument(
        "--wait",
        metavar="SECONDS",
        type=seconds,
        default=1.0,
        help="how long --check waits for what differs to become the same; default 1",
    )

    rows = made.add_argument_group("rows")
    rows.add_argument(
        "--id", metavar="COLUMN", type=listed, default=[], help="default: the primary key"
    )
    rows.add_argument("--separator", metavar="TEXT", default="-", help="between several columns")
    rows.add_argument(
        "--id-field",
        action=argparse.BooleanOptionalAction,
        help="whether the id's column is a field, too; default: as in the stored entities",
    )
    rows.add_argument(
        "--columns", metavar="NAMES", type=listed, default=[], help="name, or field=column"
    )
    rows.add_argument("--exclude", metavar="NAMES", type=listed, default=[], help="columns")
    rows.add_argument("--where", metavar="SQL", help="only these rows are entities")
    rows.add_argument(
        "--zone", metavar="ZONE", default="UTC", help="of times that have none; default UTC"
    )
    add_shown(made)


def add_streams(made: argparse.ArgumentParser) -> None:
    """Which streams, found if none is named."""
    made.add_argument(
        "streams", metavar="STREAM", nargs="*", help="'user-changes*' for several; default: all"
    )


def add_shown(made: argparse.ArgumentParser, *, json: str = "print JSON") -> None:
    """How it is printed."""
    made.add_argument("--json", action="store_true", help=json)
    made.add_argument("--full", action="store_true", help="shorten no values")


def add_watch(made: argparse.ArgumentParser) -> None:
    """`dirty watch`."""
    add_streams(made)
    made.add_argument(
        "--from",
        dest="start",
        metavar="START",
        default="$",
        help="0, an event's id, a time in ms; default $, which is now",
    )
    made.add_argument("--once", action="store_true", help="end when all is read")
    made.add_argument("--count", metavar="N", type=positive, help="end after so many events")
    only = made.add_argument_group("only events")
    only.add_argument("--entity", metavar="NAME", help="of this entity type")
    only.add_argument("--id", metavar="ID", action="append", help="of this entity; several times")
    only.add_argument("--ops", metavar="IUD", help="inserts, updates, deletes")
    only.add_argument("--field", metavar="NAME", action="append", help="updates of this field")
    add_shown(made, json="print one JSON object a line")


def add_stats(made: argparse.ArgumentParser) -> None:
    """`dirty stats`."""
    add_streams(made)
    made.add_argument("--once", action="store_true", help="print it once")
    made.add_argument("--interval", metavar="SECONDS", type=seconds, default=2.0)
    made.add_argument("--json", action="store_true", help="print one JSON object a stream")


def add_exporter(made: argparse.ArgumentParser) -> None:
    """`dirty exporter`."""
    add_streams(made)
    made.add_argument(
        "--key", metavar="KEY", action="append", default=[], help="a declaration; default: all"
    )
    made.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=address,
        default=("127.0.0.1", 10121),
        help="default 127.0.0.1:10121",
    )
    made.add_argument(
        "--interval",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="how often streams are looked up by SCAN; default 60",
    )
    made.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=4.0,
        help="how long a scrape waits for Redis; default 4",
    )
    made.add_argument(
        "--consumers",
        metavar="N",
        type=count,
        default=20,
        help="how many consumers of a group have metrics of their own; default 20",
    )


def add_dead(made: argparse.ArgumentParser) -> None:
    """`dirty dead list`."""
    made.add_argument("stream", metavar="STREAM")
    made.add_argument("reader", metavar="READER", nargs="?", help="a group or cursor; default: all")
    made.add_argument("--count", metavar="N", type=positive, help="at most so many")
    add_shown(made, json="print one JSON object a line")


def add_selector(made: argparse.ArgumentParser, reader: str) -> None:
    """Which dead events."""
    made.add_argument("stream", metavar="STREAM")
    made.add_argument("reader", metavar=reader)
    which = made.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", metavar="ID", nargs="*", default=[], help="ids of events")
    which.add_argument("--all", action="store_true")
    which.add_argument("--entity", nargs=2, metavar=("NAME", "ID"))
    which.add_argument("--meta", metavar="VALUE", help="of a group with ORDER META")


def add_pending(made: argparse.ArgumentParser) -> None:
    """`dirty pending`."""
    made.add_argument("stream", metavar="STREAM")
    made.add_argument("group", metavar="GROUP")
    made.add_argument("--consumer", metavar="NAME", help="only what it holds")
    made.add_argument("--count", metavar="N", type=positive, default=1000, help="default 1000")
    add_shown(made, json="print one JSON object a line")
