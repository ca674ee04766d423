//! The log: batches that are appended and synced, on the disk of the checkout; a record as bytes.

use std::hint::black_box;
use std::sync::Arc;

use audience_store::env::Env;
use audience_store::log::payload::{OpRef, decode, encode};
use audience_store::log::{Log, LogOptions, SyncMode};
use criterion::{BenchmarkId, Criterion, Throughput};

use crate::rows;

/// Appends as many records as a batch has, waits until all are durable, and publishes them, so that
/// the log does not grow: what happens to a segment that is full is in it, too.
pub fn append_and_sync(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("folder");
    let mut payload = Vec::new();
    encode(&[OpRef::Put(&rows::row(rows::CLIENT_BODY, 0))], rows::at(0), &mut payload);
    let mut group = criterion.benchmark_group("log/append_and_sync");
    for (name, sync) in [("always", SyncMode::Always), ("off", SyncMode::Off)] {
        let options = LogOptions { sync, ..LogOptions::default() };
        let dir = folder.path().join(name);
        let (log, _) = Log::open(&Env::system(), &dir, options, &mut |_, _| {}).expect("log");
        let key = rows::key();
        let stream = log.stream(&key);
        for batch in [1_usize, 64, 1000] {
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(BenchmarkId::new(name, batch), |bencher| {
                bencher.iter(|| {
                    for _ in 0..batch {
                        log.append(log.epoch(), &[&stream], &payload, |outcome| {
                            black_box(&outcome);
                        })
                        .expect("append");
                    }
                    let point = log.read_point();
                    let written = runtime.block_on(log.visible_through(point));
                    written.expect("written");
                    log.published(&key, point.lsn);
                    log.remove_published_segments().expect("segments");
                });
            });
        }
        drop(stream);
        log.close().expect("close");
    }
    group.finish();
}

/// What a log record carries, to bytes and back.
pub fn records(criterion: &mut Criterion) {
    let row = Arc::new(rows::row(rows::CLIENT_BODY, 0));
    let (keys, mut payload) = ([rows::key()], Vec::new());
    encode(&[OpRef::Put(&row)], rows::at(0), &mut payload);
    let mut group = criterion.benchmark_group("log/record");
    group.throughput(Throughput::Bytes(payload.len() as u64));
    group.bench_function("encode", |bencher| {
        let mut out = Vec::with_capacity(payload.len());
        bencher.iter(|| {
            out.clear();
            encode(&[OpRef::Put(black_box(&row))], rows::at(0), &mut out);
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| decode(&keys, black_box(&payload)).expect("record"));
    });
    group.finish();
}
