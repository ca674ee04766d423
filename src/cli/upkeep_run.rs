//! Carrying out the commands that look after a store.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use super::run::print;
use super::{Progress, Upkeep};
use crate::crypto::{KeySettings, RingFile, from_environment};
use crate::env::Env;
use crate::verify::{self, Keyring};

/// Exit code of a command that could not do what it is for.
const COULD_NOT_RUN: u8 = 2;

/// Does what it says.
pub(super) fn run(env: &Env, data: &Path, keys: &KeySettings, command: &Upkeep) -> ExitCode {
    match command {
        Upkeep::Verify { deep, json } => verify(env, data, keys, *deep, *json),
    }
}

/// The store's key ring, where there is one.
fn keyring(env: &Env, data: &Path, keys: &KeySettings) -> Keyring {
    let (made, path, text) = (env.clone(), data.join(&keys.file), keys.environment.clone());
    Keyring::new(env, move || match &text {
        Some(text) => from_environment(text).ok(),
        None => RingFile::new(made.clone(), path.clone()).load().ok().flatten(),
    })
}

fn verify(env: &Env, data: &Path, keys: &KeySettings, deep: bool, json: bool) -> ExitCode {
    let mut keyring = keyring(env, data, keys);
    let mut shown = Shown::new(env, "files");
    let options = verify::Options { deep };
    let verified =
        verify::verify(env, data, &mut keyring, options, &mut |done, total| shown.at(done, total));
    shown.progress.finish();
    match verified {
        Ok(report) => {
            print(&if json { report.to_json() } else { report.to_text() });
            if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("audience-store: {error}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// A progress that knows when it began.
struct Shown<'a> {
    env: &'a Env,
    began: std::time::Duration,
    progress: Progress,
}

impl<'a> Shown<'a> {
    fn new(env: &'a Env, unit: &'static str) -> Self {
        let progress = Progress::on_stderr(std::io::stderr().is_terminal(), unit);
        Self { env, began: env.clock.monotonic(), progress }
    }

    fn at(&mut self, done: u64, total: u64) {
        let elapsed = self.env.clock.monotonic().saturating_sub(self.began);
        self.progress.advance(done, total, elapsed);
    }
}
