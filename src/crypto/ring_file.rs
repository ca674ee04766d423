//! The key ring as a file that its owner alone may read, and as an environment variable.
//!
//! A change is made under a short lock of its own and replaces the file in one step, so that a
//! running server and several commands never see half of one. Forms: `docs/formats/sealed.md`.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use zeroize::Zeroizing;

use super::key::{Key, KeyId};
use super::ring::{MAX_KEYS, Ring, RingError, RingKey};
use crate::domain::json_text::push_string;
use crate::domain::{Micros, Secret};
use crate::env::{Env, File, OpenMode};

/// The environment variable that holds a ring instead of a file.
pub const KEYS_ENVIRONMENT: &str = "AUDIENCE_STORE_KEYS";
/// Largest file that is taken for a ring.
const MAX_FILE: u64 = 1 << 20;
const FORMAT: u32 = 1;
/// How long and how often somebody else's lock is waited for.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Why there is no ring to work with. No text names a key's bytes.
#[derive(Debug, Error)]
pub enum RingFileError {
    /// The file system refused.
    #[error("the key ring {path} cannot be used: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the file system says.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "the key ring {0} is readable by others and is not used: make its keys yours alone with \
         `chmod 600 {0}`, and rotate them where others may have read them"
    )]
    Open(String),
    /// It is no ring.
    #[error("the key ring {path} cannot be read: {why}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The environment variable is no ring.
    #[error("{KEYS_ENVIRONMENT} cannot be read: {0}")]
    Environment(String),
    /// Somebody else is changing it.
    #[error("the key ring {0} is being changed by somebody else; try again")]
    Locked(String),
    /// The change cannot be made.
    #[error(transparent)]
    Ring(#[from] RingError),
}

#[derive(Deserialize)]
struct RawRing {
    format: u32,
    current: String,
    keys: Vec<RawKey>,
}

#[derive(Deserialize)]
struct RawKey {
    id: String,
    #[serde(default)]
    created_at: Option<String>,
    key: Zeroized,
}

/// Text that is wiped when dropped.
struct Zeroized(Zeroizing<String>);

impl<'de> Deserialize<'de> for Zeroized {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// A ring's file. Everything here blocks.
pub struct RingFile {
    env: Env,
    path: PathBuf,
}

impl RingFile {
    /// The ring in a file, which may not exist yet.
    #[must_use]
    pub fn new(env: Env, path: PathBuf) -> Self {
        Self { env, path }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn io(&self, source: io::Error) -> RingFileError {
        RingFileError::Io { path: self.name(), source }
    }

    /// Changes whenever the file is replaced; `None` where there is none.
    ///
    /// # Errors
    /// [`RingFileError::Io`].
    pub fn version(&self) -> Result<Option<u128>, RingFileError> {
        match self.env.fs.stat(&self.path) {
            Ok(stat) => Ok(Some(stat.version)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.io(e)),
        }
    }

    /// The ring; `None` where there is no file.
    ///
    /// # Errors
    /// [`RingFileError`]; a file that others may read is not looked into.
    pub fn load(&self) -> Result<Option<Ring>, RingFileError> {
        match self.env.fs.is_private(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.io(e)),
            Ok(false) => return Err(RingFileError::Open(self.name())),
            Ok(true) => {}
        }
        let file = self.env.fs.open(&self.path, OpenMode::Read).map_err(|e| self.io(e))?;
        let len = file.len().map_err(|e| self.io(e))?;
        let malformed = |why: String| RingFileError::Malformed { path: self.name(), why };
        if len > MAX_FILE {
            return Err(malformed(format!("it has more than {MAX_FILE} bytes")));
        }
        let mut bytes = Zeroizing::new(vec![0; usize::try_from(len).unwrap_or_default()]);
        file.read_exact_at(&mut bytes, 0).map_err(|e| self.io(e))?;
        parse(&bytes).map(Some).map_err(malformed)
    }

    /// The ring; a new one of one key where there is no file. On return the file survives power
    /// loss.
    ///
    /// # Errors
    /// [`RingFileError`].
    pub fn load_or_make(&self) -> Result<Ring, RingFileError> {
        if let Some(ring) = self.load()? {
            return Ok(ring);
        }
        self.change(|_| Ok::<(), RingFileError>(()))
    }

