//! Carrying out a command.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use super::keys_command::keys;
use super::logging::start_logging_and_traces;
use super::{Command, Settings, as_json, as_table, parse};
use crate::adopt;
use crate::app::{self, AppError};
use crate::archive;
use crate::auth::{self, Mode, TokenCommand};
use crate::env::Env;
use crate::log::{self, Finding, Lsn};
use crate::seed;

/// Reads the command line and does what it says. Exit codes: 0 done, 1 failed, 2 wrong use.
#[must_use]
pub fn run() -> ExitCode {
    let env = Env::system();
    let environment = |name: &str| std::env::var(name).ok();
    let command = match parse(std::env::args_os(), &environment, env.fs.as_ref()) {
        Ok(command) => command,
        Err(error) => {
            error.print();
            return ExitCode::from(error.exit_code());
        }
    };
    let done = match command {
        Command::Serve(settings) => serve(env, *settings),
        Command::Config { resolved, json } => {
            print(&if json { as_json(&resolved) } else { as_table(&resolved) });
            Ok(())
        }
        Command::Seed(args) => seed::command(env, *args).map_err(|e| e.to_string()),
        Command::Adopt { store, logging } => {
            adopt::command(env, &store, &logging).map_err(|e| e.to_string())
        }
        Command::Archive { store, logging, rule } => {
            let done = archive::command(env, &store, &logging, &rule);
            done.map(|said| print(&said)).map_err(|e| e.to_string())
        }
        Command::Report { data, command } => super::report_args::run(&env, &data, &command),
        Command::Token { data, command } => token(&env, &data, &command),
        Command::Keys { data, settings, command } => {
            keys(&env, &data, &settings, &command).map(|said| print(&said))
        }
        Command::Upkeep { data, keys, command } => {
            return super::upkeep_run::run(&env, &data, &keys, &command);
        }
        Command::LogInspect { data, from_lsn, json } => inspect(&env, &data, from_lsn, json),
        Command::LogTruncate { data, at, yes } => truncate(&env, &data, at, yes),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("audience-store: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Prints to standard output.
pub(super) fn print(text: &str) {
    // Somebody who stops reading has read enough.
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

fn serve(env: Env, settings: Settings) -> Result<(), String> {
    // Held until the end: what is left of traces goes out then.
    let _traces = start_logging_and_traces(&settings.logging, settings.otlp_endpoint.as_deref())?;
    let (data, sync) = (settings.store.data.clone(), settings.store.sync.to_string());
    let mode = settings.auth.mode();
    let scheme = if settings.http.tls.is_some() { "https" } else { "http" };
    let started = move |address, metrics: Option<_>| {
        print(&greeting(scheme, address, &data, &sync, mode));
        if let Some(metrics) = metrics {
            print(&format!("metrics on {scheme}://{metrics}/metrics"));
        }
    };
    let system = actix::System::new();
    system.block_on(app::serve(env, settings, started)).map_err(|e| e.to_string())
}

fn token(env: &Env, data: &Path, command: &TokenCommand) -> Result<(), String> {
    let said = auth::token_command(env, data, command).map_err(|e| e.to_string())?;
    print(&said.out);
    if !said.notes.is_empty() {
        eprintln!("{}", said.notes);
    }
    Ok(())
}

fn greeting(
    scheme: &str,
    address: std::net::SocketAddr,
    data: &Path,
    sync: &str,
    mode: Mode,
) -> String {
    let promise = match sync {
        "always" => "every answered write is on disk",
        "off" => "a power loss may take the last writes",
        _ => "a power loss may take what came since the last sync",
    };
    let (auth, bearer) = match mode {
        Mode::Off => ("off (requests name their user themselves)", ""),
        Mode::Tokens => {
            ("API tokens (audience-store token create)", " -H \"Authorization: Bearer $TOKEN\"")
        }
        Mode::Jwt => ("JSON web tokens", " -H \"Authorization: Bearer $TOKEN\""),
    };
    let user = if mode == Mode::Off { "\"user_id\":\"demo_user\"," } else { "" };
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_path_buf());
    format!(
        "audience-store {version}\n  listening on  {scheme}://{address}\n  data in       {data}\n  sync          \
         {sync} ({promise})\n  auth          {auth}\n  documentation {scheme}://{address}/docs\n\nsave an audience:\n  curl -s \
         {scheme}://{address}/api/audiences{bearer} -H 'Content-Type: application/json' -d \
         '{{{user}\"name\":\"Gaming Gen \
         Z\",\"data_type\":\"first_party\",\"selected_variables\":[\"AGE_18_24\"]}}'\n",
        version = env!("CARGO_PKG_VERSION"),
        data = data.display(),
    )
}

fn inspect(env: &Env, data: &Path, from: Option<u64>, json: bool) -> Result<(), String> {
    let from = from.unwrap_or(0);
    let mut out = std::io::stdout().lock();
    let mut show = |finding: &Finding<'_>| {
        if let Some(line) = super::inspect_line::line(finding, from, json) {
            // As in `print`.
            let _ = writeln!(out, "{line}");
        }
    };
    let summary = log::inspect(env, &data.join("log"), &mut show).map_err(|e| e.to_string())?;
    eprintln!("{}", super::inspect_line::summary(&summary));
    Ok(())
}

fn truncate(env: &Env, data: &Path, at: u64, yes: bool) -> Result<(), String> {
    let _lock = app::lock(env, data).map_err(|e: AppError| e.to_string())?;
    let question = format!(
        "This gives up every change from LSN {at} on, acknowledged ones too; a copy of what is cut \
         is kept beside the log. Go on?"
    );
    if !yes && !confirmed(&question) {
        return Err("nothing was changed".to_owned());
    }
    let report = log::truncate(env, &data.join("log"), Lsn::new(at)).map_err(|e| e.to_string())?;
    print(&super::inspect_line::truncated(&report));
    Ok(())
}

/// Asks, and answers whether somebody said yes.
pub(super) fn confirmed(question: &str) -> bool {
    eprint!("{question} [y/N] ");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).is_ok() && matches!(line.trim(), "y" | "Y" | "yes")
}
