// Clients that wait for each reply, as applications do: so many connections, each of which saves one batch of entities
// after the other. In C, so that the server is what they wait for.
//
//   client port connections requests entities keys once WORD…
//   client port connections requests entities keys watch PREFIX STREAM EVENT FIELD VALUE…
//
// once: one command for each batch, for example DIRTY.FLUSH or FCALL, and one round trip.
// watch: what a client does by itself, in two round trips. WATCH of the keys and HGETALL of each; then it compares, and
// sends MULTI, HSET of the changed fields and XADD of the event for each entity, and EXEC. If EXEC says that somebody else
// was faster, it begins again.
//
// RANDOM in a word stands for a number of 12 digits below `keys`. Prints batches a second, the median and the 99th
// percentile of a batch's time in µs, how many were tried again, and how much of a core the clients took, in %.

#define _GNU_SOURCE // memmem
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define RANDOM "__rand_int__"
enum { DIGITS = 12, MAX_ENTITIES = 1000, MAX_WORDS = 100000, OUT_BYTES = 1 << 22, IN_BYTES = 1 << 20, KEY_BYTES = 64 };

struct connection {
    int fd;
    int is_second;  // of two round trips
    int awaited;    // replies that are still to come
    size_t length, complete; // bytes in `in`, and those of replies that are whole
    double begun;
    char ids[MAX_ENTITIES][DIGITS + 1], values[MAX_ENTITIES][DIGITS + 1];
    char in[IN_BYTES];
};

static int entities, keys, words_count, watches;
static char **words; // those of the command; prefix, stream, event, fields and values
static size_t word_lengths[MAX_WORDS];
static char out[OUT_BYTES];
static size_t out_length;
static long retried;

