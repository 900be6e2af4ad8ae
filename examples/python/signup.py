"""The application: `signup.py save ID NAME EMAIL`, `signup.py recover MIN-AGE-MS` or `signup.py compare`."""

import os
import sqlite3
import sys

from mortal import Mortal
from users import Users

URL = os.environ.get("REDIS_URL", "redis://localhost:6379")


def main(action, *args):
    sql = sqlite3.connect(os.environ.get("USERS_DB", "users.db"))
    client = Mortal.from_url(URL, protocol=3, decode_responses=True)
    users = Users(sql, client)
    published, aborted = users.recover()
    if published or aborted:
        print(f"a dead process left flushes: published {published}, aborted {aborted}")
    if action == "save":
        id, name, email = args
        print(f"user {id}:", users.save(int(id), name, email))
    elif action == "recover":
        published, aborted = users.recover(int(args[0]))
        print(f"published {published}, aborted {aborted}")
    elif action == "compare":
        for row in sql.execute("SELECT id, name, email, version FROM users ORDER BY id"):
            [snapshot] = client.execute_command("DIRTY.GET", "user", row[0])
            values = snapshot and tuple(snapshot.get(name) for name in ("id", "name", "email", "version"))
            print(row, "is what Redis has" if row == values else f"but Redis has {values}")


if len(sys.argv) < 2:
    sys.exit(__doc__)
main(*sys.argv[1:])
