"""Compares what the shop has left: `check.py FOLDER STATE LEDGER_STREAM [cluster]`, see README.md.

STATE is the output of `shop state`; LEDGER_STREAM has the events of the stream as DIRTY.READ … JSON gives them, a line each.
"""

import glob
import json
import sys
from collections import defaultdict
from decimal import Decimal

folder, state_file, stream_file = sys.argv[1:4]
may_lose = sys.argv[4:] == ["cluster"]
wrong = []


def lines(name):
    with open(name, encoding="utf-8") as file:
        return file.read().splitlines()


def database():
    rows = {"customer": {}, "order": {}}
    for name in glob.glob(f"{folder}/database-*.jsonl"):
        for saved in map(json.loads, lines(name)):
            if saved["row"] is None:
                rows[saved["entity"]].pop(saved["id"], None)
            else:
                rows[saved["entity"]][saved["id"]] = saved["row"]
    return rows


def redis():
    rows = {"customer": {}, "order": {}}
    for told in map(json.loads, lines(state_file)):
        rows[told["entity"]][told["id"]] = told["row"]
    return rows


def projection():
    with open(f"{folder}/directory.json", encoding="utf-8") as file:
        copies = json.load(file)
    return {
        entity: {id: row for copy in copies for id, (_, row) in copy[entity].items()} for entity in ("customer", "order")
    }


def number(event_id):
    return tuple(map(int, event_id.split("-")))


def ledger():
    """The amounts of orders, as they follow from the ledger; looks at each order's lines on the way."""
    amounts, versions, last, seen = {}, {}, {}, {}
    repeated = 0
    for line in lines(f"{folder}/ledger"):
        event, order, _, before, after, amount = entry = line.split("\t")
        if (event, order) in seen:  # partitions may have events of the same id
            repeated += 1
            if seen[event, order] != entry:
                wrong.append(f"event {event} was {seen[event, order]} and then {entry}")
            continue
        seen[event, order] = entry
        if number(event) < last.get(order, (0, 0)):
            wrong.append(f"order {order}: event {event} came after a later one")
        last[order] = number(event)
        known = versions.get(order, "-")
        set_back = may_lose and known != "-" and (before == "-" or int(before) < int(known))
        made_by_hand = order == "7777" and after == "-"
        if before != known and not set_back and not made_by_hand:
            wrong.append(f"order {order}: event {event} begins with version {before} where {known} was")
        versions[order] = after
        if after == "-":
            amounts.pop(order, None)
        elif amount:
            amounts[order] = Decimal(amount)
    return amounts, seen, repeated


def sums(rows):
    cities = defaultdict(Decimal)
    for order in rows["order"].values():
        customer = rows["customer"].get(order["customer"], {})
        cities[customer.get("city", "nowhere")] += Decimal(order["amount"])
    return dict(sorted(cities.items()))


saved = database()
for name, rows in ("Redis", redis()), ("the projection", projection()):
    for entity, expected in saved.items():
        for id in sorted(expected.keys() | rows[entity].keys()):
            if expected.get(id) != rows[entity].get(id):
                wrong.append(f"{entity} {id}: {expected.get(id)} in the database, {rows[entity].get(id)} in {name}")
    if sums(rows) != sums(saved):
        wrong.append(f"the sums are {sums(saved)} in the database, {sums(rows)} in {name}")

amounts, seen, repeated = ledger()
expected = {id: Decimal(row["amount"]) for id, row in saved["order"].items()}
if amounts != expected:
    wrong.append(f"amounts of the database and the ledger: {sorted(set(amounts.items()) ^ set(expected.items()))}")
events = map(json.loads, lines(stream_file))
published = {(event["id"], event["entity-id"]) for event in events if event["entity"] == "order"}
if published - seen.keys():
    wrong.append(f"not in the ledger: {sorted(published - seen.keys())}")
if seen.keys() - published and not may_lose:
    wrong.append(f"only in the ledger: {sorted(seen.keys() - published)}")

print(f"{len(seen)} events in the ledger, {repeated} of them more than once", file=sys.stderr)
for city, total in sums(saved).items():
    print(f"{city}: {total}")
print(f"{len(saved['order'])} orders of {len(saved['customer'])} customers, sum {sum(expected.values())}")
print("\n".join(wrong[:20] or ["the database, Redis, the projection and the ledger agree"]))
sys.exit(1 if wrong else 0)
