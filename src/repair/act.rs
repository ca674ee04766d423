//! Carrying a plan out. Each step is whole or not begun, and a plan that ended halfway is planned
//! again from what is there.

use std::path::{Path, PathBuf};

use super::rebuild::rebuild;
use super::{Plan, RepairError, Sources, Step};
use crate::env::Env;
use crate::log;

/// Where what is replaced goes.
const QUARANTINE: &str = "quarantine";

/// Carries `plan` out on the store in `data`, whose lock the caller holds. `done` hears of each
/// step. On return what was done survives power loss. Answers the folder with what was moved
/// aside. Blocking.
///
/// # Errors
/// [`RepairError`]; the steps before are done.
pub fn carry_out(
    env: &Env,
    data: &Path,
    sources: &Sources,
    plan: &Plan,
    done: &mut dyn FnMut(&Step),
) -> Result<PathBuf, RepairError> {
    let moment = env.clock.now().to_string().replace([':', '.'], "-");
    let aside = data.join(QUARANTINE).join(moment);
    for step in &plan.steps {
        match step {
            Step::ReplaceSegment { name, from } => {
                let path = format!("log/{name}");
                let whole = from.join(name);
                let bytes = env.fs.read(&whole).map_err(RepairError::io("read", &whole))?;
                replace(env, data, &aside, &path, &bytes)?;
            }
            Step::CutLog { at, .. } => {
                log::truncate(env, &data.join("log"), *at)?;
            }
            Step::Rebuild { path, .. } => {
                // Made again: the log may have changed by the steps before.
                if let Some((_, encoded)) = rebuild(env, data, sources, path)? {
                    replace(env, data, &aside, path, &encoded.bytes)?;
                }
            }
            Step::RaiseLog { above } => {
                log::raise(env, &data.join("log"), *above)?;
            }
            Step::Aside { path } => move_aside(env, data, &aside, path)?,
        }
        done(step);
    }
    Ok(aside)
}

/// Puts new bytes in a file's place, after a copy of the old ones is safe: at no moment does
/// neither bear the name.
fn replace(
    env: &Env,
    data: &Path,
    aside: &Path,
    path: &str,
    bytes: &[u8],
) -> Result<(), RepairError> {
    let (from, to) = (data.join(path), aside.join(path));
    let folder = make_folder(env, &to)?;
    let old = env.fs.read(&from).map_err(RepairError::io("read", &from))?;
    env.fs.replace(&to, &old).map_err(RepairError::io("write", &to))?;
    env.fs.sync_dir(&folder).map_err(RepairError::io("sync", &folder))?;
    let temporary = data.join("tmp");
    env.fs.create_dir_all(&temporary).map_err(RepairError::io("make", &temporary))?;
    let replaced = env.fs.replace_through(&temporary.join("repair"), &from, bytes);
    replaced.map_err(RepairError::io("write", &from))
}

fn move_aside(env: &Env, data: &Path, aside: &Path, path: &str) -> Result<(), RepairError> {
    let (from, to) = (data.join(path), aside.join(path));
    let folder = make_folder(env, &to)?;
    env.fs.rename(&from, &to).map_err(RepairError::io("move", &from))?;
    for folder in [&folder, &from.parent().unwrap_or(data).to_path_buf()] {
        env.fs.sync_dir(folder).map_err(RepairError::io("sync", folder))?;
    }
    Ok(())
}

fn make_folder(env: &Env, of: &Path) -> Result<PathBuf, RepairError> {
    let folder = of.parent().unwrap_or(of).to_path_buf();
    env.fs.create_dir_all(&folder).map_err(RepairError::io("make", &folder))?;
    Ok(folder)
}
