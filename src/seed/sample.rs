//! What `data/sample/` holds: a few records of a few users, made with the default seed and a fixed
//! now, one body a line.

use super::generator::{DEFAULT_SEED, Generator, Options};
use crate::domain::{Micros, Table};

/// Users in the sample, numbered from 1.
pub const SAMPLE_USERS: u64 = 3;

/// Records of each user in the sample.
pub const SAMPLE_OPTIONS: Options =
    Options { audiences: 8, platforms: 2, distributions: 6, months: 12 };

/// What counts as now in the sample: 2026-11-01T00:00:00Z.
#[must_use]
pub fn sample_now() -> Micros {
    Micros::new(1_793_491_200_000_000)
}

/// The sample's records of a table as JSON Lines, user after user.
#[must_use]
pub fn sample(table: Table) -> Vec<u8> {
    let generator = Generator::new(DEFAULT_SEED, SAMPLE_OPTIONS, sample_now());
    let records = (1..=SAMPLE_USERS).flat_map(|number| generator.records(number));
    let mut lines = Vec::new();
    for record in records.filter(|record| record.table == table) {
        lines.extend_from_slice(&record.body);
        lines.push(b'\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::env::{FileSystem, OsFileSystem};

    fn path(table: Table) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("data/sample/{table}.jsonl"))
    }

    /// `UPDATE_SAMPLE=1 cargo test --lib sample` writes the files anew.
    #[test]
    fn the_committed_files_are_the_generators() {
        for table in Table::PUBLIC {
            let made = sample(table);
            if std::env::var_os("UPDATE_SAMPLE").is_some() {
                OsFileSystem.replace(&path(table), &made).expect("the sample's folder");
            }
            let committed = OsFileSystem.read(&path(table)).expect("a committed file");
            assert!(committed == made, "{table}.jsonl differs: see this test's comment");
        }
    }

    #[test]
    fn now_is_what_it_says() {
        assert_eq!(Ok(sample_now()), Micros::parse("2026-11-01T00:00:00Z"));
    }
}
