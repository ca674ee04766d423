//! What a backup says of itself: `manifest.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::BackupError;
use crate::env::FileSystem;

/// Its name.
pub(super) const NAME: &str = "manifest.json";
/// The one format there is.
pub(super) const FORMAT: u32 = 1;

/// A backup's manifest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form.
    pub format: u32,
    /// Version of the program that took it.
    pub program: String,
    /// When it was taken: the moment after its last record was read, RFC 3339.
    pub created_at: String,
    /// The log's id.
    pub log_id: String,
    /// First LSN of the log in it.
    pub first_lsn: u64,
    /// The LSN whose state it holds.
    pub lsn: u64,
    /// The earliest LSN it can be restored to.
    pub earliest_lsn: u64,
    /// Whether the key ring is in it.
    pub keys: bool,
    /// The backup that files were taken from.
    pub base: Option<String>,
    /// Its files, ascending.
    pub files: Vec<Entry>,
}

/// A file of a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Below the store's root.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// CRC32C of its bytes.
    pub crc32c: u32,
    /// What the store's file looked like: of equal ones the bytes are equal. Empty for files that
    /// are written in place.
    #[serde(default)]
    pub version: String,
    /// The LSN in its footer, where it has one of this log.
    #[serde(default)]
    pub applied_lsn: Option<u64>,
}

impl Manifest {
    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// [`BackupError::NoBackup`].
    pub fn load(fs: &dyn FileSystem, backup: &Path) -> Result<Self, BackupError> {
        let none = |why: String| BackupError::NoBackup { path: backup.display().to_string(), why };
        let bytes = fs.read(&backup.join(NAME)).map_err(|e| none(format!("{NAME}: {e}")))?;
        let manifest: Self =
            serde_json::from_slice(&bytes).map_err(|e| none(format!("{NAME}: {e}")))?;
        if manifest.format > FORMAT {
            return Err(none(format!("format {} is newer than this program", manifest.format)));
        }
        let plain = |path: &str| {
            !path.starts_with('/') && path.split('/').all(|s| !matches!(s, "" | "." | ".."))
        };
        match manifest.files.iter().find(|entry| !plain(&entry.path)) {
            Some(entry) => Err(none(format!("{NAME} names {}", entry.path))),
            None => Ok(manifest),
        }
    }

    /// Writes it. On return it survives power loss.
    ///
    /// # Errors
    /// [`BackupError::Io`].
    pub(super) fn save(&self, fs: &dyn FileSystem, backup: &Path) -> Result<(), BackupError> {
        let path = backup.join(NAME);
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::other);
        let written = text.and_then(|text| fs.replace(&path, &text));
        written.map_err(BackupError::io("write", &path))
    }
}
