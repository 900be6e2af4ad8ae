//! COMMAND DOCS, COMMAND INFO and what redis-cli makes of them: the commands are described to clients as
//! they are to people, and take what both say.

mod syntax;

use super::support::manual::{files, pages};
use super::support::{Conn, Server, skipped};
use redis::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syntax::{Arg, Syntax, arguments, comment_blocks, field, items, markdown_blocks, word};

fn docs(redis: &mut Conn) -> BTreeMap<String, Value> {
    let names = redis.value(&["COMMAND", "LIST", "FILTERBY", "MODULE", "dirty"]);
    let names = items(Some(&names)).iter().map(word);
    names
        // DIRTY._DELTA is internal.
        .filter(|name| !name.contains('_'))
        .map(|name| {
            let docs = redis.value(&["COMMAND", "DOCS", &name]);
            let docs = field(&docs, &name).expect("its docs").clone();
            (name.to_uppercase(), docs)
        })
        .collect()
}

/// Every syntax of every command that is written in the repository, and where.
fn written() -> Vec<(PathBuf, String, Syntax)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    files(&root.join("src/commands"), ".rs", &mut sources);
    // DIRTY.PANIC is of builds for tests, DIRTY._DELTA internal.
    sources.retain(|path| !path.ends_with("panic.rs") && !path.ends_with("delta.rs"));
    let pages = pages();
    let read = |path: &PathBuf| std::fs::read_to_string(path).expect("a file");
    let sources = sources
        .iter()
        .map(|path| (path, comment_blocks(&read(path))));
    let pages = pages
        .iter()
        .map(|path| (path, markdown_blocks(&read(path))));
    let blocks = sources.chain(pages);
    blocks
        .flat_map(|(path, blocks)| {
            let found = blocks.into_iter().filter_map(|block| Syntax::of(&block));
            found.map(|(command, syntax)| (path.clone(), command, syntax))
        })
        .collect()
}

#[test]
fn command_docs_say_what_the_manual_and_the_source_say() {
    let server = Server::start();
    let docs = docs(&mut server.connect_resp3());
    assert_eq!(docs.len(), 23, "{:?}", docs.keys());
    let written = written();
    for (path, command, syntax) in &written {
        let args = arguments(
            docs.get(command)
                .unwrap_or_else(|| panic!("{path:?}: {command}")),
        );
        assert_eq!(
            *syntax,
            syntax.told(&args),
            "{command} in {path:?}, and in COMMAND DOCS"
        );
    }
    for command in docs.keys() {
        for ending in [".rs", ".md"] {
            let is_there = written.iter().any(|(path, other, _)| {
                other == command && path.to_string_lossy().ends_with(ending)
            });
            assert!(is_there, "the syntax of {command} in a {ending} file");
        }
    }
}

/// Otherwise a word that a parser knows is one that nobody is told of.
#[test]
fn every_keyword_that_is_parsed_is_a_token_in_command_docs() {
    fn tokens(args: &[Arg], found: &mut BTreeSet<String>) {
        for arg in args {
            found.extend(arg.token.clone());
            tokens(&arg.parts, found);
        }
    }
    let server = Server::start();
    let mut told = BTreeSet::new();
    for docs in docs(&mut server.connect_resp3()).values() {
        tokens(&arguments(docs), &mut told);
    }
    let mut sources = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for crate_of in ["src", "core/src"] {
        files(&root.join(crate_of), ".rs", &mut sources);
    }
    let mut parsed = BTreeSet::new();
    for path in sources {
        let text = std::fs::read_to_string(path).expect("a file");
        let code = text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        let keywords = code.split("keyword(\"").skip(1);
        parsed.extend(
            keywords
                .filter_map(|rest| rest.split_once('"'))
                .map(|(word, _)| word.to_string()),
        );
    }
    assert!(parsed.len() > 30, "{parsed:?}");
    let untold: Vec<&String> = parsed.difference(&told).collect();
    assert!(untold.is_empty(), "{untold:?}");
}

/// Builds calls from COMMAND DOCS.
struct Caller {
    /// Of an event that the group holds; ids of entities may be any.
    id: String,
    /// Fields, streams and codes stand in a command once.
    used: usize,
}

type Words = Vec<Vec<u8>>;

