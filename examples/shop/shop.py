"""The shop in Python: see README.md for what each command does. `python shop.py COMMAND [ARGUMENT…]`"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import redis
from redis.cluster import ClusterNode

import dirty_streams as ds

SHOP = Path(os.environ.get("SHOP", "."))
PARTITIONS = int(os.environ["PARTITIONS"]) if "PARTITIONS" in os.environ else None

T = TypeVar("T")


@dataclass
class Customer:
    id: str
    name: str
    city: str
    version: int


@dataclass
class Order:
    id: int
    customer: str
    amount: Decimal
    lines: int
    state: str
    paid: bool
    version: int


changes = ds.Stream("shop-changes", payload="FULL")
customers = ds.Entity.of(Customer, streams=[changes], version="version", partitions=PARTITIONS)
orders = ds.Entity.of(
    Order, types={"amount": "decimal:2"}, streams=[changes], version="version", partitions=PARTITIONS
)
TYPES = {"customer": customers, "order": orders}
STREAM = orders.streams[0]  # with its partitions
BOTH = ds.SNAPSHOT(customers, orders)


def connect() -> redis.Redis | redis.RedisCluster:
    if nodes := os.environ.get("REDIS_CLUSTER"):
        places = (node.rsplit(":", 1) for node in nodes.split())
        return redis.RedisCluster(startup_nodes=[ClusterNode(host, int(port)) for host, port in places])
    return redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379"))


def patiently(call: Callable[[], T]) -> T:
    """Calls until Redis answers."""
    while True:
        try:
            return call()
        except Exception as error:
            if not ds.is_outage(error):
                raise
            time.sleep(0.1)


def declare(client: ds.Client) -> None:
    for entity in TYPES.values():
        patiently(lambda entity=entity: client.declare(entity))
    patiently(
        lambda: client.group(
            STREAM,
            "billing",
            start="0",
            where=ds.Where(entities=["order"]),
            order="ENTITY",
            claim=1.0,
            max_deliveries=20,
            on_dead="PARK",
        )
    )
    patiently(lambda: client.cursor(STREAM, "directory", start=BOTH))


# Writing.

NAMES = ["Åsa", "Bo", "Çelik", "Dora", "Émile"]
CITIES = ["Oslo", "Łódź", "Paris", "Roma"]
STATES = ["new", "packed", "sent", "back"]


def steps(k: int) -> Iterator[tuple[Customer | Order, bool]]:
    """What writer K saves, step by step, and whether it is deleted."""
    x = 1000 + k
    versions: dict[str | int, int] = {}
    known: dict[int, Order] = {}

    def draw(n: int) -> int:
        nonlocal x
        x = x * 48271 % 2147483647
        return x % n

    def version(id: str | int) -> int:
        versions[id] = versions.get(id, 0) + 1
        return versions[id]

    i = -1
    while True:
        i += 1
        a = draw(10)
        if a == 0:
            name, city = NAMES[draw(5)], CITIES[draw(4)]
            yield Customer(f"{name}-{k}", name, city, version(f"{name}-{k}")), False
            continue
        id = k + 3 * draw(40)
        order = known.get(id)
        if order is None:
            order = Order(id, f"{NAMES[draw(5)]}-{k}", Decimal(1 + draw(9999)).scaleb(-2), 1, "new", False, version(id))
        elif a == 9:
            yield replace(known.pop(id), version=version(id)), True
            continue
        else:
            amount = order.amount + Decimal(1 + draw(5000)).scaleb(-2)
            state, paid = STATES[draw(4)], draw(2) == 1
            order = replace(
                order, amount=amount, lines=order.lines + 1, state=state, paid=paid, version=version(id)
            )
        if k == 1 and i == 20:
            order.state = "poisoned"
        known[id] = order
        yield order, False


def row(entity: Customer | Order) -> dict[str, object]:
    return {field: value for field, value in asdict(entity).items() if field != "id"}


def write(client: ds.Client, *words: str) -> None:
    k, first, last = map(int, words)
    lost = 0
    for i, (entity, deleted) in zip(range(last), steps(k)):
        if i < first:
            continue
        key = "order" if isinstance(entity, Order) else "customer"
        saved = {"entity": key, "id": str(entity.id), "row": None if deleted else row(entity)}
        with open(SHOP / f"database-{k}.jsonl", "a", encoding="utf-8") as database:
            database.write(json.dumps(saved, default=str, ensure_ascii=False) + "\n")
        if i < 300 and i % 13 == 5:
            lost += 1
        else:
            change = ds.delete(entity.id, {"version": entity.version}) if deleted else entity
            patiently(lambda: client.flush(TYPES[key], change, meta={"writer": str(k)}))
        time.sleep(0.008)
    print(f"writer {k}: {last - first} saved, {lost} lost")


# Working.


class Poisoned(Exception):
    pass


def bill(event: ds.Event) -> None:
    new = {field: change.new for field, change in event.changes.items()}
    if new.get("state") == "poisoned" and not (SHOP / "mended").exists():
        raise Poisoned(f"order {event.id} is poisoned")
    if event.deliveries == 1 and event.id % 10 == 0:
        raise RuntimeError(f"order {event.id} is busy")
    time.sleep(1.5 if event.op is ds.Op.INSERT and event.id % 40 == 7 else 0.012)
    before = event.changes["version"].old if "version" in event.changes else event.version
    line = [
        event.event_id,
        event.id,
        event.op,
        "-" if event.op is ds.Op.INSERT else before,
        "-" if event.op is ds.Op.DELETE else event.version,
        new.get("amount") or "",
    ]
    ledger = os.open(SHOP / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(ledger, ("\t".join(map(str, line)) + "\n").encode())
    os.close(ledger)


def work(client: ds.Client) -> None:
    worker = ds.Worker(
        client,
        STREAM,
        "billing",
        bill,
        entities=[orders],
        limit=10,
        retry_base=0.05,
        fatal=(Poisoned,),
        on_failure=lambda event, error, fate: None,
    )
    print("ready", flush=True)
    worker.run()


# Projecting.


def apply(copy: dict, event: ds.Event) -> None:
    rows, id = copy[event.entity], str(event.id)
    new = {field: change.new for field, change in event.changes.items()}
    if event.op is ds.Op.DELETE:
        rows.pop(id, None)
    elif event.op is ds.Op.READ:
        rows[id] = [copy["build"], dict(event.after)]
    elif event.op is ds.Op.INSERT:
        rows[id] = [copy["build"], new]
    elif id in rows:
        rows[id] = [copy["build"], {**rows[id][1], **new}]


def project(client: ds.Client) -> None:
    file = SHOP / "directory.json"
    copies = [{"build": 0, "customer": {}, "order": {}} for _ in STREAM.keys]
    if file.exists():
        copies = json.loads(file.read_text())
    by_stream = dict(zip(STREAM.keys, copies))
    print("ready", flush=True)
    for batch in ds.Follower(client, STREAM, "directory", entities=[customers, orders], snapshot=BOTH):
        copy = by_stream[batch.stream]
        copy["build"] += batch.begin
        for event in batch:
            apply(copy, event)
        for key in TYPES if batch.phase == "stream" else ():
            copy[key] = {id: row for id, row in copy[key].items() if row[0] == copy["build"]}
        new = file.with_name(f"{file.name}.{os.getpid()}")
        new.write_text(json.dumps(copies, default=str))
        new.rename(file)


def rebuild(client: ds.Client) -> None:
    patiently(lambda: client.seek(STREAM, "directory", BOTH))


# Repair.


def dead(client: ds.Client) -> None:
    for key in STREAM.keys:
        for event in patiently(lambda: client.read(f"{key}:dead", "0", entities=[orders])):
            print(f"order {event.id}: {event.dead.error[event.dead.error.index('order') :]}")


def redrive(client: ds.Client) -> None:
    print(patiently(lambda: client.redrive(STREAM, "billing")))


def database(key: str) -> Iterator[tuple[str, dict]]:
    rows = {}
    for file in SHOP.glob("database-*.jsonl"):
        for saved in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            if saved["entity"] == key:
                rows[saved["id"]] = saved["row"]
    yield from ((id, row) for id, row in rows.items() if row is not None)


def repair(client: ds.Client) -> None:
    for key, entity in TYPES.items():
        told = patiently(lambda: client.reconcile(entity, database(key), max_delete="50%"))
        print(f"{key}: {told.repaired} repaired, {told.deleted} deleted")


def state(client: ds.Client) -> None:
    for key, entity in TYPES.items():
        for id, row in client.scan(entity):
            print(json.dumps({"entity": key, "id": str(id), "row": row}, default=str))


COMMANDS = {
    command.__name__: command
    for command in (declare, write, work, project, rebuild, dead, redrive, repair, state)
}
if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
    sys.exit(f"usage: python shop.py {'|'.join(COMMANDS)}")
COMMANDS[sys.argv[1]](ds.Client(patiently(connect)), *sys.argv[2:])
