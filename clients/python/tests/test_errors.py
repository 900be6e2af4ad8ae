from __future__ import annotations

import pickle
import threading
from collections.abc import Callable

import pytest
import redis

import dirty_streams as ds

USERS = ds.Entity(
    "user", types={"age": "int"}, streams=[ds.Stream("full", maxlen=1, on_full="REFUSE")]
)
CASES: list[tuple[str, type[ds.DirtyError], Callable[[ds.Client], object]]] = [
    ("NODECL", ds.NoDeclarationError, lambda c: c.info("nothing")),
    ("EXISTS", ds.ExistsError, lambda c: c.flush(USERS, ds.insert(1, {"age": 2}))),
    ("NOENTITY", ds.NoEntityError, lambda c: c.flush(USERS, ds.update(2, {"age": 2}))),
    ("BADVALUE", ds.BadValueError, lambda c: c.flush(USERS, ds.snapshot(1, {"age": "x"}))),
    ("WRONGTYPE", ds.WrongTypeError, lambda c: c.read("user", "0")),
    ("NORUN", ds.NoRunError, lambda c: c.reconcile_status(USERS, "no")),
    ("NOREADER", ds.NoReaderError, lambda c: c.consume("full", "no", "c")),
    ("NOPOSITION", ds.NoPositionError, lambda c: c.read("full", "99999999999999-1/0")),
    (
        "NOTHELD",
        ds.NotHeldError,
        lambda c: c.flush(USERS, ds.touch(1), ack=ds.Ack("full", "g", "c", ("1-1",))),
    ),
    ("FULL", ds.FullError, lambda c: c.flush(USERS, ds.touch(1))),
    (
        "LIMIT",
        ds.LimitError,
        lambda c: c.flush(USERS, ds.snapshot(1, {f"f{n}": "" for n in range(70_000)})),
    ),
    ("ERR", ds.DirtyError, lambda c: c.group("full", "new")),
    ("ERR", ds.DirtyError, lambda c: c.group("full", "g", max_deliveries=1)),
]


@pytest.mark.parametrize(
    ("code", "kind", "wrong"), CASES, ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)]
)
@pytest.mark.parametrize("protocol", [2, 3])
def test_each_code_has_its_class(
    server: object,
    code: str,
    kind: type[ds.DirtyError],
    wrong: Callable[[ds.Client], object],
    protocol: int,
) -> None:
    raw: redis.Redis = server.client(protocol=protocol)  # type: ignore[attr-defined]
    client = ds.Client(raw)
    client.declare(USERS)
    client.group("full", "g", start="0")
    client.flush(USERS, ds.snapshot(1, {"age": 1}))
    with pytest.raises(ds.DirtyError) as refused:
        wrong(client)
    raw.close()
    error = refused.value
    assert type(error) is kind
    assert repr(error) == f"{kind.__name__}({str(error)!r})"
    assert error.code == code
    assert isinstance(error, redis.ResponseError)
    assert not ds.is_outage(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code) == (kind, str(error), code)


def test_errors_of_the_server_stay_what_they_are(client: ds.Client, raw: redis.Redis) -> None:
    client.declare(USERS)
    raw.acl_setuser(
        "reader", enabled=True, nopass=True, keys=["*"], categories=["+@read", "+@connection"]
    )
    limited = redis.Redis(
        port=raw.connection_pool.connection_kwargs["port"], username="reader", password="x"
    )
    with pytest.raises(redis.exceptions.NoPermissionError):
        ds.Client(limited).declare(USERS)
    limited.close()
    raw.acl_deluser("reader")
    raw.config_set("maxmemory", "1")
    with pytest.raises(redis.exceptions.OutOfMemoryError) as full:
        client.flush(USERS, ds.snapshot(1, {}))
    raw.config_set("maxmemory", "0")
    assert ds.is_outage(full.value)


def test_a_wait_that_is_ended_is_an_outage(client: ds.Client, raw: redis.Redis) -> None:
    client.group("s", "g", start="$")
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            client.consume("s", "g", "c", block=20)
        except redis.RedisError as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    waiting: list[dict[str, str]] = []
    while not waiting:
        waiting = [c for c in raw.client_list() if "b" in c["flags"]]
    raw.client_unblock(int(waiting[0]["id"]), error=True)
    thread.join()
    (error,) = ended
    assert isinstance(error, ds.DirtyError)
    assert error.code == "UNBLOCKED"
    assert ds.is_outage(error)
