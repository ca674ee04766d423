use std::sync::Mutex;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::*;
use crate::auth::Scope;
use crate::auth::tokens::NewToken;
use crate::domain::Micros;
use crate::env::Clock;

/// A clock that stands until it is set.
struct Standing(Mutex<i64>);

impl Clock for Standing {
    fn now(&self) -> Micros {
        Micros::new(*self.0.lock().expect("clock") * 1_000_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

struct World {
    folder: tempfile::TempDir,
    clock: Arc<Standing>,
    env: Env,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(Standing(Mutex::new(1_000_000)));
        let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Env::system() };
        Self { folder: tempfile::tempdir().expect("folder"), clock, env }
    }

    fn open(&self, settings: &AuthSettings) -> Opened {
        Authenticator::open(&self.env, self.folder.path(), settings).expect("open")
    }

    fn set(&self, seconds: i64) {
        *self.clock.0.lock().expect("clock") = seconds;
    }

    fn secret(&self, text: &str) {
        self.env.fs.replace(&self.folder.path().join("secret"), text.as_bytes()).expect("secret");
    }

    fn jwt(&self) -> AuthSettings {
        let rules = Rules {
            issuer: "i".to_owned(),
            audience: "a".to_owned(),
            user_claim: "sub".to_owned(),
            scope_claim: "scope".to_owned(),
            leeway: 0,
        };
        let day = Duration::from_hours(24);
        let policy = Policy { every: day, cooldown: day, stale: day };
        let keys = KeySource::Secret(self.folder.path().join("secret"));
        AuthSettings::Jwt { keys, rules, policy }
    }
}

fn check(worker: &Worker, token: &str) -> Result<Arc<Principal>, Refusal> {
    let header = format!("Bearer {token}");
    worker.check(std::iter::once(header.as_bytes()))
}

fn web_token(secret: &str, expires: i64) -> String {
    let claims = json!({"iss": "i", "aud": "a", "exp": expires, "sub": "u", "scope": "admin"});
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("token")
}

#[test]
fn without_authentication_nothing_is_asked_for() {
    let world = World::new();
    let worker = Worker::new(world.open(&AuthSettings::Off).authenticator);
    for headers in [&[][..], &[&b"Bearer x"[..]], &[b"a", b"b"]] {
        let principal = worker.check(headers.iter().copied()).expect("anybody");
        assert!(principal.may(Scope::CredentialsRead));
    }
}

#[test]
fn tokens_and_web_tokens_are_each_taken_where_they_are_meant() {
    let world = World::new();
    world.secret(&"s".repeat(32));
    let tokens = world.open(&AuthSettings::Tokens);
    let new = NewToken::checked("u", ["metrics:read"], None, None).expect("new");
    let text = tokens.tokens.draw();
    tokens.tokens.create(&new, &text).expect("made");
    let by_token = Worker::new(tokens.authenticator);
    let by_jwt = Worker::new(world.open(&world.jwt()).authenticator);
    let web = web_token(&"s".repeat(32), 2_000_000);
    assert!(check(&by_token, text.reveal()).expect("holder").may(Scope::MetricsRead));
    assert!(check(&by_jwt, &web).expect("holder").may(Scope::Admin));
    assert!(matches!(check(&by_token, &web), Err(Refusal::Malformed(_))));
    assert!(matches!(check(&by_jwt, text.reveal()), Err(Refusal::Malformed(_))));
    assert_eq!(by_token.check(std::iter::empty()), Err(Refusal::Missing));
}

#[test]
fn every_worker_sees_a_revocation_with_its_next_request() {
    let world = World::new();
    let opened = world.open(&AuthSettings::Tokens);
    let new = NewToken::checked("u", ["admin"], None, None).expect("new");
    let text = opened.tokens.draw();
    opened.tokens.create(&new, &text).expect("made");
    let workers: Vec<Worker> =
        (0..3).map(|_| Worker::new(Arc::clone(&opened.authenticator))).collect();
    for worker in &workers {
        assert!(check(worker, text.reveal()).is_ok());
    }
    opened.tokens.revoke(text.id()).expect("revoked");
    for worker in &workers {
        assert!(matches!(check(worker, text.reveal()), Err(Refusal::Unknown { .. })));
    }
}

#[test]
fn a_web_token_that_was_verified_is_remembered_until_it_expires_or_the_keys_change() {
    let world = World::new();
    let (first, second) = ("a".repeat(32), "b".repeat(32));
    world.secret(&first);
    let opened = world.open(&world.jwt());
    let worker = Worker::new(Arc::clone(&opened.authenticator));
    let token = web_token(&first, 1_000_100);
    let principal = check(&worker, &token).expect("holds");
    assert!(Arc::ptr_eq(&principal, &check(&worker, &token).expect("remembered")));

    world.set(1_000_100);
    assert_eq!(check(&worker, &token), Err(Refusal::Expired { token: None }));
    world.set(1_000_099);
    assert!(check(&worker, &token).is_ok());

    world.secret(&second);
    let file = opened.key_file.expect("file");
    assert!(file.refresh().expect("refresh"));
    assert_eq!(check(&worker, &token), Err(Refusal::Refused("its signature is wrong")));
    assert!(check(&worker, &web_token(&second, 1_000_100)).is_ok());
}

#[test]
fn what_is_remembered_is_bounded() {
    let world = World::new();
    let secret = "a".repeat(32);
    world.secret(&secret);
    let worker = Worker::new(world.open(&world.jwt()).authenticator);
    for expires in 0..i64::try_from(REMEMBERED.get()).expect("small") + 10 {
        assert!(check(&worker, &web_token(&secret, 2_000_000 + expires)).is_ok());
    }
    assert_eq!(worker.seen.borrow().verified.len(), REMEMBERED.get());
}

#[test]
fn damaged_tokens_and_missing_keys_stop_the_start() {
    let world = World::new();
    let folder = world.folder.path();
    let open = |settings: &AuthSettings| Authenticator::open(&world.env, folder, settings).err();
    assert!(matches!(open(&world.jwt()), Some(AuthError::Keys(_))));
    world.env.fs.create_dir_all(&folder.join("auth")).expect("folder");
    world.env.fs.replace(&folder.join("auth/tokens.json"), b"{").expect("file");
    assert!(matches!(open(&AuthSettings::Tokens), Some(AuthError::Tokens(_))));
}
