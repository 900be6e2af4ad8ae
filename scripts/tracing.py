#!/usr/bin/env python3
"""Runs the programs of docs/tracing.md as they stand there, in Python and in Node, each as a sender for the other, and compares
the traces, parents and links of their spans: tracing.py, in a folder from which Node finds its libraries, with REDIS_URL."""

import atexit
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.parse

import redis

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/tracing.md").read_text()
PORT = urllib.parse.urlsplit(os.environ["REDIS_URL"]).port
PYTHON, NODE = [sys.executable], ["node"]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
call = redis.Redis(port=PORT, protocol=3, decode_responses=True).execute_command


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def replaced(text, old, new):
    assert text.count(old) == 1, f"docs/tracing.md has {old!r} {text.count(old)} times"
    return text.replace(old, new)


def write_programs():
    """The programs; their handlers also tell the baggage that is current."""
    users, follow, marks = blocks("python")
    users = replaced(users, "redis.Redis()", f"redis.Redis(port={PORT})")
    told = "from opentelemetry import baggage; print('baggage', baggage.get_baggage('tenant'), file=sys.stderr)"
    users = replaced(users, "def send_mail(address):\n", f"def send_mail(address):\n    {told}\n")
    [node] = blocks("js")
    node = replaced(node, "new Redis({", f"new Redis({{ port: {PORT},")
    told = "console.error('baggage', propagation.getActiveBaggage()?.getEntry('tenant')?.value);"
    node = replaced(node, "function index(address) {\n", f"function index(address) {{\n  {told}\n")
    for name, text in ("users.py", users), ("follow.py", follow), ("marks.py", marks), ("users.js", node):
        pathlib.Path(name).write_text(text)


def python_spans(text):
    at, decoder = 0, json.JSONDecoder()
    while start := text.find("{\n", at) + 1:
        try:
            span, at = decoder.raw_decode(text, start - 1)
        except json.JSONDecodeError:
            return  # it is being written
        yield {
            "name": span["name"],
            "kind": span["kind"].removeprefix("SpanKind."),
            "trace": span["context"]["trace_id"][2:],
            "id": span["context"]["span_id"][2:],
            "parent": (span["parent_id"] or "0x")[2:],
            "state": span["context"]["trace_state"],
            "links": [link["context"]["span_id"][2:] for link in span["links"]],
            "attributes": span["attributes"],
            "failed": span["status"]["status_code"] == "ERROR",
        }


TO_JSON = """
const brief = /Map\\(\\d+\\) {[^}]*}|\\[TraceState\\]/g; // how the console abbreviates
const text = require('fs').readFileSync(0, 'utf8').replace(brief, '{}').replace(/: [A-Z]\\w+ {/g, ': {');
const spans = eval('[' + text.replace(/^}\\n/gm, '},\\n') + ']');
console.log(JSON.stringify(spans.map((span) => ({
  name: span.name,
  kind: ['INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'][span.kind],
  trace: span.traceId,
  id: span.id,
  parent: span.parentSpanContext?.spanId ?? '',
  state: span.traceState ?? '',
  links: span.links.map((link) => link.context.spanId),
  attributes: span.attributes,
  failed: span.status.code === 2,
}))));
"""


def node_spans(text):
    whole = text[: text.rfind("\n}\n") + 3]  # the last one may be being written
    return json.loads(subprocess.run(["node", "-e", TO_JSON], input=whole, text=True, capture_output=True, check=True).stdout)


def spans_of(program, text):
    return list(python_spans(text)) if program[0] == sys.executable else node_spans(text)


def run(*program):
    done = subprocess.run(program, text=True, capture_output=True, timeout=30)
    assert done.returncode == 0, f"{program} ended with {done.returncode}: {done.stderr}"
    return done.stdout


def saved(program, user, email):
    """Saves a user, and gives the span of the flush, which is a child of the request's."""
    send, request = spans_of(program, run(*program, str(user), email))
    assert (request["name"], request["kind"], request["parent"]) == ("POST /users", "SERVER", ""), request
    assert (send["name"], send["kind"], send["links"]) == ("send user-changes", "PRODUCER", []), send
    assert (send["trace"], send["parent"]) == (request["trace"], request["id"]), (send, request)
    return send


