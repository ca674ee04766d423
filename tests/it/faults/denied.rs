//! Permissions that are missing: each has its answer, and what was refused works once they are back.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::PATIENT;
use super::saver::{Saver, check_all};
use crate::support::files::{contents, segments};
use crate::support::launch::unprivileged;
use crate::support::rows::stored_once;
use crate::support::{Server, eventually};

/// Only what asks for it is written to Parquet.
const NO_CHECKPOINTS: [&str; 2] = ["--checkpoint-interval=1h", PATIENT];

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
}

fn start(data: &Path, args: &[&str]) -> Result<Server, String> {
    Server::launched(data, args, |command| unprivileged(&command))
}

async fn ready(data: &Path, args: &[&str]) -> Server {
    let server = start(data, args).unwrap_or_else(|e| panic!("{e}"));
    server.ready().await;
    server
}

#[tokio::test]
async fn a_folder_and_a_file_that_may_not_be_written_cost_no_save() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = ready(&data, &NO_CHECKPOINTS).await;
    let mut savers = Saver::some(2, 100);
    for saver in &mut savers {
        saver.fill(&server, 3).await;
    }
    server.checkpoint().await;
    let own = data.join("platforms/user_id=saver-0");
    let before = contents(&own);
    allow(&own.join("platforms.parquet"), 0o400);
    allow(&own, 0o500);
    for saver in &mut savers {
        saver.fill(&server, 3).await;
    }
    for _ in 0..2 {
        let asked = server.send(reqwest::Method::POST, "/api/admin/checkpoint", &[], None).await;
        assert!(asked.header("retry-after").is_some());
        asked.expect_error(503, "STORAGE_FAILED");
    }
    assert_eq!(contents(&own), before, "not a byte changed");
    check_all(&mut savers, &server).await;
    let others = async || stored_once(&data).iter().filter(|r| r.user == "saver-1").count() == 6;
    eventually("the other user's file is written", others).await;
    // A file that may not be written is replaced: its folder is what counts.
    allow(&own, 0o700);
    server.checkpoint().await;
    check_all(&mut savers, &server).await;
    assert_eq!(stored_once(&data).len(), 12);
    server.stop().await;
}

#[tokio::test]
async fn a_file_that_may_not_be_read_closes_its_partition_until_it_may() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = ready(&data, &NO_CHECKPOINTS).await;
    let mut savers = Saver::some(2, 100);
    for saver in &mut savers {
        saver.fill(&server, 3).await;
    }
    server.stop().await;
    let file = data.join("platforms/user_id=saver-0/platforms.parquet");
    let before = fs::read(&file).expect("file");
    allow(&file, 0);
    let mut server = ready(&data, &NO_CHECKPOINTS).await;
    let list = "/api/platforms?user_id=saver-0";
    // Whoever looks at it first, a client or the server after its start, learns why; who comes in
    // the pause after that, that it is being recovered.
    eventually("a client is told why", async || {
        let refused = server.get(list).await;
        assert!(refused.header("retry-after").is_some());
        let told = refused.text.contains("\"STORAGE_FAILED\"");
        refused.expect_error(503, if told { "STORAGE_FAILED" } else { "PARTITION_RESTARTING" });
        told
    })
    .await;
    for _ in 0..3 {
        // It is tried again after a pause that grows.
        let code = savers[0].save(&server).await.expect("refused");
        assert!(["STORAGE_FAILED", "PARTITION_RESTARTING"].contains(&code.as_str()), "{code}");
    }
    savers[1].fill(&server, 3).await;
    savers[1].check(&server).await;
    server.try_checkpoint().await;
    allow(&file, 0o600);
    assert_eq!(fs::read(&file).expect("file"), before, "not a byte changed");
    eventually("it is read again", async || server.get(list).await.status == 200).await;
    eventually("saves are taken", async || savers[0].save(&server).await.is_none()).await;
    check_all(&mut savers, &server).await;
    server.stop().await;
    assert_eq!(stored_once(&data).len(), savers.iter().map(|s| s.kept.len()).sum::<usize>());
}

#[tokio::test]
async fn a_log_folder_that_may_not_be_written_closes_the_log_to_writes_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let args = [NO_CHECKPOINTS[0], PATIENT, "--log-segment-bytes=1MiB"];
    let mut server = ready(&data, &args).await;
    let mut savers = Saver::some(2, 100_000);
    for saver in &mut savers {
        saver.fill(&server, 2).await;
    }
    allow(&data.join("log"), 0o500);
    // The segment in use takes what fits; the next one cannot be made.
    for saver in &mut savers {
        assert_eq!(saver.until_refused(&server).await, "LOG_FAILED");
    }
    assert_eq!(server.get("/health/ready").await.status, 503);
    assert_eq!(server.metric("log_failed").await, 1);
    server.says("could not make a segment").await;
    check_all(&mut savers, &server).await;
    server.kill();
    allow(&data.join("log"), 0o700);
    let mut server = ready(&data, &args).await;
    check_all(&mut savers, &server).await;
    for saver in &mut savers {
        saver.fill(&server, 10).await;
    }
    check_all(&mut savers, &server).await;
    server.stop().await;
}

/// What the program says of why it ends.
fn sentence(said: &str) -> Option<&str> {
    said.lines().find(|line| line.starts_with("audience-store: "))
}

#[tokio::test]
async fn a_start_that_is_denied_a_file_says_which_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = ready(&data, &NO_CHECKPOINTS).await;
    let mut saver = Saver::new("u", 100);
    saver.fill(&server, 5).await;
    server.kill();
    let [segment] = &segments(&data)[..] else { panic!("one segment") };
    let name = segment.file_name().expect("name").to_str().expect("UTF-8");
    let before = contents(&data.join("log"));
    for (path, mode, usual, part) in [
        (segment.as_path(), 0o000, 0o600, name),
        (segment.as_path(), 0o400, 0o600, name),
        (&data.join("log"), 0o000, 0o700, "log"),
        (&data.join("LOCK"), 0o400, 0o600, "cannot use the data folder"),
        (&data, 0o000, 0o700, "cannot use the data folder"),
    ] {
        allow(path, mode);
        let said = match start(&data, &NO_CHECKPOINTS) {
            Err(said) => said,
            // It listens before it reads the log, and ends then.
            Ok(mut server) => {
                assert_eq!(server.ended().await.code(), Some(1), "{}", server.said());
                // Its last words may be heard a moment after its end.
                eventually("a sentence", async || sentence(&server.said()).is_some()).await;
                server.said()
            }
        };
        allow(path, usual);
        let sentence = sentence(&said).unwrap_or_else(|| panic!("{path:?} {mode:o}: {said}"));
        assert!(sentence.contains(part), "{part} in {sentence}");
        assert!(sentence.contains("Permission denied"), "{sentence}");
        assert_eq!(contents(&data.join("log")), before, "nothing was changed");
    }
    let mut server = ready(&data, &NO_CHECKPOINTS).await;
    saver.check(&server).await;
    server.stop().await;
}
