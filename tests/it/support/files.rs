//! A data folder, looked at as bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file below `root`: its path relative to it, and its bytes.
pub fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |(name, path): (String, PathBuf)| Some((name, fs::read(path).ok()?));
    paths(root).into_iter().filter_map(read).collect()
}

/// Every file below `root`: its path relative to it, and its absolute path.
pub fn paths(root: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        // A folder may go while a server runs over it.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below").to_str().expect("UTF-8");
                found.insert(name.to_owned(), path);
            }
        }
    }
    found
}

/// The files below `root` whose bytes hold `marker`.
pub fn holding(root: &Path, marker: &str) -> Vec<String> {
    let holds = |bytes: &[u8]| bytes.windows(marker.len()).any(|w| w == marker.as_bytes());
    let all = contents(root).into_iter();
    all.filter(|(_, bytes)| holds(bytes)).map(|(name, _)| name).collect()
}

/// Copies a folder with everything in it.
pub fn copy_tree(from: &Path, to: &Path) {
    for (name, path) in paths(from) {
        let target = to.join(name);
        fs::create_dir_all(target.parent().expect("parent")).expect("folder");
        fs::copy(path, target).expect("copy");
    }
}

/// The log's segments, oldest first.
pub fn segments(data: &Path) -> Vec<PathBuf> {
    let log = paths(&data.join("log")).into_values();
    log.filter(|p| p.extension().is_some_and(|e| e == "log")).collect()
}
