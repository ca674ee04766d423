//! The folders and names of the store (`domain.md`, "Directory layout"), made only from keys.
//!
//! User ids are escaped as Hive and Spark escape partition values. The escaping is injective and
//! never yields a separator, so a path built here lies inside its owner's folder.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::domain::{Month, PartitionKey, Table, UserId};

/// A path inside the store: segments joined by `/`, none of them empty, `.` or `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct StorePath(String);

/// Longest escaped user id; with `user_id=` it stays below the 255 bytes a file name may have.
const MAX_SEGMENT: usize = 240;

/// Where replaced files of the Python service go, by table, below the store's root.
const LEGACY: &str = "legacy";

impl StorePath {
    /// The path as text, relative to the store's root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn join(&self, segment: &str) -> Self {
        Self(format!("{}/{segment}", self.0))
    }

    /// A file of this folder that the storage listed. `None` where the name is not a plain one.
    #[must_use]
    pub fn listed(&self, name: &str) -> Option<Self> {
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
        plain.then(|| self.join(name))
    }
}

/// The folder of all of a table.
#[must_use]
pub fn table_folder(table: Table) -> StorePath {
    StorePath(table.spec().name.to_owned())
}

/// The folder of a user's table.
#[must_use]
pub fn user_folder(user: &UserId, table: Table) -> StorePath {
    table_folder(table).join(&user_segment(user))
}

/// The folder of a partition.
#[must_use]
pub fn partition_folder(key: &PartitionKey) -> StorePath {
    month_folder(user_folder(key.user(), key.table()), key.month())
}

/// The file of a partition.
#[must_use]
pub fn partition_file(key: &PartitionKey) -> StorePath {
    partition_folder(key).join(&partition_file_name(key))
}

/// The name of a partition's file: `audiences_202504.parquet`, `platforms.parquet`.
#[must_use]
pub fn partition_file_name(key: &PartitionKey) -> String {
    match key.month() {
        Some(month) => format!("{}_{:06}.parquet", key.table(), month.number()),
        None => format!("{}.parquet", key.table()),
    }
}

/// The folder that keeps what a partition's first checkpoint replaced.
#[must_use]
pub fn legacy_folder(key: &PartitionKey) -> StorePath {
    month_folder(legacy_user_folder(key.user(), key.table()), key.month())
}

/// The folder that keeps everything replaced of a user's table.
#[must_use]
pub fn legacy_user_folder(user: &UserId, table: Table) -> StorePath {
    StorePath(LEGACY.to_owned()).join(table.spec().name).join(&user_segment(user))
}

/// Where months go that are archived, by table, below the store's root.
const ARCHIVE: &str = "archive";

/// The folder of a user's archived months of a table.
#[must_use]
pub fn archive_user_folder(user: &UserId, table: Table) -> StorePath {
    StorePath(ARCHIVE.to_owned()).join(table.spec().name).join(&user_segment(user))
}

/// The file of an archived partition.
#[must_use]
pub fn archive_file(key: &PartitionKey) -> StorePath {
    month_folder(archive_user_folder(key.user(), key.table()), key.month())
        .join(&partition_file_name(key))
}

/// The folder of one year of a user's archived months.
#[must_use]
pub fn archive_year_folder(user: &UserId, table: Table, year: u16) -> StorePath {
    archive_user_folder(user, table).join(&format!("year={year:04}"))
}

fn month_folder(folder: StorePath, month: Option<Month>) -> StorePath {
    match month {
        Some(month) => folder
            .join(&format!("year={:04}", month.year()))
            .join(&format!("month={:02}", month.month())),
        None => folder,
    }
}

/// The year of a `year=2025` folder.
#[must_use]
pub fn parse_year(segment: &str) -> Option<u16> {
    segment.strip_prefix("year=")?.parse().ok()
}

/// The month of a `month=04` folder.
#[must_use]
pub fn parse_month(segment: &str) -> Option<u8> {
    segment.strip_prefix("month=")?.parse().ok()
}

/// The folder of one year of a user's monthly table.
#[must_use]
pub fn year_folder(user: &UserId, table: Table, year: u16) -> StorePath {
    user_folder(user, table).join(&format!("year={year:04}"))
}

