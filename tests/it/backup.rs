//! `audience-store backup` and `restore`: every record of a restored store is what the API said
//! at that moment, whatever was written meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::support::busy::{Busy, shown};
use crate::support::chance::{Chance, seed};
use crate::support::files::{contents, paths, segments};
use crate::support::{Server, audience, eventually, pages, platform, program, run};

const BUSY: [&str; 4] = ["--checkpoint-interval", "100ms", "--log-segment-bytes", "1MiB"];
const NO_CHECKPOINTS: [&str; 4] = ["--checkpoint-interval", "1h", "--log-segment-bytes", "1MiB"];

fn text(path: &Path) -> &str {
    path.to_str().expect("path")
}

/// Takes a backup: what it says of itself.
fn taken(data: &Path, to: &Path, args: &[&str]) -> Value {
    let all = [&["backup", "--json", "--data", text(data), text(to)], args].concat();
    let (code, out, error) = run(program(&all));
    assert_eq!(code, 0, "{error}");
    serde_json::from_str(&out).expect("JSON")
}

fn restored(from: &Path, to: &Path, args: &[&str]) -> Value {
    let all = [&["restore", "--json", "--from", text(from), "--data", text(to)], args].concat();
    let (code, out, error) = run(program(&all));
    assert_eq!(code, 0, "{args:?}: {error}");
    serde_json::from_str(&out).expect("JSON")
}

/// Runs what must be refused: what it says.
fn refused(args: &[&str]) -> String {
    let (code, out, error) = run(program(args));
    assert_eq!((code, &*out), (1, ""), "{args:?}: {error}");
    error
}

fn sound(data: &Path) {
    let (code, out, error) = run(program(&["verify", "--deep", "--data", text(data)]));
    assert_eq!(code, 0, "{out}{error}");
}

/// Every record of every user, as the API gives it.
async fn everything(server: &Server, users: &[String]) -> BTreeMap<String, Vec<Value>> {
    let mut all = BTreeMap::new();
    for user in users {
        for table in ["audiences", "distributions", "platforms"] {
            let mut records = pages(server, table, user).await;
            for record in &mut records {
                if table == "platforms" {
                    let id = record["platform_id"].as_str().expect("id");
                    let path = format!("/api/platforms/{id}/credentials?user_id={user}");
                    let opened = server.get(&path).await.expect(200);
                    record["opened"] = opened["credentials"].clone();
                }
            }
            all.insert(format!("{user} {table}"), records);
        }
    }
    all
}

#[tokio::test]
async fn a_backup_of_a_store_in_use_is_one_moment_of_it() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start_with(&BUSY).await;
    let mut chance = Chance::new(seed());
    let busy = Busy::start(&server, 8, &mut chance);
    let users: Vec<_> = (0..8).map(|n| format!("busy-{n}")).collect();
    let ring = server.data.join("keys/ring.json");
    let mut seen = Vec::new();
    for round in 0..6 {
        busy.until(25).await;
        let least = busy.counts();
        let (data, backup) = (server.data.clone(), folder.path().join(format!("backup-{round}")));
        let base = folder.path().join(format!("backup-{}", round - 1));
        let to = backup.clone();
        let args =
            if round > 0 { vec!["--base".to_owned(), text(&base).to_owned()] } else { Vec::new() };
        let said = tokio::task::spawn_blocking(move || {
            taken(&data, &to, &args.iter().map(String::as_str).collect::<Vec<_>>())
        });
        let said = said.await.expect("backup");
        // One write of each may be under way.
        let most: Vec<_> = busy.counts().iter().map(|n| n + 1).collect();
        let data = folder.path().join(format!("restored-{round}"));
        let (from, to, ring) = (backup.clone(), data.clone(), ring.clone());
        let made = tokio::task::spawn_blocking(move || {
            let made = restored(&from, &to, &["--keys", text(&ring)]);
            sound(&to);
            made
        });
        let made = made.await.expect("restore");
        assert_eq!(made["lsn"], said["lsn"], "{made} {said}");
        let mut copy = Server::over(&data, &NO_CHECKPOINTS).await;
        seen.push((shown(&copy, &users).await, least, most));
        assert_eq!(copy.get("/health/ready").await.expect(200)["unreadable_files"], json!([]));
        copy.stop().await;
        assert!(!server.data.join("hold").exists() || paths(&server.data.join("hold")).len() == 1);
    }
    let histories = busy.stop().await;
    for (states, least, most) in seen {
        histories.find(&states, &least, &most);
    }
}

