//! A disk that does to the store what disks do: `image` is what is on it and what of that survives
//! a power loss, `faults` is what goes wrong before one; here both are a file system.

mod faults;
mod image;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use audience_store::env::{DirEntry, File, FileKind, FileSystem, OpenMode, Space, Stat};

pub use faults::Faults;
use faults::{Fault, Kind};
use image::{Image, NameChange, Node};

use crate::dice::Dice;
use crate::trace::{Trace, digest};

struct State {
    image: Image,
    faults: Faults,
    /// Operations until the machine stops, where it is to stop at one.
    left: Option<u64>,
    dead: bool,
    /// Counts the process's starts: a handle of an earlier one is worth nothing.
    life: u64,
    /// Whether a file was removed since somebody asked.
    removed: bool,
}

/// The disk. Clones share it.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    dice: Dice,
    trace: Trace,
}

/// How a machine stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The process ends; the system goes on, and has what was written.
    Kill,
    /// The power goes; what was not synced may be lost.
    PowerLoss,
}

fn text(path: &Path) -> String {
    path.to_str().expect("the store's paths are UTF-8").to_owned()
}

fn crashed() -> io::Error {
    io::Error::other("the machine stopped")
}

impl Disk {
    pub fn new(dice: Dice, trace: Trace) -> Self {
        let state = State {
            image: Image::default(),
            faults: Faults::default(),
            left: None,
            dead: false,
            life: 0,
            removed: false,
        };
        Self { state: Arc::new(Mutex::new(state)), dice, trace }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().expect("disk"))
    }

    /// What goes wrong from now on.
    pub fn set(&self, faults: Faults) {
        self.with(|state| state.faults = faults);
    }

    /// Whether there is no space.
    pub fn fill(&self, full: bool) {
        self.trace.event(u64::from(full), "full");
        self.with(|state| state.faults.full = full);
    }

    /// The machine stops at an operation after so many.
    pub fn stop_after(&self, operations: Option<u64>) {
        self.with(|state| state.left = operations);
    }

    /// Whether the machine stopped.
    pub fn is_dead(&self) -> bool {
        self.with(|state| state.dead)
    }

    /// The machine stops now, if it runs.
    pub fn die(&self) {
        self.with(|state| state.dead = true);
    }

    /// The machine starts again after a stop.
    pub fn restart(&self, stop: Stop) {
        self.trace.event(0, &format!("{stop:?}"));
        self.with(|state| {
            state.life += 1;
            state.dead = false;
            state.left = None;
            state.image.unlock();
            if stop == Stop::PowerLoss {
                state.image.lose_power(&self.dice);
            }
        });
    }

    /// A disk that holds these files and does nothing wrong.
    pub fn holding(files: Vec<(String, Vec<u8>)>) -> Self {
        let disk = Self::new(Dice::new(0, 0), Trace::new(false));
        disk.with(|state| {
            for (path, bytes) in files {
                state.image.place(path, bytes);
            }
        });
        disk
    }

    /// Whether a file was removed since this was asked last.
    pub fn has_removed(&self) -> bool {
        self.with(|state| std::mem::take(&mut state.removed))
    }

    /// The files that a loss of power leaves at the least.
    pub fn surely(&self) -> Vec<(String, Vec<u8>)> {
        self.with(|state| state.image.surely())
    }

    /// All files, by path.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        self.with(|state| state.image.files())
    }

    /// Begins an operation: it happens, it goes wrong, or the machine stops before it.
    fn begin(&self, kind: Kind, name: &str, path: &str) -> io::Result<Option<Fault>> {
        let fault = self.with(|state| {
            if state.dead {
                return Err(crashed());
            }
            match &mut state.left {
                Some(0) => {
                    state.dead = true;
                    return Err(crashed());
                }
                Some(left) => *left -= 1,
                None => {}
            }
            Ok(state.faults.strike(kind, &self.dice))
        });
        let number = match &fault {
            Err(_) => 2,
            Ok(fault) => u64::from(fault.is_some()),
        };
        self.trace.event(number, &format!("{name} {path}"));
        fault
    }

    /// As [`Disk::begin`], for an operation that goes wrong without a trace.
    fn pass(&self, kind: Kind, name: &str, path: &str) -> io::Result<()> {
        match self.begin(kind, name, path)? {
            Some(fault) => Err(fault.error()),
            None => Ok(()),
        }
    }
}

