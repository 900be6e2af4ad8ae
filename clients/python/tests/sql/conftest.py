"""Databases: PostgreSQL, which is started here on the loopback, and SQLite."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from conftest import free_port

from . import models

FOUND = sorted(
    Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3])
)
BINARIES = Path(
    os.environ.get("POSTGRES_BIN", FOUND[-1].parent if FOUND else "/usr/lib/postgresql/15/bin")
)


MISSING = f"there is no {BINARIES}/postgres: install postgresql, or set POSTGRES_BIN"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says aloud that half of the tests did not run."""
    if not (BINARIES / "postgres").exists():
        terminalreporter.write_line(
            f"NOTHING WAS TESTED ON POSTGRESQL: {MISSING}", red=True, bold=True
        )


class Postgres:
    """A server of PostgreSQL in a folder of its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        # It does not run as root.
        self.user: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self.user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._call(
            "initdb",
            "-D",
            str(self.folder / "data"),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "-N",
        )

    def _call(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [str(BINARIES / program), *words],
            capture_output=True,
            cwd=self.folder,
            check=False,
            **self.user,
        )
        assert done.returncode == 0, done.stderr.decode()

    def start(self, *, fsync: bool = False) -> None:
        # It ends with the tests, also if those are killed.
        words = ["setpriv", "--pdeathsig", "INT", "--"] if shutil.which("setpriv") else []
        words += [str(BINARIES / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        for setting in (
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            f"fsync={'on' if fsync else 'off'}",
        ):
            words += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                words, stdout=log, stderr=log, cwd=self.folder, **self.user
            )
        engine = create_engine(self.url("postgres"))
        for _ in range(200):
            assert self.process.poll() is None, (self.folder / "log").read_text()
            try:
                engine.connect().close()
                break
            except OperationalError:
                time.sleep(0.05)
        engine.dispose()

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # fast: it disconnects all clients
            self.process.wait()
            self.process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if not (BINARIES / "postgres").exists():
        pytest.skip(MISSING)
    server = Postgres()
    server.start()
    yield server
    server.remove()


_numbers = itertools.count()


def new_database(postgres: Postgres) -> str:
    """The URL of an empty database."""
    name = f"test_{next(_numbers)}"
    engine = create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return postgres.url(name)


@pytest.fixture(scope="session")
def emptied(postgres: Postgres) -> str:
    """The URL of a database whose tables are emptied for each test."""
    return new_database(postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/app.db"
    found: str = request.getfixturevalue("emptied")
    return found


def engine_of(url: str) -> Engine:
    """An engine; SQLite enforces foreign keys and waits for other writers."""
    if not url.startswith("sqlite"):
        return create_engine(url)
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")

    return engine


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The tables, empty."""
    engine = engine_of(url)
    models.Base.metadata.create_all(engine)
    if engine.dialect.name == "postgresql":
        names = ", ".join(models.Base.metadata.tables)
        with engine.begin() as connection:
            models.marks.drop_triggers(connection)
            connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    """Sessions that mark."""
    maker = sessionmaker(engine)
    models.marks.listen(maker)
    return maker
