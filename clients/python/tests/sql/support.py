"""What Redis has, and what its events say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from dirty_streams import Client, Entity, Op
from dirty_streams.sqlalchemy import Relay

from .models import marks

TESTS = Path(__file__).resolve().parents[1]


def stored(client: Client, entity: Entity) -> dict[str, dict[str, Any]]:
    """The entities in Redis, without the version of their marks."""
    return {str(id_): without_mark(fields) for id_, fields in client.scan(entity)}


def without_mark(fields: Any) -> dict[str, Any]:
    """Fields that are not null, without the number of the mark."""
    return {name: value for name, value in fields.items() if value is not None and name != "mark"}


def rows(engine: Engine, model: type[Any], index: int = 0) -> dict[str, dict[str, Any]]:
    """The rows as the entities that they must be."""
    tracked = [each for each in marks.tracked if each.model is model][index]
    return {
        str(tracked.id_of(key)): without_mark(tracked.snapshot_of(row))
        for key, row in marks.objects(engine, tracked, page=100)
    }


def waiting(engine: Engine) -> int:
    """The number of marks."""
    with Session(engine) as session:
        return session.scalar(select(func.count()).select_from(marks.table)) or 0


def send_all(relay: Relay) -> None:
    """Sends what is marked, without what is refused."""
    relay.run(until_idle=True)


def told(client: Client, entity: Entity) -> dict[str, dict[str, Any]]:
    """The state that a reader of all events has at the end; each event must fit that before it."""
    state: dict[str, dict[str, Any]] = {}
    for stream in entity.streams:
        for key in stream.keys:
            position, more = "0", True
            while more:
                batch = client.read(key, position, limit=1000, entities=[entity])
                for event in batch.events:
                    known = state.pop(str(event.id), None)
                    before, after = without_mark(event.before), without_mark(event.after)
                    assert (event.op is Op.INSERT) == (known is None), event
                    assert known is None or before == known, (event, known)
                    if event.op is not Op.DELETE:
                        state[str(event.id)] = after
                position, more = batch.position or position, batch.more
    return state


class Relays:
    """Relays in processes of their own."""

    def __init__(self, url: str, port: int) -> None:
        self.words = [sys.executable, "-m", "sql.relay_program", url, str(port)]
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, place: int = 0) -> subprocess.Popen[str]:
        """A relay that has begun. It dies at a place, if one is given."""
        process = subprocess.Popen(
            [*self.words, str(place)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=TESTS,
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        return process

    def kill(self) -> None:
        """Ends those that are left."""
        for process in self.processes:
            process.kill()
            process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code of a process, and what it printed."""
    output, _ = process.communicate(timeout=60)
    return process.returncode, output
