//! One record as bytes. `docs/formats/log.md` has the layout.
//!
//! Invariants: a frame's length is a multiple of 8; any change of one byte, padding included, is
//! found by [`decode`]; decoding never reads beyond the slice it was given and never allocates by
//! what a damaged length says.
//!
//! A frame is made in two steps: [`encode`] on the appender's thread, without a checksum, and
//! [`seal_all`] on the writer's, which knows what is durable by then.

use thiserror::Error;

use super::Lsn;
use super::bytes_at::{put, u16_at, u32_at, u64_at};
use crate::domain::{Month, PartitionKey, Partitioning, Table, UserId};

/// Bytes before the keys.
pub(crate) const FRAME_HEADER_BYTES: usize = 32;
/// Frames begin at multiples of this.
pub(crate) const FRAME_ALIGN: usize = 8;
/// The one version there is.
const FRAME_VERSION: u8 = 1;
/// Table, length of the user id, month.
const KEY_HEADER_BYTES: usize = 6;

/// What a record does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordKind {
    /// Changes rows of the partitions it names.
    Changes,
    /// Erases a user: everything of theirs with a lower LSN.
    EraseUser,
}

impl RecordKind {
    fn number(self) -> u8 {
        match self {
            Self::Changes => 1,
            Self::EraseUser => 2,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Changes),
            2 => Some(Self::EraseUser),
            _ => None,
        }
    }
}

/// Why bytes are not a record.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub(crate) enum FrameError {
    #[error("nothing was written here")]
    End,
    #[error("a record that does not fit into what is left")]
    Short,
    #[error("the checksum does not match")]
    Checksum,
    #[error("the padding is not zero")]
    Padding,
    #[error("a record of version {0}, which this program does not know")]
    Version(u8),
    #[error("a record that is whole but makes no sense: {0}")]
    Malformed(&'static str),
}

impl FrameError {
    /// Whether bytes are missing or changed, as after a crash; otherwise they are what was
    /// written, and cutting them away would lose data.
    pub(crate) fn is_damage(self) -> bool {
        matches!(self, Self::End | Self::Short | Self::Checksum | Self::Padding)
    }
}

/// A partition key as a frame holds it; for an erasure, table and month are 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyRef<'a> {
    table: u8,
    month: u32,
    user: &'a str,
}

impl<'a> KeyRef<'a> {
    pub(crate) fn of(key: &'a PartitionKey) -> Self {
        Self {
            table: key.table().number(),
            month: key.month().map_or(0, Month::number),
            user: key.user().as_str(),
        }
    }

    pub(crate) fn erasing(user: &'a UserId) -> Self {
        Self { table: 0, month: 0, user: user.as_str() }
    }

    /// The partition it names.
    pub(crate) fn partition(&self) -> Result<PartitionKey, FrameError> {
        let table = Table::from_number(self.table).ok_or(FrameError::Malformed("unknown table"))?;
        let month = match table.spec().partitioning {
            Partitioning::PerUser if self.month == 0 => None,
            _ => Some(Month::from_number(self.month).ok_or(FrameError::Malformed("bad month"))?),
        };
        PartitionKey::of_month(&self.user_id()?, table, month)
            .ok_or(FrameError::Malformed("month and table do not fit"))
    }

    /// The user it names.
    pub(crate) fn user_id(&self) -> Result<UserId, FrameError> {
        UserId::checked(self.user).map_err(|_| FrameError::Malformed("bad user id"))
    }

    fn bytes(&self) -> usize {
        KEY_HEADER_BYTES + self.user.len()
    }
}

/// The sizes of a frame to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameSize {
    keys: u16,
    keys_bytes: u32,
    length: u32,
    /// All of it, padding included.
    pub(crate) frame: u32,
}

impl FrameSize {
    /// Sizes for these keys and a payload of so many bytes; `None` where the format's fields
    /// cannot hold them. Second, the bytes of keys and payload together.
    pub(crate) fn of<'a>(
        keys: impl Iterator<Item = KeyRef<'a>>,
        payload: usize,
    ) -> (Option<Self>, usize) {
        let (mut count, mut keys_bytes) = (0_usize, 0_usize);
        for key in keys {
            count += 1;
            keys_bytes += key.bytes();
        }
        let length = keys_bytes.saturating_add(payload);
        let size = (|| {
            Some(Self {
                keys: u16::try_from(count).ok()?,
                keys_bytes: u32::try_from(keys_bytes).ok()?,
                length: u32::try_from(length).ok()?,
                frame: u32::try_from(padded(length.checked_add(FRAME_HEADER_BYTES)?)?).ok()?,
            })
        })();
        (size, length)
    }
}

fn padded(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(FRAME_ALIGN)
}

/// Appends a frame that still lacks its checksum and its `synced` LSN.
pub(crate) fn encode<'a>(
    out: &mut Vec<u8>,
    size: FrameSize,
    lsn: Lsn,
    kind: RecordKind,
    keys: impl Iterator<Item = KeyRef<'a>>,
    payload: &[u8],
) {
    let start = out.len();
    out.extend_from_slice(&size.length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&lsn.get().to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[FRAME_VERSION, kind.number()]);
    out.extend_from_slice(&size.keys.to_le_bytes());
    out.extend_from_slice(&size.keys_bytes.to_le_bytes());
    for key in keys {
        // A user id has at most 128 bytes.
        out.extend_from_slice(&[key.table, u8::try_from(key.user.len()).unwrap_or(u8::MAX)]);
        out.extend_from_slice(&key.month.to_le_bytes());
        out.extend_from_slice(key.user.as_bytes());
    }
    out.extend_from_slice(payload);
    out.resize(start + size.frame as usize, 0);
}

