//! Months in the archive: out of the tables' folders and of lists, still there for who asks.

use std::fs;
use std::path::{Path, PathBuf};

use audience_store::domain::Micros;
use serde_json::{Value, json};

use crate::support::chance::{Chance, seed};
use crate::support::faketime::Clock;
use crate::support::files::paths;
use crate::support::{Server, audience, eventually, program, run};

const NO_CHECKPOINTS: [&str; 4] = ["--checkpoint-interval", "1h", "--log-segment-bytes", "1MiB"];
const IN_ARCHIVE: &str = "archive/audiences/user_id=u/year=2025/month=01/audiences_202501.parquet";
const IN_TABLE: &str = "audiences/user_id=u/year=2025/month=01/audiences_202501.parquet";

/// A stopped store: January all archived, February not all, and a month that has not ended.
async fn store(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    for n in 0..12 {
        let mut body = audience("u", &format!("number {n}"));
        body["audience_id"] = json!(format!("a{n}"));
        body["status"] = json!(if n == 1 { "active" } else { "archived" });
        if n < 8 {
            body["created_at"] = json!(format!("2025-0{}-10", 1 + n % 2));
        }
        server.save("audiences", &body).await;
    }
    server.stop().await;
    data
}

fn archive(data: &Path) -> String {
    let path = data.to_str().expect("path");
    let (code, out, error) = run(program(&["archive", "--older-than", "90d", "--data", path]));
    assert_eq!(code, 0, "{error}");
    out
}

fn sound(data: &Path) {
    let path = data.to_str().expect("path");
    let (code, out, _) = run(program(&["verify", "--deep", "--data", path]));
    assert_eq!(code, 0, "{out}");
}

