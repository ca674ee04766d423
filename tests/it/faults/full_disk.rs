//! A disk without space, in the middle of a segment's making, a checkpoint and a log write: writes
//! are refused and say when to try again, reads go on, writes are taken again by themselves.

use futures_util::future::join_all;

use super::PATIENT;
use super::preload::{Preload, loaded_in};
use super::saver::{Saver, check_all};
use super::small_disk::{SmallDisk, bytes_of};
use crate::support::files::paths;
use crate::support::rows::stored_once;
use crate::support::{Server, eventually};

/// Small segments, and no reserve: the disk is to be full to the last byte.
const ARGS: [&str; 4] =
    ["--log-segment-bytes=1MiB", "--disk-reserve=0", PATIENT, "--checkpoint-interval=1h"];
const RECORD: usize = 20_000;
const MIB: usize = 32;

async fn refuse_each(savers: &mut [Saver], server: &Server) {
    let codes = join_all(savers.iter_mut().map(|s| s.until_refused(server))).await;
    assert!(codes.iter().all(|code| code == "STORAGE_FULL"), "{codes:?}");
    assert_eq!(server.get("/health/ready").await.status, 503);
    assert_eq!(server.get("/health/live").await.status, 200);
    assert_eq!(server.metric("log_failed").await, 0);
}

/// Nobody but the test does anything for it.
async fn resume(savers: &mut [Saver], server: &Server) {
    for saver in &mut *savers {
        eventually("saves are taken again", async || saver.save(server).await.is_none()).await;
        saver.fill(server, 5).await;
    }
    eventually("ready", async || server.get("/health/ready").await.status == 200).await;
}

#[tokio::test]
async fn a_rotation_without_space_refuses_until_there_is_some_also_across_a_kill() {
    for disk in SmallDisk::each_of_mib(MIB) {
        rotation(&disk).await;
    }
}

async fn rotation(disk: &SmallDisk) {
    let mut server = disk.server(&ARGS, |command| command).await;
    let mut savers = Saver::some(4, RECORD);
    join_all(savers.iter_mut().map(|s| s.fill(&server, 10))).await;
    disk.fill();
    refuse_each(&mut savers, &server).await;
    check_all(&mut savers, &server).await;
    server.kill();
    // Nothing was freed: what is there is served by a new process, too.
    let mut server = disk.server(&ARGS, |command| command).await;
    check_all(&mut savers, &server).await;
    refuse_each(&mut savers, &server).await;
    disk.free();
    resume(&mut savers, &server).await;
    check_all(&mut savers, &server).await;
    server.kill();
    let mut server = disk.server(&ARGS, |command| command).await;
    check_all(&mut savers, &server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_checkpoint_without_space_is_made_when_there_is_some() {
    for disk in SmallDisk::each_of_mib(MIB) {
        checkpoint(&disk).await;
    }
}

async fn checkpoint(disk: &SmallDisk) {
    let args = [ARGS[0], ARGS[1], PATIENT, "--checkpoint-interval=100ms"];
    let mut server = disk.server(&args, |command| command).await;
    let mut savers = Saver::some(3, RECORD);
    join_all(savers.iter_mut().map(|s| s.fill(&server, 3))).await;
    server.checkpoint().await;
    let file = disk.data().join("platforms/user_id=saver-0/platforms.parquet");
    let before = bytes_of(&file);
    disk.fill();
    let failed = "checkpoints_total{outcome=\"failed\"}";
    // What fits into the segment is taken while no checkpoint gets through.
    join_all(savers.iter_mut().map(|s| s.save(&server))).await;
    eventually("checkpoints fail", async || server.metric(failed).await >= 3).await;
    let asked = server.send(reqwest::Method::POST, "/api/admin/checkpoint", &[], None).await;
    assert!(asked.header("retry-after").is_some());
    asked.expect_error(503, "STORAGE_FULL");
    assert!(!before.is_empty() && bytes_of(&file) == before, "the old file is whole");
    check_all(&mut savers, &server).await;
    disk.free();
    let all_in_files = async || server.metric("log_unpublished_records").await == 0;
    eventually("the files follow", all_in_files).await;
    resume(&mut savers, &server).await;
    check_all(&mut savers, &server).await;
    server.stop().await;
    let rows = stored_once(&disk.data()).len();
    assert_eq!(rows, savers.iter().map(|s| s.kept.len()).sum::<usize>());
    assert!(paths(&disk.data().join("tmp")).is_empty(), "no litter");
}

/// Where space cannot be reserved, the write itself finds none.
#[tokio::test]
async fn a_log_write_without_space_is_taken_back_and_writes_resume() {
    for disk in SmallDisk::each_of_mib(MIB) {
        log_write(&disk).await;
    }
}

async fn log_write(disk: &SmallDisk) {
    let preload = Preload::build();
    let dress = |command| preload.dress_without_reservations(command);
    let mut server = disk.server(&ARGS, dress).await;
    assert!(loaded_in(server.pid()));
    let mut savers = Saver::some(4, RECORD);
    join_all(savers.iter_mut().map(|s| s.fill(&server, 3))).await;
    for round in 0..3 {
        disk.fill();
        refuse_each(&mut savers, &server).await;
        if round == 0 {
            // Far from its end: there has been no other segment.
            assert_eq!(server.metric("log_segments").await, 1);
        }
        check_all(&mut savers, &server).await;
        if round == 1 {
            server.kill();
            server =
                disk.server(&ARGS, |command| preload.dress_without_reservations(command)).await;
            check_all(&mut savers, &server).await;
        }
        disk.free();
        resume(&mut savers, &server).await;
    }
    server.kill();
    let mut server = disk.server(&ARGS, |command| command).await;
    check_all(&mut savers, &server).await;
    server.stop().await;
}
