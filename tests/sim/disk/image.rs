//! What is on the disk: as the system shows it, and as a power loss would leave it.
//!
//! Bytes: of each file what is durable, and the writes since. A power loss keeps any of them, in
//! any order, and of each any of its sectors. Names: the same, with changes of names in a folder
//! that was not synced. A rename within a folder is one change; one between folders is two, each
//! with its own folder.

use std::collections::BTreeMap;

use crate::dice::Dice;

/// What survives or not as a whole.
const SECTOR: usize = 512;

/// What a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Node {
    File(u64),
    Folder,
}

enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Len(usize),
}

/// A file without a name.
#[derive(Default)]
pub struct Inode {
    pub live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// Grows with each change.
    pub changes: u64,
    pub private: bool,
    pub locked: bool,
}

fn write(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    if bytes.len() < at + new.len() {
        bytes.resize(at + new.len(), 0);
    }
    bytes[at..at + new.len()].copy_from_slice(new);
}

impl Inode {
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        write(&mut self.live, at, bytes);
        self.changes += 1;
        self.unsynced.push(Change::Write { at, bytes: bytes.to_vec() });
    }

    pub fn set_len(&mut self, len: usize) {
        self.live.resize(len, 0);
        self.changes += 1;
        self.unsynced.push(Change::Len(len));
    }

    pub fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Write { at, bytes } => write(&mut self.durable, at, &bytes),
                Change::Len(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// Any of what was not synced becomes durable, and the rest never does.
    pub fn forget_unsynced(&mut self, dice: &Dice) {
        // All, the first ones, or any; and of the last one any sectors.
        let (mode, keep) = (dice.roll(4), dice.index(self.unsynced.len() + 1));
        for (index, change) in std::mem::take(&mut self.unsynced).into_iter().enumerate() {
            let whole = match mode {
                0 => false,
                1 | 2 => index < keep,
                _ => dice.hits(1, 2),
            };
            let torn = mode > 0 && !whole && (mode == 3 || index == keep);
            match change {
                Change::Len(len) if whole => self.durable.resize(len, 0),
                Change::Write { at, bytes } if whole => write(&mut self.durable, at, &bytes),
                Change::Write { at, bytes } if torn => {
                    let mut from = 0;
                    while from < bytes.len() {
                        let sector_end = ((at + from) / SECTOR + 1) * SECTOR - at;
                        let to = sector_end.min(bytes.len());
                        if dice.hits(1, 2) {
                            write(&mut self.durable, at + from, &bytes[from..to]);
                        }
                        from = to;
                    }
                }
                _ => {}
            }
        }
    }
}

/// A change of names.
#[derive(Clone)]
pub enum NameChange {
    Link(String, Node),
    Unlink(String),
    Rename(String, String, Node),
}

type Names = BTreeMap<String, Node>;

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn apply(names: &mut Names, change: &NameChange) {
    match change {
        NameChange::Link(path, node) => {
            names.insert(path.clone(), *node);
        }
        NameChange::Unlink(path) => {
            if names.remove(path) == Some(Node::Folder) {
                // A later folder of this name is another one.
                let inside = format!("{path}/");
                names.retain(|name, _| !name.starts_with(&inside));
            }
        }
        NameChange::Rename(from, to, node) => {
            names.remove(from);
            names.insert(to.clone(), *node);
        }
    }
}

impl NameChange {
    fn folder(&self) -> &str {
        match self {
            Self::Link(path, _) | Self::Unlink(path) | Self::Rename(_, path, _) => folder(path),
        }
    }

    fn names(&self) -> [&str; 2] {
        match self {
            Self::Link(path, _) | Self::Unlink(path) => [path, path],
            Self::Rename(from, to, _) => [from, to],
        }
    }

    /// Whether this comes to the disk only after `earlier`: both are of one name, or this takes
    /// away the folder that the other one is in.
    fn follows(&self, earlier: &Self) -> bool {
        let (mine, before) = (self.names(), earlier.names());
        let inside = |name: &str| match self {
            Self::Unlink(path) => {
                name.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/'))
            }
            Self::Link(..) | Self::Rename(..) => false,
        };
        before.iter().any(|name| mine.contains(name) || inside(name))
    }
}

/// The disk's content.
#[derive(Default)]
pub struct Image {
    inodes: BTreeMap<u64, Inode>,
    next: u64,
    live: Names,
    durable: Names,
    unsynced: Vec<NameChange>,
}

impl Image {
    pub fn inode(&mut self, number: u64) -> &mut Inode {
        self.inodes.get_mut(&number).expect("an inode that is open or has a name")
    }

    pub fn node(&self, path: &str) -> Option<Node> {
        self.live.get(path).copied()
    }

    pub fn is_named(&self, inode: u64) -> bool {
        self.live.values().any(|node| *node == Node::File(inode))
    }

