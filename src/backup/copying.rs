//! Files to other places: a second name where the file system can, else a copy.

use std::io;
use std::path::Path;

use crate::env::{FileSystem, OpenMode};

/// Bytes copied at once.
const PIECE: usize = 1 << 20;

/// Copies a file to a new one, and answers its length and checksum. On return the bytes survive
/// power loss; the name does once its folder is synced.
pub(super) fn copy(fs: &dyn FileSystem, from: &Path, to: &Path) -> io::Result<(u64, u32)> {
    let target = fs.open(to, OpenMode::CreateNew)?;
    let mut at = 0;
    let sums = read(fs, from, &mut |piece| {
        target.write_all_at(piece, at)?;
        at += piece.len() as u64;
        Ok(())
    })?;
    target.sync_data()?;
    Ok(sums)
}

/// The same, for nobody's eyes but the owner's.
pub(super) fn copy_private(fs: &dyn FileSystem, from: &Path, to: &Path) -> io::Result<(u64, u32)> {
    let bytes = fs.read(from)?;
    fs.replace_private(to, &bytes)?;
    Ok((bytes.len() as u64, crc32c::crc32c(&bytes)))
}

/// Reads a file piece by piece, and answers its length and checksum.
pub(super) fn read(
    fs: &dyn FileSystem,
    from: &Path,
    visit: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<(u64, u32)> {
    let source = fs.open(from, OpenMode::Read)?;
    let len = source.len()?;
    let (mut at, mut crc) = (0_u64, 0_u32);
    let mut buffer = vec![0; PIECE];
    while at < len {
        let piece = usize::try_from(len - at).unwrap_or(PIECE).min(PIECE);
        let piece = buffer.get_mut(..piece).unwrap_or_default();
        source.read_exact_at(piece, at)?;
        crc = crc32c::crc32c_append(crc, piece);
        visit(piece)?;
        at += piece.len() as u64;
    }
    Ok((len, crc))
}

/// Gives a file another name where the file system can, and answers whether it could.
pub(super) fn link(fs: &dyn FileSystem, from: &Path, to: &Path) -> io::Result<bool> {
    match fs.hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::CrossesDevices
                    | io::ErrorKind::Unsupported
                    | io::ErrorKind::TooManyLinks
                    | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

/// Removes a folder and everything in it.
pub(super) fn remove_tree(fs: &dyn FileSystem, folder: &Path) -> io::Result<()> {
    for entry in fs.list(folder)? {
        let path = folder.join(&entry.name);
        if entry.kind == crate::env::FileKind::Dir {
            remove_tree(fs, &path)?;
        } else {
            fs.remove_file(&path)?;
        }
    }
    match fs.remove_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