struct Open {
    disk: Disk,
    path: String,
    inode: u64,
    life: u64,
    locks: AtomicBool,
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.locks.load(Ordering::Relaxed) {
            self.disk.with(|state| {
                if state.life == self.life {
                    state.image.inode(self.inode).locked = false;
                }
            });
        }
    }
}

impl Open {
    fn begin(&self, kind: Kind, name: &str) -> io::Result<Option<Fault>> {
        if self.disk.with(|state| state.life != self.life) {
            return Err(crashed());
        }
        self.disk.begin(kind, name, &self.path)
    }
}

impl File for Open {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if let Some(fault) = self.begin(Kind::Read, "read")? {
            return Err(fault.error());
        }
        let at = usize::try_from(offset).expect("offset");
        self.disk.with(|state| {
            let bytes = &state.image.inode(self.inode).live;
            let found = bytes.get(at..at + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buf.copy_from_slice(found);
            Ok(())
        })
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let fault = self.begin(Kind::Write, "write")?;
        self.disk.trace.event(digest(buf), "bytes");
        let at = usize::try_from(offset).expect("offset");
        self.disk.with(|state| {
            let full = state.faults.full;
            let inode = state.image.inode(self.inode);
            // What lies inside the file has its place already.
            let room = if full { inode.live.len().saturating_sub(at) } else { usize::MAX };
            let error = match &fault {
                Some(fault) => Some(fault.error()),
                None if buf.len() > room => Some(io::ErrorKind::StorageFull.into()),
                None => None,
            };
            // A write that fails has written some of it.
            let part = match &error {
                Some(_) => self.disk.dice.index(buf.len().min(room) + 1),
                None => buf.len(),
            };
            inode.write(at, &buf[..part]);
            error.map_or(Ok(()), Err)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let fault = self.begin(Kind::Sync, "sync")?;
        self.disk.with(|state| {
            let inode = state.image.inode(self.inode);
            match fault {
                None => {
                    inode.sync();
                    Ok(())
                }
                Some(fault) => {
                    // The system counts the pages as written; the disk has some of them.
                    inode.forget_unsynced(&self.disk.dice);
                    Err(fault.error())
                }
            }
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if let Some(fault) = self.begin(Kind::Write, "set_len")? {
            return Err(fault.error());
        }
        let len = usize::try_from(len).expect("length");
        self.disk.with(|state| state.image.inode(self.inode).set_len(len));
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if let Some(fault) = self.begin(Kind::Write, "allocate")? {
            return Err(fault.error());
        }
        let len = usize::try_from(len).expect("length");
        self.disk.with(|state| {
            let full = state.faults.full;
            let inode = state.image.inode(self.inode);
            if len > inode.live.len() {
                if full {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                inode.set_len(len);
            }
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        if let Some(fault) = self.begin(Kind::Look, "len")? {
            return Err(fault.error());
        }
        Ok(self.disk.with(|state| state.image.inode(self.inode).live.len() as u64))
    }

    fn has_name(&self) -> io::Result<bool> {
        Ok(self.disk.with(|state| state.life != self.life || state.image.is_named(self.inode)))
    }

    fn try_lock(&self) -> io::Result<bool> {
        if self.begin(Kind::Look, "lock")?.is_some() {
            return Ok(false);
        }
        let taken = self.disk.with(|state| {
            let inode = state.image.inode(self.inode);
            !std::mem::replace(&mut inode.locked, true)
        });
        if taken {
            self.locks.store(true, Ordering::Relaxed);
        }
        Ok(taken)
    }
}

impl FileSystem for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let path = text(path);
        let creates = matches!(mode, OpenMode::CreateNew | OpenMode::CreatePrivate);
        self.pass(if creates { Kind::Name } else { Kind::Look }, "open", &path)?;
        let (inode, life) = self.with(|state| {
            let there = state.image.node(&path);
            let inode = match (creates, there) {
                (true, Some(_)) => return Err(io::Error::from(io::ErrorKind::AlreadyExists)),
                (true, None) if state.faults.full => return Err(io::ErrorKind::StorageFull.into()),
                (true, None) if !state.image.has_folder_of(&path) => {
                    return Err(io::ErrorKind::NotFound.into());
                }
                (true, None) => {
                    let private = mode == OpenMode::CreatePrivate;
                    let node = state.image.create(private);
                    state.image.change(NameChange::Link(path.clone(), Node::File(node)));
                    node
                }
                (false, Some(Node::File(inode))) => inode,
                (false, Some(Node::Folder)) => return Err(io::ErrorKind::IsADirectory.into()),
                (false, None) => return Err(io::ErrorKind::NotFound.into()),
            };
            Ok((inode, state.life))
        })?;
        Ok(Arc::new(Open { disk: self.clone(), path, inode, life, locks: AtomicBool::new(false) }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let name = text(path);
        match self.with(
            |state| if name.is_empty() { Some(Node::Folder) } else { state.image.node(&name) },
        ) {
            Some(Node::Folder) => return Ok(()),
            Some(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            None => {}
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        self.create_dir_all(parent)?;
        self.pass(Kind::Name, "create_dir", &name)?;
        self.with(|state| {
            if state.faults.full {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            state.image.change(NameChange::Link(name, Node::Folder));
            Ok(())
        })?;
        self.sync_dir(parent)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (text(from), text(to));
        self.pass(Kind::Name, "rename", &format!("{from} {to}"))?;
        self.with(|state| match state.image.node(&from) {
            Some(node) if state.image.has_folder_of(&to) => {
                state.image.rename(from, to, node);
                Ok(())
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = text(path);
        self.pass(Kind::Name, "remove_file", &path)?;
        self.with(|state| match state.image.node(&path) {
            Some(Node::File(_)) => {
                state.image.change(NameChange::Unlink(path));
                state.removed = true;
                Ok(())
            }
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let path = text(path);
        self.pass(Kind::Name, "remove_dir", &path)?;
        self.with(|state| match state.image.node(&path) {
            Some(Node::Folder) if state.image.children(&path).is_empty() => {
                state.image.change(NameChange::Unlink(path));
                Ok(())
            }
            Some(Node::Folder) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = text(path);
        let fault = self.begin(Kind::Sync, "sync_dir", &path)?;
        self.with(|state| match fault {
            None if !path.is_empty() && state.image.node(&path) != Some(Node::Folder) => {
                Err(io::ErrorKind::NotFound.into())
            }
            None => {
                state.image.sync_folder(&path);
                Ok(())
            }
            Some(fault) => {
                state.image.sync_some(&path, &self.dice);
                Err(fault.error())
            }
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let path = text(path);
        self.pass(Kind::Look, "list", &path)?;
        Ok(self.with(|state| {
            let children = state.image.children(&path).into_iter();
            let kind = |node| match node {
                Node::File(_) => FileKind::File,
                Node::Folder => FileKind::Dir,
            };
            children.map(|(name, node)| DirEntry { name, kind: kind(node) }).collect()
        }))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let path = text(path);
        self.pass(Kind::Look, "stat", &path)?;
        self.with(|state| match state.image.node(&path) {
            Some(Node::File(number)) => {
                let inode = state.image.inode(number);
                let version = (u128::from(number) << 64) | u128::from(inode.changes);
                Ok(Stat { len: inode.live.len() as u64, version })
            }
            Some(Node::Folder) => Ok(Stat { len: 0, version: 0 }),
            None => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn is_private(&self, path: &Path) -> io::Result<bool> {
        let path = text(path);
        self.pass(Kind::Look, "is_private", &path)?;
        self.with(|state| match state.image.node(&path) {
            Some(Node::File(number)) => Ok(state.image.inode(number).private),
            Some(Node::Folder) => Ok(false),
            None => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn space(&self, _folder: &Path) -> io::Result<Space> {
        self.pass(Kind::Look, "space", "")?;
        let available = if self.with(|state| state.faults.full) { 0 } else { 1 << 40 };
        Ok(Space { available, total: 1 << 40 })
    }
}
