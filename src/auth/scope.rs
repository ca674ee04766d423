//! What a caller may do: nine words, and sets of them.

use std::fmt;

use crate::domain::Table;

/// One thing that may be allowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// `audiences:read`
    AudiencesRead,
    /// `audiences:write`
    AudiencesWrite,
    /// `platforms:read`
    PlatformsRead,
    /// `platforms:write`
    PlatformsWrite,
    /// `distributions:read`
    DistributionsRead,
    /// `distributions:write`
    DistributionsWrite,
    /// `credentials:read`: see a platform's stored credentials.
    CredentialsRead,
    /// `metrics:read`
    MetricsRead,
    /// `admin`: name any user, and everything above but `credentials:read`.
    Admin,
}

impl Scope {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::AudiencesRead,
        Self::AudiencesWrite,
        Self::PlatformsRead,
        Self::PlatformsWrite,
        Self::DistributionsRead,
        Self::DistributionsWrite,
        Self::CredentialsRead,
        Self::MetricsRead,
        Self::Admin,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AudiencesRead => "audiences:read",
            Self::AudiencesWrite => "audiences:write",
            Self::PlatformsRead => "platforms:read",
            Self::PlatformsWrite => "platforms:write",
            Self::DistributionsRead => "distributions:read",
            Self::DistributionsWrite => "distributions:write",
            Self::CredentialsRead => "credentials:read",
            Self::MetricsRead => "metrics:read",
            Self::Admin => "admin",
        }
    }

    /// The scope of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// Reading records of a table.
    #[must_use]
    pub const fn read(table: Table) -> Self {
        match table {
            Table::Audiences => Self::AudiencesRead,
            Table::Platforms => Self::PlatformsRead,
            Table::Distributions => Self::DistributionsRead,
            // What the server remembers for itself has no route.
            Table::Idempotency => Self::Admin,
        }
    }

    /// Changing records of a table.
    #[must_use]
    pub const fn write(table: Table) -> Self {
        match table {
            Table::Audiences => Self::AudiencesWrite,
            Table::Platforms => Self::PlatformsWrite,
            Table::Distributions => Self::DistributionsWrite,
            Table::Idempotency => Self::Admin,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Scopes(u16);

impl Scopes {
    /// No scope.
    pub const NONE: Self = Self(0);

    /// These scopes.
    #[must_use]
    pub fn of(scopes: &[Scope]) -> Self {
        Self(scopes.iter().fold(0, |bits, scope| bits | scope.bit()))
    }

    /// Every scope.
    #[must_use]
    pub fn all() -> Self {
        Self::of(&Scope::ALL)
    }

    /// With one more.
    #[must_use]
    pub const fn and(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    /// Whether `scope` is in the set by name.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether a caller with these scopes may do what needs `scope`: he has it, or he has `admin`
    /// and it is not `credentials:read`. Administration needs no customer's secrets; who is to
    /// see them is given the scope by name.
    #[must_use]
    pub fn allow(self, scope: Scope) -> bool {
        self.has(scope) || (self.has(Scope::Admin) && scope != Scope::CredentialsRead)
    }

    /// Those of `needed` that a caller with these scopes may not do.
    #[must_use]
    pub fn lacking(self, needed: Self) -> Self {
        needed.iter().filter(|scope| !self.allow(*scope)).fold(Self::NONE, Self::and)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes, in the order in which they are shown.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    /// Their names.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Scope::name).collect()
    }
}

impl From<Scope> for Scopes {
    fn from(scope: Scope) -> Self {
        Self::NONE.and(scope)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_bits_are_apart() {
        for scope in Scope::ALL {
            assert_eq!(Scope::named(scope.name()), Some(scope));
            let others = Scope::ALL.into_iter().filter(|other| *other != scope);
            let set = Scopes::of(&others.collect::<Vec<_>>());
            assert!(!set.has(scope) && set.and(scope) == Scopes::all(), "{scope}");
        }
        assert_eq!(Scope::named("audiences"), None);
        assert_eq!(Scope::named("ADMIN"), None);
    }

    #[test]
    fn admin_allows_everything_but_secrets_and_nothing_else_implies_anything() {
        for has in Scope::ALL {
            for needs in Scope::ALL {
                let expected =
                    has == needs || (has == Scope::Admin && needs != Scope::CredentialsRead);
                assert_eq!(Scopes::of(&[has]).allow(needs), expected, "{has} for {needs}");
            }
        }
    }
}
