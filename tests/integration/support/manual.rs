//! The pages of the manual.

use std::path::{Path, PathBuf};

pub fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

/// The manual: README.md, and what is in docs/.
pub fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    files(&root.join("docs"), ".md", &mut pages);
    pages
}

/// Its text, page by page.
pub fn manual() -> Vec<String> {
    let read = |path| std::fs::read_to_string(path).expect("a page");
    pages().into_iter().map(read).collect()
}
