"""Real servers for the tests: $REDIS_SERVER (redis-server) with the module $DIRTY_MODULE."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

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
        for _ in range(400):
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
def raw(server: Server) -> Iterator[redis.Redis]:
    """A client of redis-py."""
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def client(raw: redis.Redis) -> Client:
    """Our client."""
    return Client(raw)
