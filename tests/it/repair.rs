//! `audience-store repair`: what can be made again is, what cannot is said, nothing is deleted.

use std::fs;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::files::{contents, paths, segments};
use crate::support::{Server, audience, pages, program, run};

const NO_CHECKPOINTS: [&str; 4] = ["--checkpoint-interval", "1h", "--log-segment-bytes", "1MiB"];

/// Runs it: exit code, standard output, standard error.
fn repair(data: &Path, args: &[&str]) -> (i32, String, String) {
    let path = data.to_str().expect("path");
    run(program(&[&["repair", "--data", path], args].concat()))
}

/// Checks that without a yes nothing changes, then says yes: what was planned.
fn repaired(data: &Path, args: &[&str]) -> String {
    let before = contents(data);
    let (code, plan, error) = repair(data, args);
    assert_eq!((code, error.contains("nothing was changed")), (1, true), "{plan}{error}");
    assert_eq!(contents(data), before, "only a plan: {plan}");
    let (code, out, error) = repair(data, &[args, &["--yes"]].concat());
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.starts_with(&plan), "what was planned is done: {plan} {out}");
    let verify = ["verify", "--deep", "--data", data.to_str().expect("path")];
    let (code, report, _) = run(program(&verify));
    assert_eq!(code, 0, "{report}");
    let (code, again, _) = repair(data, args);
    assert_eq!((code, again.trim()), (0, "there is nothing to repair"));
    // Every byte that was there is there, or was replaced and is kept.
    let after = contents(data);
    let kept = |bytes: &Vec<u8>| after.values().any(|other| other == bytes);
    for (name, bytes) in before.iter().filter(|(name, _)| !name.starts_with("log/")) {
        assert!(kept(bytes), "{name} is nowhere");
    }
    plan
}

fn file(data: &Path, part: &str) -> PathBuf {
    let found = paths(data).into_iter().find(|(name, _)| name.contains(part));
    found.unwrap_or_else(|| panic!("no {part}")).1
}

/// Damages a file's rows, not its footer.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("read");
    bytes[20] ^= 0x10;
    // Not through the open file: a backup may share it.
    fs::remove_file(path).expect("remove");
    fs::write(path, bytes).expect("write");
}

fn backup(data: &Path, to: &Path) {
    let args = ["backup", "--data", data.to_str().expect("path"), to.to_str().expect("path")];
    let (code, _, error) = run(program(&args));
    assert_eq!(code, 0, "{error}");
}

async fn records(data: &Path) -> Vec<Value> {
    let mut server = Server::over(data, &NO_CHECKPOINTS).await;
    let all = pages(&server, "audiences", "u").await;
    server.kill();
    all
}

/// A stopped store with a backup of some time ago.
async fn store(folder: &Path) -> (PathBuf, PathBuf) {
    let (data, copy) = (folder.join("data"), folder.join("backup"));
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let save = async |n: usize, name: &str| {
        let mut body = audience("u", name);
        body["audience_id"] = json!(format!("a{n}"));
        body["created_at"] = json!(format!("2025-04-{:02}", n % 27 + 1));
        let saved = server.post("/api/audiences", &body).await;
        assert!(saved.status.is_success(), "{}", saved.text);
    };
    for n in 0..30 {
        save(n, "first").await;
    }
    server.checkpoint().await;
    backup(&data, &copy);
    for n in 20..40 {
        save(n, "second").await;
    }
    for n in 5..10 {
        server.delete(&format!("/api/audiences/a{n}?user_id=u")).await.expect(200);
    }
    server.checkpoint().await;
    save(50, "in the log alone").await;
    server.kill();
    (data, copy)
}

#[tokio::test]
async fn a_damaged_file_is_made_again_whole_of_the_log_or_a_backup_and_the_log() {
    let folder = tempfile::tempdir().expect("folder");
    let (data, copy) = store(folder.path()).await;
    let wanted = records(&data).await;
    assert_eq!(wanted.len(), 36);
    let path = file(&data, "audiences_202504");
    let whole = fs::read(&path).expect("file");
    let from = ["--from", copy.to_str().expect("path")];
    for (damage, args) in [
        ("a flipped bit", &[][..]),
        ("a flipped bit", &from[..]),
        ("no footer", &[][..]),
        ("no footer", &from[..]),
    ] {
        match damage {
            "no footer" => fs::write(&path, &whole[..whole.len() - 9]).expect("write"),
            _ => flip(&path),
        }
        let plan = repaired(&data, args);
        assert!(plan.contains("36 rows, nothing lost"), "{damage} {args:?}: {plan}");
        assert_eq!(records(&data).await, wanted, "{damage} {args:?}");
        fs::write(&path, &whole).expect("write");
    }
    let quarantine = paths(&data.join("quarantine"));
    assert_eq!(quarantine.len(), 4, "one of each: {quarantine:?}");

    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    flip(&path);
    let (code, _, error) = repair(&data, &["--yes"]);
    assert_eq!((code, error.contains("is running on")), (1, true), "{error}");
    drop(server);
}

