//! `audience-store keys`: the key ring, also beside a running server.
//!
//! A key is retired only where the server has said that every record is under the current key,
//! and no file names it. Plain functions over the ring, the progress file and the files.

use std::fmt::Write as _;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sources::Environment;
use crate::audit::{Actor, Event, Trail};
use crate::crypto::{
    KEYS_ENVIRONMENT, KeyId, KeySettings, Progress, Ring, RingFile, RingFileError, from_environment,
};
use crate::domain::Secret;
use crate::domain::json_text::push_string;
use crate::env::Env;
use crate::storage::{LocalStorage, StorageError};
use crate::store::remembered_files;
use crate::store::sealed_files::{self, SealedFiles};

/// What to do with the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysCommand {
    /// Add a key that waits, or the keys of another ring.
    Add {
        /// The other ring's file.
        from: Option<PathBuf>,
    },
    /// Make the waiting key current, or a new one.
    Rotate,
    /// Print the keys.
    List {
        /// Whether to print JSON.
        json: bool,
    },
    /// Remove a key that nothing uses.
    Retire {
        /// Its id.
        id: KeyId,
    },
}

/// The ring that the environment holds, where it does.
#[must_use]
pub fn environment_ring(environment: Environment<'_>) -> Option<Secret> {
    environment(KEYS_ENVIRONMENT).filter(|text| !text.is_empty()).map(Secret::new)
}

/// Does what it says, and answers what to print. What changed the ring, or was refused to, has a
/// line in the audit trail. Blocking.
///
/// # Errors
/// Why not, for a person.
pub fn keys(
    env: &Env,
    data: &Path,
    settings: &KeySettings,
    command: &KeysCommand,
) -> Result<String, String> {
    let file = RingFile::new(env.clone(), data.join(&settings.file));
    let fixed = match &settings.environment {
        Some(text) => Some(from_environment(text).map_err(|e| e.to_string())?),
        None => None,
    };
    match (command, fixed) {
        (KeysCommand::Add { .. } | KeysCommand::Rotate, Some(_)) => Err(format!(
            "the keys are in {KEYS_ENVIRONMENT}: put a new one before the others there, and restart"
        )),
        (KeysCommand::Add { from }, None) => add(env, data, &file, from.as_deref()),
        (KeysCommand::Rotate, None) => rotate(env, data, &file),
        (KeysCommand::List { json }, fixed) => {
            let ring = existing(&file, fixed)?;
            let (progress, files) = used(env, data)?;
            Ok(list(&ring, progress.as_ref(), &files, *json))
        }
        (KeysCommand::Retire { id }, fixed) => retire(env, data, &file, fixed, id),
    }
}

/// Says in the audit trail what was asked of which keys. The server's own lines say what it took
/// into use, and miss what came and went between two looks.
fn note(env: &Env, data: &Path, action: &'static str, keys: &[&KeyId]) -> Result<(), String> {
    let (by, now) = (Actor::command(), env.clock.now());
    let line = |id: &&KeyId| Event::key(action, &by, id.as_str()).line(now);
    let lines: String = keys.iter().map(line).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let trail = Trail::new(Arc::clone(&env.fs), data, None);
    let noted = trail.append(lines.as_bytes(), true);
    noted.map_err(|e| format!("{} is not in the audit trail: {e}", lines.trim_end()))
}

fn existing(file: &RingFile, fixed: Option<Ring>) -> Result<Ring, String> {
    match fixed {
        Some(ring) => Ok(ring),
        None => file.load().map_err(|e| e.to_string())?.ok_or_else(|| {
            format!(
                "there is no key ring {} yet: the server makes one at its first start",
                file.path().display()
            )
        }),
    }
}

