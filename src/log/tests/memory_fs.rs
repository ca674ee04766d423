//! A file system in memory that counts and fails on demand, and loses at a crash what was not
//! synced: any part of it, in pieces of a sector, and names of folders that were not synced.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use crate::env::{DirEntry, File, FileKind, FileSystem, OpenMode, Space, Stat};

const SECTOR: usize = 64;

#[derive(Clone, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone)]
enum NameChange {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Default)]
pub struct Faults {
    /// Syncs of files to let through before one fails.
    pub sync_fails_after: Option<u64>,
    /// Writes to let through before one fails.
    pub write_fails_after: Option<u64>,
    /// No space for allocations.
    pub full: bool,
    /// Allocations promise nothing, and writes find no space after this many bytes.
    pub unreserved: Option<usize>,
    /// What is told of the disk's space, where not everything is free.
    pub space: Option<Space>,
    /// Syncs wait while this is set.
    pub hold_syncs: bool,
}

#[derive(Default)]
struct Inner {
    inodes: HashMap<u64, Inode>,
    next_inode: u64,
    live: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    changes: Vec<NameChange>,
    faults: Faults,
    syncs: u64,
    dir_syncs: u64,
    waiting_syncs: u64,
}

#[derive(Clone, Default)]
pub struct MemoryFs {
    inner: Arc<(Mutex<Inner>, Condvar)>,
}

/// A small generator of pseudo-random numbers (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &NameChange) {
    match change {
        NameChange::Link(path, inode) => {
            names.insert(path.clone(), *inode);
        }
        NameChange::Unlink(path) => {
            names.remove(path);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}

impl MemoryFs {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.0.lock().unwrap())
    }

    pub fn faults(&self, set: impl FnOnce(&mut Faults)) {
        self.with(|inner| set(&mut inner.faults));
        self.inner.1.notify_all();
    }

    pub fn syncs(&self) -> u64 {
        self.with(|inner| inner.syncs)
    }

    /// Waits until so many syncs are held back.
    pub fn wait_for_held_syncs(&self, count: u64) {
        let mut inner = self.inner.0.lock().unwrap();
        while inner.waiting_syncs < count {
            inner = self.inner.1.wait(inner).unwrap();
        }
    }

    /// What is there after a power loss: of everything not synced, what the dice keep.
    pub fn crash(&self, dice: &mut Dice) -> Self {
        let (names, inodes, next_inode) = self.with(|inner| {
            let mut names = inner.durable.clone();
            for change in &inner.changes {
                if dice.roll(2) == 0 {
                    apply(&mut names, change);
                }
            }
            // In a fixed order, so that the same dice give the same crash.
            let sorted: BTreeMap<_, _> = inner.inodes.iter().collect();
            let survived: HashMap<u64, Inode> = sorted
                .into_iter()
                .map(|(number, inode)| {
                    let bytes = survivor(inode, dice);
                    (*number, Inode { live: bytes.clone(), durable: bytes })
                })
                .collect();
            (names, survived, inner.next_inode)
        });
        let fresh = Self::default();
        fresh.with(|inner| {
            inner.live = names.clone();
            inner.durable = names;
            inner.inodes = inodes;
            inner.next_inode = next_inode;
        });
        fresh
    }

    /// Bytes of a file as a reader sees them.
    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        self.with(|inner| inner.inodes[&inner.live[path]].live.clone())
    }

    /// Puts a file there, durably.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        self.with(|inner| {
            let number = inner.next_inode;
            inner.next_inode += 1;
            inner.inodes.insert(number, Inode { live: bytes.to_vec(), durable: bytes.to_vec() });
            inner.live.insert(path.to_owned(), number);
            inner.durable.insert(path.to_owned(), number);
        });
    }

    pub fn names(&self) -> Vec<String> {
        self.with(|inner| {
            inner.live.keys().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        })
    }
}

/// Sector by sector, the old or the new bytes.
fn survivor(inode: &Inode, dice: &mut Dice) -> Vec<u8> {
    let len = if dice.roll(2) == 0 { inode.live.len() } else { inode.durable.len() };
    let keep_in_ten = dice.roll(11);
    let mut bytes = vec![0; len];
    for (index, sector) in bytes.chunks_mut(SECTOR).enumerate() {
        let from = if dice.roll(10) < keep_in_ten { &inode.live } else { &inode.durable };
        for (offset, byte) in sector.iter_mut().enumerate() {
            *byte = from.get(index * SECTOR + offset).copied().unwrap_or(0);
        }
    }
    bytes
}

struct MemoryFile {
    fs: MemoryFs,
    inode: u64,
}

