//! The running server's tokens: the file, and what was read of it last.
//!
//! Changes made here work for the next request at once. Those that a command makes are noticed by
//! [`TokenStore::refresh`], which is called every so often. All methods but `published` block.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::record::{add, revoke};
use super::{NewToken, TokenFile, TokenFileError, TokenRecord, TokenText, Tokens};
use crate::auth::Published;
use crate::domain::{Micros, UserId};
use crate::env::Env;

/// The tokens of a store.
pub struct TokenStore {
    env: Env,
    file: TokenFile,
    tokens: Arc<Published<Tokens>>,
    /// The version of the file that was read last. Held while tokens are read and published, so
    /// that an older reading never replaces a newer one.
    seen: Mutex<Option<u128>>,
}

impl TokenStore {
    /// Reads the tokens of the store in `root`; none where there is no file.
    ///
    /// # Errors
    /// [`TokenFileError`].
    pub fn open(env: &Env, root: &Path) -> Result<Self, TokenFileError> {
        let file = TokenFile::new(Arc::clone(&env.fs), root);
        let seen = Mutex::new(file.version()?);
        let tokens = Arc::new(Published::new(Tokens::of(file.read()?)));
        Ok(Self { env: env.clone(), file, tokens, seen })
    }

    /// The tokens as they are at the moment.
    #[must_use]
    pub fn published(&self) -> Arc<Published<Tokens>> {
        Arc::clone(&self.tokens)
    }

    /// Reads the file again where it has changed; whether it had. After an error the tokens stay
    /// as they were: a file that cannot be read is tried again the next time, a damaged one when
    /// it changes.
    ///
    /// # Errors
    /// [`TokenFileError`].
    pub fn refresh(&self) -> Result<bool, TokenFileError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.file.version()?;
        if version == *seen {
            return Ok(false);
        }
        let read = self.file.read();
        if !matches!(read, Err(TokenFileError::Io(_))) {
            // Taken before the contents: a change in between is found the next time.
            *seen = version;
        }
        self.tokens.publish(Tokens::of(read?));
        Ok(true)
    }

    /// A text for a new token.
    #[must_use]
    pub fn draw(&self) -> TokenText {
        TokenText::made(self.env.random.as_ref())
    }

    /// The moment, which a token's status depends on.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.env.clock.now()
    }

    /// Makes a token of `text`. On return it survives power loss.
    ///
    /// # Errors
    /// [`TokenFileError`].
    pub fn create(&self, new: &NewToken, text: &TokenText) -> Result<TokenRecord, TokenFileError> {
        let now = self.env.clock.now();
        let record = new.record(text, now);
        self.change(|records| Ok(add(records, record.clone(), now)?))?;
        Ok(record)
    }

    /// Takes a token back; whose it was, `None` where there is no such token. On return it does
    /// not work any more, also after power loss.
    ///
    /// # Errors
    /// [`TokenFileError`].
    pub fn revoke(&self, id: &str) -> Result<Option<UserId>, TokenFileError> {
        let now = self.env.clock.now();
        self.change(|records| Ok(revoke(records, id, now)))
    }

    /// Removes all tokens of a user; their ids. On return they are gone, also after power loss.
    ///
    /// # Errors
    /// [`TokenFileError`].
    pub fn forget(&self, user: &UserId) -> Result<Vec<String>, TokenFileError> {
        if self.file.version()?.is_none() {
            return Ok(Vec::new());
        }
        self.change(|records| {
            let his = |record: &&TokenRecord| record.user == *user;
            let ids = records.iter().filter(his).map(|r| r.id.clone()).collect();
            records.retain(|record| record.user != *user);
            Ok(ids)
        })
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Vec<TokenRecord>) -> Result<T, TokenFileError>,
    ) -> Result<T, TokenFileError> {
        let _turn = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, records) = self.file.change(change)?;
        self.tokens.publish(Tokens::of(records));
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Refusal;

    #[test]
    fn changes_work_at_once_and_those_of_others_after_a_refresh() {
        let folder = tempfile::tempdir().expect("folder");
        let env = Env::system();
        let server = TokenStore::open(&env, folder.path()).expect("server");
        let command = TokenStore::open(&env, folder.path()).expect("command");
        let new = NewToken::checked("u", ["admin"], None, None).expect("new");
        let make = |store: &TokenStore| {
            let text = TokenText::made(env.random.as_ref());
            store.create(&new, &text).expect("made");
            text
        };
        let works = |store: &TokenStore, text: &TokenText| {
            store.published().get().check(text, env.clock.now()).map(|_| ())
        };
        let unknown = |text: &TokenText| Err(Refusal::Unknown { token: text.id().to_owned() });
        let (mine, theirs) = (make(&server), make(&command));
        assert_eq!(works(&server, &mine), Ok(()));
        assert_eq!(works(&server, &theirs), unknown(&theirs));
        assert!(server.refresh().expect("refresh"));
        assert_eq!(works(&server, &theirs), Ok(()));
        assert!(!server.refresh().expect("refresh"), "nothing new");

        command.revoke(mine.id()).expect("revoked").expect("known");
        assert_eq!(works(&server, &mine), Ok(()));
        assert!(server.refresh().expect("refresh"));
        assert_eq!(works(&server, &mine), unknown(&mine));
        server.revoke(theirs.id()).expect("revoked").expect("known");
        assert_eq!(works(&server, &theirs), unknown(&theirs));
        assert_eq!(server.revoke("none").expect("ok"), None);

        let third = make(&server);
        let user = crate::auth::identity::named("u").expect("user");
        assert_eq!(server.forget(&user).expect("forgotten").len(), 3);
        assert_eq!(works(&server, &third), unknown(&third));
        assert_eq!(command.file.read().expect("file"), []);
    }
}
