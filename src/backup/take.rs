//! Taking a backup.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::BackupError;
use super::copying::{copy_private, remove_tree};
use super::hold::Hold;
use super::manifest::{Entry, FORMAT, Manifest};
use super::tree::Tree;
use crate::domain::Table;
use crate::env::{Env, FileKind};
use crate::log::{self, ExtractError, Extracted, Lsn, Until};
use crate::storage::layout;

/// How often all is copied again where the log got away.
const TRIES: usize = 3;

/// How to take a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupOptions {
    /// An earlier backup: what did not change since is shared with it.
    pub base: Option<PathBuf>,
    /// Copy every file, also where a second name would do.
    pub copies: bool,
    /// The key ring, below the store's folder, and whether it is to be in the backup.
    pub ring: PathBuf,
    /// See `ring`.
    pub with_keys: bool,
}

/// What was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its manifest.
    pub manifest: Manifest,
    /// Files that share their bytes with the store or the earlier backup.
    pub linked: u64,
    /// Bytes that were copied.
    pub copied_bytes: u64,
}

/// Takes a backup of the store in `data`, which a server may be writing, into the new folder
/// `to`. On return it survives power loss, and holds every change that was acknowledged before
/// this was called. Blocking.
///
/// # Errors
/// [`BackupError`]; `to` is not there then.
pub fn backup(
    env: &Env,
    data: &Path,
    to: &Path,
    options: &BackupOptions,
    each: &mut dyn FnMut(u64),
) -> Result<Taken, BackupError> {
    let fs = env.fs.as_ref();
    let log = fs.list(&data.join("log")).map_err(BackupError::io("list", data))?;
    if log.is_empty() {
        return Err(BackupError::NoStore(data.display().to_string()));
    }
    let partial = new_folder(env, to)?;
    let taken = (|| {
        for _ in 0..TRIES {
            match attempt(env, data, &partial, options, each) {
                Err(BackupError::Extract(ExtractError::Gap { .. }) | BackupError::Moving(_)) => {
                    // The log went on faster than it was held.
                    remove_tree(fs, &partial).map_err(BackupError::io("empty", &partial))?;
                    fs.create_dir_all(&partial).map_err(BackupError::io("make", &partial))?;
                }
                other => return other,
            }
        }
        Err(BackupError::Moving("the log".to_owned()))
    })();
    match taken {
        Ok(taken) => {
            finish(env, &partial, to)?;
            Ok(taken)
        }
        Err(error) => {
            // What is left of it bears a name that no backup has.
            let _ = remove_tree(fs, &partial);
            Err(error)
        }
    }
}

/// Makes the folder that is filled before it gets the name `to`.
pub(super) fn new_folder(env: &Env, to: &Path) -> Result<PathBuf, BackupError> {
    let fs = env.fs.as_ref();
    let there = match fs.stat(to) {
        Ok(_) => {
            !fs.list(to).map_err(|_| BackupError::Exists(to.display().to_string()))?.is_empty()
        }
        Err(_) => false,
    };
    if there {
        return Err(BackupError::Exists(to.display().to_string()));
    }
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let partial = to.with_file_name(format!("{name}.partial"));
    if fs.stat(&partial).is_ok() {
        return Err(BackupError::Unfinished(partial.display().to_string()));
    }
    fs.create_dir_all(&partial).map_err(BackupError::io("make", &partial))?;
    Ok(partial)
}

/// Gives the filled folder its name.
pub(super) fn finish(env: &Env, partial: &Path, to: &Path) -> Result<(), BackupError> {
    env.fs.rename(partial, to).map_err(BackupError::io("rename", partial))?;
    let parent = to.parent().unwrap_or(Path::new(""));
    env.fs.sync_dir(parent).map_err(BackupError::io("sync", parent))
}

fn attempt(
    env: &Env,
    data: &Path,
    partial: &Path,
    options: &BackupOptions,
    each: &mut dyn FnMut(u64),
) -> Result<Taken, BackupError> {
    let base = match &options.base {
        Some(base) => {
            let manifest = Manifest::load(env.fs.as_ref(), base)?;
            let by_path = manifest.files.into_iter().map(|entry| (entry.path.clone(), entry));
            Some((base.join("data"), by_path.collect::<HashMap<_, _>>()))
        }
        None => None,
    };
    let mut hold = Hold::begin(env, data)?;
    let mut tree = Tree {
        env,
        data,
        log_id: log::id_of(env, hold.folder())?,
        to: partial.join("data"),
        base,
        copies: options.copies,
        files: BTreeMap::new(),
        folders: BTreeSet::new(),
        linked: 0,
        copied_bytes: 0,
    };
    tree.copy_all(&mut hold, each)?;
    rest(&mut tree, options)?;
    // Last: whatever a file holds, the log was synced through before the file was there.
    hold.more()?;
    let folder = [hold.folder().to_path_buf()];
    let log = log::extract(env, &folder, &tree.to.join("log"), None, Until::End)?;
    let now = env.clock.now();
    drop(hold);
    let ahead = tree.files.values().find(|f| f.applied_lsn.is_some_and(|at| at > log.last.get()));
    if let Some(file) = ahead {
        return Err(BackupError::Moving(file.path.clone()));
    }
    erased(&mut tree, &log)?;
    enter_log(&mut tree, &log)?;
    let applied = tree.files.values().filter_map(|f| f.applied_lsn).max().unwrap_or(0);
    let erasures = log.erasures.iter().map(|(_, lsn)| lsn.get()).max().unwrap_or(0);
    let before = log.first.previous().get().min(log.last.get());
    let manifest = Manifest {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: now.to_string(),
        log_id: log.log_id.to_string(),
        first_lsn: log.first.get(),
        lsn: log.last.get(),
        earliest_lsn: applied.max(erasures).max(before),
        keys: options.with_keys,
        base: options.base.as_ref().map(|base| base.display().to_string()),
        files: tree.files.values().cloned().collect(),
    };
    for folder in &tree.folders {
        sync_up(env, folder, partial)?;
    }
    manifest.save(env.fs.as_ref(), partial)?;
    Ok(Taken { manifest, linked: tree.linked, copied_bytes: tree.copied_bytes })
}

