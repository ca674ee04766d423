//! How many allocations a request costs, over the real HTTP stack: `cargo run --release --example
//! allocations`.
//!
//! The server runs in this process, as `audience-store serve` starts it, over sockets; every
//! allocation of the process is counted. The client allocates nothing while it is measured, and
//! checkpoints are put off, so that what is counted is the server's work for requests, and for the
//! log that they share. The released program uses another allocator, which is asked as often.

#![warn(clippy::pedantic)]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;

use audience_store::app;
use audience_store::cli::{Command, parse};
use audience_store::env::Env;
use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BODY: &str = include_str!("payloads/save_audience.json");
const USERS: usize = 100;

/// Counts allocations a request.
#[derive(Parser)]
#[command(name = "allocations")]
struct Args {
    /// Requests that are counted, of each kind.
    #[arg(long, default_value_t = 10_000)]
    requests: usize,
}

/// A kept connection, and room for an answer.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connection");
        stream.set_nodelay(true).expect("option");
        Self { stream, buffer: vec![0; 1 << 20] }
    }

    fn send(&mut self, request: &[u8]) {
        self.stream.write_all(request).expect("sent");
    }

    /// Reads an answer with a `content-length`; its status.
    fn hear(&mut self) -> u16 {
        let (mut read, mut whole) = (0, None);
        while whole.is_none_or(|whole| read < whole) {
            let more = self.stream.read(&mut self.buffer[read..]).expect("heard");
            assert!(more > 0, "the server ended the connection");
            read += more;
            if whole.is_none() {
                whole = length(&self.buffer[..read]);
            }
        }
        let status = std::str::from_utf8(&self.buffer[9..12]).expect("status");
        status.parse().expect("status")
    }
}

/// The bytes of an answer, head and body, once its head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let name = b"content-length: ";
    let at = answer[..head].windows(name.len()).position(|part| part.eq_ignore_ascii_case(name));
    let digits = answer[at.expect("content-length") + name.len()..].iter();
    let digits = digits.take_while(|byte| byte.is_ascii_digit());
    let body = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    Some(head + 4 + body)
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

fn save(user: usize) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_str(BODY).expect("body");
    let mut fields = value.as_object().expect("object").clone();
    fields.insert("user_id".to_owned(), format!("user-{user:03}").into());
    let body = serde_json::Value::from(fields).to_string();
    let head = "POST /api/audiences HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Starts the server over `data` on a thread of its own; where it listens.
fn serve(data: &str) -> SocketAddr {
    // No checkpoint while requests are counted, and no partition that goes.
    let arguments = [
        "audience-store",
        "serve",
        "--listen=127.0.0.1:0",
        "--checkpoint-interval=1h",
        "--checkpoint-bytes=1GiB",
        "--resident-bytes=1GiB",
        "--idle-timeout=1d",
        "--usage-interval=1d",
        "--scrub-rate=0",
        "--data",
        data,
    ];
    let env = Env::system();
    let parsed = parse(arguments.map(Into::into), &|_| None, env.fs.as_ref());
    let Ok(Command::Serve(settings)) = parsed else { panic!("the arguments are not accepted") };
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let started = move |address, _| tell.send(address).expect("told");
        actix::System::new().block_on(app::serve(env, *settings, started)).expect("served");
    });
    let address = told.recv().expect("address");
    let ready = get("/health/ready");
    let mut connection = Connection::open(address);
    let mut answered = || {
        connection.send(&ready);
        connection.hear() == 200
    };
    while !answered() {
        std::thread::yield_now();
    }
    address
}

/// Sends `requests` over all connections in turns, each connection one at a time, and prints what one
/// of them cost.
fn measure(what: &str, address: SocketAddr, connections: usize, kinds: &[Vec<u8>], count: usize) {
    let mut open: Vec<_> = (0..connections).map(|_| Connection::open(address)).collect();
    let mut next = 0;
    let mut round = || {
        for connection in &mut open {
            connection.send(&kinds[next % kinds.len()]);
            next += 1;
        }
        for connection in &mut open {
            let status = connection.hear();
            assert!(status == 200 || status == 201, "status {status}");
        }
    };
    let rounds = count.div_ceil(connections);
    for _ in 0..rounds.div_ceil(5) {
        round();
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..rounds {
        round();
    }
    let change = region.change();
    let per = |total: usize| {
        #[allow(clippy::cast_precision_loss, reason = "shown with a decimal")]
        let per = total as f64 / (rounds * connections) as f64;
        per
    };
    println!(
        "| {what} | {connections} | {:.1} | {:.1} | {:.0} |",
        per(change.allocations),
        per(change.reallocations),
        per(change.bytes_allocated)
    );
}

fn main() {
    let count = Args::parse().requests;
    let folder = tempfile::tempdir().expect("folder");
    let address = serve(folder.path().join("data").to_str().expect("path"));
    let one = [save(0)];
    let saves: Vec<_> = (0..USERS).map(save).collect();
    println!("| request | connections | allocations | reallocations | bytes |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    measure("`GET /health/live`", address, 1, &[get("/health/live")], count);
    measure("save, one user", address, 1, &one, count);
    measure("save, 100 users", address, 1, &saves, count);
    measure("save, 100 users", address, 64, &saves, count);
    let listing = get("/api/audiences?user_id=user-001&limit=50");
    measure("cached listing of 50", address, 1, std::slice::from_ref(&listing), count);
    measure("cached listing of 50", address, 64, &[listing], count);
    let first = first_id(address);
    let read = get(&format!("/api/audiences/{first}?user_id=user-001"));
    measure("read of one record", address, 1, &[read], count);
    folder.close().expect("removed");
    // The server's thread ends with the process: there is nothing left to save.
    std::process::exit(0);
}

/// The id of a record of the user whose listings are measured.
fn first_id(address: SocketAddr) -> String {
    let mut connection = Connection::open(address);
    connection.send(&get("/api/audiences?user_id=user-001&limit=1&fields=audience_id"));
    assert_eq!(connection.hear(), 200);
    let whole = length(&connection.buffer).expect("answer");
    let text = String::from_utf8_lossy(&connection.buffer[..whole]).into_owned();
    let (_, rest) = text.split_once("\"audience_id\":\"").expect("a record");
    rest.split_once('"').expect("an id").0.to_owned()
}
