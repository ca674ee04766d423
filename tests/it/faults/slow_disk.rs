//! A disk that does not answer: what waits for it is bounded, more is refused at once, reads go on,
//! and when it answers again everything that waited is answered.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::PATIENT;
use super::preload::{Preload, loaded_in};
use super::saver::{Saver, check_all};
use crate::support::{Server, audience, eventually};

const RECORD: usize = 900_000;
const CLIENTS: usize = 100;

/// The log takes 64 MiB in waiting and as much under way: with 90 MB, and as much again, some must
/// be refused.
#[tokio::test]
async fn while_syncs_hang_saves_beyond_the_bound_are_refused_at_once_and_none_is_lost() {
    let (folder, preload) = (tempfile::tempdir().expect("folder"), Preload::build());
    let data = folder.path().join("data");
    preload.only("/data/log/");
    let args = [PATIENT, "--checkpoint-interval=1h"];
    let server = Server::launched(&data, &args, |command| preload.dress(command));
    let server = Arc::new(server.unwrap_or_else(|e| panic!("{e}")));
    server.ready().await;
    assert!(loaded_in(server.pid()));
    let mut early = Saver::new("early", 1000);
    early.fill(&server, 5).await;

    preload.hold(true);
    let mut savers = Saver::some(CLIENTS, RECORD);
    let mut kept = Vec::new();
    let mut refusals = 0;
    let mut waiting = JoinSet::new();
    let begin = |waiting: &mut JoinSet<_>, mut saver: Saver| {
        let server = Arc::clone(&server);
        waiting.spawn(async move {
            let refused = saver.save(&server).await;
            (saver, refused)
        });
    };
    for saver in savers.drain(..) {
        begin(&mut waiting, saver);
    }
    // Only refusals are answered while every sync hangs; who is refused tries again.
    while refusals < 20 {
        let (saver, refused) = waiting.join_next().await.expect("an answer").expect("no panic");
        assert_eq!(refused.as_deref(), Some("OVERLOADED"), "nothing is acknowledged meanwhile");
        refusals += 1;
        begin(&mut waiting, saver);
    }
    assert!(preload.waiting() > 0, "a sync hangs");
    early.check(&server).await;
    assert_eq!(server.get("/health/ready").await.status, 200);

    preload.hold(false);
    while let Some(done) = waiting.join_next().await {
        let (saver, refused) = done.expect("no panic");
        match refused.as_deref() {
            None => kept.push(saver),
            Some("OVERLOADED") => begin(&mut waiting, saver),
            Some(other) => panic!("{other}"),
        }
    }
    assert_eq!(kept.len(), CLIENTS);
    assert!(kept.iter().all(|saver| saver.kept.len() == 1), "each save that waited is kept");
    eventually("nothing waits", async || server.metric("log_pending_bytes").await == 0).await;
    check_all(&mut kept, &server).await;
    let mut server = Arc::into_inner(server).expect("nobody else has it");
    server.kill();
    let server = Server::over(&data, &args).await;
    check_all(&mut kept, &server).await;
    early.check(&server).await;
}

/// Changes have so many places. Who comes while all are taken is told at once, whatever the disk
/// does; reads and administrators need no place.
#[tokio::test]
async fn one_change_more_than_may_be_under_way_is_refused_at_once_and_reads_go_on() {
    let (folder, preload) = (tempfile::tempdir().expect("folder"), Preload::build());
    let data = folder.path().join("data");
    preload.only("/data/log/");
    let args = [PATIENT, "--checkpoint-interval=1h", "--max-writes=2"];
    let server = Server::launched(&data, &args, |command| preload.dress(command));
    let server = Arc::new(server.unwrap_or_else(|e| panic!("{e}")));
    server.ready().await;
    let mut early = Saver::new("early", 100);
    early.fill(&server, 3).await;

    preload.hold(true);
    let mut waiting = JoinSet::new();
    for mut saver in Saver::some(2, 100) {
        let server = Arc::clone(&server);
        waiting.spawn(async move { (saver.save(&server).await, saver) });
    }
    eventually("both are under way", async || {
        server.metric("http_requests_in_flight").await == 3 && preload.waiting() > 0
    })
    .await;
    for refused in [
        server.post("/api/audiences", &audience("late", "a")).await,
        server.delete("/api/platforms/r00000?user_id=early").await,
    ] {
        assert_eq!(refused.header("retry-after"), Some("1"));
        refused.expect_error(503, "OVERLOADED");
    }
    early.check(&server).await;
    server.get("/api/admin/usage").await.expect(200);
    assert_eq!(server.metric("refused_total{reason=\"writes\"}").await, 2);

    preload.hold(false);
    let mut kept = Vec::new();
    while let Some(done) = waiting.join_next().await {
        let (refused, saver) = done.expect("no panic");
        assert_eq!(refused, None, "who has a place waits");
        kept.push(saver);
    }
    check_all(&mut kept, &server).await;
    early.fill(&server, 1).await;
    early.check(&server).await;
}

/// A disk that takes its time for each sync: many saves share one.
#[tokio::test]
async fn on_a_slow_disk_saves_share_syncs_and_none_is_lost() {
    let (folder, preload) = (tempfile::tempdir().expect("folder"), Preload::build());
    let data = folder.path().join("data");
    preload.only("/data/log/");
    preload.delay_micros(100_000);
    let server = Server::launched(&data, &[PATIENT], |command| preload.dress(command));
    let mut server = server.unwrap_or_else(|e| panic!("{e}"));
    server.ready().await;
    let mut savers = Saver::some(32, 300);
    let before = server.metric("log_fsyncs_total").await;
    futures_util::future::join_all(savers.iter_mut().map(|s| s.fill(&server, 5))).await;
    let syncs = server.metric("log_fsyncs_total").await - before;
    assert!(syncs < 80, "{syncs} syncs for 160 saves");
    server.kill();
    let server = Server::over(&data, &[]).await;
    check_all(&mut savers, &server).await;
}
