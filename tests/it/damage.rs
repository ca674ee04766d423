//! Damaged logs and files: nothing is lost silently, nothing is overwritten, the rest serves.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::access::{folder, token};
use crate::support::files::{contents, paths, segments};
use crate::support::{Server, audience, pages, program, run};

/// Only what asks for it is written to Parquet.
const NO_CHECKPOINTS: [&str; 2] = ["--checkpoint-interval", "1h"];

/// A stopped store whose log holds one record for each of `count` audiences of `u`.
async fn logged(folder: &Path, count: usize) -> (PathBuf, Vec<String>) {
    let data = folder.join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(server.save("audiences", &audience("u", &format!("number {n}"))).await);
    }
    server.kill();
    (data, ids)
}

/// What `log inspect --json` prints.
fn inspected(data: &Path) -> Vec<Value> {
    let data = data.to_str().expect("path");
    let (code, out, error) = run(program(&["log", "inspect", "--json", "--data", data]));
    assert_eq!(code, 0, "{error}");
    out.lines().map(|line| serde_json::from_str(line).expect("JSON line")).collect()
}

fn offset_of(findings: &[Value], lsn: u64) -> usize {
    let record = findings.iter().find(|f| f["lsn"] == lsn).expect("record");
    usize::try_from(record["offset"].as_u64().expect("offset")).expect("offset")
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("read");
    change(&mut bytes);
    fs::write(path, bytes).expect("write");
}