/// The ids on all pages of a list, in its order.
async fn listed(server: &Server, query: &str) -> Vec<String> {
    let first = format!("/api/audiences?user_id=u&limit=3{query}");
    let (mut ids, mut next) = (Vec::new(), first.clone());
    loop {
        let page = server.get(&next).await.expect(200);
        let records = page["audiences"].as_array().expect("records");
        ids.extend(records.iter().map(|r| r["audience_id"].as_str().expect("id").to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("{first}&cursor={cursor}"),
            None => return ids,
        }
    }
}

async fn read(server: &Server, id: &str) -> Value {
    let answer = server.get(&format!("/api/audiences/{id}?user_id=u")).await.expect(200);
    answer["audience"].clone()
}

#[tokio::test]
async fn whole_months_go_and_are_read_by_id_and_listed_when_asked_and_come_back_when_changed() {
    let folder = tempfile::tempdir().expect("folder");
    let data = store(folder.path()).await;
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let all = listed(&server, "").await;
    let before = read(&server, "a0").await;
    assert_eq!(all.len(), 12);
    server.stop().await;

    assert_eq!(archive(&data).trim(), "2 months looked at, 1 moved to archive/, 0 not to be read");
    assert!(data.join(IN_ARCHIVE).is_file() && !data.join(IN_TABLE).exists());
    assert!(archive(&data).contains(" 0 moved"), "once");
    sound(&data);
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    let shown = listed(&server, "").await;
    let january = ["a0", "a2", "a4", "a6"];
    let rest: Vec<_> = all.iter().filter(|id| !january.contains(&&***id)).cloned().collect();
    assert_eq!(shown, rest, "out of lists, before anything of it was read");
    assert_eq!(listed(&server, "&archived=true").await, all);
    assert_eq!(listed(&server, "&archived=false").await, rest);
    let wrong = server.get("/api/audiences?user_id=u&archived=1").await;
    wrong.expect_error(400, "INVALID_PARAMETER");
    assert_eq!(read(&server, "a0").await, before);
    assert_eq!(listed(&server, "").await, rest, "also when it is loaded");
    let summary = server.get("/api/users/u/summary").await.expect(200);
    assert_eq!(summary["summary"]["audiences"]["total"], 12, "{summary}");
    // Saving an id that lives in the archive changes that record.
    let mut again = audience("u", "changed");
    again["audience_id"] = json!("a0");
    server.post("/api/audiences", &again).await.expect(200);
    assert_eq!(listed(&server, "").await, all, "shown at once, as a whole");
    assert_eq!(read(&server, "a0").await["name"], "changed");
    server.checkpoint().await;
    assert!(data.join(IN_TABLE).is_file() && !data.join(IN_ARCHIVE).exists());
    assert_eq!(listed(&server, "").await, all);
    sound(&data);
}

#[tokio::test]
async fn a_running_server_archives_while_its_months_are_read_and_what_is_archived_is_kept() {
    let folder = tempfile::tempdir().expect("folder");
    let data = store(folder.path()).await;
    let args = ["--archive-after", "90d", "--checkpoint-interval", "100ms"];
    let mut server = Server::over(&data, &args).await;
    eventually("it is archived", async || {
        for id in ["a0", "a2", "a4", "a6"] {
            let reply = server.get(&format!("/api/audiences/{id}?user_id=u")).await;
            assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
        }
        data.join(IN_ARCHIVE).is_file() && !data.join(IN_TABLE).exists()
    })
    .await;
    eventually("lists leave it out", async || listed(&server, "").await.len() == 8).await;
    assert_eq!(listed(&server, "&archived=true").await.len(), 12);

    let backup = folder.path().join("backup");
    let to = folder.path().join("restored");
    let [from, into, store] = [&backup, &to, &data].map(|p| p.to_str().expect("path").to_owned());
    let (code, _, error) = run(program(&["backup", &from, "--data", &store]));
    assert_eq!(code, 0, "{error}");
    let (code, _, error) = run(program(&["restore", "--from", &from, "--data", &into]));
    assert_eq!(code, 0, "{error}");
    assert!(to.join(IN_ARCHIVE).is_file());
    let copy = Server::over(&to, &NO_CHECKPOINTS).await;
    assert_eq!(listed(&copy, "").await.len(), 8);
    assert_eq!(listed(&copy, "&archived=true").await.len(), 12);
    assert_eq!(read(&copy, "a4").await, read(&server, "a4").await);

    server.delete("/api/users/u").await.expect(200);
    assert!(paths(&data.join("archive")).is_empty(), "erased there, too");
    assert_eq!(listed(&server, "&archived=true").await.len(), 0);
    server.stop().await;
}

/// The command beside a running server: the server does it, what only the log held included.
#[tokio::test]
async fn a_command_asks_the_running_server() {
    let folder = tempfile::tempdir().expect("folder");
    let data = store(folder.path()).await;
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let all = listed(&server, "").await;
    // March becomes archived in the log alone, January no more.
    for (id, month) in [("m0", "03"), ("m1", "03")] {
        let mut body = audience("u", id);
        body["audience_id"] = json!(id);
        body["status"] = json!("archived");
        body["created_at"] = json!(format!("2025-{month}-10"));
        server.save("audiences", &body).await;
    }
    let active = json!({"user_id": "u", "status": "active"});
    server.put("/api/audiences/a0/status", &active).await.expect(200);
    assert_eq!(archive(&data).trim(), "3 months looked at, 1 moved to archive/, 0 not to be read");
    assert!(data.join(IN_TABLE).is_file() && !data.join(IN_ARCHIVE).exists());
    assert_eq!(listed(&server, "").await, all);
    assert_eq!(listed(&server, "&archived=true").await.len(), 14);
    assert_eq!(read(&server, "m0").await["name"], "m0");
    let archived = json!({"user_id": "u", "status": "archived"});
    server.put("/api/audiences/a0/status", &archived).await.expect(200);
    assert_eq!(archive(&data).trim(), "2 months looked at, 1 moved to archive/, 0 not to be read");
    assert!(data.join(IN_ARCHIVE).is_file() && !data.join(IN_TABLE).exists());
    assert!(paths(&data.join("requests")).is_empty(), "nothing is left behind");
    // Several at once.
    let asked: Vec<_> = (0..3)
        .map(|_| {
            let data = data.clone();
            tokio::task::spawn_blocking(move || archive(&data))
        })
        .collect();
    for asked in asked {
        assert!(asked.await.expect("join").contains(" 0 moved"));
    }
    server.stop().await;
    sound(&data);
}

/// A request that the server had taken when it was killed is answered, and not done again unasked.
#[tokio::test]
async fn a_server_that_starts_answers_what_its_forerunner_left_and_drops_what_is_old() {
    let folder = tempfile::tempdir().expect("folder");
    let data = store(folder.path()).await;
    let requests = data.join("requests");
    fs::create_dir_all(&requests).expect("folder");
    let old =
        json!({"at": 1_700_000_000_000_000_i64, "older_than_seconds": 0, "status": "archived"});
    fs::write(requests.join("00000000000000aa.archive"), old.to_string()).expect("old");
    let taken = json!({"done": 1, "total": 2, "beat": 3});
    fs::write(requests.join("00000000000000bb.taken"), taken.to_string()).expect("taken");
    fs::write(requests.join("00000000000000cc.archive"), "nonsense").expect("nonsense");
    fs::write(requests.join("README"), "somebody else's").expect("foreign");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    eventually("they are dealt with", async || {
        let names: Vec<_> = paths(&requests).into_keys().collect();
        names == ["00000000000000bb.done", "README"]
    })
    .await;
    let done = fs::read_to_string(requests.join("00000000000000bb.done")).expect("answer");
    assert!(done.contains("the server ended before it was done"), "{done}");
    assert!(data.join(IN_TABLE).is_file(), "nothing was archived");
    server.stop().await;
}

/// Somebody who has the store open and takes no requests is waited for, then left alone.
#[tokio::test]
async fn a_request_that_nobody_takes_is_withdrawn() {
    let folder = tempfile::tempdir().expect("folder");
    let data = store(folder.path()).await;
    let lock = fs::File::options().write(true).open(data.join("LOCK")).expect("lock");
    lock.try_lock().expect("free");
    let path = data.to_str().expect("path");
    let command = program(&["archive", "--older-than", "90d", "--data", path]);
    let (code, _, error) = tokio::task::spawn_blocking(|| run(command)).await.expect("join");
    assert_eq!((code, error.contains("it was withdrawn")), (1, true), "{error}");
    assert!(paths(&data.join("requests")).is_empty());
    assert!(data.join(IN_TABLE).is_file());
}

/// Daily means that a month that was too young goes once it is old enough, without a restart.
#[tokio::test]
async fn a_server_that_runs_archives_again_on_the_next_day() {
    const DAY: i64 = 86_400;
    let folder = tempfile::tempdir().expect("folder");
    let data = store(folder.path()).await;
    // January 2025 ended 89 days ago.
    let ended = Micros::parse("2025-02-01").expect("date").get() / 1_000_000;
    let clock = Clock::at(folder.path(), ended + 89 * DAY + DAY / 2);
    let args = [&NO_CHECKPOINTS[..], &["--archive-after", "90d"]].concat();
    let mut server = Server::listening_with(&data, &args, &clock.environment()).expect("server");
    server.ready().await;
    // The first look of the day is over when what is asked for after it is: it finds nothing.
    let mut command =
        program(&["archive", "--older-than", "90d", "--data", data.to_str().expect("path")]);
    command.envs(clock.environment());
    let (code, out, error) = run(command);
    assert_eq!((code, out.contains(" 0 moved")), (0, true), "{out}{error}");
    assert!(data.join(IN_TABLE).is_file());
    clock.set(ended + 91 * DAY + DAY / 2);
    eventually("the next day's look", async || data.join(IN_ARCHIVE).is_file()).await;
    eventually("it is moved", async || !data.join(IN_TABLE).exists()).await;
    server.stop().await;
}

#[tokio::test]
async fn a_kill_anywhere_leaves_every_month_readable_in_one_place() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let mut chance = Chance::new(seed());
    for month in 1..=12 {
        for n in 0..3 {
            let mut body = audience("u", "a name");
            body["audience_id"] = json!(format!("a{month}-{n}"));
            body["status"] = json!("archived");
            body["created_at"] = json!(format!("2024-{month:02}-10"));
            server.save("audiences", &body).await;
        }
    }
    server.stop().await;
    let args = [&NO_CHECKPOINTS[..], &["--archive-after", "90d"]].concat();
    let moved = || paths(&data.join("archive")).len();
    for _ in 0..6 {
        let more = usize::try_from(chance.of(0..3)).expect("small");
        let wanted = (moved() + more).min(12);
        let mut server = Server::over(&data, &args).await;
        eventually("some are moved", async || moved() >= wanted).await;
        server.kill();
        let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
        let all = listed(&server, "&archived=true").await;
        let mut once = all.clone();
        once.sort();
        once.dedup();
        assert_eq!((all.len(), once.len()), (36, 36), "{all:?}");
        server.kill();
    }
    // Both places, as a kill between the two steps leaves it: the table's counts.
    let server = Server::over(&data, &args).await;
    // Not only copied: the last one's removal counts, too.
    let tables = || paths(&data.join("audiences")).len();
    eventually("all are moved", async || (moved(), tables()) == (12, 0)).await;
    drop(server);
    let both = "audiences/user_id=u/year=2024/month=05/audiences_202405.parquet";
    let archived = data.join("archive").join(both);
    fs::copy(&archived, data.join(both)).expect("copy");
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    assert_eq!(listed(&server, "&archived=true").await.len(), 36);
    assert_eq!(listed(&server, "").await, ["a5-0", "a5-1", "a5-2"]);
    assert!(data.join(both).is_file() && !archived.exists());
    sound(&data);
}