impl Caller {
    fn value(&mut self, name: &str, token: &str) -> Vec<u8> {
        self.used += 1;
        match (name, token) {
            ("key", "DEAD") => b"s:graves".to_vec(),
            // Two declarations, by turns.
            ("key", "SNAPSHOT") => format!("whole{}", self.used % 2).into_bytes(),
            ("stream", "ACK") => b"s".to_vec(),
            ("field" | "stream" | "code", _) | ("name", "META") => {
                format!("{name}{}", self.used).into_bytes()
            }
            ("id", _) => self.id.clone().into_bytes(),
            ("type", _) => b"int".to_vec(),
            ("tag", _) => b"dirty=Age".to_vec(),
            ("ops", _) => b"IUD".to_vec(),
            ("start" | "index", _) => b"0".to_vec(),
            ("object", _) => br#"{"a":1}"#.to_vec(),
            ("map", _) => b"\x81\xa1a\x01".to_vec(),
            ("old" | "new", "MSGPACK") => b"\x80".to_vec(),
            ("old" | "new", _) => b"{}".to_vec(),
            ("n" | "count", _) => b"2".to_vec(), // what repeats stands there twice
            ("db" | "ms", _) => b"1".to_vec(),
            ("cursor", _) => b"0".to_vec(),
            ("n%", _) => b"50%".to_vec(),
            ("place", _) => b"0".to_vec(),
            ("position", _) => format!("{}/1", self.id).into_bytes(),
            ("group" | "native-group" | "consumer" | "name", _) => name.as_bytes().to_vec(),
            ("message" | "prefix" | "run" | "token" | "value", _) => name.as_bytes().to_vec(),
            other => panic!("what is a {other:?}?"),
        }
    }

    /// The shortest first; then with each option, and each choice.
    fn forms(&mut self, args: &[Arg], token: &str) -> Vec<Words> {
        let of_each: Vec<Vec<Words>> = args.iter().map(|arg| self.forms_of(arg, token)).collect();
        let first = |forms: &Vec<Words>| forms[0].clone();
        let shortest: Vec<Words> = of_each.iter().map(first).collect();
        let mut forms = vec![shortest.concat()];
        for (at, of_one) in of_each.iter().enumerate() {
            for other in &of_one[1..] {
                let mut form = shortest.clone();
                form[at] = other.clone();
                forms.push(form.concat());
            }
        }
        forms
    }

    fn forms_of(&mut self, arg: &Arg, outer: &str) -> Vec<Words> {
        let token = arg.token.as_deref().unwrap_or(outer);
        let once = |caller: &mut Self| match arg.kind.as_str() {
            "pure-token" => vec![vec![]],
            "oneof" => arg
                .parts
                .iter()
                .flat_map(|part| caller.forms_of(part, token))
                .collect(),
            "block" => caller.forms(&arg.parts, token),
            _ => vec![vec![caller.value(&arg.name, token)]],
        };
        let (values, again) = (once(self), once(self));
        let head = || arg.token.iter().map(|token| token.clone().into_bytes());
        let mut forms: Vec<Words> = Vec::new();
        if arg.optional {
            forms.push(Vec::new());
        }
        for value in values {
            let mut form: Words = head().chain(value).collect();
            if arg.multiple {
                // The last of the choices may stand behind any of them.
                let again = again.last().cloned().unwrap_or_default();
                form.extend(head().filter(|_| arg.multiple_token).chain(again));
            }
            forms.push(form);
        }
        forms
    }
}

/// The entities are given to cursors, and the shortest form says GROUP. All operations of a run are SNAPSHOT, and the
/// second that is tried is TOUCH.
fn fitting(mut words: Words) -> Words {
    let place = |word: &str| words.iter().position(|other| other == word.as_bytes());
    let (declaration, run, touch) = (place("whole0"), place("RUN"), place("TOUCH"));
    if let (Some(_), Some(kind)) = (declaration, words.first_mut()) {
        *kind = b"CURSOR".to_vec();
    }
    if let (Some(_), Some(touch)) = (run, touch) {
        words.truncate(touch);
    }
    words
}

fn what_a_new_reader_needs(words: &Words) -> Words {
    let has = |word: &str| words.iter().any(|other| other == word.as_bytes());
    let mut needed = Vec::new();
    if !has("FROM") {
        needed.extend(["FROM", "0"]);
    }
    if has("PARK") {
        needed.extend(["ORDER", "ENTITY"]);
    }
    needed.into_iter().map(Vec::from).collect()
}

