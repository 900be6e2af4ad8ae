"""`dirty stats`, `dirty pending`, `dirty dead`; and what a terminal sees."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Database, Tool
from .test_sync import no_run, options, plant, seeded, users
from .test_watch import flush


def orders(raw: Any) -> list[str]:
    """Six events; the first two are dead, of the others one is held, one is delayed, one queued and one parked."""
    raw.execute_command("DIRTY.DECLARE", *["order", "STREAM", "orders", "PAYLOAD", "FULL"])
    raw.execute_command(
        "DIRTY.READER",
        *[
            "orders",
            "GROUP",
            "billing",
            "FROM",
            "0",
            "ORDER",
            "ENTITY",
            "ONDEAD",
            "PARK",
            "MAXDELIVERIES",
            "5",
        ],
    )
    raw.execute_command("DIRTY.READER", *["orders", "CURSOR", "search", "FROM", "0"])
    inserts = " ".join(f"INSERT {number} 1 total {number}" for number in range(1, 5))
    flush(raw, f"order {inserts} UPDATE 1 1 total 10 UPDATE 3 1 total 30")
    consume = "DIRTY.CONSUME", "orders", "GROUP", "billing"
    first = raw.execute_command(*consume, "b1", "COUNT", 3)
    raw.execute_command(*consume, "b2", "COUNT", 1)
    ids = [entry[0].decode() for entry in raw.xrange("orders")]
    fail = "DIRTY.FAIL", "orders", "GROUP", "billing"
    raw.execute_command(*fail, "b1", "no such customer", "FATAL", ids[0], ids[1])
    raw.execute_command(*fail, "b2", "time-out", "DELAY", 60_000, ids[3])
    raw.execute_command(*consume, "b1", "COUNT", 10)
    assert len(first[b"events"]) == 3
    return ids


def squeezed(line: str) -> str:
    return re.sub(r"\s\s+", " | ", line.strip())


def test_stats_show_all_streams_and_readers(tool: Tool, raw: Any) -> None:
    orders(raw)
    raw.execute_command("DIRTY.DECLARE", *["audit", "STREAM", "log", "DB", "3", "STREAM", "quiet"])
    flush(raw, "audit INSERT 1 0")
    raw.xgroup_create("orders", "legacy", "0")
    raw.execute_command("DIRTY.PAUSE", "orders", "GROUP", "billing", "ON")
    time.sleep(0.01)
    lines = [re.sub(r"\d+ ms|\d\.\d s", "AGE", line) for line in tool.ok("stats")]
    lines = [re.sub(r"[\d.]+ k?B", "SIZE", line) for line in lines]
    assert [squeezed(line) for line in lines] == [
        "stream / reader | kind | lag | oldest | pending | due | dead | missed | state",
        "log (db 3) | stream | AGE | 0 | 1 entry, SIZE",
        "orders | stream | AGE | 2 | 6 entries, SIZE",
        "billing | group ENTITY | 0 | 4 | 0 | 2 | 0 | paused, 2 keys parked",
        "search | cursor | 6 | AGE | 0 | 0",
        "legacy | native | 6 | AGE | 0 | 0 | no consumers",
        "quiet | stream | AGE | 0 | 1 entry, SIZE",
    ]
    (line,) = tool.ok("stats", "orders", "--json", "--once")
    told = json.loads(line)
    assert (told["stream"], told["length"], told["dead"]) == ("orders", 6, 2)
    billing, search, _ = told["readers"]
    assert (billing["name"], billing["pending"], billing["paused"]) == ("billing", 4, True)
    assert (search["name"], search["lag"]) == ("search", 6)


def test_stats_as_json_come_again_until_interrupted(tool: Tool, raw: Any) -> None:
    orders(raw)
    process = tool.start("stats", "--json", "--interval", "0.05")
    assert process.stdout is not None
    told = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert [one["stream"] for one in told] == ["orders"] * 3
    process.send_signal(signal.SIGINT)
    ended = tool.end(process)
    assert (ended.code, ended.err) == (0, "")


def test_pending_lists_what_waits_for_what(tool: Tool, raw: Any) -> None:
    ids = orders(raw)
    lines = [
        re.sub(r"\d+ ms|\d\.\d s", "AGE", line) for line in tool.ok("pending", "orders", "billing")
    ]
    assert [re.sub(r"(5\d|60) s|1 min", "SOON", squeezed(line)) for line in lines] == [
        "event | state | key | consumer | for | due in | deliveries | failures | error",
        f"{ids[2]} | held | order:3 | b1 | AGE | SOON | 1 | 0",
        f'{ids[3]} | delayed | order:4 | SOON | 1 | 1 | "time-out"',
        f"{ids[4]} | parked | order:1 | 0 | 0",
        f"{ids[5]} | queued | order:3 | b1 | 0 | 0",
    ]
    held = [
        json.loads(line)
        for line in tool.ok("pending", "orders", "billing", "--consumer", "b1", "--json")
    ]
    assert [one["id"] for one in held] == [ids[2]]
    assert (
        tool.run("pending", "orders", "nobody").err
        == 'dirty: NOREADER there is no group "nobody" on "orders"\n'
    )
    assert (
        tool.run("pending", "orders", "billing", "--count", "1").err
        == "there are more: see --count\n"
    )


def test_dead_events_are_listed_redriven_and_discarded(tool: Tool, raw: Any) -> None:
    ids = orders(raw)
    date = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
    lines = [re.sub(date, "DATE", line) for line in tool.ok("dead", "list", "orders")]
    assert lines == [
        f'{ids[0]}  insert  order:1  total: null → "1"',
        '    DATE, given up by billing, after 1 delivery, last of b1: "no such customer"',
        f'{ids[1]}  insert  order:2  total: null → "2"',
        '    DATE, given up by billing, after 1 delivery, last of b1: "no such customer"',
    ]
    (first, _) = tool.ok("dead", "list", "orders", "billing", "--json")
    told = json.loads(first)
    assert (told["entity-id"], told["dead"]["error"], told["dead"]["id"]) == (
        "1",
        "no such customer",
        ids[0],
    )

    assert tool.ok("dead", "redrive", "orders", "billing", "--entity", "order", "1") == [
        "1 event due again for billing of orders"
    ]
    reply = raw.execute_command("DIRTY.CONSUME", "orders", "GROUP", "billing", "b3", "COUNT", 1)
    assert reply[b"events"][0][b"id"].decode() == ids[0]
    raw.execute_command("DIRTY.ACK", "orders", "GROUP", "billing", "b3", ids[0])
    refused = tool.run("dead", "discard", "orders", "billing", "--all")
    assert refused.code == 2
    assert refused.err == "dirty: Discard 1 dead event of billing of orders? Say --yes\n"
    assert tool.ok("dead", "discard", "orders", "billing", "--all", "--yes") == [
        "1 event of billing of orders discarded"
    ]
    ended = tool.run("dead", "list", "orders")
    assert (ended.code, ended.out, ended.err) == (0, "", "no dead events of orders\n")


def test_dead_events_of_a_key_of_their_own_and_of_a_cursor(tool: Tool, raw: Any) -> None:
    raw.execute_command("DIRTY.DECLARE", *["order", "STREAM", "orders"])
    raw.execute_command(
        "DIRTY.READER", *["orders", "CURSOR", "search", "FROM", "0", "DEAD", "graveyard"]
    )
    raw.execute_command("DIRTY.READER", *["orders", "GROUP", "mailer", "FROM", "0"])
    flush(raw, "order INSERT 1 0 INSERT 2 0")
    ids = [entry[0].decode() for entry in raw.xrange("orders")]
    raw.execute_command("DIRTY.CONSUME", "orders", "CURSOR", "search")
    raw.execute_command("DIRTY.FAIL", "orders", "CURSOR", "search", "bad", ids[0])
    raw.execute_command("DIRTY.CONSUME", "orders", "GROUP", "mailer", "m1")
    raw.execute_command("DIRTY.FAIL", "orders", "GROUP", "mailer", "m1", "worse", "FATAL", ids[1])
    told = [
        json.loads(line)["dead"]["reader"] for line in tool.ok("dead", "list", "orders", "--json")
    ]
    assert sorted(told) == ["mailer", "search"]
    assert len(tool.ok("dead", "list", "orders", "search", "--json")) == 1
    assert tool.run("dead", "list", "orders", "nobody").err == (
        "dirty: orders has no reader 'nobody', but mailer, search\n"
    )
    assert tool.ok("dead", "discard", "orders", "search", ids[0]) == [
        "1 event of search of orders discarded"
    ]
    assert raw.xlen("graveyard") == 0


def terminal(
    tool: Tool,
    words: tuple[str, ...],
    until: Callable[[str], bool],
    answer: bytes = b"",
    *,
    width: int = 120,
) -> tuple[str, int | None]:
    """What a terminal gets until it is as expected, and the exit code after `answer` or Ctrl-C."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    os.set_blocking(master, False)
    process = tool.start(*words, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    told = b""
    deadline = time.monotonic() + 60
    sent = False
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                told += os.read(master, 65536)
            except OSError:  # it has ended
                break
        if not sent and until(told.decode(errors="replace")):
            sent = True
            if answer:
                os.write(master, answer)
            else:
                process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    os.close(master)
    return told.decode(), process.returncode


def test_a_terminal_gets_a_table_that_refreshes_until_ctrl_c(tool: Tool, raw: Any) -> None:
    orders(raw)
    told, code = terminal(
        tool, ("stats", "--interval", "0.1"), lambda shown: shown.count("billing") >= 3
    )
    assert code == 0
    assert "\x1b[" in told
    assert "Traceback" not in told
    assert told.rstrip().endswith("\x1b[?25h")  # the cursor is shown again


def test_a_narrow_terminal_gets_fewer_columns_and_whole_names(tool: Tool, raw: Any) -> None:
    orders(raw)
    for width, titles in ((120, True), (44, False)):
        told, code = terminal(tool, ("stats", "--once"), lambda _: False, width=width)
        assert code == 0
        lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", told).splitlines()
        assert ("missed" in lines[0], "kind" in lines[0]) == (titles, titles)
        assert "lag" in lines[0]
        assert all(len(line) <= width for line in lines)
        assert [line.split()[0] for line in lines if line.lstrip().startswith(("bil", "sea"))] == [
            "billing",
            "search",
        ]


def test_a_terminal_gets_a_bar_and_ctrl_c_ends_the_run(
    tool: Tool, sqlite: Database, raw: Any
) -> None:
    users(sqlite, 40_000)
    tool.run(*options(sqlite, "--declare", "--seed"))
    told, code = terminal(
        tool,
        options(sqlite, "--repair"),
        lambda shown: re.search(r"\d+/40000.*/s", shown) is not None,
    )
    assert code == 130
    assert "Traceback" not in told
    assert no_run(raw)


@pytest.mark.parametrize(
    ("answer", "left", "code"), [(b"y\n", 0, 0), (b"n\n", 2, 2), (b"\n", 2, 2)]
)
def test_a_terminal_is_asked_before_all_is_discarded(
    tool: Tool, raw: Any, answer: bytes, left: int, code: int
) -> None:
    orders(raw)
    words = ("dead", "discard", "orders", "billing", "--all")
    told, ended = terminal(tool, words, lambda shown: "[y/N]" in shown, answer)
    assert "Discard 2 dead events of billing of orders? [y/N]" in told
    assert ended == code
    assert raw.xlen("orders:dead") == left


def test_colours_are_for_terminals_alone_and_can_be_forced(
    tool: Tool, sqlite: Database, raw: Any
) -> None:
    users(sqlite)
    seeded(tool, sqlite)
    plant(raw, sqlite)
    asked = options(sqlite, "--wait", "0")
    assert "\x1b[" not in tool.run(*asked).out
    assert "\x1b[" in tool.run(*asked, "--color", "always").out
