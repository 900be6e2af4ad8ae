//! What streams keep of what they get.

/// The options of the stream `s`, and lines `command => reply | seqs of the entries left`, each table in
/// a database of its own. `+n` flushes n events in one command, its reply is `ok` or the error's code;
/// `#n` is the id of the entry with seq n; `old` and `young` are times in ms, some seconds before and
/// after what MAXAGE 600000 lets go; a reply `*` is anything but an error. A declaration that ends with
/// DB means the database that the stream is in.
pub const TABLES: &[(&str, &str)] = &[
    // ---- MAXAGE
    (
        "MAXAGE 600000",
        "
XADD s old-1 a b => * | 1
XADD s old-2 a b => * | 1..2
XADD s young-3 a b => * | 1..3
# A flush that adds nothing trims nothing.
DIRTY.FLUSH user SEED 2 0 => [seed] | 1..3
DIRTY.FLUSH user SNAPSHOT 1 0 => [none] | 1..3
+1 => ok | 3..4
+2 => ok | 3..6
",
    ),
    (
        "MAXAGE 600000",
        "
# Without MAXLEN there is no ONFULL: what groups have not read goes, too.
XADD s old-1 a b => * | 1
XADD s old-2 a b => * | 1..2
XGROUP CREATE s g 0 => OK | 1..2
XREADGROUP GROUP g c COUNT 1 STREAMS s > => * | 1..2
+1 => ok | 3
",
    ),
    (
        "MAXAGE 9007199254740992",
        "
XADD s 0-1 a b => * | 1
+1 => ok | 1..2
",
    ),
    (
        "MAXAGE 1",
        "
# Never the events themselves.
XADD s young-1 a b => * | 1
+5 => ok | 2..6
",
    ),
    (
        "MAXAGE 600000 MAXLEN = 3",
        "
XADD s old-1 a b => * | 1
XADD s young-2 a b => * | 1..2
XADD s young-3 a b => * | 1..3
XADD s young-4 a b => * | 1..4
+1 => ok | 3..5
+7 => ok | 10..12
",
    ),
    (
        "MAXLEN = 3 MAXAGE 600000",
        "
# Age leaves fewer than the length would.
XADD s old-1 a b => * | 1
XADD s old-2 a b => * | 1..2
XADD s old-3 a b => * | 1..3
XADD s old-4 a b => * | 1..4
XADD s young-5 a b => * | 1..5
+1 => ok | 5..6
",
    ),
    (
        "MAXLEN ~ 3 MAXAGE 600000",
        "
# Age exactly, length by whole nodes, here of 7.
XADD s old-1 a b => * | 1
XADD s old-2 a b => * | 1..2
XADD s young-3 a b => * | 1..3
+3 => ok | 3..6
+2 => ok | 3..8
+2 => ok | 8..10
",
    ),
    // ---- TRIM
    (
        "MAXLEN 2 ONFULL TRIM",
        "
XGROUP CREATE s pending 0 MKSTREAM => OK | -
+2 => ok | 1..2
XREADGROUP GROUP pending c COUNT 1 STREAMS s > => * | 1..2
XGROUP CREATE s unread 0 => OK | 1..2
DIRTY.READER s CURSOR behind FROM 0 => OK | 1..2
+1 => ok | 2..3
+4 => ok | 6..7
",
    ),
    // ---- KEEP
    (
        "MAXLEN 2 ONFULL KEEP",
        "
# Nobody reads: as TRIM.
+1 => ok | 1
+3 => ok | 3..4
+1 => ok | 4..5
",
    ),
    (
        "MAXLEN 2 ONFULL KEEP",
        "
XGROUP CREATE s g 0 MKSTREAM => OK | -
# It has read nothing.
+4 => ok | 1..4
+1 => ok | 1..5
# It has acknowledged nothing.
XREADGROUP GROUP g c COUNT 3 STREAMS s > => * | 1..5
+1 => ok | 1..6
XACK s g #1 => (1) | 1..6
+1 => ok | 2..7
# Out of order.
XACK s g #3 => (1) | 2..7
+1 => ok | 2..8
XACK s g #2 => (1) | 2..8
+1 => ok | 4..9
# What is read without acknowledgement is acknowledged.
XREADGROUP GROUP g c NOACK STREAMS s > => * | 4..9
+1 => ok | 9..10
+3 => ok | 10..13
DIRTY.FLUSH user SEED 2 0 => [seed] | 10..13
EVAL return\\_redis.call('DIRTY.FLUSH','user','TOUCH','1') 1 user => [touch] | 10..14
XREADGROUP GROUP g c NOACK STREAMS s > => * | 10..14
EVAL return\\_redis.call('DIRTY.FLUSH','user','TOUCH','1') 1 user => [touch] | 14..15
",
    ),
    (
        "MAXLEN 2 ONFULL KEEP",
        "
# Of two consumers the slower one counts, and of two groups; names are any bytes.
XGROUP CREATE s slow\\x00\\xff\\x0d\\x0a 0 MKSTREAM => OK | -
XGROUP CREATE s fast 0 => OK | -
+6 => ok | 1..6
XREADGROUP GROUP slow\\x00\\xff\\x0d\\x0a a COUNT 2 STREAMS s > => * | 1..6
XREADGROUP GROUP slow\\x00\\xff\\x0d\\x0a b COUNT 2 STREAMS s > => * | 1..6
XREADGROUP GROUP fast c NOACK STREAMS s > => * | 1..6
XACK s slow\\x00\\xff\\x0d\\x0a #3 #4 => (2) | 1..6
+1 => ok | 1..7
XACK s slow\\x00\\xff\\x0d\\x0a #1 => (1) | 1..7
+1 => ok | 2..8
# Without the slow group, up to what the fast one has read.
XGROUP DESTROY s slow\\x00\\xff\\x0d\\x0a => (1) | 2..8
+1 => ok | 7..9
XGROUP DESTROY s fast => (1) | 7..9
+1 => ok | 9..10
",
    ),
    (
        "MAXLEN 2 ONFULL KEEP",
        "
# A group of ours: what it has not read, and what it holds.
DIRTY.READER s GROUP g FROM 0 => OK | -
+4 => ok | 1..4
DIRTY.CONSUME s GROUP g c COUNT 3 => * | 1..4
+1 => ok | 1..5
DIRTY.ACK s GROUP g c #1 => [] | 1..5
+1 => ok | 2..6
# Out of order.
DIRTY.ACK s GROUP g c #3 => [] | 2..6
+1 => ok | 2..7
DIRTY.ACK s GROUP g c #2 => [] | 2..7
+1 => ok | 4..8
# What others may take, what comes again later, and what was taken back.
DIRTY.CONSUME s GROUP g c COUNT 1 => * | 4..8
DIRTY.LEAVE s GROUP g c => (1) | 4..8
+1 => ok | 4..9
DIRTY.CONSUME s GROUP g c COUNT 1 => * | 4..9
DIRTY.FAIL s GROUP g c why DELAY 60000 #4 => [retry] | 4..9
+1 => ok | 4..10
# The dead are in a stream of their own.
DIRTY.FAIL s GROUP g c why FORCE FATAL #4 => [dead] | 4..10
+1 => ok | 5..11
DIRTY.REDRIVE s GROUP g ALL => (1) | 5..11
DIRTY.PAUSE s GROUP g ON => OK | 5..11
DIRTY.SEEK s GROUP g $ => OK | 5..11
+1 => ok | 11..12
DIRTY.SEEK s GROUP g #11 => OK | 11..12
+2 => ok | 12..14
DIRTY.FORGET s GROUP g => (1) | 12..14
+1 => ok | 14..15
",
    ),
    (
        "MAXLEN 2 ONFULL KEEP",
        "
# Of one that goes by entity also what is queued, and what is parked.
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY ONDEAD PARK => OK | -
+4 => ok | 1..4
DIRTY.CONSUME s GROUP g c COUNT 1 => * | 1..4
DIRTY.CONSUME s GROUP g d => * | 1..4
+1 => ok | 1..5
DIRTY.FAIL s GROUP g c why FATAL #1 => [dead] | 1..5
+1 => ok | 2..6
DIRTY.CONSUME s GROUP g d => * | 2..6
+1 => ok | 2..7
DIRTY.DISCARD s GROUP g ALL => (1) | 2..7
DIRTY.CONSUME s GROUP g d COUNT 2 => * | 2..7
DIRTY.ACK s GROUP g d #2 #3 => [] | 2..7
+1 => ok | 4..8
",
    ),
    (
        "MAXLEN 0 ONFULL KEEP",
        "
# A queue: what all readers are done with goes with the next event.
DIRTY.READER s GROUP g FROM 0 => OK | -
DIRTY.READER s GROUP h FROM 0 => OK | -
DIRTY.READER s CURSOR c FROM 0 => OK | -
XGROUP CREATE s native 0 MKSTREAM => OK | -
+3 => ok | 1..3
DIRTY.CONSUME s GROUP g x => * | 1..3
DIRTY.ACK s GROUP g x #1 #2 #3 => [] | 1..3
DIRTY.CONSUME s GROUP h x => * | 1..3
DIRTY.ACK s GROUP h x #1 #2 => [] | 1..3
DIRTY.ACK s CURSOR c #2 => (1) | 1..3
+1 => ok | 1..4
XREADGROUP GROUP native c NOACK COUNT 1 STREAMS s > => * | 1..4
+1 => ok | 2..5
XREADGROUP GROUP native c NOACK STREAMS s > => * | 2..5
+1 => ok | 3..6
DIRTY.ACK s GROUP h x #3 => [] | 3..6
+1 => ok | 3..7
DIRTY.ACK s CURSOR c #5 => (1) | 3..7
+1 => ok | 4..8
",
    ),
    (
        "MAXLEN 0",
        "
# Without a reader nothing is kept.
+3 => ok | -
",
    ),
    (
        "MAXLEN 2 ONFULL KEEP",
        "
# A group whose consumer is gone with what it had pending has acknowledged it.
XGROUP CREATE s g 0 MKSTREAM => OK | -
+4 => ok | 1..4
XREADGROUP GROUP g c COUNT 3 STREAMS s > => * | 1..4
XGROUP DELCONSUMER s g c => (3) | 1..4
+1 => ok | 4..5
",
    ),
    (
        "MAXLEN 2 ONFULL KEEP",
        "
# A cursor.
DIRTY.READER s CURSOR c FROM 0 => OK | -
+4 => ok | 1..4
DIRTY.CONSUME s CURSOR c => * | 1..4
+1 => ok | 1..5
DIRTY.ACK s CURSOR c #2 => (1) | 1..5
+1 => ok | 3..6
DIRTY.ACK s CURSOR c #6 => (1) | 3..6
+1 => ok | 6..7
# One that comes later and reads from here is not behind; one that reads all is.
DIRTY.READER s CURSOR late FROM $ => OK | 6..7
DIRTY.READER s CURSOR all FROM 0 => OK | 6..7
DIRTY.ACK s CURSOR c #7 => (1) | 6..7
+1 => ok | 6..8
DIRTY.FORGET s CURSOR all => (1) | 6..8
+1 => ok | 8..9
",
    ),
    (
        "MAXLEN 2 ONFULL KEEP",
        "
# A group that was set back is to read again, though what it has pending comes later.
XGROUP CREATE s g 0 MKSTREAM => OK | -
+3 => ok | 1..3
XREADGROUP GROUP g c STREAMS s > => * | 1..3
XACK s g #1 #2 => (2) | 1..3
XGROUP SETID s g #1 => OK | 1..3
+1 => ok | 2..4
XGROUP SETID s g 0 => OK | 2..4
+1 => ok | 2..5
XGROUP SETID s g $ => OK | 2..5
+1 => ok | 3..6
",
    ),
    (
        "MAXLEN 2 ONFULL KEEP",
        "
# What is pending of entries that are gone holds up nothing that comes after them.
XGROUP CREATE s g 0 MKSTREAM => OK | -
+6 => ok | 1..6
XREADGROUP GROUP g c COUNT 5 STREAMS s > => * | 1..6
XDEL s #1 #2 => (2) | 3..6
XACK s g #3 #4 => (2) | 3..6
+1 => ok | 5..7
XPENDING s g => * | 5..7
XDEL s #5 => (1) | 6..7
+1 => ok | 6..8
XREADGROUP GROUP g c NOACK STREAMS s > => * | 6..8
+1 => ok | 8..9
",
    ),
    (
        "MAXLEN 2 ONFULL KEEP",
        "
# Holes are no entries.
DIRTY.READER s CURSOR c FROM 0 => OK | -
+9 => ok | 1..9
XDEL s #2 #5 #8 => (3) | 1 3..4 6..7 9
DIRTY.ACK s CURSOR c #6 => (1) | 1 3..4 6..7 9
+1 => ok | 7 9..10
",
    ),
    (
        "MAXLEN 10 ONFULL KEEP",
        "
# Far longer than its count, over many nodes.
DIRTY.READER s CURSOR c FROM 0 => OK | -
+3000 => ok | 1..3000
+1 => ok | 1..3001
DIRTY.ACK s CURSOR c #2000 => (1) | 1..3001
+1 => ok | 2001..3002
DIRTY.ACK s CURSOR c #3002 => (1) | 2001..3002
+1 => ok | 2994..3003
",
    ),
    (
        "MAXLEN ~ 5 ONFULL KEEP",
        "
# A hundred at once, and no node more.
DIRTY.READER s CURSOR c FROM 0 => OK | -
+104 => ok | 1..104
DIRTY.ACK s CURSOR c #104 => (1) | 1..104
DIRTY.FLUSH user SEED 2 0 => [seed] | 1..104
+1 => ok | 101..105
+99 => ok | 101..204
+1 => ok | 105..205
# Not acknowledged, however many.
+300 => ok | 105..505
DIRTY.ACK s CURSOR c #500 => (1) | 105..505
+1 => ok | 501..506
",
    ),
    (
        "MAXLEN ~ 5 ONFULL KEEP",
        "
+104 => ok | 1..104
+1 => ok | 101..105
",
    ),
    (
        "MAXAGE 600000 MAXLEN 100 ONFULL KEEP",
        "
XADD s old-1 a b => * | 1
XADD s old-2 a b => * | 1..2
XADD s old-3 a b => * | 1..3
XADD s young-4 a b => * | 1..4
XGROUP CREATE s g 0 => OK | 1..4
+1 => ok | 1..5
XREADGROUP GROUP g c COUNT 2 STREAMS s > => * | 1..5
XACK s g #2 => (1) | 1..5
+1 => ok | 1..6
XACK s g #1 => (1) | 1..6
+1 => ok | 3..7
# All read, and the young ones stay.
XREADGROUP GROUP g c NOACK STREAMS s > => * | 3..7
+1 => ok | 4..8
",
    ),
    (
        "MAXAGE 600000 MAXLEN 2 ONFULL KEEP",
        "
# Both, in one flush.
XADD s old-1 a b => * | 1
XADD s old-2 a b => * | 1..2
XADD s young-3 a b => * | 1..3
XADD s young-4 a b => * | 1..4
XADD s young-5 a b => * | 1..5
DIRTY.READER s CURSOR c FROM #4 => OK | 1..5
+1 => ok | 5..6
# Nobody to wait for.
DIRTY.FORGET s CURSOR c => (1) | 5..6
+3 => ok | 8..9
",
    ),
    (
        "MAXAGE 600000 MAXLEN 2 ONFULL KEEP",
        "
XADD s old-1 a b => * | 1
+4 => ok | 4..5
",
    ),
    // ---- REFUSE
    (
        "MAXLEN 2 ONFULL REFUSE",
        "
# Nobody reads: as TRIM, also for more at once than the stream may hold.
+1 => ok | 1
+3 => ok | 3..4
+1 => ok | 4..5
# Nor has anybody to read these.
XGROUP CREATE s g 99999999999999-0 => OK | 4..5
+3 => ok | 7..8
",
    ),
    (
        "MAXLEN 2 ONFULL REFUSE",
        "
XGROUP CREATE s g 0 MKSTREAM => OK | -
+1 => ok | 1
# All events of the command count.
+2 => FULL | 1
+1 => ok | 1..2
+1 => FULL | 1..2
DIRTY.FLUSH user SEED 2 0 => [seed] | 1..2
XREADGROUP GROUP g c STREAMS s > => * | 1..2
+1 => FULL | 1..2
# Out of order.
XACK s g #2 => (1) | 1..2
+1 => FULL | 1..2
XACK s g #1 => (1) | 1..2
# More than may ever be there.
+3 => FULL | 1..2
+1 => ok | 2..3
+1 => ok | 3..4
+1 => FULL | 3..4
XREADGROUP GROUP g c NOACK STREAMS s > => * | 3..4
+3 => FULL | 3..4
+2 => ok | 5..6
EVAL return\\_string.sub(redis.pcall('DIRTY.FLUSH','user','TOUCH','1')['err'],1,4) 1 user => FULL | 5..6
XGROUP DESTROY s g => (1) | 5..6
+3 => ok | 8..9
",
    ),
    (
        "MAXLEN 3 ONFULL REFUSE",
        "
# Two groups, and a cursor that is behind.
XGROUP CREATE s a 0 MKSTREAM => OK | -
XGROUP CREATE s b 0 => OK | -
DIRTY.READER s CURSOR c FROM 0 => OK | -
+3 => ok | 1..3
XREADGROUP GROUP a x NOACK STREAMS s > => * | 1..3
XREADGROUP GROUP b x COUNT 1 NOACK STREAMS s > => * | 1..3
+1 => FULL | 1..3
DIRTY.ACK s CURSOR c #2 => (1) | 1..3
+2 => FULL | 1..3
+1 => ok | 2..4
+1 => FULL | 2..4
XGROUP DESTROY s b => (1) | 2..4
+2 => FULL | 2..4
+1 => ok | 3..5
DIRTY.FORGET s CURSOR c => (1) | 3..5
+2 => FULL | 3..5
+1 => ok | 4..6
XGROUP DESTROY s a => (1) | 4..6
+1 => ok | 5..7
",
    ),
    (
        "MAXLEN 3 ONFULL REFUSE",
        "
# A group of ours, and a native one.
DIRTY.READER s GROUP g FROM 0 => OK | -
XGROUP CREATE s native 0 MKSTREAM => OK | -
+3 => ok | 1..3
+1 => FULL | 1..3
DIRTY.CONSUME s GROUP g c => * | 1..3
DIRTY.ACK s GROUP g c #1 #3 => [] | 1..3
+1 => FULL | 1..3
XREADGROUP GROUP native c NOACK STREAMS s > => * | 1..3
+2 => FULL | 1..3
+1 => ok | 2..4
DIRTY.ACK s GROUP g c #2 => [] | 2..4
+2 => ok | 4..6
",
    ),
    (
        "MAXLEN 5 ONFULL REFUSE",
        "
# Holes are no entries.
DIRTY.READER s CURSOR c FROM 0 => OK | -
+5 => ok | 1..5
+1 => FULL | 1..5
XDEL s #2 => (1) | 1 3..5
+2 => FULL | 1 3..5
+1 => ok | 1 3..6
XDEL s #4 => (1) | 1 3 5..6
DIRTY.ACK s CURSOR c #3 => (1) | 1 3 5..6
+4 => FULL | 1 3 5..6
+3 => ok | 5..9
",
    ),
    (
        "MAXLEN ~ 5 ONFULL REFUSE",
        "
# The refusal goes by the exact count.
DIRTY.READER s CURSOR c FROM 0 => OK | -
+6 => FULL | -
+5 => ok | 1..5
+1 => FULL | 1..5
DIRTY.ACK s CURSOR c #2 => (1) | 1..5
+3 => FULL | 1..5
+2 => ok | 1..7
+1 => FULL | 1..7
DIRTY.ACK s CURSOR c #7 => (1) | 1..7
+5 => ok | 1..12
+1 => FULL | 1..12
",
    ),
    (
        "MAXLEN ~ 50 ONFULL REFUSE",
        "
DIRTY.READER s CURSOR c FROM 0 => OK | -
+50 => ok | 1..50
DIRTY.ACK s CURSOR c #50 => (1) | 1..50
+50 => ok | 1..100
DIRTY.ACK s CURSOR c #100 => (1) | 1..100
+49 => ok | 1..149
+1 => ok | 101..150
+1 => FULL | 101..150
",
    ),
    (
        "MAXLEN 100 ONFULL KEEP",
        "
# A limit that comes down counts from then on, however far past it the stream is.
DIRTY.READER s CURSOR c FROM 0 => OK | -
+20 => ok | 1..20
DIRTY.DECLARE user STREAM s MAXLEN 3 ONFULL REFUSE DB => OK | 1..20
+1 => FULL | 1..20
DIRTY.ACK s CURSOR c #16 => (1) | 1..20
+1 => FULL | 1..20
DIRTY.ACK s CURSOR c #17 => (1) | 1..20
+1 => FULL | 1..20
DIRTY.ACK s CURSOR c #18 => (1) | 1..20
+2 => FULL | 1..20
+1 => ok | 19..21
DIRTY.DECLARE user STREAM s MAXLEN 1 ONFULL TRIM DB => OK | 19..21
+1 => ok | 22
",
    ),
    (
        "MAXAGE 600000 MAXLEN 2 ONFULL REFUSE",
        "
# Age does not make room where a group has not read.
XADD s old-1 a b => * | 1
XADD s old-2 a b => * | 1..2
XGROUP CREATE s g 0 => OK | 1..2
+1 => FULL | 1..2
XREADGROUP GROUP g c COUNT 1 NOACK STREAMS s > => * | 1..2
+1 => ok | 2..3
XREADGROUP GROUP g c NOACK STREAMS s > => * | 2..3
+1 => ok | 3..4
",
    ),
    // ---- The ends of what MAXLEN may be
    (
        "MAXLEN 0 ONFULL TRIM",
        "
XGROUP CREATE s g 0 MKSTREAM => OK | -
+2 => ok | -
",
    ),
    (
        "MAXLEN 0 ONFULL KEEP",
        "
+2 => ok | -
XGROUP CREATE s g $ => OK | -
+2 => ok | 3..4
XREADGROUP GROUP g c NOACK STREAMS s > => * | 3..4
+1 => ok | 5
",
    ),
    (
        "MAXLEN 0 ONFULL REFUSE",
        "
+2 => ok | -
XGROUP CREATE s g $ => OK | -
+1 => FULL | -
XGROUP DESTROY s g => (1) | -
+1 => ok | -
",
    ),
    (
        "MAXLEN 9223372036854775807 ONFULL REFUSE MAXAGE 9007199254740992",
        "
XGROUP CREATE s g 0 MKSTREAM => OK | -
XADD s 0-1 a b => * | 1
+5 => ok | 1..6
",
    ),
    (
        "MAXLEN ~ 9223372036854775807 ONFULL KEEP",
        "
XGROUP CREATE s g 0 MKSTREAM => OK | -
+5 => ok | 1..5
",
    ),
];
