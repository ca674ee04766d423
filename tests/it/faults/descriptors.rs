//! File descriptors that run out: connections leave enough for files; where there is none at all,
//! saves go on as long as no file is needed, then are refused, and all resumes by itself.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::PATIENT;
use super::saver::Saver;
use crate::support::launch::limited;
use crate::support::wire::{hear, hear_all, say};
use crate::support::{Server, eventually};

const ARGS: [&str; 4] =
    ["--log-segment-bytes=1MiB", "--checkpoint-interval=100ms", "--header-timeout=10m", PATIENT];
const RECORD: usize = 50_000;

#[tokio::test]
async fn more_connections_than_descriptors_cost_no_save() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let server = Server::launched(&data, &ARGS, |command| limited("-n 128", &command));
    let mut server = server.unwrap_or_else(|e| panic!("{e}"));
    server.ready().await;
    server.says("raise the limit on open files").await;
    let mut saver = Saver::new("u", RECORD);
    let mut crowd = Vec::new();
    for round in 0..4 {
        for _ in 0..80 {
            let mut stream = server.connect().await;
            say(&mut stream, b"GET /health/live HTTP/1.1\r\nHost: t\r\nX-").await;
            crowd.push(stream);
        }
        // Segments and Parquet files are opened meanwhile: 30 records fill more than one.
        saver.fill(&server, 30).await;
        server.checkpoint().await;
        saver.check(&server).await;
        assert!(server.metric("connections_open").await <= 32, "round {round}");
    }
    assert_eq!(server.metric("log_failed").await, 0);
    drop(crowd);
    eventually("the crowd's places are free", async || {
        server.metric("connections_open").await <= 2
    })
    .await;
    // Some of the crowd still wait to be accepted, and end when they are.
    eventually("connections are accepted", async || {
        let mut fresh = server.connect().await;
        say(&mut fresh, b"GET /health/live HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await;
        hear_all(&mut fresh).await.starts_with("HTTP/1.1 200 ")
    })
    .await;
    server.kill();
    let server = Server::over(&data, &ARGS).await;
    saver.check(&server).await;
}

/// The lowest number that a new file of the process would get.
fn next_descriptor(pid: u32) -> u64 {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("files");
    let open: BTreeSet<u64> =
        open.filter_map(|entry| entry.expect("file").file_name().to_str()?.parse().ok()).collect();
    (0..).find(|number| !open.contains(number)).expect("a number")
}

#[tokio::test]
async fn without_any_descriptor_saves_are_refused_only_where_one_is_needed_and_resume() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let args = [
        ARGS[0],
        "--checkpoint-interval=1h",
        "--checkpoint-bytes=256MiB",
        "--scrub-rate=0",
        "--usage-interval=1d",
        PATIENT,
    ];
    let mut server = Server::over(&data, &args).await;
    let pid = Pid::from_raw(i32::try_from(server.pid()).expect("pid"));
    let mut saver = Saver::new("u", RECORD);
    saver.fill(&server, 3).await;
    let usual = prlimit(pid, Resource::Nofile, getrlimit(Resource::Nofile)).expect("limit");
    prlimit(pid, Resource::Nofile, usual).expect("limit");
    for _ in 0..3 {
        // The segment in use needs none; the next one does. A connection or a file that is closed
        // meanwhile leaves one free, until that is looked at again.
        let mut refused = None;
        while refused.is_none() {
            let current = Some(next_descriptor(server.pid()));
            let none = Rlimit { current, maximum: usual.maximum };
            prlimit(pid, Resource::Nofile, none).expect("limit");
            refused = saver.refused_within(&server, 60).await;
        }
        assert_eq!(refused.as_deref(), Some("STORAGE_FULL"));
        server.says("Too many open files").await;
        assert_eq!(server.metric("log_failed").await, 0);
        // What must be read from a file cannot be, for now, and says so.
        let list = server.get("/api/platforms?user_id=u").await;
        assert!([200, 503].contains(&list.status.as_u16()), "{list:?}");
        let mut stranger = server.connect().await;
        say(&mut stranger, b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n").await;
        server.says("connections cannot be accepted").await;
        prlimit(pid, Resource::Nofile, usual).expect("limit");
        assert!(hear(&mut stranger).await.starts_with("HTTP/1.1 200 "), "accepts resume");
        eventually("saves resume", async || saver.save(&server).await.is_none()).await;
        saver.fill(&server, 5).await;
        saver.check(&server).await;
    }
    server.kill();
    let mut server = Server::over(&data, &args).await;
    saver.check(&server).await;
    server.stop().await;
}
