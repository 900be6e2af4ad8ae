"""`dirty sync`: what differs is found and mended, and nothing is half done."""

from __future__ import annotations

import binascii
import datetime as dt
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from conftest import Server
from dirty_streams import Client, Entity, snapshot

from .conftest import COMMAND, Database, Tool

TABLE = """CREATE TABLE users (
    id integer PRIMARY KEY, name text NOT NULL, email text, age integer, score double precision,
    balance numeric(10,2), vip boolean, born date, created timestamp, data {json}, seen {timestamptz}
)"""
TYPES = {
    "sqlite": {"json": "json", "timestamptz": "text"},
    "postgresql": {"json": "jsonb", "timestamptz": "timestamptz"},
}


def user(number: int) -> tuple[object, ...]:
    return (
        number,
        f"Näme {number}",
        f"u{number}@example.com" if number % 3 else None,
        number % 90,
        number / 8,
        number * 1.25,
        bool(number % 2),
        "1990-01-02",
        f"2026-01-02 03:04:{number % 60:02d}.500000",
        '{"a": [1.0, "x"]}',
        "2026-01-02T04:04:05+01:00",
    )


def users(database: Database, count: int = 300) -> None:
    kind = database.engine.dialect.name
    database.run(TABLE.format(**TYPES[kind]))
    database.insert("users", [user(number) for number in range(1, count + 1)])


def options(database: Database, *more: str) -> tuple[str, ...]:
    return ("sync", "--db", database.url, "--table", "users", "--key", "user", *more)


def seeded(tool: Tool, database: Database) -> None:
    ended = tool.run(*options(database, "--declare", "--seed"))
    assert ended.code == 0, ended


def plant(raw: Any, database: Database) -> None:
    """Each way in which the two can differ."""
    raw.hset("user:7", mapping={"name": "Mallory", "age": "99"})
    raw.hdel("user:10", "email")
    raw.hset("user:12", "nickname", "Zoe")
    raw.delete("user:11")
    raw.hset("user:301", "name", "Ghost")
    raw.hset("user:7:sessions", "s1", "open")
    database.run(
        "INSERT INTO users (id, name) VALUES (1000, 'Dave')", "DELETE FROM users WHERE id = 13"
    )


def contents(raw: Any) -> dict[bytes, bytes]:
    return {key: raw.dump(key) for key in raw.scan_iter()}


def test_a_seeded_table_is_the_same_and_nothing_was_published(
    tool: Tool, database: Database, raw: Any
) -> None:
    users(database)
    ended = tool.run(*options(database, "--declare", "--seed"))
    assert ended.code == 0
    assert re.fullmatch(r"seeded user: 300 rows in \S+ s \(\S+/s\)\n", ended.out)
    assert raw.hgetall("user:7") == {
        b"id": b"7",
        b"name": "Näme 7".encode(),
        b"email": b"u7@example.com",
        b"age": b"7",
        b"score": b"0.875",
        b"balance": b"8.75",
        b"vip": b"1",
        b"born": b"1990-01-02",
        b"created": b"2026-01-02T03:04:07.5",
        b"data": b'{"a":[1,"x"]}',
        b"seen": b"2026-01-02T03:04:05Z"
        if database.engine.dialect.name == "postgresql"
        else b"2026-01-02T04:04:05+01:00",
    }
    assert raw.exists("user-changes") == 0
    (line,) = tool.ok(*options(database))
    assert line.startswith("users and user are the same: 300 rows in ")


def test_a_check_finds_each_kind_of_divergence_and_changes_nothing(
    tool: Tool, database: Database, raw: Any
) -> None:
    users(database)
    seeded(tool, database)
    plant(raw, database)
    before = contents(raw)
    ended = tool.run(*options(database, "--check", "--wait", "0"))
    assert ended.code == 1
    assert ended.err == ""
    first, *shown = ended.lines
    assert first.startswith(
        "users and user differ: 2 missing in Redis, 2 only in Redis, 3 with other values; 300 rows"
    )
    assert sorted(shown) == sorted(
        [
            '  with other values  user:7  name: "Mallory" → "Näme 7"  age: 99 → 7',
            '  with other values  user:10  email: null → "u10@example.com"',
            '  with other values  user:12  nickname: "Zoe" → null',
            "  missing in Redis  user:11",
            "  missing in Redis  user:1000",
            "  only in Redis  user:13",
            "  only in Redis  user:301",
            "1 key with a colon in the id left out",
        ]
    )
    told = json.loads(tool.run(*options(database, "--wait", "0", "--json")).out)
    assert (told["rows"], told["differ"]) == (300, 7)
    assert (told["insert"], told["update"], told["only"]) == (2, 3, 2)
    assert {
        "id": "7",
        "effect": "update",
        "fields": {"name": ["Mallory", "Näme 7"], "age": ["99", "7"]},
    } in told["first"]
    assert contents(raw) == before


