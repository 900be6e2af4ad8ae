//! Every wrong use of every command: its exact reply, and that nothing came of it.

use super::support::{cases, words, Conn, Server};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// One of everything a wrong command could touch.
const SEED: &[&str] = &[
    "DIRTY.DECLARE user TYPES 7 s string i int u uint f float b bool t time j json \
     STREAM user-changes PAYLOAD FULL MAXLEN = 100 STREAM user-status OPS NONE FIELDS 1 status",
    "DIRTY.FLUSH user SNAPSHOT 1 2 status active i 5 SNAPSHOT 2 0",
    "DIRTY.CONSUME user-changes GROUP workers w1 COUNT 1",
    "DIRTY.CONSUME user-changes CURSOR reader",
    // A key of each other type, also where snapshots are.
    "SET string text",
    "RPUSH list a",
    "HSET hash a 1",
    "SADD set a",
    "ZADD zset 1 a",
    "XADD stream 1-1 a b",
    "XGROUP CREATE stream readers 0",
    "XREADGROUP GROUP readers r1 STREAMS stream >",
    "XGROUP CREATE stream place 0",
    "SET user:string text",
    "RPUSH user:list a",
    "SADD user:set a",
    "ZADD user:zset 1 a",
    "XADD user:stream 1-1 a b",
    "DIRTY.DECLARE user:declaration STREAM anything",
    // Entity types whose second stream is none, or can take no more.
    "DIRTY.DECLARE to-string STREAM fine STREAM string",
    "DIRTY.DECLARE to-list STREAM fine STREAM list",
    "DIRTY.DECLARE to-hash STREAM fine STREAM hash",
    "DIRTY.DECLARE to-set STREAM fine STREAM set",
    "DIRTY.DECLARE to-zset STREAM fine STREAM zset",
    "DIRTY.DECLARE to-declaration STREAM fine STREAM user",
    "DIRTY.DECLARE to-elsewhere STREAM fine STREAM there DB 1",
    "DIRTY.DECLARE to-full STREAM fine STREAM full",
    "DIRTY.DECLARE to-last STREAM fine STREAM last",
    "XADD full 18446744073709551615-18446744073709551615 a b",
    "XADD last 18446744073709551615-18446744073709551614 a b",
    // Snapshots would be stored at the key of a stream, at the key of a declaration.
    "DIRTY.DECLARE over PREFIX o: STREAM o:1",
    "DIRTY.DECLARE itself PREFIX it STREAM its-changes",
    "SELECT 1",
    "SET there text",
    "SELECT 0",
];

const STREAMS: &[&str] = &["stream", "user-changes", "full", "last", "user:stream"];

const TABLES: &[&str] = &[DECLARE, FLUSH, GET, INFO, CONSUME, ACK];

