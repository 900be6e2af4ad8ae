// How cheap it could be: commands that make only the calls of the module API that a flush cannot do without, and decide
// nothing. What they store and publish is right for the entities of contestants.py and of tests/integration/instructions
// alone. FLOOR.CONSUME is how cheap a read could be if the module kept its readers in native groups, called by RM_Call:
// DIRTY.CONSUME, whose readers have a state of their own, may take less.
//
//   FLOOR.EVENTS bytes                                                how long the events are that are published from now on
//   FLOOR.FLUSH | FLOOR.FOUR key (SNAPSHOT id 10 field value …) …     one stream, or four
//   FLOOR.DEBEZIUM key SNAPSHOT id 10 field value …                   an entry of two fields
//   FLOOR.JSON key SNAPSHOT id JSON object                            whose last value is stored
//   FLOOR.UPDATE key UPDATE id 1 field value
//   FLOOR.INSERT key INSERT id 10 field value …
//   FLOOR.STATELESS key UPDATE id 1 field old new
//   FLOOR.CONSUME stream GROUP group consumer [ACK n id …] COUNT n

#define _GNU_SOURCE // memrchr
#include "redismodule.h"
#include <stdio.h>
#include <string.h>

enum { FIELDS = 10, STREAMS = 4, MAX_EVENT_BYTES = 4096, NAME_BYTES = 64 };

static RedisModuleScanCursor *cursor;
static RedisModuleString *streams[STREAMS], *stateless_stream, *event_field, *key_field, *marker;
static RedisModuleStreamID ids[STREAMS + 1];
static long long event_bytes = 85;

static RedisModuleString *string(const char *text) {
    return RedisModule_CreateString(NULL, text, strlen(text));
}

static int set_event_bytes(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2 || RedisModule_StringToLongLong(argv[1], &event_bytes) != REDISMODULE_OK || event_bytes < 0 ||
        event_bytes > MAX_EVENT_BYTES)
        return RedisModule_ReplyWithError(ctx, "ERR how many bytes?");
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int same(RedisModuleString *a, RedisModuleString *b) {
    size_t length, other;
    const char *text = RedisModule_StringPtrLen(a, &length), *bytes = RedisModule_StringPtrLen(b, &other);
    return length == other && memcmp(text, bytes, length) == 0;
}

// The fields of a flush, and which of them differs from what is stored; they come in the same order.
struct compared {
    RedisModuleString **next, **changed;
};

static void compare(RedisModuleKey *key, RedisModuleString *field, RedisModuleString *value, void *data) {
    struct compared *compared = data;
    (void)key;
    if (!same(field, compared->next[0])) return;
    if (!same(value, compared->next[1])) compared->changed = compared->next;
    compared->next += 2;
}

static void look_at(RedisModuleKey *key, RedisModuleString *field, RedisModuleString *value, void *data) {
    (void)key, (void)field, (void)value, (void)data;
}

static void scan(RedisModuleKey *key, RedisModuleScanKeyCB each, void *data) {
    RedisModule_ScanCursorRestart(cursor);
    while (RedisModule_ScanKey(key, cursor, each, data)) {}
}

// An entry of one field or two, of which the first is the id.
static void publish(RedisModuleCtx *ctx, RedisModuleString *stream, RedisModuleStreamID *id, RedisModuleString *key_value,
                    int is_last) {
    char bytes[MAX_EVENT_BYTES], text[NAME_BYTES];
    memset(bytes, 'x', event_bytes);
    id->ms = RedisModule_Milliseconds();
    id->seq++;
    int length = snprintf(text, sizeof text, "%llu-%llu", (unsigned long long)id->ms, (unsigned long long)id->seq);
    RedisModuleString *event = RedisModule_CreateString(NULL, bytes, event_bytes);
    RedisModuleString *words[] = {RedisModule_CreateString(NULL, text, length), key_field, key_value, event_field, event};
    RedisModuleString **entry = words + (key_value ? 1 : 3), *id_text = words[0];
    size_t count = words + 5 - entry;
    RedisModuleKey *key = RedisModule_OpenKey(ctx, stream, REDISMODULE_READ | REDISMODULE_WRITE);
    RedisModule_StreamAdd(key, 0, id, entry, count / 2);
    RedisModule_Replicate(ctx, "XADD", "ssv", stream, id_text, entry, count);
    RedisModule_SignalModifiedKey(ctx, stream);
    if (is_last) RedisModule_StreamTrimByLength(key, REDISMODULE_STREAM_TRIM_APPROX, 100000);
    RedisModule_CloseKey(key);
    RedisModule_FreeString(NULL, id_text);
    RedisModule_FreeString(NULL, event);
    RedisModule_NotifyKeyspaceEvent(ctx, REDISMODULE_NOTIFY_STREAM, "xadd", stream);
}

