//! Little-endian numbers at a place in a slice, without panics.

/// The `u16` at `at`, where the slice reaches that far.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

/// The `u32` at `at`, where the slice reaches that far.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// The `u64` at `at`, where the slice reaches that far.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

/// Writes `value` over the bytes at `at`; `false` where the slice does not reach that far.
pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> bool {
    let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..value.len())) else {
        return false;
    };
    place.copy_from_slice(value);
    true
}

/// Index after the last byte that is not zero; 0 where all are.
pub(crate) fn end_of_nonzero(bytes: &[u8]) -> usize {
    const BLOCK: usize = 4096;
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let mut end = bytes.len();
    // Whole blocks compare as memory, which matters for tens of megabytes of reserved space.
    for block in bytes.rchunks(BLOCK) {
        if ZEROS.get(..block.len()) != Some(block) {
            let within = block.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
            return end - block.len() + within;
        }
        end -= block.len();
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end() {
        assert_eq!(end_of_nonzero(&[]), 0);
        assert_eq!(end_of_nonzero(&[0; 10_000]), 0);
        for at in [0, 1, 4095, 4096, 5000, 9999] {
            let mut bytes = vec![0; 10_000];
            bytes[at] = 1;
            assert_eq!(end_of_nonzero(&bytes), at + 1);
        }
    }

    #[test]
    fn stays_inside() {
        assert_eq!(u32_at(&[1, 0, 0, 0], 0), Some(1));
        assert_eq!(u32_at(&[1, 0, 0, 0], 1), None);
        assert_eq!(u64_at(&[], 9), None);
        assert!(!put(&mut [0; 3], 2, &[1, 1]));
    }
}
