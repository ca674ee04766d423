//! What the server keeps of a token, and the rules of the list. Pure: no files, no clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::TokenText;
use crate::audit::Via;
use crate::auth::identity::{IdentityError, named};
use crate::auth::{Principal, Refusal, Scope, Scopes};
use crate::domain::{Micros, UserId};

/// Most tokens kept, those included that are revoked or expired. The oldest of these give way.
pub const MAX_TOKENS: usize = 10_000;
/// Longest name, in bytes.
const MAX_NAME: usize = 100;
/// Longest life.
const MAX_TTL: Duration = Duration::from_hours(24 * 3660);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct NewToken {
    user: UserId,
    scopes: Scopes,
    name: Option<String>,
    ttl: Option<Duration>,
}

/// Why no token is made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NewTokenError {
    /// Whose it is.
    #[error(transparent)]
    User(#[from] IdentityError),
    /// What it may do.
    #[error("`{0}` is no scope")]
    Scope(String),
    /// A token without scopes opens nothing.
    #[error("at least one scope is needed")]
    NoScope,
    /// What it is called.
    #[error("a name has 1 to 100 bytes and no control characters")]
    Name,
    /// How long it lives.
    #[error("a lifetime is at least 1s and at most 3660d")]
    Ttl,
    /// There are [`MAX_TOKENS`] that work.
    #[error("there are as many tokens as there may be; revoke some")]
    Full,
}

impl NewToken {
    /// Checks what is asked for.
    ///
    /// # Errors
    /// [`NewTokenError`].
    pub fn checked<'a>(
        user: &str,
        scopes: impl IntoIterator<Item = &'a str>,
        name: Option<&str>,
        ttl: Option<Duration>,
    ) -> Result<Self, NewTokenError> {
        let user = named(user)?;
        let mut set = Scopes::NONE;
        for scope in scopes {
            let known = Scope::named(scope);
            set = set.and(known.ok_or_else(|| NewTokenError::Scope(scope.to_owned()))?);
        }
        if set.is_empty() {
            return Err(NewTokenError::NoScope);
        }
        let unfit = |name: &str| {
            name.trim().is_empty()
                || name.len() > MAX_NAME
                || name.chars().any(crate::domain::is_unsafe_char)
        };
        if name.is_some_and(unfit) {
            return Err(NewTokenError::Name);
        }
        if ttl.is_some_and(|ttl| !(Duration::from_secs(1)..=MAX_TTL).contains(&ttl)) {
            return Err(NewTokenError::Ttl);
        }
        Ok(Self { user, scopes: set, name: name.map(str::to_owned), ttl })
    }

    /// The record of `token`, made for this at `now`.
    #[must_use]
    pub fn record(&self, token: &TokenText, now: Micros) -> TokenRecord {
        let after = |ttl: Duration| {
            let ttl = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
            Micros::new(now.get().saturating_add(ttl))
        };
        TokenRecord {
            id: token.id().to_owned(),
            hash: token.hash(),
            user: self.user.clone(),
            scopes: self.scopes,
            name: self.name.clone(),
            created_at: now,
            expires_at: self.ttl.map(after),
            revoked_at: None,
        }
    }
}

/// Whether a token works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenStatus {
    /// It does.
    Active,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

impl TokenStatus {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// The part of the token that is no secret.
    pub id: String,
    /// SHA-256 of the token's text.
    pub hash: [u8; 32],
    /// Whose it is.
    pub user: UserId,
    /// What it may do.
    pub scopes: Scopes,
    /// What it is called.
    pub name: Option<String>,
    /// When it was made.
    pub created_at: Micros,
    /// When it ends, where it does.
    pub expires_at: Option<Micros>,
    /// When it was taken back, where it was.
    pub revoked_at: Option<Micros>,
}

impl TokenRecord {
    /// Whether it works at `now`.
    #[must_use]
    pub fn status(&self, now: Micros) -> TokenStatus {
        if self.revoked_at.is_some() {
            TokenStatus::Revoked
        } else if self.expires_at.is_some_and(|at| at <= now) {
            TokenStatus::Expired
        } else {
            TokenStatus::Active
        }
    }

