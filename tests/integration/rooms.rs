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