fn add(env: &Env, data: &Path, file: &RingFile, from: Option<&Path>) -> Result<String, String> {
    existing(file, None)?;
    let other = match from {
        Some(path) => {
            let other = RingFile::new(env.clone(), path.to_path_buf());
            Some(existing(&other, None)?)
        }
        None => None,
    };
    let mut added = Vec::new();
    let now = env.clock.now();
    let changed = file.change(|ring| -> Result<(), RingFileError> {
        added = match &other {
            Some(other) => ring.take(other)?,
            None => vec![ring.add(env.random.as_ref(), now)?],
        };
        Ok(())
    });
    changed.map_err(|e| e.to_string())?;
    note(env, data, "keys_add", &added.iter().collect::<Vec<_>>())?;
    let mut out = String::new();
    for id in &added {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "added {id}");
    }
    match (&other, added.is_empty()) {
        (_, true) => out.push_str("the ring has all of these keys"),
        (Some(_), _) => out.push_str("they open records; `keys rotate` does not make them current"),
        (None, _) => out.push_str("it waits: `keys rotate` makes it current"),
    }
    Ok(out)
}

fn rotate(env: &Env, data: &Path, file: &RingFile) -> Result<String, String> {
    existing(file, None)?;
    let now = env.clock.now();
    let changed = file.change(|ring| -> Result<(), RingFileError> {
        ring.rotate(env.random.as_ref(), now)?;
        Ok(())
    });
    let ring = changed.map_err(|e| e.to_string())?;
    note(env, data, "keys_rotate", &[ring.current()])?;
    Ok(format!(
        "{} is current; a running server puts all records under it, one that is stopped when it \
         starts (`keys list` shows how far it is). Keep a copy of {} apart from the data",
        ring.current(),
        file.path().display()
    ))
}

fn used(env: &Env, data: &Path) -> Result<(Option<Progress>, SealedFiles), String> {
    let progress = Progress::load(env.fs.as_ref(), data)
        .map_err(|e| format!("the progress of re-wrapping cannot be read: {e}"))?;
    let storage = LocalStorage::new(env, data);
    Ok((progress, read(sealed_files::read_all(env, &storage))?))
}

/// How many remembered answers in files need a key to be told from answers to other requests.
fn remembered(env: &Env, data: &Path, id: &KeyId) -> Result<u64, String> {
    let storage = LocalStorage::new(env, data);
    let all = read(remembered_files::read_all(env, &storage))?;
    Ok(all.get(id.as_str()).copied().unwrap_or(0))
}

fn read<T>(files: impl Future<Output = Result<T, StorageError>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let read = runtime.map_err(|e| e.to_string())?.block_on(files);
    read.map_err(|e| format!("the files cannot be read: {e}"))
}

/// What is said of a key in the list.
fn state(ring: &Ring, index: usize) -> &'static str {
    let current = ring.keys().iter().position(|key| key.id == *ring.current());
    match current {
        Some(current) if index == current => "current",
        Some(current) if index > current => "waiting",
        _ => "old",
    }
}

fn list(ring: &Ring, progress: Option<&Progress>, files: &SealedFiles, json: bool) -> String {
    let records = |id: &KeyId| files.by_key.get(id.as_str()).copied().unwrap_or(0);
    let done = progress.is_some_and(|p| p.is_done(ring.current()));
    let mut out = String::new();
    // Writing to a String cannot fail.
    if json {
        out.push_str("{\"keys\":[");
        for (index, key) in ring.keys().iter().enumerate() {
            out.push_str(if index == 0 { "{\"id\":" } else { ",{\"id\":" });
            push_string(key.id.as_str(), &mut out);
            let _ = write!(out, ",\"state\":\"{}\"", state(ring, index));
            if let Some(at) = key.created_at {
                let _ = write!(out, ",\"created_at\":\"{at}\"");
            }
            let _ = write!(out, ",\"records_in_files\":{}}}", records(&key.id));
        }
        let _ = write!(out, "],\"all_under_current\":{done}}}");
        return out;
    }
    let _ = writeln!(out, "{:<20} {:<8} {:>16}  added", "key", "state", "records in files");
    for (index, key) in ring.keys().iter().enumerate() {
        let at = key.created_at.map_or_else(String::new, |at| at.to_string());
        let _ = writeln!(
            out,
            "{:<20} {:<8} {:>16}  {at}",
            key.id.as_str(),
            state(ring, index),
            records(&key.id)
        );
    }
    out.push_str(&how_far(ring, progress));
    if let Some(lost) = progress.map(|p| p.lost_in_legacy).filter(|lost| *lost > 0) {
        let _ = write!(out, "; credentials of {lost} records were not found in legacy/");
    }
    out
}