static void look_at_declaration(RedisModuleCtx *ctx, RedisModuleString *name) {
    RedisModule_CloseKey(RedisModule_OpenKey(ctx, name, REDISMODULE_READ));
}

// An entity's snapshot, open.
struct snapshot {
    RedisModuleString *name;
    RedisModuleKey *key;
};

static struct snapshot open_snapshot(RedisModuleCtx *ctx, RedisModuleString *type, RedisModuleString *id) {
    char text[NAME_BYTES];
    const char *prefix = RedisModule_StringPtrLen(type, NULL), *suffix = RedisModule_StringPtrLen(id, NULL);
    int length = snprintf(text, sizeof text, "%s:%s", prefix, suffix);
    RedisModuleString *name = RedisModule_CreateString(NULL, text, length);
    return (struct snapshot){name, RedisModule_OpenKey(ctx, name, REDISMODULE_READ | REDISMODULE_WRITE)};
}

// Closes it after so many fields and values in turn were set, or none.
static void close_snapshot(RedisModuleCtx *ctx, struct snapshot snapshot, RedisModuleString **set, size_t count) {
    if (count > 0) {
        RedisModule_Replicate(ctx, "HSET", "sv", snapshot.name, set, count);
        RedisModule_SignalModifiedKey(ctx, snapshot.name);
    }
    RedisModule_CloseKey(snapshot.key);
    if (count > 0) RedisModule_NotifyKeyspaceEvent(ctx, REDISMODULE_NOTIFY_HASH, "hset", snapshot.name);
    RedisModule_FreeString(NULL, snapshot.name);
}

// Whether the entity changed.
static int store(RedisModuleCtx *ctx, RedisModuleString *type, RedisModuleString *id, RedisModuleString **fields) {
    struct snapshot snapshot = open_snapshot(ctx, type, id);
    struct compared compared = {fields, NULL};
    scan(snapshot.key, compare, &compared);
    RedisModuleString **set = compared.changed;
    if (set) RedisModule_HashSet(snapshot.key, REDISMODULE_HASH_NONE, set[0], set[1], NULL);
    close_snapshot(ctx, snapshot, set, set ? 2 : 0);
    return set != NULL;
}

static int flush_to(int count, int has_key, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    enum { LENGTH = 3 + 2 * FIELDS }; // of an operation
    int entities = (argc - 2) / LENGTH;
    look_at_declaration(ctx, argv[1]);
    RedisModule_ReplyWithArray(ctx, entities);
    for (int entity = 0; entity < entities; entity++) {
        RedisModuleString **operation = argv + 2 + entity * LENGTH;
        int changed = store(ctx, argv[1], operation[1], operation + 3);
        for (int stream = 0; changed && stream < count; stream++)
            publish(ctx, streams[stream], &ids[stream], has_key ? operation[1] : NULL, entity == entities - 1);
        RedisModule_ReplyWithSimpleString(ctx, changed ? "update" : "none");
    }
    return REDISMODULE_OK;
}

static int flush(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) { return flush_to(1, 0, ctx, argv, argc); }
static int four(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) { return flush_to(STREAMS, 0, ctx, argv, argc); }
static int debezium(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) { return flush_to(1, 1, ctx, argv, argc); }

