//! Rules of settings that may be left out.

use std::net::SocketAddr;

use super::rules::{ListenRule, Rule};

/// What stands for nothing.
const NONE: &str = "none";

/// An address and port, or none.
pub struct OptionalListenRule;

impl Rule for OptionalListenRule {
    type Out = Option<SocketAddr>;

    fn parse(&self, text: &str) -> Result<Option<SocketAddr>, String> {
        match text {
            NONE => Ok(None),
            _ => ListenRule.parse(text).map(Some),
        }
    }

    fn accepts(&self) -> String {
        format!("{}, or `{NONE}`", ListenRule.accepts())
    }

    fn show(&self, value: &Option<SocketAddr>) -> String {
        value.map_or_else(|| NONE.to_owned(), |address| ListenRule.show(&address))
    }
}

/// The address of a server that is spoken to in plain HTTP, without a path, or none.
pub struct OptionalHttpRule;

impl Rule for OptionalHttpRule {
    type Out = Option<String>;

    fn parse(&self, text: &str) -> Result<Option<String>, String> {
        if text == NONE {
            return Ok(None);
        }
        let rest = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let is_host = |rest: &&str| {
            let known = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
            !rest.is_empty() && rest.bytes().all(known)
        };
        rest.filter(is_host).map(|rest| Some(format!("http://{rest}"))).ok_or_else(String::new)
    }

    fn accepts(&self) -> String {
        format!("an address such as http://127.0.0.1:4318, or `{NONE}`")
    }

    fn show(&self, value: &Option<String>) -> String {
        value.clone().unwrap_or_else(|| NONE.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_or_an_address() {
        for ok in ["none", "127.0.0.1:9100", "[::1]:0"] {
            let value = OptionalListenRule.parse(ok).expect(ok);
            assert_eq!(OptionalListenRule.show(&value), ok);
        }
        assert!(OptionalListenRule.parse("9100").is_err());
    }

    #[test]
    fn none_or_a_plain_address() {
        for ok in ["none", "http://127.0.0.1:4318", "http://[::1]:4318", "http://collector"] {
            let value = OptionalHttpRule.parse(ok).expect(ok);
            assert_eq!(OptionalHttpRule.show(&value), ok);
        }
        assert_eq!(OptionalHttpRule.parse("http://c:1/"), Ok(Some("http://c:1".to_owned())));
        for bad in ["", "http://", "https://c:1", "c:4318", "http://c/v1/traces", "http://a b"] {
            assert!(OptionalHttpRule.parse(bad).is_err(), "{bad}");
        }
    }
}