    /// Changes the ring, a new one where there is no file, and answers it. On return the change
    /// survives power loss; on an error the file is as it was.
    ///
    /// # Errors
    /// [`RingFileError`], and those of `change`.
    pub fn change<E: From<RingFileError>>(
        &self,
        change: impl FnOnce(&mut Ring) -> Result<(), E>,
    ) -> Result<Ring, E> {
        let _lock = self.lock()?;
        let now = self.env.clock.now();
        let mut ring = match self.load()? {
            Some(ring) => ring,
            None => Ring::made(self.env.random.as_ref(), now),
        };
        change(&mut ring)?;
        let text = render(&ring);
        self.env.fs.replace_private(&self.path, text.as_bytes()).map_err(|e| self.io(e))?;
        Ok(ring)
    }

    fn lock(&self) -> Result<Arc<dyn File>, RingFileError> {
        if let Some(folder) = self.path.parent() {
            self.env.fs.keep_dir(folder).map_err(|e| self.io(e))?;
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let path = self.path.with_file_name(format!("{name}.lock"));
        let file = match self.env.fs.open(&path, OpenMode::CreatePrivate) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.env.fs.open(&path, OpenMode::Write)
            }
            other => other,
        };
        let file = file.map_err(|e| self.io(e))?;
        for _ in 0..LOCK_TRIES {
            if file.try_lock().map_err(|e| self.io(e))? {
                return Ok(file);
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        Err(RingFileError::Locked(self.name()))
    }
}

/// A ring out of its file's bytes.
///
/// # Errors
/// What is wrong with it, without quoting it.
pub(super) fn parse(bytes: &[u8]) -> Result<Ring, String> {
    // The error's own text may quote what it met.
    let raw: RawRing = serde_json::from_slice(bytes)
        .map_err(|e| format!("not a ring, line {}, column {}", e.line(), e.column()))?;
    if raw.format != FORMAT {
        return Err(format!("its format {} is not {FORMAT}", raw.format));
    }
    let mut keys = Vec::with_capacity(raw.keys.len().min(MAX_KEYS));
    for raw in raw.keys {
        let id = KeyId::checked(&raw.id).map_err(|e| e.to_string())?;
        let key = Key::from_base64(&raw.key.0).map_err(|e| format!("key {id}: {e}"))?;
        let created_at = raw.created_at.and_then(|at| Micros::parse(&at).ok());
        keys.push(RingKey { id, created_at, key });
    }
    let current = KeyId::checked(&raw.current).map_err(|e| e.to_string())?;
    Ring::new(keys, current).map_err(|e| e.to_string())
}

fn render(ring: &Ring) -> Zeroizing<String> {
    // Room for all of it, so that growing leaves no copy of a key behind.
    let mut out = Zeroizing::new(String::with_capacity(256 + ring.keys().len() * 256));
    let text = |text: &str, out: &mut String| push_string(text, out);
    // Writing to a String cannot fail.
    let _ = write!(out, "{{\"format\":{FORMAT},\"current\":");
    text(ring.current().as_str(), &mut out);
    out.push_str(",\"keys\":[");
    for (index, key) in ring.keys().iter().enumerate() {
        out.push_str(if index == 0 { "\n{\"id\":" } else { ",\n{\"id\":" });
        text(key.id.as_str(), &mut out);
        if let Some(at) = key.created_at {
            // As above.
            let _ = write!(out, ",\"created_at\":\"{at}\"");
        }
        out.push_str(",\"key\":");
        text(&key.key.to_base64(), &mut out);
        out.push('}');
    }
    out.push_str("\n]}\n");
    out
}

/// A ring out of [`KEYS_ENVIRONMENT`]: `ID:BASE64`, the current key first, others behind commas.
///
/// # Errors
/// [`RingFileError::Environment`], without quoting the variable.
pub fn from_environment(text: &Secret) -> Result<Ring, RingFileError> {
    let mut keys = Vec::new();
    for (index, part) in text.expose().split(',').enumerate() {
        let number = index + 1;
        let wrong = |why: String| RingFileError::Environment(format!("key {number}: {why}"));
        let (id, key) = part
            .trim()
            .split_once(':')
            .ok_or_else(|| wrong("it is not of the form ID:BASE64".to_owned()))?;
        let id = KeyId::checked(id).map_err(|e| wrong(e.to_string()))?;
        let key = Key::from_base64(key).map_err(|e| wrong(e.to_string()))?;
        keys.push(RingKey { id, created_at: None, key });
    }
    // Oldest first, so that the current one is the last.
    keys.reverse();
    let current = keys.last().map(|key| key.id.clone());
    let current = current.ok_or_else(|| RingFileError::Environment("it is empty".to_owned()))?;
    Ring::new(keys, current).map_err(|e| RingFileError::Environment(e.to_string()))
}

#[cfg(test)]
#[path = "ring_file_tests.rs"]
mod tests;
