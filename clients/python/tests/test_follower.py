"""Followers of a cursor, and readers that keep their position, against real servers."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import dirty_streams as ds
from conftest import Server
from workers import USERS, Proxy, client_of, step, update

STREAM, CURSOR = "user-changes", "directory"
FROM_SNAPSHOT = ds.SNAPSHOT(USERS)


def declare(client: ds.Client, start: object = FROM_SNAPSHOT) -> None:
    client.declare(USERS)
    client.cursor(STREAM, CURSOR, start=start)


def follow(client: ds.Client, **options: object) -> ds.Follower:
    options = {"block": 0.2, "signals": False, "until_idle": True, **options}
    return ds.Follower(client, STREAM, CURSOR, entities=[USERS], **options)  # type: ignore[arg-type]


class Copy:
    """A copy of all users, as a projection makes it."""

    def __init__(self) -> None:
        self.users: dict[int, object] = {}
        self._unnamed: set[int] = set()
        self.begins = 0

    def apply(self, batch: ds.Batch) -> None:
        if batch.begin:
            self.begins += 1
            self._unnamed = set(self.users)
        for event in batch:
            self._unnamed.discard(event.id)
            if event.op is ds.Op.DELETE:
                self.users.pop(event.id, None)
            else:
                state = event.after or {name: new for name, (_, new) in event.changes.items()}
                self.users[event.id] = state["n"]
        if batch.phase == "stream":
            for entity_id in self._unnamed:
                del self.users[entity_id]


def test_the_entities_come_first_and_then_what_changes(client: ds.Client) -> None:
    client.declare(USERS)
    update(client, *((n, n) for n in range(300)))
    declare(client)
    copy = Copy()
    for batch in follow(client, limit=50):
        if copy.begins == 0:
            update(client, (1, 1001), (500, 500))
            client.flush(USERS, ds.delete(2))
        copy.apply(batch)
    expected = {n: n for n in range(300)} | {1: 1001, 500: 500}
    del expected[2]
    assert copy.users == expected
    assert copy.begins == 1


def test_it_goes_on_from_its_last_acknowledgement(client: ds.Client) -> None:
    declare(client, "0")
    update(client, *((n, n) for n in range(10)))
    first: list[int] = []
    for batch in follow(client, limit=3):
        first += [event.id for event in batch]
        if len(first) == 6:
            break  # the second batch was not acknowledged: it may not have been applied
    again = [event.id for batch in follow(client, limit=3) for event in batch]
    assert (first, again) == (list(range(6)), list(range(3, 10)))
    assert list(follow(client)) == []


def test_an_exception_of_the_application_acknowledges_nothing(client: ds.Client) -> None:
    declare(client, "0")
    update(client, (1, 1))
    with pytest.raises(ZeroDivisionError):
        [1 / 0 for _ in follow(client)]
    assert len(list(follow(client))) == 1


def test_a_stop_acknowledges_the_last_batch(client: ds.Client) -> None:
    declare(client, "0")
    update(client, *((n, n) for n in range(5)))
    follower = follow(client, until_idle=False, limit=3)
    for batch in follower:
        assert [event.id for event in batch] == [0, 1, 2]
        follower.stop()
    assert [event.id for batch in follow(client) for event in batch] == [3, 4]


def test_after_missed_events_it_begins_again_with_the_entities(
    client: ds.Client, raw: redis.Redis
) -> None:
    declare(client)
    update(client, (1, 1), (2, 2))
    copy = Copy()
    for batch in follow(client, snapshot=FROM_SNAPSHOT):
        copy.apply(batch)
    client.flush(USERS, ds.delete(1))
    update(client, (2, 3), (3, 3))
    raw.xtrim(STREAM, maxlen=1, approximate=False)
    for batch in follow(client, snapshot=FROM_SNAPSHOT):
        copy.apply(batch)
    assert copy.users == {2: 3, 3: 3}
    assert copy.begins == 2


def test_missed_events_are_an_error_unless_somebody_takes_them(
    client: ds.Client, raw: redis.Redis
) -> None:
    declare(client, "0")
    update(client, *((n, n) for n in range(5)))
    raw.xtrim(STREAM, maxlen=2, approximate=False)
    for _ in range(2):  # it is not acknowledged, so nobody can overlook it
        with pytest.raises(ds.MissedError, match="3 events of 'user-changes' were lost") as told:
            next(iter(follow(client)))
        assert told.value.missed == 3
        assert [event.id for event in told.value.batch] == [3, 4]
    assert [(batch.missed, len(batch)) for batch in follow(client, take_missed=True)] == [(3, 2)]
    assert list(follow(client)) == []


def test_a_copy_in_memory_is_built_again_at_each_start(client: ds.Client) -> None:
    declare(client)
    update(client, (1, 1), (2, 2))
    for _ in range(2):
        copy = Copy()
        for batch in follow(client, snapshot=FROM_SNAPSHOT, rebuild=True):
            copy.apply(batch)
        assert copy.users == {1: 1, 2: 2}


def test_a_server_that_is_killed_loses_and_repeats_nothing(durable: Server) -> None:
    server = durable
    client = client_of(server.port)
    declare(client, "0")
    update(client, *((n % 3, n) for n in range(20)))
    seen: list[int] = []
    timers: list[threading.Timer] = []
    follower = follow(client_of(server.port), until_idle=False, limit=5)
    for batch in follower:
        seen += [step(event)[1] for event in batch]
        if len(seen) in {5, 15}:
            for timer in timers:
                timer.join()
            server.kill()
            timers.append(threading.Timer(0.1, server.start))
            timers[-1].start()
        if seen[-1] == 19:
            follower.stop()
    assert seen == list(range(20))
    timers[-1].join()


def test_a_lost_reply_repeats_nothing_that_is_acknowledged(server: Server) -> None:
    client = client_of(server.port)
    declare(client, "0")
    update(client, *((n, n) for n in range(9)))
    proxy = Proxy(server.port)
    seen: list[int] = []
    for batch in follow(client_of(proxy.port), limit=3):
        seen += [event.id for event in batch]
        if len(seen) == 3:
            proxy.lose_reply_to("DIRTY.CONSUME")
    assert seen == list(range(9))
    assert proxy.lost == 1
    proxy.close()


def test_without_its_cursor_it_ends(client: ds.Client) -> None:
    with pytest.raises(ds.NoReaderError):
        list(follow(client))


def test_a_signal_ends_the_iteration_after_the_batch_in_hand(server: Server) -> None:
    client = client_of(server.port)
    declare(client, "0")
    update(client, *((n, n) for n in range(4)))
    program = f"""
