//! Holding the log's segments while a backup is taken: each gets a second name in `hold/`, in the
//! store's folder and so on its file system. The server lets a segment go by removing its first
//! name; what it appends to the last one appears under both.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::BackupError;
use super::copying::link;
use crate::env::{Env, File, lock_file};

const FOLDER: &str = "hold";
const LOCK: &str = "LOCK";

/// Segments held; let go when dropped.
pub(super) struct Hold {
    env: Env,
    log: PathBuf,
    folder: PathBuf,
    held: Vec<String>,
    _lock: Arc<dyn File>,
}

impl Hold {
    /// Begins to hold the segments of the store in `data`, all there are. What an earlier backup
    /// left held, which ended without letting go, is let go first.
    pub(super) fn begin(env: &Env, data: &Path) -> Result<Self, BackupError> {
        let folder = data.join(FOLDER);
        env.fs.create_dir_all(&folder).map_err(BackupError::io("make", &folder))?;
        let lock = match lock_file(env.fs.as_ref(), &folder.join(LOCK)) {
            Err(e) if e.kind() == io::ErrorKind::TimedOut => return Err(BackupError::Busy),
            other => other.map_err(BackupError::io("lock", &folder))?,
        };
        let log = data.join("log");
        let mut hold = Self { env: env.clone(), log, folder, held: Vec::new(), _lock: lock };
        hold.let_go().map_err(BackupError::io("empty", &hold.folder))?;
        hold.more()?;
        Ok(hold)
    }

    /// Holds the segments that came since.
    pub(super) fn more(&mut self) -> Result<(), BackupError> {
        let fs = self.env.fs.as_ref();
        for entry in fs.list(&self.log).map_err(BackupError::io("list", &self.log))? {
            let is_segment = Path::new(&entry.name).extension().is_some_and(|e| e == "log");
            if !is_segment || self.held.contains(&entry.name) {
                continue;
            }
            let (from, to) = (self.log.join(&entry.name), self.folder.join(&entry.name));
            match link(fs, &from, &to) {
                Ok(true) => self.held.push(entry.name),
                Ok(false) => {
                    let source = io::ErrorKind::Unsupported.into();
                    return Err(
                        BackupError::io("hold (the file system has no hard links)", &from)(source),
                    );
                }
                // Gone since the folder was listed, and not needed then by what is copied next.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(BackupError::io("hold", &from)(e)),
            }
        }
        Ok(())
    }

    /// Where they are held.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn let_go(&self) -> io::Result<()> {
        for entry in self.env.fs.list(&self.folder)? {
            if entry.name != LOCK {
                self.env.fs.remove_file(&self.folder.join(&entry.name))?;
            }
        }
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Err(error) = self.let_go() {
            tracing::warn!(%error, "segments stay held until the next backup");
        }
    }
}
