//! Carrying out the commands that look after a store.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::run::{confirmed, print};
use super::{Progress, Upkeep};
use crate::app::{self, AppError};
use crate::backup::{self, BackupOptions, RestoreOptions, Taken};
use crate::crypto::{KeySettings, RingFile, from_environment};
use crate::env::Env;
use crate::repair::{self, Sources};
use crate::verify::{self, Keyring};

/// Exit code of a command that could not do what it is for.
const COULD_NOT_RUN: u8 = 2;

/// Does what it says.
pub(super) fn run(env: &Env, data: &Path, keys: &KeySettings, command: &Upkeep) -> ExitCode {
    match command {
        Upkeep::Verify { deep, json } => verify(env, data, keys, *deep, *json),
        Upkeep::Backup { to, options, json } => said(backup(env, data, to, options, *json)),
        Upkeep::Repair { sources, yes } => said(repair(env, data, keys, sources, *yes)),
        Upkeep::Restore { from, options, json } => said(restore(env, data, from, options, *json)),
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

/// Prints what came of a command.
fn said(done: Result<String, String>) -> ExitCode {
    match done {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("audience-store: {error}");
            ExitCode::FAILURE
        }
    }
}

fn backup(
    env: &Env,
    data: &Path,
    to: &Path,
    options: &BackupOptions,
    json: bool,
) -> Result<String, String> {
    let mut shown = Shown::new(env, "folders");
    let taken = backup::backup(env, data, to, options, &mut |done| shown.at(done, done));
    shown.progress.finish();
    let Taken { manifest, linked, copied_bytes } = taken.map_err(|e| e.to_string())?;
    let files = manifest.files.len();
    if json {
        return Ok(json!({
            "log_id": manifest.log_id,
            "lsn": manifest.lsn,
            "earliest_lsn": manifest.earliest_lsn,
            "created_at": manifest.created_at,
            "files": files,
            "linked": linked,
            "copied_bytes": copied_bytes,
            "keys": manifest.keys,
        })
        .to_string());
    }
    let keys = if manifest.keys {
        "the key ring is in it: whoever has it can open the credentials"
    } else {
        "the key ring is not in it: keep a copy of it apart, credentials do not open without it"
    };
    Ok(format!(
        "{files} files, {linked} of them by hard link, {} KiB copied\nstate of LSN {}, taken at {}; \
         can be restored to LSN {} or later\n{keys}",
        copied_bytes >> 10,
        manifest.lsn,
        manifest.created_at,
        manifest.earliest_lsn,
    ))
}

fn restore(
    env: &Env,
    data: &Path,
    from: &Path,
    options: &RestoreOptions,
    json: bool,
) -> Result<String, String> {
    let mut shown = Shown::new(env, "files");
    let progress = &mut |done, total| shown.at(done, total);
    let restored = backup::restore(env, from, data, options, progress);
    shown.progress.finish();
    let restored = restored.map_err(|e| e.to_string())?;
    let time = restored.time.map(|time| time.to_string());
    if json {
        return Ok(json!({
            "lsn": restored.lsn.get(),
            "time": time,
            "next_lsn": restored.next.get(),
            "files": restored.files,
            "keys": restored.has_keys,
        })
        .to_string());
    }
    let keys = if restored.has_keys {
        String::new()
    } else {
        "\nthere is no key ring in it: put yours there before the first start, which makes a new \
         one otherwise"
            .to_owned()
    };
    Ok(format!(
        "{} holds the state of LSN {}{}; its next is {}{keys}",
        data.display(),
        restored.lsn,
        time.map_or_else(String::new, |time| format!(", made at {time}")),
        restored.next,
    ))
}

fn repair(
    env: &Env,
    data: &Path,
    keys: &KeySettings,
    sources: &Sources,
    yes: bool,
) -> Result<String, String> {
    // Before the lock, which would make a store of any folder.
    let mut keyring = keyring(env, data, keys);
    let look = |keyring: &mut Keyring| {
        let mut shown = Shown::new(env, "files");
        let progress = &mut |done, total| shown.at(done, total);
        let plan = repair::plan(env, data, keyring, sources, progress);
        shown.progress.finish();
        plan.map_err(|e| e.to_string())
    };
    look(&mut keyring)?;
    let _lock = app::lock(env, data).map_err(|e: AppError| e.to_string())?;
    let plan = look(&mut keyring)?;
    for finding in &plan.left {
        let what = format!("{} {}: {}", finding.code.text(), finding.file, finding.what);
        print(&format!("nothing to be done here about {what}"));
    }
    if plan.steps.is_empty() {
        return if plan.left.is_empty() {
            Ok("there is nothing to repair".to_owned())
        } else {
            Err("there is nothing that this command can repair".to_owned())
        };
    }
    for (number, step) in (1..).zip(&plan.steps) {
        print(&format!("{number}. {step}"));
    }
    if !yes && !confirmed("Do this?") {
        return Err("nothing was changed".to_owned());
    }
    let aside = repair::carry_out(env, data, sources, &plan, &mut |step| {
        tracing::debug!(%step, "repaired");
    });
    let aside = aside.map_err(|e| e.to_string())?;
    let after = look(&mut keyring)?;
    let moved = format!("what was replaced is in {}", aside.display());
    if after.steps.is_empty() && after.left.is_empty() {
        Ok(format!("repaired; {moved}"))
    } else {
        Err(format!("not all could be repaired: run `audience-store verify`; {moved}"))
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
