//! What a token must say, and what it says of its holder.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::audit::Via;
use crate::auth::identity::named;
use crate::auth::{Principal, Refusal, Scope, Scopes};

/// The rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must be, or hold.
    pub audience: String,
    /// The claim that holds the user id.
    pub user_claim: String,
    /// The claim that holds the scopes.
    pub scope_claim: String,
    /// How far clocks may be apart, in seconds.
    pub leeway: i64,
}

/// A token that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its holder.
    pub principal: Arc<Principal>,
    /// The first second at which it does not hold any more.
    pub until: i64,
}

impl Rules {
    /// Checks a token's claims. Its signature has been checked. `now` is in seconds.
    ///
    /// # Errors
    /// [`Refusal::Expired`], [`Refusal::Refused`].
    pub fn check(&self, claims: &Map<String, Value>, now: i64) -> Result<Verified, Refusal> {
        let expires =
            seconds(claims, "exp").ok_or(Refusal::Refused("its `exp` is missing, or no time"))?;
        let until = expires.saturating_add(self.leeway);
        if until <= now {
            return Err(Refusal::Expired { token: None });
        }
        if claims.contains_key("nbf") {
            let begins = seconds(claims, "nbf").ok_or(Refusal::Refused("its `nbf` is no time"))?;
            if begins > now.saturating_add(self.leeway) {
                return Err(Refusal::Refused("it does not hold yet"));
            }
        }
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(Refusal::Refused("its `iss` is another"));
        }
        let ours = |value: &Value| value.as_str() == Some(&self.audience);
        let meant = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(ours),
            Some(one) => ours(one),
            None => false,
        };
        if !meant {
            return Err(Refusal::Refused("its `aud` is another"));
        }
        let user = claims.get(&self.user_claim).and_then(Value::as_str);
        let user = user.and_then(|user| named(user).ok());
        let user = user.ok_or(Refusal::Refused("it names no user"))?;
        let principal = Arc::new(Principal::holder(user, self.scopes(claims)?, Via::Jwt));
        Ok(Verified { principal, until })
    }

    /// The scopes among those that the token names; others are somebody else's.
    fn scopes(&self, claims: &Map<String, Value>) -> Result<Scopes, Refusal> {
        let unfit = Refusal::Refused("its scopes are neither a text nor a list of texts");
        let mut scopes = Scopes::NONE;
        let mut add = |name: &str| {
            if let Some(scope) = Scope::named(name) {
                scopes = scopes.and(scope);
            }
        };
        match claims.get(&self.scope_claim) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => text.split(' ').for_each(add),
            Some(Value::Array(all)) => {
                for name in all {
                    add(name.as_str().ok_or_else(|| unfit.clone())?);
                }
            }
            Some(_) => return Err(unfit),
        }
        Ok(scopes)
    }
}

/// A claim that is a time, in whole seconds (RFC 7519: a number, fractions allowed).
fn seconds(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = claims.get(name)?;
    if let Some(whole) = value.as_i64() {
        return Some(whole);
    }
    let value = value.as_f64().filter(|v| v.is_finite())?.floor();
    #[allow(clippy::cast_possible_truncation, reason = "checked against the range before")]
    (-9e15..=9e15).contains(&value).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> Rules {
        Rules {
            issuer: "https://id.example".to_owned(),
            audience: "store".to_owned(),
            user_claim: "sub".to_owned(),
            scope_claim: "scope".to_owned(),
            leeway: 30,
        }
    }

    fn check(changes: &Value) -> Result<Verified, Refusal> {
        let mut claims = json!({
            "iss": "https://id.example", "aud": "store", "exp": 1000, "sub": "u",
            "scope": "openid audiences:read platforms:write",
        });
        for (name, value) in changes.as_object().expect("object") {
            claims[name] = value.clone();
        }
        rules().check(claims.as_object().expect("object"), 900)
    }

    #[test]
    fn what_holds_says_who_and_what() {
        let verified = check(&json!({})).expect("holds");
        assert_eq!(verified.until, 1030);
        let may: Vec<Scope> =
            Scope::ALL.into_iter().filter(|s| verified.principal.may(*s)).collect();
        assert_eq!(may, [Scope::AudiencesRead, Scope::PlatformsWrite]);
        let user = verified.principal.user_for(Scope::AudiencesRead, &[]).expect("user");
        assert_eq!(user.as_str(), "u");
        let list = check(&json!({"scope": ["admin", "email"], "aud": ["x", "store"]}));
        assert!(list.expect("holds").principal.may(Scope::Admin));
        for none in [json!(null), json!(""), json!([]), json!("profile")] {
            let verified = check(&json!({ "scope": none })).expect("holds");
            assert!(!Scope::ALL.into_iter().any(|s| verified.principal.may(s)));
        }
    }

    #[test]
    fn time_has_a_leeway_and_no_more() {
        for (claims, holds) in [
            (json!({"exp": 871}), true),
            (json!({"exp": 870}), false),
            (json!({"exp": 871.9}), true),
            (json!({"exp": 870.9}), false),
            (json!({"nbf": 930}), true),
            (json!({"nbf": 931}), false),
            (json!({"exp": i64::MAX}), true),
            (json!({"exp": i64::MIN}), false),
        ] {
            assert_eq!(check(&claims).is_ok(), holds, "{claims}");
        }
        assert_eq!(check(&json!({"exp": 1})), Err(Refusal::Expired { token: None }));
    }

    #[test]
    fn what_is_missing_wrong_or_of_another_type_is_refused() {
        for claims in [
            json!({"exp": null}),
            json!({"exp": "1000"}),
            json!({"exp": u64::MAX}),
            json!({"exp": 1e300}),
            json!({"nbf": "0"}),
            json!({"nbf": null}),
            json!({"iss": "https://id.example/"}),
            json!({"iss": ["https://id.example"]}),
            json!({"iss": null}),
            json!({"aud": "other"}),
            json!({"aud": []}),
            json!({"aud": ["other"]}),
            json!({"aud": null}),
            json!({"aud": {"store": true}}),
            json!({"sub": null}),
            json!({"sub": ""}),
            json!({"sub": 7}),
            json!({"sub": "a\nb"}),
            json!({"sub": "x".repeat(129)}),
            json!({"scope": 7}),
            json!({"scope": [7]}),
            json!({"scope": {"admin": true}}),
        ] {
            assert!(matches!(check(&claims), Err(Refusal::Refused(_))), "{claims}");
        }
    }
}
