//! What can be wrong with a command line, and how it is said.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::sources::Source;

/// Why a command line is refused. Help and version requests come as [`CliError::Usage`] too.
#[derive(Debug, Error)]
pub enum CliError {
    /// Flags or commands that do not exist, or a request for help or the version.
    #[error("{0}")]
    Usage(#[from] clap::Error),
    /// The configuration file cannot be read.
    #[error("the configuration file {} ({named_by}) cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where its name came from.
        named_by: Source,
        /// What the file system said.
        source: io::Error,
    },
    /// The configuration file is not TOML.
    #[error("the configuration file {} is not TOML: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        reason: String,
    },
    /// Settings that do not exist or whose values are not accepted; never empty.
    #[error("{}", listed(.0))]
    Settings(Vec<Problem>),
}

impl CliError {
    /// The process's exit code: 0 for help and version, 2 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(usage) => u8::try_from(usage.exit_code()).unwrap_or(2),
            _ => 2,
        }
    }

    /// Says it to the person who typed the command: help and version on standard output, errors
    /// on standard error.
    pub fn print(&self) {
        match self {
            // A closed terminal cannot be told that it is closed.
            Self::Usage(usage) => drop(usage.print()),
            other => eprintln!("error: {other}"),
        }
    }
}

/// One thing that is wrong with the settings.
#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// A value that is not accepted.
    Value {
        /// The setting.
        key: &'static str,
        /// The value as it was given.
        text: String,
        /// Where it was given.
        source: Source,
        /// What is wrong with it; empty where `accepts` says all.
        reason: String,
        /// What would be accepted.
        accepts: String,
    },
    /// A key in the configuration file that is no setting.
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The setting that it resembles most, where it resembles one.
        nearest: Option<&'static str>,
    },
    /// Two values that do not go together.
    Together {
        /// The setting that is too small.
        small: (&'static str, String, Source),
        /// The setting that it must not be smaller than.
        large: (&'static str, String, Source),
        /// The relation, as "must be at least …".
        must: &'static str,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { key, text, source, reason, accepts } => {
                let reason = if reason.is_empty() { "not understood" } else { reason };
                write!(f, "`{key}` is `{text}` ({source}): {reason}; accepts {accepts}")
            }
            Self::UnknownKey { path, key, nearest } => {
                write!(f, "`{key}` (file {}) is no setting", path.display())?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
                    None => write!(f, "; `audience-store config` lists them"),
                }
            }
            Self::Together { small, large, must } => write!(
                f,
                "`{}` is `{}` ({}): {must} `{}`, which is `{}` ({})",
                small.0, small.1, small.2, large.0, large.1, large.2
            ),
        }
    }
}

fn listed(problems: &[Problem]) -> String {
    match problems {
        [one] => one.to_string(),
        many => {
            let mut text = format!("{} settings are wrong:", many.len());
            for problem in many {
                text.push_str("\n  ");
                text.push_str(&problem.to_string());
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(key: &str, nearest: Option<&'static str>) -> Problem {
        Problem::UnknownKey { path: "a.toml".into(), key: key.to_owned(), nearest }
    }

    #[test]
    fn one_problem_is_a_sentence_and_many_are_a_list() {
        let one = CliError::Settings(vec![unknown("lisen", Some("listen"))]);
        assert_eq!(one.to_string(), "`lisen` (file a.toml) is no setting; did you mean `listen`?");
        assert_eq!(one.exit_code(), 2);
        let two = CliError::Settings(vec![unknown("a", None), unknown("b", None)]);
        assert_eq!(two.to_string().lines().count(), 3);
        assert!(two.to_string().starts_with("2 settings are wrong:\n  `a` (file a.toml)"));
    }
}