#[tokio::test]
async fn a_restore_to_an_lsn_or_a_time_is_what_the_api_said_then() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start_with(&NO_CHECKPOINTS).await;
    let mut chance = Chance::new(seed());
    let mut busy = Busy::start(&server, 4, &mut chance);
    busy.until(20).await;
    server.checkpoint().await;
    let backup = folder.path().join("backup");
    let (data, to) = (server.data.clone(), backup.clone());
    let said = tokio::task::spawn_blocking(move || taken(&data, &to, &[])).await.expect("backup");
    let mut moments = Vec::new();
    for _ in 0..4 {
        busy.until(15).await;
        let histories = busy.stop().await;
        let users = histories.users();
        let (code, out, _) = run(program(&["verify", "--json", "--data", text(&server.data)]));
        let report: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(code, 0, "{report}");
        let lsn = report["log"]["last_lsn"].as_u64().expect("LSN");
        let time = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        moments.push((lsn, time, everything(&server, &users).await, users));
        busy = Busy::resume(histories);
    }
    busy.until(10).await;
    let log = server.data.join("log");
    let ring = server.data.join("keys/ring.json");
    let before = contents(&backup);
    for (n, (lsn, time, wanted, users)) in moments.iter().enumerate() {
        assert!(*lsn > said["lsn"].as_u64().expect("LSN"), "after the backup");
        for (how, until) in [("lsn", lsn.to_string()), ("time", time.clone())] {
            // The live log, written meanwhile.
            let data = folder.path().join(format!("{how}-{n}"));
            let args = ["--log", text(&log), "--keys", text(&ring), "--until", &until];
            let made = restored(&backup, &data, &args);
            assert_eq!(made["lsn"], *lsn, "{how} {made}");
            sound(&data);
            let mut copy = Server::over(&data, &NO_CHECKPOINTS).await;
            assert_eq!(&everything(&copy, users).await, wanted, "{how} {until}");
            // It goes on, and what it is told is there after a restart.
            copy.save("audiences", &audience("new", "after")).await;
            copy.kill();
            let copy = Server::over(&data, &NO_CHECKPOINTS).await;
            assert_eq!(pages(&copy, "audiences", "new").await.len(), 1);
            assert_eq!(&everything(&copy, users).await, wanted);
        }
    }
    assert_eq!(contents(&backup), before, "a restore changes no backup");
    drop(busy.stop().await);
}

/// A stopped store with files, and two more records in the log.
async fn small(folder: &Path) -> (PathBuf, u64) {
    let data = folder.join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    for user in ["a", "b"] {
        for n in 0..5 {
            server.save("audiences", &audience(user, &format!("number {n}"))).await;
        }
        let mut body = platform(user, "sealed");
        body["credentials"] = json!({ "token": "hidden" });
        server.save("platforms", &body).await;
    }
    server.checkpoint().await;
    server.save("audiences", &audience("a", "in the log")).await;
    server.save("audiences", &audience("b", "in the log")).await;
    server.kill();
    (data, 14)
}