import time, redis, dirty_streams as ds
client = ds.Client(redis.Redis(port={server.port}))
follower = ds.Follower(client, "{STREAM}", "{CURSOR}", limit=2)
for batch in follower:
    print(*(event.id for event in batch), flush=True)
    while not follower.stopped:
        time.sleep(0.005)
print("end", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "0 1\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "end\n")
    assert [event.id for batch in follow(client) for event in batch] == [2, 3]


# A position that the application keeps.


class Table:
    """Rows, and the position that they have been read up to, in one database."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path)
        self._db.executescript(
            """
            CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, sum INTEGER);
            CREATE TABLE IF NOT EXISTS position AS SELECT '0' AS at;
            """
        )

    def close(self) -> None:
        self._db.close()

    @property
    def position(self) -> str:
        (position,) = self._db.execute("SELECT at FROM position").fetchone()
        return str(position)

    def rows(self) -> dict[int, int]:
        return dict(self._db.execute("SELECT id, sum FROM users"))

    def apply(self, batch: ds.Batch, crash: bool = False) -> None:
        with self._db:
            for event in batch:
                self._db.execute(
                    "INSERT INTO users VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET sum = sum + excluded.sum",
                    step(event),
                )
            if crash:
                raise ZeroDivisionError
            self._db.execute("UPDATE position SET at = ?", [batch.position])


def reading(client: ds.Client, position: object, **options: object) -> Iterator[ds.Batch]:
    options = {"block": 0.2, "until_idle": True, "signals": False, **options}
    return ds.read(client, STREAM, position, entities=[USERS], **options)  # type: ignore[arg-type]


def test_a_position_in_the_same_transaction_counts_each_event_once(
    client: ds.Client, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    client.declare(USERS)
    update(client, *((n % 3, n) for n in range(20)))
    for crash_at in (1, 3, None):
        table = Table(tmp_path / "users.db")
        request.addfinalizer(table.close)
        try:
            for number, batch in enumerate(reading(client, table.position, limit=4)):
                table.apply(batch, crash=number == crash_at)
        except ZeroDivisionError:
            pass
    assert table.rows() == {k: sum(range(k, 20, 3)) for k in range(3)}
    assert list(reading(client, table.position)) == []


def test_a_position_moves_past_what_the_filter_rejects(client: ds.Client) -> None:
    client.declare(USERS)
    update(client, (1, 1), (1, 2))
    (batch,) = reading(client, "0", where=ds.Where(ops="D"))
    assert batch.events == ()
    assert list(reading(client, batch.position, where=ds.Where(ops="D"))) == []


def test_from_the_end_it_gets_what_comes_after_it_began(client: ds.Client) -> None:
    client.declare(USERS)
    update(client, (1, 1))
    batches = reading(client, "$", until_idle=False)
    assert next(batches).events == ()  # where the stream ended, to be stored
    update(client, (1, 2))
    assert [step(event) for event in next(batches)] == [(1, 2)]


def test_a_reader_with_a_position_is_told_what_it_missed(
    client: ds.Client, raw: redis.Redis
) -> None:
    client.declare(USERS)
    update(client, *((n, n) for n in range(5)))
    first = next(reading(client, "0", limit=1)).position
    raw.xtrim(STREAM, maxlen=2, approximate=False)
    with pytest.raises(ds.MissedError) as told:
        list(reading(client, first))
    assert told.value.missed == 2
    assert [batch.missed for batch in reading(client, first, take_missed=True)] == [2]
    with pytest.raises(ds.NoPositionError):
        list(reading(client, "99999999999999-1/0"))