const DECLARE: &str = r#"
DIRTY.DECLARE => ERR wrong number of arguments for 'dirty.declare' command
DIRTY.DECLARE new => ERR a declaration needs at least one stream
DIRTY.DECLARE new NAME n PREFIX p => ERR a declaration needs at least one stream
DIRTY.DECLARE new TAGS 0 => ERR a declaration needs at least one stream
DIRTY.DECLARE new TAGS 1 ID required => ERR a declaration needs at least one stream
DIRTY.DECLARE new POOL a 1 => ERR a declaration needs at least one stream
# An option without its arguments.
DIRTY.DECLARE new NAME => ERR NAME lacks a name
DIRTY.DECLARE new PREFIX => ERR PREFIX lacks a prefix
DIRTY.DECLARE new TYPES => ERR TYPES lacks a count
DIRTY.DECLARE new TYPES 1 => ERR TYPES lacks a field
DIRTY.DECLARE new TYPES 1 a => ERR TYPES lacks a type
DIRTY.DECLARE new TYPES 2 a int => ERR TYPES lacks a field
DIRTY.DECLARE new STREAM => ERR STREAM lacks a stream
DIRTY.DECLARE new STREAM s OPS => ERR OPS lacks its operations
DIRTY.DECLARE new STREAM s FIELDS => ERR FIELDS lacks a count
DIRTY.DECLARE new STREAM s FIELDS 2 a => ERR FIELDS lacks a field
DIRTY.DECLARE new STREAM s MAXLEN => ERR MAXLEN lacks a count
DIRTY.DECLARE new STREAM s MAXLEN = => ERR MAXLEN lacks a count
DIRTY.DECLARE new STREAM s MAXLEN ~ => ERR MAXLEN lacks a count
DIRTY.DECLARE new STREAM s PAYLOAD => ERR PAYLOAD lacks a word
DIRTY.DECLARE new STREAM s FORMAT => ERR FORMAT lacks a word
DIRTY.DECLARE new STREAM s DB => ERR DB lacks a database's index
DIRTY.DECLARE new TAGS => ERR TAGS lacks a count
DIRTY.DECLARE new TAGS 1 => ERR TAGS lacks a field
DIRTY.DECLARE new TAGS 1 ID => ERR TAGS lacks a tag
DIRTY.DECLARE new TAGS 2 ID dirty=A => ERR TAGS lacks a field
DIRTY.DECLARE new STREAM s POOL => ERR POOL lacks a code
DIRTY.DECLARE new STREAM s POOL a => ERR POOL lacks a database's index
# Unknown and misplaced options.
DIRTY.DECLARE new STRAEM s => ERR unknown option "STRAEM"
DIRTY.DECLARE new "" => ERR unknown option ""
DIRTY.DECLARE new STREAM s s => ERR unknown option "s"
DIRTY.DECLARE new STREAM s FIELDS 1 a b => ERR unknown option "b"
DIRTY.DECLARE new STREAM s MAXLEN ~ 5 5 => ERR unknown option "5"
DIRTY.DECLARE new STREAM s TYPES 0 a int => ERR unknown option "a"
DIRTY.DECLARE new OPS I STREAM s => ERR OPS must stand among the options of a STREAM
DIRTY.DECLARE new FIELDS 1 a STREAM s => ERR FIELDS must stand among the options of a STREAM
DIRTY.DECLARE new MAXLEN 5 STREAM s => ERR MAXLEN must stand among the options of a STREAM
DIRTY.DECLARE new PAYLOAD KEYS STREAM s => ERR PAYLOAD must stand among the options of a STREAM
DIRTY.DECLARE new FORMAT MSGPACK STREAM s => ERR FORMAT must stand among the options of a STREAM
DIRTY.DECLARE new DB 1 STREAM s => ERR DB must stand among the options of a STREAM
DIRTY.DECLARE new STREAM s NAME n OPS I => ERR OPS must stand among the options of a STREAM
# The same twice.
DIRTY.DECLARE new NAME a NAME a STREAM s => ERR NAME is given twice
DIRTY.DECLARE new PREFIX a STREAM s PREFIX b => ERR PREFIX is given twice
DIRTY.DECLARE new TYPES 1 a int TYPES 1 b int STREAM s => ERR TYPES is given twice
DIRTY.DECLARE new TAGS 1 ID dirty=A TAGS 1 Age dirty=A => ERR TAGS is given twice
DIRTY.DECLARE new STREAM s OPS I OPS I => ERR OPS is given twice
DIRTY.DECLARE new STREAM s OPS NONE FIELDS 1 a OPS NONE => ERR OPS is given twice
DIRTY.DECLARE new STREAM s FIELDS 1 a FIELDS 1 b => ERR FIELDS is given twice
DIRTY.DECLARE new STREAM s MAXLEN 1 MAXLEN ~ 1 => ERR MAXLEN is given twice
DIRTY.DECLARE new STREAM s PAYLOAD KEYS PAYLOAD FULL => ERR PAYLOAD is given twice
DIRTY.DECLARE new STREAM s FORMAT MSGPACK FORMAT MSGPACK => ERR FORMAT is given twice
DIRTY.DECLARE new STREAM s DB 1 DB 1 => ERR DB is given twice
DIRTY.DECLARE new STREAM s STREAM t STREAM s => ERR stream "s" is declared twice
DIRTY.DECLARE new STREAM s STREAM s DB 1 => ERR stream "s" is declared twice
DIRTY.DECLARE new STREAM s TAGS 1 ID dirtyStream=s => ERR stream "s" is declared twice
DIRTY.DECLARE new TAGS 1 ID dirtyStream=s,t,s//U => ERR stream "s" is declared twice
DIRTY.DECLARE new TAGS 1 ID dirty=s;dirtyStream=dirty_s => ERR stream "dirty_s" is declared twice
DIRTY.DECLARE new TYPES 3 a int b int a int STREAM s => ERR field "a" is named twice
DIRTY.DECLARE new STREAM s FIELDS 2 a a => ERR field "a" is named twice
DIRTY.DECLARE new TAGS 2 ID dirty=A ID dirty=B => ERR field "ID" is named twice
DIRTY.DECLARE new STREAM s POOL a 1 POOL a 1 => ERR pool "a" is mapped twice
# Counts and numbers that are none, or out of range.
DIRTY.DECLARE new TYPES x a int => ERR the count of TYPES must be an integer, 0 or more, not "x"
DIRTY.DECLARE new TYPES "" => ERR the count of TYPES must be an integer, 0 or more, not ""
DIRTY.DECLARE new TYPES -1 => ERR the count of TYPES must be an integer, 0 or more, not "-1"
DIRTY.DECLARE new TYPES 1.5 => ERR the count of TYPES must be an integer, 0 or more, not "1.5"
DIRTY.DECLARE new TYPES 01 a int => ERR the count of TYPES must be an integer, 0 or more, not "01"
DIRTY.DECLARE new TYPES 4294967296 a int => ERR TYPES lacks a field
DIRTY.DECLARE new TYPES 18446744073709551615 a int => ERR TYPES lacks a field
DIRTY.DECLARE new TYPES 18446744073709551616 a int => ERR the count of TYPES must be an integer, 0 or more, not "18446744073709551616"
DIRTY.DECLARE new STREAM s FIELDS x => ERR the count of FIELDS must be an integer, 0 or more, not "x"
DIRTY.DECLARE new STREAM s FIELDS -1 => ERR the count of FIELDS must be an integer, 0 or more, not "-1"
DIRTY.DECLARE new STREAM s FIELDS 18446744073709551615 a => ERR FIELDS lacks a field
DIRTY.DECLARE new TAGS x => ERR the count of TAGS must be an integer, 0 or more, not "x"
DIRTY.DECLARE new TAGS 1.5 => ERR the count of TAGS must be an integer, 0 or more, not "1.5"
DIRTY.DECLARE new TAGS 18446744073709551615 ID dirty=A => ERR TAGS lacks a field
DIRTY.DECLARE new STREAM s MAXLEN x => ERR MAXLEN must be an integer from 0 to 9223372036854775807, not "x"
DIRTY.DECLARE new STREAM s MAXLEN "" => ERR MAXLEN must be an integer from 0 to 9223372036854775807, not ""
DIRTY.DECLARE new STREAM s MAXLEN -1 => ERR MAXLEN must be an integer from 0 to 9223372036854775807, not "-1"
DIRTY.DECLARE new STREAM s MAXLEN ~ 1.5 => ERR MAXLEN must be an integer from 0 to 9223372036854775807, not "1.5"
DIRTY.DECLARE new STREAM s MAXLEN ~ = 5 => ERR MAXLEN must be an integer from 0 to 9223372036854775807, not "="
DIRTY.DECLARE new STREAM s MAXLEN 9223372036854775808 => ERR MAXLEN must be an integer from 0 to 9223372036854775807, not "9223372036854775808"
DIRTY.DECLARE new STREAM s MAXLEN 18446744073709551616 => ERR MAXLEN must be an integer from 0 to 9223372036854775807, not "18446744073709551616"
DIRTY.DECLARE new STREAM s DB x => ERR DB must be an integer from 0 to 2147483647, not "x"
DIRTY.DECLARE new STREAM s DB -1 => ERR DB must be an integer from 0 to 2147483647, not "-1"
DIRTY.DECLARE new STREAM s DB 2147483648 => ERR DB must be an integer from 0 to 2147483647, not "2147483648"
DIRTY.DECLARE new STREAM s DB 4294967296 => ERR DB must be an integer from 0 to 2147483647, not "4294967296"
DIRTY.DECLARE new STREAM s DB 16 => ERR the database "16" of the stream "s" is out of range
DIRTY.DECLARE new STREAM s STREAM t DB 2147483647 => ERR the database "2147483647" of the stream "t" is out of range
DIRTY.DECLARE new STREAM s POOL a x => ERR POOL must be an integer from 0 to 2147483647, not "x"
DIRTY.DECLARE new STREAM s POOL a -1 => ERR POOL must be an integer from 0 to 2147483647, not "-1"
DIRTY.DECLARE new TAGS 1 ID dirtyStream=s/a/ POOL a 16 => ERR the database "16" of the stream "s" is out of range
# Words that are none of the choices.
DIRTY.DECLARE new STREAM s OPS X => ERR OPS must be letters of IUD or NONE, not "X"
DIRTY.DECLARE new STREAM s OPS "" => ERR OPS must be letters of IUD or NONE, not ""
DIRTY.DECLARE new STREAM s OPS I,U => ERR OPS must be letters of IUD or NONE, not "I,U"
DIRTY.DECLARE new STREAM s OPS STREAM => ERR OPS must be letters of IUD or NONE, not "STREAM"
DIRTY.DECLARE new STREAM s PAYLOAD ALL => ERR PAYLOAD must be KEYS, CHANGES or FULL, not "ALL"
DIRTY.DECLARE new STREAM s PAYLOAD "" => ERR PAYLOAD must be KEYS, CHANGES or FULL, not ""
DIRTY.DECLARE new STREAM s FORMAT XML => ERR FORMAT must be MSGPACK, not "XML"
DIRTY.DECLARE new TYPES 1 a text STREAM s => ERR a type of TYPES must be string, int, uint, float, bool, time or json, not "text"
DIRTY.DECLARE new TYPES 1 a "" STREAM s => ERR a type of TYPES must be string, int, uint, float, bool, time or json, not ""
# Names that cannot be.
DIRTY.DECLARE new PREFIX "" STREAM s => ERR PREFIX must not be empty
DIRTY.DECLARE new TYPES 1 @ int STREAM s => ERR the field "@" is reserved
DIRTY.DECLARE new STREAM s FIELDS 1 @ => ERR the field "@" is reserved
DIRTY.DECLARE new TAGS 2 ID dirty=A @ dirty=A => ERR the field "@" is reserved
DIRTY.DECLARE new STREAM new => ERR stream "new" would be the declaration's own key
DIRTY.DECLARE new STREAM s TAGS 1 ID dirtyStream=new => ERR stream "new" would be the declaration's own key
DIRTY.DECLARE dirty_x TAGS 1 ID dirty=x => ERR stream "dirty_x" would be the declaration's own key
# Tags.
DIRTY.DECLARE new TAGS 1 ID dirtyStream= => ERR bad tag "dirtyStream=" of field "ID": a stream's name is empty
DIRTY.DECLARE new TAGS 1 ID dirtyStream=A, => ERR bad tag "dirtyStream=A," of field "ID": a stream's name is empty
DIRTY.DECLARE new TAGS 1 ID dirty=:add => ERR bad tag "dirty=:add" of field "ID": a stream's name is empty
DIRTY.DECLARE new TAGS 2 ID dirty=A Age dirty= => ERR bad tag "dirty=" of field "Age": a stream's name is empty
DIRTY.DECLARE new TAGS 1 ID dirtyStream=A//IX => ERR bad tag "dirtyStream=A//IX" of field "ID": operations must be letters of IUD
DIRTY.DECLARE new TAGS 1 ID dirtyStream=A/a/b/c POOL a 1 => ERR bad tag "dirtyStream=A/a/b/c" of field "ID": operations must be letters of IUD
DIRTY.DECLARE new TAGS 1 ID dirty=A:add|update => ERR bad tag "dirty=A:add|update" of field "ID": operations must be add, edit or delete, joined by |
DIRTY.DECLARE new TAGS 1 ID dirty=A: => ERR bad tag "dirty=A:" of field "ID": operations must be add, edit or delete, joined by |
DIRTY.DECLARE new TAGS 1 ID dirty=A:add:edit => ERR bad tag "dirty=A:add:edit" of field "ID": a stream has more than one colon
DIRTY.DECLARE new TAGS 2 ID dirty=A Age dirty=A:add => ERR bad tag "dirty=A:add" of field "Age": only the tag of ID may give operations or a pool
DIRTY.DECLARE new TAGS 2 ID dirtyStream=A Age dirtyStream=A//U => ERR bad tag "dirtyStream=A//U" of field "Age": only the tag of ID may give operations or a pool
DIRTY.DECLARE new TAGS 2 ID dirtyStream=A Age required;dirtyStream=B => ERR bad tag "required;dirtyStream=B" of field "Age": it names a stream that the tag of ID does not declare
DIRTY.DECLARE new TAGS 1 Age dirtyStream=A STREAM A => ERR bad tag "dirtyStream=A" of field "Age": it names a stream that the tag of ID does not declare
DIRTY.DECLARE new TAGS 1 ID dirtyStream=A/a/ POOL b 1 => ERR bad tag "dirtyStream=A/a/" of field "ID": no POOL maps the code "a"
# A key that holds something else.
DIRTY.DECLARE string STREAM s => WRONGTYPE the key "string" holds something else than a declaration
DIRTY.DECLARE list STREAM s => WRONGTYPE the key "list" holds something else than a declaration
DIRTY.DECLARE hash STREAM s => WRONGTYPE the key "hash" holds something else than a declaration
DIRTY.DECLARE set STREAM s => WRONGTYPE the key "set" holds something else than a declaration
DIRTY.DECLARE zset STREAM s => WRONGTYPE the key "zset" holds something else than a declaration
DIRTY.DECLARE stream STREAM s => WRONGTYPE the key "stream" holds something else than a declaration
# One that was declared stays as it was.
DIRTY.DECLARE user STREAM other STREAM other => ERR stream "other" is declared twice
"#;