#[tokio::test]
async fn an_incremental_backup_shares_what_did_not_change_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().expect("folder");
    let (data, last) = small(folder.path()).await;
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let said = taken(&data, &one, &["--copy"]);
    assert_eq!((&said["lsn"], &said["keys"]), (&json!(last), &json!(false)), "{said}");
    assert_eq!(said["linked"], 0, "{said}");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    server.save("audiences", &audience("a", "later")).await;
    server.stop().await;
    let whole = contents(&one);
    let said = taken(&data, &two, &["--base", text(&one), "--copy"]);
    let inode = |root: &Path, part: &str| {
        let found = paths(&root.join("data")).into_iter().find(|(name, _)| name.contains(part));
        fs::metadata(found.expect("file").1).expect("metadata").ino()
    };
    let same = "platforms/user_id=b";
    assert_eq!(inode(&one, same), inode(&two, same), "shared");
    assert_ne!(inode(&one, same), inode_of(&data, same), "--copy shares nothing with the store");
    assert_ne!(inode(&one, "audiences/user_id=a"), inode(&two, "audiences/user_id=a"));
    assert_eq!(said["linked"], 2, "the platforms of both users: {said}");
    let plain = folder.path().join("plain");
    taken(&data, &plain, &[]);
    assert_eq!(inode(&plain, same), inode_of(&data, same), "a hard link");

    let all = [&["backup", "--data", text(&data)][..], &[text(&one)]].concat();
    assert!(refused(&all).contains("is there already"));
    assert_eq!(contents(&one), whole, "not a byte");
    assert!(!whole.keys().any(|name| name.contains("keys/")), "{:?}", whole.keys());
    let with_keys = folder.path().join("with-keys");
    assert_eq!(taken(&data, &with_keys, &["--with-keys"])["keys"], true);
    assert!(with_keys.join("data/keys/ring.json").is_file());
    for (backup, count) in [(&one, 6), (&two, 7), (&with_keys, 7)] {
        let to = backup.with_extension("restored");
        restored(backup, &to, &[]);
        let server = Server::over(&to, &NO_CHECKPOINTS).await;
        assert_eq!(pages(&server, "audiences", "a").await.len(), count);
        assert_eq!(pages(&server, "audiences", "b").await.len(), 6);
    }
    assert!(contents(folder.path()).keys().all(|name| !name.contains(".partial")));
}

fn inode_of(data: &Path, part: &str) -> u64 {
    let found = paths(data).into_iter().find(|(name, _)| name.contains(part));
    fs::metadata(found.expect("file").1).expect("metadata").ino()
}

#[tokio::test]
async fn what_cannot_be_restored_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let (data, last) = small(folder.path()).await;
    let backup = folder.path().join("backup");
    let said = taken(&data, &backup, &[]);
    let earliest = said["earliest_lsn"].as_u64().expect("LSN");
    assert_eq!(earliest, last - 2, "what the files hold: {said}");
    let to = folder.path().join("to");
    let base = ["restore", "--from", text(&backup), "--data", text(&to)];
    let with = |args: &[&str]| refused(&[&base[..], args].concat());
    assert!(with(&["--until", &(earliest - 1).to_string()]).contains("take an earlier backup"));
    assert!(with(&["--until", "2020-01-01"]).contains("take an earlier backup"));
    let beyond = with(&["--until", &(last + 5).to_string()]);
    assert!(beyond.contains(&format!("ends at LSN {last}")), "{beyond}");
    assert!(!to.exists() && !folder.path().join("to.partial").exists());

    // Two stores of one backup go different ways.
    let [left, right] = ["left", "right"].map(|name| folder.path().join(name));
    for (to, name) in [(&left, "left"), (&right, "right")] {
        restored(&backup, to, &[]);
        let mut server = Server::over(to, &NO_CHECKPOINTS).await;
        server.save("audiences", &audience("a", name)).await;
        server.kill();
    }
    let logs = [text(&left.join("log")).to_owned(), text(&right.join("log")).to_owned()];
    let diverged = with(&["--log", &logs[0], "--log", &logs[1]]);
    assert!(diverged.contains("different ways"), "{diverged}");
    let elsewhere = Server::start().await;
    let other = with(&["--log", text(&elsewhere.data.join("log"))]);
    assert!(other.contains("another log") || other.contains("different ways"), "{other}");
    // The middle of the log is missing.
    let gap = folder.path().join("gap");
    fs::create_dir_all(&gap).expect("folder");
    let last_segment = segments(&left).pop().expect("segment");
    fs::copy(&last_segment, gap.join(last_segment.file_name().expect("name"))).expect("copy");
    let only = restored(&backup, &folder.path().join("joined"), &["--log", text(&gap)]);
    assert!(only["lsn"].as_u64().expect("LSN") > 1_000_000_000_000, "{only}");

    fs::create_dir_all(&to).expect("folder");
    fs::write(to.join("something"), b"mine").expect("write");
    assert!(with(&[]).contains("is there already"));
    fs::remove_dir_all(&to).expect("remove");
    let file = paths(&backup).into_iter().find(|(n, _)| n.contains("user_id=b/platforms"));
    let (name, path) = file.expect("file");
    let whole = fs::read(&path).expect("read");
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    fs::remove_file(&path).expect("unlink: the store has the same file");
    fs::write(&path, &damaged).expect("write");
    assert!(with(&[]).contains(&format!("the backup is damaged: {name}")));
    fs::write(&path, &whole).expect("write");
    restored(&backup, &to, &[]);
    let nothing = refused(&["backup", "--data", "/no/such/store", text(&folder.path().join("x"))]);
    assert!(nothing.contains("is no store"), "{nothing}");
}