/// `user_id=` and the escaped id. An id whose escaped form no file system could name is cut and
/// ends in `%~` and its SHA-256, which no escaped id can.
fn user_segment(user: &UserId) -> String {
    let mut escaped = escape(user.as_str());
    if escaped.len() > MAX_SEGMENT {
        let digest = Sha256::digest(user.as_str().as_bytes());
        let mut keep = MAX_SEGMENT - 2 - 2 * digest.len();
        while !escaped.is_char_boundary(keep) {
            keep -= 1;
        }
        escaped.truncate(keep);
        escaped.push_str("%~");
        for byte in digest {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "{byte:02x}");
        }
    }
    format!("user_id={escaped}")
}

/// Escapes a partition value as Hive does: `%` and two upper-case hex digits for each byte of a
/// character that a path or a query engine could misread. The value Hive reads as null is
/// escaped too.
#[must_use]
pub fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let null = value == "__HIVE_DEFAULT_PARTITION__";
    for (index, c) in value.chars().enumerate() {
        if is_escaped(c) || (null && index == 0) || (value.chars().all(|c| c == '.') && index == 0)
        {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn is_escaped(c: char) -> bool {
    c.is_ascii_control()
        || matches!(
            c,
            '"' | '#' | '%' | '\'' | '*' | '/' | ':' | '=' | '?' | '\\' | '{' | '[' | ']' | '^'
        )
}

/// The value that [`escape`] made a text of; `None` where the text is not one it makes.
#[must_use]
pub fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let (digits, tail) = after.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    let value = String::from_utf8(bytes).ok()?;
    (escape(&value) == text).then_some(value)
}

/// The user a `user_id=…` folder belongs to; `None` where this store would not name it so.
#[must_use]
pub fn parse_user(segment: &str) -> Option<UserId> {
    let user = UserId::checked(&unescape(segment.strip_prefix("user_id=")?)?).ok()?;
    (user_segment(&user) == segment).then_some(user)
}

/// Whether a folder's name is that of a user whose id was too long to be spelled in it.
#[must_use]
pub fn is_hashed_user(segment: &str) -> bool {
    segment
        .strip_prefix("user_id=")
        .and_then(|rest| rest.rsplit_once("%~"))
        .is_some_and(|(_, hash)| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// What fuzzing checks of a user's folder.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz {
    use super::{MAX_SEGMENT, escape, parse_user, user_segment};
    use crate::domain::UserId;

    /// Fails unless the user's folder is one plain segment, and his alone.
    pub(crate) fn confined(user: &UserId) {
        let segment = user_segment(user);
        assert!(segment.len() <= 255 && segment.starts_with("user_id="), "{segment}");
        assert!(!segment.contains(['/', '\\', '\0']), "{segment}");
        if escape(user.as_str()).len() <= MAX_SEGMENT {
            assert_eq!(parse_user(&segment).as_ref(), Some(user), "{segment}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::TestCaseError;

    use super::*;
    use crate::domain::Micros;

    fn user(text: &str) -> UserId {
        UserId::checked(text).expect("user")
    }

    #[test]
    fn partitions_lie_where_the_contract_says() {
        let at = Micros::parse("2025-04-10").expect("time");
        let key = PartitionKey::holding(&user("a/b"), Table::Audiences, at).expect("key");
        assert_eq!(
            partition_file(&key).as_str(),
            "audiences/user_id=a%2Fb/year=2025/month=04/audiences_202504.parquet"
        );
        let key = PartitionKey::whole(&user("user@example.com"), Table::Platforms);
        assert_eq!(
            partition_file(&key).as_str(),
            "platforms/user_id=user@example.com/platforms.parquet"
        );
        assert_eq!(legacy_folder(&key).as_str(), "legacy/platforms/user_id=user@example.com");
    }

    #[test]
    fn escapes_as_hive_does() {
        assert_eq!(escape("a b=c%d"), "a b%3Dc%25d");
        assert_eq!(escape(".."), "%2E.");
        assert_eq!(escape("__HIVE_DEFAULT_PARTITION__"), "%5F_HIVE_DEFAULT_PARTITION__");
        assert_eq!(escape("ünï"), "ünï");
        assert_eq!(unescape("%2f"), None, "only one spelling is ours");
    }

    #[test]
    fn long_escapes_still_fit_a_file_name() {
        let (a, b) = ("/".repeat(128), format!("{}:", "/".repeat(127)));
        let (a, b) = (user_segment(&user(&a)), user_segment(&user(&b)));
        assert!(a.len() <= 255 && b.len() <= 255);
        assert_ne!(a, b);
    }

    /// Ids of all kinds, those above all that look like paths, escapes or hashed segments.
    fn ids() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{1,40}",
            "[./%=~a\\\\]{1,128}",
            "(\\.|%2[eEfF]|%25|/|\\\\|user_id=|year=2025|~|%~[0-9a-f]{64}){1,12}",
            "[a-z/]{80,128}",
            "(ü|旅|\u{1f468}|/|x){20,40}",
        ]
    }

    /// Why no two users share a folder. Short ids: [`parse_user`] gives back what
    /// [`user_segment`] was given, which no map that joins two could. Long ones: the segment ends
    /// in the whole SHA-256 of the id, after a mark that no escaped id holds; so a long one shares
    /// its folder with no short one, and with another long one where SHA-256 has a collision.
    fn has_a_folder_of_his_own(id: &str) -> Result<(), TestCaseError> {
        let Ok(user) = UserId::checked(id) else { return Ok(()) };
        let segment = user_segment(&user);
        if escape(id).len() <= MAX_SEGMENT {
            prop_assert!(!segment.contains("%~"), "{segment}");
            prop_assert_eq!(unescape(&escape(id)), Some(id.to_owned()));
            prop_assert_eq!(parse_user(&segment), Some(user));
        } else {
            let digest = Sha256::digest(id.as_bytes());
            let mut end = String::from("%~");
            digest.iter().for_each(|byte| write!(end, "{byte:02x}").expect("text"));
            prop_assert!(segment.ends_with(&end), "{segment}");
            prop_assert_eq!(segment.matches("%~").count(), 1);
        }
        Ok(())
    }

    /// Every path of a user lies in the folder of his table: its segments are those the contract
    /// names, and his id is inside one of them.
    fn lies_in_his_folder(id: &str) -> Result<(), TestCaseError> {
        let Ok(user) = UserId::checked(id) else { return Ok(()) };
        let segment = user_segment(&user);
        prop_assert!(segment.len() <= 255 && segment.starts_with("user_id="), "{segment}");
        prop_assert!(!segment.contains(['/', '\\', '\0']), "{segment}");
        prop_assert!(!segment.chars().any(char::is_control), "{segment:?}");
        let month = Month::new(2025, 4).expect("month");
        for table in Table::ALL {
            let monthly = PartitionKey::monthly(&user, table, month);
            for (path, depth) in [
                (partition_file(&monthly), 5),
                (partition_file(&PartitionKey::whole(&user, table)), 3),
                (legacy_folder(&monthly), 5),
                (user_folder(&user, table), 2),
            ] {
                let segments: Vec<&str> = path.as_str().split('/').collect();
                prop_assert_eq!(segments.len(), depth, "{}", path.as_str());
                prop_assert!(!segments.iter().any(|s| matches!(*s, "" | "." | "..")));
                prop_assert_eq!(segments.iter().filter(|s| **s == segment).count(), 1);
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn every_user_has_a_folder_of_his_own(id in ids()) {
            has_a_folder_of_his_own(&id)?;
            // What an id escapes to, and what a folder is called, are ids of others.
            has_a_folder_of_his_own(&escape(&id))?;
            if let Ok(user) = UserId::checked(&id) {
                has_a_folder_of_his_own(&user_segment(&user))?;
            }
        }

        #[test]
        fn two_users_have_two_folders(a in ids(), at in any::<proptest::sample::Index>(), c in any::<char>()) {
            // Alike but for one character.
            let mut b: Vec<char> = a.chars().collect();
            let at = at.index(b.len());
            b[at] = c;
            let b: String = b.into_iter().collect();
            if let (Ok(a), Ok(b)) = (UserId::checked(&a), UserId::checked(&b)) {
                prop_assert_eq!(a == b, user_segment(&a) == user_segment(&b));
            }
        }

        #[test]
        fn every_path_lies_in_its_users_folder(id in ids()) {
            lies_in_his_folder(&id)?;
            lies_in_his_folder(&escape(&id))?;
        }

        #[test]
        fn no_listed_name_leads_elsewhere(name in "(\\PC|\\.|/|\\x00){0,12}") {
            let folder = table_folder(Table::Audiences);
            if let Some(path) = folder.listed(&name) {
                let rest = path.as_str().strip_prefix("audiences/").expect("below it");
                prop_assert!(!rest.contains('/') && !matches!(rest, "" | "." | ".."));
            }
        }
    }
}
