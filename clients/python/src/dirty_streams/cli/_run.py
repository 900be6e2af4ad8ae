"""Runs a command, and turns errors into one line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from redis.exceptions import RedisClusterException, RedisError, ResponseError

from . import _dead, _options, _stats, _watch
from ._output import Failure, Output, leave_quietly
from ._server import Server, refused, unreachable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

ERROR = 2
COLORS = {"auto": None, "always": True, "never": False}


@contextmanager
def needed(library: str, extra: str) -> Iterator[None]:
    """Says which extra brings a library that is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == library:
            install = f"pip install 'dirty-streams[{extra}]'"
            raise Failure(f"{library} is missing: {install}") from None
        raise


def sync(options: argparse.Namespace, server: Server, output: Output) -> int:
    """The others need no SQLAlchemy, which takes its time."""
    with needed("sqlalchemy", "cli"):
        from ._sync import sync as run_sync  # noqa: PLC0415
    return run_sync(options, server, output)


COMMANDS: dict[str, Callable[[argparse.Namespace, Server, Output], int]] = {
    "sync": sync,
    "watch": _watch.watch,
    "stats": _stats.stats,
    "pending": _dead.pending,
    "dead_list": _dead.dead_list,
    "redrive": _dead.redrive,
    "discard": _dead.discard,
}


def run(arguments: Sequence[str]) -> int:
    """The exit code."""
    output = Output()
    try:
        options = _options.parser().parse_args(arguments)
        output = Output(COLORS[options.color])
        serve = exporter if options.run == "exporter" else with_server
        code = serve(options, output)
        output.flush()
    except BrokenPipeError:
        leave_quietly()
    except Failure as error:
        output.error(str(error))
    except ResponseError as error:
        output.error(str(refused(error)))
    except (RedisError, RedisClusterException, OSError) as error:
        output.error(str(unreachable(error)))
    else:
        return code
    return ERROR


def exporter(options: argparse.Namespace, output: Output) -> int:
    """It needs a library that the others do not, and no server when it begins."""
    with needed("prometheus_client", "exporter"):
        from ._exporter import exporter as run_exporter  # noqa: PLC0415
    return run_exporter(options, output)


def with_server(options: argparse.Namespace, output: Output) -> int:
    """Runs the command of the options."""
    server = Server(options.redis, cluster=options.cluster)
    try:
        return COMMANDS[options.run](options, server, output)
    except KeyboardInterrupt:
        if options.run not in ("watch", "stats"):
            raise
        output.flush()
        return 0  # that is how they end
    finally:
        server.close()
