//! Entry points for fuzzing: each takes any bytes, and fails where an invariant does. Only in
//! builds for tests and with the feature `fuzzing`; no part of a release.
//!
//! `fuzz/` drives them with coverage (`just fuzz`); the tests below drive them with seeded
//! mutations of the same seeds, a bounded number of times. To add one: a function here, its name
//! in [`TARGETS`], a file in `fuzz/fuzz_targets/` and seeds in `fuzz/seeds/`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::auth::Principal;
use crate::crypto::envelope::Stored;
use crate::domain::input::Body;
use crate::domain::limits::InputLimits;
use crate::domain::{Filter, ListIdentity, Micros, RecordId, Table, UserId};
use crate::http::{Params, segment};
use crate::store::Store;

/// What a target is: it takes any bytes.
pub type Target = fn(&[u8]);

/// Every target, by the name of its file.
pub const TARGETS: &[(&str, Target)] = &[
    ("log_decoder", log_decoder),
    ("cursor", cursor),
    ("path", path),
    ("request", request),
    ("sealed", sealed),
];

/// Bytes of the write-ahead log.
pub fn log_decoder(data: &[u8]) {
    crate::log::fuzz::read(data);
}

fn user(text: &str) -> Option<UserId> {
    Principal::named_by(text)
}

/// The `cursor` of a list: what is taken for one is the one that this list gives out.
pub fn cursor(data: &[u8]) {
    let (Ok(text), Some(user)) = (std::str::from_utf8(data), user("u")) else { return };
    let list = ListIdentity::new(&user, Table::Audiences, &Filter::default());
    if let Ok(place) = list.decode(text) {
        assert_eq!(list.encode(&place), text, "a place has one cursor");
    }
    // With the list's own mark before it, so that what lies behind it is reached.
    let Some(id) = RecordId::checked("a").ok() else { return };
    let position = crate::domain::Position { created_at: Micros::new(0), id };
    let ours = BASE64.decode(list.encode(&crate::domain::Place { month: None, position }));
    let marked = [ours.unwrap_or_default().get(..9).unwrap_or_default(), data].concat();
    let marked = BASE64.encode(marked);
    if let Ok(place) = list.decode(&marked) {
        assert_eq!(list.encode(&place), marked);
    }
}

/// A request's path and query: what names a user names one folder, his.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(params) = Params::parse(text) {
        for name in ["user_id", "q", "cursor", "fields"] {
            let _ = params.get(name);
        }
        if let Some(user) = user("u") {
            for table in Table::PUBLIC {
                let _ = params.list(&user, table);
            }
        }
    }
    let Some(user) = segment(text).as_deref().and_then(user) else { return };
    crate::storage::layout::fuzz::confined(&user);
}

/// A request's body, as each table takes it: what is taken is JSON again when it is shown.
pub fn request(data: &[u8]) {
    let limits = InputLimits { depth: 8, nodes: 500, ..InputLimits::default() };
    let Ok(body) = Body::parse(data, &limits) else { return };
    let _ = body.text("user_id");
    let (Ok(id), Some(user)) = (RecordId::checked("x"), user("u")) else { return };
    for table in Table::PUBLIC {
        let Ok(patch) = body.patch(table) else { continue };
        let _ = patch.clone().into_status();
        if patch.check_create().is_err() {
            continue;
        }
        let (at, later) = (Micros::new(0), Micros::new(1));
        let row = patch.clone().created(id.clone(), at, at);
        let mut shown = String::new();
        Store::render(&row, &user, None, &mut shown);
        let value: serde_json::Value =
            serde_json::from_str(&shown).unwrap_or_else(|e| panic!("{e}: {shown}"));
        assert_eq!(value["version"], 1);
        if patch.check_update(&id).is_ok() {
            let next = patch.updated(&row, later);
            assert_eq!(next.version, 2);
            assert!(patch.check_merged(&row, &next).is_ok(), "nothing grew");
        }
    }
}

/// The bytes of a `credentials` column: what is taken for an envelope is written the same again.
pub fn sealed(data: &[u8]) {
    let mut shown = String::new();
    crate::crypto::view(data, &mut shown);
    let shown: Result<serde_json::Value, _> = serde_json::from_str(&shown);
    assert!(shown.is_ok_and(|view| view["encrypted"] == true));
    if let Ok(Stored::Sealed(envelope)) = Stored::parse(data) {
        assert_eq!(envelope.encode().as_deref(), Some(data));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Mutations of each target: some seconds of an unoptimised build.
    const ROUNDS: u32 = 20_000;
    const LONGEST: usize = 4096;

    /// Numbers made from a seed (splitmix64).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            usize::try_from((z ^ (z >> 31)) % n.max(1) as u64).expect("small")
        }

        /// What a byte or a run of them becomes: what parsers trip over, often.
        fn mutate(&mut self, data: &mut Vec<u8>, others: &[Vec<u8>]) {
            const TOKENS: &[&[u8]] = &[
                b"\0",
                b"\xff",
                b"%",
                b"%00",
                b"%ff",
                b"\\u0000",
                b"\\ud800",
                b"\"",
                b"\\",
                b"{",
                b"[",
                b"}",
                b"]",
                b",",
                b":",
                b"null",
                b"-1",
                b"1e999",
                b"..",
                b"/",
                b"=",
                b"&",
                b"\xe2\x80\xae",
                b"\xff\xff\xff\xff",
                b"\0\0\0\0",
                b"\x01\0\0\0",
            ];
            let at = self.below(data.len() + 1);
            match self.below(7) {
                0 if at < data.len() => data[at] ^= 1 << self.below(8),
                1 if at < data.len() => data[at] = u8::try_from(self.below(256)).expect("byte"),
                2 => {
                    let to = at + self.below(data.len() - at + 1);
                    data.drain(at..to);
                }
                3 => {
                    let token = TOKENS[self.below(TOKENS.len())];
                    data.splice(at..at, token.iter().copied());
                }
                4 => {
                    let other = &others[self.below(others.len())];
                    let from = self.below(other.len() + 1);
                    let to = from + self.below(other.len() - from + 1);
                    data.splice(at..at, other[from..to].iter().copied());
                }
                5 => {
                    let to = at + self.below(data.len() - at + 1).min(64);
                    let part = data[at..to].to_vec();
                    data.splice(at..at, part);
                }
                _ => {
                    let to = (at + self.below(9)).min(data.len());
                    let byte = u8::try_from(self.below(256)).expect("byte");
                    data[at..to].fill(byte);
                }
            }
            data.truncate(LONGEST);
        }
    }

    #[allow(clippy::disallowed_methods, reason = "reads the repository, not a store")]
    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{target}: {e}"));
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).expect("seed")).collect()
    }

    #[test]
    fn no_mutation_of_the_seeds_breaks_a_target() {
        for (name, target) in TARGETS {
            let seeds = seeds(name);
            assert!(seeds.len() >= 3, "{name} has seeds");
            for seed in &seeds {
                target(seed);
            }
            for round in 0..ROUNDS {
                // The round alone makes the input: a failure names it.
                let mut dice = Dice(u64::from(round));
                let mut data = seeds[dice.below(seeds.len())].clone();
                for _ in 0..=dice.below(6) {
                    dice.mutate(&mut data, &seeds);
                }
                let ran = std::panic::catch_unwind(|| target(&data));
                assert!(ran.is_ok(), "{name}, round {round}: {data:?}");
            }
        }
    }

    #[test]
    fn every_target_has_its_file() {
        for (name, _) in TARGETS {
            let file = format!("fuzz/fuzz_targets/{name}.rs");
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file).exists(), "{file}");
        }
    }
}