const FLUSH: &str = r#"
DIRTY.FLUSH => ERR wrong number of arguments for 'dirty.flush' command
DIRTY.FLUSH user => ERR wrong number of arguments for 'dirty.flush' command
DIRTY.FLUSH user UPSERT 1 0 => ERR unknown operation "UPSERT"
DIRTY.FLUSH user "" => ERR unknown operation ""
DIRTY.FLUSH user SNAPSHOT 3 1 a b c => ERR unknown operation "c"
DIRTY.FLUSH user DELETE 1 1 a b => ERR unknown operation "1"
DIRTY.FLUSH user TOUCH 1 0 => ERR unknown operation "0"
DIRTY.FLUSH user NULL 1 a => ERR unknown operation "NULL"
DIRTY.FLUSH user SNAPSHOT 3 0 NULL 1 a NULL 1 b => ERR unknown operation "NULL"
# An operation without its arguments.
DIRTY.FLUSH user SNAPSHOT => ERR SNAPSHOT lacks an id
DIRTY.FLUSH user INSERT => ERR INSERT lacks an id
DIRTY.FLUSH user UPDATE => ERR UPDATE lacks an id
DIRTY.FLUSH user DELETE => ERR DELETE lacks an id
DIRTY.FLUSH user TOUCH => ERR TOUCH lacks an id
DIRTY.FLUSH user SEED => ERR SEED lacks an id
DIRTY.FLUSH user SNAPSHOT 3 => ERR SNAPSHOT lacks a count
DIRTY.FLUSH user INSERT 3 => ERR INSERT lacks a count
DIRTY.FLUSH user UPDATE 1 => ERR UPDATE lacks a count
DIRTY.FLUSH user SEED 3 => ERR SEED lacks a count
DIRTY.FLUSH user SNAPSHOT 3 1 => ERR SNAPSHOT lacks a field
DIRTY.FLUSH user INSERT 3 1 a => ERR INSERT lacks a value
DIRTY.FLUSH user UPDATE 1 2 a b c => ERR UPDATE lacks a value
DIRTY.FLUSH user SEED 3 2 a b => ERR SEED lacks a field
DIRTY.FLUSH user SNAPSHOT 3 0 NULL => ERR NULL lacks a count
DIRTY.FLUSH user SNAPSHOT 3 0 NULL 2 a => ERR NULL lacks a field
DIRTY.FLUSH user DELETE 1 SNAPSHOT 3 => ERR SNAPSHOT lacks a count
# Counts that are none.
DIRTY.FLUSH user SNAPSHOT 3 x a b => ERR the count of SNAPSHOT must be an integer, 0 or more, not "x"
DIRTY.FLUSH user SNAPSHOT 3 "" => ERR the count of SNAPSHOT must be an integer, 0 or more, not ""
DIRTY.FLUSH user SNAPSHOT 3 -1 => ERR the count of SNAPSHOT must be an integer, 0 or more, not "-1"
DIRTY.FLUSH user INSERT 3 1.5 a b => ERR the count of INSERT must be an integer, 0 or more, not "1.5"
DIRTY.FLUSH user UPDATE 1 +1 a b => ERR the count of UPDATE must be an integer, 0 or more, not "+1"
DIRTY.FLUSH user SEED 3 01 a b => ERR the count of SEED must be an integer, 0 or more, not "01"
DIRTY.FLUSH user SNAPSHOT 3 \_1 a b => ERR the count of SNAPSHOT must be an integer, 0 or more, not " 1"
DIRTY.FLUSH user SNAPSHOT 3 4294967296 a b => ERR SNAPSHOT lacks a field
DIRTY.FLUSH user SNAPSHOT 3 18446744073709551615 a b => ERR SNAPSHOT lacks a field
DIRTY.FLUSH user SNAPSHOT 3 18446744073709551616 a b => ERR the count of SNAPSHOT must be an integer, 0 or more, not "18446744073709551616"
DIRTY.FLUSH user SNAPSHOT 3 0 NULL x a => ERR the count of NULL must be an integer, 0 or more, not "x"
DIRTY.FLUSH user SNAPSHOT 3 0 NULL -1 a => ERR the count of NULL must be an integer, 0 or more, not "-1"
DIRTY.FLUSH user SNAPSHOT 3 0 NULL 18446744073709551615 a => ERR NULL lacks a field
# Fields.
DIRTY.FLUSH user SNAPSHOT 3 1 @ x => ERR the field "@" is reserved
DIRTY.FLUSH user SNAPSHOT 3 1 a x NULL 1 @ => ERR the field "@" is reserved
DIRTY.FLUSH user INSERT 3 1 @ x => ERR the field "@" is reserved
DIRTY.FLUSH user UPDATE 1 1 @ x => ERR the field "@" is reserved
DIRTY.FLUSH user UPDATE 2 0 NULL 1 @ => ERR the field "@" is reserved
DIRTY.FLUSH user SEED 3 1 @ x => ERR the field "@" is reserved
DIRTY.FLUSH user SNAPSHOT 3 2 a x a x => ERR field "a" is named twice
DIRTY.FLUSH user INSERT 3 3 a x c y a z => ERR field "a" is named twice
DIRTY.FLUSH user UPDATE 1 1 a x NULL 1 a => ERR field "a" is named twice
DIRTY.FLUSH user SEED 3 0 NULL 2 a a => ERR field "a" is named twice
# What is and what is not.
DIRTY.FLUSH nothing SNAPSHOT 1 1 a b => NODECL no entity type is declared at "nothing"
DIRTY.FLUSH nothing DELETE 1 => NODECL no entity type is declared at "nothing"
DIRTY.FLUSH user INSERT 1 1 status banned => EXISTS entity "1" exists with other values
DIRTY.FLUSH user INSERT 1 0 => EXISTS entity "1" exists with other values
DIRTY.FLUSH user INSERT 2 1 a b => EXISTS entity "2" exists with other values
DIRTY.FLUSH user INSERT 3 1 a b INSERT 3 1 a c => EXISTS entity "3" exists with other values
DIRTY.FLUSH user UPDATE 3 1 a b => NOENTITY there is no entity "3"
DIRTY.FLUSH user UPDATE 3 0 => NOENTITY there is no entity "3"
DIRTY.FLUSH user TOUCH 3 => NOENTITY there is no entity "3"
DIRTY.FLUSH user DELETE 1 UPDATE 1 1 a b => NOENTITY there is no entity "1"
DIRTY.FLUSH user DELETE 2 TOUCH 2 => NOENTITY there is no entity "2"
# Values that do not fit their field's type.
DIRTY.FLUSH user SNAPSHOT 3 1 i x => BADVALUE field "i" takes a 64-bit signed integer, not "x"
DIRTY.FLUSH user SNAPSHOT 3 1 i "" => BADVALUE field "i" takes a 64-bit signed integer, not ""
DIRTY.FLUSH user SNAPSHOT 3 1 i 1.5 => BADVALUE field "i" takes a 64-bit signed integer, not "1.5"
DIRTY.FLUSH user SNAPSHOT 3 1 i \_5 => BADVALUE field "i" takes a 64-bit signed integer, not " 5"
DIRTY.FLUSH user SNAPSHOT 3 1 i 9223372036854775808 => BADVALUE field "i" takes a 64-bit signed integer, not "9223372036854775808"
DIRTY.FLUSH user SNAPSHOT 3 1 i \xff => BADVALUE field "i" takes a 64-bit signed integer, not "\xff"
DIRTY.FLUSH user INSERT 3 1 u -1 => BADVALUE field "u" takes a 64-bit unsigned integer, not "-1"
DIRTY.FLUSH user INSERT 3 1 u 18446744073709551616 => BADVALUE field "u" takes a 64-bit unsigned integer, not "18446744073709551616"
DIRTY.FLUSH user INSERT 3 1 u 5x => BADVALUE field "u" takes a 64-bit unsigned integer, not "5x"
DIRTY.FLUSH user UPDATE 1 1 f x => BADVALUE field "f" takes a finite number, not "x"
DIRTY.FLUSH user UPDATE 1 1 f "" => BADVALUE field "f" takes a finite number, not ""
DIRTY.FLUSH user UPDATE 1 1 f nan => BADVALUE field "f" takes a finite number, not "nan"
DIRTY.FLUSH user UPDATE 1 1 f -inf => BADVALUE field "f" takes a finite number, not "-inf"
DIRTY.FLUSH user UPDATE 1 1 f 1e999 => BADVALUE field "f" takes a finite number, not "1e999"
DIRTY.FLUSH user UPDATE 1 1 f 1,5 => BADVALUE field "f" takes a finite number, not "1,5"
DIRTY.FLUSH user SEED 3 1 b yes => BADVALUE field "b" takes 1, 0, true or false, not "yes"
DIRTY.FLUSH user SEED 3 1 b 2 => BADVALUE field "b" takes 1, 0, true or false, not "2"
DIRTY.FLUSH user SEED 3 1 b "" => BADVALUE field "b" takes 1, 0, true or false, not ""
DIRTY.FLUSH user SNAPSHOT 3 1 t 2026-01-02 => BADVALUE field "t" takes an RFC 3339 time, not "2026-01-02"
DIRTY.FLUSH user SNAPSHOT 3 1 t 2026-02-30T03:04:05Z => BADVALUE field "t" takes an RFC 3339 time, not "2026-02-30T03:04:05Z"
DIRTY.FLUSH user SNAPSHOT 3 1 t 2026-01-02T03:04:05 => BADVALUE field "t" takes an RFC 3339 time, not "2026-01-02T03:04:05"
DIRTY.FLUSH user SNAPSHOT 3 1 t 2016-12-31T23:59:60Z => BADVALUE field "t" takes an RFC 3339 time, not "2016-12-31T23:59:60Z"
DIRTY.FLUSH user SNAPSHOT 3 1 t 2026-01-02T03:04:05.1234567891Z => BADVALUE field "t" takes an RFC 3339 time, not "2026-01-02T03:04:05.1234567891Z"
DIRTY.FLUSH user SNAPSHOT 3 1 t 1767323045 => BADVALUE field "t" takes an RFC 3339 time, not "1767323045"
DIRTY.FLUSH user SNAPSHOT 3 1 t "" => BADVALUE field "t" takes an RFC 3339 time, not ""
DIRTY.FLUSH user SNAPSHOT 3 1 j { => BADVALUE field "j" takes JSON of at most 32 levels, not "{"
DIRTY.FLUSH user SNAPSHOT 3 1 j "" => BADVALUE field "j" takes JSON of at most 32 levels, not ""
DIRTY.FLUSH user SNAPSHOT 3 1 j {}{} => BADVALUE field "j" takes JSON of at most 32 levels, not "{}{}"
DIRTY.FLUSH user SNAPSHOT 3 1 j [1,] => BADVALUE field "j" takes JSON of at most 32 levels, not "[1,]"
DIRTY.FLUSH user SNAPSHOT 3 1 j "\xff" => BADVALUE field "j" takes JSON of at most 32 levels, not "\"\xff\""
DIRTY.FLUSH user SNAPSHOT 3 1 j [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]] => BADVALUE field "j" takes JSON of at most 32 levels, not "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"...
# A key that holds something else: the declaration's, the snapshot's, a stream's.
DIRTY.FLUSH string SNAPSHOT 1 0 => WRONGTYPE the key "string" holds something else than a declaration
DIRTY.FLUSH list SNAPSHOT 1 0 => WRONGTYPE the key "list" holds something else than a declaration
DIRTY.FLUSH hash SNAPSHOT 1 0 => WRONGTYPE the key "hash" holds something else than a declaration
DIRTY.FLUSH set SNAPSHOT 1 0 => WRONGTYPE the key "set" holds something else than a declaration
DIRTY.FLUSH zset SNAPSHOT 1 0 => WRONGTYPE the key "zset" holds something else than a declaration
DIRTY.FLUSH stream SNAPSHOT 1 0 => WRONGTYPE the key "stream" holds something else than a declaration
DIRTY.FLUSH user SNAPSHOT string 1 a b => WRONGTYPE the key "user:string" holds something else than a hash
DIRTY.FLUSH user INSERT list 1 a b => WRONGTYPE the key "user:list" holds something else than a hash
DIRTY.FLUSH user UPDATE set 1 a b => WRONGTYPE the key "user:set" holds something else than a hash
DIRTY.FLUSH user SEED zset 1 a b => WRONGTYPE the key "user:zset" holds something else than a hash
DIRTY.FLUSH user DELETE stream => WRONGTYPE the key "user:stream" holds something else than a hash
DIRTY.FLUSH user TOUCH declaration => WRONGTYPE the key "user:declaration" holds something else than a hash
DIRTY.FLUSH itself SNAPSHOT self 1 a b => WRONGTYPE the key "itself" holds something else than a hash
DIRTY.FLUSH over SNAPSHOT 1 1 a b => WRONGTYPE the snapshot of entity "1" would be stored at "o:1", a stream of its declaration
DIRTY.FLUSH over SNAPSHOT 2 1 a b DELETE 1 => WRONGTYPE the snapshot of entity "1" would be stored at "o:1", a stream of its declaration
DIRTY.FLUSH to-string SNAPSHOT 1 1 a b => WRONGTYPE the key "string" holds something else than a stream
DIRTY.FLUSH to-list INSERT 1 1 a b => WRONGTYPE the key "list" holds something else than a stream
DIRTY.FLUSH to-hash SNAPSHOT 1 0 => WRONGTYPE the key "hash" holds something else than a stream
DIRTY.FLUSH to-set SNAPSHOT 1 1 a b => WRONGTYPE the key "set" holds something else than a stream
DIRTY.FLUSH to-zset SNAPSHOT 1 1 a b => WRONGTYPE the key "zset" holds something else than a stream
DIRTY.FLUSH to-declaration SNAPSHOT 1 1 a b => WRONGTYPE the key "user" holds something else than a stream
DIRTY.FLUSH to-elsewhere SNAPSHOT 1 1 a b => WRONGTYPE the key "there" of database 1 holds something else than a stream
DIRTY.FLUSH to-full SNAPSHOT 1 1 a b => ERR the stream "full" has exhausted its ids
DIRTY.FLUSH to-last SNAPSHOT 1 1 a b SNAPSHOT 2 1 a b => ERR the stream "last" has exhausted its ids
# A later operation takes the earlier ones with it.
DIRTY.FLUSH user SNAPSHOT 3 1 a b SNAPSHOT 4 1 i x => BADVALUE field "i" takes a 64-bit signed integer, not "x"
DIRTY.FLUSH user SNAPSHOT 1 1 status banned DELETE 2 UPDATE 3 1 a b => NOENTITY there is no entity "3"
DIRTY.FLUSH user DELETE 1 INSERT 2 1 a b => EXISTS entity "2" exists with other values
DIRTY.FLUSH user TOUCH 1 SNAPSHOT 3 1 @ b => ERR the field "@" is reserved
DIRTY.FLUSH user SEED 3 1 a b SNAPSHOT string 1 a b => WRONGTYPE the key "user:string" holds something else than a hash
DIRTY.FLUSH user DELETE 1 TOUCH 2 DELETE list => WRONGTYPE the key "user:list" holds something else than a hash
DIRTY.FLUSH to-string SEED 1 1 a b SNAPSHOT 2 1 a b => WRONGTYPE the key "string" holds something else than a stream
DIRTY.FLUSH user DELETE 1 DELETE 2 SNAPSHOT 1 1 a b FLY 5 => ERR unknown operation "FLY"
"#;

