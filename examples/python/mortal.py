import os
import signal
import sqlite3

import redis


def connect_sql():
    sql = sqlite3.connect(os.environ.get("ACCOUNTS_DB", "accounts.db"))
    sql.set_trace_callback(lambda statement: heed("BEFORE", statement))
    return sql


class Mortal(redis.Redis):
    def execute_command(self, *args, **options):
        heed("BEFORE", args[0])
        reply = super().execute_command(*args, **options)
        heed("AFTER", args[0])
        return reply


def heed(when, statement):
    """For the story only: the process dies just before the first SQL statement or Redis command that begins with the word in
    DIE_BEFORE, or just after the one in DIE_AFTER."""
    word = os.environ.get(f"DIE_{when}")
    if word and statement.startswith(word):
        os.kill(os.getpid(), signal.SIGKILL)