def test_a_repair_mends_them_and_tells_readers(tool: Tool, database: Database, raw: Any) -> None:
    users(database)
    seeded(tool, database)
    plant(raw, database)
    (line,) = tool.ok(*options(database, "--repair"))
    assert line.startswith(
        "user: 295 the same, 5 repaired, 2 deleted, 1 with a colon in the id left alone; 300 rows"
    )
    assert tool.run(*options(database, "--wait", "0")).code == 0
    assert raw.xlen("user-changes") == 7
    events = tool.ok("watch", "user-changes", "--from", "0", "--once", "--json")
    told = {(event["entity-id"], event["op"]) for event in map(json.loads, events)}
    assert told == {
        ("7", "update"),
        ("10", "update"),
        ("12", "update"),
        ("11", "insert"),
        ("1000", "insert"),
        ("13", "delete"),
        ("301", "delete"),
    }
    assert all(json.loads(event)["meta"]["reconcile"].startswith("dirty-sync ") for event in events)
    assert no_run(raw)


def no_run(raw: Any) -> bool:
    """Whether no run was left: the next one can begin."""
    raw.execute_command("DIRTY.RECONCILE", "user", "BEGIN", "another")
    return bool(raw.execute_command("DIRTY.RECONCILE", "user", "ABORT", "another") == 1)


LIMITS = [
    # entities that only Redis has, of 300 and these; --max-delete; the limit that is told, or None if it suffices
    (10, None, None),
    (11, None, 10),
    (11, "11", None),
    (11, "5", 5),
    (1, "0", 0),
    (1, "0%", 0),
    (20, "6%", 19),
    (20, "7%", None),
]


@pytest.mark.parametrize(("lonely", "limit", "told"), LIMITS)
def test_max_delete_refuses_with_the_number_and_deletes_nothing(  # noqa: PLR0917
    tool: Tool, sqlite: Database, raw: Any, lonely: int, limit: str | None, told: int | None
) -> None:
    users(sqlite)
    seeded(tool, sqlite)
    for number in range(lonely):
        raw.hset(f"user:{1000 + number}", "name", "Ghost")
    ended = tool.run(*options(sqlite, "--repair", *(("--max-delete", limit) if limit else ())))
    left = 0 if told is None else lonely
    assert raw.dbsize() == 301 + left + (0 if left else 1)
    assert no_run(raw)
    if told is None:
        assert (ended.code, ended.err) == (0, "")
        assert f"{lonely} deleted" in ended.out
        return
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err == (
        f"dirty: {lonely} of {300 + lonely} entities are only in Redis and would be deleted;"
        f" --max-delete allows {told}. Nothing was deleted\n"
    )


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_an_interrupted_repair_leaves_no_run_and_has_deleted_nothing(
    tool: Tool, sqlite: Database, raw: Any, sent: signal.Signals, code: int
) -> None:
    users(sqlite, 20_000)
    tool.run(*options(sqlite, "--declare"))
    raw.execute_command("DIRTY.DECLARE", "user", "STREAM", "user-changes")
    raw.hset("user:ghost", "name", "Ghost")
    process = tool.start(*options(sqlite, "--repair"))
    until(lambda: raw.dbsize() > 2_000)
    process.send_signal(sent)
    ended = tool.end(process)
    assert (ended.code, ended.out, ended.err) == (code, "", "")
    assert raw.exists("user:ghost") == 1
    assert raw.dbsize() < 20_000
    if sent != signal.SIGKILL:
        assert no_run(raw)
        return
    # Nobody could end this one: the next repair says so.
    ended = tool.run(*options(sqlite, "--repair"))
    assert ended.code == 2
    assert 'the run "dirty-sync ' in ended.err
    assert "DIRTY.RECONCILE user ABORT ends it" in ended.err
    assert ended.err.count("\n") == 1