const GET: &str = r#"
DIRTY.GET => ERR wrong number of arguments for 'dirty.get' command
DIRTY.GET user => ERR wrong number of arguments for 'dirty.get' command
DIRTY.GET nothing 1 => NODECL no entity type is declared at "nothing"
DIRTY.GET string 1 => WRONGTYPE the key "string" holds something else than a declaration
DIRTY.GET list 1 => WRONGTYPE the key "list" holds something else than a declaration
DIRTY.GET hash 1 => WRONGTYPE the key "hash" holds something else than a declaration
DIRTY.GET set 1 => WRONGTYPE the key "set" holds something else than a declaration
DIRTY.GET zset 1 => WRONGTYPE the key "zset" holds something else than a declaration
DIRTY.GET stream 1 => WRONGTYPE the key "stream" holds something else than a declaration
DIRTY.GET user string => WRONGTYPE the key "user:string" holds something else than a hash
DIRTY.GET user 1 list => WRONGTYPE the key "user:list" holds something else than a hash
DIRTY.GET user set 1 => WRONGTYPE the key "user:set" holds something else than a hash
DIRTY.GET user nobody zset => WRONGTYPE the key "user:zset" holds something else than a hash
DIRTY.GET user stream => WRONGTYPE the key "user:stream" holds something else than a hash
DIRTY.GET user declaration => WRONGTYPE the key "user:declaration" holds something else than a hash
DIRTY.GET over 1 => WRONGTYPE the snapshot of entity "1" would be stored at "o:1", a stream of its declaration
"#;

