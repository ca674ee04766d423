//! What to do about what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::rebuild::{Rebuilt, rebuild};
use super::{RepairError, Sources, table_of};
use crate::env::Env;
use crate::log::{self, Lsn};
use crate::verify::{self, Code, Finding, Keyring, Report, Severity};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A damaged segment makes room for a whole copy of it.
    ReplaceSegment {
        /// Its name.
        name: String,
        /// The folder with the copy.
        from: PathBuf,
    },
    /// Everything from an LSN on is cut off, into a copy, as `log truncate` does.
    CutLog {
        /// The first LSN to go.
        at: Lsn,
        /// The last that could be read.
        last: Lsn,
    },
    /// A file is written anew, the damaged one goes aside.
    Rebuild {
        /// Below the store's root.
        path: String,
        /// What comes of it.
        result: Rebuilt,
    },
    /// The log goes on above an LSN that footers name.
    RaiseLog {
        /// The highest.
        above: Lsn,
    },
    /// A file goes aside.
    Aside {
        /// Below the store's root.
        path: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReplaceSegment { name, from } => {
                write!(f, "replace log/{name} by the whole copy in {}", from.display())
            }
            Self::CutLog { at, last } => write!(
                f,
                "cut the log at LSN {at} (a copy is kept): changes from {at} to {last} that no \
                 file holds are LOST"
            ),
            Self::Rebuild { path, result } => write!(f, "write {path} anew: {result}"),
            Self::RaiseLog { above } => {
                write!(f, "let the log go on above LSN {above}, which files hold")
            }
            Self::Aside { path } => write!(f, "move {path} aside"),
        }
    }
}

/// What to do, in this order, and what nothing can be done about here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Steps.
    pub steps: Vec<Step>,
    /// Damage that stays.
    pub left: Vec<Finding>,
}

/// Verifies the store in `data` and plans its repair. Changes nothing. Blocking.
///
/// # Errors
/// [`RepairError`] where the store cannot be read.
pub fn plan(
    env: &Env,
    data: &Path,
    keyring: &mut Keyring,
    sources: &Sources,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Plan, RepairError> {
    let report = verify::verify(env, data, keyring, verify::Options::default(), progress)?;
    let mut plan = Plan::default();
    log_steps(env, data, sources, &report, &mut plan)?;
    let mut files = BTreeSet::new();
    let mut above = Lsn::NONE;
    for finding in &report.findings {
        match finding.code {
            Code::FileDamaged if table_of(&finding.file).is_some() => {
                files.insert(finding.file.clone());
            }
            Code::LsnBeyondLog => above = above.max(Lsn::new(finding.lsn.unwrap_or(0))),
            Code::Temporary => plan.steps.push(Step::Aside { path: finding.file.clone() }),
            Code::LogDamaged => {}
            _ if finding.code.severity() == Severity::Damage => plan.left.push(finding.clone()),
            _ => {}
        }
    }
    for path in files {
        if let Some((result, _)) = rebuild(env, data, sources, &path)? {
            plan.steps.push(Step::Rebuild { path, result });
        } else {
            let of = |f: &&Finding| f.file == path && f.code == Code::FileDamaged;
            plan.left.extend(report.findings.iter().filter(of).cloned());
        }
    }
    if above > Lsn::NONE {
        plan.steps.push(Step::RaiseLog { above });
    }
    Ok(plan)
}

/// What to do about the log.
fn log_steps(
    env: &Env,
    data: &Path,
    sources: &Sources,
    report: &Report,
    plan: &mut Plan,
) -> Result<(), RepairError> {
    let damages = report.findings.iter().filter(|f| f.code == Code::LogDamaged);
    let mut by_segment: BTreeMap<&str, Lsn> = BTreeMap::new();
    for finding in damages {
        let Some(name) = finding.file.strip_prefix("log/") else { continue };
        let at = Lsn::new(finding.lsn.unwrap_or(0));
        by_segment.entry(name).and_modify(|lsn| *lsn = at.min(*lsn)).or_insert(at);
    }
    for (name, at) in by_segment {
        let mut whole = None;
        for folder in sources.log_folders() {
            if log::replaces(env, &data.join("log"), &folder, name)? {
                whole = Some(folder);
                break;
            }
        }
        let Some(from) = whole else {
            // What follows goes too: the log has no holes.
            plan.steps.push(Step::CutLog { at, last: Lsn::new(report.last_lsn) });
            return Ok(());
        };
        plan.steps.push(Step::ReplaceSegment { name: name.to_owned(), from });
    }
    Ok(())
}
