//! Thousands of connections that are idle or slow: others are served meanwhile, there are never more
//! than `--max-connections`, and the slow ones are ended by their deadlines.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;

use super::PATIENT;
use super::saver::Saver;
use crate::support::wire::hear_all;
use crate::support::{Server, eventually};

const IDLE: usize = 1500;
const SLOW_HEADS: usize = 600;
const SLOW_BODIES: usize = 600;
const CROWD: usize = IDLE + SLOW_HEADS + SLOW_BODIES;

/// Lets this process and its servers have enough files.
fn allow_a_crowd() {
    let now = getrlimit(Resource::Nofile);
    let wanted = CROWD as u64 * 2;
    if now.current.is_some_and(|current| current < wanted) {
        assert!(
            now.maximum.is_none_or(|most| most >= wanted),
            "this test opens {CROWD} connections: raise the hard limit on open files to {wanted} \
             (ulimit -Hn)"
        );
        let raised = Rlimit { current: Some(wanted), maximum: now.maximum };
        setrlimit(Resource::Nofile, raised).expect("limit");
    }
}

/// A connection that says this much and no more.
async fn stuck(server: &Server, said: &[u8]) -> TcpStream {
    let mut stream = server.connect().await;
    // One that is turned away may be closed already.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, said).await;
    stream
}

/// Idle ones, ones in the middle of a head, ones in the middle of a body.
async fn crowd(server: &Server) -> Vec<TcpStream> {
    let head = "POST /api/platforms HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n\
                Content-Length: 500\r\n\r\n{\"user_id\":";
    let mut all = Vec::new();
    for n in 0..IDLE.max(SLOW_HEADS).max(SLOW_BODIES) {
        for (count, said) in [
            (IDLE, &b""[..]),
            (SLOW_HEADS, b"GET /health/live HTTP/1.1\r\nHost: t\r\nX-Slow: "),
            (SLOW_BODIES, head.as_bytes()),
        ] {
            if n < count {
                all.push(stuck(server, said).await);
            }
        }
    }
    all
}

async fn refused(server: &Server, reason: &str) -> u64 {
    server.metric(&format!("refused_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test]
async fn a_crowd_that_stays_is_bounded_and_others_are_served() {
    allow_a_crowd();
    let most = CROWD - 300;
    let bound = format!("--max-connections={most}");
    let stays = ["--header-timeout=10m", "--body-timeout=10m", "--keep-alive=1h", PATIENT];
    let server = Server::start_with(&[&stays[..], &[&bound]].concat()).await;
    let mut saver = Saver::new("u", 500);
    saver.fill(&server, 5).await;
    let crowd = crowd(&server).await;
    assert_eq!(crowd.len(), CROWD);
    eventually("the house is full", async || refused(&server, "connections").await >= 300).await;
    assert!(server.metric("connections_open").await <= most as u64);
    saver.fill(&server, 50).await;
    saver.check(&server).await;
    server.checkpoint().await;
    assert!(server.metric("connections_open").await <= most as u64);
    drop(crowd);
    eventually("all places are free", async || server.metric("connections_open").await <= 1).await;
    assert_eq!(server.metric("http_requests_in_flight").await, 1);
    saver.fill(&server, 5).await;
}

#[tokio::test]
async fn a_crowd_that_is_slow_is_ended_by_its_deadlines_and_others_are_served() {
    allow_a_crowd();
    let server = Server::start_with(&["--header-timeout=2s", "--body-timeout=2s", PATIENT]).await;
    let mut saver = Saver::new("u", 500);
    let (mut crowd, ()) = tokio::join!(crowd(&server), saver.fill(&server, 50));
    for stream in &mut crowd {
        // Each ends, with a word to those who had begun to speak.
        let said = hear_all(stream).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
    }
    saver.fill(&server, 5).await;
    saver.check(&server).await;
    assert!(refused(&server, "slow_head").await > 0);
    assert!(refused(&server, "slow_body").await > 0);
    drop(crowd);
    eventually("nobody is left", async || server.metric("connections_open").await <= 1).await;
    assert_eq!(server.metric("http_requests_in_flight").await, 1);
}