// The end of what makes one event for the first stream.
static int published(RedisModuleCtx *ctx, const char *outcome) {
    publish(ctx, streams[0], &ids[0], NULL, 1);
    RedisModule_ReplyWithArray(ctx, 1);
    return RedisModule_ReplyWithSimpleString(ctx, outcome);
}

// The value between the last two quotes of an object becomes that of the field "logins".
static int json(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argc;
    look_at_declaration(ctx, argv[1]);
    struct snapshot snapshot = open_snapshot(ctx, argv[1], argv[3]);
    scan(snapshot.key, look_at, NULL);
    size_t length;
    const char *object = RedisModule_StringPtrLen(argv[5], &length), *end = memrchr(object, '"', length);
    const char *begin = (const char *)memrchr(object, '"', end - object) + 1;
    RedisModuleString *set[] = {string("logins"), RedisModule_CreateString(NULL, begin, end - begin)};
    RedisModule_HashSet(snapshot.key, REDISMODULE_HASH_NONE, set[0], set[1], NULL);
    close_snapshot(ctx, snapshot, set, 2);
    RedisModule_FreeString(NULL, set[0]);
    RedisModule_FreeString(NULL, set[1]);
    return published(ctx, "update");
}

// Reads the field, and the one that marks an entity as deleted.
static int update(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argc;
    look_at_declaration(ctx, argv[1]);
    struct snapshot snapshot = open_snapshot(ctx, argv[1], argv[3]);
    RedisModuleString *old = NULL, *mark = NULL;
    RedisModule_HashGet(snapshot.key, REDISMODULE_HASH_NONE, marker, &mark, argv[5], &old, NULL);
    RedisModule_HashSet(snapshot.key, REDISMODULE_HASH_NONE, argv[5], argv[6], NULL);
    close_snapshot(ctx, snapshot, argv + 5, 2);
    if (old) RedisModule_FreeString(NULL, old);
    if (mark) RedisModule_FreeString(NULL, mark);
    return published(ctx, "update");
}

static int insert(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argc;
    look_at_declaration(ctx, argv[1]);
    struct snapshot snapshot = open_snapshot(ctx, argv[1], argv[3]);
    RedisModuleString **set = argv + 5;
    RedisModule_HashSet(snapshot.key, REDISMODULE_HASH_NONE, set[0], set[1], set[2], set[3], set[4], set[5], set[6], set[7],
                        set[8], set[9], set[10], set[11], set[12], set[13], set[14], set[15], set[16], set[17], set[18],
                        set[19], NULL);
    close_snapshot(ctx, snapshot, set, 2 * FIELDS);
    return published(ctx, "insert");
}

static int stateless(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argc;
    look_at_declaration(ctx, argv[1]);
    publish(ctx, stateless_stream, &ids[STREAMS], NULL, 1);
    RedisModule_ReplyWithArray(ctx, 1);
    RedisModule_ReplyWithSimpleString(ctx, "update");
    return REDISMODULE_OK;
}

static void text(RedisModuleCtx *ctx, const char *bytes) {
    RedisModule_ReplyWithStringBuffer(ctx, bytes, strlen(bytes));
}

// Words that every reply has. A reply that the server made once is passed on in less time than a text is written.
enum { ID, ENTITY, ENTITY_ID, OP, UPDATE, CHANGES, DELIVERIES, WORDS };
static const char *const words[WORDS] = {"id", "entity", "entity-id", "op", "update", "changes", "deliveries"};
static RedisModuleCallReply *kept[WORDS];
static void word(RedisModuleCtx *ctx, int which) { RedisModule_ReplyWithCallReply(ctx, kept[which]); }

