//! From the bytes of a request to a row, and from a row to the bytes of an answer.

use std::hint::black_box;

use audience_store::domain::Table;
use audience_store::domain::input::Body;
use audience_store::domain::limits::InputLimits;
use audience_store::store::Store;
use criterion::{Criterion, Throughput};

use crate::rows;

pub fn body_to_answer(criterion: &mut Criterion) {
    let (limits, user) = (InputLimits::default(), rows::user());
    let compact: serde_json::Value = serde_json::from_slice(rows::CLIENT_BODY).expect("body");
    let body = compact.to_string().into_bytes();
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes(body.len() as u64));
    let to_row = |body: &[u8]| {
        let patch = Body::parse(body, &limits).expect("body").patch(Table::Audiences);
        let patch = patch.expect("patch");
        patch.check_create().expect("whole");
        patch.created(rows::id(0), rows::at(0), rows::at(0))
    };
    group.bench_function("body to row", |bencher| bencher.iter(|| to_row(black_box(&body))));
    let row = to_row(&body);
    group.bench_function("row to answer", |bencher| {
        let mut out = String::with_capacity(body.len() * 2);
        bencher.iter(|| {
            out.clear();
            Store::render(black_box(&row), &user, None, &mut out);
        });
    });
    group.bench_function("body to row to answer", |bencher| {
        let mut out = String::with_capacity(body.len() * 2);
        bencher.iter(|| {
            out.clear();
            Store::render(&to_row(black_box(&body)), &user, None, &mut out);
        });
    });
    group.finish();
}
