"""The server or cluster that the tool talks to, by bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

import redis
from redis.exceptions import (
    AuthenticationError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as LostConnectionError,
)
from redis.exceptions import (
    TimeoutError as ReplyTimeoutError,
)

from .._replies import mapping
from .._words import text
from ..errors import typed
from ._output import Failure
from ._text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .._words import Name, Word

Client = Union["redis.Redis[bytes]", Any]
Argument = Union[str, bytes, int]

OUTAGES = (LostConnectionError, ReplyTimeoutError, OSError)
OUTAGE_CODES = frozenset(
    {"LOADING", "CLUSTERDOWN", "TRYAGAIN", "UNBLOCKED", "MASTERDOWN", "READONLY", "BUSY"}
)


class Server:
    """Sends commands. Errors of the module come as its classes."""

    def __init__(self, url: str, *, cluster: bool = False, db: int | None = None) -> None:
        self.url = url
        self.cluster = cluster
        self._db = db
        self._others: dict[int, Server] = {}
        options: dict[str, Any] = {
            "decode_responses": False,
            "socket_connect_timeout": 10,
            "socket_timeout": 60,
        }
        try:
            kind = redis.RedisCluster if cluster else redis.Redis
            self.client: Client = kind.from_url(url, **options)
            if not cluster:
                known = self.client.connection_pool.connection_kwargs
                known["decode_responses"] = False  # the URL may say otherwise
                if db is not None:
                    known["db"] = db
        except (ValueError, TypeError) as error:
            raise Failure(f"--redis takes a URL such as redis://localhost:6379: {error}") from None
        except (RedisError, OSError) as error:
            raise unreachable(error) from None

    def again(self) -> Server:
        """The same by connections of its own."""
        return Server(self.url, cluster=self.cluster, db=self._db)

    def at(self, db: int | None) -> Server:
        """The same in another logical database."""
        if db is None or self.cluster:
            return self
        if db not in self._others:
            self._others[db] = Server(self.url, db=db)
        return self._others[db]

    def close(self) -> None:
        """Closes all connections."""
        for other in self._others.values():
            other.close()
        self.client.close()

    def call(self, *words: Argument, **options: Any) -> Any:
        """One command."""
        try:
            return self.client.execute_command(*words, **options)
        except ResponseError as error:
            raise typed(error) from None

    def pipelined(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        """Several commands at once. The errors of commands are among the replies."""
        pipeline = self.client.pipeline() if self.cluster else self.client.pipeline(False)
        for words in commands:
            pipeline.execute_command(*words)
        replies = pipeline.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
                raise reply
        return [typed(reply) if isinstance(reply, ResponseError) else reply for reply in replies]

    def info(self, key: Name) -> dict[str, Any]:
        """The declaration of a key."""
        return mapping(self.call("DIRTY.INFO", key))

    def keys_of_type(self, kind: str) -> Iterator[Name]:
        """All keys of a type, sorted; in a cluster those of all nodes."""
        found: set[Word] = set(self.client.scan_iter(count=1000, _type=kind))
        for key in sorted(found):
            yield text(key)


def unreachable(error: Exception) -> Failure:
    """Redis cannot be reached: why, without the URL, which may hold a password."""
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, AuthenticationError):
        return Failure(f"Redis: {plain(words)}")
    if isinstance(error, RedisClusterException):
        return Failure(f"Redis: {plain(words)} (without --cluster for a single server)")
    return Failure(f"no connection to Redis: {plain(words)}")


def refused(error: ResponseError) -> Failure:
    """An error of a command."""
    words = " ".join(str(error).split())
    if words.lower().startswith("unknown command"):
        return Failure("the server has not loaded the module of Dirty Streams")
    if words.startswith("MOVED "):
        return Failure("this server is a node of a cluster: use --cluster")
    return Failure(plain(words))


def is_outage(error: Exception) -> bool:
    """Whether it helps to wait."""
    if isinstance(error, AuthenticationError):
        return False
    return isinstance(error, OUTAGES) or str(error).partition(" ")[0] in OUTAGE_CODES
