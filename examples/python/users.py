"""The data layer: users are rows of SQLite, and what changed in them goes to Redis if, and only if, SQL commits."""

import json
import logging
import uuid

import redis

DECLARATION = (
    "DIRTY.DECLARE user VERSION version TYPES 2 id int version int"
    " STREAM user-changes PAYLOAD FULL STREAM user-cdc FORMAT DEBEZIUM"
).split()

TABLES = """
    CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT, email TEXT, version INTEGER);
    CREATE TABLE IF NOT EXISTS flushes (token TEXT PRIMARY KEY, user INTEGER);
"""


class Users:
    def __init__(self, sql, client):
        self.sql = sql
        self.redis = client
        sql.executescript(TABLES)
        client.execute_command(*DECLARATION)  # the same again changes nothing

    def save(self, id, name, email):
        """Returns what Redis made of it, or None if Redis is away: then `recover` publishes it later."""
        token = uuid.uuid4().hex
        # Commits at its end, or rolls back: then `recover` aborts the flush. (A COMMIT that fails over a network may
        # have happened all the same, so only the row can tell.)
        with self.sql:
            snapshot = self._upsert(id, name, email)
            self.redis.execute_command("DIRTY.FLUSH", "user", "DEFER", token, "SNAPSHOT", id, "JSON", snapshot)
            self.sql.execute("INSERT INTO flushes VALUES (?, ?)", [token, id])
        try:
            return self.publish(token, id)
        except (redis.ConnectionError, redis.TimeoutError):
            return None

    def publish(self, token, id):
        """Sent twice, it does nothing the second time."""
        [effects] = self.redis.execute_command("DIRTY.COMMIT", "user", token)
        if effects is None:
            # It was carried out before, or Redis has lost it (a failover, a power cut). The row makes it good, and is
            # `none` or `stale` if there is nothing to make good.
            snapshot = self._snapshot(self.sql.execute("SELECT * FROM users WHERE id = ?", [id]))
            effects = self.redis.execute_command("DIRTY.FLUSH", "user", "SNAPSHOT", id, "JSON", snapshot)
        with self.sql:
            self.sql.execute("DELETE FROM flushes WHERE token = ?", [token])
        return effects[0]

    def recover(self, min_age_ms=60_000):
        """What processes left behind that died: at start-up, and now and then.

        The token's row says that SQL has committed. What still waits without one belongs to a transaction that
        never will, if it is older than any transaction may take.
        """
        # First what waits, then the rows: a transaction that commits in between has its row there.
        waiting = self.redis.execute_command("DIRTY.DEFERRED", "user", "MINAGE", min_age_ms)
        committed = dict(self.sql.execute("SELECT token, user FROM flushes ORDER BY rowid").fetchall())
        published = []
        for token, id in committed.items():
            try:
                published.append(self.publish(token, id))
            except redis.ResponseError as error:  # FULL, say: the others need not wait for it
                logging.error("the flush %s of user %s is refused: %s", token, id, error)
        left = [token for token, *_ in waiting if token not in committed]
        for token in left:
            self.redis.execute_command("DIRTY.ABORT", "user", token)
        return published, len(left)

    def _upsert(self, id, name, email):
        rows = self.sql.execute(
            "INSERT INTO users VALUES (?, ?, ?, 1) ON CONFLICT (id) DO UPDATE SET"
            " name = excluded.name, email = excluded.email, version = version + 1 RETURNING *",
            [id, name, email],
        )
        return self._snapshot(rows)

    def _snapshot(self, rows):
        [row] = rows.fetchall()
        return json.dumps(dict(zip([column[0] for column in rows.description], row)))
