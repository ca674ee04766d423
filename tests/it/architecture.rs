//! What `src/` may do, where: read off its text. Tests in `src/` are left out: files named
//! `tests.rs`, `…_tests.rs` or in a folder `tests/`, and what follows `#[cfg(test)]`.

use std::fs;
use std::path::Path;

use crate::support::files::paths;

/// Longest file of `src/`, in lines, tests beside the code included.
const LONGEST: usize = 500;

/// A line of code: its file relative to `src/`, its number, its text.
struct Line {
    file: String,
    number: usize,
    text: String,
}

fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let all = paths(&root).into_iter().filter(|(name, _)| name.ends_with(".rs"));
    let all: Vec<_> =
        all.map(|(name, path)| (name, fs::read_to_string(path).expect("source"))).collect();
    assert!(all.len() > 100, "src/ was not found");
    all
}

/// The lines of code proper: no tests, no comments.
fn code() -> Vec<Line> {
    let is_test = |name: &str| {
        name.contains("/tests/") || name.ends_with("tests.rs") || name == "storage/contract.rs"
    };
    let mut lines = Vec::new();
    for (file, text) in files().into_iter().filter(|(name, _)| !is_test(name)) {
        // A test module stands last in its file; a declared one or a helper is one item.
        let cut = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        let mut skip = false;
        for (index, line) in text[..cut].lines().enumerate() {
            let text = line.trim();
            if text.starts_with("#[cfg(test)]") {
                skip = true;
            } else if skip {
                // Up to the end of the item at this depth.
                skip = !(line == "}" || line.ends_with(';'));
            } else if !text.starts_with("//") {
                let (file, text) = (file.clone(), text.to_owned());
                lines.push(Line { file, number: index + 1, text });
            }
        }
    }
    lines
}

/// The places where a line of code is `wanted` and its file is not `allowed`.
fn found(wanted: impl Fn(&str) -> bool, allowed: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = code().into_iter().filter(|l| wanted(&l.text) && !allowed(&l.file));
    lines.map(|l| format!("src/{}:{}: {}", l.file, l.number, l.text)).collect()
}

const NONE: [String; 0] = [];

#[test]
fn files_are_small_rooms() {
    let long = files().into_iter().map(|(name, text)| (text.lines().count(), name));
    assert_eq!(long.filter(|(lines, _)| *lines > LONGEST).collect::<Vec<_>>(), []);
}

#[test]
fn user_ids_are_made_only_where_one_is_claimed_or_read_back() {
    let makers = [
        "auth/identity.rs",
        "domain/user_id.rs",
        "log/frame.rs",
        "parquet/footer.rs",
        "seed/command.rs",
        "storage/layout.rs",
    ];
    let makes = |text: &str| text.contains("UserId::checked") || text.contains("UserId(");
    assert_eq!(found(makes, |file| makers.contains(&file)), NONE);
    for maker in makers.into_iter().filter(|maker| *maker != "domain/user_id.rs") {
        let here = found(|text| text.contains("UserId::checked"), |file| file != maker);
        assert_eq!(here.len(), 1, "one place, or it leaves the list: {maker} {here:?}");
    }
}

#[test]
fn a_user_id_is_had_of_a_principal_alone() {
    // Inside `auth`, who may turn a text into an id.
    let makes = |text: &str| text.contains("named(") || text.contains("claimed(");
    let makers = [
        "auth/identity.rs",
        "auth/jwt/claims.rs",
        "auth/principal.rs",
        "auth/tokens/file.rs",
        "auth/tokens/record.rs",
    ];
    let ours = |file: &str| !file.starts_with("auth/") || makers.contains(&file);
    let scopes =
        |text: &str| text.contains("Scope::named(") || text.contains("pub fn named(name: &str)");
    assert_eq!(found(|text| makes(text) && !scopes(text), ours), NONE);
    // Neither function leaves the module.
    let open = |text: &str| text.contains("pub fn named(text") || text.contains("pub fn claimed(");
    assert_eq!(found(open, |file| file != "auth/identity.rs"), NONE);
    // A principal is made where a credential was verified.
    let principals =
        |text: &str| text.contains("Principal::holder(") || text.contains("Principal::anybody(");
    let verified = ["auth/authenticator.rs", "auth/jwt/claims.rs", "auth/tokens/record.rs"];
    assert_eq!(found(principals, |file| verified.contains(&file)), NONE);
    // What lets a request in is put there by the guard.
    let admits = |text: &str| text.contains("Admitted(");
    assert_eq!(found(admits, |file| file == "http/guard.rs"), NONE);
}

/// The module of this crate that each `crate::…` of a line names.
fn modules(text: &str) -> Vec<&str> {
    let name = |rest: &'_ str| {
        rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
    };
    text.match_indices("crate::")
        .filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        .map(|(at, found)| &text[at + found.len()..])
        .map(|rest| &rest[..name(rest)])
        .collect()
}

