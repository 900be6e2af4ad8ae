"""Workers whose server goes away, and workers that are told to end: no event is lost, and none is out of order."""

from __future__ import annotations

import collections
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

import dirty_streams as ds
from conftest import Server
from workers import (
    PATIENCE,
    STREAM,
    Proxy,
    client_of,
    declare,
    pending,
    running,
    step,
    update,
    wait_until,
    worker,
)

HERE = Path(__file__).resolve().parent


@pytest.fixture
def replica(server: Server, tmp_path: Path) -> Iterator[Server]:
    """A replica of `server`."""
    server.client().config_set("repl-diskless-sync-delay", 0)
    one = Server(tmp_path, "--replicaof", f"127.0.0.1 {server.port}")
    one.start()
    wait_until(lambda: one.client().info("replication")["master_link_status"] == "up")
    yield one
    one.kill()


class Log:
    """A handler that notes the first time of each step. A repetition must be harmless: it comes right after."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self.steps: list[tuple[int, int]] = []
        self.repeated = 0

    def __call__(self, event: ds.Event) -> None:
        time.sleep(self._seconds)
        with self._lock:
            if step(event) in self.steps:
                self.repeated += 1
            else:
                self.steps.append(step(event))

    def by_entity(self) -> dict[int, list[int]]:
        entities = collections.defaultdict(list)
        for entity_id, n in self.steps:
            entities[entity_id].append(n)
        return entities


def test_a_server_that_is_killed_and_started_again_loses_nothing(durable: Server) -> None:
    clients = [client_of(durable.port) for _ in range(3)]
    declare(clients[0], claim=1)
    log = Log(0.002)
    sent = [0]
    over = threading.Event()

    def produce() -> None:
        n = 0
        while not over.is_set():
            try:
                update(clients[0], (n % 5, n))
            except redis.RedisError:
                time.sleep(0.05)
            else:
                n += 1
                sent[0] = n

    producer = threading.Thread(target=produce)
    with running(worker(clients[1], log), worker(clients[2], log)):
        producer.start()
        for _ in range(3):
            time.sleep(0.4)
            durable.kill()
            time.sleep(0.1)
            durable.start()
        before = sent[0]
        wait_until(lambda: sent[0] > max(50, before))  # what was sent in the outage is known, too
        over.set()
        producer.join()
        wait_until(lambda: pending(clients[0]) == 0)
    assert log.by_entity() == {e: list(range(e, sent[0], 5)) for e in range(5)}


@pytest.mark.parametrize("lost", ["DIRTY.CONSUME", "DIRTY.FAIL", "DIRTY.ACK", "DIRTY.STATS"])
def test_after_a_lost_reply_what_it_brought_comes_first(server: Server, lost: str) -> None:
    """CLAIM is a minute: without PENDING the events would come after that."""
    client = client_of(server.port)
    declare(client)
    update(client, *((n % 3, n) for n in range(6)))
    proxy = Proxy(server.port)
    seen: list[tuple[int, int]] = []
    failed: set[int] = set()

    def handle(event: ds.Event) -> None:
        if event.id == 1 and not failed:
            failed.add(1)
            raise ValueError("once")
        if lost == "DIRTY.ACK" and not seen:
            time.sleep(1.0)  # so that events are acknowledged in between
        seen.append(step(event))

    proxy.lose_reply_to(lost)
    with running(worker(client_of(proxy.port), handle)):
        wait_until(lambda: pending(client) == 0)
    assert proxy.lost == 1
    assert sorted(set(seen)) == sorted((n % 3, n) for n in range(6))
    assert all(seen.index((e, e)) < seen.index((e, e + 3)) for e in range(3))
    proxy.close()


def kill_clients(server: Server) -> None:
    server.client().client_kill_filter(_type="normal", skipme=True)


def unblock(server: Server) -> None:
    client = server.client()
    for one in client.client_list():
        client.client_unblock(int(one["id"]), error=True)


def out_of_memory(server: Server) -> None:
    client = server.client()
    client.config_set("maxmemory", 1)
    time.sleep(0.5)
    client.config_set("maxmemory", 0)


def shutdown(server: Server) -> None:
    client_of(server.port).redis.shutdown(nosave=True)
    assert server.process is not None
    server.process.wait()
    time.sleep(0.2)
    server.start()


def demote(server: Server) -> None:
    client = server.client()
    client.replicaof("127.0.0.1", "1")
    time.sleep(0.3)
    client.replicaof("NO", "ONE")


OUTAGES = [kill_clients, unblock, out_of_memory, shutdown, demote]


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.__name__)
def test_an_outage_while_it_waits_is_waited_out(
    durable: Server, outage: Callable[[Server], None]
) -> None:
    client = client_of(durable.port)
    declare(client)
    log = Log()
    with running(worker(client_of(durable.port), log, block=0.5)):
        update(client, (1, 1))
        wait_until(lambda: log.steps)
        outage(durable)
        update(client, (1, 2))
        wait_until(lambda: len(log.steps) == 2)
        wait_until(lambda: pending(client) == 0)
    assert log.steps == [(1, 1), (1, 2)]
    assert log.repeated == 0


def test_loading_is_waited_out(tmp_path: Path) -> None:
    server = Server(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    client = client_of(server.port)
    declare(client)
    update(client, *((n, n) for n in range(200)))
    server.kill()
    server.options = (
        *server.options,
        "--key-load-delay",
        "3000",
        "--loading-process-events-interval-bytes",
        "1024",
    )
    log = Log()
    with running(worker(client_of(server.port), log)):
        server.start()
        wait_until(lambda: len(log.steps) == 200)
        wait_until(lambda: pending(client) == 0)
    assert log.repeated == 0
    server.kill()


def test_a_replica_is_waited_for_until_it_is_promoted(server: Server, replica: Server) -> None:
    client = client_of(server.port)
    declare(client)
    update(client, (1, 1))
    server.client().wait(1, 2000)
    log = Log()
    promoted = replica.client()
    with running(worker(client_of(replica.port), log)):
        time.sleep(0.3)
        assert log.steps == []  # READONLY
        promoted.replicaof("NO", "ONE")
        wait_until(lambda: log.steps)
    assert pending(client_of(replica.port)) == 0


def test_a_connection_to_a_demoted_primary_is_not_used_again(
    server: Server, replica: Server
) -> None:
    """As behind a name that moves to the new primary: the port of a proxy stands for it."""
    client, promoted = client_of(server.port), client_of(replica.port)
    declare(client)
    update(client, (1, 1))
    server.client().wait(1, 2000)
    proxy = Proxy(server.port)
    log = Log()
    begun, go_on = threading.Event(), threading.Event()

    def handle(event: ds.Event) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        log(event)

    with running(worker(client_of(proxy.port), handle)):
        assert begun.wait(PATIENCE)
        proxy.move(replica.port)
        replica.client().replicaof("NO", "ONE")
        server.client().replicaof("127.0.0.1", str(replica.port))
        try:
            update(promoted, (1, 2))
            go_on.set()
            wait_until(lambda: len(log.steps) == 2)
            wait_until(lambda: pending(promoted) == 0)
        finally:
            server.client().replicaof("NO", "ONE")
    proxy.close()


class Process:
    """A worker in a process of its own."""

    def __init__(
        self, server: Server, name: str, handling: float | str, concurrency: int = 1
    ) -> None:
        words = [server.url, name, str(handling), str(concurrency)]
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "a_worker.py"), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        out, error = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, out, error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_batch_hands_the_rest_to_others_at_once(
    server: Server, number: signal.Signals
) -> None:
    client = client_of(server.port)
    declare(client, order="STREAM", max_deliveries=2)
    update(client, (1, 1), (2, 1), (3, 1))
    process = Process(server, "first", "stop")
    assert process.line() == "begin 1 1"
    process.signal(number)
    assert process.end() == (0, "end 1 1\nleft\n", "")
    deliveries: list[tuple[int, int]] = []
    worker(client, lambda event: deliveries.append((event.id, event.deliveries))).run(
        until_idle=True
    )
    assert deliveries == [(2, 1), (3, 1)]


def test_a_signal_while_it_waits_ends_it(server: Server) -> None:
    client = client_of(server.port)
    declare(client)
    process = Process(server, "first", 0)
    wait_until(lambda: client.stats(STREAM).readers[0].consumers)
    process.signal(signal.SIGTERM)
    assert process.end() == (0, "left\n", "")
    assert client.stats(STREAM).readers[0].consumers == ()


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)]
)
def test_a_second_signal_ends_the_handlers_in_hand_and_hands_their_events_on(
    server: Server, number: signal.Signals, code: int, concurrency: int
) -> None:
    client = client_of(server.port)
    declare(client)
    update(client, (1, 1), (1, 2))
    process = Process(server, "first", "hang", concurrency)
    assert process.line() == "begin 1 1"
    process.signal(number)
    assert process.line() == "told"
    process.signal(number)
    returned, out, _ = process.end()
    assert (returned, out) == (code, "")
    log = Log()
    worker(client, log).run(until_idle=True)
    assert log.steps == [(1, 1), (1, 2)]


def test_workers_that_are_killed_lose_nothing(server: Server) -> None:
    client = client_of(server.port)
    declare(client, claim=0.5)
    update(client, *((n % 3, n) for n in range(30)))
    for n in range(2):
        process = Process(server, f"mortal-{n}", 0.005)
        for _ in range(4):
            assert process.line()
        process.signal(signal.SIGKILL)
        process.end()
    log = Log()
    with running(worker(client, log)):
        wait_until(lambda: pending(client) == 0)
    left = log.by_entity()
    assert all(numbers == list(range(numbers[0], 30, 3)) for numbers in left.values())
    assert sum(map(len, left.values())) > 20
