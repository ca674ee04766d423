//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A load driver for audience-store: a closed loop, or an open one at a given rate.
#[derive(Parser)]
#[command(name = "drive")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Save audiences: POST /api/audiences
    Save {
        #[command(flatten)]
        load: Load,
        /// JSON object to save, with its `user_id` replaced; today's client's body without it
        #[arg(long, value_name = "FILE")]
        body: Option<PathBuf>,
    },
    /// Read the first page of users' listings: GET /api/audiences
    List {
        #[command(flatten)]
        load: Load,
        /// Records a page
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Read single audiences, whose ids are collected first: GET /api/audiences/{id}
    Get {
        #[command(flatten)]
        load: Load,
        /// Ids collected at most, from the newest of each user
        #[arg(long, default_value_t = 100_000)]
        ids: usize,
    },
    /// Read one path and write the answer's body to a file; fails unless the status is 200
    Fetch {
        /// Server
        #[arg(long)]
        addr: SocketAddr,
        /// Path and query
        #[arg(long)]
        path: String,
        /// File to write
        #[arg(long)]
        out: PathBuf,
    },
    /// Wait until /health/ready answers 200; prints the milliseconds it took
    WaitReady {
        /// Server
        #[arg(long)]
        addr: SocketAddr,
        /// Start of the measurement, in nanoseconds since 1970; now without it
        #[arg(long, value_name = "NANOS")]
        since: Option<u128>,
        /// Seconds after which to give up
        #[arg(long, default_value_t = 60)]
        timeout: u64,
    },
    /// Measure appends followed by fdatasync, per second
    FsyncProbe {
        /// Folder on the disk to measure
        #[arg(long)]
        dir: PathBuf,
        /// Bytes an append
        #[arg(long, value_delimiter = ',', default_values_t = [4096, 262_144])]
        bytes: Vec<usize>,
        /// Seconds for each size
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// What all loads have in common.
#[derive(Args)]
pub struct Load {
    /// Server
    #[arg(long)]
    pub addr: SocketAddr,
    /// Connections, each with one request under way at a time
    #[arg(long, short, default_value_t = 64)]
    pub connections: usize,
    /// Users `<prefix>000000` and up
    #[arg(long, default_value_t = 1000)]
    pub users: usize,
    /// What the users' ids begin with
    #[arg(long, default_value = "load_")]
    pub user_prefix: String,
    /// File of user ids, one a line, instead of --users
    #[arg(long, value_name = "FILE", conflicts_with_all = ["users", "user_prefix"])]
    pub users_file: Option<PathBuf>,
    /// Which user is next
    #[arg(long, value_enum, default_value_t = Pick::RoundRobin)]
    pub pick: Pick,
    /// Seed of `--pick random`
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Driver threads
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Seconds before the measurement that are not counted
    #[arg(long, default_value_t = 0.0)]
    pub warmup: f64,
    /// Seconds that are measured
    #[arg(long, default_value_t = 10.0, conflicts_with = "count")]
    pub seconds: f64,
    /// Requests that are measured, instead of --seconds
    #[arg(long)]
    pub count: Option<u64>,
    /// Requests a second, sent when they are due whether or not others have been answered; latencies
    /// count from the moment they were due. Without it each connection sends when it is answered
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "count")]
    pub rate: Option<f64>,
    /// Seconds without any answer after which open requests count as lost
    #[arg(long, default_value_t = 30.0)]
    pub timeout: f64,
    /// Credential to send with every request: an administrator's, who may name any user
    #[arg(long, value_name = "TOKEN")]
    pub bearer: Option<String>,
    /// Process whose CPU time and memory are measured too
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which request is next.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pick {
    /// One after another, so that `--count` divides evenly
    RoundRobin,
    /// Drawn evenly, from a seed
    Random,
}
