//! What a file's footer says about it: key-value metadata under `audience_store.`.
//!
//! One key is not here: `audience_store.checksums` belongs to [`super::checksums`].

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use ::parquet::file::metadata::KeyValue;

use super::ParquetError;
use crate::domain::{Table, UserId};

/// What every key of this store begins with.
pub(super) const PREFIX: &str = "audience_store.";
/// The schema version this build writes, and the newest it reads.
pub const SCHEMA_VERSION: u32 = 1;

const KEY_SCHEMA_VERSION: &str = "audience_store.schema_version";
const KEY_TABLE: &str = "audience_store.table";
const KEY_USER: &str = "audience_store.user_id";
const KEY_LOG_ID: &str = "audience_store.log_id";
const KEY_APPLIED_LSN: &str = "audience_store.applied_lsn";
const KEY_FOREIGN_IDS: &str = "audience_store.foreign_ids";
const KEY_ADOPTED: &str = "audience_store.adopted";

/// A file of the Python service whose rows are in this file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptedFile {
    /// Its name within the partition's folder.
    pub name: String,
    /// Its size in bytes when it was taken over.
    pub len: u64,
}

/// What a file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// Whose rows these are. The caller compares it with the partition's user.
    pub user: UserId,
    /// Every change of the partition up to this LSN is in the file.
    pub applied_lsn: u64,
    /// The log that `applied_lsn` counts in.
    pub log_id: Uuid,
    /// Version of the columns and of these keys; [`SCHEMA_VERSION`] where this build writes.
    pub schema_version: u32,
    /// At most how many rows their id alone does not lead to; 0 means none.
    pub foreign_ids: u64,
    /// Legacy files whose rows are in this one.
    pub adopted: Vec<AdoptedFile>,
}

impl Footer {
    /// The key-value pairs to write.
    pub(super) fn to_pairs(&self, table: Table) -> Vec<KeyValue> {
        let pair = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
        let mut pairs = vec![
            pair(KEY_SCHEMA_VERSION, self.schema_version.to_string()),
            pair(KEY_TABLE, table.spec().name.to_owned()),
            pair(KEY_USER, self.user.as_str().to_owned()),
            pair(KEY_LOG_ID, self.log_id.simple().to_string()),
            pair(KEY_APPLIED_LSN, self.applied_lsn.to_string()),
            pair(KEY_FOREIGN_IDS, self.foreign_ids.to_string()),
        ];
        if !self.adopted.is_empty() {
            // A list of names and sizes always has a JSON form.
            let adopted = serde_json::to_string(&self.adopted).unwrap_or_default();
            pairs.push(pair(KEY_ADOPTED, adopted));
        }
        pairs
    }

    /// Reads the pairs of a file that has some of this store's.
    ///
    /// # Errors
    /// [`ParquetError::NewerSchema`] for a later schema version, [`ParquetError::Corrupt`] where
    /// a pair is missing or malformed.
    pub(super) fn from_pairs(pairs: &[KeyValue]) -> Result<(Table, Self), ParquetError> {
        let optional =
            |key: &str| pairs.iter().find(|p| p.key == key).and_then(|p| p.value.as_deref());
        let malformed = |key: &str| ParquetError::corrupt(format!("footer key {key}"));
        let required = |key: &str| optional(key).ok_or_else(|| malformed(key));
        let number = |key: &str| required(key)?.parse::<u64>().map_err(|_| malformed(key));

        let version = number(KEY_SCHEMA_VERSION)?;
        if version > u64::from(SCHEMA_VERSION) {
            return Err(ParquetError::NewerSchema { what: format!("schema version {version}") });
        }
        let table_name = required(KEY_TABLE)?;
        let table = Table::ALL
            .into_iter()
            .find(|t| t.spec().name == table_name)
            .ok_or_else(|| malformed(KEY_TABLE))?;
        let adopted = match optional(KEY_ADOPTED) {
            Some(text) => serde_json::from_str(text).map_err(|_| malformed(KEY_ADOPTED))?,
            None => Vec::new(),
        };
        let footer = Self {
            user: UserId::checked(required(KEY_USER)?).map_err(|_| malformed(KEY_USER))?,
            applied_lsn: number(KEY_APPLIED_LSN)?,
            log_id: Uuid::try_parse(required(KEY_LOG_ID)?).map_err(|_| malformed(KEY_LOG_ID))?,
            schema_version: SCHEMA_VERSION.min(u32::try_from(version).unwrap_or(SCHEMA_VERSION)),
            foreign_ids: number(KEY_FOREIGN_IDS)?,
            adopted,
        };
        Ok((table, footer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> Footer {
        Footer {
            user: UserId::checked("a/b ü").expect("user"),
            applied_lsn: u64::MAX,
            log_id: Uuid::from_u128(7),
            schema_version: 1,
            foreign_ids: 3,
            adopted: vec![AdoptedFile { name: "audiences_202505.parquet".into(), len: 10_735 }],
        }
    }

    #[test]
    fn comes_back() {
        let pairs = footer().to_pairs(Table::Platforms);
        assert!(pairs.iter().all(|p| p.key.starts_with(PREFIX)));
        assert_eq!(Footer::from_pairs(&pairs).expect("footer"), (Table::Platforms, footer()));
    }

    #[test]
    fn refuses_what_is_missing_or_newer() {
        let pairs = footer().to_pairs(Table::Platforms);
        for lost in 0..6 {
            let mut some = pairs.clone();
            some.remove(lost);
            assert!(matches!(Footer::from_pairs(&some), Err(ParquetError::Corrupt { .. })));
        }
        let newer = Footer { schema_version: 2, ..footer() }.to_pairs(Table::Platforms);
        assert!(matches!(Footer::from_pairs(&newer), Err(ParquetError::NewerSchema { .. })));
    }
}