/// What there is before each call.
const BEFORE: &str = "
FLUSHALL => OK
DIRTY.DECLARE e STREAM s => OK
DIRTY.DECLARE stateless STATELESS STREAM t => OK
DIRTY.DECLARE whole0 STREAM s PAYLOAD FULL => OK
DIRTY.DECLARE whole1 STREAM s PAYLOAD FULL => OK
DIRTY.FLUSH e SNAPSHOT 1 1 a b => [insert]
DIRTY.RECONCILE e BEGIN run => OK
DIRTY.READER s GROUP group FROM 0 ORDER META name => OK
DIRTY.READER s CURSOR name FROM 0 => OK
XGROUP CREATE s native-group 0 => OK
";

#[test]
fn commands_take_what_command_docs_say() {
    let server = Server::start();
    let mut redis = server.connect_resp3();
    let mut tried = 0;
    for (command, docs) in docs(&mut redis) {
        let mut caller = Caller {
            id: "1-1".into(),
            used: 0,
        };
        let args = arguments(&docs);
        let [key, args @ ..] = &args[..] else {
            panic!("{command} has no key");
        };
        assert_eq!(
            (key.kind.as_str(), key.optional),
            ("key", false),
            "{command}"
        );
        let count = caller.forms(args, "").len();
        for form in 0..count {
            redis.expect(BEFORE);
            match command.as_str() {
                "DIRTY.READER" => redis.run("DEL s:readers"),
                _ => redis.run("DIRTY.CONSUME s GROUP group consumer"),
            };
            let entry = redis.value(&["XRANGE", "s", "-", "+"]);
            caller.id = word(&items(Some(&items(Some(&entry))[0]))[0]);
            let words = fitting(caller.forms(args, "").swap_remove(form));
            let keys: &[&str] = match (key.name.as_str(), command.as_str()) {
                ("stream", _) => &["s"],
                // What one sort of entity type takes, the other may refuse.
                (_, "DIRTY.FLUSH") => &["e", "stateless"],
                _ => &["e"],
            };
            let replies = keys.iter().map(|key| {
                let mut call = vec![command.clone().into_bytes(), key.as_bytes().to_vec()];
                call.extend(words.clone());
                if command == "DIRTY.DECLARE" {
                    call.extend([b"STREAM".to_vec(), b"another".to_vec()]); // one is needed
                }
                if command == "DIRTY.READER" {
                    call.extend(what_a_new_reader_needs(&words));
                }
                redis.raw(&call)
            });
            let replies: Vec<String> = replies.collect();
            // `GROUP|CURSOR name`: there is one of the two.
            let is_taken =
                |reply: &String| !reply.starts_with("ERR") || reply.ends_with(" is a cursor");
            let words = words.iter().map(|word| word.escape_ascii().to_string());
            let words = words.collect::<Vec<_>>().join(" ");
            assert!(
                replies.iter().any(is_taken),
                "{command} … {words}: {replies:?}"
            );
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried} calls");
}

/// Of a command: what proxies should know, and how many words it has; at least so many if the number is negative.
const COMMANDS: [(&str, &str, i64); 23] = [
    ("abort", "", -3),
    ("ack", "", -5),
    ("commit", "nondeterministic_output", -3),
    ("consume", "nondeterministic_output", -4),
    ("declare", "", -2),
    ("deferred", "nondeterministic_output", -2),
    ("discard", "", -5),
    ("fail", "", -6),
    ("flush", "nondeterministic_output", -3),
    ("forget", "", 4),
    ("get", "nondeterministic_output_order", -3),
    ("hold", "", -5),
    ("info", "", 2),
    ("leave", "", 5),
    ("pause", "", 5),
    ("pending", "nondeterministic_output", -4),
    ("read", "nondeterministic_output", -4),
    ("reader", "", -4),
    ("reconcile", "nondeterministic_output", -4),
    ("redrive", "", -5),
    ("scan", "nondeterministic_output", -3),
    ("seek", "", -5),
    ("stats", "nondeterministic_output", 2),
];

#[test]
fn each_command_is_described() {
    let server = Server::start();
    let mut redis = server.connect_resp3();
    for ((command, docs), (name, tips, arity)) in docs(&mut redis).into_iter().zip(COMMANDS) {
        assert_eq!(command, format!("DIRTY.{}", name.to_uppercase()));
        let text = |name| field(&docs, name).map(word).unwrap_or_default();
        assert!(text("summary").ends_with('.'), "{command}");
        assert!(
            text("complexity").contains("O(") || name == "commit",
            "{command}"
        );
        assert_eq!(text("since"), "0.1.0", "{command}");
        assert_eq!(text("module"), "dirty", "{command}");
        let key = &items(field(&docs, "arguments"))[0];
        assert_eq!(
            field(key, "key_spec_index"),
            Some(&Value::Int(0)),
            "{command}"
        );
        let info = redis.value(&["COMMAND", "INFO", &command]);
        let info = items(Some(&items(Some(&info))[0]));
        assert_eq!(info[1], Value::Int(arity), "{command}");
        let told: Vec<String> = items(Some(&info[7])).iter().map(word).collect();
        assert_eq!(told.join(" "), tips, "{command}");
        let key_specs = items(Some(&info[8]));
        assert_eq!(key_specs.len(), 1, "{command}");
    }
}

#[test]
fn the_server_refuses_one_word_more_or_fewer_than_a_command_takes() {
    let server = Server::start();
    let mut redis = server.connect();
    assert_eq!(docs(&mut server.connect_resp3()).len(), COMMANDS.len());
    for (name, _, arity) in COMMANDS {
        let command = format!("dirty.{name}");
        let refused = format!("ERR wrong number of arguments for '{command}' command");
        let reply = |redis: &mut Conn, words: u64| {
            let mut call = vec![command.as_str()];
            call.extend((1..words).map(|_| "word"));
            redis.raw(&call)
        };
        let (words, is_exact) = (arity.unsigned_abs(), arity > 0);
        let counters = redis.raw(&["INFO", "dirty"]);
        // The module counts the errors that it gives itself: these are none.
        assert_eq!(reply(&mut redis, words - 1), refused, "{command}");
        assert_eq!(redis.raw(&["INFO", "dirty"]), counters, "{command}");
        assert_eq!(
            reply(&mut redis, words + 1) == refused,
            is_exact,
            "{command}"
        );
        if is_exact {
            assert_eq!(redis.raw(&["INFO", "dirty"]), counters, "{command}");
        }
        assert_ne!(reply(&mut redis, words), refused, "{command}");
    }
}

/// In words of the manual's page of the command.
#[test]
fn command_docs_say_of_complexity_what_the_manual_says() {
    let server = Server::start();
    let docs = docs(&mut server.connect_resp3());
    let mut compared = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page");
        let Some((_, complexity)) = text.split_once("- **Complexity:** ") else {
            continue;
        };
        let title = text.lines().next().unwrap_or_default();
        let command = docs.get(title.trim_start_matches("# "));
        let told = field(command.unwrap_or_else(|| panic!("{page:?}")), "complexity").map(word);
        // Up to the next point of the list, without marks and links.
        let written = complexity.split("\n- ").next().unwrap_or_default();
        let mut plain = String::new();
        for part in written.split('[') {
            let (before, after) = match part.split_once("](") {
                Some((name, rest)) => (name, rest.split_once(')').map_or("", |(_, after)| after)),
                None => (part, ""),
            };
            plain.extend([before, after]);
        }
        let plain = plain.replace('·', "*").replace('`', "");
        let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(told, Some(plain), "{page:?}");
        compared += 1;
    }
    assert_eq!(compared, docs.len());
}

