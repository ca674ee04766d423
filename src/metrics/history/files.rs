//! The files of history: `metrics/history/2026-11-24.json` below the store's root, one a day, mode
//! 0600, replaced whole. Format in `docs/formats/history.md`. Once its day is over, no file changes.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::day::{Day, day_name};
use crate::domain::Micros;
use crate::env::{Env, FileKind};

const FOLDER: &str = "metrics/history";
/// There while a server runs.
const RUNNING: &str = "running";
const FORMAT: u32 = 1;
/// Days that are kept, two quarters and more than a year; the oldest go.
pub const MOST_DAYS: usize = 400;
/// Bytes of all files; the oldest go.
const MOST_BYTES: u64 = 64 << 20;
/// Bytes of a file. A day's is two hundred KiB at most.
const MOST_FILE_BYTES: u64 = 4 << 20;

/// A day's file, but for its last line.
#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    #[serde(flatten)]
    day: &'a Day,
}

/// What of it says how to read the rest.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// What is there.
#[derive(Debug, Default)]
pub struct Found {
    /// The days, oldest first.
    pub days: Vec<Day>,
    /// Names of files that cannot be used, and why.
    pub damaged: Vec<(String, String)>,
}

/// The history of a store. Its calls block.
#[derive(Clone)]
pub struct HistoryFiles {
    env: Env,
    folder: PathBuf,
}

impl HistoryFiles {
    /// That of the store in `root`.
    #[must_use]
    pub fn new(env: &Env, root: &Path) -> Self {
        Self { env: env.clone(), folder: root.join(FOLDER) }
    }

    fn path(&self, day: i64) -> PathBuf {
        self.folder.join(format!("{}.json", day_name(day)))
    }

    /// Everything that is there. What cannot be used is named and left out.
    ///
    /// # Errors
    /// Where the folder cannot be listed.
    pub fn all(&self) -> io::Result<Found> {
        let mut found = Found::default();
        for name in self.names()? {
            match self.load(&self.folder.join(&name)) {
                Ok(day) if format!("{}.json", day_name(day.day)) == name => found.days.push(day),
                Ok(_) => found.damaged.push((name, "it is of another day".to_owned())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found.damaged.push((name, error.to_string())),
            }
        }
        for entry in self.env.fs.list(&self.folder)? {
            if entry.name.ends_with(".damaged") {
                found.damaged.push((entry.name, "set aside by the server".to_owned()));
            }
        }
        Ok(found)
    }

    /// A day as it was kept; an empty one where there is none. One that cannot be used is set
    /// aside, and counting begins anew.
    ///
    /// # Errors
    /// Where it cannot be read or set aside.
    pub fn day(&self, day: i64) -> io::Result<Day> {
        let path = self.path(day);
        match self.load(&path) {
            Ok(kept) if kept.day == day => Ok(kept),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Day::empty(day)),
            Err(e) if e.kind() != io::ErrorKind::InvalidData => Err(e),
            _ => {
                self.env.fs.rename(&path, &path.with_extension("json.damaged"))?;
                tracing::warn!(file = %path.display(), "a day of history is damaged: set aside");
                Ok(Day::empty(day))
            }
        }
    }

    fn load(&self, path: &Path) -> io::Result<Day> {
        if self.env.fs.stat(path)?.len > MOST_FILE_BYTES {
            return Err(invalid("it is too large"));
        }
        decode(&self.env.fs.read(path)?)
    }

    /// Keeps a day. On return it survives power loss. The oldest days go where there are too many.
    ///
    /// # Errors
    /// Whatever the file system says; the day is then as it was before.
    pub fn keep(&self, day: &Day) -> io::Result<()> {
        self.env.fs.create_dir_all(&self.folder)?;
        self.env.fs.replace_private(&self.path(day.day), &encode(day)?)
    }

    /// Removes the oldest days where there are too many.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn bound(&self) -> io::Result<()> {
        let mut kept = Vec::new();
        for name in self.names()? {
            let path = self.folder.join(name);
            match self.env.fs.stat(&path) {
                Ok(stat) => kept.push((path, stat.len)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        let mut bytes: u64 = kept.iter().map(|(_, len)| len).sum();
        let mut count = kept.len();
        for (path, len) in kept {
            if count <= MOST_DAYS && bytes <= MOST_BYTES {
                break;
            }
            self.env.fs.remove_file(&path)?;
            count -= 1;
            bytes -= len;
        }
        Ok(())
    }

    /// Whether a day has a record.
    #[must_use]
    pub fn has(&self, day: i64) -> bool {
        self.env.fs.stat(&self.path(day)).is_ok()
    }

    /// Notes that a server runs; answers whether an earlier one had not ended cleanly.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn begin(&self, now: Micros) -> io::Result<bool> {
        self.env.fs.create_dir_all(&self.folder)?;
        let path = self.folder.join(RUNNING);
        let unclean = self.env.fs.stat(&path).is_ok();
        self.env.fs.replace_private(&path, format!("{now}\n").as_bytes())?;
        Ok(unclean)
    }

    /// Notes that the server ended cleanly.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn end(&self) -> io::Result<()> {
        self.env.fs.remove_file(&self.folder.join(RUNNING))?;
        self.env.fs.sync_dir(&self.folder)
    }

