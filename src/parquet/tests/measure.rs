use super::support::*;
use crate::domain::*;
use crate::parquet::*;
use std::time::Instant;
fn word(seed: &mut u64) -> String {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    let n = 3 + (*seed >> 60) as usize % 8;
    (0..n)
        .map(|i| {
            let x = (*seed >> (i * 5 + 3)) % 26;
            (b'a' + x as u8) as char
        })
        .collect()
}
fn words(seed: &mut u64, n: usize) -> String {
    (0..n)
        .map(|_| {
            *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            let mut s = (*seed >> 40) % 2000;
            word(&mut s)
        })
        .collect::<Vec<_>>()
        .join(" ")
}
pub(super) fn varied(n: i64) -> Row {
    let base = payload_row(n);
    let mut s = n as u64 * 7919 + 13;
    let mut b = base.edit();
    b.set_named("description", Cell::Text(&words(&mut s, 8)));
    b.set_named("original_query", Cell::Text(&words(&mut s, 4)));
    let vars: Vec<String> =
        (0..5).map(|_| format!("\"{}\"", words(&mut s, 1).to_uppercase())).collect();
    b.set_named("selected_variables", Cell::Json(&format!("[{}]", vars.join(","))));
    let vd: Vec<String> = (0..2).map(|_| format!(r#"{{"code":"{}","description":"{}","relevance_score":0.{},"type":"demographic","category":"{}"}}"#, words(&mut s,1).to_uppercase(), words(&mut s, 4), s % 100, words(&mut s, 1))).collect();
    b.set_named("variable_details", Cell::Json(&format!("[{}]", vd.join(","))));
    let sg: Vec<String> = (0..2).map(|i| format!(r#"{{"segment_id":{i},"name":"{}","size":{},"size_percentage":{}.{},"characteristics":{{"avg_income":"${},000","primary_age":"18-22"}},"prizm_segments":["{}","{}"]}}"#, words(&mut s,2), s % 100000, s % 9, s % 7, s % 150, words(&mut s, 2), words(&mut s, 2))).collect();
    b.set_named("segments", Cell::Json(&format!("[{}]", sg.join(","))));
    b.set_named("extra", Cell::Json(&format!(r#"{{"enhanced_name":"{}","natural_language_criteria":"{}","audience_size":{},"insights":["{}","{}"]}}"#, words(&mut s,4), words(&mut s,10), s % 100000, words(&mut s,6), words(&mut s,3))));
    b.finish(base.id.clone(), base.created_at, base.updated_at, 1)
}
#[test]
#[allow(clippy::disallowed_methods)]
fn measure() {
    for (what, make) in [("payload", payload_row as fn(i64) -> Row), ("varied", varied)] {
        for level in [1, 3] {
            for rows in [1_i64, 10, 100, 1000, 10_000] {
                let options = Options { zstd_level: level, ..Options::default() };
                let changes = upserts((0..rows).map(make));
                let reps = if rows < 1000 { 50 } else { 2 };
                let t = Instant::now();
                let mut bytes = bytes::Bytes::new();
                for _ in 0..reps {
                    bytes = next(Table::Audiences, None, &changes, &options).bytes;
                }
                let enc = t.elapsed().as_secs_f64() * 1e6 / reps as f64;
                let t = Instant::now();
                for _ in 0..reps {
                    let _ = FileView::open(&bytes).unwrap();
                }
                let open = t.elapsed().as_secs_f64() * 1e6 / reps as f64;
                let view = FileView::open(&bytes).unwrap();
                let t = Instant::now();
                for _ in 0..reps {
                    read_all(&bytes);
                }
                let dec = t.elapsed().as_secs_f64() * 1e6 / reps as f64 - open;
                let last = view.groups().len() - 1;
                let gr = view.groups()[last].rows;
                let fetched = Fetched::part(0, bytes.clone());
                let t = Instant::now();
                for _ in 0..reps {
                    decode_rows(&view, last, &fetched, None, gr.saturating_sub(50)..gr).unwrap();
                }
                let dec50 = t.elapsed().as_secs_f64() * 1e6 / reps as f64;
                let id = make(rows / 2).id;
                let t = Instant::now();
                for _ in 0..reps {
                    find_record(&view, &bytes, &id).unwrap();
                }
                let find = t.elapsed().as_secs_f64() * 1e6 / reps as f64;
                let one = upserts([make(rows)]);
                let t = Instant::now();
                for _ in 0..reps {
                    next(Table::Audiences, Some(&bytes), &one, &options);
                }
                let app = t.elapsed().as_secs_f64() * 1e6 / reps as f64;
                let groups = view.groups();
                let data: u64 = groups.iter().map(|g| g.range.end - g.range.start).sum();
                let bloom: u64 =
                    groups.iter().map(|g| g.bloom.clone().map_or(0, |b| b.end - b.start)).sum();
                let idx = view.indexes();
                println!(
                    "{what} zstd{level} rows {rows:6}: {:8} B = {:7.1} B/row (data {data} bloom {bloom} index {} footer {}) enc {enc:8.0}us {:6.2}/row open {open:5.0}us dec {dec:8.0}us {:6.2}/row last50 {dec50:6.0} find {find:6.0} append1 {app:7.0} view mem {}",
                    bytes.len(),
                    bytes.len() as f64 / rows as f64,
                    idx.end - idx.start,
                    bytes.len() as u64 - idx.end,
                    enc / rows as f64,
                    dec / rows as f64,
                    view.memory()
                );
                if level == 1 {
                    std::fs::write(format!("/tmp/m_{what}_{rows}.parquet"), &bytes).unwrap();
                }
            }
        }
    }
}
