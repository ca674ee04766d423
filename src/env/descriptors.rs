//! File descriptors: how many the process may have, and what to leave of them for files.
//!
//! Connections take one each, and clients decide how many there are. Files need some too: a log that
//! cannot open its next segment takes no writes.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for files, threads and sockets of the server's own, where there are many.
const FOR_FILES: u64 = 640;

/// Whether an error says that the process or the system has no file descriptor left: nothing was
/// done, and a moment later there may be one.
#[must_use]
pub fn is_no_descriptor(error: &io::Error) -> bool {
    let none = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| none.contains(&code))
}

/// Raises the limit on descriptors as far as the system lets the process, and answers it; `None`
/// for no limit.
#[must_use]
pub fn raise_limit() -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    if now.current == now.maximum {
        return now.current;
    }
    let raised = Rlimit { current: now.maximum, maximum: now.maximum };
    // Where the system refuses, what there is has to do.
    if setrlimit(Resource::Nofile, raised).is_ok() { now.maximum } else { now.current }
}

/// Most connections that leave enough of `descriptors` for files: all but 640, or a quarter of them
/// where that is more. As many again, at most 64, may be there to be told that there are too many.
#[must_use]
pub fn connections_within(descriptors: u64) -> u64 {
    descriptors.saturating_sub(FOR_FILES).max(descriptors / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_keep_their_share() {
        let within = [64, 256, 1024, 2000, 1_048_576].map(connections_within);
        assert_eq!(within, [16, 64, 384, 1360, 1_047_936]);
    }

    #[test]
    fn no_descriptor_is_told_from_no_file() {
        assert!(is_no_descriptor(&Errno::MFILE.into()));
        assert!(is_no_descriptor(&Errno::NFILE.into()));
        assert!(!is_no_descriptor(&Errno::NOENT.into()));
        assert!(!is_no_descriptor(&io::ErrorKind::StorageFull.into()));
    }
}
