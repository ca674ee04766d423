//! What a line says.
//!
//! Fields: `time`, `action`; `by_user` and `via` (who did it, and by which credential); what the
//! action is about (`user_id`, `platform_id`, `token_id`, …). A token is named by its public id.

use crate::domain::json_text::push_string;
use crate::domain::{Micros, RecordId, UserId};

/// By which credential somebody came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Via {
    /// `--auth off`: no credential.
    Off,
    /// An API token of this id.
    Token(String),
    /// A JSON web token.
    Jwt,
    /// A command on the server's machine.
    Command,
    /// None, or one that was not accepted.
    Nothing,
}

/// Who did something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    /// The user, where the credential names one.
    pub user: Option<UserId>,
    /// The credential.
    pub via: Via,
}

impl Actor {
    /// Whoever types a command on the server's machine.
    #[must_use]
    pub fn command() -> Self {
        Self { user: None, via: Via::Command }
    }
}

/// A refused request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    /// Who asked, as far as that is known.
    pub by: Actor,
    /// 401 or 403.
    pub status: u16,
    /// The error code.
    pub code: &'static str,
    /// The method of the route, not of the request: one of the program's own.
    pub method: &'static str,
    /// The route, its parameters in braces.
    pub route: String,
    /// Address of the peer.
    pub peer: Option<std::net::IpAddr>,
}

/// Something that somebody did, before it is a line.
pub struct Event {
    action: &'static str,
    by: Actor,
    /// Names and JSON values.
    fields: Vec<(&'static str, String)>,
}

impl Event {
    fn new(action: &'static str, by: &Actor) -> Self {
        Self { action, by: by.clone(), fields: Vec::new() }
    }

    fn text(mut self, name: &'static str, value: &str) -> Self {
        let mut json = String::with_capacity(value.len() + 2);
        push_string(value, &mut json);
        self.fields.push((name, json));
        self
    }

    fn number(mut self, name: &'static str, value: u64) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }

    /// A user was erased, with counts.
    #[must_use]
    pub fn user_erased(by: &Actor, user: &UserId, counts: &[(&'static str, u64)]) -> Self {
        let event = Self::new("user_erased", by).text("user_id", user.as_str());
        counts.iter().fold(event, |event, (name, count)| event.number(name, *count))
    }

    /// A token is about to be made.
    #[must_use]
    pub fn token_created(by: &Actor, user: &UserId, token: &str, scopes: &[&str]) -> Self {
        let event = Self::new("token_created", by).text("user_id", user.as_str());
        event.text("token_id", token).text("scopes", &scopes.join(" "))
    }

    /// A token was revoked.
    #[must_use]
    pub fn token_revoked(by: &Actor, user: &UserId, token: &str) -> Self {
        Self::new("token_revoked", by).text("user_id", user.as_str()).text("token_id", token)
    }

    /// The tokens of a user went with him.
    #[must_use]
    pub fn tokens_removed(by: &Actor, user: &UserId, count: u64) -> Self {
        let event = Self::new("tokens_removed", by).text("user_id", user.as_str());
        event.number("count", count)
    }

    /// Stored credentials are about to be shown.
    #[must_use]
    pub fn credentials_read(by: &Actor, owner: &UserId, platform: &RecordId) -> Self {
        let event = Self::new("credentials_read", by).text("user_id", owner.as_str());
        event.text("platform_id", platform.as_str())
    }

    /// Something was done to a key-encryption key: `action` is one of the program's own words,
    /// such as `key_added`, `key` the key's id.
    #[must_use]
    pub fn key(action: &'static str, by: &Actor, key: &str) -> Self {
        Self::new(action, by).text("key", key)
    }

    /// A refused request.
    #[must_use]
    pub fn denied(denied: &Denied) -> Self {
        let event = Self::new("denied", &denied.by)
            .number("status", u64::from(denied.status))
            .text("code", denied.code)
            .text("method", denied.method)
            .text("route", &denied.route);
        match denied.peer {
            Some(peer) => event.text("peer", &peer.to_string()),
            None => event,
        }
    }

    /// Refused requests that have no line of their own.
    #[must_use]
    pub fn not_listed(code: &'static str, count: u64, since: Micros) -> Self {
        let nobody = Actor { user: None, via: Via::Nothing };
        Self::new("denied_not_listed", &nobody)
            .text("code", code)
            .number("count", count)
            .text("since", &since.to_string())
    }

    /// The line, its end included.
    #[must_use]
    pub fn line(&self, at: Micros) -> String {
        let mut line = format!("{{\"time\":\"{at}\",\"action\":\"{}\"", self.action);
        if let Some(user) = &self.by.user {
            line.push_str(",\"by_user\":");
            push_string(user.as_str(), &mut line);
        }
        let via = match &self.by.via {
            Via::Off => Some("auth off".to_owned()),
            Via::Token(id) => Some(format!("token {id}")),
            Via::Jwt => Some("jwt".to_owned()),
            Via::Command => Some("command".to_owned()),
            Via::Nothing => None,
        };
        if let Some(via) = via {
            line.push_str(",\"via\":");
            push_string(&via, &mut line);
        }
        for (name, value) in &self.fields {
            line.push_str(",\"");
            line.push_str(name);
            line.push_str("\":");
            line.push_str(value);
        }
        line.push_str("}\n");
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> UserId {
        UserId::checked(text).expect("user")
    }

    #[test]
    fn a_line_is_one_json_object_whatever_a_user_is_called() {
        let by = Actor { user: Some(user("a\"b\\c")), via: Via::Token("0123456789ab".to_owned()) };
        let line = Event::token_created(&by, &user("ü/\u{1F600}"), "ba9876543210", &["admin"])
            .line(Micros::new(0));
        assert_eq!(line.matches('\n').count(), 1);
        let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!({
                "time": "1970-01-01T00:00:00.000000Z", "action": "token_created",
                "by_user": "a\"b\\c", "via": "token 0123456789ab",
                "user_id": "ü/\u{1F600}", "token_id": "ba9876543210", "scopes": "admin",
            })
        );
    }

    #[test]
    fn who_is_not_known_is_not_named() {
        let denied = Denied {
            by: Actor { user: None, via: Via::Nothing },
            status: 401,
            code: "UNAUTHENTICATED",
            method: "GET",
            route: "/api/audiences".to_owned(),
            peer: Some([127, 0, 0, 1].into()),
        };
        let line = Event::denied(&denied).line(Micros::new(1));
        assert_eq!(
            line,
            "{\"time\":\"1970-01-01T00:00:00.000001Z\",\"action\":\"denied\",\"status\":401,\
             \"code\":\"UNAUTHENTICATED\",\"method\":\"GET\",\"route\":\"/api/audiences\",\
             \"peer\":\"127.0.0.1\"}\n"
        );
    }
}