#[tokio::test]
async fn who_was_erased_does_not_come_back_with_a_restore() {
    let folder = tempfile::tempdir().expect("folder");
    let (data, _) = small(folder.path()).await;
    let [before, after] = ["before", "after"].map(|name| folder.path().join(name));
    taken(&data, &before, &[]);
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    // Held, as by a second backup that began before.
    let held = folder.path().join("held");
    fs::create_dir_all(&held).expect("folder");
    for segment in segments(&data) {
        fs::hard_link(&segment, held.join(segment.file_name().expect("name"))).expect("link");
    }
    server.delete("/api/users/a").await.expect(200);
    server.save("audiences", &audience("a", "a new life")).await;
    taken(&data, &after, &[]);
    let later = ["--log", text(&held), "--log", text(&data.join("log"))].map(str::to_owned);
    for (backup, args) in [(&after, Vec::new()), (&before, later.to_vec())] {
        let to = backup.with_extension("restored");
        restored(backup, &to, &args.iter().map(String::as_str).collect::<Vec<_>>());
        let copy = Server::over(&to, &NO_CHECKPOINTS).await;
        let names: Vec<_> = pages(&copy, "audiences", "a").await;
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(names[0]["name"], "a new life");
        assert_eq!(pages(&copy, "platforms", "a").await.len(), 0);
        assert_eq!(pages(&copy, "audiences", "b").await.len(), 6);
    }
}

#[tokio::test]
async fn kept_segments_lead_from_a_backup_to_any_later_moment_and_hold_nobody_who_was_erased() {
    let folder = tempfile::tempdir().expect("folder");
    let keep = ["--log-keep-bytes", "1GiB"];
    let server = Server::start_with(&[&BUSY[..], &keep].concat()).await;
    let mut chance = Chance::new(seed());
    let mut busy = Busy::start(&server, 4, &mut chance);
    busy.until(20).await;
    let backup = folder.path().join("backup");
    let (data, to) = (server.data.clone(), backup.clone());
    tokio::task::spawn_blocking(move || taken(&data, &to, &[])).await.expect("backup");
    let log = server.data.join("log");
    let kept = log.join("kept");
    let [kept, log] = [kept, log].map(|path| text(&path).to_owned());
    let kept_now = || paths(Path::new(&kept)).len();
    let mut moments = Vec::new();
    // Until the log has let go of what came after the backup, twice.
    for count in [2, 4] {
        let mut large = audience("large", "x");
        large["filler"] = json!("y".repeat(400_000));
        eventually("segments are kept", async || {
            server.save("audiences", &large).await;
            kept_now() >= count
        })
        .await;
        busy.until(5).await;
        let histories = busy.stop().await;
        let time = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        moments.push((time, everything(&server, &histories.users()).await, histories.users()));
        busy = Busy::resume(histories);
        busy.until(5).await;
    }
    let ring = server.data.join("keys/ring.json");
    for (n, (time, wanted, users)) in moments.iter().enumerate() {
        let data = folder.path().join(format!("restored-{n}"));
        let logs = ["--log", &kept, "--log", &log, "--keys", text(&ring), "--until", time];
        restored(&backup, &data, &logs);
        let copy = Server::over(&data, &NO_CHECKPOINTS).await;
        assert_eq!(&everything(&copy, users).await, wanted, "{time}");
    }
    drop(busy.stop().await);
    let erased = server.delete("/api/users/busy-1").await.expect(200);
    assert_eq!(erased["success"], true, "{erased}");
    eventually("the log has let go", async || {
        server.checkpoint().await;
        crate::support::files::holding(&server.data.join("log"), "busy-1").is_empty()
    })
    .await;
}
