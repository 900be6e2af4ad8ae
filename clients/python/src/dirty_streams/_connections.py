"""How commands reach the servers: one exchange on a connection of redis-py, and the redirections of clusters.

redis-py's own `execute_command` is not used. It decodes replies as its client was told to, sends a command again whose
reply is lost, limits the wait for a reply to its time-out, and asks a cluster with COMMAND GETKEYS for each key.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError

from .errors import typed

GRACE = 10.0
"""How many seconds a reply may come later than BLOCK, where the connection has no time-out of its own."""

REDIRECTIONS = 16
"""How many redirections of a cluster are followed for one command."""

TRY_AGAIN = 0.05
"""How many seconds pass before a command is sent again that got TRYAGAIN."""

RETRIES = 3
"""How often a command that may be repeated is sent again in a cluster after its node is lost."""

NAMED: tuple[str, ...] = ("_",) if redis.VERSION < (5, 3) else ()
"""What a pool's `get_connection` wants."""


def late(connection: Any, block: float) -> float | None:
    """How many seconds a reply may take that BLOCK delays; None is for ever."""
    timeout = getattr(connection, "socket_timeout", None)
    return None if block == 0 else block + (GRACE if timeout is None else float(timeout))


def checked(reply: Any) -> Any:
    """A reply, unless it is an error."""
    if isinstance(reply, ResponseError):
        raise typed(reply)
    return reply


def demoted(reply: Any) -> bool:
    """Whether the connection leads to a server that is a replica now.

    The address may belong to another server by now, so it must be looked up again.
    """
    return isinstance(reply, (MasterDownError, ReadOnlyError)) or (
        isinstance(reply, ResponseError) and str(reply).startswith("UNBLOCKED")
    )
