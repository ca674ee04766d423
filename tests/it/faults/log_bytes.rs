//! A log damaged at every byte of a record, read by the real program: at the end it is a torn tail
//! and is cut, anywhere else the start is refused with the place and the choice. The log's units try
//! every byte too, in memory.
//!
//! `AUDIENCE_STORE_TEST_ROUNDS` sets at how many bytes of each record, spread over it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::PATIENT;
use crate::support::chance::rounds;
use crate::support::files::{contents, copy_tree, segments};
use crate::support::{Server, pages, platform, program, run};

const ARGS: [&str; 3] = ["--checkpoint-interval=1h", "--log-segment-bytes=1MiB", PATIENT];
const RECORDS: u64 = 4;
/// Bytes of a record that the short form damages.
const USUAL: u64 = 12;

/// A record of a log: where it is, in bytes.
#[derive(Clone, Copy)]
struct Place {
    lsn: u64,
    offset: usize,
    bytes: usize,
}

impl Place {
    /// So many of its bytes, spread over it, the first and the last among them.
    fn some(self, count: u64) -> Vec<usize> {
        let count = usize::try_from(count).expect("small").clamp(2, self.bytes);
        (0..count).map(|n| self.offset + n * (self.bytes - 1) / (count - 1)).collect()
    }
}

/// A store whose log holds some records, each synced by itself, and where they are.
async fn logged(folder: &Path) -> (PathBuf, Vec<Place>) {
    let data = folder.join("sound");
    let mut server = Server::over(&data, &ARGS).await;
    for n in 0..RECORDS {
        server.save("platforms", &platform("u", &format!("number {n}"))).await;
    }
    server.kill();
    let (code, out, error) =
        run(program(&["log", "inspect", "--json", "--data", data.to_str().expect("path")]));
    assert_eq!(code, 0, "{error}");
    let findings = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let number = |v: &Value| usize::try_from(v.as_u64().expect("number")).expect("small");
    let places = findings.filter(|f| f["lsn"].is_u64()).map(|f| Place {
        lsn: f["lsn"].as_u64().expect("lsn"),
        offset: number(&f["offset"]),
        bytes: number(&f["bytes"]),
    });
    (data, places.collect())
}

/// A copy of the store with one byte of its log changed.
fn damaged(sound: &Path, to: &Path, at: usize) -> String {
    copy_tree(sound, to);
    let [segment] = &segments(to)[..] else { panic!("one segment") };
    let mut bytes = fs::read(segment).expect("segment");
    bytes[at] ^= 0x55;
    fs::write(segment, bytes).expect("segment");
    segment.file_name().expect("name").to_str().expect("UTF-8").to_owned()
}

#[tokio::test]
async fn damage_at_any_byte_of_a_record_that_others_follow_is_refused_with_its_place() {
    let folder = tempfile::tempdir().expect("folder");
    let (sound, places) = logged(folder.path()).await;
    assert_eq!(places.len() as u64, RECORDS);
    let place = places[1];
    for at in place.some(rounds(USUAL)) {
        let data = folder.path().join(format!("byte-{at}"));
        let name = damaged(&sound, &data, at);
        let before = contents(&data.join("log"));
        let path = data.to_str().expect("path");
        let serve = ["serve", "--listen=127.0.0.1:0", "--data", path];
        let (code, _, error) = run(program(&serve));
        assert_eq!(code, 1, "byte {at}: {error}");
        let said = error.lines().find(|l| l.starts_with("audience-store:")).expect("a sentence");
        for part in [
            &name,
            &format!("byte {}", place.offset),
            &format!("LSN {}", place.lsn),
            "`audience-store log inspect`",
            &format!("`audience-store log truncate --at {}`", place.lsn),
        ] {
            assert!(said.contains(part), "byte {at}: no {part} in: {said}");
        }
        assert_eq!(contents(&data.join("log")), before, "byte {at}: nothing was changed");
        fs::remove_dir_all(data).expect("removed");
    }
}

#[tokio::test]
async fn damage_at_any_byte_of_the_last_record_is_a_torn_tail_and_takes_no_other() {
    let folder = tempfile::tempdir().expect("folder");
    let (sound, places) = logged(folder.path()).await;
    let place = *places.last().expect("records");
    let before: Vec<_> = (0..RECORDS - 1).map(|n| json!(format!("number {n}"))).collect();
    for at in place.some(rounds(USUAL)) {
        let data = folder.path().join(format!("byte-{at}"));
        damaged(&sound, &data, at);
        let mut server = Server::over(&data, &ARGS).await;
        let records = pages(&server, "platforms", "u").await;
        let mut names: Vec<_> = records.iter().map(|r| r["name"].clone()).collect();
        names.sort_by_key(ToString::to_string);
        assert_eq!(names, before, "byte {at}");
        server.says("it was cut off").await;
        assert!(server.metric("recovery_torn_bytes").await > 0, "byte {at}");
        server.save("platforms", &platform("u", "after")).await;
        server.kill();
        let server = Server::over(&data, &ARGS).await;
        assert_eq!(pages(&server, "platforms", "u").await.len() as u64, RECORDS, "byte {at}");
        drop(server);
        fs::remove_dir_all(data).expect("removed");
    }
}