static int consume(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    enum { ACK = 5 };
    long long acked = 0;
    if (argc > ACK + 2) {
        RedisModule_StringToLongLong(argv[ACK + 1], &acked);
        RedisModuleString *args[2 + acked];
        args[0] = argv[1];
        args[1] = argv[3];
        memcpy(args + 2, argv + ACK + 2, acked * sizeof *args);
        RedisModule_FreeCallReply(RedisModule_Call(ctx, "XACK", "v!ES", args, (size_t)(2 + acked)));
    }
    RedisModuleCallReply *reply = RedisModule_Call(ctx, "XREADGROUP", "csscscsc!ES", "GROUP", argv[3], argv[4], "COUNT",
                                                   argv[argc - 1], "STREAMS", argv[1], ">");
    RedisModuleCallReply *stream = RedisModule_CallReplyArrayElement(reply, 0);
    RedisModuleCallReply *entries = stream ? RedisModule_CallReplyArrayElement(stream, 1) : NULL;
    size_t count = entries ? RedisModule_CallReplyLength(entries) : 0;
    RedisModule_ReplyWithMap(ctx, 4);
    text(ctx, "events");
    RedisModule_ReplyWithArray(ctx, count);
    for (size_t index = 0; index < count; index++) {
        RedisModuleCallReply *entry = RedisModule_CallReplyArrayElement(entries, index);
        RedisModuleCallReply *fields = RedisModule_CallReplyArrayElement(entry, 1);
        size_t length;
        RedisModule_CallReplyStringPtr(RedisModule_CallReplyArrayElement(fields, 1), &length);
        RedisModule_ReplyWithMap(ctx, 6);
        word(ctx, ID);
        RedisModule_ReplyWithCallReply(ctx, RedisModule_CallReplyArrayElement(entry, 0));
        word(ctx, ENTITY);
        text(ctx, "read");
        word(ctx, ENTITY_ID);
        text(ctx, "000000000001");
        word(ctx, OP);
        word(ctx, UPDATE);
        word(ctx, CHANGES);
        RedisModule_ReplyWithMap(ctx, 1);
        text(ctx, "logins");
        RedisModule_ReplyWithArray(ctx, 2);
        text(ctx, "000000000001");
        text(ctx, "000000000002");
        word(ctx, DELIVERIES);
        RedisModule_ReplyWithLongLong(ctx, 1);
    }
    text(ctx, "missed");
    RedisModule_ReplyWithLongLong(ctx, 0);
    text(ctx, "more");
    RedisModule_ReplyWithBool(ctx, 0);
    text(ctx, "not-held");
    RedisModule_ReplyWithArray(ctx, 0);
    if (reply) RedisModule_FreeCallReply(reply);
    return REDISMODULE_OK;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv;
    (void)argc;
    if (RedisModule_Init(ctx, "floor", 1, REDISMODULE_APIVER_1) != REDISMODULE_OK) return REDISMODULE_ERR;
    RedisModule_SetModuleOptions(ctx, REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED);
    cursor = RedisModule_ScanCursorCreate();
    event_field = string("s");
    key_field = string("key");
    marker = string("@");
    for (int word = 0; word < WORDS; word++) kept[word] = RedisModule_Call(ctx, "ECHO", "c", words[word]);
    stateless_stream = string("floor-stateless-changes");
    for (int stream = 0; stream < STREAMS; stream++) {
        char name[NAME_BYTES];
        snprintf(name, sizeof name, "floor-changes-%d", stream);
        streams[stream] = string(name);
    }
    struct {
        const char *name;
        RedisModuleCmdFunc run;
    } commands[] = {
        {"floor.events", set_event_bytes}, {"floor.flush", flush},         {"floor.four", four},
        {"floor.debezium", debezium},      {"floor.json", json},           {"floor.update", update},
        {"floor.insert", insert},          {"floor.stateless", stateless}, {"floor.consume", consume},
    };
    for (size_t command = 0; command < sizeof commands / sizeof *commands; command++)
        if (RedisModule_CreateCommand(ctx, commands[command].name, commands[command].run, "write deny-oom", 1, 1, 1) != REDISMODULE_OK)
            return REDISMODULE_ERR;
    return REDISMODULE_OK;
}
