"""Where readers must be told of every step: `accounts.py add ID AMOUNT`, `accounts.py close ID` or `accounts.py recover
MIN-AGE-MS`. Redis gets each flush before SQL commits (DEFER) and carries it out afterwards (COMMIT), so nobody can add
anything while Redis is away. Where it is enough to tell how it ended, marks and a relay do without that: see
docs/transactions.md."""

import json
import os
import sys
import uuid

from mortal import Mortal, connect_sql

DECLARATION = (
    "DIRTY.DECLARE account VERSION version TYPES 2 balance int version int STREAM account-changes PAYLOAD FULL"
).split()

# The number of a flush is the version of the row, deletes included.
TABLES = """
    CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, balance INTEGER, version INTEGER);
    CREATE TABLE IF NOT EXISTS flushes (version INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT, account INTEGER);
"""

ADD = """
    INSERT INTO accounts VALUES (:id, :amount, :version) ON CONFLICT (id) DO UPDATE
    SET balance = balance + excluded.balance, version = excluded.version
"""
CLOSE = "DELETE FROM accounts WHERE id = :id"


class Accounts:
    def __init__(self, sql, client):
        self.sql, self.redis = sql, client
        sql.executescript(TABLES)
        client.execute_command(*DECLARATION)  # the same again changes nothing

    def change(self, statement, id, amount=0):
        token = uuid.uuid4().hex
        # Commits at its end, or rolls back: then `recover` aborts the flush. (A COMMIT that fails over a network may
        # have happened all the same, so only the token's row can tell.)
        with self.sql:
            flush = self.sql.execute("INSERT INTO flushes (token, account) VALUES (?, ?)", [token, id])
            self.sql.execute(statement, {"id": id, "amount": amount, "version": flush.lastrowid})
            self._flush("DEFER", token, *self._operation(id, flush.lastrowid))
        return self.publish()

    def publish(self):
        """All that SQL has committed, in that order. Sent twice, it does nothing the second time."""
        flushes = self.sql.execute("SELECT version, token, account FROM flushes ORDER BY version").fetchall()
        if not flushes:
            return []
        replies = self.redis.execute_command("DIRTY.COMMIT", "account", *[token for _, token, _ in flushes])
        effects = []
        for (version, token, id), reply in zip(flushes, replies):
            # Null: it was carried out before, or Redis has lost it (a failover, a power cut). The row as it is now, or
            # that it is gone, makes it good, and is `none` or `stale` if there is nothing to make good.
            effects += reply or self._flush(*self._operation(id, version))
            with self.sql:
                self.sql.execute("DELETE FROM flushes WHERE token = ?", [token])
        return effects

    def recover(self, min_age_ms):
        """What processes left behind that died: at start-up, and now and then.

        The token's row says that SQL has committed. What still waits without one belongs to a transaction that
        never will, if it is older than any transaction may take.
        """
        # First what waits, then the rows: a transaction that commits in between has its row there.
        waiting = self.redis.execute_command("DIRTY.DEFERRED", "account", "MINAGE", min_age_ms)
        committed = {token for [token] in self.sql.execute("SELECT token FROM flushes")}
        left = [token for token, *_ in waiting if token not in committed]
        aborted = sum(self.redis.execute_command("DIRTY.ABORT", "account", token) for token in left)
        return self.publish(), aborted

    def _operation(self, id, version):
        row = self.sql.execute("SELECT balance, version FROM accounts WHERE id = ?", [id]).fetchone()
        if row is None:
            return ["DELETE", id, "JSON", json.dumps({"version": version})]
        return ["SNAPSHOT", id, "JSON", json.dumps({"balance": row[0], "version": row[1]})]

    def _flush(self, *words):
        return self.redis.execute_command("DIRTY.FLUSH", "account", *words)


def main(action, number, amount=0):
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    accounts = Accounts(connect_sql(), Mortal.from_url(url, protocol=3, decode_responses=True))
    if action == "add":
        print(*accounts.change(ADD, int(number), int(amount)))
    elif action == "close":
        print(*accounts.change(CLOSE, int(number)))
    elif action == "recover":
        published, aborted = accounts.recover(int(number))
        print(f"published {published}, aborted {aborted}")


if len(sys.argv) < 3:
    sys.exit(__doc__)
main(*sys.argv[1:])
