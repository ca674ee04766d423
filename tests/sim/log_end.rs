//! What a failed or torn write leaves behind the log's end, where the fsync that should take it away
//! fails too and the process that knew of it is killed: it never comes back behind, or instead of, what
//! was acknowledged since.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use audience_store::domain::{PartitionKey, Table};
use audience_store::env::Env;
use audience_store::log::{Log, LogError, LogFailure, LogOptions, Lsn, Next, Writer};

use crate::client::user;
use crate::dice::Dice;
use crate::disk::{Disk, Faults, Stop};
use crate::trace::Trace;

const SEEDS: u64 = 1500;
const FINE: Faults = Faults { read: 0, write: 0, name: 0, sync: 0, no_space: 0, full: false };

/// What was acknowledged, by LSN.
type Acknowledged = Arc<Mutex<BTreeMap<Lsn, Vec<u8>>>>;

fn key() -> PartitionKey {
    PartitionKey::whole(&user(0), Table::Platforms)
}

fn open(disk: &Disk) -> Result<(Log, Writer), LogError> {
    let env = Env { fs: Arc::new(disk.clone()), ..Env::system() };
    let options = LogOptions { segment_bytes: 4096, ..LogOptions::default() };
    let opened = Log::open_stepped(&env, Path::new("log"), options, &mut |_, _| {});
    opened.map(|(log, writer, _)| (log, writer))
}

/// Appends a batch of records that all have one length, as often as the log takes it.
fn write(log: &Log, writer: &mut Writer, batch: u8, records: u8, acknowledged: &Acknowledged) {
    let stream = log.stream(&key());
    for number in 0..records {
        let payload = [batch, number, 0xaa, 0xaa].repeat(117);
        let noted = Arc::clone(acknowledged);
        let lsn = Arc::new(Mutex::new(Lsn::NONE));
        let told = Arc::clone(&lsn);
        let appended = log.append(
            log.epoch(),
            &[&stream],
            &payload.clone(),
            move |how: Result<(), LogFailure>| {
                if how.is_ok() {
                    let lsn = *told.lock().expect("LSN");
                    noted.lock().expect("noted").insert(lsn, payload);
                }
            },
        );
        match appended {
            Ok(given) => *lsn.lock().expect("LSN") = given,
            // It failed with the one before.
            Err(_) => break,
        }
    }
    while matches!(writer.step(), Next::Again | Next::Linger(_)) {}
}

#[test]
fn what_a_failed_write_left_never_comes_back() {
    let (mut failed, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let disk = Disk::new(Dice::new(seed, 0), Trace::new(false));
        let acknowledged = Acknowledged::default();
        let (log, mut writer) = open(&disk).expect("a new log");
        write(&log, &mut writer, 1, 1, &acknowledged);
        // After a loss of power the system shows what is left, and may fail to take that away.
        let (stop, faults) = match seed % 2 {
            0 => (Stop::Kill, Faults { write: 2000, no_space: 3000, sync: 5000, ..FINE }),
            _ => (Stop::PowerLoss, Faults { sync: 10_000, ..FINE }),
        };
        disk.set(faults);
        write(&log, &mut writer, 2, 4, &acknowledged);
        failed += u64::from(acknowledged.lock().expect("noted").len() < 5);
        disk.restart(stop);

        disk.set(Faults { sync: 7000, ..FINE });
        let (log, mut writer) = loop {
            match open(&disk) {
                Ok(opened) => break opened,
                Err(LogError::Io { .. }) => refused += 1,
                Err(other) => panic!("seed {seed}: {other}"),
            }
            disk.restart(Stop::Kill);
        };
        disk.set(FINE);
        let more = u8::try_from(seed / 2 % 8).expect("few");
        (0..more).for_each(|n| write(&log, &mut writer, 3 + n, 1, &acknowledged));
        disk.restart(Stop::PowerLoss);

        let (log, _writer) = open(&disk).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let read = |at: &_| log.read(at).expect("a record").payload.to_vec();
        let found: Vec<_> = log.unpublished(&key()).iter().map(read).collect();
        let acknowledged = acknowledged.lock().expect("noted");
        for (lsn, payload) in acknowledged.iter() {
            let at = usize::try_from(lsn.get() - 1).expect("index");
            assert!(found.get(at) == Some(payload), "seed {seed}: LSN {lsn}");
        }
        // Everything the second process saw at its start is synced; what it was not told of is not
        // there.
        let after = acknowledged.keys().next_back().map_or(0, |lsn| lsn.get());
        let ghosts = found.iter().skip(usize::try_from(after).expect("index"));
        assert!(more == 0 || ghosts.count() == 0, "seed {seed}: records behind the last");
    }
    assert!(failed > SEEDS / 2 && refused > SEEDS / 4, "{failed} failed, {refused} refused");
}