def until(true: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    assert callable(true)
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


BAD = [
    ("born", "'yesterday'", 'BADVALUE field "born" takes a date, YYYY-MM-DD, not "yesterday"'),
    ("data", "'{bad'", 'field "data" is no JSON: '),
    ("data", '\'1,"name":"x"\'', 'field "data" is no JSON: '),
    ("age", "'old'", 'BADVALUE field "age" takes a 64-bit signed integer, not "old"'),
]


@pytest.mark.parametrize(("column", "value", "message"), BAD)
def test_a_row_that_does_not_fit_is_named_and_holds_no_other_back(  # noqa: PLR0917
    tool: Tool, sqlite: Database, raw: Any, column: str, value: str, message: str
) -> None:
    users(sqlite)
    seeded(tool, sqlite)
    sqlite.run(
        f"UPDATE users SET {column} = {value} WHERE id = 20",
        "UPDATE users SET name = 'New' WHERE id = 21",
    )
    ended = tool.run(*options(sqlite, "--wait", "0"))
    assert ended.code == 1
    assert "1 with other values, 1 refused; 300 rows" in ended.lines[0]
    assert any(line.startswith(f"  refused  user:20  {message}") for line in ended.lines)

    ended = tool.run(*options(sqlite, "--seed"))
    assert ended.code == 1
    assert ended.lines[1] == "1 row refused:"
    assert ended.lines[2].startswith(f"  user:20  {message}")
    assert raw.hget("user:21", "name") == b"New"
    assert raw.hget("user:20", "name") == "Näme 20".encode()

    raw.hset("user:ghost", "name", "Ghost")
    ended = tool.run(*options(sqlite, "--repair"))
    assert ended.code == 2
    assert ended.err.startswith(f"dirty: user:20: {message}")
    assert ended.err.endswith("; nothing was deleted. --check lists such rows\n")
    assert raw.exists("user:ghost", "user:20") == 2
    assert no_run(raw)


def test_what_a_writer_flushes_a_moment_later_does_not_differ(
    tool: Tool, sqlite: Database, raw: Any
) -> None:
    users(sqlite)
    seeded(tool, sqlite)
    sqlite.run("UPDATE users SET name = 'New' WHERE id = 7", "DELETE FROM users WHERE id = 8")
    raw.hset("user:2000", mapping={"id": "2000", "name": "Eve"})  # its row comes later
    raw.config_resetstat()

    def flush() -> None:
        until(lambda: "cmdstat_dirty.flush" in raw.info("commandstats"))  # it has begun
        time.sleep(1)
        raw.execute_command("DIRTY.FLUSH", "user", "UPDATE", 7, 1, "name", "New", "DELETE", 8)
        sqlite.run("INSERT INTO users (id, name) VALUES (2000, 'Eve')")

    writer = threading.Thread(target=flush)
    writer.start()
    began = time.monotonic()
    ended = tool.run(*options(sqlite, "--wait", "60"))
    writer.join()
    assert (ended.code, ended.err) == (0, "")
    assert time.monotonic() - began < 60


def test_composite_keys_pages_and_selections(tool: Tool, database: Database, raw: Any) -> None:
    database.run(
        "CREATE TABLE lines (shop varchar(9), number integer, amount numeric(8,2), note text, hidden integer,"
        " PRIMARY KEY (shop, number))"
    )
    rows = [(f"s{n % 7}", n, n / 4, None, n % 2) for n in range(5_000)]
    database.insert("lines", rows)
    raw.execute_command(
        "DIRTY.DECLARE", "line", "TYPES", 1, "total", "decimal:2", "STREAM", "lines"
    )
    base = ("sync", "--db", database.url, "--table", "lines", "--key", "line")
    chosen = (
        "--separator",
        "/",
        "--columns",
        "shop,number,total=amount",
        "--where",
        "hidden = number % 2 AND hidden = 0",
    )
    tool.ok(*base, *chosen, "--seed")
    assert raw.dbsize() == 2_501
    assert raw.hgetall("line:s4/11") == {}
    assert raw.hgetall("line:s3/10") == {b"shop": b"s3", b"number": b"10", b"total": b"2.50"}
    tool.ok(*base, *chosen)
    raw.hset("line:s3/10", "total", "9")
    database.run("DELETE FROM lines WHERE shop = 's1' AND number = 8")
    ended = tool.run(*base, *chosen, "--wait", "0")
    assert ended.code == 1
    new = "2.50" if database.engine.dialect.name == "postgresql" else "2.5"
    assert ended.lines[1:] == [
        f"  with other values  line:s3/10  total: 9 → {new}",
        "  only in Redis  line:s1/8",
    ]
    (line,) = tool.ok(*base, *chosen, "--repair")
    assert line.startswith("line: 2,498 the same, 1 repaired, 1 deleted; 2,499 rows")


IDS = [
    # what is stored, --id-field, whether the id becomes a field
    ({}, (), True),
    ({"id": "1", "name": "x"}, (), True),
    ({"name": "x"}, (), False),
    ({"name": "x"}, ("--id-field",), True),
    ({"id": "1", "name": "x"}, ("--no-id-field",), False),
]


@pytest.mark.parametrize(("stored", "option", "expected"), IDS)
def test_the_id_is_a_field_as_in_what_is_stored(  # noqa: PLR0917
    tool: Tool,
    sqlite: Database,
    raw: Any,
    stored: dict[str, str],
    option: tuple[str, ...],
    expected: bool,
) -> None:
    sqlite.run("CREATE TABLE users (id integer PRIMARY KEY, name text)")
    sqlite.insert("users", [(1, "x"), (2, "y")])
    raw.execute_command("DIRTY.DECLARE", "user", "TYPES", 1, "id", "int", "STREAM", "user-changes")
    if stored:
        raw.hset("user:1", mapping=stored)
    tool.ok(*options(sqlite, "--seed", *option))
    assert raw.hexists("user:2", "id") is expected


def test_ids_that_are_not_unique_are_an_error_and_nothing_is_deleted(
    tool: Tool, sqlite: Database, raw: Any
) -> None:
    users(sqlite)
    seeded(tool, sqlite)
    sqlite.run("UPDATE users SET email = 'same' WHERE id < 4")
    raw.hset("user:ghost", "name", "Ghost")
    by_email = options(sqlite, "--id", "email", "--where", "email IS NOT NULL")
    for mode, words in (("--check", "2 rows of users"), ("--repair", "201 rows have 199 ids")):
        ended = tool.run(*by_email, mode)
        assert (ended.code, ended.out) == (2, "")
        assert "--id is not unique: " in ended.err
        assert words in ended.err
    assert raw.exists("user:ghost") == 1
    assert no_run(raw)


def test_versions_refuse_older_rows_unless_forced(tool: Tool, sqlite: Database, raw: Any) -> None:
    sqlite.run("CREATE TABLE users (id integer PRIMARY KEY, name text, rev integer)")
    sqlite.insert("users", [(n, "row", 5) for n in range(1, 4)])
    raw.execute_command("DIRTY.DECLARE", "user", "VERSION", "rev", "STREAM", "user-changes")
    tool.ok(*options(sqlite, "--seed"))
    raw.hset("user:1", mapping={"name": "newer", "rev": "6"})
    raw.hset("user:2", "name", "other")
    ended = tool.run(*options(sqlite, "--wait", "0"))
    assert ended.code == 1
    assert "1 older than in Redis, 1 with other values under one version; 3 rows" in ended.lines[0]
    (line,) = tool.ok(*options(sqlite, "--repair"))
    assert line.startswith("user: 1 the same, 1 repaired, 0 deleted, 1 newer in Redis; 3 rows")
    (line,) = tool.ok(*options(sqlite, "--repair", "--force"))
    assert line.startswith("user: 2 the same, 1 repaired, 0 deleted; 3 rows")
    assert tool.run(*options(sqlite, "--wait", "0")).code == 0


@pytest.mark.parametrize("typed", [True, False])
def test_what_the_client_flushes_is_what_the_tool_expects(
    tool: Tool, database: Database, client: Client, raw: Any, typed: bool
) -> None:
    if not typed and database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite keeps dates and decimals as texts and floats: they need types")
    users(database)
    more = "pause interval, tags text[], kind uuid, bytes bytea, whole bigint"
    if database.engine.dialect.name == "postgresql":
        database.run(
            *(f"ALTER TABLE users ADD COLUMN {column}" for column in more.split(", ")),
            "UPDATE users SET pause = '1 day 90 seconds', tags = '{a,b}', whole = 9223372036854775807,"
            " kind = '11111111-2222-3333-4444-555555555555' WHERE id < 9",
            "UPDATE users SET bytes = '\\xff00' WHERE id = 12",
        )
    if typed:
        (line,) = tool.ok(*options(database, "--declare"))
        raw.execute_command(*line.split())
    else:
        raw.execute_command("DIRTY.DECLARE", "user", "STREAM", "user-changes")
    table = sa.Table("users", sa.MetaData(), autoload_with=database.engine)
    with database.engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(sa.select(table)).mappings()]
    for row in rows:
        if isinstance(row.get("pause"), dt.timedelta):
            row["pause"] = row["pause"].total_seconds()  # as the relay sends it
    client.flush(Entity("user"), *(snapshot(row["id"], row) for row in rows))
    tool.ok(*options(database, "--wait", "0"))