async fn names(server: &Server) -> Vec<String> {
    let all = pages(server, "audiences", "u").await;
    let mut names: Vec<_> =
        all.iter().map(|r| r["name"].as_str().expect("name").to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_log_damaged_in_the_middle_is_refused_inspected_and_cut_by_hand() {
    let folder = tempfile::tempdir().expect("folder");
    let (data, _) = logged(folder.path(), 10).await;
    let findings = inspected(&data);
    assert_eq!(findings.iter().filter(|f| f["lsn"].is_u64()).count(), 10);
    let at = offset_of(&findings, 5);
    let [segment] = &segments(&data)[..] else { panic!("one segment") };
    change(segment, |bytes| bytes[at + 60] ^= 0x10);
    let name = segment.file_name().expect("name").to_str().expect("UTF-8");
    let damaged = contents(&data.join("log"));
    let path = data.to_str().expect("path");

    let (code, _, error) = run(program(&["serve", "--listen", "127.0.0.1:0", "--data", path]));
    assert_eq!(code, 1, "{error}");
    let said = error.lines().find(|l| l.starts_with("audience-store:")).expect("a sentence");
    for part in [
        name,
        &format!("byte {at}"),
        "LSN 5",
        "`audience-store log inspect`",
        "`audience-store log truncate --at 5`",
    ] {
        assert!(said.contains(part), "no {part} in: {said}");
    }
    assert_eq!(contents(&data.join("log")), damaged, "nothing was changed");

    let damage = inspected(&data).into_iter().find(|f| f["damage"].is_string()).expect("damage");
    assert_eq!(
        (&damage["file"], &damage["offset"], &damage["expected_lsn"]),
        (&json!(name), &json!(at), &json!(5))
    );
    let (_, text, error) = run(program(&["log", "inspect", "--data", path]));
    assert!(text.contains(&format!("DAMAGE in {name} at byte {at}")), "{text}");
    assert!(error.contains("1 damaged places"), "{error}");

    let cut = ["log", "truncate", "--at", "5", "--data", path];
    let (code, _, error) = run(program(&cut));
    assert_eq!((code, error.contains("nothing was changed")), (1, true), "{error}");
    assert_eq!(contents(&data.join("log")), damaged, "nobody said yes");
    let (code, out, error) = run(program(&[&cut[..], &["--yes"]].concat()));
    assert_eq!(code, 0, "{error}");
    let copy = paths(&data.join("log")).into_keys().find(|n| n.ends_with(".bak")).expect("copy");
    assert!(out.contains("kept everything through LSN 4") && out.contains(&copy), "{out}");

    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    assert_eq!(names(&server).await, ["number 0", "number 1", "number 2", "number 3"]);
    server.save("audiences", &audience("u", "number 9, again")).await;
    server.kill();
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    assert_eq!(names(&server).await.len(), 5);
    assert_eq!(names(&server).await[4], "number 9, again");
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_reported_and_costs_nothing_acknowledged() {
    let folder = tempfile::tempdir().expect("folder");
    let (data, _) = logged(folder.path(), 6).await;
    let last = inspected(&data).into_iter().find(|f| f["lsn"] == 6).expect("record");
    let number = |field: &str| usize::try_from(last[field].as_u64().expect(field)).expect(field);
    let end = number("offset") + number("bytes");
    // A record that was being written: its beginning is there, its end is not.
    change(&segments(&data)[0], |bytes| {
        let begun = bytes[number("offset")..number("offset") + 100].to_vec();
        bytes[end..end + 100].copy_from_slice(&begun);
        bytes[end + 8] = 7;
    });
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    server.says("it was cut off").await;
    assert_eq!(names(&server).await.len(), 6);
    server.save("audiences", &audience("u", "number 6")).await;
    server.kill();
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    assert_eq!(names(&server).await.len(), 7);
    assert!(!server.said().contains("it was cut off"), "once");
}

/// Damages a user's file in every way, and checks each time that it stays as it is, is reported,
/// and takes nothing else with it.
#[tokio::test]
async fn an_unreadable_file_closes_its_partition_and_is_never_touched() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let platform = |user: &str| json!({ "user_id": user, "platform_type": "meta", "name": "p" });
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let id = server.save("audiences", &audience("u", "in the file")).await;
    server.save("platforms", &platform("u")).await;
    server.save("audiences", &audience("v", "another's")).await;
    server.checkpoint().await;
    server.save("audiences", &audience("u", "in the log alone")).await;
    server.kill();

    let file_of = |user: &str| {
        let all = paths(&data.join("audiences"));
        let own = all.into_iter().find(|(name, _)| name.contains(&format!("user_id={user}/")));
        own.expect("file")
    };
    let (name, file) = file_of("u");
    let whole = fs::read(&file).expect("file");
    let mut flipped = whole.clone();
    flipped[whole.len() / 3] ^= 0x40;
    let damages = [
        ("garbage", b"this is no Parquet file".to_vec()),
        ("empty", Vec::new()),
        ("cut in half", whole[..whole.len() / 2].to_vec()),
        ("another user's", fs::read(file_of("v").1).expect("file")),
        ("a flipped bit", flipped),
    ];
    for (how, bytes) in damages {
        fs::write(&file, &bytes).expect("write");
        let mut server = Server::over(&data, &["--checkpoint-interval", "100ms"]).await;
        let read = format!("/api/audiences/{id}?user_id=u");
        server.get(&read).await.expect_error(503, "PARTITION_CORRUPT");
        let list = server.get("/api/audiences?user_id=u").await;
        assert!(list.header("retry-after").is_some(), "{how}");
        list.expect_error(503, "PARTITION_CORRUPT");
        let update = json!({ "user_id": "u", "name": "changed" });
        let update = server.put(&format!("/api/audiences/{id}"), &update).await;
        update.expect_error(503, "PARTITION_CORRUPT");
        if how != "a flipped bit" {
            let create = server.post("/api/audiences", &audience("u", "new")).await;
            create.expect_error(503, "PARTITION_CORRUPT");
        }
        let ready = server.get("/health/ready").await.expect(200);
        let reported = &ready["unreadable_files"][0]["file"];
        assert_eq!(reported, &json!(format!("audiences/{name}")), "{how}: {ready}");
        server.says(&name).await;
        assert_eq!(server.metric("unreadable_files").await, 1);

        assert_eq!(pages(&server, "platforms", "u").await.len(), 1, "{how}");
        assert_eq!(pages(&server, "audiences", "v").await.len(), 1, "{how}");
        server.save("platforms", &platform("v")).await;
        server.checkpoint().await;
        server.stop().await;
        assert_eq!(fs::read(&file).expect("file"), bytes, "{how}: not a byte changed");
        let folder = file.parent().expect("folder");
        assert_eq!(paths(folder).len(), 1, "{how}: nothing beside it");
    }
    fs::write(&file, &whole).expect("write");
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    assert_eq!(names(&server).await, ["in the file", "in the log alone"]);
    assert_eq!(server.get("/health/ready").await.expect(200)["unreadable_files"], json!([]));
}

/// What bears the name of a partition's file, or of its folder, and could not be replaced by one.
#[tokio::test]
async fn what_stands_in_a_files_place_is_named_and_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let platform = |user: &str| json!({ "user_id": user, "platform_type": "meta", "name": "p" });
    let named = |user: &str| data.join(format!("platforms/user_id={user}/platforms.parquet"));
    fs::create_dir_all(named("folder")).expect("folder");
    fs::create_dir_all(named("link").parent().expect("parent")).expect("folder");
    std::os::unix::fs::symlink("nowhere", named("link")).expect("link");
    fs::write(data.join("platforms/user_id=flat"), b"no folder").expect("file");
    fs::create_dir_all(data.join("audiences")).expect("folder");
    fs::write(data.join("audiences/user_id=flat"), b"no folder").expect("file");

    let server = Server::over(&data, &["--checkpoint-interval", "100ms"]).await;
    for user in ["folder", "link", "flat"] {
        let list = server.get(&format!("/api/platforms?user_id={user}")).await;
        list.expect_error(503, "PARTITION_CORRUPT");
        let save = server.post("/api/platforms", &platform(user)).await;
        save.expect_error(503, "PARTITION_CORRUPT");
    }
    let list = server.get("/api/audiences?user_id=flat").await;
    list.expect_error(503, "PARTITION_CORRUPT");
    let ready = server.get("/health/ready").await.expect(200);
    let files: Vec<_> =
        ready["unreadable_files"].as_array().expect("files").iter().map(|f| &f["file"]).collect();
    let wanted = [
        "audiences/user_id=flat",
        "platforms/user_id=flat",
        "platforms/user_id=folder/platforms.parquet",
        "platforms/user_id=link/platforms.parquet",
    ];
    assert_eq!(files, wanted);
    server.save("platforms", &platform("another")).await;
    server.checkpoint().await;
    assert!(named("folder").is_dir() && named("link").is_symlink());

    let erased = server.delete("/api/users/folder").await.expect(200);
    assert_eq!(erased["counts_complete"], false, "{erased}");
    server.save("platforms", &platform("folder")).await;
    server.checkpoint().await;
    assert!(named("folder").is_file());
}

#[tokio::test]
async fn with_authentication_only_administrators_are_told_which_files_are_damaged() {
    let (_folder, data) = folder();
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    server.save("audiences", &audience("victim", "a")).await;
    server.stop().await;
    let (path, _) = contents(&data)
        .into_iter()
        .find(|(path, _)| path.contains("user_id=victim"))
        .expect("file");
    fs::write(data.join(path), "damaged").expect("write");
    let admin = token(&data, "ops", &["admin"], &[]);
    let user = token(&data, "u", &["audiences:read"], &[]);
    let server = Server::over(&data, &["--auth", "tokens"]).await;
    let asked = "/api/audiences?user_id=victim";
    server.with(&admin).get(asked).await.expect_error(503, "PARTITION_CORRUPT");
    let count =
        |ready: &Value| (ready["unreadable_count"].clone(), ready["unreadable_files"].clone());
    let said = [
        server.get("/health/ready").await.expect(200),
        server.with(&user).get("/health/ready").await.expect(200),
        server.with("ast_nonsense").get("/health/ready").await.expect(200),
    ];
    for ready in said {
        assert_eq!(count(&ready), (json!(1), json!([])), "{ready}");
    }
    let ready = server.with(&admin).get("/health/ready").await.expect(200);
    let named = ready["unreadable_files"][0]["file"].as_str().expect("named");
    assert!(named.contains("user_id=victim"), "{named}");
}