impl MemoryFile {
    fn with<T>(&self, f: impl FnOnce(&mut Inode) -> T) -> T {
        self.fs.with(|inner| f(inner.inodes.get_mut(&self.inode).unwrap()))
    }
}

fn count_down(left: &mut Option<u64>) -> io::Result<()> {
    match left {
        Some(0) => {
            *left = None;
            Err(io::Error::other("injected"))
        }
        Some(n) => {
            *n -= 1;
            Ok(())
        }
        None => Ok(()),
    }
}

impl File for MemoryFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        self.with(|inode| {
            let bytes = inode.live.get(at..at + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buf.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.fs.with(|inner| count_down(&mut inner.faults.write_fails_after))?;
        let at = usize::try_from(offset).unwrap();
        let room = self.fs.with(|inner| inner.faults.unreserved).unwrap_or(usize::MAX);
        let all = buf.len() <= room;
        let buf = &buf[..buf.len().min(room)];
        self.with(|inode| {
            if inode.live.len() < at + buf.len() {
                inode.live.resize(at + buf.len(), 0);
            }
            inode.live[at..at + buf.len()].copy_from_slice(buf);
        });
        if all { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let (lock, changed) = &*self.fs.inner;
        let mut inner = lock.lock().unwrap();
        inner.waiting_syncs += 1;
        changed.notify_all();
        while inner.faults.hold_syncs {
            inner = changed.wait(inner).unwrap();
        }
        inner.waiting_syncs -= 1;
        inner.syncs += 1;
        count_down(&mut inner.faults.sync_fails_after)?;
        let inode = inner.inodes.get_mut(&self.inode).unwrap();
        inode.durable = inode.live.clone();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|inode| inode.live.resize(usize::try_from(len).unwrap(), 0));
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.fs.with(|inner| inner.faults.full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.with(|inode| {
            let len = inode.live.len().max(usize::try_from(len).unwrap());
            inode.live.resize(len, 0);
        });
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|inode| inode.live.len() as u64))
    }

    fn has_name(&self) -> io::Result<bool> {
        Ok(self.fs.with(|inner| inner.live.values().any(|inode| *inode == self.inode)))
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}

impl FileSystem for MemoryFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inode = self.with(|inner| {
            let there = inner.live.get(path).copied();
            match (mode, there) {
                (OpenMode::CreateNew | OpenMode::CreatePrivate, Some(_)) => {
                    Err(io::ErrorKind::AlreadyExists)
                }
                (OpenMode::CreateNew | OpenMode::CreatePrivate, None) => {
                    let number = inner.next_inode;
                    inner.next_inode += 1;
                    inner.inodes.insert(number, Inode::default());
                    inner.live.insert(path.to_owned(), number);
                    inner.changes.push(NameChange::Link(path.to_owned(), number));
                    Ok(number)
                }
                (_, there) => there.ok_or(io::ErrorKind::NotFound),
            }
        })?;
        Ok(Arc::new(MemoryFile { fs: self.clone(), inode }))
    }

    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn is_private(&self, path: &Path) -> io::Result<bool> {
        self.stat(path).map(|_| true)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|inner| {
            let change = NameChange::Rename(from.to_owned(), to.to_owned());
            apply(&mut inner.live, &change);
            inner.changes.push(change);
        });
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|inner| {
            let inode = *inner.live.get(from).ok_or(io::ErrorKind::NotFound)?;
            let change = NameChange::Link(to.to_owned(), inode);
            apply(&mut inner.live, &change);
            inner.changes.push(change);
            Ok(())
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.with(|inner| {
            inner.live.remove(path).ok_or(io::ErrorKind::NotFound)?;
            inner.changes.push(NameChange::Unlink(path.to_owned()));
            Ok(())
        })
    }

    fn remove_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        self.with(|inner| {
            inner.dir_syncs += 1;
            inner.durable = inner.live.clone();
            inner.changes.clear();
        });
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        Ok(self.with(|inner| {
            let inside = inner.live.keys().filter(|name| name.parent() == Some(path));
            inside
                .map(|name| DirEntry {
                    name: name.file_name().unwrap().to_str().unwrap().to_owned(),
                    kind: FileKind::File,
                })
                .collect()
        }))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.with(|inner| {
            let number = *inner.live.get(path).ok_or(io::ErrorKind::NotFound)?;
            let len = inner.inodes[&number].live.len() as u64;
            Ok(Stat { len, version: u128::from(number) })
        })
    }

    fn space(&self, _folder: &Path) -> io::Result<Space> {
        let all = Space { available: u64::MAX, total: u64::MAX };
        Ok(self.with(|inner| inner.faults.space).unwrap_or(all))
    }
}
