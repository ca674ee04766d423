//! From a request's credential to its [`Principal`].
//!
//! Tokens and keys are read-mostly values that are replaced whole ([`Published`]). A [`Worker`]
//! belongs to one HTTP thread: it sees a replacement with its next request, shares no lock with
//! other workers otherwise, and remembers the web tokens that it has verified, so many of them,
//! each until it expires or the keys change.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::jwt::{
    self, Ask, Fetching, KeyFile, KeySource, KeySourceError, Keys, Policy, Rules, Verified,
};
use super::tokens::{TokenFileError, TokenStore, TokenText, Tokens};
use super::{Principal, Published, Reader, Refusal, bearer};
use crate::env::Env;

/// Web tokens that a worker remembers.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// How often files of tokens and keys are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Which credentials are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// None are needed: requests name their user themselves.
    Off,
    /// API tokens.
    Tokens,
    /// JSON web tokens.
    Jwt,
}

/// How callers are told apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthSettings {
    /// Not at all.
    Off,
    /// By API tokens.
    Tokens,
    /// By JSON web tokens.
    Jwt {
        /// Where keys come from.
        keys: KeySource,
        /// What tokens must say.
        rules: Rules,
        /// When keys of an address are fetched.
        policy: Policy,
    },
}

impl AuthSettings {
    /// Which credentials are taken.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self {
            Self::Off => Mode::Off,
            Self::Tokens => Mode::Tokens,
            Self::Jwt { .. } => Mode::Jwt,
        }
    }
}

/// Why nobody could be told apart.
#[derive(Debug, Error)]
pub enum AuthError {
    /// The tokens cannot be read.
    #[error(transparent)]
    Tokens(#[from] TokenFileError),
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeySourceError),
}

/// What all workers share.
pub struct Authenticator {
    mode: Mode,
    env: Env,
    anybody: Arc<Principal>,
    tokens: Arc<Published<Tokens>>,
    keys: Arc<Published<Keys>>,
    rules: Option<Rules>,
    ask: Option<mpsc::Sender<Ask>>,
}

/// The parts of authentication.
pub struct Opened {
    /// What workers share.
    pub authenticator: Arc<Authenticator>,
    /// The tokens, whatever credentials are taken.
    pub tokens: Arc<TokenStore>,
    key_file: Option<KeyFile>,
    fetching: Option<Fetching>,
}

impl Authenticator {
    /// Reads tokens and keys of the store in `root`. Blocking.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn open(env: &Env, root: &Path, settings: &AuthSettings) -> Result<Opened, AuthError> {
        let tokens = Arc::new(TokenStore::open(env, root)?);
        let keys = Arc::new(Published::new(Keys::None));
        let (mut key_file, mut fetching, mut ask, mut its_rules) = (None, None, None, None);
        if let AuthSettings::Jwt { keys: source, rules, policy } = settings {
            its_rules = Some(rules.clone());
            let file = |path: &Path, secret| {
                KeyFile::open(Arc::clone(&env.fs), path.to_path_buf(), secret, Arc::clone(&keys))
            };
            match source {
                KeySource::Public(path) => key_file = Some(file(path, false)?),
                KeySource::Secret(path) => key_file = Some(file(path, true)?),
                KeySource::Url { url, authority } => {
                    let trusts = match authority {
                        Some(path) => Some(jwt::trusting(env.fs.as_ref(), path)?),
                        None => None,
                    };
                    let (clock, keys) = (Arc::clone(&env.clock), Arc::clone(&keys));
                    let (task, to) = Fetching::new(url.clone(), trusts, *policy, clock, keys);
                    (fetching, ask) = (Some(task), Some(to));
                }
            }
        }
        let authenticator = Arc::new(Self {
            mode: settings.mode(),
            env: env.clone(),
            anybody: Arc::new(Principal::anybody()),
            tokens: tokens.published(),
            keys,
            rules: its_rules,
            ask,
        });
        Ok(Opened { authenticator, tokens, key_file, fetching })
    }

    /// Which credentials are taken.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Waits until the keys are as new as may be: after [`Refusal::UnknownKey`] or
    /// [`Refusal::NoKeys`] a second look may find more. Returns at once where keys come from a
    /// file, or where too many are waiting.
    pub async fn fresh_keys(&self) {
        let Some(ask) = &self.ask else { return };
        let (answer, fresh) = oneshot::channel();
        if ask.try_send(answer).is_ok() {
            // Without an answer the server is stopping.
            let _ = fresh.await;
        }
    }
}