    /// Whether a server runs, or ended without saying so.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.env.fs.stat(&self.folder.join(RUNNING)).is_ok()
    }

    /// The names of days' files, oldest first.
    fn names(&self) -> io::Result<Vec<String>> {
        let is_day = |name: &str| {
            let date = name.strip_suffix(".json");
            date.is_some_and(|date| date.len() == 10 && Micros::parse(date).is_ok())
        };
        let entries = self.env.fs.list(&self.folder)?.into_iter();
        let files = entries.filter(|e| e.kind == FileKind::File && is_day(&e.name));
        let mut names: Vec<_> = files.map(|e| e.name).collect();
        names.sort_unstable();
        Ok(names)
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A line of JSON, and a line with its CRC32C in hex.
fn encode(day: &Day) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(&Written { format: FORMAT, day })?;
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(format!("\n{checksum:08x}\n").as_bytes());
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> io::Result<Day> {
    // `\n`, eight digits, `\n`.
    let (json, last) = bytes
        .len()
        .checked_sub(10)
        .and_then(|at| bytes.split_at_checked(at))
        .ok_or_else(|| invalid("it is cut short"))?;
    if last != format!("\n{:08x}\n", crc32c::crc32c(json)).as_bytes() {
        return Err(invalid("its checksum does not match"));
    }
    let unread = |e: serde_json::Error| invalid(&e.to_string());
    let Format { format } = serde_json::from_slice(json).map_err(unread)?;
    if format != FORMAT {
        return Err(invalid("it is of another version"));
    }
    // Bounds are numbers, which a flattened field could not be read back as.
    serde_json::from_slice(json).map_err(unread)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::super::day::Times;
    use super::*;

    fn files() -> (tempfile::TempDir, HistoryFiles) {
        let folder = tempfile::tempdir().expect("folder");
        let files = HistoryFiles::new(&Env::system(), folder.path());
        (folder, files)
    }

    fn day(day: i64) -> Day {
        let le = BTreeMap::from([(250_000, 3), (1_000_000, 1)]);
        Day {
            starts: 2,
            to: 5,
            counts: BTreeMap::from([("a_total{b=\"/c/{d}\"}".to_owned(), 7)]),
            times: BTreeMap::from([("t".to_owned(), Times { le, above: 1, sum_ns: 9 })]),
            last: BTreeMap::from([("log_bytes".to_owned(), 1 << 60)]),
            ..Day::empty(day)
        }
    }

    #[test]
    fn what_is_kept_is_found_and_nobody_else_may_read_it() {
        let (_folder, files) = files();
        assert!(files.all().expect("empty").days.is_empty());
        for n in [20_002, 20_001] {
            files.keep(&day(n)).expect("kept");
        }
        assert_eq!(files.all().expect("all").days, [day(20_001), day(20_002)]);
        assert_eq!(files.day(20_001).expect("day"), day(20_001));
        assert_eq!(files.day(20_003).expect("day"), Day::empty(20_003));
        let mode = std::fs::metadata(files.path(20_001)).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn damage_anywhere_is_found_told_and_set_aside_and_costs_that_day_alone() {
        let bytes = encode(&day(20_001)).expect("bytes");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err(), "{at}");
            assert!(decode(&bytes[..at]).is_err(), "{at}");
        }
        let (_folder, files) = files();
        for n in [20_001, 20_002] {
            files.keep(&day(n)).expect("kept");
        }
        files.env.fs.replace(&files.path(20_001), &bytes[..40]).expect("damaged");
        let found = files.all().expect("all");
        assert_eq!(found.days, [day(20_002)]);
        assert_eq!(found.damaged[0].0, "2024-10-05.json");
        assert_eq!(files.day(20_001).expect("anew"), Day::empty(20_001));
        let found = files.all().expect("all");
        assert_eq!(found.damaged[0].0, "2024-10-05.json.damaged");
    }

    #[test]
    fn the_oldest_days_go_and_what_is_no_day_stays() {
        let (_folder, files) = files();
        let total = MOST_DAYS + 3;
        for n in (20_000..).take(total) {
            files.keep(&Day::empty(n)).expect("kept");
        }
        files.env.fs.replace(&files.folder.join("notes.json"), b"x").expect("foreign");
        files.bound().expect("bounded");
        let days = files.all().expect("all").days;
        assert_eq!((days.len(), days[0].day), (MOST_DAYS, 20_003));
        assert!(files.env.fs.stat(&files.folder.join("notes.json")).is_ok());
        // Bytes are bounded, too.
        let large = "x".repeat(3 << 20);
        for n in (20_003..).take(30) {
            let last = BTreeMap::from([(large.clone(), 1)]);
            files.keep(&Day { last, ..Day::empty(n) }).expect("kept");
        }
        files.bound().expect("bounded");
        let days = files.all().expect("all").days;
        assert!(days.len() < MOST_DAYS && days[0].day > 20_003, "{}", days[0].day);
        assert_eq!(days.last().expect("day").day, 20_402, "the newest stay");
    }

    #[test]
    fn a_server_that_did_not_end_is_noticed() {
        let (_folder, files) = files();
        assert!(!files.begin(Micros::new(1)).expect("first"));
        assert!(files.begin(Micros::new(2)).expect("after a kill"));
        assert!(files.is_running());
        files.end().expect("ended");
        assert!(!files.begin(Micros::new(3)).expect("after a stop"));
    }
}
