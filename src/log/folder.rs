//! The log's folder as files: for opening, inspecting and truncating.

use std::io;
use std::path::Path;

use super::segment::{file_name, first_of_name};
use super::{LogError, Lsn};
use crate::env::{Env, File, FileKind, OpenMode};

/// How the folder itself is called in errors.
pub(crate) const FOLDER: &str = "the log's folder";
/// Bytes read or written at once.
const PIECE: usize = 4 << 20;

/// A file whose name says that it is a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentFile {
    /// First LSN, by the name.
    pub(crate) first: Lsn,
    /// Bytes.
    pub(crate) bytes: u64,
}

impl SegmentFile {
    pub(crate) fn name(&self) -> String {
        file_name(self.first)
    }
}

/// The segments, ascending.
pub(crate) fn segment_files(env: &Env, dir: &Path) -> Result<Vec<SegmentFile>, LogError> {
    let mut files = Vec::new();
    for entry in env.fs.list(dir).map_err(LogError::io("list", FOLDER))? {
        let Some(first) = first_of_name(&entry.name).filter(|_| entry.kind == FileKind::File)
        else {
            continue;
        };
        let stat = env.fs.stat(&dir.join(&entry.name));
        let bytes = stat.map_err(LogError::io("look at", &entry.name))?.len;
        files.push(SegmentFile { first, bytes });
    }
    files.sort_by_key(|file| file.first);
    Ok(files)
}

/// Reads a whole segment into `into`, replacing what it held; `read` hears of bytes as they come.
/// One that a running server removes meanwhile, and makes shorter then, counts as not found.
pub(crate) fn read_segment(
    env: &Env,
    dir: &Path,
    file: &SegmentFile,
    into: &mut Vec<u8>,
    read: &mut dyn FnMut(u64),
) -> Result<(), LogError> {
    let name = file.name();
    let result = (|| {
        let bytes = usize::try_from(file.bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let open = env.fs.open(&dir.join(&name), OpenMode::Read)?;
        into.clear();
        into.resize(bytes, 0);
        let mut offset = 0;
        for piece in into.chunks_mut(PIECE) {
            open.read_exact_at(piece, offset).map_err(|e| match open.has_name() {
                Ok(false) => io::ErrorKind::NotFound.into(),
                _ => e,
            })?;
            offset += piece.len() as u64;
            read(piece.len() as u64);
        }
        Ok(())
    })();
    result.map_err(LogError::io("read", &name))
}

/// Writes bytes again that are there already. After a failed fsync the system may count pages as
/// written that the disk never got; only writing them again makes the next sync mean something.
pub(crate) fn rewrite(file: &dyn File, segment: &[u8], from: usize, to: usize) -> io::Result<()> {
    let mut offset = from as u64;
    for piece in segment.get(from..to).unwrap_or_default().chunks(PIECE) {
        file.write_all_at(piece, offset)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::FileSystem;
    use crate::log::tests::memory_fs::MemoryFs;
    use crate::log::tests::{dir, env_of, segment};

    /// What becomes of reading a segment that is made shorter after its first piece.
    fn read_while(meanwhile: impl Fn(&MemoryFs)) -> io::ErrorKind {
        let fs = MemoryFs::default();
        let env = env_of(&fs);
        fs.put(&segment(1), &vec![7; PIECE * 2]);
        let [file] = segment_files(&env, &dir()).expect("list")[..] else { panic!("one file") };
        let open = env.fs.open(&segment(1), OpenMode::Write).expect("open");
        let cut = &mut |_| {
            meanwhile(&fs);
            open.set_len(1).expect("cut");
        };
        match read_segment(&env, &dir(), &file, &mut Vec::new(), cut) {
            Err(LogError::Io { source, .. }) => source.kind(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_segment_that_goes_while_it_is_read_is_gone_and_one_that_is_cut_is_not() {
        let gone = read_while(|fs| fs.remove_file(&segment(1)).expect("remove"));
        assert_eq!(gone, io::ErrorKind::NotFound);
        assert_eq!(read_while(|_| ()), io::ErrorKind::UnexpectedEof);
    }
}