    /// As lists show it: everything but the hash.
    #[must_use]
    pub fn shown(&self, now: Micros) -> Value {
        let time = |at: Option<Micros>| at.map(|at| at.to_string());
        json!({
            "id": self.id,
            "user_id": self.user.as_str(),
            "scopes": self.scopes.names(),
            "name": self.name,
            "status": self.status(now).name(),
            "created_at": self.created_at.to_string(),
            "expires_at": time(self.expires_at),
            "revoked_at": time(self.revoked_at),
        })
    }
}

struct Known {
    record: TokenRecord,
    principal: Arc<Principal>,
}

/// All tokens, found by id.
#[derive(Default)]
pub struct Tokens(HashMap<String, Known>);

impl Tokens {
    /// These tokens; of two with one id the later.
    #[must_use]
    pub fn of(records: Vec<TokenRecord>) -> Self {
        let known = |record: TokenRecord| {
            let via = Via::Token(record.id.clone());
            let principal = Principal::holder(record.user.clone(), record.scopes, via);
            (record.id.clone(), Known { record, principal: Arc::new(principal) })
        };
        Self(records.into_iter().map(known).collect())
    }

    /// The holder of a token, as of `now`.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], also for a revoked one and a wrong secret; [`Refusal::Expired`].
    pub fn check(&self, token: &TokenText, now: Micros) -> Result<Arc<Principal>, Refusal> {
        let hash = token.hash();
        let unknown = || Refusal::Unknown { token: token.id().to_owned() };
        // One comparison, whether the id is known or not.
        let known = self.0.get(token.id());
        let kept = known.map_or(&[0; 32], |known| &known.record.hash);
        let same: bool = hash.ct_eq(kept).into();
        let known = known.filter(|_| same).ok_or_else(unknown)?;
        match known.record.status(now) {
            TokenStatus::Active => Ok(Arc::clone(&known.principal)),
            TokenStatus::Expired => Err(Refusal::Expired { token: Some(token.id().to_owned()) }),
            TokenStatus::Revoked => Err(unknown()),
        }
    }

    /// All records, newest first.
    #[must_use]
    pub fn records(&self) -> Vec<&TokenRecord> {
        let mut all: Vec<_> = self.0.values().map(|known| &known.record).collect();
        all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        all
    }
}

/// Adds a record. Where there is no room the oldest ones that do not work any more give way.
///
/// # Errors
/// [`NewTokenError::Full`].
pub fn add(
    records: &mut Vec<TokenRecord>,
    record: TokenRecord,
    now: Micros,
) -> Result<(), NewTokenError> {
    if records.len() >= MAX_TOKENS {
        let over = records.len() + 1 - MAX_TOKENS;
        let mut gone: Vec<(Micros, String)> = records
            .iter()
            .filter(|r| r.status(now) != TokenStatus::Active)
            .map(|r| (r.created_at, r.id.clone()))
            .collect();
        if gone.len() < over {
            return Err(NewTokenError::Full);
        }
        gone.sort();
        gone.truncate(over);
        records.retain(|r| !gone.iter().any(|(_, id)| *id == r.id));
    }
    records.push(record);
    Ok(())
}

