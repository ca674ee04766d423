//! `audience-store verify`: finds whatever is wrong, and finds nothing wrong in a sound store,
//! whatever its server does meanwhile.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::busy::Busy;
use crate::support::chance::{Chance, seed};
use crate::support::files::{contents, copy_tree, paths, segments};
use crate::support::{Server, audience, platform, program, run};

/// Files are written when a test says so; the log is small to read.
const NO_CHECKPOINTS: [&str; 4] = ["--checkpoint-interval", "1h", "--log-segment-bytes", "1MiB"];

/// Runs it: exit code, and the report.
fn verified(data: &Path, args: &[&str]) -> (i32, Value) {
    let path = data.to_str().expect("path");
    let all = [&["verify", "--json", "--data", path], args].concat();
    let (code, out, error) = run(program(&all));
    (code, serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out} {error}")))
}

/// Checks that exactly this is found wrong, in this file.
fn finds(data: &Path, args: &[&str], code: &str, file: &str) -> Value {
    let (exit, report) = verified(data, args);
    let damages: Vec<_> = report["findings"].as_array().expect("findings").clone();
    let damages: Vec<_> = damages.into_iter().filter(|f| f["severity"] == "damage").collect();
    assert_eq!((exit, report["sound"].as_bool()), (1, Some(false)), "{code}: {report}");
    assert!(!damages.is_empty(), "{code}: {report}");
    for damage in &damages {
        assert_eq!(damage["code"], code, "{report}");
        assert!(damage["file"].as_str().expect("file").contains(file), "no {file} in {damage}");
    }
    report
}

fn sound(data: &Path, args: &[&str]) -> Value {
    let (exit, report) = verified(data, args);
    assert_eq!((exit, report["sound"].as_bool()), (0, Some(true)), "{report}");
    report
}

/// A stopped store: two months of audiences and sealed platforms in files, more in the log.
async fn store(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    for n in 0..40 {
        let mut body = audience("u", &format!("number {n}"));
        body["created_at"] = json!(format!("2025-0{}-10", 1 + n % 2));
        body["audience_id"] = json!(format!("a{n}"));
        server.save("audiences", &body).await;
    }
    for n in 0..3 {
        let mut body = platform("u", "sealed");
        body["credentials"] = json!({ "token": format!("hidden-{n}") });
        server.save("platforms", &body).await;
    }
    server.save("audiences", &audience(&"/:".repeat(60), "an id too long for a folder")).await;
    server.checkpoint().await;
    server.save("audiences", &audience("u", "in the log alone")).await;
    server.kill();
    data
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("read");
    bytes[at] ^= 0x20;
    fs::write(path, bytes).expect("write");
}

fn file(data: &Path, part: &str) -> PathBuf {
    let found = paths(data).into_iter().find(|(name, _)| name.contains(part));
    found.unwrap_or_else(|| panic!("no {part}")).1
}

#[tokio::test]
async fn a_sound_store_is_sound_and_not_a_byte_of_it_changes() {
    let folder = tempfile::tempdir().expect("folder");
    let data = store(folder.path()).await;
    let before = contents(&data);
    let report = sound(&data, &[]);
    assert_eq!((&report["rows"], &report["files"]), (&json!(44), &json!(4)), "{report}");
    assert_eq!(report["sealed"]["opened"], 0);
    let deep = sound(&data, &["--deep"]);
    assert_eq!(deep["findings"], json!([]), "{deep}");
    let sealed = deep["sealed"]["by_key"].as_object().expect("keys");
    let count: u64 = sealed.values().map(|n| n.as_u64().expect("count")).sum();
    assert!(count >= 3, "{deep}");
    assert_eq!(deep["sealed"]["opened"], count, "{deep}");
    assert_eq!(contents(&data), before);

    let path = data.to_str().expect("path");
    let (code, text, error) = run(program(&["verify", "--data", path]));
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("sound: 0 damaged") && text.contains("4 with 44 rows"), "{text}");
    let (code, out, error) = run(program(&["verify", "--data", "/no/such/store"]));
    assert_eq!((code, &out[..]), (2, ""));
    assert!(error.contains("/no/such/store is no store"), "{error}");
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_a_file_or_a_log_record_is_found() {
    let folder = tempfile::tempdir().expect("folder");
    let data = store(folder.path()).await;
    let mut chance = Chance::new(seed());
    for part in ["month=01/audiences_202501.parquet", "user_id=u/platforms.parquet"] {
        let path = file(&data, part);
        let whole = fs::read(&path).expect("file");
        let some = (0..30).map(|_| usize::try_from(chance.of(0..whole.len() as u64)));
        let edges = [0, 3, whole.len() - 1, whole.len() - 6].map(Ok);
        for at in edges.into_iter().chain(some) {
            flip(&path, at.expect("offset"));
            finds(&data, &[], "FILE_DAMAGED", part);
            fs::write(&path, &whole).expect("write");
        }
    }
    let [segment] = &segments(&data)[..] else { panic!("one segment") };
    let whole = fs::read(segment).expect("segment");
    let end = whole.iter().rposition(|b| *b != 0).expect("records");
    let (_, report) = verified(&data, &[]);
    assert_eq!(report["log"]["records"], 45, "{report}");
    // Not the last record: that would be a torn tail.
    for _ in 0..30 {
        let at = usize::try_from(chance.of(0..end as u64 - 800)).expect("offset");
        flip(segment, at);
        finds(&data, &[], "LOG_DAMAGED", "log/0000");
        fs::write(segment, &whole).expect("write");
    }
    // The last one, half written: no damage, and said.
    let mut torn = whole.clone();
    torn[end - 20..=end].fill(0);
    fs::write(segment, &torn).expect("write");
    let report = sound(&data, &[]);
    assert_eq!(report["findings"][0]["code"], "TORN_TAIL", "{report}");
}

