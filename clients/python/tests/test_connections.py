"""Lost replies, time-outs, restarts, and the kinds of clients of redis-py."""

from __future__ import annotations

import signal
import threading
import time

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

import dirty_streams as ds
from conftest import Lossy, Server

USERS = ds.Entity("user", types={"age": "int"}, streams=["users"])


def patient(port: int) -> redis.Redis:
    """A client that sends again whatever got no reply."""
    return redis.Redis(
        port=port,
        retry=Retry(ConstantBackoff(0.01), 3),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError],
    )


def test_a_consume_is_not_sent_again(client: ds.Client, lossy: Lossy) -> None:
    client.declare(USERS)
    client.group("users", "g", start=0)
    client.cursor("users", "c", start=0)
    client.flush(USERS, *(ds.insert(n, {}) for n in range(4)))
    raw = patient(lossy.port)
    shaky = ds.Client(raw)
    lossy.words = [b"DIRTY.CONSUME"]
    with pytest.raises(redis.ConnectionError):
        shaky.consume("users", "g", "me", limit=2)
    group = client.stats("users").reader("g")
    assert group is not None
    assert (group.delivered, group.held) == (2, 2)
    again = shaky.consume("users", "g", "me", limit=2, pending=True)
    assert [(event.id, event.deliveries) for event in again] == [("0", 2), ("1", 2)]
    lossy.words = [b"DIRTY.CONSUME"]
    with pytest.raises(redis.ConnectionError):
        shaky.follow("users", "c")
    raw.close()


def test_a_flush_is_sent_again_as_the_client_says(client: ds.Client, lossy: Lossy) -> None:
    client.declare(USERS)
    raw = patient(lossy.port)
    lossy.words = [b"DIRTY.FLUSH", b"DIRTY.FLUSH"]
    assert ds.Client(raw).flush(USERS, ds.insert(1, {})) == ["none"]
    assert len(client.read("users", 0)) == 1
    raw.close()
    once = redis.Redis(port=lossy.port, retry=Retry(ConstantBackoff(0), 0))
    lossy.words = [b"DIRTY.FLUSH"]
    with pytest.raises(redis.ConnectionError) as lost:
        ds.Client(once).flush(USERS, ds.insert(2, {}))
    assert ds.is_outage(lost.value)
    assert client.get(USERS, 2) == {}
    once.close()


def test_a_wait_may_be_longer_than_the_time_out(server: Server, client: ds.Client) -> None:
    client.group("users", "g", start="$")
    raw = server.client(socket_timeout=0.5)
    hasty = ds.Client(raw)
    begun = time.monotonic()
    assert len(hasty.consume("users", "g", "c", block=0.9)) == 0
    assert time.monotonic() - begun >= 0.9
    timer = threading.Timer(0.8, lambda: client.flush(USERS, ds.insert(1, {})))
    timer.start()
    assert len(hasty.consume("users", "g", "c", block=0)) == 1
    timer.join()
    raw.close()


def test_a_server_that_says_nothing_is_a_time_out(own_server: Server) -> None:
    raw = own_server.client(socket_timeout=0.3, retry=Retry(ConstantBackoff(0), 0))
    client = ds.Client(raw)
    client.group("users", "g", start="$")
    assert own_server.process is not None
    own_server.process.send_signal(signal.SIGSTOP)
    for block in (None, 0.1):
        with pytest.raises(redis.TimeoutError):
            client.consume("users", "g", "c", block=block)
    own_server.process.send_signal(signal.SIGCONT)
    patient = own_server.client()
    assert patient.ping()
    patient.close()
    assert len(client.consume("users", "g", "c")) == 0
    raw.close()


def test_a_restart_is_an_outage_and_no_more(own_server: Server) -> None:
    raw = own_server.client(retry=Retry(ConstantBackoff(0), 0))
    client = ds.Client(raw)
    client.declare(USERS)
    client.flush(USERS, ds.insert(1, {"age": 1}))
    own_server.kill()
    with pytest.raises(redis.ConnectionError) as gone:
        client.get(USERS, 1)
    assert ds.is_outage(gone.value)
    own_server.start()
    assert client.get(USERS, 1) == {"age": 1}
    raw.close()


def test_an_interrupted_call_leaves_no_reply_to_the_next(server: Server, client: ds.Client) -> None:
    client.group("users", "g", start="$")
    raw = server.client(max_connections=1)
    one = ds.Client(raw)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            one.consume("users", "g", "c", block=1)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert one.get_many(ds.Entity("none", streams=["s"]), []) == []
    assert one.stats("users").length == 0
    raw.close()


def test_one_connection_is_enough(server: Server) -> None:
    raw = server.client(single_connection_client=True)
    client = ds.Client(raw)
    client.declare(USERS)
    assert client.flush(USERS, ds.insert(1, {})) == ["insert"]
    assert client.reconcile(USERS, [(n, {}) for n in range(10)], batch=2).repaired == 9
    assert client.redis.client_list()
    raw.close()


def test_threads_share_a_client(client: ds.Client) -> None:
    client.declare(USERS)
    client.group("users", "g", start=0)
    effects: list[str] = []

    def work(index: int) -> None:
        for n in range(50):
            effects.extend(client.flush(USERS, ds.insert(f"{index}-{n}", {})))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert effects == ["insert"] * 400
    assert len(client.consume("users", "g", "c", limit=1000)) == 400
