//! Settings about authentication and the audit trail, checked together.

use super::auth_rules::OptionalTextRule;
use super::error::{CliError, Problem};
use super::rules::Rule;
use super::sources::Resolved;
use super::table::{self, Setting};
use crate::audit::Bounds;
use crate::auth::jwt::{KeySource, Policy, Rules};
use crate::auth::{AuthSettings, Mode};

/// How callers are told apart.
///
/// # Errors
/// [`CliError::Settings`] with everything that is wrong: an address that others can reach without
/// authentication, and what `--auth jwt` lacks.
pub fn auth(resolved: &Resolved) -> Result<AuthSettings, CliError> {
    let listen = resolved.get(&table::LISTEN)?;
    let metrics = resolved.get(&table::METRICS_LISTEN)?;
    match resolved.get(&table::AUTH)? {
        Mode::Off if !listen.ip().is_loopback() => Err(CliError::Settings(vec![wrong(
            resolved,
            &table::LISTEN,
            "with `--auth off` anyone who reaches the port could read and change every user's \
             records: choose `--auth tokens` or `--auth jwt`, or a loopback address",
        )])),
        Mode::Off if metrics.is_some_and(|listen| !listen.ip().is_loopback()) => {
            Err(CliError::Settings(vec![wrong(
                resolved,
                &table::METRICS_LISTEN,
                "with `--auth off` anyone who reaches the port could read the metrics: choose \
                 `--auth tokens` or `--auth jwt`, or a loopback address",
            )]))
        }
        Mode::Off => Ok(AuthSettings::Off),
        Mode::Tokens => Ok(AuthSettings::Tokens),
        Mode::Jwt => jwt(resolved),
    }
}

fn jwt(resolved: &Resolved) -> Result<AuthSettings, CliError> {
    let mut problems = Vec::new();
    let secret = resolved.get(&table::JWT_SECRET_FILE)?.map(KeySource::Secret);
    let keys = match (resolved.get(&table::JWT_KEYS)?, secret) {
        (Some(_), Some(_)) => {
            let reason = "`jwt-keys` is set too: tokens are checked with one of the two";
            problems.push(wrong(resolved, &table::JWT_SECRET_FILE, reason));
            None
        }
        (None, None) => {
            let reason = "`--auth jwt` needs keys: set this or `jwt-secret-file`";
            problems.push(wrong(resolved, &table::JWT_KEYS, reason));
            None
        }
        (Some(keys), None) | (None, Some(keys)) => Some(keys),
    };
    let authority = resolved.get(&table::JWT_CA_FILE)?;
    let keys = match (keys, authority) {
        (Some(KeySource::Url { url, .. }), authority) => Some(KeySource::Url { url, authority }),
        (keys, None) => keys,
        (_, Some(_)) => {
            let reason = "it is for keys from an address, and `jwt-keys` is none";
            problems.push(wrong(resolved, &table::JWT_CA_FILE, reason));
            None
        }
    };
    // A token that was made for another service must not open this one.
    let needed = "`--auth jwt` needs it, so that tokens made for others are refused";
    let mut text = |setting: &'static Setting<OptionalTextRule>| -> Result<String, CliError> {
        let value = resolved.get(setting)?;
        if value.is_none() {
            problems.push(wrong(resolved, setting, needed));
        }
        Ok(value.unwrap_or_default())
    };
    let (issuer, audience) = (text(&table::JWT_ISSUER)?, text(&table::JWT_AUDIENCE)?);
    let Some(keys) = keys.filter(|_| problems.is_empty()) else {
        return Err(CliError::Settings(problems));
    };
    let leeway = resolved.get(&table::JWT_LEEWAY)?.as_secs();
    let rules = Rules {
        issuer,
        audience,
        user_claim: resolved.get(&table::JWT_USER_CLAIM)?,
        scope_claim: resolved.get(&table::JWT_SCOPE_CLAIM)?,
        leeway: i64::try_from(leeway).unwrap_or(i64::MAX),
    };
    let policy = Policy {
        every: resolved.get(&table::JWT_REFRESH)?,
        cooldown: resolved.get(&table::JWT_COOLDOWN)?,
        stale: resolved.get(&table::JWT_STALE)?,
    };
    Ok(AuthSettings::Jwt { keys, rules, policy })
}

/// How large the audit trail may grow.
///
/// # Errors
/// [`CliError::Settings`].
pub fn audit(resolved: &Resolved) -> Result<Bounds, CliError> {
    Ok(Bounds {
        file_bytes: resolved.get(&table::AUDIT_FILE_BYTES)?,
        files: resolved.get(&table::AUDIT_FILES)?,
    })
}

fn wrong<R: Rule>(resolved: &Resolved, setting: &'static Setting<R>, reason: &str) -> Problem {
    let (key, text, source) = resolved.mention(setting);
    Problem::Value { key, text, source, reason: reason.to_owned(), accepts: setting.rule.accepts() }
}
