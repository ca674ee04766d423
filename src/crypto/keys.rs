//! The keys of a running server: which sealer to use now, and what becomes of it when the ring's
//! file changes.
//!
//! Invariant: before anything is sealed with a new current key, the progress file says that not
//! all records are; so the `keys` command never takes an old answer for a new one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::progress::Progress;
use super::ring::{LocalKeys, Ring};
use super::ring_file::{RingFile, RingFileError, from_environment};
use super::sealer::Sealer;
use crate::domain::Secret;
use crate::env::Env;

/// Where the ring comes from.
enum Source {
    File { file: RingFile, seen: Mutex<Option<u128>> },
    Environment,
}

/// The keys, as they are now.
pub struct Keys {
    env: Env,
    data: PathBuf,
    source: Source,
    ring: RwLock<Ring>,
    sealer: RwLock<Arc<Sealer>>,
}

/// How to come by the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySettings {
    /// The ring's file; a relative one lies below the store's folder.
    pub file: PathBuf,
    /// The ring itself, where the environment has one.
    pub environment: Option<Secret>,
}

impl Keys {
    /// Opens the ring, making it where there is none. Blocking.
    ///
    /// # Errors
    /// [`RingFileError`].
    pub fn open(
        env: &Env,
        data: &std::path::Path,
        how: &KeySettings,
    ) -> Result<Self, RingFileError> {
        let file = RingFile::new(env.clone(), data.join(&how.file));
        let mut made = None;
        let (source, ring) = if let Some(text) = &how.environment {
            (Source::Environment, from_environment(text)?)
        } else {
            let seen = file.version()?;
            let ring = file.load_or_make()?;
            if seen.is_none() {
                made = Some(file.path().display().to_string());
            }
            (Source::File { file, seen: Mutex::new(None) }, ring)
        };
        let keys = Self {
            env: env.clone(),
            data: data.to_path_buf(),
            source,
            sealer: RwLock::new(sealer(env, &ring)),
            ring: RwLock::new(ring.clone()),
        };
        if let Some(ring) = made {
            let before = keys.progress().map(|progress| progress.known).unwrap_or_default();
            if before.is_empty() {
                tracing::info!(ring, "key ring made: keep a copy of it apart from the data");
            } else {
                tracing::error!(
                    ring,
                    lost = before.join(" "),
                    "the key ring was missing and a new one was made: credentials sealed before do \
                     not open until the old keys are added with `audience-store keys add --from`"
                );
            }
        }
        keys.begin(&ring)?;
        Ok(keys)
    }

    /// The sealer to use for what begins now.
    #[must_use]
    pub fn sealer(&self) -> Arc<Sealer> {
        Arc::clone(&self.sealer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The names of the keys, oldest first.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        ring.keys().iter().map(|key| key.id.as_str().to_owned()).collect()
    }

    /// Takes the ring's file again where it was replaced, and answers the sealer that was in use
    /// before. A ring that cannot be read leaves things as they are. Blocking.
    ///
    /// # Errors
    /// [`RingFileError`].
    pub fn look(&self) -> Result<Option<Arc<Sealer>>, RingFileError> {
        let Source::File { file, seen } = &self.source else { return Ok(None) };
        let version = file.version()?;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if version.is_none() || *seen == version {
            return Ok(None);
        }
        let taken = self.take(file);
        if !matches!(taken, Err(RingFileError::Io { .. })) {
            // Once a version: one that is no ring is not complained of again and again.
            *seen = version;
        }
        taken
    }

    fn take(&self, file: &RingFile) -> Result<Option<Arc<Sealer>>, RingFileError> {
        let Some(ring) = file.load()? else { return Ok(None) };
        let is_same = self.ring.read().unwrap_or_else(PoisonError::into_inner).is_same(&ring);
        if is_same {
            return Ok(None);
        }
        self.begin(&ring)?;
        let next = sealer(&self.env, &ring);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
        let mut current = self.sealer.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(std::mem::replace(&mut *current, next)))
    }

    /// Sees to it that the progress file is about this ring.
    fn begin(&self, ring: &Ring) -> Result<(), RingFileError> {
        let failed = |source| RingFileError::Io { path: self.data.display().to_string(), source };
        let before = Progress::load(self.env.fs.as_ref(), &self.data).map_err(failed)?;
        let holds = before.as_ref().is_some_and(|p| {
            // What could not be re-wrapped before may be with this ring.
            p.current == ring.current().as_str() && !(p.complete && p.left_some())
        });
        if holds {
            return Ok(());
        }
        self.save(&Progress::begun(ring.current(), before)).map_err(failed)
    }

    /// How far re-wrapping to the current key has come. Blocking.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn progress(&self) -> std::io::Result<Progress> {
        let read = Progress::load(self.env.fs.as_ref(), &self.data)?;
        let current = self.sealer();
        Ok(match read {
            Some(progress) if progress.current == current.current().as_str() => progress,
            // Somebody took the file away, or put an old one back.
            other => Progress::begun(current.current(), other),
        })
    }

    /// Writes how far it has come. On return it survives power loss. Blocking.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn save(&self, progress: &Progress) -> std::io::Result<()> {
        progress.save(self.env.fs.as_ref(), &self.data)
    }
}

fn sealer(env: &Env, ring: &Ring) -> Arc<Sealer> {
    let keys = LocalKeys::new(ring.clone(), Arc::clone(&env.random));
    Arc::new(Sealer::new(Arc::new(keys), Arc::clone(&env.random)))
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
