"""The server or cluster that the tool talks to, by bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import (
    AuthenticationError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from .._commands import Command
from .._replies import mapping
from .._words import text
from ..client import Client
from ._output import Failure
from ._text import decoded, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .._words import Name

Argument = str | bytes | int

TIMEOUTS = {"socket_connect_timeout": 10, "socket_timeout": 60}
"""Of redis-py's connections."""


class Server:
    """Sends commands. Errors of the module come as its classes."""

    def __init__(
        self,
        url: str,
        *,
        cluster: bool = False,
        db: int | None = None,
        options: Mapping[str, Any] = TIMEOUTS,
    ) -> None:
        self.url = url
        self.cluster = cluster
        self._db = db
        self._options = options
        self._others: dict[int, Server] = {}
        try:
            kind: Any = redis.RedisCluster if cluster else redis.Redis
            self.redis = kind.from_url(url, **options)
            if not cluster and db is not None:
                self.redis.connection_pool.connection_kwargs["db"] = db
            self._client = Client(self.redis)
        except (ValueError, TypeError) as error:
            raise Failure(f"--redis takes a URL such as redis://localhost:6379: {error}") from None
        except (RedisError, RedisClusterException, OSError) as error:
            raise unreachable(error) from None

    def again(self) -> Server:
        """The same by connections of its own."""
        return Server(self.url, cluster=self.cluster, db=self._db, options=self._options)

    def at(self, db: int | None) -> Server:
        """The same in another logical database."""
        if db is None or self.cluster:
            return self
        if db not in self._others:
            self._others[db] = Server(self.url, db=db, options=self._options)
        return self._others[db]

    def close(self) -> None:
        """Closes all connections."""
        for other in self._others.values():
            other.close()
        self.redis.close()

    def call(self, *words: Argument, block: float | None = None) -> Any:
        """One command; the server may wait `block` seconds before it replies."""
        return self._client.execute(command(words, block))

    def pipelined(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        """Several commands at once. The errors of commands are among the replies."""
        return self._client.execute_all([command(words) for words in commands])

    def info(self, key: Name) -> dict[str, Any]:
        """The declaration of a key."""
        return mapping(self.call("DIRTY.INFO", key))

    def keys_of_type(self, kind: str) -> Iterator[Name]:
        """All keys of a type, sorted; in a cluster those of all nodes."""
        found: set[Name] = set(self.redis.scan_iter(count=1000, _type=kind))
        yield from sorted((text(key) for key in found), key=decoded)


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


def command(words: Sequence[Argument], block: float | None = None) -> Command[Any]:
    """A command whose value is its reply."""
    sent = tuple(
        word
        if isinstance(word, bytes)
        else word.encode("utf-8", "surrogateescape")
        if isinstance(word, str)
        else b"%d" % word
        for word in words
    )
    return Command(sent, lambda reply: reply, block=block)
