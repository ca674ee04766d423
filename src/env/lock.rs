//! Short locks between processes: the server and a command that changes the same file.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::fs::{File, FileSystem, OpenMode};

/// How long a lock that somebody else holds is waited for. Holders write a file and let go.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long between two tries.
const PAUSE: Duration = Duration::from_millis(2);

/// Takes the exclusive lock of the file at `path`, making an empty one where it is missing.
/// Held until the file is dropped. Blocking, for up to ten seconds.
///
/// # Errors
/// `TimedOut` where somebody else holds it all the time; whatever the file system says.
pub fn lock_file(fs: &dyn FileSystem, path: &Path) -> io::Result<Arc<dyn File>> {
    let file = match fs.open(path, OpenMode::Write) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            match fs.open(path, OpenMode::CreatePrivate) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    fs.open(path, OpenMode::Write)
                }
                other => other,
            }
        }
        other => other,
    }?;
    let mut waited = Duration::ZERO;
    while !file.try_lock()? {
        if waited >= PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(PAUSE);
        waited += PAUSE;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::OsFileSystem;

    #[test]
    fn the_second_waits_for_the_first() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("LOCK");
        let first = lock_file(&OsFileSystem, &path).expect("free");
        let (begun, waiting) = std::sync::mpsc::channel();
        let second = std::thread::spawn({
            let path = path.clone();
            move || {
                begun.send(()).expect("a listener");
                lock_file(&OsFileSystem, &path).map(|_| ())
            }
        });
        waiting.recv().expect("begun");
        assert!(!second.is_finished(), "the lock is held");
        drop(first);
        second.join().expect("join").expect("free again");
    }
}
