"""`dirty watch`: events as they come, and nothing left behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, Any

import pytest
import redis

from conftest import SERVER, Server

from .conftest import Tool
from .test_sync import contents

DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"


def declared(raw: Any) -> None:
    for words in (
        "user TYPES 3 age int vip bool data json STREAM users PAYLOAD FULL",
        "order STREAM orders PAYLOAD IMAGES",
        "item STREAM items PAYLOAD KEYS",
    ):
        raw.execute_command("DIRTY.DECLARE", *words.split())


def flush(raw: Any, words: str) -> None:
    raw.execute_command("DIRTY.FLUSH", *words.split())


def lines_of(stream: IO[bytes] | None, count: int) -> list[str]:
    assert stream is not None
    return [stream.readline().decode().rstrip("\n") for _ in range(count)]


def wait_for_readers(raw: Any, count: int) -> None:
    for _ in range(1_000):
        if raw.info("dirty").get("dirty_consumers_blocked") == count:
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def test_events_of_several_streams_are_shown_as_they_come(tool: Tool, raw: Any) -> None:
    declared(raw)
    flush(raw, "user INSERT 1 1 name Before")
    process = tool.start("watch", "users", "orders", "items")
    wait_for_readers(raw, 3)
    shown = [
        ("user META 1 actor admin INSERT 7 JSON", '{"name":"Alice","age":31,"data":{"a":[1]}}'),
        ("user UPDATE 7 2 age 32 vip 1", None),
        ("user TOUCH 7", None),
        ("user DELETE 7", None),
        ("order SNAPSHOT a-1 2 state new total 1.50", None),
        ("order SNAPSHOT a-1 1 state paid", None),
        ("item INSERT x 1 a b", None),
    ]
    expected = [
        'users  insert  user:7  name: null → "Alice"  age: null → 31  data: null → {"a": [1]}  (actor="admin")',
        "users  update  user:7  age: 31 → 32  vip: null → true",
        "users  update  user:7",
        'users  delete  user:7  age: 32 → null  data: {"a": [1]} → null  name: "Alice" → null  vip: true → null',
        'orders  insert  order:a-1  state: null → "new"  total: null → "1.50"',
        'orders  update  order:a-1  state: "new" → "paid"  total: "1.50" → null',
        "items  insert  item:x",
    ]
    for (words, document), line in zip(shown, expected, strict=True):
        raw.execute_command("DIRTY.FLUSH", *words.split(), *([document] if document else []))
        (told,) = lines_of(process.stdout, 1)
        assert re.sub(f"^{DATE}  ", "", told) == line
    readers = [raw.exists(f"{stream}:readers") for stream in ("users", "orders", "items")]
    assert readers == [0, 0, 0]
    process.send_signal(signal.SIGINT)
    ended = tool.end(process)
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_watching_leaves_nothing_behind(tool: Tool, raw: Any) -> None:
    declared(raw)
    flush(raw, "user INSERT 1 1 name Alice")
    before = contents(raw)
    tool.ok("watch", "--from", "0", "--once")
    process = tool.start("watch")
    wait_for_readers(raw, 3)
    process.send_signal(signal.SIGTERM)
    ended = tool.end(process)
    assert (ended.code, ended.err) == (143, "")
    assert contents(raw) == before


def test_json_lines_have_what_read_tells(tool: Tool, raw: Any) -> None:
    declared(raw)
    flush(raw, "user META 1 actor admin INSERT 7 2 name Alice age 31")
    raw.xadd("users", {"plain": "entry"})
    told = [
        json.loads(line) for line in tool.ok("watch", "users", "--from", "0", "--once", "--json")
    ]
    for event in told:
        assert event.pop("id")
    assert told == [
        {
            "stream": "users",
            "entity": "user",
            "entity-id": "7",
            "op": "insert",
            "changes": {"name": [None, "Alice"], "age": [None, 31]},
            "meta": {"actor": "admin"},
        },
        {"stream": "users", "fields": ["plain", "entry"]},
    ]


FILTERS = [
    (("--entity", "user"), ["1", "2", "1", "1"]),
    (("--entity", "none"), []),
    (("--id", "2"), ["2"]),
    (("--id", "2", "--id", "1"), ["1", "2", "1", "1"]),
    (("--ops", "ud"), ["1", "1"]),
    (("--field", "age"), ["1", "2", "1", "1"]),
    (("--field", "vip"), ["1", "2", "1"]),
    (("--count", "2"), ["1", "2"]),
]


@pytest.mark.parametrize(("words", "expected"), FILTERS)
def test_only_the_events_that_are_asked_for(
    tool: Tool, raw: Any, words: tuple[str, ...], expected: list[str]
) -> None:
    declared(raw)
    flush(raw, "user INSERT 1 1 age 3 INSERT 2 0 UPDATE 1 1 age 4 DELETE 1")
    lines = tool.ok("watch", "users", "--from", "0", "--once", "--json", *words)
    assert [json.loads(line)["entity-id"] for line in lines] == expected


HOSTILE = b"\x1b]0;owned\x07\x1b[2J\r\x9b31m\xff\xc2\x85\xe2\x80\xae\x00x"


def is_harmless(output: str) -> bool:
    """No control characters but line ends, and no change of the writing direction."""
    return all(char == "\n" or char.isprintable() for char in output)


def test_nothing_in_a_stream_drives_the_terminal(tool: Tool, raw: Any) -> None:
    raw.execute_command(
        "DIRTY.DECLARE", b"user", "NAME", HOSTILE, "STREAM", HOSTILE, "PAYLOAD", "FULL"
    )
    raw.execute_command("DIRTY.READER", HOSTILE, "GROUP", HOSTILE, "FROM", "0", "ORDER", "ENTITY")
    raw.execute_command(
        "DIRTY.FLUSH", "user", "META", 1, HOSTILE, HOSTILE, "INSERT", HOSTILE, 1, HOSTILE, HOSTILE
    )
    raw.execute_command("DIRTY.FLUSH", "user", "INSERT", "2", 0, "INSERT", 3, 1, "x", "\x1b[2J")
    reply = raw.execute_command("DIRTY.CONSUME", HOSTILE, "GROUP", HOSTILE, HOSTILE)
    ids = [event[b"id"] for event in reply[b"events"]]
    raw.execute_command("DIRTY.FAIL", HOSTILE, "GROUP", HOSTILE, HOSTILE, HOSTILE, "FATAL", ids[0])
    raw.execute_command(
        "DIRTY.FAIL", HOSTILE, "GROUP", HOSTILE, HOSTILE, HOSTILE, "DELAY", 60000, ids[1]
    )
    stream = HOSTILE.replace(b"\0", b"")  # an argument cannot have a NUL
    for words in (
        ("watch", "--from", "0", "--once"),
        ("watch", "--from", "0", "--once", "--json"),
        ("watch", "--from", "0", "--once", "--full"),
        ("stats", "--once"),
        ("stats", "--once", "--json"),
    ):
        out = "\n".join(tool.ok(*words))
        assert out
        assert is_harmless(out), (words, out)
        assert ("owned" in out) is ("--json" not in words)
    for asked in (
        ("pending", stream, stream),
        ("dead", "list", stream, stream),
        ("nonsense", stream),
    ):
        ended = tool.run(*asked)
        assert ended.code == 2
        assert is_harmless(ended.err), ended.err


def test_names_that_are_not_utf8_are_escaped_and_can_be_given(tool: Tool, raw: Any) -> None:
    name = b"caf\xe9\x1b"
    raw.execute_command("DIRTY.DECLARE", "user", "STREAM", name, "PAYLOAD", "FULL")
    raw.execute_command("DIRTY.READER", name, "GROUP", name, "FROM", "0", "ORDER", "ENTITY")
    raw.execute_command("DIRTY.FLUSH", "user", "INSERT", name, 1, "name", name, "INSERT", 2, 0)
    (line, _) = tool.ok("watch", name, "--from", "0", "--once")
    assert line.endswith(r'insert  user:"caf\xe9\x1b"  name: null → "caf\xe9\x1b"')
    reply = raw.execute_command("DIRTY.CONSUME", name, "GROUP", name, name)
    ids = [event[b"id"].decode() for event in reply[b"events"]]
    raw.execute_command("DIRTY.FAIL", name, "GROUP", name, name, name, "FATAL", ids[0])
    raw.execute_command("DIRTY.FAIL", name, "GROUP", name, name, name, "DELAY", 60000, ids[1])
    lines = tool.ok("dead", "list", name, name)
    assert lines[0] == rf'{ids[0]}  insert  user:"caf\xe9\x1b"  name: null → "caf\xe9\x1b"'
    assert lines[1].endswith(r'last of "caf\xe9\x1b": "caf\xe9\x1b"')
    (_, row) = tool.ok("pending", name, name)
    assert row.endswith(r'"caf\xe9\x1b"')
    (count,) = tool.ok("dead", "discard", name, name, "--entity", "user", name)
    assert count == r"1 event of caf\xe9\x1b of caf\xe9\x1b discarded"


PIPES = [
    (5_000, ()),
    (5_000, ("--json",)),
    (5_000, ("--color", "always")),
    (5_000, ("--once",)),
    (500, ("--once",)),
    (500, ()),  # all of them fit into the pipe, and nothing more is written
]


@pytest.mark.parametrize(("count", "more"), PIPES)
def test_a_pipe_that_nobody_reads_any_longer_is_no_error(
    tool: Tool, raw: Any, count: int, more: tuple[str, ...]
) -> None:
    declared(raw)
    for start in range(0, count, 500):
        words = " ".join(
            f"INSERT {number} 1 name {'x' * 50}" for number in range(start, start + 500)
        )
        flush(raw, f"user {words}")
    process = tool.start("watch", "users", "--from", "0", *more)
    assert process.stdout is not None
    assert process.stdout.readline()
    if (count, more) == (500, ()):
        wait_for_readers(raw, 1)
        time.sleep(1)
    process.stdout.close()
    process.stdout = None
    ended_err = process.communicate(timeout=20)[1]
    assert (process.returncode, ended_err) == (0, b"")


def test_an_outage_is_waited_out_and_no_event_is_lost(durable: Server) -> None:
    tool = Tool(durable.url)
    raw = durable.client()
    declared(raw)
    process = tool.start("watch", "users", "--json")
    wait_for_readers(raw, 1)
    flush(raw, "user INSERT 1 0")
    (first,) = lines_of(process.stdout, 1)
    durable.kill()
    durable.start()
    flush(raw, "user INSERT 2 0")
    (second,) = lines_of(process.stdout, 1)
    assert [json.loads(line)["entity-id"] for line in (first, second)] == ["1", "2"]
    process.send_signal(signal.SIGINT)
    ended = tool.end(process)
    assert ended.code == 0
    notes = ended.err.splitlines()
    assert notes[0].startswith("users waits for Redis (")
    assert notes[-1] == "users goes on"
    raw.close()


def test_lost_events_and_a_stream_that_was_begun_again_are_told(tool: Tool, raw: Any) -> None:
    declared(raw)
    flush(raw, "user INSERT 1 0 INSERT 2 0 INSERT 3 0")
    first = raw.xrange("users")[0][0]
    raw.xtrim("users", maxlen=1, approximate=False)
    ended = tool.run("watch", "users", "--from", first, "--once", "--json")
    assert ended.err == "users is read too late: 1 event missed\n"
    assert len(ended.lines) == 1
    process = tool.start("watch", "users", "--json")
    wait_for_readers(raw, 1)
    raw.delete("users")
    flush(raw, "user INSERT 4 0")
    (line,) = lines_of(process.stdout, 1)
    assert json.loads(line)["entity-id"] == "4"


ERRORS = [
    (("watch", "none*"), "no stream fits 'none*'"),
    (("watch", "users", "--from", "yesterday"), "yesterday"),
    (("watch", "users", "--count", "0"), "argument --count: expected a positive number"),
    (("watch", "user", "--once"), "WRONGTYPE"),
    (("watch", "users", "--redis", "redis://127.0.0.1:1", "--once"), "no connection to Redis"),
    (("look",), "argument COMMAND: invalid choice"),
]


@pytest.mark.parametrize(("words", "message"), ERRORS)
def test_an_error_is_one_line(tool: Tool, raw: Any, words: tuple[str, ...], message: str) -> None:
    declared(raw)
    ended = tool.run(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("dirty: ")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_without_the_module_it_says_so(tmp_path: Path) -> None:
    server = PlainServer(tmp_path)
    server.start()
    try:
        ended = Tool(server.url).run("watch", "users", "--once")
        assert ended.code == 2
        assert ended.err == "dirty: the server has not loaded the module of Dirty Streams\n"
    finally:
        server.kill()


class PlainServer(Server):
    """A server without the module."""

    def start(self) -> None:
        program = Path(SERVER)
        command = str(program / "redis-server") if program.is_dir() else SERVER
        words = [command, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, cwd=self.folder)
        client = self.client()
        for _ in range(400):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.025)
        client.close()
