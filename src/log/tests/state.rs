use super::*;
use crate::domain::Table;

fn state() -> State {
    let mut segments = Segments::default();
    segments.set(Lsn::new(1), 1024);
    State {
        phase: Phase::Running,
        epoch: 1,
        rolled_to: Lsn::NONE,
        next: Lsn::new(1),
        tail: Tail::empty(Lsn::new(1), 1024),
        pending: Batch::default(),
        progress: Progress::default(),
        segments,
        active: Lsn::new(1),
        index: Index::default(),
        erasures: BTreeMap::new(),
        waiters: Vec::new(),
        sync_wanted: Lsn::NONE,
        full: None,
        counters: WriterCounters::default(),
        writer_sleeps: false,
        wanted: 0,
    }
}

fn append(state: &mut State, options: &LogOptions, payload: &[u8]) -> Result<Lsn, AppendError> {
    let key = PartitionKey::whole(&UserId::checked("u").unwrap(), Table::Platforms);
    let size = FrameSize::of(std::iter::once(KeyRef::of(&key)), payload.len()).0.unwrap();
    let record = Record { size, kind: RecordKind::Changes, payload };
    let number = state.index.intern(&key);
    let streams = std::iter::once((number, &key));
    state.append_changes(options, 1, &record, streams, &mut Some(Box::new(|_| {})))
}

fn options() -> LogOptions {
    LogOptions { segment_bytes: 1024, max_log_bytes: 4096, ..LogOptions::default() }
}

#[test]
fn plans_segments_as_records_come() {
    let mut state = state();
    let options = options();
    for _ in 0..5 {
        append(&mut state, &options, &[0; 400]).unwrap();
    }
    let planned: Vec<_> = state.pending.chunks.iter().map(|c| (c.opening, c.last.get())).collect();
    let create = |first| Opening::Create { first: Lsn::new(first), capacity: 1024 };
    assert_eq!(planned, [(Opening::Continue, 2), (create(3), 4), (create(5), 5)]);
    assert_eq!((state.segments.len(), state.segments.bytes()), (3, 3072));
    let last = state.pending.chunks.last().unwrap();
    assert_eq!(last.end, state.pending.bytes.len());
}

#[test]
fn rolling_back_leaves_no_trace() {
    let mut state = state();
    let options = options();
    append(&mut state, &options, &[0; 400]).unwrap();
    let (tail, bytes) = (state.tail, state.segments.bytes());
    for _ in 0..4 {
        append(&mut state, &options, &[0; 400]).unwrap();
    }
    let dones = state.roll_back(Lsn::new(1), tail);
    assert_eq!(dones.len(), 5);
    assert_eq!((state.tail, state.segments.bytes(), state.segments.len()), (tail, bytes, 1));
    assert_eq!((state.next, state.index.entries()), (Lsn::new(2), 1));
    assert!(state.pending.is_empty() && !state.has_work());
}

#[test]
fn a_refused_append_changes_nothing() {
    let mut state = state();
    let options = LogOptions { max_log_bytes: 1024, ..options() };
    append(&mut state, &options, &[0; 800]).unwrap();
    let before = (state.next, state.tail, state.segments.bytes(), state.pending.bytes.len());
    assert_eq!(append(&mut state, &options, &[0; 800]), Err(AppendError::LogFull));
    let after = (state.next, state.tail, state.segments.bytes(), state.pending.bytes.len());
    assert_eq!(before, after);
    assert_eq!(state.full, Some(FullReason::Limit));
}
