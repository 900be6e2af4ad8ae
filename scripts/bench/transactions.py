#!/usr/bin/env python3
"""What a save takes the application by each way of docs/transactions.md, beside SQL alone: a row of ten columns in SQLite,
which waits for the disk at each commit, and a Redis with appendfsync everysec. Prints a table: transactions.py [saves]"""

import pathlib
import sqlite3
import statistics
import sys
import time

from server import AOF, Server, encoded

SAVES = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
COLUMNS = [f"column{n}" for n in range(9)]

TABLES = f"""
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE users (id INTEGER PRIMARY KEY, {", ".join(f"{name} TEXT" for name in COLUMNS)});
    CREATE TABLE dirty (mark INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER);
    CREATE TABLE flushes (token TEXT PRIMARY KEY, user INTEGER);
"""


class App:
    def __init__(self, server):
        self.call = server.call
        self.sql = sqlite3.connect(pathlib.Path(server.folder, "app.db"), isolation_level=None)
        self.sql.executescript(TABLES)
        self.call("DIRTY.DECLARE", "user", "TYPES", 1, "id", "int", "STREAM", "user-changes", "PAYLOAD", "FULL")
        for id in range(100):
            self.alone(id, "seeded")
            self.call(*self.flush(id, "seeded"))

    def row(self, id, text):
        return [id, *(f"{text} {name}" for name in COLUMNS)]

    def write(self, id, text):
        self.sql.execute(f"REPLACE INTO users VALUES (?{', ?' * len(COLUMNS)})", self.row(id, text))

    def flush(self, id, text, *options):
        pairs = [word for pair in zip(["id", *COLUMNS], self.row(id, text)) for word in pair]
        return ["DIRTY.FLUSH", "user", *options, "SNAPSHOT", id, 10, *pairs]

    def alone(self, id, text):
        self.sql.execute("BEGIN IMMEDIATE")
        self.write(id, text)
        self.sql.execute("COMMIT")

    def mark(self, id, text):
        self.sql.execute("BEGIN IMMEDIATE")
        self.write(id, text)
        self.sql.execute("INSERT INTO dirty (user) VALUES (?)", [id])
        self.sql.execute("COMMIT")

    def flush_behind(self, id, text):
        self.alone(id, text)
        self.call(*self.flush(id, text))

    def defer(self, id, text):
        token = f"{id} {text}"
        self.sql.execute("BEGIN IMMEDIATE")
        self.write(id, text)
        self.call(*self.flush(id, text, "DEFER", token))
        self.sql.execute("INSERT INTO flushes VALUES (?, ?)", [token, id])
        self.sql.execute("COMMIT")
        self.call("DIRTY.COMMIT", "user", token)
        self.sql.execute("DELETE FROM flushes WHERE token = ?", [token])

    def relay(self):
        """Sends what is marked, 500 marks a turn. Returns how many marks there were."""
        sent = 0
        while marks := self.sql.execute("SELECT mark, user FROM dirty ORDER BY mark LIMIT 500").fetchall():
            users = {user for _, user in marks}
            rows = self.sql.execute(f"SELECT * FROM users WHERE id IN ({','.join(map(str, users))})").fetchall()
            words = [word for row in rows for word in self.snapshot(row)]
            self.call.pipelined([encoded("DIRTY.FLUSH", "user", *words)])
            self.sql.execute(f"DELETE FROM dirty WHERE mark IN ({','.join(str(mark) for mark, _ in marks)})")
            sent += len(marks)
        return sent

    def snapshot(self, row):
        return ["SNAPSHOT", row[0], 10, *(word for pair in zip(["id", *COLUMNS], row) for word in pair)]


def main():
    with Server(AOF) as server:
        app = App(server)
        ways = {
            "SQL alone": app.alone,
            "dirty marks and a relay": app.mark,
            "DEFER and COMMIT": app.defer,
            "FLUSH behind SQL's COMMIT": app.flush_behind,
        }
        seconds = {way: [] for way in ways}
        for turn in range(SAVES):  # by turns, so that all have the same disk
            for way, save in ways.items():
                begin = time.perf_counter()
                save(turn % 100, f"{way} {turn}")
                seconds[way].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        sent = app.relay()
        took = time.perf_counter() - begin
        if server.errors() or sent != SAVES:
            raise RuntimeError(f"{server.errors()} errors, {sent} marks")
        print(f"| a save, {SAVES} of each | ms, median | ms, 99th percentile |\n| --- | --- | --- |")
        for way, all_of_it in seconds.items():
            percentile = statistics.quantiles(all_of_it, n=100)[98]
            print(f"| {way} | {statistics.median(all_of_it) * 1e3:.2f} | {percentile * 1e3:.2f} |")
        print(f"\nThe relay sent {sent} marks of 100 rows in {took * 1e3:.0f} ms.")


main()
