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
}