class Worker:
    def __init__(self, *program):
        self.program, self.group = program, "mailer" if program[0] == sys.executable else "indexer"
        self.out, self.err = pathlib.Path(f"{self.group}.out"), pathlib.Path(f"{self.group}.err")
        self.process = subprocess.Popen(program, stdout=self.out.open("w"), stderr=self.err.open("w"))
        atexit.register(self.process.kill)  # unless it has ended: then it does nothing

    def handled(self, number):
        """The first spans of its handlers, when there are as many."""
        for _ in range(200):
            assert self.process.poll() is None, f"{self.group}: {self.err.read_text()}"
            text = self.out.read_text()
            if text.count("process user-changes") >= number and len(spans := spans_of(self.program, text)) >= number:
                return spans[:number]
            time.sleep(0.1)
        raise AssertionError(f"{self.group} has not handled {number} events: {self.out.read_text()}")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, self.err.read_text()


def check_worker(worker, sent, spans):
    """Each flush has a child that handles its event, or two if the handler fails."""
    for user, (send, failures) in sent.items():
        children = [span for span in spans if span["parent"] == send["id"]]
        assert len(children) == max(1, failures), f"{worker.group}: user {user} has {children} of {spans}"
        for number, span in enumerate(children, 1):
            told = span["attributes"]
            assert (span["name"], span["kind"]) == ("process user-changes", "CONSUMER"), span
            assert (span["trace"], span["links"]) == (send["trace"], [send["id"]]), (span, send)
            assert told["messaging.message.id"] == send["attributes"]["messaging.message.id"], (span, send)
            assert told["messaging.consumer.group.name"] == worker.group, span
            assert told["messaging.dirty_streams.deliveries"] == number, span
            assert (span["failed"], "error.type" in told) == ((True, True) if failures else (False, False)), span


def last_event():
    return call("DIRTY.READ", "user-changes", "FROM", "0")["events"][-1]["id"]


def deferred(user):
    """A flush by hand of a known trace, which waits, with a state and baggage, for a COMMIT that tells no trace."""
    meta = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1", "baggage": "tenant=acme"}
    pairs = [word for pair in meta.items() for word in pair]
    call("DIRTY.FLUSH", "user", "META", len(meta), *pairs, "DEFER", "tx", "SNAPSHOT", user, 1, "email", "e@example.com")
    call("DIRTY.COMMIT", "user", "tx")
    return {"id": PARENT, "trace": TRACE, "attributes": {"messaging.message.id": last_event()}}


def marked():
    """A row that is saved by SQLAlchemy, and sent by the relay."""
    [request] = spans_of(PYTHON, run(*PYTHON, "marks.py"))
    return {**request, "attributes": {"messaging.message.id": last_event()}}


write_programs()
[commands] = blocks("sh")
for command in commands.splitlines():
    run(*shlex.split(command.replace("redis-cli", f"redis-cli -p {PORT}", 1)))
python, node = [*PYTHON, "users.py"], [*NODE, "users.js"]
workers = [Worker(*python), Worker(*node)]
sent = {
    1: (saved(python, 1, "a@example.com"), 0),
    2: (saved(node, 2, "b@example.com"), 0),
    3: (saved(python, 3, "nonsense"), 2),
    4: (saved(node, 4, "nonsense"), 2),
    5: (deferred(5), 0),
    77: (marked(), 0),
}
assert not saved(python, 1, "a@example.com")["attributes"].get("messaging.message.id"), "nothing has changed"
assert not saved(node, 1, "a@example.com")["attributes"].get("messaging.message.id"), "nothing has changed"
for worker in workers:
    spans = worker.handled(8)
    check_worker(worker, sent, spans)
    [known] = [span for span in spans if span["trace"] == TRACE]
    assert "vendor" in known["state"], known
    told = worker.err.read_text()
    assert told.count("baggage acme\n") == 1, f"{worker.group}: the baggage is not current: {told}"

dead = call("DIRTY.READ", "user-changes:dead", "FROM", "0")["events"]
traces = sorted(event["meta"]["traceparent"].split("-")[1] for event in dead)
assert traces == sorted(2 * [sent[3][0]["trace"], sent[4][0]["trace"]]), dead
for worker in workers:
    call("DIRTY.REDRIVE", "user-changes", "GROUP", worker.group, "ENTITY", "user", 3)
for worker in workers:
    *_, last = worker.handled(9)
    assert (last["trace"], last["parent"]) == (sent[3][0]["trace"], sent[3][0]["id"]), last
    worker.end()

out = run(*PYTHON, "follow.py")
[batch] = [span for span in spans_of(PYTHON, out)]
assert batch["attributes"]["messaging.batch.message_count"] == len(sent) == out.count("is insert"), out
assert (batch["parent"], batch["links"]) == ("", [send["id"] for send, _ in sent.values()]), batch
print("The programs of docs/tracing.md joined each other's traces.")
