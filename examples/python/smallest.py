import os
import redis

r = redis.Redis.from_url(os.environ["REDIS_URL"], protocol=3, decode_responses=True)
r.execute_command("DIRTY.DECLARE", "book", "TYPES", 1, "pages", "int", "STREAM", "book-changes")
r.execute_command("DIRTY.READER", "book-changes", "GROUP", "printer", "FROM", 0)
r.execute_command("DIRTY.FLUSH", "book", "SNAPSHOT", 1, "JSON", '{"title": "Dune", "pages": 412}')
r.execute_command("DIRTY.FLUSH", "book", "SNAPSHOT", 1, "JSON", '{"title": "Dune", "pages": 604}')

batch = r.execute_command("DIRTY.CONSUME", "book-changes", "GROUP", "printer", "p1")
for event in batch["events"]:
    print(event["op"], event["entity-id"], event.get("changes", {}))
    r.execute_command("DIRTY.ACK", "book-changes", "GROUP", "printer", "p1", event["id"])
