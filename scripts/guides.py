#!/usr/bin/env python3
"""Runs the Python of the guides to seeding, transactions and projections, and of DIRTY.SCAN's page, as it stands there, and
compares what each copy has with the rows that it is a copy of: guides.py, in an empty folder, with REDIS_URL."""

import importlib
import os
import pathlib
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import redis

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"
r = redis.Redis.from_url(os.environ["REDIS_URL"], protocol=3, decode_responses=True)
call = r.execute_command
sys.path.insert(0, os.getcwd())


def programs(page):
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def module(name, text):
    """A program, imported."""
    pathlib.Path(f"{name}.py").write_text(text)
    return importlib.import_module(name)


def start(name, text):
    """A program that does not end by itself."""
    pathlib.Path(f"{name}.py").write_text(text)
    with open(f"{name}.log", "a") as log:
        return subprocess.Popen([sys.executable, f"{name}.py"], stdout=log, stderr=log)


def crash(program):
    """Kills it, unless it has ended by itself, which is wrong."""
    assert program.poll() is None, f"{program.args[1]} ended with {program.returncode}"
    program.kill()
    program.wait()


def declare(*options):
    r.flushall()
    call("DIRTY.DECLARE", "user", "TYPES", 1, "age", "int", "STREAM", "user-changes", *options)


def stored(*fields):
    """The snapshots by id, by the program of DIRTY.SCAN's page, which prints what it finds."""
    found, text = {}, programs("commands/dirty.scan.md")[0]
    exec(text.replace("print(id, user[\"name\"])", "found[id] = user"), {"found": found})
    return {id: tuple(user.get(field) for field in fields) for id, user in found.items()}


def rows(file, *fields):
    with sqlite3.connect(file, timeout=30) as sql:
        return {str(id): row for id, *row in sql.execute(f"SELECT id, {', '.join(fields)} FROM users")}


def same(what, have, want):
    wrong = {id for id in {*have, *want} if tuple(have.get(id, ())) != tuple(want.get(id, ()))}
    assert not wrong, f"{what}: of {len(want)}, {len(wrong)} differ: {[(id, have.get(id), want.get(id)) for id in [*wrong][:3]]}"


def soon(what, is_so):
    """Waits for what a program will have done."""
    for _ in range(300):
        try:
            return is_so()
        except (AssertionError, sqlite3.OperationalError) as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"{what}: {last}")


def transactions():
    app, relay = programs("transactions.md")
    app = module("application", app)
    call("DIRTY.DECLARE", "user", "TYPES", 1, "name", "int", "STREAM", "user-changes", "PAYLOAD", "FULL")
    for id in range(200):
        app.save(id, "1", f"user-{id}@example.org")
    running = start("relay", relay)
    time.sleep(0.5)
    crash(running)
    for id in range(0, 200, 2):
        app.save(id, "2", None) if id % 3 else app.delete(id)
    running = start("relay", relay)
    want = {id: (int(name), email) for id, (name, email) in rows("app.db", "name", "email").items()}
    soon("relay", lambda: same("relay", stored("name", "email"), want))
    app.save(7, "Alice", "is refused")
    marks = lambda: {user: (mark,) for mark, user in app.sql.execute("SELECT mark, user FROM dirty")}
    soon("marks", lambda: same("marks", marks(), {}))
    same("relay", stored("name", "email"), want)
    crash(running)
    assert "user 7 is refused: BADVALUE" in pathlib.Path("relay.log").read_text()
    with app.sql:
        app.sql.execute("UPDATE users SET name = '7' WHERE id = 7")


def seeding():
    declare("PAYLOAD", "FULL")
    guide = module("seeding", programs("seeding.md")[0])
    want = rows("app.db", "name", "email")
    guide.seed()
    same("seed", stored("name", "email"), want)
    r.delete("user:1")
    r.hset("user:3", "name", "Mallory")
    call("DIRTY.FLUSH", "user", "SEED", 1000, 1, "name", "Zoe")
    for options, numbers in ((["DRYRUN"], (2, 1, 0)), (["MAXDELETE", 0], None), ([], (0, 1, 1)), ([], (0, 0, 0))):
        try:
            status = guide.reconcile(*options)
            assert tuple(status[name] for name in ("repaired", "missing", "deleted")) == numbers, status
        except redis.ResponseError as error:
            assert numbers is None and str(error).startswith("LIMIT "), error
    same("reconcile", stored("name", "email"), want)


def write(seconds, seed):
    end = time.time() + seconds
    while time.time() < end:
        seed += 1
        id, age = seed * 7919 % 300, seed % 50
        call("DIRTY.FLUSH", "user", *(["DELETE", id] if seed % 5 == 0 else ["SNAPSHOT", id, 2, "name", f"n{seed}", "age", age]))
        if seed % 7 == 0:
            call("DIRTY.FLUSH", "user", "TOUCH", (id + 1) % 300)


def projections():
    cache, table, apply = programs("projections.md")
    full = re.sub(r"^def apply.*?\n\n\n", lambda _: apply + "\n\n", table, flags=re.MULTILINE | re.DOTALL)
    assert full.count("def apply") == 1 and full != table
    for payload, program in ("FULL", full), ("IMAGES", table):
        for file in pathlib.Path().glob("directory.db*"):
            file.unlink()
        declare("PAYLOAD", payload)
        write(0.5, 1)
        call("DIRTY.READER", "user-changes", "CURSOR", "directory", "FROM", "SNAPSHOT", 1, "user")
        for life in range(4):
            running = start("directory", program)
            write(0.7, 1000 * life)
            if life == 2:
                call("DIRTY.SEEK", "user-changes", "CURSOR", "directory", "SNAPSHOT", 1, "user")
            crash(running)
        running = start("directory", program)
        soon(payload, lambda: same(payload, rows("directory.db", "name", "age"), stored("name", "age")))
        running.send_signal(signal.SIGSTOP)
        write(0.3, 9000)
        call("DIRTY.FLUSH", "user", *(word for id in range(0, 300, 3) for word in ("DELETE", id)), "SNAPSHOT", 1, 0)
        r.xtrim("user-changes", maxlen=1)
        running.send_signal(signal.SIGCONT)
        soon("missed", lambda: same("missed", rows("directory.db", "name", "age"), stored("name", "age")))
        crash(running)
    users = {}
    assert "users, ack = {}, []" in cache
    cache = cache.replace("users, ack = {}, []", "ack = []")
    threading.Thread(target=exec, args=(cache, {"users": users}), daemon=True).start()
    write(1, 20000)
    call("DIRTY.FLUSH", "user", "SEED", 7, 1, "name", "seeded")
    r.delete("user:8")
    call("DIRTY.SEEK", "user-changes", "CURSOR", f"cache-{socket.gethostname()}", "SNAPSHOT", 1, "user")
    has = lambda: {id: (user.get("name"), user.get("age")) for id, user in users.copy().items()}
    soon("cache", lambda: same("cache", has(), stored("name", "age")))


for guide in transactions, seeding, projections:
    guide()
print("The programs of the guides did what they say.")
