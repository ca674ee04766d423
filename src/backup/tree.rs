//! Copying the partitions' files: each folder as it was at one moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::BackupError;
use super::copying::{copy, link, read};
use super::hold::Hold;
use super::manifest::Entry;
use crate::domain::Table;
use crate::env::Env;
use crate::parquet::{FileView, OpenFile};
use crate::storage::walk::{Area, ListedFile, PartitionFolder, Walk};

/// How often a folder that changes is copied again.
const TRIES: usize = 20;

/// What copying needs.
pub(super) struct Tree<'a> {
    pub(super) env: &'a Env,
    pub(super) data: &'a Path,
    /// The store's log.
    pub(super) log_id: Option<Uuid>,
    /// Where the copies go.
    pub(super) to: PathBuf,
    /// An earlier backup's data, and its files by path.
    pub(super) base: Option<(PathBuf, HashMap<String, Entry>)>,
    /// Whether to copy what could have a second name.
    pub(super) copies: bool,
    /// The copies, by path.
    pub(super) files: BTreeMap<String, Entry>,
    /// Folders that were made or changed.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Files that share their bytes with the store or the earlier backup.
    pub(super) linked: u64,
    /// Bytes that were copied.
    pub(super) copied_bytes: u64,
}

impl Tree<'_> {
    /// Copies every partition. `each` hears of each folder done.
    pub(super) fn copy_all(
        &mut self,
        hold: &mut Hold,
        each: &mut dyn FnMut(u64),
    ) -> Result<(), BackupError> {
        let fs = self.env.fs.clone();
        let mut ignored = |_: &str| {};
        let mut walk = Walk::new(fs.as_ref(), self.data, &mut ignored);
        let mut done = 0;
        // A file that the Python service wrote goes to `legacy/` before it is replaced: looking
        // there last, none is missed. A month goes to the archive or comes back, and is for a
        // moment in both: looking there before and after, none is missed either.
        for area in [Area::Archive, Area::Tables, Area::Archive, Area::Legacy] {
            for table in Table::ALL {
                let listing = |e| BackupError::io("list", self.data)(e);
                for user in walk.users(area, table).map_err(listing)? {
                    let folders = walk.partitions(&user);
                    for folder in folders.map_err(|e| BackupError::io("list", self.data)(e))? {
                        self.folder(&mut walk, folder)?;
                        hold.more()?;
                        done += 1;
                        each(done);
                    }
                }
            }
        }
        Ok(())
    }

    /// Copies one folder until nothing in it changed meanwhile.
    fn folder(
        &mut self,
        walk: &mut Walk<'_>,
        mut folder: PartitionFolder,
    ) -> Result<(), BackupError> {
        for _ in 0..TRIES {
            let mut taken = true;
            for file in &folder.files {
                taken &= self.file(&folder.path, file)?;
            }
            let before = folder.files.clone();
            let listed = walk.files(folder);
            folder = listed.map_err(|e| BackupError::io("list", self.data)(e))?;
            if taken && folder.files == before {
                return Ok(());
            }
            self.drop_folder(&folder.path)?;
        }
        Err(BackupError::Moving(folder.path))
    }

    /// Takes the copies of a folder back.
    fn drop_folder(&mut self, folder: &str) -> Result<(), BackupError> {
        let prefix = format!("{folder}/");
        let own =
            |path: &&String| path.strip_prefix(&prefix).is_some_and(|name| !name.contains('/'));
        for path in self.files.keys().filter(own).cloned().collect::<Vec<_>>() {
            self.remove(&path)?;
        }
        Ok(())
    }

    /// Takes one copy back.
    pub(super) fn remove(&mut self, path: &str) -> Result<(), BackupError> {
        self.files.remove(path);
        let copy = self.to.join(path);
        self.env.fs.remove_file(&copy).map_err(BackupError::io("remove", &copy))
    }

    /// Copies one file; `false` where it is not what was listed.
    fn file(&mut self, folder: &str, file: &ListedFile) -> Result<bool, BackupError> {
        let path = format!("{folder}/{}", file.name);
        let (from, to) = (self.data.join(&path), self.to.join(&path));
        let version = format!("{:032x}", file.stat.version);
        if self.files.get(&path).is_some_and(|entry| entry.version == version) {
            return Ok(true);
        }
        if self.files.contains_key(&path) {
            self.remove(&path)?;
        }
        self.make_folder(&to)?;
        let fs = self.env.fs.as_ref();
        let earlier = self.base.as_ref().and_then(|(data, files)| {
            let entry = files.get(&path).filter(|entry| entry.version == version)?;
            Some((data.join(&path), entry.clone()))
        });
        let placed: io::Result<(Entry, bool)> = (|| {
            if let Some((from, entry)) = earlier
                && link(fs, &from, &to)?
            {
                return Ok((entry, true));
            }
            let linked = !self.copies && link(fs, &from, &to)?;
            let (bytes, crc) = if linked {
                if fs.stat(&to)? != file.stat {
                    // Replaced since it was listed.
                    fs.remove_file(&to)?;
                    return Err(io::ErrorKind::NotFound.into());
                }
                read(fs, &to, &mut |_| Ok(()))?
            } else {
                copy(fs, &from, &to)?
            };
            let applied_lsn = OpenFile::open(fs, &to)
                .ok()
                .and_then(|source| FileView::open(&source).ok()?.footer().cloned())
                .filter(|footer| Some(footer.log_id) == self.log_id)
                .map(|footer| footer.applied_lsn);
            let path = path.clone();
            Ok((Entry { path, bytes, crc32c: crc, version, applied_lsn }, linked))
        })();
        match placed {
            Ok((entry, linked)) => {
                self.linked += u64::from(linked);
                self.copied_bytes += if linked { 0 } else { entry.bytes };
                self.files.insert(path, entry);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(BackupError::io("copy", &from)(e)),
        }
    }

    /// Makes the folder of a copy.
    pub(super) fn make_folder(&mut self, of: &Path) -> Result<(), BackupError> {
        let folder = of.parent().unwrap_or(of);
        if self.folders.insert(folder.to_path_buf()) {
            let made = self.env.fs.create_dir_all(folder);
            made.map_err(BackupError::io("make", folder))?;
        }
        Ok(())
    }
}
