//! What the texts of settings about authentication mean.

use std::path::PathBuf;

use super::rules::Rule;
use crate::auth::Mode;
use crate::auth::jwt::{KeySource, KeyUrl};

/// Stands for a setting that is not set.
const NONE: &str = "none";

/// `off`, `tokens` or `jwt`.
pub struct AuthRule;

const MODES: [(Mode, &str); 3] = [(Mode::Off, "off"), (Mode::Tokens, "tokens"), (Mode::Jwt, "jwt")];

impl Rule for AuthRule {
    type Out = Mode;

    fn parse(&self, text: &str) -> Result<Mode, String> {
        let known = MODES.iter().find(|(_, name)| *name == text);
        known.map(|(mode, _)| *mode).ok_or_else(String::new)
    }

    fn accepts(&self) -> String {
        "`off` (on a loopback address alone), `tokens` or `jwt`".to_owned()
    }

    fn show(&self, value: &Mode) -> String {
        MODES.iter().find(|(mode, _)| mode == value).map_or("", |(_, name)| name).to_owned()
    }
}

/// Where public keys come from: a file or an address.
pub struct KeysRule;

impl Rule for KeysRule {
    type Out = Option<KeySource>;

    fn parse(&self, text: &str) -> Result<Option<KeySource>, String> {
        match text {
            NONE => Ok(None),
            "" => Err(String::new()),
            _ if text.contains('\0') => Err(String::new()),
            _ if text.contains("://") => {
                let url = KeyUrl::parse(text).ok_or("not an address that keys may come from")?;
                Ok(Some(KeySource::Url { url, authority: None }))
            }
            _ => Ok(Some(KeySource::Public(PathBuf::from(text)))),
        }
    }

    fn accepts(&self) -> String {
        "the path of a PEM public key or JSON web key set, an https:// address of a set (http:// on \
         the machine itself), or `none`"
            .to_owned()
    }

    fn show(&self, value: &Option<KeySource>) -> String {
        match value {
            None => NONE.to_owned(),
            Some(KeySource::Url { url, .. }) => url.as_str().to_owned(),
            Some(KeySource::Public(path) | KeySource::Secret(path)) => path.display().to_string(),
        }
    }
}

/// A file, or none.
pub struct OptionalPathRule;

impl Rule for OptionalPathRule {
    type Out = Option<PathBuf>;

    fn parse(&self, text: &str) -> Result<Option<PathBuf>, String> {
        match text {
            NONE => Ok(None),
            _ if text.is_empty() || text.contains('\0') => Err(String::new()),
            _ => Ok(Some(PathBuf::from(text))),
        }
    }

    fn accepts(&self) -> String {
        "the path of a file, or `none`".to_owned()
    }

    fn show(&self, value: &Option<PathBuf>) -> String {
        value.as_ref().map_or(NONE.to_owned(), |path| path.display().to_string())
    }
}

/// A text that a token must hold, or none.
pub struct OptionalTextRule;

impl Rule for OptionalTextRule {
    type Out = Option<String>;

    fn parse(&self, text: &str) -> Result<Option<String>, String> {
        match text {
            NONE => Ok(None),
            _ => TextRule.parse(text).map(Some),
        }
    }

    fn accepts(&self) -> String {
        "a text, or `none`".to_owned()
    }

    fn show(&self, value: &Option<String>) -> String {
        value.clone().unwrap_or_else(|| NONE.to_owned())
    }
}

/// The name of a claim.
pub struct TextRule;

impl Rule for TextRule {
    type Out = String;

    fn parse(&self, text: &str) -> Result<String, String> {
        let fit = !text.trim().is_empty() && !text.chars().any(char::is_control);
        if fit { Ok(text.to_owned()) } else { Err(String::new()) }
    }

    fn accepts(&self) -> String {
        "a text".to_owned()
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_a_file_or_a_safe_address() {
        assert_eq!(KeysRule.parse("none"), Ok(None));
        let file = KeysRule.parse("keys/a.pem").expect("file");
        assert_eq!(file, Some(KeySource::Public("keys/a.pem".into())));
        for text in ["https://id.example/jwks", "keys/a.pem", "none"] {
            let value = KeysRule.parse(text).expect(text);
            assert_eq!(KeysRule.show(&value), text);
        }
        assert!(KeysRule.parse("http://id.example/jwks").is_err());
        assert!(KeysRule.parse("").is_err());
    }

    #[test]
    fn texts_and_modes() {
        assert_eq!(AuthRule.parse("tokens"), Ok(Mode::Tokens));
        assert!(AuthRule.parse("Tokens").is_err() && AuthRule.parse("none").is_err());
        assert_eq!(OptionalTextRule.parse("none"), Ok(None));
        assert_eq!(OptionalTextRule.parse("a b"), Ok(Some("a b".to_owned())));
        assert!(OptionalTextRule.parse(" ").is_err() && TextRule.parse("a\nb").is_err());
        assert_eq!(OptionalPathRule.parse("s"), Ok(Some("s".into())));
        assert!(OptionalPathRule.parse("").is_err());
    }
}