const INFO: &str = r#"
DIRTY.INFO => ERR wrong number of arguments for 'dirty.info' command
DIRTY.INFO user user => ERR wrong number of arguments for 'dirty.info' command
DIRTY.INFO nothing => NODECL no entity type is declared at "nothing"
DIRTY.INFO "" => NODECL no entity type is declared at ""
DIRTY.INFO string => WRONGTYPE the key "string" holds something else than a declaration
DIRTY.INFO list => WRONGTYPE the key "list" holds something else than a declaration
DIRTY.INFO hash => WRONGTYPE the key "hash" holds something else than a declaration
DIRTY.INFO set => WRONGTYPE the key "set" holds something else than a declaration
DIRTY.INFO zset => WRONGTYPE the key "zset" holds something else than a declaration
DIRTY.INFO stream => WRONGTYPE the key "stream" holds something else than a declaration
"#;

const CONSUME: &str = r#"
DIRTY.CONSUME => ERR wrong number of arguments for 'dirty.consume' command
DIRTY.CONSUME new => ERR wrong number of arguments for 'dirty.consume' command
DIRTY.CONSUME new GROUP => ERR wrong number of arguments for 'dirty.consume' command
DIRTY.CONSUME new CURSOR => ERR wrong number of arguments for 'dirty.consume' command
DIRTY.CONSUME new GROUP g => ERR GROUP lacks a consumer
DIRTY.CONSUME new TEAM g c => ERR the reader must be GROUP or CURSOR, not "TEAM"
DIRTY.CONSUME new "" g c => ERR the reader must be GROUP or CURSOR, not ""
# An option without its arguments.
DIRTY.CONSUME new GROUP g c ACK => ERR ACK lacks a count
DIRTY.CONSUME new GROUP g c ACK 1 => ERR ACK lacks an id
DIRTY.CONSUME new GROUP g c ACK 2 1-1 => ERR ACK lacks an id
DIRTY.CONSUME new GROUP g c CLAIM => ERR CLAIM lacks a time in ms
DIRTY.CONSUME new GROUP g c FROM => ERR FROM lacks a start
DIRTY.CONSUME new GROUP g c COUNT => ERR COUNT lacks a number
DIRTY.CONSUME new GROUP g c BLOCK => ERR BLOCK lacks a time in ms
DIRTY.CONSUME new CURSOR c ACK => ERR ACK lacks an id
DIRTY.CONSUME new CURSOR c FROM => ERR FROM lacks a start
DIRTY.CONSUME new CURSOR c COUNT => ERR COUNT lacks a number
DIRTY.CONSUME new CURSOR c BLOCK => ERR BLOCK lacks a time in ms
# Unknown ones.
DIRTY.CONSUME new GROUP g c LIMIT 5 => ERR unknown option "LIMIT"
DIRTY.CONSUME new GROUP g c "" => ERR unknown option ""
DIRTY.CONSUME new GROUP g c ACK 1 1-1 2-2 => ERR unknown option "2-2"
DIRTY.CONSUME new CURSOR c c => ERR unknown option "c"
DIRTY.CONSUME new CURSOR c PENDING => ERR unknown option "PENDING"
DIRTY.CONSUME new CURSOR c CLAIM 5 => ERR unknown option "CLAIM"
DIRTY.CONSUME new CURSOR c ACK 1-1 2-2 => ERR unknown option "2-2"
# The same twice.
DIRTY.CONSUME new GROUP g c ACK 1 1-1 ACK 1 1-1 => ERR ACK is given twice
DIRTY.CONSUME new GROUP g c PENDING PENDING => ERR PENDING is given twice
DIRTY.CONSUME new GROUP g c CLAIM 1 CLAIM 1 => ERR CLAIM is given twice
DIRTY.CONSUME new GROUP g c FROM 0 FROM 0 => ERR FROM is given twice
DIRTY.CONSUME new GROUP g c COUNT 1 RAW COUNT 1 => ERR COUNT is given twice
DIRTY.CONSUME new GROUP g c BLOCK 1 BLOCK 1 => ERR BLOCK is given twice
DIRTY.CONSUME new GROUP g c RAW RAW => ERR RAW is given twice
DIRTY.CONSUME new CURSOR c ACK 1-1 ACK 1-1 => ERR ACK is given twice
# Numbers that are none, or out of range.
DIRTY.CONSUME new GROUP g c COUNT 0 => ERR COUNT must be an integer from 1 to 4294967295, not "0"
DIRTY.CONSUME new GROUP g c COUNT x => ERR COUNT must be an integer from 1 to 4294967295, not "x"
DIRTY.CONSUME new GROUP g c COUNT "" => ERR COUNT must be an integer from 1 to 4294967295, not ""
DIRTY.CONSUME new GROUP g c COUNT -1 => ERR COUNT must be an integer from 1 to 4294967295, not "-1"
DIRTY.CONSUME new GROUP g c COUNT 1.5 => ERR COUNT must be an integer from 1 to 4294967295, not "1.5"
DIRTY.CONSUME new CURSOR c COUNT 4294967296 => ERR COUNT must be an integer from 1 to 4294967295, not "4294967296"
DIRTY.CONSUME new CURSOR c COUNT 18446744073709551616 => ERR COUNT must be an integer from 1 to 4294967295, not "18446744073709551616"
DIRTY.CONSUME new GROUP g c BLOCK x => ERR BLOCK must be an integer from 0 to 9007199254740992, not "x"
DIRTY.CONSUME new GROUP g c BLOCK -1 => ERR BLOCK must be an integer from 0 to 9007199254740992, not "-1"
DIRTY.CONSUME new GROUP g c BLOCK 1.5 => ERR BLOCK must be an integer from 0 to 9007199254740992, not "1.5"
DIRTY.CONSUME new CURSOR c BLOCK 9223372036854775807 => ERR BLOCK must be an integer from 0 to 9007199254740992, not "9223372036854775807"
DIRTY.CONSUME new CURSOR c BLOCK 18446744073709551616 => ERR BLOCK must be an integer from 0 to 9007199254740992, not "18446744073709551616"
DIRTY.CONSUME new GROUP g c CLAIM x => ERR CLAIM must be an integer from 0 to 9007199254740992, not "x"
DIRTY.CONSUME new GROUP g c CLAIM -1 => ERR CLAIM must be an integer from 0 to 9007199254740992, not "-1"
DIRTY.CONSUME new GROUP g c CLAIM 18446744073709551616 => ERR CLAIM must be an integer from 0 to 9007199254740992, not "18446744073709551616"
DIRTY.CONSUME new GROUP g c ACK x 1-1 => ERR the count of ACK must be an integer, 0 or more, not "x"
DIRTY.CONSUME new GROUP g c ACK 1-1 => ERR the count of ACK must be an integer, 0 or more, not "1-1"
DIRTY.CONSUME new GROUP g c ACK -1 1-1 => ERR the count of ACK must be an integer, 0 or more, not "-1"
DIRTY.CONSUME new GROUP g c ACK 18446744073709551615 1-1 => ERR ACK lacks an id
DIRTY.CONSUME new GROUP g c ACK 18446744073709551616 1-1 => ERR the count of ACK must be an integer, 0 or more, not "18446744073709551616"
# Ids and starts that are none.
DIRTY.CONSUME new GROUP g c ACK 1 5 => ERR invalid event id "5", expected ms-seq
DIRTY.CONSUME new GROUP g c ACK 2 1-1 $ => ERR invalid event id "$", expected ms-seq
DIRTY.CONSUME new CURSOR c ACK "" => ERR invalid event id "", expected ms-seq
DIRTY.CONSUME new CURSOR c ACK 1- => ERR invalid event id "1-", expected ms-seq
DIRTY.CONSUME new CURSOR c ACK -1-1 => ERR invalid event id "-1-1", expected ms-seq
DIRTY.CONSUME new CURSOR c ACK 1-1-1 => ERR invalid event id "1-1-1", expected ms-seq
DIRTY.CONSUME new CURSOR c ACK 1-* => ERR invalid event id "1-*", expected ms-seq
DIRTY.CONSUME new CURSOR c ACK 18446744073709551616-0 => ERR invalid event id "18446744073709551616-0", expected ms-seq
DIRTY.CONSUME new GROUP g c FROM x => ERR invalid FROM "x", expected 0, $, an event id or a time in ms
DIRTY.CONSUME new GROUP g c FROM "" => ERR invalid FROM "", expected 0, $, an event id or a time in ms
DIRTY.CONSUME new GROUP g c FROM > => ERR invalid FROM ">", expected 0, $, an event id or a time in ms
DIRTY.CONSUME new CURSOR c FROM -1 => ERR invalid FROM "-1", expected 0, $, an event id or a time in ms
DIRTY.CONSUME new CURSOR c FROM 1-x => ERR invalid FROM "1-x", expected 0, $, an event id or a time in ms
DIRTY.CONSUME new CURSOR c FROM 18446744073709551616 => ERR invalid FROM "18446744073709551616", expected 0, $, an event id or a time in ms
# A key that holds something else, a reader that is something else.
DIRTY.CONSUME string GROUP g c => WRONGTYPE the key "string" holds something else than a stream
DIRTY.CONSUME list CURSOR c => WRONGTYPE the key "list" holds something else than a stream
DIRTY.CONSUME hash GROUP g c ACK 1 1-1 => WRONGTYPE the key "hash" holds something else than a stream
DIRTY.CONSUME set CURSOR c FROM $ => WRONGTYPE the key "set" holds something else than a stream
DIRTY.CONSUME zset GROUP g c BLOCK 0 => WRONGTYPE the key "zset" holds something else than a stream
DIRTY.CONSUME user CURSOR c BLOCK 0 => WRONGTYPE the key "user" holds something else than a stream
DIRTY.CONSUME stream CURSOR readers => ERR "readers" is a group with consumers, not a cursor
DIRTY.CONSUME user-changes CURSOR workers ACK 1-1 => ERR "workers" is a group with consumers, not a cursor
"#;