static _Noreturn void fail(const char *why) {
    fprintf(stderr, "client: %.200s\n", why);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void number(char *digits) { sprintf(digits, "%012ld", random() % keys); }

static void begin_command(int count) { out_length += sprintf(out + out_length, "*%d\r\n", count); }

static void add_bytes(const char *bytes, size_t length) {
    if (out_length + length + 64 > OUT_BYTES) fail("a batch is too long");
    out_length += sprintf(out + out_length, "$%zu\r\n", length);
    memcpy(out + out_length, bytes, length);
    memcpy(out + out_length + length, "\r\n", 2);
    out_length += length + 2;
}

static void add(const char *word) { add_bytes(word, strlen(word)); }

static void send_to(struct connection *connection, int replies) {
    for (size_t sent = 0; sent < out_length;) {
        ssize_t more = write(connection->fd, out + sent, out_length - sent);
        if (more <= 0) fail("the connection was closed");
        sent += more;
    }
    out_length = connection->length = connection->complete = 0;
    connection->awaited = replies;
}

// Behind a reply, or NULL if it is not whole yet.
static const char *behind(const char *at, const char *end) {
    const char *line_end = memchr(at, '\n', end - at);
    if (!line_end) return NULL;
    long count = at[0] == '$' || at[0] == '*' ? atol(at + 1) : 0;
    const char *next = line_end + 1;
    switch (at[0]) {
    case '-': fail(at);
    case '$': return count < 0 ? next : end - next >= count + 2 ? next + count + 2 : NULL;
    case '*':
        for (; count > 0 && next; count--) next = behind(next, end);
        return next;
    default: return next;
    }
}

static void once(struct connection *connection) {
    begin_command(words_count);
    for (int word = 0; word < words_count; word++) {
        const char *random = memmem(words[word], word_lengths[word], RANDOM, DIGITS);
        add_bytes(words[word], word_lengths[word]);
        if (random) {
            char digits[DIGITS + 1];
            number(digits);
            memcpy(out + out_length - 2 - word_lengths[word] + (random - words[word]), digits, DIGITS);
        }
    }
    send_to(connection, 1);
}

static void add_key(struct connection *connection, int entity) {
    char key[KEY_BYTES];
    snprintf(key, sizeof key, "%s%s", words[0], connection->ids[entity]);
    add(key);
}

static void watch(struct connection *connection) {
    connection->is_second = 0;
    begin_command(1 + entities);
    add("WATCH");
    for (int entity = 0; entity < entities; entity++) add_key(connection, entity);
    for (int entity = 0; entity < entities; entity++) {
        begin_command(2);
        add("HGETALL");
        add_key(connection, entity);
    }
    send_to(connection, 1 + entities);
}

// What a row has as the value of a field.
static const char *value(struct connection *connection, int entity, int word) {
    return strcmp(words[word], RANDOM) == 0 ? connection->values[entity] : words[word];
}

static const char *bulk(const char *at, size_t *length) {
    *length = atol(at + 1);
    return (const char *)memchr(at, '\n', 32) + 1;
}

// The value that a reply of HGETALL has for a field, or NULL.
static const char *stored(const char *reply, const char *field, size_t *length) {
    long pairs = atol(reply + 1) / 2;
    const char *at = (const char *)memchr(reply, '\n', 32) + 1;
    for (; pairs > 0; pairs--) {
        size_t name_length;
        const char *name = bulk(at, &name_length), *text = bulk(name + name_length + 2, length);
        if (name_length == strlen(field) && memcmp(name, field, name_length) == 0) return text;
        at = text + *length + 2;
    }
    return NULL;
}

static int is_changed(struct connection *connection, int entity, int field, const char *reply) {
    size_t length;
    const char *new = value(connection, entity, field + 1), *old = stored(reply, words[field], &length);
    return !old || length != strlen(new) || memcmp(old, new, length) != 0;
}

static void compare_and_write(struct connection *connection) {
    const char *end = connection->in + connection->length, *reply = behind(connection->in, end);
    enum { FIELDS = 3 };
    int replies = 2;
    connection->is_second = 1;
    begin_command(1);
    add("MULTI");
    for (int entity = 0; entity < entities; entity++, reply = behind(reply, end)) {
        int changed[MAX_ENTITIES], count = 0;
        for (int field = FIELDS; field < words_count; field += 2)
            if (is_changed(connection, entity, field, reply)) changed[count++] = field;
        if (count == 0) continue;
        begin_command(2 + 2 * count);
        add("HSET");
        add_key(connection, entity);
        for (int nth = 0; nth < count; nth++) {
            add(words[changed[nth]]);
            add(value(connection, entity, changed[nth] + 1));
        }
        begin_command(8);
        add("XADD");
        add(words[1]);
        add("MAXLEN");
        add("~");
        add("100000");
        add("*");
        add("s");
        add(words[2]);
        replies += 2;
    }
    begin_command(1);
    add("EXEC");
    send_to(connection, replies);
}

static void begin(struct connection *connection) {
    connection->begun = now();
    if (!watches) return once(connection);
    for (int entity = 0; entity < entities; entity++) {
        number(connection->ids[entity]);
        number(connection->values[entity]);
    }
    watch(connection);
}

// Whether a batch is done.
static int take(struct connection *connection) {
    ssize_t more = read(connection->fd, connection->in + connection->length, IN_BYTES - connection->length);
    if (more <= 0) fail("the connection was closed, or a reply is too long");
    connection->length += more;
    const char *end = connection->in + connection->length, *at = connection->in + connection->complete, *next, *last = at;
    for (; connection->awaited > 0 && (next = behind(at, end)); connection->awaited--) {
        last = at;
        at = next;
    }
    connection->complete = at - connection->in;
    if (connection->awaited > 0) return 0;
    if (!watches) return 1;
    if (!connection->is_second) {
        compare_and_write(connection);
        return 0;
    }
    if (strncmp(last, "*-1", 3) != 0) return 1;
    retried++;
    watch(connection);
    return 0;
}

static int connected(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("no connection");
    return fd;
}

static int in_order(const void *one, const void *other) {
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

int main(int argc, char **argv) {
    if (argc < 8) fail("client port connections requests entities keys once|watch WORD…");
    int connections = atoi(argv[2]), requests = atoi(argv[3]);
    entities = atoi(argv[4]);
    keys = atoi(argv[5]);
    watches = strcmp(argv[6], "watch") == 0;
    words = argv + 7;
    words_count = argc - 7;
    if (entities < 1 || entities > MAX_ENTITIES || keys < 1 || words_count > MAX_WORDS || connections > requests)
        fail("too many or too few");
    for (int word = 0; word < words_count; word++) word_lengths[word] = strlen(words[word]);
    srandom(getpid());

    int poll = epoll_create1(0), begun = 0, done = 0;
    double *times = calloc(requests, sizeof *times), start = now();
    for (; begun < connections; begun++) {
        struct connection *connection = calloc(1, sizeof *connection);
        connection->fd = connected(atoi(argv[1]));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        epoll_ctl(poll, EPOLL_CTL_ADD, connection->fd, &event);
        begin(connection);
    }
    while (done < requests) {
        struct epoll_event ready[64];
        int count = epoll_wait(poll, ready, 64, 10000);
        if (count <= 0) fail("no reply within 10 seconds");
        for (int nth = 0; nth < count; nth++) {
            struct connection *connection = ready[nth].data.ptr;
            if (!take(connection)) continue;
            times[done++] = now() - connection->begun;
            if (begun < requests) begin(connection), begun++;
        }
    }
    double seconds = now() - start;
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double busy = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
    qsort(times, requests, sizeof *times, in_order);
    printf("%f %f %f %ld %f\n", requests / seconds, times[requests / 2] * 1e6, times[requests * 99L / 100] * 1e6, retried,
           100 * busy / seconds);
    return 0;
}
