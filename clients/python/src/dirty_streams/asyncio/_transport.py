"""The exchange of commands with the servers of redis-py, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any

from redis import asyncio as redis
from redis.exceptions import (
    AskError,
    ConnectionError,  # noqa: A004
    MovedError,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
    TimeoutError,  # noqa: A004
    TryAgainError,
)

from .._connections import NAMED, REDIRECTIONS, RETRIES, TRY_AGAIN, demoted, late

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._commands import Command


async def replies(
    client: redis.Redis | redis.RedisCluster, commands: Sequence[Command[Any]]
) -> list[Any]:
    """The replies to commands, errors among them."""
    if isinstance(client, redis.RedisCluster):
        return await _Cluster(client).replies(commands)
    await client.initialize()
    connection: Any = client.connection
    if connection is not None:
        async with client._single_conn_lock:
            return await _sent(connection, commands)
    pool: Any = client.connection_pool
    connection = await pool.get_connection(*NAMED)
    try:
        return await _sent(connection, commands)
    finally:
        await pool.release(connection)


async def _sent(connection: Any, commands: Sequence[Command[Any]]) -> list[Any]:
    if any(command.once for command in commands):
        return await _exchanged(connection, commands)
    told: list[Any] = await connection.retry.call_with_retry(
        lambda: _exchanged(connection, commands), lambda _: connection.disconnect(nowait=True)
    )
    return told


async def _exchanged(
    connection: Any, commands: Sequence[Command[Any]], *, asking: bool = False
) -> list[Any]:
    try:
        if asking:
            await connection.send_command("ASKING")
            await connection.read_response()
        if len(commands) == 1:
            await connection.send_command(*commands[0].words)
        else:
            packed = connection.pack_commands([command.words for command in commands])
            await connection.send_packed_command(packed)
        told = [await _reply(connection, command) for command in commands]
    except BaseException:
        # There may be replies that nobody has read.
        await connection.disconnect(nowait=True)
        raise
    if any(map(demoted, told)):
        await connection.disconnect(nowait=True)
    return told


async def _reply(connection: Any, command: Command[Any]) -> Any:
    timeout = None
    if command.block is not None:
        timeout = late(connection, command.block)
        timeout = math.inf if timeout is None else timeout
    try:
        return await connection.read_response(disable_decoding=True, timeout=timeout)
    except ResponseError as error:
        return error


class _Cluster:
    """Commands to the nodes of a cluster."""

    def __init__(self, cluster: redis.RedisCluster) -> None:
        # redis-py leaves some of its methods without types, in some of its releases.
        self._cluster: Any = cluster

    async def replies(self, commands: Sequence[Command[Any]]) -> list[Any]:
        await self._cluster.initialize()
        if len(commands) == 1:
            return [await self._reply(commands[0])]
        by_node: dict[str, list[int]] = {}
        nodes: dict[str, Any] = {}
        for index, command in enumerate(commands):
            node = await self._node_of(command)
            nodes[node.name] = node
            by_node.setdefault(node.name, []).append(index)
        made: list[Any] = [None] * len(commands)
        await asyncio.gather(
            *(self._at_once(nodes[name], commands, made, by_node[name]) for name in by_node)
        )
        return made

    async def _at_once(
        self, node: Any, commands: Sequence[Command[Any]], made: list[Any], indexes: list[int]
    ) -> None:
        """Puts the replies to these commands, which belong to a node, where they belong."""
        try:
            told = await self._at(node, [commands[index] for index in indexes])
        except (ConnectionError, TimeoutError):
            if any(commands[index].once for index in indexes):
                raise
            told = [None] * len(indexes)
        for index, reply in zip(indexes, told, strict=True):
            lost = reply is None or isinstance(reply, (MovedError, AskError, TryAgainError))
            made[index] = await self._reply(commands[index], reply) if lost else reply

    async def _at(
        self, node: Any, commands: Sequence[Command[Any]], *, asking: bool = False
    ) -> list[Any]:
        connection = node.acquire_connection()
        try:
            return await _exchanged(connection, commands, asking=asking)
        finally:
            if hasattr(node, "release"):
                node.release(connection)
            else:
                node._free.append(connection)

    async def _reply(self, command: Command[Any], reply: Any = None) -> Any:
        """The reply to a command, which may have been redirected already."""
        node: Any = None
        asking = False
        lost = 0
        for _ in range(REDIRECTIONS):
            if isinstance(reply, MovedError):
                node, asking = await self._moved(command, reply), False
            elif isinstance(reply, AskError):
                node, asking = await self._node(reply), True
            elif isinstance(reply, TryAgainError):
                await asyncio.sleep(TRY_AGAIN)
            elif reply is not None:
                break
            try:
                to = node or await self._node_of(command)
                (reply,) = await self._at(to, [command], asking=asking)
            except (ConnectionError, TimeoutError):
                await self._renewed()
                lost += 1
                if command.once or lost > RETRIES:
                    raise
                reply, node, asking = None, None, False
                await asyncio.sleep(TRY_AGAIN * 2**lost)
        return reply

    async def _node_of(self, command: Command[Any]) -> Any:
        try:
            return self._cluster.get_node_from_key(command.key)
        except SlotNotCoveredError:
            await self._renewed()
            return self._cluster.get_node_from_key(command.key)

    async def _moved(self, command: Command[Any], error: MovedError) -> Any:
        """The node to which a slot has moved. Another command may have told of it already."""
        node = await self._node_of(command)
        if (node.host, node.port) == (error.host, error.port):
            return node
        await self._cluster.nodes_manager.initialize()
        return await self._node(error)

    async def _node(self, error: AskError) -> Any:
        node = self._cluster.get_node(host=error.host, port=error.port)
        if node is None:
            await self._cluster.nodes_manager.initialize()
            node = self._cluster.get_node(host=error.host, port=error.port)
        return node

    async def _renewed(self) -> None:
        """Asks the nodes who has which slots, unless none of them answers."""
        with contextlib.suppress(RedisError):
            await self._cluster.nodes_manager.initialize()