/// How far the server says it is.
fn how_far(ring: &Ring, progress: Option<&Progress>) -> String {
    match progress {
        Some(p) if p.is_done(ring.current()) && p.left_some() => format!(
            "the server looked at all records; {} could not be put under the current key, and {} \
             users' files could not be read",
            p.left.values().sum::<u64>(),
            p.unreadable
        ),
        Some(p) if p.is_done(ring.current()) => {
            format!(
                "the server looked at all records of {} users: all are under the current key",
                p.users
            )
        }
        Some(p) if p.current == ring.current().as_str() => format!(
            "the server is putting records under the current key: it noted {} users and {} records",
            p.users, p.rewrapped
        ),
        _ => "the server has not looked at the records since this key became current".to_owned(),
    }
}

/// Why a change of the ring is not made, for a person.
struct Refusal(String);

impl<E: std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

fn retire(
    env: &Env,
    data: &Path,
    file: &RingFile,
    fixed: Option<Ring>,
    id: &KeyId,
) -> Result<String, String> {
    let without = |ring: &mut Ring| -> Result<(), Refusal> {
        ring.retire(id)?;
        let (progress, files) = used(env, data).map_err(Refusal)?;
        if let Some(why) = why_not(ring, progress.as_ref(), &files, id) {
            return Err(Refusal(why));
        }
        match remembered(env, data, id).map_err(Refusal)? {
            0 => Ok(()),
            answers => Err(Refusal(format!(
                "key {id} is in use: {answers} answers remembered for an Idempotency-Key need it; \
                 they count for 24 hours"
            ))),
        }
    };
    if let Some(mut ring) = fixed {
        without(&mut ring).map_err(|refusal| refusal.0)?;
        return Ok(format!("no record uses {id}: take it out of {KEYS_ENVIRONMENT}"));
    }
    existing(file, None)?;
    // Looked at under the ring's lock: nobody makes the key current meanwhile.
    let changed = file.change(without).map_err(|refusal| refusal.0);
    let action = if changed.is_ok() { "keys_retire" } else { "keys_retire_refused" };
    note(env, data, action, &[id]).map_err(|unnoted| match &changed {
        Ok(_) => unnoted,
        Err(why) => format!("{why}; and {unnoted}"),
    })?;
    changed.map(|_| format!("{id} is retired"))
}

/// Why a key cannot go, with counts; `None` where nothing needs it.
fn why_not(
    ring: &Ring,
    progress: Option<&Progress>,
    files: &SealedFiles,
    id: &KeyId,
) -> Option<String> {
    let in_files = files.by_key.get(id.as_str()).copied().unwrap_or(0);
    let left = progress.and_then(|p| p.left.get(id.as_str())).copied().unwrap_or(0);
    if in_files > 0 || left > 0 {
        return Some(format!(
            "key {id} is in use: {in_files} records in files are sealed with it, and {left} could \
             not be put under the current key ({}; files follow at their next checkpoint)",
            how_far(ring, progress)
        ));
    }
    let unreadable = files.unreadable.max(progress.map_or(0, |p| p.unreadable));
    if unreadable == 0 && progress.is_some_and(|p| p.is_done(ring.current())) {
        return None;
    }
    Some(format!(
        "key {id} may be in use: 0 records in files are sealed with it, but {unreadable} files \
         cannot be read, and {}; let the server run until it is done",
        how_far(ring, progress)
    ))
}
