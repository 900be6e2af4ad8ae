"""The exchange of commands with the servers of redis-py."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import (
    AskError,
    ConnectionError,  # noqa: A004
    MovedError,
    ResponseError,
    SlotNotCoveredError,
    TimeoutError,  # noqa: A004
    TryAgainError,
)

from ._connections import NAMED, REDIRECTIONS, RETRIES, TRY_AGAIN, demoted, late

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._commands import Command


def replies(
    client: redis.Redis | redis.RedisCluster, commands: Sequence[Command[Any]]
) -> list[Any]:
    """The replies to commands, errors among them."""
    if isinstance(client, redis.RedisCluster):
        return _Cluster(client).replies(commands)
    return _replies(client, commands)


def _replies(
    client: redis.Redis, commands: Sequence[Command[Any]], *, asking: bool = False
) -> list[Any]:
    """The replies of a server, errors among them."""
    connection: Any = client.connection
    if connection is not None:
        with getattr(client, "single_connection_lock", contextlib.nullcontext()):
            return _sent(connection, commands, asking=asking)
    pool = client.connection_pool
    connection = pool.get_connection(*NAMED)
    try:
        return _sent(connection, commands, asking=asking)
    finally:
        pool.release(connection)


def _sent(connection: Any, commands: Sequence[Command[Any]], *, asking: bool) -> list[Any]:
    if any(command.once for command in commands):
        return _exchanged(connection, commands, asking=asking)
    replies: list[Any] = connection.retry.call_with_retry(
        lambda: _exchanged(connection, commands, asking=asking),
        lambda _: connection.disconnect(),
    )
    return replies


def _exchanged(connection: Any, commands: Sequence[Command[Any]], *, asking: bool) -> list[Any]:
    try:
        if asking:
            connection.send_command("ASKING")
            connection.read_response()
        if len(commands) == 1:
            connection.send_command(*commands[0].words)
        else:
            packed = connection.pack_commands([command.words for command in commands])
            connection.send_packed_command(packed)
        told = [_reply(connection, command) for command in commands]
    except BaseException:
        # There may be replies that nobody has read.
        connection.disconnect()
        raise
    if any(map(demoted, told)):
        connection.disconnect()
    return told


def _reply(connection: Any, command: Command[Any]) -> Any:
    if command.block is not None and not connection.can_read(
        timeout=late(connection, command.block)
    ):
        raise TimeoutError("Timeout reading from socket")
    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


class _Cluster:
    """Commands to the nodes of a cluster."""

    def __init__(self, cluster: redis.RedisCluster) -> None:
        # redis-py leaves some of its methods without types, in some of its releases.
        self._cluster: Any = cluster

    def replies(self, commands: Sequence[Command[Any]]) -> list[Any]:
        if len(commands) == 1:
            return [self._reply(commands[0])]
        by_node: dict[str, list[int]] = {}
        nodes: dict[str, Any] = {}
        for index, command in enumerate(commands):
            node = self._node_of(command)
            nodes[node.name] = node
            by_node.setdefault(node.name, []).append(index)
        replies: list[Any] = [None] * len(commands)
        for name, indexes in by_node.items():
            try:
                told = self._at(nodes[name], [commands[index] for index in indexes])
            except (ConnectionError, TimeoutError):
                if any(commands[index].once for index in indexes):
                    raise
                told = [None] * len(indexes)
            for index, reply in zip(indexes, told, strict=True):
                lost = reply is None or isinstance(reply, (MovedError, AskError, TryAgainError))
                replies[index] = self._reply(commands[index], reply) if lost else reply
        return replies

    def _at(
        self, node: Any, commands: Sequence[Command[Any]], *, asking: bool = False
    ) -> list[Any]:
        return _replies(self._cluster.get_redis_connection(node), commands, asking=asking)

    def _reply(self, command: Command[Any], reply: Any = None) -> Any:
        """The reply to a command, which may have been redirected already."""
        node: Any = None
        asking = False
        lost = 0
        for _ in range(REDIRECTIONS):
            if isinstance(reply, MovedError):
                node, asking = self._moved(command, reply), False
            elif isinstance(reply, AskError):
                node, asking = self._node(reply), True
            elif isinstance(reply, TryAgainError):
                time.sleep(TRY_AGAIN)
            elif reply is not None:
                break
            try:
                to = node or self._node_of(command)
                (reply,) = self._at(to, [command], asking=asking)
            except (ConnectionError, TimeoutError):
                self._renewed()
                lost += 1
                if command.once or lost > RETRIES:
                    raise
                reply, node, asking = None, None, False
                time.sleep(TRY_AGAIN * 2**lost)
        return reply

    def _node_of(self, command: Command[Any]) -> Any:
        try:
            return self._cluster.get_node_from_key(command.key)
        except SlotNotCoveredError:
            self._renewed()
            return self._cluster.get_node_from_key(command.key)

    def _moved(self, command: Command[Any], error: MovedError) -> Any:
        """The node to which a slot has moved. Another command may have told of it already."""
        node = self._node_of(command)
        if (node.host, node.port) == (error.host, error.port):
            return node
        self._cluster.nodes_manager.initialize()
        return self._node(error)

    def _node(self, error: AskError) -> Any:
        node = self._cluster.get_node(host=error.host, port=error.port)
        if node is None:
            self._cluster.nodes_manager.initialize()
            node = self._cluster.get_node(host=error.host, port=error.port)
        return node

    def _renewed(self) -> None:
        """Asks the nodes who has which slots, unless none of them answers."""
        with contextlib.suppress(redis.RedisError):
            self._cluster.nodes_manager.initialize()
