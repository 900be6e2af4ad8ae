//! The rooms of the house stay apart: rules know no Redis, unsafe code lives in one place, and no folder imports
//! one that imports it.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut sources = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                sources.push((path, text));
            }
        }
    }
    assert!(!sources.is_empty(), "{folder} has no sources");
    sources
}

/// The lines of code, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.filter(|line| !line.trim().is_empty())
}

#[test]
fn unsafe_code_lives_in_src_redis_alone() {
    for room in ["core/src", "src/store", "src/server", "src/commands"] {
        for (path, text) in sources(room) {
            for line in code(&text) {
                let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
                assert!(
                    !words.any(|word| word == "unsafe" || word == "no_mangle"),
                    "{}: {line}",
                    path.display()
                );
            }
        }
    }
    for room in [
        "core/src/lib.rs",
        "src/store/mod.rs",
        "src/server/mod.rs",
        "src/commands/mod.rs",
    ] {
        let text = fs::read_to_string(root().join(room)).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{room}");
    }
}

#[test]
fn the_core_does_not_depend_on_redis() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal,build"])
        .args(["--package", "dirty-streams-core", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo tree");
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("dirty-streams-core"), "{tree}");
    assert!(!tree.contains("redis"), "{tree}");
}

#[test]
fn no_folder_imports_one_that_imports_it() {
    // Each room may import those that stand before it.
    for (folder, rooms) in [
        ("src", ["redis", "store", "server", "commands"].as_slice()),
        ("core/src", &["entity", "encoding", "flush"]),
        ("core/src", &["entity", "encoding", "reading"]),
    ] {
        for (index, room) in rooms.iter().enumerate() {
            for (path, text) in sources(&format!("{folder}/{room}")) {
                // The paths below would not be seen in it.
                assert!(!text.contains("use crate::{"), "{}", path.display());
                for later in &rooms[index + 1..] {
                    for line in code(&text) {
                        assert!(
                            !line.contains(&format!("crate::{later}")),
                            "{}, in the room {room}, imports {later}: {line}",
                            path.display()
                        );
                    }
                }
            }
        }
    }
}

const MAX_LINES: usize = 70;

/// The functions of a source, as their first lines and how many lines they have.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_function = |line: &str| {
        let words = line.split_whitespace();
        let mut words = words.skip_while(|word| word.starts_with("pub") || *word == "const");
        words.next() == Some("fn")
    };
    let starts = (0..lines.len()).filter(|start| is_function(lines[*start]));
    let function = |start: usize| {
        let first = lines[start];
        let ends = |line: &&str| match std::ptr::eq(*line, first) {
            true => line.ends_with(['}', ';']),
            false => line.trim() == "}" && indent(line) == indent(first),
        };
        let end = lines[start..].iter().position(ends);
        (first.trim(), end.expect("rustfmt puts its end there") + 1)
    };
    starts.map(function).collect()
}

#[test]
fn no_test_and_no_helper_of_tests_has_more_than_70_lines() {
    for folder in ["tests/integration", "core/src"] {
        let mut count = 0;
        for (path, text) in sources(folder) {
            let tests = match folder {
                "core/src" => text
                    .split_once("mod tests {")
                    .map_or("", |(_, tests)| tests),
                _ => &text,
            };
            for (function, lines) in functions(tests) {
                let path = path.display();
                assert!(lines <= MAX_LINES, "{path}: {lines} lines: {function}");
                count += 1;
            }
        }
        assert!(count > 100, "{folder}: {count} functions were seen");
    }
}

/// What the tests of several subjects need stands in `support`.
#[test]
fn no_test_imports_another_subject() {
    let tests = root().join("tests/integration");
    let mut count = 0;
    for (path, text) in sources("tests/integration") {
        let inner = path.strip_prefix(&tests).expect("it is there");
        let mut names = inner
            .components()
            .map(|part| part.as_os_str().to_string_lossy());
        let subject = names.next().expect("a name");
        let subject = subject.trim_end_matches(".rs");
        if subject == "rooms" {
            continue; // It has such paths in its strings.
        }
        // `super` is the root of all subjects in a subject's own file, its own subject further down.
        let is_root = match (names.next(), names.next()) {
            (None, _) => true,
            (Some(name), None) => name == "mod.rs",
            _ => false,
        };
        let roots: &[&str] = match is_root {
            true => &["crate::", "super::"],
            false => &["crate::", "super::super::"],
        };
        for line in code(&text) {
            for root in roots {
                for (at, _) in line.match_indices(root) {
                    let rest = &line[at + root.len()..];
                    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                    let name = &rest[..end.unwrap_or(rest.len())];
                    assert!(
                        name == subject || name == "support",
                        "{}: {line}",
                        inner.display()
                    );
                    count += 1;
                }
            }
        }
    }
    assert!(count > 50, "{count} imports were seen");
}