impl Opened {
    /// Starts what keeps tokens and keys new. Called on an actix system's thread.
    #[must_use]
    pub fn start(self) -> (Arc<Authenticator>, Arc<TokenStore>) {
        if let Some(fetching) = self.fetching {
            actix_rt::spawn(fetching.run());
        }
        actix_rt::spawn(look(Arc::clone(&self.tokens), self.key_file.map(Arc::new)));
        (self.authenticator, self.tokens)
    }
}

/// Takes over what commands and operators change in files while the server runs.
async fn look(tokens: Arc<TokenStore>, keys: Option<Arc<KeyFile>>) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut of_tokens, mut of_keys) = (Told::new("tokens"), Told::new("keys"));
    loop {
        tick.tick().await;
        let (tokens, keys) = (Arc::clone(&tokens), keys.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let tokens = tokens.refresh().map_err(|e| e.to_string());
            (tokens, keys.map(|keys| keys.refresh().map_err(|e| e.to_string())))
        });
        match looked.await {
            Ok((tokens, keys)) => {
                of_tokens.tell(tokens);
                of_keys.tell(keys.unwrap_or(Ok(false)));
            }
            Err(error) => of_tokens.tell(Err(error.to_string())),
        }
    }
}

/// Says what became of a look at a file; the same trouble once.
struct Told {
    what: &'static str,
    trouble: Option<String>,
}

impl Told {
    fn new(what: &'static str) -> Self {
        Self { what, trouble: None }
    }

    fn tell(&mut self, looked: Result<bool, String>) {
        let what = self.what;
        match looked {
            Ok(changed) => {
                self.trouble = None;
                if changed {
                    tracing::info!("{what} changed and were read again");
                }
            }
            Err(error) if self.trouble.as_ref() == Some(&error) => {}
            Err(error) => {
                tracing::error!(%error, "{what} cannot be read; the old ones serve");
                self.trouble = Some(error);
            }
        }
    }
}

struct Seen {
    tokens: Reader<Tokens>,
    keys: Reader<Keys>,
    /// By SHA-256 of the token.
    verified: LruCache<[u8; 32], Verified>,
}

/// One HTTP thread's view.
pub struct Worker {
    shared: Arc<Authenticator>,
    seen: RefCell<Seen>,
}

impl Worker {
    /// A view that has verified nothing.
    #[must_use]
    pub fn new(shared: Arc<Authenticator>) -> Self {
        let seen = Seen {
            tokens: shared.tokens.reader(),
            keys: shared.keys.reader(),
            verified: LruCache::new(REMEMBERED),
        };
        Self { shared, seen: RefCell::new(seen) }
    }

    /// What all workers share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Authenticator> {
        &self.shared
    }

    /// The caller whose `Authorization` headers these are.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check<'a>(
        &self,
        headers: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Arc<Principal>, Refusal> {
        match self.shared.mode {
            Mode::Off => Ok(Arc::clone(&self.shared.anybody)),
            Mode::Tokens => self.token(bearer(headers)?),
            Mode::Jwt => self.web_token(bearer(headers)?),
        }
    }

    fn token(&self, text: &str) -> Result<Arc<Principal>, Refusal> {
        let token = TokenText::parse(text).map_err(|e| Refusal::Malformed(e.reason()))?;
        let mut seen = self.seen.borrow_mut();
        let (tokens, _) = seen.tokens.read(&self.shared.tokens);
        tokens.check(&token, self.shared.env.clock.now())
    }

    fn web_token(&self, text: &str) -> Result<Arc<Principal>, Refusal> {
        let rules = self.shared.rules.as_ref().ok_or(Refusal::NoKeys)?;
        let now = self.shared.env.clock.now().get().div_euclid(1_000_000);
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let mut seen = self.seen.borrow_mut();
        let Seen { keys, verified, .. } = &mut *seen;
        let (keys, changed) = keys.read(&self.shared.keys);
        if changed {
            verified.clear();
        }
        if let Some(known) = verified.get(&hash).filter(|known| now < known.until) {
            return Ok(Arc::clone(&known.principal));
        }
        let fresh = jwt::check(text, keys, rules, now)?;
        let principal = Arc::clone(&fresh.principal);
        verified.put(hash, fresh);
        Ok(principal)
    }
}

#[cfg(test)]
mod tests;