#[tokio::test]
async fn what_is_left_of_a_large_file_is_saved_and_the_rest_is_said_to_be_lost() {
    let folder = tempfile::tempdir().expect("folder");
    let (data, copy) = (folder.path().join("data"), folder.path().join("backup"));
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let made = async |from: usize, to: usize| {
        let bodies = (from..to).map(|n| {
            let mut body = audience("u", "a name");
            body["filler"] = json!(format!("{n:05}").repeat(400));
            body["audience_id"] = json!(format!("a{n}"));
            body["created_at"] = json!(format!("2025-04-10T{:02}:{:02}:00Z", n / 60 % 24, n % 60));
            body["number"] = json!(n);
            body
        });
        let bodies: Vec<_> = bodies.collect();
        for some in bodies.chunks(100) {
            join_all(some.iter().map(|body| server.save("audiences", body))).await;
        }
    };
    made(0, 1400).await;
    server.checkpoint().await;
    // The log lets go of what files hold.
    server.stop().await;
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    backup(&data, &copy);
    let update = json!({ "user_id": "u", "name": "changed since" });
    server.put("/api/audiences/a1399", &update).await.expect(200);
    server.delete("/api/audiences/a1398?user_id=u").await.expect(200);
    server.stop().await;
    let whole = records(&data).await;
    assert_eq!(whole.len(), 1399);
    // The log of before the backup is not there: the store's own begins later.
    for segment in segments(&data) {
        assert!(!segment.ends_with("00000000000000000001.log"), "{segment:?}");
    }
    let path = file(&data, "audiences_202504");
    let bytes = fs::read(&path).expect("file");
    flip(&path);
    let plan = repaired(&data, &[]);
    let saved = records(&data).await;
    let lost = whole.len() - saved.len();
    assert!(lost > 0 && !saved.is_empty(), "{lost} lost");
    assert!(plan.contains(&format!("{} rows, {lost} rows LOST", saved.len())), "{plan}");
    assert!(saved.iter().all(|record| whole.contains(record)), "nothing is made up");

    fs::write(&path, &bytes).expect("write");
    flip(&path);
    let plan = repaired(&data, &["--from", copy.to_str().expect("path")]);
    assert!(plan.contains("1399 rows, nothing lost"), "the log reaches the backup: {plan}");
    assert_eq!(records(&data).await, whole);
}

#[tokio::test]
async fn a_damaged_log_is_mended_by_a_copy_or_cut() {
    let folder = tempfile::tempdir().expect("folder");
    let (data, _) = store(folder.path()).await;
    let wanted = records(&data).await;
    let copy = folder.path().join("log");
    fs::create_dir_all(&copy).expect("folder");
    let [segment] = &segments(&data)[..] else { panic!("one segment") };
    fs::copy(segment, copy.join(segment.file_name().expect("name"))).expect("copy");
    let whole = fs::read(segment).expect("segment");
    let mut damaged = whole.clone();
    damaged[1000] ^= 0x40;
    fs::write(segment, &damaged).expect("write");
    let plan = repaired(&data, &["--log", copy.to_str().expect("path")]);
    assert!(plan.contains("by the whole copy in"), "{plan}");
    assert_eq!(records(&data).await, wanted);
    let kept = file(&data.join("quarantine"), ".log");
    assert_eq!(fs::read(kept).expect("kept"), damaged);

    fs::write(segment, &damaged).expect("write");
    let plan = repaired(&data, &[]);
    assert!(plan.contains("cut the log at LSN") && plan.contains("LOST"), "{plan}");
    let left = records(&data).await;
    assert_eq!(left.len(), wanted.len() - 1, "the one that was in the log alone");
    assert!(paths(&data.join("log")).keys().any(|name| name.ends_with(".bak")));
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    server.save("audiences", &audience("u", "after")).await;
    server.kill();
    assert_eq!(records(&data).await.len(), left.len() + 1);
}

#[tokio::test]
async fn a_log_behind_its_files_goes_on_above_them() {
    let folder = tempfile::tempdir().expect("folder");
    let (data, _) = store(folder.path()).await;
    let before = records(&data).await;
    let [segment] = &segments(&data)[..] else { panic!("one segment") };
    let mut bytes = fs::read(segment).expect("segment");
    // As a disk that lost its last writes: files know of LSNs that the log does not.
    let half = bytes.iter().rposition(|b| *b != 0).expect("records") / 2;
    bytes[half..].fill(0);
    fs::write(segment, bytes).expect("write");
    fs::create_dir_all(data.join("tmp")).expect("tmp");
    fs::write(data.join("tmp/3"), b"half").expect("write");
    let plan = repaired(&data, &[]);
    assert!(plan.contains("let the log go on above LSN 55"), "{plan}");
    assert!(plan.contains("move tmp/3 aside"), "{plan}");
    assert_eq!(records(&data).await.len(), before.len() - 1);
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let mut body = audience("u", "after");
    body["created_at"] = json!("2025-04-20");
    server.save("audiences", &body).await;
    server.kill();
    assert_eq!(records(&data).await.len(), before.len(), "it would have been taken for applied");
}
