use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn sealed(lsn: Lsn, synced: Lsn, keys: &[PartitionKey], payload: &[u8]) -> Vec<u8> {
    let refs = keys.iter().map(KeyRef::of);
    let (size, _) = FrameSize::of(refs.clone(), payload.len());
    let mut bytes = Vec::new();
    encode(&mut bytes, size.unwrap(), lsn, RecordKind::Changes, refs, payload);
    assert!(seal_all(&mut bytes, synced));
    bytes
}

fn key() -> impl Strategy<Value = PartitionKey> {
    ("[a-zé@/]{1,40}", 0_usize..4, 1_u16..9999, 1_u8..=12).prop_map(|(user, table, year, month)| {
        let user = UserId::checked(&user).unwrap();
        let table = Table::ALL[table];
        match table.spec().partitioning {
            Partitioning::PerUser => PartitionKey::whole(&user, table),
            Partitioning::Monthly => {
                PartitionKey::monthly(&user, table, Month::new(year, month).unwrap())
            }
        }
    })
}

proptest! {
    #[test]
    fn round_trips(
        lsn in 1_u64..,
        keys in vec(key(), 1..5),
        payload in vec(any::<u8>(), 0..300),
        after in vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = sealed(Lsn::new(lsn), Lsn::new(lsn - 1), &keys, &payload);
        prop_assert_eq!(bytes.len() % FRAME_ALIGN, 0);
        let frame_bytes = bytes.len();
        bytes.extend(after);
        let frame = decode(&bytes).unwrap();
        prop_assert_eq!(frame.lsn, Lsn::new(lsn));
        prop_assert_eq!(frame.synced, Lsn::new(lsn - 1));
        prop_assert_eq!(frame.bytes, frame_bytes);
        prop_assert_eq!(frame.payload, &payload[..]);
        let read: Vec<_> = frame.keys().map(|(_, key)| key.partition().unwrap()).collect();
        prop_assert_eq!(read, keys);
    }

    #[test]
    fn any_byte_changed_is_found(
        keys in vec(key(), 1..3),
        payload in vec(any::<u8>(), 0..40),
        change in 1_u8..,
    ) {
        let bytes = sealed(Lsn::new(7), Lsn::new(5), &keys, &payload);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            prop_assert!(decode(&changed).is_err(), "byte {}", at);
        }
        for len in 0..bytes.len() {
            prop_assert!(decode(&bytes[..len]).is_err(), "length {}", len);
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = seal_all(&mut bytes.clone(), Lsn::NONE);
    }
}

#[test]
fn seals_a_run_of_frames() {
    let key = PartitionKey::whole(&UserId::checked("u").unwrap(), Table::Platforms);
    let one = sealed(Lsn::new(1), Lsn::NONE, std::slice::from_ref(&key), b"one");
    let two = sealed(Lsn::new(2), Lsn::NONE, &[key], b"twotwotwotwo");
    let mut run = [one.clone(), two.clone()].concat();
    assert!(seal_all(&mut run, Lsn::NONE));
    assert_eq!(run, [one, two].concat(), "sealing again with the same LSN changes nothing");
    assert!(seal_all(&mut run, Lsn::new(9)));
    let first = decode(&run).unwrap();
    assert_eq!(
        (first.synced, decode(&run[first.bytes..]).unwrap().synced),
        (Lsn::new(9), Lsn::new(9))
    );
    let half = run.len() - 8;
    assert!(!seal_all(&mut run[..half], Lsn::new(9)), "half a frame");
}

/// Changes a byte and makes the checksum right again.
fn resealed(mut bytes: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    bytes[at] = value;
    let crc = checksum(&bytes).unwrap();
    put(&mut bytes, 4, &crc.to_le_bytes());
    bytes
}

#[test]
fn whole_records_that_make_no_sense_are_no_damage() {
    let key = PartitionKey::whole(&UserId::checked("user").unwrap(), Table::Platforms);
    let bytes = sealed(Lsn::new(1), Lsn::NONE, &[key], b"x");
    let future = decode(&resealed(bytes.clone(), 24, 2)).unwrap_err();
    assert_eq!(future, FrameError::Version(2));
    assert!(!future.is_damage());
    // Kind, number of keys, bytes of keys, length of the user id, a byte that is not UTF-8.
    for (at, value) in [(25, 9), (26, 2), (26, 0), (28, 200), (28, 9), (33, 3), (38, 0xff)] {
        let error = decode(&resealed(bytes.clone(), at, value)).unwrap_err();
        assert!(matches!(error, FrameError::Malformed(_)), "byte {at}: {error}");
        assert!(!error.is_damage());
    }
    let table = resealed(bytes, 32, 77);
    let (_, key) = decode(&table).unwrap().keys().next().unwrap();
    assert!(key.partition().is_err());
}

#[test]
fn zeros_are_the_end() {
    assert_eq!(decode(&[0; 64]), Err(FrameError::End));
    assert_eq!(decode(&[]), Err(FrameError::End));
    assert_eq!(decode(&[1, 0, 0]), Err(FrameError::End));
}
