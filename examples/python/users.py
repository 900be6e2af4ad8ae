"""The data layer: users are rows of SQLite. A change and its mark are one transaction, and a relay sends Redis the users
that are marked. They can be saved and deleted while Redis is away, and no crash loses a change."""

import json
import logging
from datetime import datetime, timezone

import redis

DECLARATION = (
    "DIRTY.DECLARE user VERSION version TYPES 2 id int version int"
    " STREAM user-changes PAYLOAD FULL STREAM user-cdc FORMAT DEBEZIUM"
).split()

# The number of a mark is the version of the row. AUTOINCREMENT never gives a number twice, so that the version of a user
# who is saved again after a delete is greater than that of the delete.
TABLES = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT, email TEXT, version INTEGER);
    CREATE TABLE IF NOT EXISTS dirty (mark INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER);
"""

# One statement, so that no row is older than its mark.
MARKED = """
    SELECT user, max(mark) AS mark, users.* FROM dirty LEFT JOIN users ON id = user GROUP BY user ORDER BY 2 LIMIT 200
"""

REFUSALS = "BADVALUE", "LIMIT", "FULL", "WRONGTYPE"  # a single row may be the reason; other errors concern them all


def mark(sql, id):
    """Must be in the transaction that changes the row. SQLite has one writer at a time; where others write meanwhile, lock
    the id first, so that the later mark is of the later change."""
    return sql.execute("INSERT INTO dirty (user) VALUES (?)", [id]).lastrowid


class Users:
    """This is all that the application calls. It does not know Redis."""

    def __init__(self, sql):
        self.sql = sql
        sql.executescript(TABLES)

    def save(self, id, name, email):
        with self.sql:
            self.sql.execute("REPLACE INTO users VALUES (?, ?, ?, ?)", [id, name, email, mark(self.sql, id)])

    def delete(self, id):
        with self.sql:
            self.sql.execute("DELETE FROM users WHERE id = ?", [id])
            mark(self.sql, id)


class Relay:
    """Several may run at once: a row or a delete that is older than what another one has sent is `stale`."""

    def __init__(self, sql, client):
        self.sql, self.redis = sql, client
        sql.executescript(TABLES)

    def send(self):
        """Sends some of the users that are marked, as they are now. After a crash it sends them again, which is `none`.
        Returns the effects by id, None for a user who is refused."""
        rows = self._select(MARKED)
        effects = self._flush(rows) if rows else []
        with self.sql:
            for row, effect in zip(rows, effects):
                if effect is None:
                    mark(self.sql, row["user"])  # once more, behind the others
                # A mark that was made meanwhile has a greater number, and stays.
                self.sql.execute("DELETE FROM dirty WHERE user = ? AND mark <= ?", [row["user"], row["mark"]])
        return {row["user"]: effect for row, effect in zip(rows, effects)}

    def reconcile(self):
        """Makes Redis equal to the table, while everybody goes on: for what Redis has lost, or what changed by hand."""
        run = datetime.now(timezone.utc).isoformat()
        self._call("DIRTY.RECONCILE", "user", "BEGIN", run)
        try:
            rows = self._select("SELECT id AS user, users.* FROM users ORDER BY id")  # after BEGIN
            for start in range(0, len(rows), 200):
                self._call("DIRTY.FLUSH", "user", "RUN", run, *operations(rows[start : start + 200]))
            status = {"phase": "rows"}
            while status["phase"] != "done":
                status = self._call("DIRTY.RECONCILE", "user", "SWEEP", run)
            return status
        except BaseException:
            self._call("DIRTY.RECONCILE", "user", "ABORT", run)
            raise

    def _select(self, statement):
        rows = self.sql.execute(statement)
        names = [column[0] for column in rows.description]
        return [dict(zip(names, row)) for row in rows]

    def _flush(self, rows):
        try:
            return self._call("DIRTY.FLUSH", "user", *operations(rows))
        except redis.ResponseError as error:
            if not str(error).startswith(REFUSALS):
                raise
            if len(rows) > 1:  # the others need not wait for it
                return [effect for row in rows for effect in self._flush([row])]
            logging.error("user %s is refused: %s", rows[0]["user"], error)
            return [None]

    def _call(self, *words):
        try:
            return self.redis.execute_command(*words)
        except redis.ResponseError as error:
            if not str(error).startswith("NODECL"):
                raise
        # A new server, or one that has lost its data: what it had besides comes back by `reconcile`.
        self.redis.execute_command(*DECLARATION)
        return self.redis.execute_command(*words)


def operations(rows):
    """Each is the whole state, so it does no harm to send it late or twice. A user without a row was deleted."""
    words = []
    for row in rows:
        fields = {name: row[name] for name in ("id", "name", "email", "version")}
        if row["id"] is None:
            words += ["DELETE", row["user"], "JSON", json.dumps({"version": row["mark"]})]
        else:
            words += ["SNAPSHOT", row["user"], "JSON", json.dumps(fields)]
    return words