#[test]
fn the_manual_names_the_acl_categories_that_the_server_has() {
    let server = Server::start();
    let mut redis = server.connect_resp3();
    if !redis.run("ACL CAT").contains(" dirty") {
        return skipped("the server has no ACL categories of modules");
    }
    let mut compared = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page");
        let Some((_, line)) = text.split_once("- **ACL categories:** ") else {
            continue;
        };
        let line = line.lines().next().unwrap_or_default();
        let written: BTreeSet<String> = line
            .split('`')
            .filter(|word| word.starts_with('@'))
            .map(str::to_string)
            .collect();
        let title = text.lines().next().unwrap_or_default();
        let info = redis.value(&["COMMAND", "INFO", title.trim_start_matches("# ")]);
        let info = items(Some(&items(Some(&info))[0]));
        let told: BTreeSet<String> = items(Some(&info[6])).iter().map(word).collect();
        assert_eq!(told, written, "{page:?}");
        compared += 1;
    }
    assert_eq!(compared, docs(&mut redis).len());
}

#[test]
fn redis_cli_knows_the_syntax() {
    let server = Server::start();
    let help = std::process::Command::new("redis-cli")
        .args(["-p", &server.port.to_string(), "HELP", "dirty.fail"])
        .output();
    let Ok(help) = help else {
        return skipped("there is no redis-cli");
    };
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    for part in [
        "DIRTY.FAIL",
        "stream GROUP group consumer message [FORCE] [DELAY ms|FATAL] id [id ...]",
        "Says that handling events has failed, and why.",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
}