#[tokio::test]
async fn what_bytes_alone_do_not_show_is_found() {
    let folder = tempfile::tempdir().expect("folder");
    let whole = store(folder.path()).await;
    let fresh = |name: &str| {
        let data = folder.path().join(name);
        copy_tree(&whole, &data);
        data
    };
    let data = fresh("another user's file");
    let other = data.join("platforms/user_id=v/platforms.parquet");
    fs::create_dir_all(other.parent().expect("parent")).expect("folder");
    fs::copy(file(&data, "user_id=u/platforms.parquet"), other).expect("copy");
    finds(&data, &[], "FILE_MISPLACED", "user_id=v");

    let data = fresh("a month's file in another month");
    let other = data.join("audiences/user_id=u/year=2025/month=03/audiences_202503.parquet");
    fs::create_dir_all(other.parent().expect("parent")).expect("folder");
    fs::copy(file(&data, "audiences_202501.parquet"), other).expect("copy");
    let report = finds(&data, &[], "DUPLICATE_ID", "user_id=u");
    assert_eq!(report["counts"]["DUPLICATE_ID"], 20, "{report}");
    assert!(report["findings"][0]["what"].as_str().expect("what").contains("2025-01 and 2025-03"));

    let data = fresh("a log that lost its end");
    let [segment] = &segments(&data)[..] else { panic!("one segment") };
    let path = data.to_str().expect("path");
    let (_, out, _) = run(program(&["log", "inspect", "--json", "--data", path]));
    let tenth = out.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
    let tenth = tenth.into_iter().find(|f| f["lsn"] == 10).expect("record")["offset"].as_u64();
    let mut bytes = fs::read(segment).expect("segment");
    bytes[usize::try_from(tenth.expect("offset")).expect("offset")..].fill(0);
    fs::write(segment, bytes).expect("write");
    let report = finds(&data, &[], "LSN_BEYOND_LOG", "parquet");
    assert!(report["counts"]["LSN_BEYOND_LOG"].as_u64().expect("count") >= 3, "{report}");

    let data = fresh("another ring");
    fs::remove_dir_all(data.join("keys")).expect("keys");
    let report = sound(&data, &["--deep"]);
    assert_eq!(report["findings"][0]["code"], "KEYS_NOT_CHECKED", "{report}");
    let elsewhere = Server::start().await;
    fs::create_dir_all(data.join("keys")).expect("keys");
    fs::copy(elsewhere.data.join("keys/ring.json"), data.join("keys/ring.json")).expect("ring");
    finds(&data, &[], "SEALED_KEY_UNKNOWN", "");

    let data = fresh("a ring whose key is another");
    let path = data.join("keys/ring.json");
    let mut ring: Value = serde_json::from_slice(&fs::read(&path).expect("ring")).expect("JSON");
    let other = fs::read(elsewhere.data.join("keys/ring.json")).expect("ring");
    let other: Value = serde_json::from_slice(&other).expect("JSON");
    ring["keys"][0]["key"] = other["keys"][0]["key"].clone();
    fs::write(&path, ring.to_string()).expect("write");
    sound(&data, &[]);
    finds(&data, &["--deep"], "SEALED_DOES_NOT_OPEN", "");

    let data = fresh("litter");
    fs::create_dir_all(data.join("tmp")).expect("tmp");
    fs::write(data.join("tmp/7"), b"half").expect("write");
    fs::write(data.join("audiences/user_id=u/note.txt"), b"?").expect("write");
    let report = sound(&data, &[]);
    let codes = &report["counts"];
    assert_eq!(codes, &json!({ "TEMPORARY": 1, "UNEXPECTED": 1 }), "{report}");
}

#[tokio::test]
async fn a_store_in_use_is_sound_at_every_moment() {
    let often = ["--checkpoint-interval", "100ms", "--log-segment-bytes", "1MiB"];
    let server = Server::start_with(&often).await;
    let mut chance = Chance::new(seed());
    let busy = Busy::start(&server, 8, &mut chance);
    let began = server.metric("log_records_total").await;
    for round in 0..12 {
        busy.until(40).await;
        let (data, deep) = (server.data.clone(), round % 3 == 0);
        let checked = tokio::task::spawn_blocking(move || {
            verified(&data, if deep { &["--deep"] } else { &[] })
        });
        let (exit, report) = checked.await.expect("verify");
        assert_eq!((exit, &report["sound"]), (0, &json!(true)), "{report}");
        assert!(report["files"].as_u64().expect("files") > 0 || round == 0, "{report}");
        if round % 4 == 3 {
            server.checkpoint().await;
        }
    }
    let counts = busy.counts();
    let histories = busy.stop().await;
    assert!(server.metric("log_records_total").await > began + 8 * 40 * 12);
    let shown = crate::support::busy::shown(&server, &histories.users()).await;
    assert_eq!(shown, histories.now());
    let most = vec![usize::MAX; counts.len()];
    assert!(histories.find(&shown, &counts, &most).iter().zip(&counts).all(|(a, b)| a >= b));
}
