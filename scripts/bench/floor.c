// How cheap it could be: commands that make only the calls of the module API that a flush cannot do without, and decide
// nothing. What they store and publish is right for the entities of contestants.py alone. FLOOR.CONSUME is how cheap a read
// could be if the module kept its readers in native groups, called by RM_Call: DIRTY.CONSUME, whose readers have a state
// of their own, may take less.
//
//   FLOOR.FLUSH | FLOOR.FOUR key (SNAPSHOT id 10 field value …) …     one stream, or four
//   FLOOR.STATELESS key UPDATE id 1 field old new
//   FLOOR.CONSUME stream GROUP group consumer [ACK n id …] COUNT n

#include "redismodule.h"
#include <stdio.h>
#include <string.h>

enum { FIELDS = 10, STREAMS = 4, EVENT_BYTES = 85, NAME_BYTES = 64 };

static RedisModuleScanCursor *cursor;
static RedisModuleString *streams[STREAMS], *stateless_stream, *field_name;
static RedisModuleStreamID ids[STREAMS + 1];

static RedisModuleString *string(const char *text) {
    return RedisModule_CreateString(NULL, text, strlen(text));
}

// The fields of a flush, and which of them differs from what is stored; they come in the same order.
struct compared {
    RedisModuleString **next, **changed;
};

static int same(RedisModuleString *a, RedisModuleString *b) {
    size_t length, other;
    const char *text = RedisModule_StringPtrLen(a, &length), *bytes = RedisModule_StringPtrLen(b, &other);
    return length == other && memcmp(text, bytes, length) == 0;
}

static void compare(RedisModuleKey *key, RedisModuleString *field, RedisModuleString *value, void *data) {
    struct compared *compared = data;
    (void)key;
    if (!same(field, compared->next[0])) return;
    if (!same(value, compared->next[1])) compared->changed = compared->next;
    compared->next += 2;
}

static void publish(RedisModuleCtx *ctx, RedisModuleString *stream, RedisModuleStreamID *id, int is_last) {
    char bytes[EVENT_BYTES], text[NAME_BYTES];
    memset(bytes, 'x', sizeof bytes);
    id->ms = RedisModule_Milliseconds();
    id->seq++;
    int length = snprintf(text, sizeof text, "%llu-%llu", (unsigned long long)id->ms, (unsigned long long)id->seq);
    RedisModuleString *event = RedisModule_CreateString(NULL, bytes, sizeof bytes);
    RedisModuleString *id_text = RedisModule_CreateString(NULL, text, length);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, stream, REDISMODULE_READ | REDISMODULE_WRITE);
    RedisModuleString *words[] = {field_name, event};
    RedisModule_StreamAdd(key, 0, id, words, 1);
    RedisModule_Replicate(ctx, "XADD", "ssss", stream, id_text, field_name, event);
    RedisModule_SignalModifiedKey(ctx, stream);
    if (is_last) RedisModule_StreamTrimByLength(key, REDISMODULE_STREAM_TRIM_APPROX, 100000);
    RedisModule_CloseKey(key);
    RedisModule_FreeString(NULL, id_text);
    RedisModule_FreeString(NULL, event);
}

static void look_at_declaration(RedisModuleCtx *ctx, RedisModuleString *name) {
    RedisModule_CloseKey(RedisModule_OpenKey(ctx, name, REDISMODULE_READ));
}

// Whether the entity changed.
static int store(RedisModuleCtx *ctx, RedisModuleString *type, RedisModuleString *id, RedisModuleString **fields) {
    char text[NAME_BYTES];
    const char *prefix = RedisModule_StringPtrLen(type, NULL), *suffix = RedisModule_StringPtrLen(id, NULL);
    int length = snprintf(text, sizeof text, "%s:%s", prefix, suffix);
    RedisModuleString *name = RedisModule_CreateString(NULL, text, length);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, name, REDISMODULE_READ | REDISMODULE_WRITE);
    struct compared compared = {fields, NULL};
    RedisModule_ScanCursorRestart(cursor);
    while (RedisModule_ScanKey(key, cursor, compare, &compared)) {}
    if (compared.changed) {
        RedisModuleString *field = compared.changed[0], *value = compared.changed[1];
        RedisModule_HashSet(key, REDISMODULE_HASH_NONE, field, value, NULL);
        RedisModule_Replicate(ctx, "HSET", "sss", name, field, value);
        RedisModule_SignalModifiedKey(ctx, name);
    }
    RedisModule_CloseKey(key);
    if (compared.changed) RedisModule_NotifyKeyspaceEvent(ctx, REDISMODULE_NOTIFY_HASH, "hset", name);
    RedisModule_FreeString(NULL, name);
    return compared.changed != NULL;
}

static int flush_to(int count, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    enum { LENGTH = 3 + 2 * FIELDS }; // of an operation
    int entities = (argc - 2) / LENGTH;
    look_at_declaration(ctx, argv[1]);
    RedisModule_ReplyWithArray(ctx, entities);
    for (int entity = 0; entity < entities; entity++) {
        RedisModuleString **operation = argv + 2 + entity * LENGTH;
        int changed = store(ctx, argv[1], operation[1], operation + 3);
        for (int stream = 0; changed && stream < count; stream++) {
            publish(ctx, streams[stream], &ids[stream], entity == entities - 1);
            RedisModule_NotifyKeyspaceEvent(ctx, REDISMODULE_NOTIFY_STREAM, "xadd", streams[stream]);
        }
        RedisModule_ReplyWithSimpleString(ctx, changed ? "update" : "none");
    }
    return REDISMODULE_OK;
}

static int flush(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) { return flush_to(1, ctx, argv, argc); }
static int four(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) { return flush_to(STREAMS, ctx, argv, argc); }

static int stateless(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argc;
    look_at_declaration(ctx, argv[1]);
    publish(ctx, stateless_stream, &ids[STREAMS], 1);
    RedisModule_NotifyKeyspaceEvent(ctx, REDISMODULE_NOTIFY_STREAM, "xadd", stateless_stream);
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
    field_name = string("s");
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
    } commands[] = {{"floor.flush", flush}, {"floor.four", four}, {"floor.stateless", stateless}, {"floor.consume", consume}};
    for (size_t command = 0; command < sizeof commands / sizeof *commands; command++)
        if (RedisModule_CreateCommand(ctx, commands[command].name, commands[command].run, "write deny-oom", 1, 1, 1) != REDISMODULE_OK)
            return REDISMODULE_ERR;
    return REDISMODULE_OK;
}
