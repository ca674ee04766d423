//! Random histories with crashes at random places: whatever was acknowledged is there, in order,
//! and nothing that was rolled back comes back.

use proptest::collection::vec;
use proptest::prelude::*;

use super::memory_fs::Dice;
use super::*;
use crate::env::Worker;

#[derive(Clone, Debug)]
enum Action {
    Append { user: u8, bytes: u16 },
    Step,
    Spare,
    Rotate,
    Publish { user: u8 },
    Remove,
    Full(bool),
    FailSync,
    Crash { seed: u64 },
    Erase { user: u8 },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => (0_u8..3, 0_u16..700).prop_map(|(user, bytes)| Action::Append { user, bytes }),
        8 => Just(Action::Step),
        4 => Just(Action::Spare),
        1 => Just(Action::Rotate),
        2 => (0_u8..3).prop_map(|user| Action::Publish { user }),
        1 => Just(Action::Remove),
        1 => any::<bool>().prop_map(Action::Full),
        1 => Just(Action::FailSync),
        2 => any::<u64>().prop_map(|seed| Action::Crash { seed }),
        1 => (0_u8..3).prop_map(|user| Action::Erase { user }),
    ]
}

/// What must be true of one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Pending,
    Acknowledged,
    /// Rolled back for want of space: never written, must not be found.
    Gone,
    /// A write or sync of it failed, or it was pending at a crash: there or not.
    Unknown,
}

struct Model {
    /// Records by their tag: user, fate.
    records: Vec<(u8, Fate)>,
    /// For each user, the tag below which the file holds everything, or an erasure took it.
    published: [usize; 3],
}

fn name(user: u8) -> String {
    format!("user{user}")
}

fn payload(tag: usize, bytes: u16) -> Vec<u8> {
    let mut payload = (tag as u64).to_le_bytes().to_vec();
    payload.resize(8 + usize::from(bytes), u8::try_from(tag % 251).unwrap());
    payload
}

impl Model {
    fn hear(&mut self, bed: &Bed) {
        for (tag, how) in bed.answers() {
            let fate = match how {
                Ok(()) => Fate::Acknowledged,
                Err(LogFailure::StorageFull) => Fate::Gone,
                Err(_) => Fate::Unknown,
            };
            let record = &mut self.records[usize::try_from(tag).unwrap()];
            assert_eq!(record.1, Fate::Pending, "answered once");
            record.1 = fate;
        }
    }

    /// Everything acknowledged and not published is there, in order; what else is there may be.
    fn check(&self, bed: &Bed) {
        for user in 0..3 {
            let found: Vec<usize> = bed
                .payloads(&platforms(&name(user)))
                .iter()
                .map(|p| usize::try_from(u64::from_le_bytes(p[..8].try_into().unwrap())).unwrap())
                .collect();
            assert!(found.is_sorted_by(|a, b| a < b), "in order, each once");
            let from = self.published[usize::from(user)];
            for (tag, record) in self.records.iter().enumerate().skip(from) {
                let there = found.contains(&tag);
                match record {
                    (owner, _) if *owner != user => assert!(!there),
                    (_, Fate::Acknowledged) => assert!(there, "record {tag} is lost"),
                    (_, Fate::Gone) => assert!(!there, "record {tag} came back"),
                    _ => {}
                }
            }
        }
    }

    /// Opens the log again; what nobody was told of may be there or not, from now on for good.
    fn reopen(&mut self, fs: &MemoryFs, options: LogOptions) -> Bed {
        for record in self.records.iter_mut().filter(|r| r.1 == Fate::Pending) {
            record.1 = Fate::Unknown;
        }
        let bed = open(fs, options);
        self.check(&bed);
        for user in 0..3 {
            let found = bed.payloads(&platforms(&name(user)));
            for (tag, record) in self.records.iter_mut().enumerate() {
                if record.0 == user && record.1 == Fate::Unknown {
                    let there = found.iter().any(|p| p[..8] == (tag as u64).to_le_bytes());
                    record.1 = if there { Fate::Acknowledged } else { Fate::Gone };
                }
            }
        }
        bed
    }
}

fn play(actions: &[Action], options: LogOptions) {
    let mut bed = open(&MemoryFs::default(), options);
    let mut model = Model { records: Vec::new(), published: [0; 3] };
    for action in actions {
        match *action {
            Action::Append { user, bytes } => {
                let tag = model.records.len();
                let key = platforms(&name(user));
                match bed.append(&key, tag as u64, &payload(tag, bytes)) {
                    Ok(_) => model.records.push((user, Fate::Pending)),
                    Err(AppendError::LogFull | AppendError::Poisoned) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            Action::Step => {
                bed.writer.step();
            }
            Action::Spare => {
                bed.maker.step();
            }
            Action::Rotate => bed.log.rotate(),
            Action::Publish { user } => {
                let key = platforms(&name(user));
                bed.settle();
                model.hear(&bed);
                bed.log.published(&key, bed.log.durable_lsn());
                // Only what is known to be there can be in the file.
                model.published[usize::from(user)] = model.records.len();
            }
            Action::Remove => {
                bed.log.remove_published_segments().unwrap();
            }
            Action::Full(full) => bed.fs.faults(|f| f.full = full),
            Action::FailSync => bed.fs.faults(|f| f.sync_fails_after = Some(0)),
            Action::Erase { user } => {
                bed.settle();
                model.hear(&bed);
                let erased = Arc::new(Mutex::new(false));
                let told = Arc::clone(&erased);
                let name = crate::log::tests::user(&name(user));
                let appended = bed.log.append_erase(&name, move |how| {
                    *told.lock().unwrap() = how.is_ok();
                });
                bed.settle();
                if let (Ok(lsn), true) = (appended, *erased.lock().unwrap()) {
                    bed.log.erase_finished(lsn);
                    model.published[usize::from(user)] = model.records.len();
                    assert_eq!(bed.log.unpublished(&platforms(name.as_str())), []);
                } else if appended.is_ok() {
                    // Whether it was written is unknown: so is what it would have taken.
                    model.published[usize::from(user)] = model.records.len();
                }
            }
            Action::Crash { seed } => {
                model.hear(&bed);
                let fs = bed.fs.crash(&mut Dice(seed));
                bed = model.reopen(&fs, options);
            }
        }
        model.hear(&bed);
        let poisoned = matches!(bed.log.status().state, LogState::Poisoned(_));
        if poisoned {
            let fs = bed.fs.clone();
            fs.faults(|f| *f = memory_fs::Faults::default());
            bed = model.reopen(&fs, options);
        }
    }
    bed.fs.faults(|f| *f = memory_fs::Faults::default());
    bed.settle();
    model.hear(&bed);
    model.check(&bed);
    let status = bed.log.status();
    let fs = bed.fs.crash(&mut Dice(actions.len() as u64));
    let bed = model.reopen(&fs, options);
    assert!(bed.log.last_lsn() >= status.durable_lsn);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_records_survive(actions in vec(action(), 1..80)) {
        play(&actions, LogOptions { max_log_bytes: 6 << 10, ..small() });
    }
}
