//! `audience-store token`: tokens made, shown and taken back on the server's machine, while the
//! server runs or not. Each change has its line in the audit trail.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use super::tokens::{NewToken, TokenFileError, TokenStore, TokenText};
use crate::audit::{Actor, Event, Trail};
use crate::env::Env;

/// What to do.
#[derive(Debug)]
pub enum TokenCommand {
    /// Make a token.
    Create(NewToken),
    /// Show all tokens.
    List {
        /// Whether as JSON.
        json: bool,
    },
    /// Take a token back.
    Revoke {
        /// Its id.
        id: String,
    },
}

/// Why that failed.
#[derive(Debug, Error)]
pub enum TokenCommandError {
    /// The tokens cannot be read or changed.
    #[error(transparent)]
    Tokens(#[from] TokenFileError),
    /// The trail cannot be written.
    #[error("the audit trail cannot be written: {0}")]
    Audit(#[from] io::Error),
    /// There is no such token.
    #[error("there is no token {0}; `audience-store token list` shows all")]
    Unknown(String),
}

/// What a command says. Holds a secret, so it does not show itself.
pub struct Said {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub notes: String,
}

/// Carries a command out on the store in `root`. Blocking.
///
/// # Errors
/// [`TokenCommandError`]; nothing was changed but for [`TokenCommandError::Audit`] after a
/// revocation, which holds all the same.
pub fn run(env: &Env, root: &Path, command: &TokenCommand) -> Result<Said, TokenCommandError> {
    let tokens = TokenStore::open(env, root)?;
    let trail = Trail::new(Arc::clone(&env.fs), root, None);
    let by = Actor::command();
    let note = |event: Event| trail.append(event.line(env.clock.now()).as_bytes(), true);
    match command {
        TokenCommand::Create(new) => {
            let text = TokenText::made(env.random.as_ref());
            let planned = new.record(&text, env.clock.now());
            note(Event::token_created(&by, &planned.user, &planned.id, &planned.scopes.names()))?;
            let made = tokens.create(new, &text)?;
            let ends = made.expires_at.map_or("never".to_owned(), |at| at.to_string());
            let notes = format!(
                "token {} of user {}, scopes {}, expires {ends}\nIt is shown this once: keep it \
                 safe, and send it as `Authorization: Bearer …`.",
                made.id,
                made.user,
                made.scopes.names().join(" "),
            );
            Ok(Said { out: text.reveal().to_owned(), notes })
        }
        TokenCommand::List { json } => {
            Ok(Said { out: listed(env, &tokens, *json), notes: String::new() })
        }
        TokenCommand::Revoke { id } => {
            let id = public_part(id);
            let unknown = || TokenCommandError::Unknown(id.to_owned());
            let owner = tokens.revoke(id)?.ok_or_else(unknown)?;
            note(Event::token_revoked(&by, &owner, id))?;
            let notes = "A running server stops taking it within a second.".to_owned();
            Ok(Said { out: format!("token {id} of user {owner} is revoked"), notes })
        }
    }
}

/// The id out of what somebody typed: it may be the whole token, whose secret is not for showing.
fn public_part(typed: &str) -> &str {
    match typed.strip_prefix("ast_") {
        Some(rest) => rest.split('_').next().unwrap_or_default(),
        None => typed,
    }
}

fn listed(env: &Env, tokens: &TokenStore, json: bool) -> String {
    let now = env.clock.now();
    let all = tokens.published().get();
    let records = all.records();
    if json {
        let shown: Vec<_> = records.iter().map(|record| record.shown(now)).collect();
        return format!("{:#}", serde_json::Value::Array(shown));
    }
    let mut rows = vec![["ID", "STATUS", "USER", "SCOPES", "EXPIRES", "NAME"].map(str::to_owned)];
    rows.extend(records.iter().map(|record| {
        [
            record.id.clone(),
            record.status(now).name().to_owned(),
            record.user.as_str().to_owned(),
            record.scopes.names().join(" "),
            record.expires_at.map_or("never".to_owned(), |at| at.to_string()),
            record.name.clone().unwrap_or_default(),
        ]
    }));
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
