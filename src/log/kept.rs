//! Segments that nothing needs any more, kept for a while in `kept/` below the log's folder, so
//! that a backup can be restored to a later moment. Bounded in bytes: the oldest go. They yield to
//! whatever needs the room: where the disk is full, all go. What holds records of an erased user
//! is not kept.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::folder::segment_files;
use super::freed::{MOST, Removed, remove};
use super::segment::file_name;
use super::{LogError, Lsn};
use crate::env::Env;

/// The folder's name.
const FOLDER: &str = "kept";

/// The kept segments of a log.
pub(crate) struct Kept {
    env: Env,
    log: PathBuf,
    bytes: u64,
    /// LSN of the latest erasure whose files are gone.
    erased: AtomicU64,
    /// Whether something may have to go.
    due: AtomicBool,
}

impl Kept {
    /// Those below the log's folder, `bytes` of them at most; none where that is 0.
    pub(crate) fn new(env: &Env, log: PathBuf, bytes: u64) -> Self {
        let (erased, due) = (AtomicU64::new(0), AtomicBool::new(true));
        Self { env: env.clone(), log, bytes, erased, due }
    }

    /// Everything of a user through `lsn` is to be nowhere.
    pub(crate) fn erased(&self, lsn: Lsn) {
        self.erased.fetch_max(lsn.get(), Ordering::AcqRel);
        self.due.store(true, Ordering::Release);
    }

    /// Takes a segment out of the log: keeps it, or removes it. On return it stays so across power
    /// loss. `full`: whether room is needed; where it is not, the space comes back with what is
    /// returned.
    pub(crate) fn take(&self, first: Lsn, full: bool) -> Result<Removed, LogError> {
        let name = file_name(first);
        let (from, folder) = (self.log.join(&name), self.log.join(FOLDER));
        let fs = self.env.fs.as_ref();
        let keeps = self.bytes > 0 && !full && first.get() > self.erased.load(Ordering::Acquire);
        let gone = if keeps {
            self.due.store(true, Ordering::Release);
            fs.create_dir_all(&folder)
                .and_then(|()| fs.rename(&from, &folder.join(&name)))
                .and_then(|()| fs.sync_dir(&folder))
                .map(|()| Removed::default())
        } else {
            remove(fs, &from, full)
        };
        let removed = match gone {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(LogError::io("remove", &name)(e));
            }
            gone => gone.unwrap_or_default(),
        };
        fs.sync_dir(&self.log).map_err(LogError::io("remove", &name))?;
        Ok(removed)
    }

    /// Lets go of what is too much or too old. On return that survives power loss; the space comes
    /// back as [`Kept::take`] says.
    pub(crate) fn prune(&self, full: bool) -> Result<Vec<Removed>, LogError> {
        if !self.due.swap(false, Ordering::AcqRel) && !full {
            return Ok(Vec::new());
        }
        let folder = self.log.join(FOLDER);
        let files = segment_files(&self.env, &folder)?;
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let most = if full { 0 } else { self.bytes };
        let erased = self.erased.load(Ordering::Acquire);
        let mut removed = Vec::new();
        for file in files {
            if bytes <= most && file.first.get() > erased {
                break;
            }
            let at_once = full || removed.len() >= MOST;
            let gone = remove(self.env.fs.as_ref(), &folder.join(file.name()), at_once);
            removed.push(gone.map_err(LogError::io("remove", &file.name()))?);
            bytes -= file.bytes;
        }
        if !removed.is_empty() {
            self.env.fs.sync_dir(&folder).map_err(LogError::io("sync", FOLDER))?;
        }
        Ok(removed)
    }
}
