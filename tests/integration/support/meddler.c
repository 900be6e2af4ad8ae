// A module as inconsiderate as any: from within the events of the server it changes keys that the command under way may be
// about to write. It hears of every keyspace event; of the server's events of keys, as key:deleted, key:expired, key:evicted and
// key:overwritten, if the server has them; and of the commands that modules call, as filter:xinfo and the like.
//
//   MEDDLE event key @database word…   answers the next such event by a command in this database; without words it listens only
//   MEDDLE.HEARD                       the events that were heard since, with their keys, and the answer
//
// DELETE.KEY key and SET.KEY key, which are no commands, do by the low-level API what DEL and SET do.

#include "redismodule.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_WORDS = 64, MAX_HEARD = 1024, LINE = 256 };

static char awaited[LINE], heard[MAX_HEARD][LINE];
static RedisModuleString *words[MAX_WORDS];
static RedisModuleCtx *own_context;
static int database, count, heard_count, is_armed, is_answering;

static void describe(char *line, const char *event, const char *key, size_t length) {
    snprintf(line, LINE, "%s %.*s", event, (int)length, key);
}

static void note(const char *event, const char *key, size_t length) {
    if (heard_count < MAX_HEARD) describe(heard[heard_count++], event, key, length);
}

static void change_key(RedisModuleCtx *ctx, int sets) {
    RedisModuleKey *key = RedisModule_OpenKey(ctx, words[1], REDISMODULE_READ | REDISMODULE_WRITE);
    RedisModule_DeleteKey(key);
    if (sets) RedisModule_StringSet(key, words[0]);
    RedisModule_CloseKey(key);
    if (sets)
        RedisModule_Replicate(ctx, "SET", "ss", words[1], words[0]);
    else
        RedisModule_Replicate(ctx, "DEL", "s", words[1]);
}

static void answer(RedisModuleCtx *ctx) {
    int own = RedisModule_GetSelectedDb(ctx);
    const char *command = RedisModule_StringPtrLen(words[0], NULL);
    RedisModule_SelectDb(ctx, database);
    if (strcmp(command, "DELETE.KEY") == 0 || strcmp(command, "SET.KEY") == 0) {
        change_key(ctx, *command == 'S');
        note("answered", command, strlen(command));
    } else {
        size_t length = 0;
        RedisModuleCallReply *reply = RedisModule_Call(ctx, command, "!Ev", words + 1, (size_t)(count - 1));
        const char *text = reply == NULL ? "nothing" : RedisModule_CallReplyProto(reply, &length);
        note("answered", text, reply == NULL ? 7 : strcspn(text, "\r"));
        if (reply != NULL) RedisModule_FreeCallReply(reply);
    }
    RedisModule_SelectDb(ctx, own);
}

// The context is null where the server lends none.
static void on_any(RedisModuleCtx *ctx, const char *event, const char *key, size_t length) {
    char line[LINE];
    if (is_answering) return;
    note(event, key, length);
    describe(line, event, key, length);
    if (!is_armed || strcmp(line, awaited) != 0) return;
    is_armed = 0;
    is_answering = 1;
    answer(ctx == NULL ? own_context : ctx);
    is_answering = 0;
}

static int on_event(RedisModuleCtx *ctx, int type, const char *event, RedisModuleString *key) {
    (void)type;
    size_t length;
    const char *name = RedisModule_StringPtrLen(key, &length);
    on_any(ctx, event, name, length);
    return REDISMODULE_OK;
}

static void on_key(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t kind, void *data) {
    static const char *const kinds[] = {"key:deleted", "key:expired", "key:evicted", "key:overwritten"};
    (void)event;
    size_t length;
    RedisModuleKeyInfo *info = data;
    const RedisModuleString *key = RedisModule_GetKeyNameFromModuleKey(info->key);
    const char *name = RedisModule_StringPtrLen(key, &length);
    if (kind < 4) on_any(ctx, kinds[kind], name, length);
}

static void on_command(RedisModuleCommandFilterCtx *filter) {
    char event[LINE];
    size_t length;
    const RedisModuleString *word = RedisModule_CommandFilterArgGet(filter, 0);
    const char *name = RedisModule_StringPtrLen(word, &length);
    snprintf(event, LINE, "filter:%.*s", (int)length, name);
    for (char *letter = event; *letter; letter++)
        if (*letter >= 'A' && *letter <= 'Z') *letter += 'a' - 'A';
    on_any(NULL, event, "", 0);
}

static int meddle(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 4 || argc > MAX_WORDS) return RedisModule_WrongArity(ctx);
    size_t length;
    const char *key = RedisModule_StringPtrLen(argv[2], &length);
    describe(awaited, RedisModule_StringPtrLen(argv[1], NULL), key, length);
    database = atoi(RedisModule_StringPtrLen(argv[3], NULL) + 1);
    while (count > 0) RedisModule_FreeString(NULL, words[--count]);
    for (int i = 4; i < argc; i++) {
        const char *word = RedisModule_StringPtrLen(argv[i], &length);
        words[count++] = RedisModule_CreateString(NULL, word, length);
    }
    is_armed = count > 0;
    heard_count = 0;
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int tell(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv, (void)argc;
    RedisModule_ReplyWithArray(ctx, heard_count);
    for (int i = 0; i < heard_count; i++) RedisModule_ReplyWithCString(ctx, heard[i]);
    return REDISMODULE_OK;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv, (void)argc;
    int events = REDISMODULE_NOTIFY_ALL | REDISMODULE_NOTIFY_KEY_MISS | REDISMODULE_NOTIFY_NEW | REDISMODULE_NOTIFY_MODULE;
    if (RedisModule_Init(ctx, "meddler", 1, REDISMODULE_APIVER_1) != REDISMODULE_OK ||
        RedisModule_CreateCommand(ctx, "meddle", meddle, "fast", 0, 0, 0) != REDISMODULE_OK ||
        RedisModule_CreateCommand(ctx, "meddle.heard", tell, "fast", 0, 0, 0) != REDISMODULE_OK ||
        RedisModule_SubscribeToKeyspaceEvents(ctx, events, on_event) != REDISMODULE_OK ||
        RedisModule_RegisterCommandFilter(ctx, on_command, REDISMODULE_CMDFILTER_NOSELF) == NULL)
        return REDISMODULE_ERR;
    own_context = RedisModule_GetDetachedThreadSafeContext(ctx);
    // Refused by 7.0, which has no such events.
    if (RedisModule_IsSubEventSupported(RedisModuleEvent_Key, REDISMODULE_SUBEVENT_KEY_DELETED))
        RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_Key, on_key);
    return REDISMODULE_OK;
}