def test_rows_that_are_marked_as_deleted_are_the_same_too(
    tool: Tool, sqlite: Database, raw: Any
) -> None:
    sqlite.run("CREATE TABLE users (id integer PRIMARY KEY, name text, hidden boolean)")
    sqlite.insert("users", [(1, "Alice", False), (2, "Bob", True), (3, "Carol", False)])
    raw.execute_command("DIRTY.DECLARE", "user", "SOFTDELETE", "hidden", "STREAM", "user-changes")
    tool.ok(*options(sqlite, "--seed"))
    tool.ok(*options(sqlite, "--wait", "0"))
    sqlite.run(
        "UPDATE users SET name = 'Rob' WHERE id = 2", "UPDATE users SET hidden = 1 WHERE id = 3"
    )
    ended = tool.run(*options(sqlite, "--wait", "0"))
    assert (ended.code, ended.lines[1:]) == (
        1,
        [
            '  with other values  user:2  name: "Bob" → "Rob"',
            '  with other values  user:3  hidden: "0" → "1"',
        ],
    )
    tool.ok(*options(sqlite, "--repair"))
    assert raw.xlen("user-changes") == 1
    tool.ok(*options(sqlite, "--wait", "0"))


def test_partitions_of_a_cluster(cluster_tool: Tool, sqlite: Database) -> None:
    users(sqlite, 1_000)
    seed = cluster_tool.run(*options(sqlite, "--partitions", "16", "--declare", "--seed"))
    assert seed.code == 0, seed
    assert seed.err.count("DIRTY.DECLARE user{") == 16
    partitioned = options(sqlite, "--partitions", "16", "--wait", "0")
    cluster_tool.ok(*partitioned)
    cluster = redis.RedisCluster.from_url(cluster_tool.url)
    by_crc = {one: binascii.crc_hqx(one, 0) % 16 for one in (b"7", b"8", b"x1", b"x2")}
    assert cluster.hget(f"user{{{by_crc[b'7']}}}:7", "name") == "Näme 7".encode()
    cluster.hset(f"user{{{by_crc[b'7']}}}:7", "name", "Mallory")
    cluster.delete(f"user{{{by_crc[b'8']}}}:8")
    for ghost in (b"x1", b"x2"):
        cluster.hset(f"user{{{by_crc[ghost]}}}:{ghost.decode()}", "name", "Ghost")
    ended = cluster_tool.run(*partitioned)
    assert ended.code == 1
    assert "1 missing in Redis, 2 only in Redis, 1 with other values; 1,000 rows" in ended.lines[0]
    ended = cluster_tool.run(*partitioned, "--repair", "--max-delete", "1")
    assert (ended.code, ended.out) == (2, "")
    assert (
        "2 of 1,002 entities are only in Redis and would be deleted; --max-delete allows 1"
        in ended.err
    )
    (line,) = cluster_tool.ok(*partitioned, "--repair", "--max-delete", "2")
    assert "2 deleted" in line
    cluster_tool.ok(*partitioned)
    streams = cluster_tool.ok("stats", "--json", "--once")
    assert sorted(json.loads(line)["stream"] for line in streams) == sorted(
        f"user-changes{{{n}}}" for n in range(16)
    )
    events = cluster_tool.ok("watch", "user-changes*", "--from", "0", "--once", "--json")
    assert len(events) == 4
    cluster.close()