/// Makes the names in a folder survive; those above were made durable when they were made.
fn sync_up(env: &Env, folder: &Path, top: &Path) -> Result<(), BackupError> {
    env.fs.sync_dir(folder).map_err(BackupError::io("sync", folder))?;
    env.fs.sync_dir(top).map_err(BackupError::io("sync", top))
}

/// Files outside the tables: small, some of them written in place, so they are copied.
fn rest(tree: &mut Tree<'_>, options: &BackupOptions) -> Result<(), BackupError> {
    let tables: Vec<&str> = Table::ALL.iter().map(|table| table.spec().name).collect();
    let skip = ["log", "tmp", "hold", "legacy", "archive", "keys", "quarantine", "LOCK"];
    let (fs, data) = (tree.env.fs.clone(), tree.data);
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let listed = fs.list(&data.join(&folder)).map_err(BackupError::io("list", data))?;
        for entry in listed {
            let path = folder.join(&entry.name);
            let known = folder.as_os_str().is_empty()
                && (skip.contains(&&*entry.name) || tables.contains(&&*entry.name));
            let passing = entry.name == "LOCK" || entry.name.starts_with('.');
            if known || passing || path == options.ring {
                continue;
            }
            match entry.kind {
                FileKind::Dir => folders.push(path),
                FileKind::File => small(tree, &path)?,
                FileKind::Other => {}
            }
        }
    }
    if options.with_keys { small(tree, &options.ring) } else { Ok(()) }
}

/// Copies a small file as it is at some moment.
fn small(tree: &mut Tree<'_>, path: &Path) -> Result<(), BackupError> {
    let (from, to) = (tree.data.join(path), tree.to.join(path));
    tree.make_folder(&to)?;
    let (bytes, crc) = match copy_private(tree.env.fs.as_ref(), &from, &to) {
        // A file of the audit trail that went since.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(BackupError::io("copy", &from))?,
    };
    tree.copied_bytes += bytes;
    let path = path.to_string_lossy().into_owned();
    let entry =
        Entry { path: path.clone(), bytes, crc32c: crc, version: String::new(), applied_lsn: None };
    tree.files.insert(path, entry);
    Ok(())
}

/// Drops what was copied of users who were erased since: their erasure is in the log.
fn erased(tree: &mut Tree<'_>, log: &Extracted) -> Result<(), BackupError> {
    for (user, lsn) in &log.erasures {
        let folders = Table::ALL.into_iter().flat_map(|table| {
            [
                layout::user_folder(user, table),
                layout::archive_user_folder(user, table),
                layout::legacy_user_folder(user, table),
            ]
        });
        for folder in folders {
            let prefix = format!("{}/", folder.as_str());
            let gone = |entry: &&Entry| {
                let newer = entry.applied_lsn.is_some_and(|at| Lsn::new(at) > *lsn);
                let there = entry.applied_lsn.is_none()
                    && tree.env.fs.stat(&tree.data.join(&entry.path)).is_ok();
                entry.path.starts_with(&prefix) && !newer && !there
            };
            let gone = tree.files.values().filter(gone).map(|entry| entry.path.clone());
            for path in gone.collect::<Vec<_>>() {
                tree.remove(&path)?;
            }
        }
    }
    Ok(())
}

/// Enters the log's copies among the files.
fn enter_log(tree: &mut Tree<'_>, log: &Extracted) -> Result<(), BackupError> {
    for name in &log.files {
        let path = format!("log/{name}");
        let full = tree.to.join(&path);
        tree.make_folder(&full)?;
        let sums = super::copying::read(tree.env.fs.as_ref(), &full, &mut |_| Ok(()));
        let (bytes, crc) = sums.map_err(BackupError::io("read", &full))?;
        tree.copied_bytes += bytes;
        let entry = Entry {
            path: path.clone(),
            bytes,
            crc32c: crc,
            version: String::new(),
            applied_lsn: None,
        };
        tree.files.insert(path, entry);
    }
    Ok(())
}
