//! The file of tokens, `auth/tokens.json` below the store's root: mode 0600, replaced whole.
//!
//! A command changes it while the server runs, and the server while commands do: each change
//! takes `auth/LOCK`, reads, changes and replaces. Format: `docs/formats/tokens.md`.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::record::{NewTokenError, TokenRecord};
use crate::auth::identity::named;
use crate::auth::{Scope, Scopes};
use crate::domain::Micros;
use crate::env::{FileSystem, lock_file};

/// Folder and file below the store's root.
const FOLDER: &str = "auth";
const FILE: &str = "tokens.json";
/// The format that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// Why tokens cannot be read or changed.
#[derive(Debug, Error)]
pub enum TokenFileError {
    /// The file system refuses.
    #[error("the file of tokens cannot be used: {0}")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("the file of tokens, {}, is damaged: {reason}; it was left as it is", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The change is refused.
    #[error(transparent)]
    Refused(#[from] NewTokenError),
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    tokens: Vec<Stored>,
}

/// A token as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    id: String,
    sha256: String,
    user_id: String,
    scopes: Vec<String>,
    name: Option<String>,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

/// The file of a store's tokens. Cheap to clone.
#[derive(Clone)]
pub struct TokenFile {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
}

impl TokenFile {
    /// The file of the store in `root`; it need not exist.
    #[must_use]
    pub fn new(fs: Arc<dyn FileSystem>, root: &Path) -> Self {
        Self { fs, path: root.join(FOLDER).join(FILE) }
    }

    /// Changes whenever the file does; `None` where there is none. Blocking.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn version(&self) -> io::Result<Option<u128>> {
        match self.fs.stat(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(|stat| Some(stat.version)),
        }
    }

    /// Reads all tokens; none where there is no file. Blocking.
    ///
    /// # Errors
    /// [`TokenFileError::Io`], [`TokenFileError::Damaged`].
    pub fn read(&self) -> Result<Vec<TokenRecord>, TokenFileError> {
        let bytes = match self.fs.read(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        decode(&bytes).map_err(|reason| TokenFileError::Damaged { path: self.path.clone(), reason })
    }

    /// Changes the tokens. On return the change survives power loss; after an error the file is
    /// as it was. Blocking.
    ///
    /// # Errors
    /// [`TokenFileError`], or what `change` says.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Vec<TokenRecord>) -> Result<T, TokenFileError>,
    ) -> Result<(T, Vec<TokenRecord>), TokenFileError> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        self.fs.keep_dir(folder)?;
        let _lock = lock_file(self.fs.as_ref(), &folder.join("LOCK"))?;
        let mut records = self.read()?;
        let before = records.clone();
        let done = change(&mut records)?;
        if records != before {
            self.fs.replace_private(&self.path, &encode(&records)?)?;
        }
        Ok((done, records))
    }
}

