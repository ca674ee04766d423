//! What goes wrong with a disk that runs.

use std::io;

use crate::dice::Dice;

/// Kinds of operations, by what can become of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Reads bytes.
    Read,
    /// Looks at names, sizes, locks.
    Look,
    /// Writes bytes, or makes room for them.
    Write,
    /// Makes, renames or removes a name.
    Name,
    /// Syncs a file or a folder.
    Sync,
}

/// How an operation goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// EIO.
    Broken,
    /// ENOSPC.
    Full,
}

impl Fault {
    pub fn error(self) -> io::Error {
        match self {
            Self::Broken => io::Error::other("injected EIO"),
            Self::Full => io::ErrorKind::StorageFull.into(),
        }
    }
}

/// What goes wrong, each as so many of 10,000 operations.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Faults {
    /// Reads and looks that fail.
    pub read: u64,
    /// Writes that write a part, or nothing, and fail.
    pub write: u64,
    /// Changes of names that fail.
    pub name: u64,
    /// Syncs that fail. The next one of the file succeeds, without what was to be synced before;
    /// the next one of the folder is a true one.
    pub sync: u64,
    /// Writes that find no space once.
    pub no_space: u64,
    /// No space for anything new.
    pub full: bool,
}

const OF: u64 = 10_000;

impl Faults {
    /// Whether the operation at hand goes wrong.
    pub fn strike(&self, kind: Kind, dice: &Dice) -> Option<Fault> {
        let broken = match kind {
            Kind::Read | Kind::Look => self.read,
            Kind::Write => self.write,
            Kind::Name => self.name,
            Kind::Sync => self.sync,
        };
        if broken > 0 && dice.hits(broken, OF) {
            return Some(Fault::Broken);
        }
        let space = if kind == Kind::Write { self.no_space } else { 0 };
        (space > 0 && dice.hits(space, OF)).then_some(Fault::Full)
    }
}
