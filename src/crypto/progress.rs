//! How far the re-wrapping of all records to the current key has come: a small file beside the
//! data, written by the server alone, read by the `keys` command too.
//!
//! What it says holds from then on: once it says that all records are sealed with the current
//! key, none comes back to an older one, because nothing seals with it any more.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::key::KeyId;
use crate::env::FileSystem;

/// Folder of the file, below the store's root.
pub const FOLDER: &str = "keys";
const FILE: &str = "progress.json";
const FORMAT: u32 = 1;

/// How far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    format: u32,
    /// The key that all records are to be sealed with.
    pub current: String,
    /// Whether all records were looked at since that key became current.
    pub complete: bool,
    /// The walk goes on at this place: of hashes of folder names, so that no user is named.
    pub place: u64,
    /// Users that were looked at.
    pub users: u64,
    /// Records that were re-wrapped.
    pub rewrapped: u64,
    /// Records that could not be, by the key they are sealed with.
    pub left: BTreeMap<String, u64>,
    /// Records whose credentials an earlier version left in the legacy folder, where they were
    /// not found.
    pub lost_in_legacy: u64,
    /// Users whose file cannot be read: what it holds is not known.
    pub unreadable: u64,
    /// The keys that the audit trail knows of.
    pub known: Vec<String>,
    /// The one of them that it knows as current.
    pub known_current: String,
}

impl Progress {
    /// A walk to `current` that has not begun, after what was known before.
    #[must_use]
    pub fn begun(current: &KeyId, before: Option<Self>) -> Self {
        let current = current.as_str().to_owned();
        let Self { known, known_current, .. } = before.unwrap_or_default();
        Self { format: FORMAT, current, known, known_current, ..Self::default() }
    }

    /// Whether every record is known to be sealed with `current`.
    #[must_use]
    pub fn is_done(&self, current: &KeyId) -> bool {
        self.complete && self.current == current.as_str()
    }

    /// Whether a new walk may find what the last one left.
    #[must_use]
    pub fn left_some(&self) -> bool {
        !self.left.is_empty() || self.unreadable > 0
    }

    fn path(data: &Path) -> PathBuf {
        data.join(FOLDER).join(FILE)
    }

    /// Reads the file; `None` where there is none, or one that says nothing. Blocking.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn load(fs: &dyn FileSystem, data: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs.read(&Self::path(data)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        // It can always be made again, by walking over all records.
        let read: Option<Self> = serde_json::from_slice(&bytes).ok();
        Ok(read.filter(|progress| progress.format == FORMAT))
    }

    /// Writes the file. On return it survives power loss. Blocking.
    ///
    /// # Errors
    /// Whatever the file system says; the file is then as it was.
    pub fn save(&self, fs: &dyn FileSystem, data: &Path) -> io::Result<()> {
        fs.keep_dir(&data.join(FOLDER))?;
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        fs.replace(&Self::path(data), &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::OsFileSystem;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test damages a file")]
    fn comes_back_and_damage_means_none() {
        let folder = tempfile::tempdir().expect("folder");
        let id = KeyId::checked("k1").expect("id");
        assert_eq!(Progress::load(&OsFileSystem, folder.path()).expect("none"), None);
        let mut progress = Progress::begun(&id, None);
        progress.left.insert("k0".to_owned(), 3);
        progress.complete = true;
        progress.save(&OsFileSystem, folder.path()).expect("save");
        let read = Progress::load(&OsFileSystem, folder.path()).expect("load").expect("some");
        assert_eq!(read, progress);
        assert!(read.is_done(&id) && read.left_some());
        assert!(!read.is_done(&KeyId::checked("k2").expect("id")));
        std::fs::write(Progress::path(folder.path()), b"{").expect("write");
        assert_eq!(Progress::load(&OsFileSystem, folder.path()).expect("load"), None);
    }
}