    pub fn has_folder_of(&self, path: &str) -> bool {
        let folder = folder(path);
        folder.is_empty() || self.live.get(folder) == Some(&Node::Folder)
    }

    pub fn create(&mut self, private: bool) -> u64 {
        self.next += 1;
        self.inodes.insert(self.next, Inode { private, ..Inode::default() });
        self.next
    }

    pub fn change(&mut self, change: NameChange) {
        apply(&mut self.live, &change);
        self.unsynced.push(change);
    }

    pub fn rename(&mut self, from: String, to: String, node: Node) {
        if folder(&from) == folder(&to) {
            self.change(NameChange::Rename(from, to, node));
        } else {
            self.change(NameChange::Link(to, node));
            self.change(NameChange::Unlink(from));
        }
    }

    pub fn children(&self, path: &str) -> Vec<(String, Node)> {
        let inside = if path.is_empty() { String::new() } else { format!("{path}/") };
        let from = self.live.range(inside.clone()..);
        from.take_while(|(name, _)| name.starts_with(&inside))
            .filter_map(|(name, node)| Some((name.strip_prefix(&inside)?, *node)))
            .filter(|(name, _)| !name.contains('/'))
            .map(|(name, node)| (name.to_owned(), node))
            .collect()
    }

    pub fn sync_folder(&mut self, path: &str) {
        let durable = &mut self.durable;
        self.unsynced.retain(|change| {
            let synced = change.folder() == path;
            if synced {
                apply(durable, change);
            }
            !synced
        });
    }

    /// Any of the changes of a folder's names become durable; the rest wait for another sync.
    pub fn sync_some(&mut self, path: &str, dice: &Dice) {
        let hits = |change: &NameChange| change.folder() == path && dice.hits(1, 2);
        let chosen = self.unsynced.iter().map(hits).collect();
        self.unsynced = self.survive(chosen);
    }

    /// Makes the chosen changes of names durable, and what comes before them; answers the rest.
    fn survive(&mut self, mut chosen: Vec<bool>) -> Vec<NameChange> {
        let changes = std::mem::take(&mut self.unsynced);
        for later in (0..changes.len()).rev() {
            for earlier in 0..later {
                chosen[earlier] |= chosen[later] && changes[later].follows(&changes[earlier]);
            }
        }
        let (survives, rest): (Vec<_>, Vec<_>) =
            changes.into_iter().zip(chosen).partition(|(_, chosen)| *chosen);
        survives.iter().for_each(|(change, _)| apply(&mut self.durable, change));
        rest.into_iter().map(|(change, _)| change).collect()
    }

    pub fn unlock(&mut self) {
        for inode in self.inodes.values_mut() {
            inode.locked = false;
        }
    }

    /// Leaves what survives: what is durable, and of the rest what the dice keep.
    pub fn lose_power(&mut self, dice: &Dice) {
        let (mode, keep) = (dice.roll(4), dice.index(self.unsynced.len() + 1));
        let survives = |index| match mode {
            0 => false,
            1 => index < keep,
            _ => dice.hits(1, 2),
        };
        let chosen = (0..self.unsynced.len()).map(survives).collect();
        self.survive(chosen);
        let all = self.durable.clone();
        let folders = |name: &str| {
            name.match_indices('/').all(|(at, _)| all.get(&name[..at]) == Some(&Node::Folder))
        };
        self.durable.retain(|name, _| folders(name));
        self.live = self.durable.clone();
        let named: Vec<u64> = self
            .live
            .values()
            .filter_map(|node| match node {
                Node::File(number) => Some(*number),
                Node::Folder => None,
            })
            .collect();
        self.inodes.retain(|number, _| named.contains(number));
        for inode in self.inodes.values_mut() {
            inode.forget_unsynced(dice);
            inode.live.clone_from(&inode.durable);
        }
    }

    /// Adds a file of these bytes, and the folders it is in.
    pub fn place(&mut self, path: String, bytes: Vec<u8>) {
        for (at, _) in path.match_indices('/') {
            self.live.insert(path[..at].to_owned(), Node::Folder);
        }
        let inode = self.create(false);
        self.inode(inode).live = bytes;
        self.live.insert(path, Node::File(inode));
    }

    /// The files that are there whatever becomes of what was not synced, as a loss of power would
    /// leave them if it kept none of it.
    pub fn surely(&self) -> Vec<(String, Vec<u8>)> {
        let file = |(name, node): (&String, &Node)| match node {
            // Its removal may survive.
            Node::File(_) if !self.live.contains_key(name) => None,
            Node::File(number) => Some((name.clone(), self.inodes.get(number)?.durable.clone())),
            Node::Folder => None,
        };
        self.durable.iter().filter_map(file).collect()
    }

    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let file = |(name, node): (&String, &Node)| match node {
            Node::File(number) => Some((name.clone(), self.inodes.get(number)?.live.clone())),
            Node::Folder => None,
        };
        self.live.iter().filter_map(file).collect()
    }
}