const ACK: &str = r#"
DIRTY.ACK => ERR wrong number of arguments for 'dirty.ack' command
DIRTY.ACK stream => ERR wrong number of arguments for 'dirty.ack' command
DIRTY.ACK stream GROUP readers => ERR wrong number of arguments for 'dirty.ack' command
DIRTY.ACK stream CURSOR place => ERR wrong number of arguments for 'dirty.ack' command
DIRTY.ACK stream TEAM readers 1-1 => ERR the reader must be GROUP or CURSOR, not "TEAM"
DIRTY.ACK stream GROUP readers 1 => ERR invalid event id "1", expected ms-seq
DIRTY.ACK stream GROUP readers "" => ERR invalid event id "", expected ms-seq
DIRTY.ACK stream GROUP readers 1-1 x => ERR invalid event id "x", expected ms-seq
DIRTY.ACK stream GROUP readers 1-1 18446744073709551616-0 => ERR invalid event id "18446744073709551616-0", expected ms-seq
DIRTY.ACK stream CURSOR place 1 => ERR invalid event id "1", expected ms-seq
DIRTY.ACK stream CURSOR place $ => ERR invalid event id "$", expected ms-seq
DIRTY.ACK stream CURSOR place 1-1 1-1 => ERR unknown option "1-1"
DIRTY.ACK stream CURSOR nobody 1-1 => ERR no cursor "nobody" on the stream "stream"
DIRTY.ACK new CURSOR nobody 1-1 => ERR no cursor "nobody" on the stream "new"
DIRTY.ACK stream CURSOR readers 1-1 => ERR "readers" is a group with consumers, not a cursor
DIRTY.ACK string GROUP g 1-1 => WRONGTYPE the key "string" holds something else than a stream
DIRTY.ACK list CURSOR c 1-1 => WRONGTYPE the key "list" holds something else than a stream
DIRTY.ACK hash GROUP g 1-1 => WRONGTYPE the key "hash" holds something else than a stream
DIRTY.ACK set CURSOR c 1-1 => WRONGTYPE the key "set" holds something else than a stream
DIRTY.ACK zset GROUP g 1-1 => WRONGTYPE the key "zset" holds something else than a stream
DIRTY.ACK user CURSOR c 1-1 => WRONGTYPE the key "user" holds something else than a stream
"#;
#[test]
fn wrong_declarations_are_refused_and_change_nothing() {
    is_refused(DECLARE);
}

#[test]
fn wrong_flushes_are_refused_and_change_nothing() {
    is_refused(FLUSH);
}

#[test]
fn wrong_gets_are_refused_and_change_nothing() {
    is_refused(GET);
}

#[test]
fn wrong_infos_are_refused_and_change_nothing() {
    is_refused(INFO);
}

#[test]
fn wrong_consumes_are_refused_and_change_nothing() {
    is_refused(CONSUME);
}

#[test]
fn wrong_acks_are_refused_and_change_nothing() {
    is_refused(ACK);
}

#[test]
fn no_refused_command_replicates_anything() {
    // A primary's own pings move the offset, too.
    let server = Server::with(&["--repl-ping-replica-period", "3600"]);
    let mut redis = server.connect();
    seed(&mut redis);
    let replica = Server::replica_of(&server);
    server.wait_for_replica(&replica);
    let before = redis.replicated();
    for (command, reply) in all_cases() {
        assert_eq!(redis.run(&command), reply, "{command}");
        assert_eq!(redis.replicated(), before, "{command}");
    }
    // The offset does move when something is replicated.
    redis.ok(&["SET", "a", "b"]);
    assert_ne!(redis.replicated(), before);
    server.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), redis.digest());
}

#[test]
fn refused_commands_do_not_grow_the_memory() {
    let (_server, mut redis) = seeded();
    let all = all_cases();
    let mut memory_after = |times: usize| {
        for (command, _) in all.iter().cycle().take(times) {
            redis.run(command);
        }
        redis.used_memory()
    };
    memory_after(2_000); // buffers and statistics come to be
    let before = memory_after(1);
    let grown = memory_after(20_000) - before;
    assert!(grown < 20_000, "{grown} bytes");
}

/// `?` stands for what a client sent, in the command and in the reply.
const QUOTING: &str = r#"
DIRTY.FLUSH ? SNAPSHOT 1 0 => NODECL no entity type is declared at ?
DIRTY.GET ? 1 => NODECL no entity type is declared at ?
DIRTY.INFO ? => NODECL no entity type is declared at ?
DIRTY.FLUSH user ? => ERR unknown operation ?
DIRTY.FLUSH user SNAPSHOT 3 ? => ERR the count of SNAPSHOT must be an integer, 0 or more, not ?
DIRTY.FLUSH user SNAPSHOT 3 2 ? a ? b => ERR field ? is named twice
DIRTY.FLUSH user SNAPSHOT 3 1 i ? => BADVALUE field "i" takes a 64-bit signed integer, not ?
DIRTY.FLUSH user SNAPSHOT 3 1 j ? => BADVALUE field "j" takes JSON of at most 32 levels, not ?
DIRTY.FLUSH user UPDATE ? 0 => NOENTITY there is no entity ?
DIRTY.FLUSH user INSERT ? 1 a b INSERT ? 1 a c => EXISTS entity ? exists with other values
DIRTY.DECLARE new ? => ERR unknown option ?
DIRTY.DECLARE new STREAM s OPS ? => ERR OPS must be letters of IUD or NONE, not ?
DIRTY.DECLARE new STREAM s MAXLEN ? => ERR MAXLEN must be an integer from 0 to 9223372036854775807, not ?
DIRTY.DECLARE new STREAM ? STREAM ? => ERR stream ? is declared twice
DIRTY.DECLARE new STREAM s FIELDS 2 ? ? => ERR field ? is named twice
DIRTY.DECLARE ? STREAM ? => ERR stream ? would be the declaration's own key
DIRTY.DECLARE new STREAM s POOL ? 1 POOL ? 1 => ERR pool ? is mapped twice
DIRTY.DECLARE new TAGS 1 ? dirtyStream=A
  => ERR bad tag "dirtyStream=A" of field ?: it names a stream that the tag of ID does not declare
DIRTY.CONSUME stream ? g => ERR the reader must be GROUP or CURSOR, not ?
DIRTY.CONSUME stream CURSOR c ? => ERR unknown option ?
DIRTY.CONSUME stream CURSOR c FROM ?
  => ERR invalid FROM ?, expected 0, $, an event id or a time in ms
DIRTY.CONSUME stream CURSOR c ACK ? => ERR invalid event id ?, expected ms-seq
DIRTY.ACK stream GROUP readers ? => ERR invalid event id ?, expected ms-seq
DIRTY.ACK stream CURSOR ? 1-1 => ERR no cursor ? on the stream "stream"
DIRTY.ACK ? CURSOR c 1-1 => ERR no cursor "c" on the stream ?
"#;

