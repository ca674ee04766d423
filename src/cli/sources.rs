//! Where each setting's value comes from: flag over environment over file over default.
//!
//! [`ConfigFile`] reads the TOML, [`Resolved`] picks each setting's text and remembers its source,
//! and gives typed values. An environment variable that is empty counts as not set, because
//! compose files and unit files write unset ones so.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};

use super::error::{CliError, Problem};
use super::rules::Rule;
use super::table::{ALL, AnySetting, Scope, Setting, in_scope};
use crate::env::FileSystem;

/// The environment variable that names the configuration file.
pub const CONFIG_ENVIRONMENT: &str = "AUDIENCE_STORE_CONFIG";

/// Looks an environment variable up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where a value was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Nowhere: the default serves.
    Default,
    /// In the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The key in it.
        key: &'static str,
    },
    /// In an environment variable of this name.
    Environment(String),
    /// By the flag of this name, without dashes.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, key } => write!(f, "file {}:{key}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// What a configuration file says: known settings' texts, and keys that are no settings.
#[derive(Debug, Default)]
pub struct ConfigFile {
    path: PathBuf,
    texts: BTreeMap<&'static str, String>,
    unknown: Vec<Problem>,
}

impl ConfigFile {
    /// Reads the file that a flag or else the environment names; an empty one where neither does.
    ///
    /// # Errors
    /// [`CliError::Unreadable`] or [`CliError::Malformed`].
    pub fn load(
        flag: Option<&str>,
        environment: Environment<'_>,
        fs: &dyn FileSystem,
    ) -> Result<Self, CliError> {
        let (path, named_by) = match (flag, given(environment, CONFIG_ENVIRONMENT)) {
            (Some(path), _) => (path.to_owned(), Source::Flag("config")),
            (None, Some(path)) => (path, Source::Environment(CONFIG_ENVIRONMENT.to_owned())),
            (None, None) => return Ok(Self::default()),
        };
        let path = PathBuf::from(path);
        match fs.read(&path) {
            Ok(bytes) => Self::parse(&path, &bytes),
            Err(source) => Err(CliError::Unreadable { path, named_by, source }),
        }
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, CliError> {
        let malformed = |reason: String| CliError::Malformed { path: path.to_owned(), reason };
        let text = std::str::from_utf8(bytes).map_err(|e| malformed(e.to_string()))?;
        let values: BTreeMap<String, serde_json::Value> =
            Toml::from_str(text).map_err(|e| malformed(e.to_string().trim_end().to_owned()))?;
        let mut file = Self { path: path.to_owned(), ..Self::default() };
        for (key, value) in values {
            match ALL.iter().find(|setting| setting.about().key == key) {
                Some(setting) => {
                    // Whatever is no text reads as it is written: 1024, true, ["a"].
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    file.texts.insert(setting.about().key, text);
                }
                None => file.unknown.push(Problem::UnknownKey {
                    path: path.to_owned(),
                    nearest: nearest(&key),
                    key,
                }),
            }
        }
        Ok(file)
    }
}

fn given(environment: Environment<'_>, name: &str) -> Option<String> {
    environment(name).filter(|text| !text.is_empty())
}

/// The setting whose name takes the fewest edits, where that is at most a third of its letters.
fn nearest(key: &str) -> Option<&'static str> {
    let wanted = key.to_ascii_lowercase().replace(['_', '.'], "-");
    ALL.iter()
        .map(|setting| setting.about().key)
        .map(|known| (edits(&wanted, known), known))
        .filter(|(edits, known)| *edits <= known.len().div_ceil(3))
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein distance between two texts, in characters.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (done, a) in from.chars().enumerate() {
        let mut next = vec![done + 1];
        for (b, above) in to.chars().zip(row.windows(2)) {
            let [diagonal, up] = above else { continue };
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(a != b)).min(up + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// One setting's text and where it was given.
pub struct Entry {
    /// The setting.
    pub setting: &'static dyn AnySetting,
    /// Its text, not necessarily acceptable.
    pub text: String,
    /// Where it was given.
    pub source: Source,
}

/// The text and source of every setting that a command takes.
pub struct Resolved {
    entries: Vec<Entry>,
    unknown: Vec<Problem>,
}

impl Resolved {
    /// Picks each setting's text: flag over environment over file over default. `flags` maps
    /// settings' names to texts.
    #[must_use]
    pub fn resolve(
        scope: Scope,
        flags: &BTreeMap<&'static str, String>,
        environment: Environment<'_>,
        file: ConfigFile,
    ) -> Self {
        let pick = |setting: &'static dyn AnySetting| {
            let about = setting.about();
            let name = about.environment();
            let (text, source) = if let Some(text) = flags.get(about.key) {
                (text.clone(), Source::Flag(about.key))
            } else if let Some(text) = given(environment, &name) {
                (text, Source::Environment(name))
            } else if let Some(text) = file.texts.get(about.key) {
                (text.clone(), Source::File { path: file.path.clone(), key: about.key })
            } else {
                (about.default.to_owned(), Source::Default)
            };
            Entry { setting, text, source }
        };
        Self { entries: in_scope(scope).map(pick).collect(), unknown: file.unknown }
    }

    /// The settings in the order in which they are shown.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Checks every text on its own, so that a person sees all mistakes at once.
    ///
    /// # Errors
    /// [`CliError::Settings`] with every unknown key and every text that is not accepted.
    pub fn checked(mut self) -> Result<Self, CliError> {
        let mut problems = std::mem::take(&mut self.unknown);
        for entry in &self.entries {
            if let Err(reason) = entry.setting.check(&entry.text) {
                problems.push(entry.problem(reason));
            }
        }
        if problems.is_empty() { Ok(self) } else { Err(CliError::Settings(problems)) }
    }

    /// A setting's checked value; its default where the command does not take it.
    ///
    /// # Errors
    /// [`CliError::Settings`] where its text is not accepted.
    pub fn get<R: Rule>(&self, setting: &'static Setting<R>) -> Result<R::Out, CliError> {
        let entry = self.entry(setting);
        setting
            .rule
            .parse(&entry.text)
            .map_err(|reason| CliError::Settings(vec![entry.problem(reason)]))
    }

    /// A setting's name, text and source, for a message.
    pub(super) fn mention<R: Rule>(
        &self,
        setting: &'static Setting<R>,
    ) -> (&'static str, String, Source) {
        let entry = self.entry(setting);
        (setting.about.key, entry.text, entry.source)
    }

    fn entry<R: Rule>(&self, setting: &'static Setting<R>) -> Entry {
        let found = self.entries.iter().find(|e| e.setting.about().key == setting.about.key);
        let (text, source) = match found {
            Some(entry) => (entry.text.clone(), entry.source.clone()),
            None => (setting.about.default.to_owned(), Source::Default),
        };
        Entry { setting, text, source }
    }
}

impl Entry {
    fn problem(&self, reason: String) -> Problem {
        Problem::Value {
            key: self.setting.about().key,
            text: self.text.clone(),
            source: self.source.clone(),
            reason,
            accepts: self.setting.accepts(),
        }
    }
}