/// Takes a token back; one that was taken back already keeps its time. Answers whose it is;
/// `None` where there is no such token.
pub fn revoke(records: &mut [TokenRecord], id: &str, now: Micros) -> Option<UserId> {
    let record = records.iter_mut().find(|r| r.id == id)?;
    record.revoked_at.get_or_insert(now);
    Some(record.user.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::OsRandom;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(seconds: i64) -> Micros {
        Micros::new(seconds * 1_000_000)
    }

    fn new(ttl: Option<Duration>) -> NewToken {
        NewToken::checked("u", ["audiences:read"], Some("ci"), ttl).expect("token")
    }

    fn numbered(number: usize) -> TokenRecord {
        let id = format!("{number:012}");
        let created_at = at(i64::try_from(number).expect("number"));
        TokenRecord { id, created_at, ..new(None).record(&TokenText::made(&OsRandom), at(0)) }
    }

    #[test]
    fn what_is_asked_for_is_checked() {
        let checked = |user, scopes: &[&'static str], name, ttl| {
            NewToken::checked(user, scopes.iter().copied(), name, ttl).err()
        };
        let ok: &[&str] = &["admin", "admin"];
        assert_eq!(checked("u", ok, None, Some(HOUR)), None);
        assert!(matches!(checked("", ok, None, None), Some(NewTokenError::User(_))));
        assert_eq!(checked("u", &[], None, None), Some(NewTokenError::NoScope));
        let unknown = Some(NewTokenError::Scope("audiences".to_owned()));
        assert_eq!(checked("u", &["audiences"], None, None), unknown);
        for name in ["", " ", "a\nb", "\u{202e}x"] {
            assert_eq!(checked("u", ok, Some(name), None), Some(NewTokenError::Name), "{name:?}");
        }
        for ttl in [Duration::ZERO, Duration::from_millis(999), MAX_TTL + HOUR] {
            assert_eq!(checked("u", ok, None, Some(ttl)), Some(NewTokenError::Ttl), "{ttl:?}");
        }
    }

    #[test]
    fn a_token_works_until_it_ends_or_is_taken_back() {
        let token = TokenText::made(&OsRandom);
        let record = new(Some(HOUR)).record(&token, at(0));
        let tokens = Tokens::of(vec![record.clone()]);
        let holder = tokens.check(&token, at(3599)).expect("works");
        assert_eq!(holder.user_for(Scope::AudiencesRead, &[]).expect("user").as_str(), "u");
        assert!(!holder.may(Scope::AudiencesWrite));
        let expired = Refusal::Expired { token: Some(token.id().to_owned()) };
        assert_eq!(tokens.check(&token, at(3600)), Err(expired));

        let mut records = vec![record];
        assert_eq!(revoke(&mut records, "none", at(5)), None);
        assert_eq!(revoke(&mut records, token.id(), at(5)).expect("known").as_str(), "u");
        revoke(&mut records, token.id(), at(9)).expect("known");
        assert_eq!(records[0].revoked_at, Some(at(5)), "the first time counts");
        let unknown = Refusal::Unknown { token: token.id().to_owned() };
        for now in [6, 9999] {
            let revoked = Tokens::of(records.clone()).check(&token, at(now));
            assert_eq!(revoked, Err(unknown.clone()), "{now}");
        }
        assert_eq!(Tokens::default().check(&token, at(0)), Err(unknown));
    }

    #[test]
    fn another_secret_under_a_known_id_is_unknown() {
        let token = TokenText::made(&OsRandom);
        let mut record = new(None).record(&token, at(0));
        record.hash[31] ^= 1;
        let unknown = Refusal::Unknown { token: token.id().to_owned() };
        assert_eq!(Tokens::of(vec![record]).check(&token, at(0)), Err(unknown));
    }

    #[test]
    fn the_oldest_that_do_not_work_give_way() {
        let mut records: Vec<_> = (0..MAX_TOKENS).map(numbered).collect();
        let more = numbered(MAX_TOKENS);
        let now = at(1);
        assert_eq!(add(&mut records, more.clone(), now), Err(NewTokenError::Full));
        for number in [7, 5] {
            revoke(&mut records, &format!("{number:012}"), now).expect("known");
        }
        add(&mut records, more, now).expect("room");
        assert_eq!(records.len(), MAX_TOKENS);
        let there = |number: usize| records.iter().any(|r| r.id == format!("{number:012}"));
        assert_eq!([there(5), there(7), there(MAX_TOKENS)], [false, true, true]);
    }

    #[test]
    fn lists_are_newest_first_and_show_no_hash() {
        let tokens = Tokens::of((0..3).map(numbered).collect());
        let ids: Vec<_> = tokens.records().iter().map(|r| r.id.clone()).collect();
        assert_eq!(ids, ["000000000002", "000000000001", "000000000000"]);
        let shown = tokens.records()[0].shown(at(9));
        assert_eq!(shown["status"], "active");
        assert!(shown.get("hash").is_none() && shown.get("sha256").is_none());
    }
}
