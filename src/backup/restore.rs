//! Making a store of a backup, at one LSN.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::BackupError;
use super::copying::{copy, copy_private, remove_tree};
use super::manifest::Manifest;
use super::take::{finish, new_folder};
use crate::env::Env;
use crate::log::{self, Lsn, Until};

/// How to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// How far to go.
    pub until: Until,
    /// Folders with later segments of the log.
    pub logs: Vec<PathBuf>,
    /// A key ring for the store, and its place below the store's folder.
    pub ring: Option<(PathBuf, PathBuf)>,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The LSN whose state it is.
    pub lsn: Lsn,
    /// When the last record that tells a time was made.
    pub time: Option<crate::domain::Micros>,
    /// The first LSN that the store gives.
    pub next: Lsn,
    /// Files.
    pub files: u64,
    /// Whether it has a key ring.
    pub has_keys: bool,
}

/// Makes a store in the new folder `to` of the backup in `from`. On return it survives power loss.
/// The backup is not changed and shares no file with the store. Blocking.
///
/// # Errors
/// [`BackupError`]; `to` is not there then.
pub fn restore(
    env: &Env,
    from: &Path,
    to: &Path,
    options: &RestoreOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, BackupError> {
    let manifest = Manifest::load(env.fs.as_ref(), from)?;
    let earliest = Lsn::new(manifest.earliest_lsn);
    if let Until::Lsn(wanted) = options.until
        && wanted < earliest
    {
        return Err(BackupError::TooEarly { earliest, wanted });
    }
    let partial = new_folder(env, to)?;
    let restored = fill(env, from, &partial, &manifest, options, progress)
        .and_then(|restored| finish(env, &partial, to).map(|()| restored));
    if restored.is_err() {
        // What is left of it bears a name that no store has.
        let _ = remove_tree(env.fs.as_ref(), &partial);
    }
    restored
}

fn fill(
    env: &Env,
    from: &Path,
    to: &Path,
    manifest: &Manifest,
    options: &RestoreOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, BackupError> {
    let fs = env.fs.as_ref();
    let mut folders = BTreeSet::new();
    let total = manifest.files.len() as u64;
    for (done, entry) in (1..).zip(&manifest.files) {
        let (source, target) = (from.join("data").join(&entry.path), to.join(&entry.path));
        let damaged = || BackupError::Damaged { path: format!("data/{}", entry.path) };
        let sums = if entry.path.starts_with("log/") {
            // Read with what goes on elsewhere, below.
            super::copying::read(fs, &source, &mut |_| Ok(()))
        } else {
            let folder = target.parent().unwrap_or(to).to_path_buf();
            fs.create_dir_all(&folder).map_err(BackupError::io("make", &folder))?;
            folders.insert(folder);
            // Those that are written in place are the private ones.
            if entry.version.is_empty() {
                copy_private(fs, &source, &target)
            } else {
                copy(fs, &source, &target)
            }
        };
        let sums = match sums {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(damaged()),
            other => other.map_err(BackupError::io("copy", &source))?,
        };
        if sums != (entry.bytes, entry.crc32c) {
            return Err(damaged());
        }
        progress(done, total);
    }
    let mut logs = vec![from.join("data/log")];
    logs.extend(options.logs.iter().cloned());
    let first = Some(Lsn::new(manifest.first_lsn));
    let folder = to.join("log");
    let log = log::extract(env, &logs, &folder, first, options.until)?;
    let earliest = Lsn::new(manifest.earliest_lsn);
    if log.last < earliest {
        return Err(BackupError::TooEarly { earliest, wanted: log.last });
    }
    if log.log_id.to_string() != manifest.log_id {
        return Err(BackupError::Damaged { path: "data/log".to_owned() });
    }
    let next = log::continue_apart(env, &folder, log.log_id, log.last)?;
    if let Some((ring, place)) = &options.ring {
        let target = to.join(place);
        let folder = target.parent().unwrap_or(to).to_path_buf();
        fs.create_dir_all(&folder).map_err(BackupError::io("make", &folder))?;
        copy_private(fs, ring, &target).map_err(BackupError::io("copy", ring))?;
        folders.insert(folder);
    }
    for folder in folders {
        fs.sync_dir(&folder).map_err(BackupError::io("sync", &folder))?;
    }
    let has_keys = manifest.keys || options.ring.is_some();
    Ok(Restored { lsn: log.last, time: log.time, next, files: total, has_keys })
}