#[test]
fn a_value_in_an_error_is_quoted_escaped_and_bounded() {
    let long = "x".repeat(100_000);
    let values: [(&[u8], &str); 5] = [
        (b"a\r\nb\0c", r#""a\r\nb\x00c""#),
        (b"-ERR 'a' \"b\" \\", r#""-ERR 'a' \"b\" \\""#),
        (b"\xff\xfe\x80", r#""\xff\xfe\x80""#),
        ("é\t".as_bytes(), r#""\xc3\xa9\t""#),
        (long.as_bytes(), &format!("\"{}\"...", &long[..64])),
    ];
    let (_server, mut redis) = seeded();
    let before = state(&mut redis);
    for (command, reply) in cases(QUOTING) {
        for (value, quoted) in values {
            let mut words = words(&command);
            for word in words.iter_mut().filter(|word| *word == b"?") {
                *word = value.to_vec();
            }
            assert_eq!(redis.raw(&words), reply.replace('?', quoted), "{command}");
        }
    }
    assert_eq!(state(&mut redis), before);
}

#[test]
fn a_field_named_twice_is_found_in_lists_of_any_length() {
    let (_server, mut redis) = seeded();
    let before = state(&mut redis);
    for length in [2, 15, 16, 17, 18, 33, 1000] {
        let fields: Vec<String> = (1..length).map(|i| format!("f{i}")).collect();
        let (values, nulls) = (fields.join(" x "), fields.join(" "));
        for twice in [1, length / 2, length - 1].map(|i| format!("f{}", i.max(1))) {
            let one_less = length - 1;
            for command in [
                format!("DIRTY.FLUSH user SNAPSHOT 3 {length} {values} x {twice} y"),
                format!("DIRTY.FLUSH user INSERT 3 {length} {twice} y {values} x"),
                format!("DIRTY.FLUSH user UPDATE 1 {one_less} {values} x NULL 1 {twice}"),
                format!("DIRTY.FLUSH user SEED 3 0 NULL {length} {nulls} {twice}"),
                format!("DIRTY.DECLARE new STREAM s FIELDS {length} {nulls} {twice}"),
            ] {
                let reply = format!("ERR field \"{twice}\" is named twice");
                assert_eq!(redis.run(&command), reply, "{length}");
            }
        }
    }
    assert_eq!(state(&mut redis), before);
}

#[test]
fn hostile_sizes_are_refused_before_long() {
    let (_server, mut redis) = seeded();
    let before = state(&mut redis);
    let json = many(1_000_000, "", |_| "[".into());
    let deletes = many(100_000, " ", |_| "DELETE 3".into());
    let again = many(10_000, " ", |_| "SNAPSHOT 3 1 a b DELETE 3".into());
    let streams = many(50_000, " ", |i| format!("STREAM s{i}"));
    let pools = many(50_000, " ", |i| format!("POOL p{i} 1"));
    let tags = many(30_000, " ", |i| format!("f{i} dirty=A{i}"));
    let tag = many(50_000, ",", |i| format!("A{i}"));
    let acks = many(100_000, " ", |i| format!("7-{i}"));
    let mut slow = Vec::new();
    let deep = "BADVALUE field \"j\" takes JSON of at most 32 levels, not";
    for (command, reply) in [
        (
            format!("DIRTY.FLUSH user SNAPSHOT 3 1 j {json}"),
            format!("{deep} \"{}\"...", &json[..64]).as_str(),
        ),
        (
            format!("DIRTY.FLUSH user {deletes} FLY"),
            "ERR unknown operation \"FLY\"",
        ),
        (
            format!("DIRTY.FLUSH user {again} TOUCH 4"),
            "NOENTITY there is no entity \"4\"",
        ),
        (
            format!("DIRTY.DECLARE new {streams} STREAM s1"),
            "ERR stream \"s1\" is declared twice",
        ),
        (
            format!("DIRTY.DECLARE new STREAM s {pools} POOL p1 1"),
            "ERR pool \"p1\" is mapped twice",
        ),
        (
            format!("DIRTY.DECLARE new TAGS 30001 {tags} f f STREAM dirty_A1"),
            "ERR stream \"dirty_A1\" is declared twice",
        ),
        (
            format!("DIRTY.DECLARE new TAGS 1 ID dirty={tag},A1"),
            "ERR stream \"dirty_A1\" is declared twice",
        ),
        (
            format!("DIRTY.ACK stream GROUP readers {acks} x"),
            "ERR invalid event id \"x\", expected ms-seq",
        ),
    ] {
        let start = Instant::now();
        assert_eq!(redis.run(&command), reply, "{}", &command[..60]);
        if start.elapsed() > Duration::from_secs(2) {
            slow.push((command[..60].to_string(), start.elapsed()));
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
    assert_eq!(state(&mut redis), before);
}

#[test]
fn in_a_transaction_or_a_script_a_refused_command_changes_nothing_but_the_others_count() {
    let (_server, mut redis) = seeded();
    let before = state(&mut redis);
    redis.expect(
        r#"
MULTI => OK
DIRTY.FLUSH user UPDATE 3 1 a b => QUEUED
DIRTY.DECLARE new => QUEUED
DIRTY.GET nothing 1 => QUEUED
EXEC => [NOENTITY there is no entity "3" ERR a declaration needs at least one stream
  NODECL no entity type is declared at "nothing"]
MULTI => OK
DIRTY.FLUSH user SNAPSHOT 3 0 => QUEUED
DIRTY.FLUSH user => ERR wrong number of arguments for 'dirty.flush' command
EXEC => EXECABORT Transaction discarded because of previous errors.
EVAL return\_redis.pcall('DIRTY.FLUSH','user','UPDATE','3','1','a','b') 1 user
  => NOENTITY there is no entity "3"
"#,
    );
    assert_eq!(state(&mut redis), before);
    redis.expect(
        r#"
MULTI => OK
DIRTY.FLUSH user SNAPSHOT 3 1 a b => QUEUED
DIRTY.FLUSH user UPDATE 4 1 a b => QUEUED
EXEC => [[insert] NOENTITY there is no entity "4"]
HGETALL user:3 => [a b]
EXISTS user:4 => (0)
"#,
    );
}

#[test]
fn what_the_server_itself_refuses_changes_nothing() {
    let (server, mut redis) = seeded();
    let before = state(&mut redis);
    redis.expect(
        r#"
CONFIG SET maxmemory 1 => OK
DIRTY.DECLARE new STREAM s => OOM command not allowed when used memory > 'maxmemory'.
DIRTY.FLUSH user SNAPSHOT 3 1 a b => OOM command not allowed when used memory > 'maxmemory'.
DIRTY.FLUSH user DELETE 1 => OOM command not allowed when used memory > 'maxmemory'.
# Who reads goes on reading.
DIRTY.GET user 2 => [[]]
DIRTY.ACK stream GROUP readers 5-5 => (0)
CONFIG SET maxmemory 0 => OK
EVAL_RO return\_redis.pcall('DIRTY.DECLARE','new','STREAM','s') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.FLUSH','user','DELETE','1') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.CONSUME','user-changes','CURSOR','c') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.ACK','stream','GROUP','readers','1-1') 0
  => ERR Write commands are not allowed from read-only scripts.
"#,
    );
    assert_eq!(state(&mut redis), before);

    let replica = Server::replica_of(&server);
    let mut redis = replica.connect();
    let before = redis.digest();
    redis.expect(
        r#"
DIRTY.DECLARE new STREAM s => READONLY You can't write against a read only replica.
DIRTY.FLUSH user DELETE 1 => READONLY You can't write against a read only replica.
DIRTY.CONSUME user-changes CURSOR c => READONLY You can't write against a read only replica.
DIRTY.ACK stream GROUP readers 1-1 => READONLY You can't write against a read only replica.
DIRTY.GET user 1 => [[status active i (5)]]
DIRTY.GET nothing 1 => NODECL no entity type is declared at "nothing"
"#,
    );
    assert_eq!(redis.digest(), before);
}

const CROSS_SLOT: &str = r#"
DIRTY.DECLARE user{7} STREAM user-changes
  => CROSSSLOT the key "user-changes" is in another slot than the declaration; give all of them the same {tag}
DIRTY.DECLARE user{7} STREAM a{7} STREAM b{8}
  => CROSSSLOT the key "b{8}" is in another slot than the declaration; give all of them the same {tag}
DIRTY.DECLARE user{7} PREFIX user: STREAM a{7}
  => CROSSSLOT the key "user:" is in another slot than the declaration; give all of them the same {tag}
DIRTY.DECLARE user{7} PREFIX {8}: STREAM a{7}
  => CROSSSLOT the key "{8}:" is in another slot than the declaration; give all of them the same {tag}
DIRTY.DECLARE user STREAM {user}-changes
  => CROSSSLOT the key "user:" is in another slot than the declaration; give all of them the same {tag}
DIRTY.DECLARE user{7} TAGS 1 ID dirty=A
  => CROSSSLOT the key "dirty_A" is in another slot than the declaration; give all of them the same {tag}
DIRTY.DECLARE user{7} STREAM a{7} DB 1
  => ERR a cluster has no other databases: DB and POOL are refused
DIRTY.DECLARE user{7} TAGS 1 ID dirtyStream=a{7}/p/ POOL p 1
  => ERR a cluster has no other databases: DB and POOL are refused
"#;

#[test]
fn in_a_cluster_all_keys_of_a_declaration_must_be_in_its_slot() {
    let server = Server::with(&["--cluster-enabled", "yes"]);
    let mut redis = server.connect();
    redis.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    server.wait_for_line("CLUSTER INFO", "cluster_state:ok");
    let before = redis.digest();
    redis.expect(CROSS_SLOT);
    assert_eq!(redis.digest(), before);
    redis.expect(
        r#"
DIRTY.DECLARE user{7} STREAM a{7} STREAM {7}b => OK
DIRTY.DECLARE user PREFIX {user}: STREAM {user}-changes => OK
DIRTY.FLUSH user{7} SNAPSHOT 1 1 a b => [insert]
HGETALL user{7}:1 => [a b]
XLEN {7}b => (1)
"#,
    );
}

/// Of a user who may run every command, but on keys `user*` alone.
const MAY_NOT_DECLARE: &str = r#"
DIRTY.DECLARE user STREAM other => NOPERM this user may not write the key "other"
DIRTY.DECLARE user STREAM user-changes STREAM other
  => NOPERM this user may not write the key "other"
DIRTY.DECLARE user STREAM other DB 1 => NOPERM this user may not write the key "other"
DIRTY.DECLARE user TAGS 1 ID dirtyStream=other => NOPERM this user may not write the key "other"
DIRTY.DECLARE user TAGS 1 ID dirty=A => NOPERM this user may not write the key "dirty_A"
DIRTY.DECLARE user PREFIX other STREAM user-changes
  => NOPERM this user may not write the key "other"
DIRTY.DECLARE user PREFIX use STREAM user-changes
  => NOPERM this user may not write the key "use"
EVAL return\_redis.pcall('DIRTY.DECLARE',KEYS[1],'STREAM','other') 1 user
  => NOPERM this user may not write the key "other"
EVAL return\_redis.pcall('DIRTY.DECLARE','user','STREAM','other') 0
  => NOPERM this user may not write the key "other"
DIRTY.DECLARE other STREAM user-changes
  => NOPERM this user has no permissions to access one of the keys used as arguments
MULTI => OK
DIRTY.DECLARE user STREAM other => QUEUED
EXEC => [NOPERM this user may not write the key "other"]
"#;

#[test]
fn a_user_may_declare_only_what_that_user_may_write() {
    let (server, mut admin) = seeded();
    let mut app = user(&server, "+@all ~user*");
    let before = state(&mut admin);
    app.expect(MAY_NOT_DECLARE);
    assert_eq!(state(&mut admin), before);
    app.expect(
        r#"
DIRTY.DECLARE user STREAM user-changes STREAM user-audit => OK
DIRTY.DECLARE user2 STREAM user2-changes => OK
EVAL return\_redis.call('DIRTY.DECLARE',KEYS[1],'STREAM','user3-changes') 1 user3 => OK
"#,
    );
}

#[test]
fn who_may_write_a_part_of_the_keys_may_not_declare() {
    let (server, mut admin) = seeded();
    let before = state(&mut admin);
    for (rights, reply) in [
        (
            "~user ~user:*",
            "NOPERM this user may not write the key \"s\"",
        ),
        (
            "~user ~s",
            "NOPERM this user may not write the key \"user:\"",
        ),
        ("~user:* ~s", NO_KEY),
        (
            "~user ~user:* %R~s",
            "NOPERM this user may not write the key \"s\"",
        ),
        (
            "~user %R~user:* ~s",
            "NOPERM this user may not write the key \"user:\"",
        ),
        ("%R~user ~user:* ~s", NO_KEY),
    ] {
        let mut app = user(&server, &format!("+@all {rights}"));
        assert_eq!(app.run("DIRTY.DECLARE user STREAM s"), reply, "{rights}");
        assert_eq!(state(&mut admin), before, "{rights}");
    }
    let mut app = user(&server, "+@all ~user ~user:* ~s");
    assert_eq!(app.run("DIRTY.DECLARE user STREAM s"), "OK");
}

#[test]
fn the_declaration_lends_its_streams_and_snapshots_to_who_may_flush() {
    let (server, mut admin) = seeded();
    let mut app = user(&server, "+@all ~user");
    app.expect(
        r#"
DIRTY.FLUSH user SNAPSHOT 8 1 a b => [insert]
EVAL return\_redis.call('DIRTY.FLUSH',KEYS[1],'SNAPSHOT','8','1','a','c') 1 user => [update]
EVAL return\_redis.call('DIRTY.FLUSH','user','SNAPSHOT','8','1','a','d') 0 => [update]
MULTI => OK
DIRTY.FLUSH user DELETE 8 => QUEUED
EXEC => [[delete]]
"#,
    );
    // What it lends may not be written by hand, nor read.
    let before = state(&mut admin);
    for command in [
        "XADD user-changes * a b",
        "HSET user:8 a b",
        "DIRTY.CONSUME user-changes GROUP g c",
        "DIRTY.CONSUME user-changes CURSOR c",
        "DIRTY.ACK user-changes GROUP g 1-1",
        "DIRTY.FLUSH to-string SNAPSHOT 1 1 a b",
        "DIRTY.INFO to-string",
        "DIRTY.GET to-string 1",
    ] {
        assert_eq!(app.run(command), NO_KEY, "{command}");
    }
    assert_eq!(state(&mut admin), before);
    assert_eq!(admin.run("XLEN user-changes"), "(6)");
}

#[test]
fn a_command_asks_for_no_more_rights_on_its_key_than_it_needs() {
    const YES: &str = "OK";
    const NO: &str = r"This user has no permissions to access the \'user\' key";
    let (server, mut admin) = seeded();
    let mut wrong = String::new();
    for (rights, command, expected) in [
        ("%R~user", "DIRTY.GET user 1", YES),
        ("%R~user", "DIRTY.INFO user", YES),
        ("%R~user", "DIRTY.FLUSH user DELETE 1", NO),
        ("%R~user", "DIRTY.DECLARE user STREAM s", NO),
        ("%R~user", "DIRTY.CONSUME user CURSOR c", NO),
        ("%R~user", "DIRTY.ACK user CURSOR c 1-1", NO),
        ("%W~user", "DIRTY.FLUSH user DELETE 1", YES),
        ("%W~user", "DIRTY.GET user 1", NO),
        ("%W~user", "DIRTY.INFO user", NO),
        ("%W~user", "DIRTY.CONSUME user CURSOR c", NO),
    ] {
        user(&server, &format!("+@all {rights}"));
        let reply = admin.run(&format!("ACL DRYRUN app {command}"));
        if reply != expected {
            let _ = writeln!(wrong, "{rights}: {command}: {reply}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

const NO_KEY: &str =
    "NOPERM this user has no permissions to access one of the keys used as arguments";

/// A connection of a user `app` with these rights and no others.
fn user(server: &Server, rights: &str) -> Conn {
    let mut admin = server.connect();
    let setuser = format!("ACL SETUSER app reset on >secret {rights}");
    assert_eq!(admin.run(&setuser), "OK");
    let mut app = server.connect();
    app.ok(&["AUTH", "app", "secret"]);
    app
}

/// Each command of the table gets its reply, in RESP2 and RESP3, and changes nothing.
fn is_refused(table: &str) {
    let (server, mut redis) = seeded();
    let mut resp3 = server.connect_resp3();
    let before = state(&mut redis);
    let mut wrong = String::new();
    for (command, reply) in cases(table) {
        let got = [redis.run(&command), resp3.run(&command)];
        if got.iter().any(|got| *got != reply) {
            let _ = writeln!(wrong, "{command}\n     got: {got:?}\nexpected: {reply}");
        }
        assert_eq!(state(&mut redis), before, "{command}");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(!server.log().contains("panic"), "{}", server.log());
}

fn all_cases() -> Vec<(String, String)> {
    TABLES.iter().flat_map(|table| cases(table)).collect()
}

fn seeded() -> (Server, Conn) {
    let server = Server::start();
    let mut redis = server.connect();
    seed(&mut redis);
    (server, redis)
}

fn seed(redis: &mut Conn) {
    for command in SEED {
        let reply = redis.run(command);
        let fails = reply.starts_with("ERR") || reply.starts_with("WRONGTYPE");
        assert!(!fails, "{command}: {reply}");
    }
}

/// All there is: the digest knows nothing of groups, and not how many keys there are.
fn state(redis: &mut Conn) -> Vec<String> {
    let mut state = vec![redis.digest(), redis.run("DBSIZE")];
    for stream in STREAMS {
        state.push(redis.run(&format!("XINFO STREAM {stream} FULL")));
    }
    state
}

fn many(n: usize, between: &str, one: impl Fn(usize) -> String) -> String {
    (0..n).map(one).collect::<Vec<_>>().join(between)
}