#[test]
fn dependencies_point_down() {
    let below: [(&str, &[&str]); 15] = [
        ("domain", &[]),
        ("env", &["domain"]),
        ("crypto", &["domain", "env"]),
        ("metrics", &["domain", "env"]),
        ("log", &["domain", "env", "metrics"]),
        ("parquet", &["domain", "env"]),
        ("storage", &["domain", "env", "metrics"]),
        ("actors", &["domain", "env", "metrics", "crypto", "log", "parquet", "storage"]),
        ("audit", &["domain", "env"]),
        (
            "store",
            &["domain", "env", "metrics", "crypto", "log", "parquet", "storage", "actors", "audit"],
        ),
        ("auth", &["domain", "env", "audit"]),
        ("backup", &["domain", "env", "log", "parquet", "storage"]),
        ("repair", &["domain", "env", "log", "parquet", "storage", "verify"]),
        ("report", &["domain", "env", "metrics", "audit", "parquet", "storage"]),
        ("verify", &["domain", "env", "crypto", "log", "parquet", "storage"]),
    ];
    let mut wrong = Vec::new();
    let mut seen = 0;
    for line in code() {
        let module = line.file.split('/').next().unwrap_or_default();
        let Some((_, may)) = below.iter().find(|(name, _)| *name == module) else { continue };
        for used in modules(&line.text) {
            seen += 1;
            // `crate::{…}` would hide what it names.
            if used != module && !may.contains(&used) {
                wrong.push(format!("src/{}:{}: {}", line.file, line.number, line.text));
            }
        }
    }
    assert!(seen > 50, "the lines were not read");
    assert_eq!(wrong, NONE);
}

#[test]
fn the_domain_knows_no_actors_no_http_and_no_arrow() {
    let outer = ["actix", "arrow", "parquet::", "tokio", "std::fs", "std::net", "std::io"];
    let uses = |text: &str| outer.iter().any(|outer| text.contains(outer));
    assert_eq!(found(uses, |file| !file.starts_with("domain/")), NONE);
}

#[test]
fn sealing_knows_no_actors_no_http_and_no_arrow() {
    let outer = ["actix", "arrow", "parquet", "tokio", "std::fs", "std::net"];
    let uses = |text: &str| outer.iter().any(|outer| text.contains(outer));
    assert_eq!(found(uses, |file| !file.starts_with("crypto/")), NONE);
}

#[test]
fn the_cipher_is_named_in_one_place_and_secrets_are_shown_in_few() {
    assert_eq!(found(|text| text.contains("aes_gcm"), |file| file == "crypto/aead.rs"), NONE);
    let shows = |text: &str| text.contains(".expose()");
    let may = ["domain/secret.rs", "domain/input.rs", "http/credentials.rs"];
    let hits = found(shows, |file| file.starts_with("crypto/") || may.contains(&file));
    assert_eq!(hits, NONE);
}

#[test]
fn a_partitions_state_has_no_mutex() {
    let locks = |text: &str| text.contains("Mutex") || text.contains("RwLock");
    assert_eq!(found(locks, |file| !file.starts_with("actors/partition/")), NONE);
}

#[test]
fn sockets_and_certificates_know_nothing_of_records() {
    let below = |file: &str| file.starts_with("http/connection/") || file.starts_with("http/tls/");
    let above = ["crate::store", "crate::actors", "crate::domain", "crate::log", "crate::parquet"];
    // An instant, as the injected clock gives it, is no record.
    let uses = |text: &str| {
        text != "use crate::domain::Micros;" && above.iter().any(|above| text.contains(above))
    };
    assert_eq!(found(uses, |file| !below(file)), NONE);
    assert!(code().iter().any(|line| below(&line.file)), "the files were not read");
}

#[test]
fn only_one_place_makes_tls() {
    let makes = |text: &str| text.contains("ServerConfig::builder");
    assert_eq!(found(makes, |file| file == "http/tls/mod.rs"), NONE);
    assert_eq!(found(makes, |_| false).len(), 1);
}

#[test]
fn no_message_ignores_a_full_mailbox() {
    assert_eq!(found(|text| text.contains("do_send("), |_| false), NONE);
}

#[test]
fn time_files_and_randomness_come_from_env_alone() {
    let ambient = |text: &str| {
        let names = ["std::fs", "SystemTime::now", "Instant::now", "Utc::now", "getrandom::"];
        names.iter().any(|name| text.contains(name))
            || text.contains("Uuid::now")
            || text.contains("Uuid::new_v4")
    };
    let hits = found(ambient, |file| file.starts_with("env/"));
    assert_eq!(hits, NONE);
    assert!(!found(ambient, |_| false).is_empty(), "env/ itself was not read");
}
