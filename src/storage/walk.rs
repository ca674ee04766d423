//! Walking over a store's folders as files, for commands that run beside a server: users, then a
//! user's partitions, each with its files. What is not the store's is told, not touched.

use std::io;
use std::path::{Path, PathBuf};

use super::layout;
use crate::domain::{Month, PartitionKey, Partitioning, Table, UserId};
use crate::env::{DirEntry, FileKind, FileSystem, Stat};

/// Which of the store's trees of partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Area {
    /// The tables themselves.
    Tables,
    /// Months that were archived.
    Archive,
    /// What the Python service wrote, replaced since.
    Legacy,
}

impl Area {
    /// The trees that hold partitions.
    pub const ALL: [Self; 3] = [Self::Tables, Self::Archive, Self::Legacy];

    /// What the paths of its tables begin with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Tables => "",
            Self::Archive => "archive/",
            Self::Legacy => "legacy/",
        }
    }

    /// Whether a file of this name belongs there.
    fn holds(self, name: &str) -> bool {
        // A second file of one name is kept as `name.parquet.1`.
        is_parquet(name) || (self == Self::Legacy && name.contains(".parquet."))
    }
}

/// A file of a partition's folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedFile {
    /// Its name.
    pub name: String,
    /// What it looks like.
    pub stat: Stat,
}

/// A user's folder in a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserFolder {
    /// Which tree it is in.
    pub area: Area,
    /// The table.
    pub table: Table,
    /// The user; `None` where the id was too long for a folder's name, and only the files in it
    /// tell.
    pub user: Option<UserId>,
    /// The folder, below the store's root.
    pub path: String,
}

/// A partition's folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionFolder {
    /// Which tree it is in.
    pub area: Area,
    /// The table.
    pub table: Table,
    /// The month, where the table has months.
    pub month: Option<Month>,
    /// The folder, below the store's root.
    pub path: String,
    /// Its Parquet files, by name.
    pub files: Vec<ListedFile>,
}

impl PartitionFolder {
    /// Whether it is where this partition's files belong.
    #[must_use]
    pub fn is_of(&self, key: &PartitionKey) -> bool {
        self.path.strip_prefix(self.area.prefix()) == Some(layout::partition_folder(key).as_str())
    }

    /// The partition, where it is this user's.
    #[must_use]
    pub fn key(&self, user: &UserId) -> Option<PartitionKey> {
        PartitionKey::of_month(user, self.table, self.month)
    }
}

/// The walker.
pub struct Walk<'a> {
    fs: &'a dyn FileSystem,
    root: PathBuf,
    /// Hears of what should not be where it is, by its path below the root.
    unexpected: &'a mut dyn FnMut(&str),
}

impl<'a> Walk<'a> {
    /// A walk over the store in `root`.
    pub fn new(fs: &'a dyn FileSystem, root: &Path, unexpected: &'a mut dyn FnMut(&str)) -> Self {
        Self { fs, root: root.to_path_buf(), unexpected }
    }

    /// The users of a table in an area, by the names of their folders.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn users(&mut self, area: Area, table: Table) -> io::Result<Vec<UserFolder>> {
        let folder = format!("{}{}", area.prefix(), layout::table_folder(table).as_str());
        let mut users = Vec::new();
        for entry in self.list(&folder)? {
            let path = format!("{folder}/{}", entry.name);
            let user = layout::parse_user(&entry.name);
            let known = user.is_some() || layout::is_hashed_user(&entry.name);
            if entry.kind == FileKind::Dir && known {
                users.push(UserFolder { area, table, user, path });
            } else {
                (self.unexpected)(&path);
            }
        }
        Ok(users)
    }

    /// The partitions in a user's folder that hold files, by month.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn partitions(&mut self, of: &UserFolder) -> io::Result<Vec<PartitionFolder>> {
        let UserFolder { area, table, path, .. } = of;
        let (area, table) = (*area, *table);
        let empty = |path, month| PartitionFolder { area, table, month, path, files: Vec::new() };
        if table.spec().partitioning == Partitioning::PerUser {
            let folder = self.files(empty(path.clone(), None))?;
            return Ok(Some(folder).filter(|f| !f.files.is_empty()).into_iter().collect());
        }
        let mut found = Vec::new();
        for year in self.list(path)? {
            let path = format!("{path}/{}", year.name);
            let number = layout::parse_year(&year.name).filter(|_| year.kind == FileKind::Dir);
            let Some(number) = number else {
                (self.unexpected)(&path);
                continue;
            };
            for month in self.list(&path)? {
                let path = format!("{path}/{}", month.name);
                let of = layout::parse_month(&month.name).and_then(|m| Month::new(number, m));
                match of.filter(|_| month.kind == FileKind::Dir) {
                    Some(month) => found.push(self.files(empty(path, Some(month)))?),
                    None => (self.unexpected)(&path),
                }
            }
        }
        found.retain(|folder| !folder.files.is_empty());
        Ok(found)
    }

    /// A folder, its files listed now.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn files(&mut self, mut folder: PartitionFolder) -> io::Result<PartitionFolder> {
        folder.files.clear();
        for entry in self.list(&folder.path)? {
            let below = format!("{}/{}", folder.path, entry.name);
            if entry.kind != FileKind::File || !folder.area.holds(&entry.name) {
                (self.unexpected)(&below);
                continue;
            }
            match self.fs.stat(&self.root.join(&below)) {
                Ok(stat) => folder.files.push(ListedFile { name: entry.name, stat }),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(folder)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<DirEntry>> {
        match self.fs.list(&self.root.join(folder)) {
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
            other => other,
        }
    }
}

/// Whether a name is a Parquet file's.
#[must_use]
pub fn is_parquet(name: &str) -> bool {
    let plain = !name.starts_with('.');
    plain && Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"))
}
