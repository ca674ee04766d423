//! A limit on memory under a storm of listings, read and unread: the server stays below it, refuses
//! what would not fit, and serves.

use std::fs;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::net::{TcpSocket, TcpStream};

use super::PATIENT;
use super::saver::{Saver, check_all};
use crate::support::launch::limited;
use crate::support::wire::say;
use crate::support::{Server, eventually};

const MIB: u64 = 1 << 20;
/// What the program may allocate: the bounds below, twice over, and what it takes itself.
const LIMIT: u64 = 448 * MIB;
const ARGS: [&str; 9] = [
    "--workers=2",
    "--resident-bytes=32MiB",
    "--cache-bytes=8MiB",
    "--max-page=4MiB",
    "--max-pages=48MiB",
    "--max-bodies=8MiB",
    "--write-timeout=10m",
    "--scrub-rate=0",
    PATIENT,
];
const USERS: usize = 6;
/// Their records fill several pages of the largest size.
const RECORDS: usize = 60;
const RECORD: usize = 100_000;
const UNREAD: usize = 4;
const CLIENTS: usize = 48;
const LISTS: usize = 6;

/// The largest memory a process has had, in bytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("VmHWM");
    let kib = line.trim().strip_suffix(" kB").expect("kB").parse::<u64>().expect("number");
    kib * 1024
}

/// A connection that takes in little until it is read: otherwise the kernel holds whole pages.
async fn narrow(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("socket");
    socket.set_recv_buffer_size(4096).expect("buffer");
    socket.connect(server.address()).await.expect("connect")
}

#[tokio::test]
async fn a_storm_of_listings_stays_below_a_memory_limit_and_is_served() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let limit = format!("-d {}", LIMIT / 1024);
    let server = Server::launched(&data, &ARGS, |command| limited(&limit, &command));
    let server = Arc::new(server.unwrap_or_else(|e| panic!("{e}")));
    server.ready().await;
    let mut savers = Saver::some(USERS, RECORD);
    join_all(savers.iter_mut().map(|s| s.fill(&server, RECORDS))).await;
    server.checkpoint().await;

    // Who asks for large pages and does not read them.
    let unread = async |n: usize| {
        let mut stream = narrow(&server).await;
        let path = format!("/api/platforms?user_id=saver-{}&limit=500&unread={n}", n % USERS);
        say(&mut stream, format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes()).await;
        stream
    };
    let mut held: Vec<TcpStream> = join_all((0..UNREAD).map(unread)).await;
    let client = async |client: usize| {
        let (mut served, mut refused) = (0, 0);
        for n in 0..LISTS {
            let user = (client + n) % USERS;
            // Each is another one to the cache.
            let path = format!("/api/platforms?user_id=saver-{user}&limit=500&n={client}.{n}");
            let reply = server.get(&path).await;
            if reply.status == 200 {
                served += 1;
            } else {
                assert!(reply.header("retry-after").is_some());
                reply.expect_error(503, "OVERLOADED");
                refused += 1;
            }
            server.get("/health/live").await.expect(200);
        }
        (served, refused)
    };
    let counts = join_all((0..CLIENTS).map(client)).await;
    let (served, mut refused) = counts.iter().fold((0, 0), |(s, r), (a, b)| (s + a, r + b));
    assert!(served > 0, "{refused} refused");
    // The readers may have been quick enough for all; nobody is, once those who do not read have
    // taken all the room.
    loop {
        held.push(unread(held.len()).await);
        let path = format!("/api/platforms?user_id=saver-0&limit=500&full={}", held.len());
        let reply = server.get(&path).await;
        if reply.status != 200 {
            reply.expect_error(503, "OVERLOADED");
            refused += 1;
            break;
        }
        assert!(held.len() < 100, "there is room for all of them");
    }
    // Saves go on meanwhile.
    savers[0].fill(&server, 3).await;
    println!("{} do not read", held.len());
    drop(held);
    eventually("room again", async || {
        server.get("/api/platforms?user_id=saver-0&limit=500&n=again").await.status == 200
    })
    .await;
    check_all(&mut savers, &server).await;
    let peak = peak(server.pid());
    println!("{served} lists served, {refused} refused, at most {} MiB", peak / MIB);
    assert!(peak < LIMIT, "{} MiB", peak / MIB);
    let mut server = Arc::into_inner(server).expect("nobody else has it");
    server.stop().await;
}