# The memory of a process is at first that of who began it, so the tests do not begin it themselves.
MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def test_fifty_thousand_rows_take_no_more_memory_than_a_few(
    tool: Tool, sqlite: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten bytes a row are for the ids that were seen; all rows would be fifty megabytes."""
    users(sqlite, 50_000)

    def peak(*more: str) -> tuple[int, str]:
        words = [sys.executable, "-c", MEASURED, *COMMAND, *options(sqlite, *more)]
        environment = {**os.environ, "REDIS_URL": tool.url}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        return int(done.stderr.split()[-1]), done.stdout

    few, _ = peak("--where", "id <= 5000", "--declare", "--seed")
    told = []
    for mode in ("--seed", "--check", "--repair"):
        most, out = peak(mode)
        assert most - few < 12_000, f"{mode}: {most - few} kB more"
        rate = re.search(r"\((\S+)/s\)", out)
        assert rate is not None
        assert int(rate[1].replace(",", "")) > 1_000
        told.append(f"{mode} {rate[1]} rows/s, {most} kB (5,000 rows: {few} kB)")
    with capsys.disabled():
        print("", *told, sep="\n  ")


def test_a_printed_declaration_is_what_redis_cli_takes(
    tool: Tool, database: Database, server: Server, raw: Any
) -> None:
    users(database, 1)
    database.run("""ALTER TABLE users ADD COLUMN "a b" integer""")
    lines = tool.ok(*options(database, "--declare"))
    seen = " seen time" if database.engine.dialect.name == "postgresql" else ""
    count = 10 if seen else 9
    assert lines == [
        f"DIRTY.DECLARE user TYPES {count} id int age int score float balance decimal:2 vip bool born date"
        f' created datetime data json{seen} "a b" int STREAM user-changes PAYLOAD FULL'
    ]
    assert raw.dbsize() == 0
    subprocess.run(["redis-cli", "-p", str(server.port)], input=lines[0].encode(), check=True)
    assert b"a b" in raw.execute_command("DIRTY.INFO", "user")[b"types"]


def test_a_restart_in_the_middle_ends_the_run(own_server: Server, sqlite: Database) -> None:
    tool = Tool(own_server.url)
    users(sqlite, 20_000)
    tool.run(*options(sqlite, "--declare", "--seed"))
    process = tool.start(*options(sqlite, "--repair"))
    raw = own_server.client()
    until(lambda: raw.info("commandstats").get("cmdstat_dirty.reconcile"))
    own_server.kill()
    own_server.start()
    ended = tool.end(process)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.count("\n") <= 2
    assert "Traceback" not in ended.err
    raw.close()


ERRORS = [
    (("--table", "users"), "the following arguments are required: --db (dirty sync --help)"),
    (("--db", "sqlite:///none.db", "--table", "x"), "there is no file 'none.db'"),
    (
        ("--db", "nonsense", "--table", "x"),
        "--db takes an SQLAlchemy URL, such as sqlite:///app.db",
    ),
    (
        ("--db", "{db}", "--table", "none", "--key", "user"),
        "the database has no table or view 'none'",
    ),
    (("--db", "{db}", "--table", "users", "--key", "visit"), "visit is STATELESS: "),
    (
        ("--db", "{db}", "--table", "users", "--key", "no"),
        'no entity type is declared at "no"; dirty sync … --declare',
    ),
    (
        ("--db", "{db}", "--table", "users", "--key", "user", "--id", "x"),
        "--id: users has no column 'x', but id",
    ),
    (("--db", "{db}", "--table", "users", "--key", "user", "--where", "x ="), "SQL: "),
    (
        ("--db", "{db}", "--table", "users", "--key", "user", "--seed", "--repair"),
        "not allowed with argument",
    ),
    (
        ("--db", "{db}", "--table", "users", "--key", "user", "--repair", "--max-delete", "x"),
        "--max-delete takes",
    ),
    (
        ("--db", "{db}", "--table", "users", "--key", "user", "--zone", "Mars"),
        "--zone: there is no time zone 'Mars'",
    ),
    (
        ("--db", "{db}", "--table", "x", "--partitions", "0"),
        "argument --partitions: expected a positive number",
    ),
    (
        ("--db", "{db}", "--table", "x", "--redis", "redis://127.0.0.1:1"),
        "no connection to Redis: ",
    ),
    (
        ("--db", "{db}", "--table", "x", "--redis", "x://h"),
        "--redis takes a URL such as redis://localhost:6379",
    ),
    (("--db", "{db}", "--table", "x", "--cluster"), "Redis: "),
    (("--db", "postgresql://u:hunter2@127.0.0.1:1/x", "--table", "x", "--key", "user"), "SQL: "),
]


@pytest.mark.parametrize(("words", "message"), ERRORS)
def test_an_error_is_one_line_that_names_it(
    tool: Tool, sqlite: Database, raw: Any, words: tuple[str, ...], message: str
) -> None:
    users(sqlite, 1)
    raw.execute_command("DIRTY.DECLARE", "user", "STREAM", "user-changes")
    raw.execute_command("DIRTY.DECLARE", "visit", "STATELESS", "STREAM", "visits")
    ended = tool.run("sync", *(word.replace("{db}", sqlite.url) for word in words))
    assert (ended.code, ended.out) == (2, ""), ended
    assert ended.err.startswith("dirty: ")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert "hunter2" not in ended.err
