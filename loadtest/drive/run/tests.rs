use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

use super::*;
use crate::requests::{self, Requests, Users};

/// A server that answers each request with what `answer` makes of it, until `drop`ped clients go.
fn serve(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("address");
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || converse(stream.expect("accept"), &*answer));
        }
    });
    addr
}

fn converse(mut stream: TcpStream, answer: &dyn Fn(&str) -> Option<String>) {
    let mut request = Vec::new();
    let mut byte = [0];
    while let Ok(1) = stream.read(&mut byte) {
        request.push(byte[0]);
        if request.ends_with(b"\r\n\r\n") {
            let Some(text) = answer(&String::from_utf8_lossy(&request)) else { return };
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
            request.clear();
        }
    }
}

fn status(code: u16) -> String {
    format!("HTTP/1.1 {code} X\r\ncontent-length: 2\r\n\r\n{{}}")
}

fn plan(addr: SocketAddr, connections: usize, threads: usize, until: Until) -> Plan {
    let users = Users::Numbered { prefix: "u".into(), count: 10 };
    Plan {
        scenario: "list",
        addr,
        connections,
        threads,
        requests: Requests::for_users(&users, |user| {
            requests::get(&requests::listing_path(user, 50, ""))
        })
        .expect("requests"),
        expected: &[200],
        pick: Pick::RoundRobin,
        seed: 1,
        warmup: Duration::ZERO,
        until,
        rate: None,
        timeout: Duration::from_secs(10),
        server_pid: None,
    }
}

fn json(plan: Plan) -> serde_json::Value {
    serde_json::to_value(run(plan).expect("run")).expect("json")
}

#[test]
fn a_count_is_spread_evenly_over_users() {
    for (threads, pick) in [(1, Pick::RoundRobin), (3, Pick::RoundRobin), (2, Pick::Random)] {
        let seen = Arc::new(Mutex::new(BTreeMap::<String, u64>::new()));
        let counter = Arc::clone(&seen);
        let addr = serve(move |request| {
            let path = request.split(' ').nth(1).expect("path").to_owned();
            *counter.lock().expect("lock").entry(path).or_default() += 1;
            Some(status(200))
        });
        let report = json(Plan { pick, ..plan(addr, 7, threads, Until::Count(200)) });
        assert_eq!((&report["answers"], &report["errors"]), (&200.into(), &0.into()));
        let seen = seen.lock().expect("lock");
        assert_eq!((seen.len(), seen.values().sum::<u64>()), (10, 200));
        assert_eq!(seen.values().all(|count| *count == 20), pick == Pick::RoundRobin);
    }
}

#[test]
fn unexpected_statuses_and_lost_connections_are_counted() {
    let number = Mutex::new(0);
    let addr = serve(move |_| {
        let mut number = number.lock().expect("lock");
        *number += 1;
        match *number % 4 {
            0 => Some(status(503)),
            1 => None,
            _ => Some(status(200)),
        }
    });
    let report = json(plan(addr, 1, 1, Until::Count(100)));
    assert_eq!(report["answers"], 50);
    assert_eq!(report["errors_by_status"]["503"], 25);
    let lost = report["errors_without_answer"].as_object().expect("reasons");
    assert_eq!(lost.values().filter_map(serde_json::Value::as_u64).sum::<u64>(), 25);
}

#[test]
fn a_server_that_falls_silent_ends_the_run() {
    let addr = serve(|_| Some(String::new()));
    let timeout = Duration::from_millis(300);
    let report = json(Plan { timeout, ..plan(addr, 4, 2, Until::Count(100)) });
    assert_eq!(report["errors_without_answer"]["no answer within 300ms"], 4);
}

#[test]
fn a_timed_run_lasts_as_long_as_asked() {
    let addr = serve(|_| Some(status(200)));
    let until = Until::Elapsed(Duration::from_millis(200));
    let warmup = Duration::from_millis(100);
    let report = json(Plan { warmup, ..plan(addr, 2, 1, until) });
    assert_eq!(report["seconds"], 0.2);
    assert_eq!(report["errors"], 0);
    assert!(report["answers"].as_u64().is_some_and(|answers| answers > 0));
    assert!(report["driver_cpu_seconds"].is_number());
}

/// An open loop of `rate` for a fifth of a second over one connection; the server withholds its
/// first answer for half a second. How many requests the server saw, and the report.
fn held_up(rate: f64, timeout: Duration) -> (u64, serde_json::Value) {
    let seen = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&seen);
    let addr = serve(move |_| {
        let mut seen = counter.lock().expect("lock");
        *seen += 1;
        if *seen == 1 {
            std::thread::sleep(Duration::from_millis(500));
        }
        Some(status(200))
    });
    let until = Until::Elapsed(Duration::from_millis(200));
    let report = json(Plan { rate: Some(rate), timeout, ..plan(addr, 1, 1, until) });
    let seen = *seen.lock().expect("lock");
    (seen, report)
}

#[test]
fn a_pause_of_the_server_delays_all_that_was_due_meanwhile() {
    let (seen, report) = held_up(500.0, Duration::from_secs(10));
    assert_eq!((seen, &report["errors"]), (100, &0.into()));
    assert_eq!((&report["rate_asked"], &report["answers"]), (&500.0.into(), &0.into()));
    // The last was due 198 ms after the first, whose answer came after 500 ms.
    let p50 = report["latency_us"]["p50"].as_f64().expect("latency");
    assert!(p50 >= 302_000.0, "{p50} µs");
}

#[test]
fn what_cannot_be_sent_in_time_is_lost() {
    let (seen, report) = held_up(500.0, Duration::from_millis(50));
    let lost = report["errors_without_answer"]["no answer within 50ms"].as_u64().unwrap_or(0)
        + report["errors_without_answer"]["not sent in time"].as_u64().unwrap_or(0);
    assert!(lost > 0 && seen < 100, "{report}");
}

#[test]
fn a_rate_needs_a_time_and_must_be_one() {
    let addr = serve(|_| Some(status(200)));
    let second = Until::Elapsed(Duration::from_secs(1));
    for (until, rate) in [(Until::Count(1), 1.0), (second, 0.0), (second, f64::NAN)] {
        let plan = Plan { rate: Some(rate), ..plan(addr, 1, 1, until) };
        assert!(matches!(run(plan), Err(RunError::Rate)));
    }
}

#[test]
fn an_absent_server_is_an_error_for_all_threads() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("address");
    drop(listener);
    assert!(matches!(run(plan(addr, 4, 2, Until::Count(1))), Err(RunError::Connect(4, _))));
    assert!(matches!(run(plan(addr, 1, 2, Until::Count(1))), Err(RunError::Shape)));
}

#[test]
fn a_server_that_goes_away_ends_a_counted_run() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        let accepted = listener.accept().expect("accept");
        drop(listener);
        drop(accepted);
    });
    let timeout = Duration::from_millis(300);
    let report = json(Plan { timeout, ..plan(addr, 1, 1, Until::Count(100)) });
    assert_eq!(report["answers"], 0);
    assert_eq!(report["errors_without_answer"]["no answer within 300ms"], 1);
}
