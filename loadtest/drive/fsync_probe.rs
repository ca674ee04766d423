//! What the disk can do: appends to one file, each followed by `fdatasync`, one at a time, as a
//! log without group commit would.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

/// The file starts again at this size, so that a fast disk is not filled.
const MAX_FILE_BYTES: usize = 1024 * 1024 * 1024;
const FILE_NAME: &str = "fsync-probe.tmp";

/// The rate at one size.
#[derive(Serialize)]
pub struct Rate {
    /// Bytes an append.
    pub bytes: usize,
    /// Appends made durable, per second.
    pub per_second: f64,
    /// Median, in microseconds.
    pub p50_us: f64,
    /// 99th percentile, in microseconds.
    pub p99_us: f64,
}

/// Measures appends of `bytes` in `dir` for `length`.
///
/// # Errors
/// What the file system reports.
pub fn probe(dir: &Path, bytes: usize, length: Duration) -> io::Result<Rate> {
    let path = dir.join(FILE_NAME);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).open(&path)?;
    let rate = append(&mut file, bytes.max(1), length);
    std::fs::remove_file(&path)?;
    rate
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn append(file: &mut File, bytes: usize, length: Duration) -> io::Result<Rate> {
    let block = vec![0xa5; bytes];
    let mut latencies = crate::histogram::Histogram::new();
    let mut written = 0;
    let begun = Instant::now();
    let mut last = begun;
    while last - begun < length {
        if written + bytes > MAX_FILE_BYTES {
            file.set_len(0)?;
            io::Seek::rewind(file)?;
            written = 0;
        }
        file.write_all(&block)?;
        file.sync_data()?;
        written += bytes;
        let now = Instant::now();
        latencies.record(u64::try_from((now - last).as_nanos()).unwrap_or(u64::MAX));
        last = now;
    }
    Ok(Rate {
        bytes,
        per_second: latencies.total() as f64 / (last - begun).as_secs_f64().max(1e-9),
        p50_us: latencies.quantile(500) as f64 / 1000.0,
        p99_us: latencies.quantile(990) as f64 / 1000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("folder");
        let rate = probe(dir.path(), 4096, Duration::from_millis(20)).expect("probe");
        assert!(rate.per_second > 0.0 && rate.p50_us <= rate.p99_us);
        assert_eq!(dir.path().read_dir().expect("folder").count(), 0);
        assert!(probe(&dir.path().join("absent"), 1, Duration::ZERO).is_err());
    }
}
