"""The tool as a user runs it: a process, of which only the output and the exit code are looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from conftest import Cluster, Server
from sql.conftest import new_database
from sql.conftest import postgres as postgres  # noqa: PLC0414 - a fixture

COMMAND = (sys.executable, "-m", "dirty_streams.cli")


@dataclass
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass
class Tool:
    """Runs `dirty`."""

    url: str
    options: tuple[str, ...] = ()
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *words: str | bytes, **options: Any) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "REDIS_URL": self.url, "PYTHONUNBUFFERED": ""}
        environment.pop("COLUMNS", None)
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(
            [*COMMAND, *words, *self.options], env=environment, start_new_session=True, **options
        )
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes], timeout: float = 120) -> Ended:
        out, err = process.communicate(timeout=timeout)
        return Ended(process.returncode, out.decode(), err.decode())

    def run(self, *words: str | bytes, **options: Any) -> Ended:
        return self.end(self.start(*words, **options))

    def ok(self, *words: str | bytes) -> list[str]:
        """The lines of a command that succeeds and says nothing else."""
        ended = self.run(*words)
        assert (ended.code, ended.err) == (0, ""), ended
        return ended.lines

    def kill_all(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def tool(server: Server) -> Iterator[Tool]:
    made = Tool(server.url)
    yield made
    made.kill_all()


@pytest.fixture
def cluster_tool(cluster: Cluster) -> Iterator[Tool]:
    made = Tool(cluster.servers[0].url, ("--cluster",))
    yield made
    made.kill_all()


@dataclass
class Database:
    """A database of the application."""

    url: str
    engine: sa.Engine

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        marks = ", ".join(f":{n}" for n in range(len(rows[0])))
        with self.engine.begin() as connection:
            connection.execute(
                sa.text(f"INSERT INTO {table} VALUES ({marks})"),
                [{str(n): value for n, value in enumerate(row)} for row in rows],
            )


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/app.db"
    (tmp_path / "app.db").touch()
    engine = sa.create_engine(url)
    yield Database(url, engine)
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database of each kind, empty."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite")
        return
    url = new_database(request.getfixturevalue("postgres"))
    engine = sa.create_engine(url)
    yield Database(url, engine)
    engine.dispose()
