//! Sealing and opening, and what version 1 wrote: `tests/fixtures/sealed/`, a ring and columns'
//! bytes in hex, which every later version reads.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::crypto::ring::{LocalKeys, Ring};
use crate::crypto::ring_file;
use crate::domain::{Micros, RecordId, Table, UserId};
use crate::env::OsRandom;

struct Whose(UserId, RecordId);

impl Whose {
    fn new(user: &str, id: &str) -> Self {
        Self(UserId::checked(user).expect("user"), RecordId::checked(id).expect("id"))
    }

    fn owner(&self) -> Owner<'_> {
        Owner { user: &self.0, table: Table::Platforms, id: &self.1 }
    }
}

fn keys_of(ring: &Ring) -> Sealer {
    let keys = LocalKeys::new(ring.clone(), Arc::new(OsRandom));
    Sealer::new(Arc::new(keys), Arc::new(OsRandom))
}

fn ring() -> Ring {
    Ring::made(&OsRandom, Micros::new(0))
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn viewed(bytes: &[u8]) -> String {
    let mut out = String::new();
    view(bytes, &mut out);
    out
}

#[tokio::test]
async fn opens_where_it_was_sealed_and_nowhere_else() {
    let keys = keys_of(&ring());
    let mine = Whose::new("u", "p1");
    let plain = r#"{"api_key":"sk-live","account_id":"12345"}"#;
    let sealed = keys.seal(&mine.owner(), &secret(plain)).await.expect("sealed").bytes;
    assert!(!String::from_utf8_lossy(&sealed).contains("sk-live"));
    assert_eq!(keys.open(&mine.owner(), &sealed).await.expect("opened").expose(), plain);
    assert_eq!(viewed(&sealed), r#"{"encrypted":true,"account_id":"12345"}"#);
    for other in [Whose::new("v", "p1"), Whose::new("u", "p2"), Whose::new("up", "1")] {
        assert!(keys.open(&other.owner(), &sealed).await.is_err());
        assert!(keys.rewrap(&other.owner(), &sealed).await.is_ok(), "it is under this key");
    }
    let elsewhere = Owner { table: Table::Audiences, ..mine.owner() };
    assert!(keys.open(&elsewhere, &sealed).await.is_err());
    let again = keys.seal(&mine.owner(), &secret(plain)).await.expect("sealed").bytes;
    let differ = sealed.iter().zip(&again).filter(|(a, b)| a != b).count();
    assert!(differ > 90, "key, nonces and ciphertexts are new each time: {differ}");
}

#[tokio::test]
async fn every_changed_byte_is_noticed() {
    let keys = keys_of(&ring());
    let mine = Whose::new("u", "p1");
    let sealed = keys.seal(&mine.owner(), &secret(r#"{"account_id":"77"}"#)).await;
    let sealed = sealed.expect("sealed").bytes;
    for at in 0..sealed.len() {
        for bit in [1, 0x80] {
            let mut bytes = sealed.clone();
            bytes[at] ^= bit;
            assert!(keys.open(&mine.owner(), &bytes).await.is_err(), "byte {at}");
        }
    }
    for cut in 0..sealed.len() {
        assert!(keys.open(&mine.owner(), &sealed[..cut]).await.is_err(), "cut at {cut}");
    }
}

#[tokio::test]
async fn rewrapping_changes_the_data_keys_wrapping_alone() {
    let mut held = ring();
    let mine = Whose::new("u", "p1");
    let before = keys_of(&held);
    let sealed =
        before.seal(&mine.owner(), &secret("{\"account_id\":1}")).await.expect("sealed").bytes;
    assert!(before.rewrap(&mine.owner(), &sealed).await.expect("current").is_none());
    let old = held.current().clone();
    let new = held.rotate(&OsRandom, Micros::new(0)).expect("rotate");
    let both = keys_of(&held);
    let next = both.rewrap(&mine.owner(), &sealed).await.expect("rewrapped").expect("new").bytes;
    assert_eq!((key_of(&sealed), key_of(&next)), (Some(old.clone()), Some(new)));
    let (Ok(Stored::Sealed(a)), Ok(Stored::Sealed(b))) =
        (Stored::parse(&sealed), Stored::parse(&next))
    else {
        panic!("envelopes")
    };
    assert_eq!((a.account, a.nonce, a.sealed), (b.account, b.nonce, b.sealed));
    assert_ne!(a.wrapped, b.wrapped);
    held.retire(&old).expect("retire");
    let after = keys_of(&held);
    assert_eq!(
        after.open(&mine.owner(), &next).await.expect("opened").expose(),
        "{\"account_id\":1}"
    );
    let gone = Err(SealError::Key(KeyError::Unknown(old)));
    assert_eq!(after.open(&mine.owner(), &sealed).await, gone);
    let other = Whose::new("u", "p2");
    assert!(both.rewrap(&other.owner(), &sealed).await.is_err(), "moved bytes are not re-wrapped");
}

#[tokio::test]
async fn what_is_on_its_way_holds_its_sealer() {
    let keys = keys_of(&ring());
    let sealed = keys.seal(&Whose::new("u", "p").owner(), &secret("{}")).await.expect("sealed");
    assert!(keys.is_held());
    drop(sealed);
    assert!(!keys.is_held());
}

/// A data key and its context.
type Wrapped = (Key, Vec<u8>);

/// A key service on another machine, as far as its callers can see: it answers later, keeps its
/// keys, gives out names of what it wrapped, and may be out of reach.
#[derive(Debug)]
struct Remote {
    current: KeyId,
    wrapped: Mutex<HashMap<Vec<u8>, Wrapped>>,
    reachable: AtomicBool,
}

impl Remote {
    async fn reached(&self) -> Result<(), KeyError> {
        tokio::task::yield_now().await;
        let reachable = self.reachable.load(Ordering::Relaxed);
        if reachable { Ok(()) } else { Err(KeyError::Unavailable("no route".to_owned())) }
    }
}

#[async_trait::async_trait]
impl KeyService for Remote {
    fn current(&self) -> &KeyId {
        &self.current
    }

    async fn wrap(&self, _: &KeyId, key: &Key, context: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.reached().await?;
        let mut name = vec![0; 400];
        OsRandom.fill(&mut name);
        let kept = (key.clone(), context.to_vec());
        self.wrapped.lock().expect("lock").insert(name.clone(), kept);
        Ok(name)
    }

    async fn unwrap(&self, id: &KeyId, wrapped: &[u8], context: &[u8]) -> Result<Key, KeyError> {
        self.reached().await?;
        match self.wrapped.lock().expect("lock").get(wrapped) {
            Some((key, with)) if with == context => Ok(key.clone()),
            _ => Err(KeyError::Refused(id.clone())),
        }
    }

    async fn mac(&self, _: &KeyId, message: &[u8]) -> Result<[u8; 32], KeyError> {
        self.reached().await?;
        let mut code = [0; 32];
        code.iter_mut().zip(message).for_each(|(to, from)| *to = *from);
        Ok(code)
    }
}

#[tokio::test]
async fn a_key_service_on_another_machine_can_be_the_ring() {
    let remote = Arc::new(Remote {
        current: KeyId::checked("projects.p.keys.k").expect("id"),
        wrapped: Mutex::default(),
        reachable: true.into(),
    });
    let keys = Sealer::new(Arc::clone(&remote) as Arc<dyn KeyService>, Arc::new(OsRandom));
    let (mine, other) = (Whose::new("u", "p"), Whose::new("u", "q"));
    let sealed = keys.seal(&mine.owner(), &secret("{\"k\":1}")).await.expect("sealed").bytes;
    assert_eq!(keys.open(&mine.owner(), &sealed).await.expect("opened").expose(), "{\"k\":1}");
    let refused = keys.open(&other.owner(), &sealed).await;
    assert!(matches!(refused, Err(SealError::Key(KeyError::Refused(_)))), "{refused:?}");
    let print = keys.fingerprint(b"m").await.expect("print");
    assert_eq!(keys.has_fingerprint(b"m", &print).await, Ok(Some(true)));
    remote.reachable.store(false, Ordering::Relaxed);
    let away = |error: &SealError| matches!(error, SealError::Key(KeyError::Unavailable(_)));
    assert!(keys.open(&mine.owner(), &sealed).await.is_err_and(|e| away(&e)));
    assert!(keys.seal(&mine.owner(), &secret("{}")).await.is_err_and(|e| away(&e)));
    assert!(keys.has_fingerprint(b"m", &print).await.is_err_and(|e| away(&e)));
    assert!(!keys.is_held(), "nothing is on its way");
}

#[tokio::test]
async fn fingerprints_tell_messages_apart_and_outlive_a_rotation() {
    let mut held = ring();
    let before = keys_of(&held);
    let print = before.fingerprint(b"message").await.expect("fingerprint");
    let old = held.current().clone();
    assert!(print.starts_with(old.as_str()) && print.len() == old.as_str().len() + 65);
    held.rotate(&OsRandom, Micros::new(0)).expect("rotate");
    let both = keys_of(&held);
    assert_eq!(both.has_fingerprint(b"message", &print).await, Ok(Some(true)));
    assert_eq!(both.has_fingerprint(b"another", &print).await, Ok(Some(false)));
    assert_eq!(both.has_fingerprint(b"message", "no key:00").await, Ok(Some(false)));
    held.retire(&old).expect("retire");
    assert_eq!(keys_of(&held).has_fingerprint(b"message", &print).await, Ok(None));
}

#[tokio::test]
async fn only_a_short_text_or_number_is_shown_as_the_account() {
    let keys = keys_of(&ring());
    let mine = Whose::new("u", "p");
    for (account, shown) in [
        ("\"a\"", r#"{"encrypted":true,"account_id":"a"}"#),
        ("12", r#"{"encrypted":true,"account_id":12}"#),
        ("{\"key\":\"sk\"}", r#"{"encrypted":true}"#),
        ("null", r#"{"encrypted":true}"#),
    ] {
        let plain = format!("{{\"account_id\":{account}}}");
        let sealed = keys.seal(&mine.owner(), &secret(&plain)).await.expect("sealed").bytes;
        assert_eq!(viewed(&sealed), shown);
        assert_eq!(keys.open(&mine.owner(), &sealed).await.expect("opened").expose(), plain);
    }
    assert_eq!(viewed(b"garbage"), r#"{"encrypted":true}"#);
}

#[test]
fn legacy_texts_become_one_json_value() {
    for (text, json) in [
        ("{ \"a\" : 1 }", Some("{\"a\":1}")),
        ("plain", Some("\"plain\"")),
        ("{'python': 'repr'}", Some("\"{'python': 'repr'}\"")),
        (" null ", None),
        ("", None),
    ] {
        let found = from_legacy(&secret(text));
        assert_eq!(found.as_ref().map(Secret::expose), json, "{text}");
    }
}

/// Counts up, so that the same calls make the same bytes.
struct Counting(AtomicU8);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

const RING: &str = include_str!("../../tests/fixtures/sealed/ring.json");
const RECORDS: &str = include_str!("../../tests/fixtures/sealed/records.json");

const SAMPLES: [(&str, &str, &str); 3] = [
    ("demo_user", "plat_1", r#"{"api_key":"sk-live-1234567890","account_id":"12345"}"#),
    ("ünï/..", "p-2", r#"{"token":"t","account_id":7,"nested":{"a":[1.0,null]}}"#),
    ("x", "p_3", "{}"),
];

/// What this version writes, as the fixture has it.
async fn written_now() -> Value {
    let ring = ring_file::parse(RING.as_bytes()).expect("ring");
    let random = Arc::new(Counting(AtomicU8::new(0)));
    let local = LocalKeys::new(ring, Arc::clone(&random) as Arc<dyn Random>);
    let keys = Sealer::new(Arc::new(local), random);
    let mut records = Vec::new();
    for (user, id, plain) in SAMPLES {
        let whose = Whose::new(user, id);
        let sealed = keys.seal(&whose.owner(), &secret(plain)).await.expect("sealed").bytes;
        let hex = hex(&sealed);
        records
            .push(json!({"user_id": user, "platform_id": id, "credentials": plain, "column": hex}));
    }
    Value::Array(records)
}

#[tokio::test]
async fn version_1_is_still_written_so() {
    let committed: Value = serde_json::from_str(RECORDS).expect("json");
    let now = written_now().await;
    assert!(now == committed, "{}", serde_json::to_string_pretty(&now).expect("json"));
}

#[tokio::test]
async fn version_1_is_read() {
    let keys = keys_of(&ring_file::parse(RING.as_bytes()).expect("ring"));
    let records: Vec<Value> = serde_json::from_str(RECORDS).expect("json");
    assert_eq!(records.len(), SAMPLES.len());
    for record in records {
        let text = |field: &str| record[field].as_str().expect("text").to_owned();
        let column = text("column");
        let bytes: Vec<u8> = (0..column.len() / 2)
            .map(|i| u8::from_str_radix(&column[2 * i..2 * i + 2], 16).expect("hex"))
            .collect();
        let whose = Whose::new(&text("user_id"), &text("platform_id"));
        let opened = keys.open(&whose.owner(), &bytes).await.expect("opened");
        assert_eq!(opened.expose(), text("credentials"));
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_none_open(bytes in proptest::collection::vec(any::<u8>(), 0..400), real in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let keys = keys_of(&ring());
        let mine = Whose::new("u", "p");
        let mut bytes = bytes;
        if real {
            let mut sealed = runtime.block_on(keys.seal(&mine.owner(), &secret("{}"))).expect("sealed").bytes.into_vec();
            let changed = sealed.iter_mut().zip(&bytes).fold(0, |any, (b, x)| { *b ^= x; any | x });
            if changed == 0 { return Ok(()); }
            bytes = sealed;
        }
        prop_assert!(runtime.block_on(keys.open(&mine.owner(), &bytes)).is_err());
        prop_assert!(serde_json::from_str::<Value>(&viewed(&bytes)).is_ok(), "{}", viewed(&bytes));
        let _ = runtime.block_on(keys.rewrap(&mine.owner(), &bytes));
        let _ = (key_of(&bytes), is_in_legacy(&bytes));
    }

    #[test]
    fn any_json_comes_back(text in "\\PC{0,200}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let keys = keys_of(&ring());
        let mine = Whose::new("u", "p");
        let plain = json!({"k": text.clone(), "account_id": text}).to_string();
        let sealed = runtime.block_on(keys.seal(&mine.owner(), &secret(&plain))).expect("sealed").bytes;
        let opened = runtime.block_on(keys.open(&mine.owner(), &sealed)).expect("opened");
        prop_assert_eq!(opened.expose(), plain);
    }
}
