"""The application: `signup.py save ID NAME EMAIL` or `signup.py delete ID`."""

import sys

from mortal import connect_sql
from users import Users


def main(action, id, *columns):
    users = Users(connect_sql())
    if action == "save":
        users.save(int(id), *columns)
    elif action == "delete":
        users.delete(int(id))


if len(sys.argv) < 3:
    sys.exit(__doc__)
main(*sys.argv[1:])
