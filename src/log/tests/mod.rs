//! The log as a whole, on a file system that fails on demand. Units are tested with their files.

mod commit;
mod crash;
mod fixtures;
mod maintenance;
pub(crate) mod memory_fs;
mod opening;
mod space;
mod spare;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memory_fs::MemoryFs;

use super::segment::file_name;
use super::spare::Maker;
use super::*;
use crate::domain::{Micros, Month, PartitionKey, Table, UserId};
use crate::env::{Clock, Env, Random, Space};

/// A clock that stands still until moved.
#[derive(Default)]
pub struct HandClock(AtomicU64);

impl HandClock {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Micros {
        Micros::new(0)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }
}

struct FixedRandom;

impl Random for FixedRandom {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0x5a);
    }
}

/// What became of appends, in the order the log told: what the test called each, and how it went.
type Answers = Arc<Mutex<Vec<(u64, Result<(), LogFailure>)>>>;

/// A log whose writer the test steps.
pub struct Bed {
    pub fs: MemoryFs,
    pub clock: Arc<HandClock>,
    pub log: Log,
    pub writer: Writer,
    pub maker: Maker,
    pub report: OpenReport,
    pub answers: Answers,
}

pub fn dir() -> PathBuf {
    PathBuf::from("log")
}

/// Segments of 1 KiB: a dozen small records each.
pub fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 1024,
        max_record_bytes: 4096,
        max_pending_bytes: 64 << 10,
        max_log_bytes: 1 << 20,
        ..LogOptions::default()
    }
}

pub fn env_on(fs: &MemoryFs, clock: &Arc<HandClock>) -> Env {
    Env {
        clock: clock.clone(),
        random: Arc::new(FixedRandom),
        fs: Arc::new(fs.clone()),
        ..Env::system()
    }
}

pub fn env_of(fs: &MemoryFs) -> Env {
    env_on(fs, &Arc::default())
}

pub fn user(name: &str) -> UserId {
    UserId::checked(name).unwrap()
}

pub fn platforms(name: &str) -> PartitionKey {
    PartitionKey::whole(&user(name), Table::Platforms)
}

pub fn audiences(name: &str, month: u8) -> PartitionKey {
    PartitionKey::monthly(&user(name), Table::Audiences, Month::new(2025, month).unwrap())
}

pub fn segment(first: u64) -> PathBuf {
    dir().join(file_name(Lsn::new(first)))
}

pub fn try_open(fs: &MemoryFs, options: LogOptions) -> Result<Bed, LogError> {
    let clock = Arc::new(HandClock::default());
    let env = env_on(fs, &clock);
    let (log, writer, report) = Log::open_stepped(&env, &dir(), options, &mut |_, _| {})?;
    let maker = Maker::new(Arc::clone(writer.shared()));
    Ok(Bed { fs: fs.clone(), clock, log, writer, maker, report, answers: Answers::default() })
}

pub fn open(fs: &MemoryFs, options: LogOptions) -> Bed {
    try_open(fs, options).unwrap()
}

pub fn new_bed() -> Bed {
    open(&MemoryFs::default(), small())
}

/// A point of the epoch that a log is opened in.
pub fn first(lsn: Lsn) -> ReadPoint {
    ReadPoint { epoch: 1, lsn }
}

impl Bed {
    /// Appends; the answer comes under `tag`.
    pub fn append(&self, key: &PartitionKey, tag: u64, payload: &[u8]) -> Result<Lsn, AppendError> {
        let stream = self.log.stream(key);
        let answers = Arc::clone(&self.answers);
        self.log.append(self.log.epoch(), &[&stream], payload, move |how| {
            answers.lock().unwrap().push((tag, how));
        })
    }

    /// Appends and waits for the answer, which must be good.
    pub fn put(&mut self, key: &PartitionKey, payload: &[u8]) -> Lsn {
        let lsn = self.append(key, u64::MAX, payload).unwrap();
        self.settle();
        assert_eq!(self.answers.lock().unwrap().pop(), Some((u64::MAX, Ok(()))));
        lsn
    }

    /// Steps until there is nothing to do at once.
    pub fn settle(&mut self) -> Next {
        loop {
            match self.writer.step() {
                Next::Again | Next::Linger(_) => {}
                other => return other,
            }
        }
    }

    pub fn answers(&self) -> Vec<(u64, Result<(), LogFailure>)> {
        std::mem::take(&mut self.answers.lock().unwrap())
    }

    /// Payloads of the partition's unpublished records.
    pub fn payloads(&self, key: &PartitionKey) -> Vec<Vec<u8>> {
        let read = |at: &Location| self.log.read(at).unwrap();
        let records: Vec<_> = self.log.unpublished(key).iter().map(read).collect();
        for record in &records {
            assert!(matches!(&record.subject, Subject::Partitions(keys) if keys.contains(key)));
        }
        records.into_iter().map(|record| record.payload.to_vec()).collect()
    }

    /// Closes it and opens it again.
    pub fn reopen(mut self) -> Self {
        self.log.close().unwrap();
        assert_eq!(self.settle(), Next::Stop);
        open(&self.fs, small())
    }
}

/// Changes one byte of a file, durably.
pub fn flip(fs: &MemoryFs, path: &Path, at: usize) {
    let mut bytes = fs.bytes(path);
    bytes[at] ^= 0xff;
    fs.put(path, &bytes);
}

/// What the log says is damaged: file, offset, LSN.
pub fn corruption(result: Result<Bed, LogError>) -> (String, u64, u64) {
    match result.err().expect("the log must not open") {
        LogError::Corrupt { file, offset, lsn, .. } => (file, offset, lsn.get()),
        other => panic!("{other}"),
    }
}

/// Polls a future once.
pub fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