/// Completes every frame in `frames`: what is durable by now, then the checksum. `false` where
/// the bytes are not a run of frames that [`encode`] made.
#[must_use]
pub(crate) fn seal_all(frames: &mut [u8], synced: Lsn) -> bool {
    let mut rest = frames;
    while !rest.is_empty() {
        let Some(frame_bytes) = frame_bytes_at(rest) else { return false };
        let Some((frame, after)) = rest.split_at_mut_checked(frame_bytes) else { return false };
        if !put(frame, 16, &synced.get().to_le_bytes()) {
            return false;
        }
        let Some(crc) = checksum(frame) else { return false };
        if !put(frame, 4, &crc.to_le_bytes()) {
            return false;
        }
        rest = after;
    }
    true
}

/// Bytes of the frame at the slice's start, padding included, by its length field.
fn frame_bytes_at(bytes: &[u8]) -> Option<usize> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    padded(length.checked_add(FRAME_HEADER_BYTES)?)
}

/// CRC32C (Castagnoli, as iSCSI has it) of the length field, then of everything after the
/// checksum field up to the padding.
fn checksum(frame: &[u8]) -> Option<u32> {
    let length = usize::try_from(u32_at(frame, 0)?).ok()?;
    let crc = crc32c::crc32c(frame.get(..4)?);
    Some(crc32c::crc32c_append(crc, frame.get(8..FRAME_HEADER_BYTES + length)?))
}

/// A record inside a slice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) lsn: Lsn,
    /// The highest LSN that was durable when this record was written.
    pub(crate) synced: Lsn,
    pub(crate) kind: RecordKind,
    pub(crate) payload: &'a [u8],
    /// All of it, padding included.
    pub(crate) bytes: usize,
    keys: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The keys, each with the bytes it is made of.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&'a [u8], KeyRef<'a>)> + use<'a> {
        let mut rest = self.keys;
        std::iter::from_fn(move || {
            let (raw, key, after) = split_key(rest)?;
            rest = after;
            Some((raw, key))
        })
    }
}

fn split_key(bytes: &[u8]) -> Option<(&[u8], KeyRef<'_>, &[u8])> {
    let user_bytes = usize::from(*bytes.get(1)?);
    let (raw, after) = bytes.split_at_checked(KEY_HEADER_BYTES + user_bytes)?;
    let user = std::str::from_utf8(raw.get(KEY_HEADER_BYTES..)?).ok()?;
    Some((raw, KeyRef { table: *raw.first()?, month: u32_at(raw, 2)?, user }, after))
}

/// Whether the slice might begin with a record whose LSN and `synced` pass `wanted`: a cheap
/// question before [`decode`], for a search through every offset.
pub(crate) fn may_begin(bytes: &[u8], wanted: impl FnOnce(Lsn, Lsn) -> bool) -> bool {
    let fields = (u32_at(bytes, 0), u64_at(bytes, 8), u64_at(bytes, 16));
    let (Some(length), Some(lsn), Some(synced)) = fields else { return false };
    length > 0 && synced < lsn && wanted(Lsn::new(lsn), Lsn::new(synced))
}

/// Reads the record at the slice's start.
pub(crate) fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let (Some(length), Some(crc)) = (u32_at(bytes, 0), u32_at(bytes, 4)) else {
        return Err(FrameError::End);
    };
    if length == 0 && crc == 0 {
        return Err(FrameError::End);
    }
    let frame = frame_bytes_at(bytes).and_then(|n| bytes.get(..n)).ok_or(FrameError::Short)?;
    if checksum(frame) != Some(crc) {
        return Err(FrameError::Checksum);
    }
    let end = FRAME_HEADER_BYTES + length as usize;
    if frame.get(end..).is_none_or(|padding| padding.iter().any(|b| *b != 0)) {
        return Err(FrameError::Padding);
    }
    match frame.get(24) {
        Some(&FRAME_VERSION) => {}
        other => return Err(FrameError::Version(other.copied().unwrap_or(0))),
    }
    decode_checked(frame, end).ok_or(FrameError::Malformed("fields contradict each other"))
}

fn decode_checked(frame: &[u8], end: usize) -> Option<Frame<'_>> {
    let kind = RecordKind::from_number(*frame.get(25)?)?;
    let count = usize::from(u16_at(frame, 26)?);
    let keys_bytes = usize::try_from(u32_at(frame, 28)?).ok()?;
    let (keys, payload) = frame.get(FRAME_HEADER_BYTES..end)?.split_at_checked(keys_bytes)?;
    let decoded = Frame {
        lsn: Lsn::new(u64_at(frame, 8)?),
        synced: Lsn::new(u64_at(frame, 16)?),
        kind,
        payload,
        bytes: frame.len(),
        keys,
    };
    let (mut seen, mut seen_bytes) = (0, 0);
    for (raw, _) in decoded.keys() {
        seen += 1;
        seen_bytes += raw.len();
    }
    let whole = seen == count && seen_bytes == keys_bytes && count > 0;
    (whole && (kind == RecordKind::Changes || count == 1)).then_some(decoded)
}

#[cfg(test)]
#[path = "tests/frame.rs"]
mod tests;