fn encode(records: &[TokenRecord]) -> io::Result<Vec<u8>> {
    let stored = |record: &TokenRecord| Stored {
        id: record.id.clone(),
        sha256: hex(&record.hash),
        user_id: record.user.as_str().to_owned(),
        scopes: record.scopes.names().into_iter().map(str::to_owned).collect(),
        name: record.name.clone(),
        created_at: record.created_at.to_string(),
        expires_at: record.expires_at.map(|at| at.to_string()),
        revoked_at: record.revoked_at.map(|at| at.to_string()),
    };
    let document = Document { format: FORMAT, tokens: records.iter().map(stored).collect() };
    let mut bytes = serde_json::to_vec_pretty(&document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Vec<TokenRecord>, String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if document.format != FORMAT {
        return Err(format!("its format is {}, this program knows {FORMAT}", document.format));
    }
    document.tokens.iter().map(record).collect()
}

fn record(stored: &Stored) -> Result<TokenRecord, String> {
    let wrong = |what: &str| format!("{what} of token {:?}", stored.id);
    let time = |text: &str, what| Micros::parse(text).map_err(|_| wrong(what));
    let optional =
        |text: &Option<String>, what| text.as_deref().map(|text| time(text, what)).transpose();
    let mut scopes = Scopes::NONE;
    for name in &stored.scopes {
        scopes = scopes.and(Scope::named(name).ok_or_else(|| wrong("a scope"))?);
    }
    Ok(TokenRecord {
        id: stored.id.clone(),
        hash: unhex(&stored.sha256).ok_or_else(|| wrong("sha256"))?,
        user: named(&stored.user_id).map_err(|_| wrong("user_id"))?,
        scopes,
        name: stored.name.clone(),
        created_at: time(&stored.created_at, "created_at")?,
        expires_at: optional(&stored.expires_at, "expires_at")?,
        revoked_at: optional(&stored.revoked_at, "revoked_at")?,
    })
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::{NewToken, TokenText, record};
    use super::*;
    use crate::env::{OsFileSystem, OsRandom};

    fn file() -> (tempfile::TempDir, TokenFile) {
        let folder = tempfile::tempdir().expect("folder");
        let file = TokenFile::new(Arc::new(OsFileSystem), folder.path());
        (folder, file)
    }

    fn made(user: &str) -> TokenRecord {
        let ttl = Some(std::time::Duration::from_hours(1));
        let new = NewToken::checked(user, ["admin", "metrics:read"], Some("a \"name\""), ttl);
        new.expect("token").record(&TokenText::made(&OsRandom), Micros::new(1))
    }

    #[test]
    fn what_is_written_is_read_back_from_a_private_file() {
        let (_folder, file) = file();
        assert_eq!(file.read().expect("none"), []);
        assert_eq!(file.version().expect("version"), None);
        let mut all = Vec::new();
        for user in ["u", "ü/旅", "v"] {
            let record = made(user);
            all.push(record.clone());
            let before = file.version().expect("version");
            file.change(|records| {
                records.push(record);
                Ok(())
            })
            .expect("change");
            assert_ne!(file.version().expect("version"), before);
        }
        file.change(|records| Ok(record::revoke(records, &all[1].id, Micros::new(5)))).expect("ok");
        all[1].revoked_at = Some(Micros::new(5));
        assert_eq!(file.read().expect("read"), all);
        for name in ["tokens.json", "LOCK"] {
            let path = file.path.with_file_name(name);
            let mode = std::fs::metadata(path).expect(name).permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_change_that_is_refused_or_changes_nothing_writes_nothing() {
        let (_folder, file) = file();
        file.change(|records| {
            records.push(made("u"));
            Ok(())
        })
        .expect("change");
        let before = file.version().expect("version");
        let refused = file.change(|records| {
            records.clear();
            Err::<(), _>(NewTokenError::Full.into())
        });
        assert!(matches!(refused, Err(TokenFileError::Refused(NewTokenError::Full))));
        file.change(|_| Ok(())).expect("nothing");
        assert_eq!(file.version().expect("version"), before);
    }

    #[test]
    fn the_fixture_is_read_by_every_later_version() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/auth/tokens-v1.json");
        let bytes = OsFileSystem.read(Path::new(path)).expect("fixture");
        let records = decode(&bytes).expect("records");
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].user.as_str(), "demo_user");
        assert_eq!(records[0].scopes, Scopes::of(&[Scope::AudiencesRead, Scope::AudiencesWrite]));
        assert_eq!(records[1].revoked_at, Some(Micros::new(1_700_000_100_000_000)));
        let text = "ast_0123456789AB_0123456789ABCDEFGHIJKLMNOPQRSTUV0123456789A13422z";
        let Ok(token) = TokenText::parse(text) else { panic!("{text}") };
        assert_eq!((token.id(), token.hash()), (records[0].id.as_str(), records[0].hash));
        assert_eq!(encode(&records).expect("encode"), bytes);
    }

    #[test]
    fn damage_is_named_and_the_file_kept() {
        let (_folder, file) = file();
        let whole = String::from_utf8(encode(&[made("u")]).expect("encode")).expect("UTF-8");
        for (damaged, says) in [
            ("{", "EOF"),
            (&whole.replace("\"format\": 1", "\"format\": 2"), "its format is 2"),
            (&whole.replace("admin", "root"), "a scope of token"),
            (&whole.replace("\"u\"", "\"\""), "user_id of token"),
            (&whole.replace("1970-", "197x-"), "created_at of token"),
            (&whole.replace("\"sha256\": \"", "\"sha256\": \"0"), "sha256 of token"),
            (&whole.replace("\"name\"", "\"nome\""), "unknown field"),
        ] {
            OsFileSystem.create_dir_all(file.path.parent().expect("parent")).expect("folder");
            OsFileSystem.replace(&file.path, damaged.as_bytes()).expect("file");
            let Err(error) = file.change(|_| Ok(())) else { panic!("{says}") };
            let error = error.to_string();
            assert!(error.contains(says) && error.contains("was left as it is"), "{error}");
            assert_eq!(OsFileSystem.read(&file.path).expect("file"), damaged.as_bytes());
        }
    }
}
