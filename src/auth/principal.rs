//! Who is asking, and what he may do.
//!
//! A [`Principal`] is made by the [`Authenticator`](super::Authenticator) alone, out of a
//! credential that it has verified, or, with `--auth off`, for anybody. It is the only thing that
//! turns what a request says into a [`UserId`]: nothing of a user's can be touched without it.

use thiserror::Error;

use super::identity::{IdentityError, claimed};
use super::{Scope, Scopes};
use crate::audit::{Actor, Via};
use crate::domain::UserId;

/// A verified caller. What he may do does not change while a request runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// None with `--auth off`: the request names its user itself.
    user: Option<UserId>,
    scopes: Scopes,
    via: Via,
}

/// Why a caller may not.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Denial {
    /// His credentials lack scopes: these.
    #[error("The credentials lack a scope: {0}")]
    Scopes(Scopes),
    /// The request has no user, or not his.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl Principal {
    /// Anybody, with every scope: `--auth off`.
    pub(super) fn anybody() -> Self {
        Self { user: None, scopes: Scopes::all(), via: Via::Off }
    }

    /// The user that a fuzz target's text names.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn named_by(text: &str) -> Option<UserId> {
        Self::anybody().user_for(Scopes::NONE, &[Some(text)]).ok()
    }

    /// The holder of a verified credential.
    pub(super) fn holder(user: UserId, scopes: Scopes, via: Via) -> Self {
        Self { user: Some(user), scopes, via }
    }

    /// Whether he may do what needs `scope`.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.allow(scope)
    }

    /// Checks that he may do what needs all of `scopes`.
    ///
    /// # Errors
    /// [`Denial::Scopes`].
    pub fn require(&self, scopes: impl Into<Scopes>) -> Result<(), Denial> {
        let lacking = self.scopes.lacking(scopes.into());
        if lacking.is_empty() { Ok(()) } else { Err(Denial::Scopes(lacking)) }
    }

    /// The user whose data a request touches, which needs all of `scopes`. `places` is what its path,
    /// query and body say.
    ///
    /// Without authentication they name the user. With it his credentials do, and what the places
    /// say must be the same; an administrator may name anybody.
    ///
    /// # Errors
    /// [`Denial`].
    pub fn user_for(
        &self,
        scopes: impl Into<Scopes>,
        places: &[Option<&str>],
    ) -> Result<UserId, Denial> {
        self.require(scopes)?;
        let Some(user) = &self.user else { return Ok(claimed(places)?) };
        if self.scopes.has(Scope::Admin) && places.iter().any(Option::is_some) {
            return Ok(claimed(places)?);
        }
        if places.iter().flatten().any(|named| *named != user.as_str()) {
            return Err(IdentityError::Other.into());
        }
        Ok(user.clone())
    }

    /// The user that all his requests are about: none where he may name others.
    #[must_use]
    pub fn only_user(&self) -> Option<&UserId> {
        self.user.as_ref().filter(|_| !self.scopes.has(Scope::Admin))
    }

    /// As the audit trail names him.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor { user: self.user.clone(), via: self.via.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::named;
    use super::*;

    fn holder(scopes: &[Scope]) -> Principal {
        Principal::holder(named("u").expect("user"), Scopes::of(scopes), Via::Jwt)
    }

    fn user(of: &Principal, places: &[Option<&str>]) -> Result<String, Denial> {
        of.user_for(Scope::AudiencesRead, places).map(|user| user.as_str().to_owned())
    }

    #[test]
    fn a_holder_is_his_own_user_wherever_the_request_says_so_or_nothing() {
        let holder = holder(&[Scope::AudiencesRead]);
        for places in [&[None, None][..], &[Some("u"), None], &[Some("u"), Some("u")], &[]] {
            assert_eq!(user(&holder, places).as_deref(), Ok("u"), "{places:?}");
        }
        for places in [&[Some("v")][..], &[Some("u"), Some("v")], &[None, Some("")], &[Some("U")]] {
            assert_eq!(user(&holder, places), Err(IdentityError::Other.into()), "{places:?}");
        }
    }

    #[test]
    fn a_scope_that_is_missing_makes_no_user() {
        let holder = holder(&[Scope::AudiencesWrite, Scope::PlatformsRead]);
        let lacking = Denial::Scopes(Scope::AudiencesRead.into());
        assert_eq!(user(&holder, &[Some("u")]), Err(lacking));
        let both = Scopes::of(&[Scope::PlatformsRead, Scope::PlatformsWrite]);
        let lacking = Denial::Scopes(Scope::PlatformsWrite.into());
        assert_eq!(holder.user_for(both, &[]), Err(lacking));
    }

    #[test]
    fn an_administrator_may_name_anybody_and_is_himself_otherwise() {
        let admin = holder(&[Scope::Admin]);
        assert_eq!(user(&admin, &[None, None]).as_deref(), Ok("u"));
        assert_eq!(user(&admin, &[Some("v"), Some("v")]).as_deref(), Ok("v"));
        assert_eq!(user(&admin, &[Some("v"), Some("w")]), Err(IdentityError::Mismatch.into()));
        assert_eq!(
            admin.user_for(Scope::CredentialsRead, &[]),
            Err(Denial::Scopes(Scope::CredentialsRead.into()))
        );
    }

    #[test]
    fn without_authentication_the_request_names_the_user() {
        let anybody = Principal::anybody();
        assert_eq!(user(&anybody, &[Some("v")]).as_deref(), Ok("v"));
        assert_eq!(user(&anybody, &[None]), Err(IdentityError::Missing.into()));
        for scope in Scope::ALL {
            assert!(anybody.may(scope), "{scope}");
        }
    }
}
