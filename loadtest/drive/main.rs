//! `drive`: a load driver, light enough to share a machine with the server it
//! measures.
//!
//! Requests are made before the run, connections are kept, answers are checked for their status
//! and thrown away. It measures what a client sees. The loop is closed, so that a slow answer delays
//! the next request, but with `--rate` it is open. Exit status: 0 when every answer was good, 3 when
//! some were not, 1 when the run could not be made.

#![warn(clippy::pedantic)]
#![allow(
    clippy::disallowed_methods,
    reason = "a client on the machine's own clock and files, not a part of the store"
)]

mod args;
mod fsync_probe;
mod histogram;
mod http;
mod once;
mod procfs;
mod report;
mod requests;
mod run;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use args::{Cli, Command, Load};
use requests::{Requests, Users, authorized};
use run::{Plan, Until};

type Failure = Box<dyn Error>;

/// Exit status of a run in which some answers were not good.
const SOME_FAILED: u8 = 3;

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("drive: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Save { load, body } => {
            let body = requests::checked_body(&match body {
                Some(path) => read(&path)?,
                None => requests::CLIENT_BODY.to_owned(),
            })?;
            let requests = Requests::for_users(&users(&load)?, |user| {
                authorized(requests::save(&body, user), load.bearer.as_deref())
            })?;
            measure("save", &load, requests, &[200, 201])
        }
        Command::List { load, limit } => {
            let requests = Requests::for_users(&users(&load)?, |user| {
                let request = requests::get(&requests::listing_path(user, limit, ""));
                authorized(request, load.bearer.as_deref())
            })?;
            measure("list", &load, requests, &[200])
        }
        Command::Get { load, ids } => {
            let users = users(&load)?.ids();
            let bearer = load.bearer.as_deref();
            let paths = block_on(once::collect_audiences(load.addr, &users, ids, bearer))??;
            let request = |path: &String| authorized(requests::get(path), bearer);
            let requests = Requests::prepared(paths.iter().map(request))?;
            measure("get", &load, requests, &[200])
        }
        Command::Fetch { addr, path, out } => {
            let body =
                block_on(async { once::fetch(&mut once::open(addr).await?, &path, None).await })??;
            std::fs::write(&out, &body).map_err(|error| named(&out, &error))?;
            println!("{} bytes", body.len());
            Ok(ExitCode::SUCCESS)
        }
        Command::WaitReady { addr, since, timeout } => {
            let timeout = Duration::from_secs(timeout);
            let took = block_on(once::wait_ready(addr, since, timeout))??;
            println!("{:.1}", took.as_secs_f64() * 1000.0);
            Ok(ExitCode::SUCCESS)
        }
        Command::FsyncProbe { dir, bytes, seconds, json } => {
            fsync_probe(&dir, &bytes, duration(seconds)?, json)
        }
    }
}

fn measure(
    scenario: &'static str,
    load: &Load,
    requests: Requests,
    expected: &'static [u16],
) -> Result<ExitCode, Failure> {
    let report = run::run(Plan {
        scenario,
        addr: load.addr,
        connections: load.connections,
        threads: load.threads,
        requests,
        expected,
        pick: load.pick,
        seed: load.seed,
        warmup: duration(load.warmup)?,
        until: match load.count {
            Some(count) => Until::Count(count),
            None => Until::Elapsed(duration(load.seconds)?),
        },
        rate: load.rate,
        timeout: duration(load.timeout)?,
        server_pid: load.server_pid,
    })?;
    if load.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    Ok(if report.errors() == 0 { ExitCode::SUCCESS } else { ExitCode::from(SOME_FAILED) })
}

fn fsync_probe(
    dir: &Path,
    sizes: &[usize],
    length: Duration,
    json: bool,
) -> Result<ExitCode, Failure> {
    let rates: Result<Vec<_>, _> =
        sizes.iter().map(|bytes| fsync_probe::probe(dir, *bytes, length)).collect();
    let rates = rates.map_err(|error| named(dir, &error))?;
    if json {
        println!("{}", serde_json::to_string(&rates)?);
    } else {
        for rate in rates {
            println!(
                "{:>8} bytes {:>8.0} /s  p50 {:.0} µs  p99 {:.0} µs",
                rate.bytes, rate.per_second, rate.p50_us, rate.p99_us
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn users(load: &Load) -> Result<Users, Failure> {
    Ok(match &load.users_file {
        Some(path) => Users::Listed(
            read(path)?.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect(),
        ),
        None => Users::Numbered { prefix: load.user_prefix.clone(), count: load.users },
    })
}

fn duration(seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{seconds} s: {error}").into())
}

fn read(path: &PathBuf) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &std::io::Error) -> Failure {
    format!("{}: {error}", path.display()).into()
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}
