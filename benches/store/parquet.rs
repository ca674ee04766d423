//! Rows to a Parquet file, and back: files of one row, of a usual month, of more than a row group.

use std::collections::HashSet;
use std::hint::black_box;
use std::sync::Arc;

use audience_store::domain::{Row, Table};
use audience_store::parquet::{
    Base, Changes, Encoded, Fetched, FileView, Footer, Options, SCHEMA_VERSION, decode_group,
    encode,
};
use criterion::{BenchmarkId, Criterion, Throughput};
use uuid::Uuid;

use crate::rows;

const SIZES: [usize; 3] = [1, 100, 5000];
/// Rows that a checkpoint appends where 1,000 users save 15,000 records a second.
const APPENDED: usize = 73;

fn footer() -> Footer {
    Footer {
        user: rows::user(),
        applied_lsn: 1,
        log_id: Uuid::nil(),
        schema_version: SCHEMA_VERSION,
        foreign_ids: 0,
        adopted: Vec::new(),
    }
}

/// Changes that are all new rows.
fn fresh(count: usize) -> Changes {
    all_new(rows::rows(count))
}

fn all_new(upserts: Vec<Arc<Row>>) -> Changes {
    let fresh = upserts.iter().map(|row| row.id.clone()).collect();
    Changes { upserts, deletes: HashSet::new(), fresh }
}

fn file(changes: &Changes, base: Option<&Base<'_>>) -> Encoded {
    encode(Table::Audiences, base, changes, &footer(), &Options::default()).expect("file")
}

pub fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parquet/encode");
    for size in SIZES {
        let changes = fresh(size);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("rows", size), |bencher| {
            bencher.iter(|| file(black_box(&changes), None));
        });
    }
    // A checkpoint of a big partition in which one row changed: other row groups are copied.
    let whole = fresh(5000);
    let old = file(&whole, None).bytes;
    let view = FileView::open(&old).expect("view");
    let base = Base { view: &view, source: &old };
    let changed = whole.upserts.last().expect("row");
    let one = Changes { upserts: vec![changed.clone()], ..Changes::default() };
    group.throughput(Throughput::Elements(1));
    group.bench_function("one row of 5000 changed", |bencher| {
        bencher.iter(|| file(black_box(&one), Some(&base)));
    });
    // A partition that is written to all the time: 16 checkpoints, one over the other.
    let appends: Vec<Changes> =
        fresh(APPENDED * 16).upserts.chunks(APPENDED).map(|rows| all_new(rows.to_vec())).collect();
    group.throughput(Throughput::Elements(APPENDED as u64 * 16));
    group.bench_function(format!("16 times {APPENDED} rows more"), |bencher| {
        bencher.iter(|| {
            let mut bytes = file(black_box(&Changes::default()), None).bytes;
            for changes in &appends {
                let view = FileView::open(&bytes).expect("view");
                bytes = file(changes, Some(&Base { view: &view, source: &bytes })).bytes;
            }
            bytes
        });
    });
    group.finish();
}

pub fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parquet/decode");
    for size in SIZES {
        let bytes = file(&fresh(size), None).bytes;
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("rows", size), |bencher| {
            bencher.iter(|| {
                let view = FileView::open(black_box(&bytes)).expect("view");
                let mut read = 0;
                for at in 0..view.groups().len() {
                    let ranges = view.column_ranges(at, None);
                    let fetched = Fetched::read(&bytes, ranges).expect("fetched");
                    read += decode_group(&view, at, &fetched, None).expect("rows").len();
                }
                assert_eq!(read, size);
            });
        });
    }
    group.finish();
}
