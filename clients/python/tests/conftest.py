"""Real servers for the tests: $REDIS_SERVER (redis-server) with the module $DIRTY_MODULE."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from dirty_streams import Client

HERE = Path(__file__).resolve().parent
MODULE = Path(
    os.environ.get("DIRTY_MODULE", HERE.parents[2] / "target/release/libdirty_streams.so")
)
SERVER = os.environ.get("REDIS_SERVER", "redis-server")


def free_port() -> int:
    """A port that nobody listens on. In a cluster, the port 10000 above it is needed, too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            if port > 50000:
                continue
            try:
                second.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
            return port


class Server:
    """A server in a folder of its own. It can be killed and started again on the same port."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = Path(SERVER)
        command = str(program / "redis-server") if program.is_dir() else SERVER
        found = shutil.which(command)
        assert found, f"there is no {command}: set REDIS_SERVER"
        assert MODULE.exists(), f"there is no {MODULE}: set DIRTY_MODULE, or build the module"
        words = [found, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        words += ["--dir", str(self.folder), "--loadmodule", str(MODULE), *self.options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        client = self.client()
        for _ in range(2400):
            assert self.process.poll() is None, (self.folder / "log").read_text()
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.025)
        client.close()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def client(self, **options: object) -> redis.Redis:
        return redis.Redis(port=self.port, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(shared_server: Server) -> Server:
    """A server that is empty and that many tests share: they leave it running."""
    if shared_server.process is None:
        shared_server.start()
    client = shared_server.client()
    client.flushall()
    client.close()
    return shared_server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may kill, and start again with what its AOF has."""
    server = Server(tmp_path, "--appendonly", "yes")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Server]:
    """A server that forgets nothing when it is killed."""
    server = Server(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def raw(server: Server) -> Iterator[redis.Redis]:
    """A client of redis-py."""
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def client(raw: redis.Redis) -> Client:
    """Our client."""
    return Client(raw)


class Cluster:
    """Three primaries that share the slots; with a replica of the first, if that is wanted."""

    def __init__(self, folder: Path, *, replica: bool = False) -> None:
        self.servers = []
        for index in range(4 if replica else 3):
            node = folder / str(index)
            node.mkdir()
            options = (
                "--cluster-enabled yes --cluster-node-timeout 1500 --repl-diskless-sync-delay 0"
            )
            self.servers.append(Server(node, *options.split()))

    def start(self) -> None:
        bounds = (0, 5461, 10923, 16384)
        for index, server in enumerate(self.servers):
            server.start()
            client: Any = server.client()
            if index < 3:
                last = bounds[index + 1] - 1
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", bounds[index], last)
            for other in self.servers[:index]:
                client.cluster("MEET", "127.0.0.1", other.port)
            client.close()
        for server in self.servers:
            self.wait(
                server, {"cluster_state": "ok", "cluster_known_nodes": str(len(self.servers))}
            )
        for replica in self.servers[3:]:
            first, client = self.servers[0].client(), replica.client()
            client.cluster("REPLICATE", first.cluster("MYID"))
            while client.info("replication").get("master_link_status") != "up":
                time.sleep(0.05)
            first.close()
            client.close()

    def lose_the_first(self) -> None:
        """Kills the first server, once its replica has everything."""
        first = self.servers[0].client()
        told = first.info("replication")
        while told["slave0"]["offset"] != told["master_repl_offset"]:
            time.sleep(0.05)
            told = first.info("replication")
        first.close()
        self.servers[0].kill()

    @staticmethod
    def wait(server: Server, wanted: dict[str, str]) -> None:
        client = server.client()
        for _ in range(2400):
            told = client.cluster("INFO")
            if wanted.items() <= told.items():
                client.close()
                return
            time.sleep(0.025)
        raise AssertionError(told)

    def kill(self) -> None:
        for server in self.servers:
            server.kill()

    def client(self, **options: object) -> redis.RedisCluster:
        port = self.servers[0].port
        return redis.RedisCluster(host="127.0.0.1", port=port, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """A cluster that is empty and that many tests share."""
    for server in shared_cluster.servers:
        client = server.client()
        client.flushall()
        client.close()
    return shared_cluster


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with a replica of the first server, which a test may kill."""
    cluster = Cluster(tmp_path, replica=True)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


class Lossy:
    """A way to a server on which replies are lost: the connection is closed instead of the reply to a command."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.words: list[bytes] = []
        """Replies to requests with these words are lost, each once."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Its thread ends, too.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            near,
            socket.create_connection(("127.0.0.1", self.target)) as far,
        ):
            while request := near.recv(1 << 20):
                far.sendall(request)
                reply = far.recv(1 << 20)
                lost = next((word for word in self.words if word in request), None)
                if lost is not None:
                    self.words.remove(lost)
                    return
                near.sendall(reply)


@pytest.fixture
def lossy(server: Server) -> Iterator[Lossy]:
    """A way to the server on which replies are lost."""
    way = Lossy(server.port)
    yield way
    way.close()
