//! Another module, in C, that changes keys from within the events of the server: meddler.c says how it is told to.

use super::Conn;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Built once by a process of tests. The C compiler is the one that links Rust, and the header comes with redis-module.
static MODULE: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/support/meddler.c");
    let built =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("meddler-{}.so", std::process::id()));
    let compiled = Command::new("cc")
        .args(["-O1", "-g", "-shared", "-fPIC", "-Wall", "-Wextra", "-I"])
        .args([&header_folder(), &source, Path::new("-o"), &built])
        .status();
    assert!(compiled.expect("cc").success(), "{source:?}");
    let path = built.with_file_name("meddler.so");
    // Whoever has loaded the one that was there keeps it.
    std::fs::rename(built, &path).expect("its place");
    path
});

fn header_folder() -> PathBuf {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let metadata: serde_json::Value =
        serde_json::from_slice(&metadata.expect("cargo metadata").stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|one| one["name"] == "redis-module");
    let manifest = package.and_then(|one| one["manifest_path"].as_str());
    let folder = Path::new(manifest.expect("a path")).parent();
    folder.expect("a folder").join("src/include")
}

/// Its path, for `--loadmodule`.
pub fn module() -> &'static str {
    MODULE.to_str().expect("a path")
}

/// From now on it answers the next event, as `heard` tells it, by a command in a database.
pub fn arm(redis: &mut Conn, event: &str, database: &str, answer: &str) {
    let (name, key) = event.split_once(' ').expect("an event and a key");
    let place = format!("@{database}");
    let mut words = vec!["MEDDLE", name, key, &place];
    words.extend(answer.split(' '));
    redis.ok(&words);
}

/// From now on it listens only.
pub fn listen(redis: &mut Conn) {
    redis.ok(&["MEDDLE", "", "", "@0"]);
}

/// The events since then, with their keys, and its answer.
pub fn heard(redis: &mut Conn) -> Vec<String> {
    let redis::Value::Array(heard) = redis.value(&["MEDDLE.HEARD"]) else {
        panic!("no list")
    };
    heard.iter().map(super::text).collect()
}
