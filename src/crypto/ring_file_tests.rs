//! The ring's file: made once, private, changed in one step, never quoted.

#![allow(clippy::disallowed_methods, reason = "tests touch files as a user would")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::env::Env;

fn bed() -> (TempDir, RingFile) {
    let folder = tempfile::tempdir().expect("folder");
    let file = RingFile::new(Env::system(), folder.path().join("keys/ring.json"));
    (folder, file)
}

fn mode(file: &RingFile) -> u32 {
    fs::metadata(file.path()).expect("file").permissions().mode() & 0o777
}

#[test]
fn is_made_once_for_its_owner_alone() {
    let (_folder, file) = bed();
    assert!(file.load().expect("none").is_none() && file.version().expect("none").is_none());
    let made = file.load_or_make().expect("made");
    assert_eq!(mode(&file), 0o600);
    let again = file.load_or_make().expect("again");
    assert_eq!(again.current(), made.current());
    assert_eq!(again.keys()[0].key.expose(), made.keys()[0].key.expose());
    let version = file.version().expect("version");
    file.change(|ring| {
        ring.rotate(&crate::env::OsRandom, Micros::new(0)).map(drop).map_err(RingFileError::from)
    })
    .expect("change");
    assert_ne!(file.version().expect("version"), version, "a running server can tell");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(file.load().expect("ring").expect("some").keys().len(), 2);
}

#[test]
fn a_refused_change_changes_nothing() {
    let (_folder, file) = bed();
    let ring = file.load_or_make().expect("made");
    let before = fs::read(file.path()).expect("bytes");
    let current = ring.current().clone();
    let refused = file.change(|ring| ring.retire(&current).map_err(RingFileError::from));
    assert!(matches!(refused, Err(RingFileError::Ring(RingError::IsCurrent(_)))));
    assert_eq!(fs::read(file.path()).expect("bytes"), before);
}

#[test]
fn one_that_others_may_read_is_not_used() {
    let (_folder, file) = bed();
    file.load_or_make().expect("made");
    for open in [0o640, 0o604, 0o660, 0o602] {
        fs::set_permissions(file.path(), fs::Permissions::from_mode(open)).expect("chmod");
        let refused = file.load().expect_err("open").to_string();
        assert!(
            refused.contains("readable by others") && refused.contains("chmod 600"),
            "{refused}"
        );
    }
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o400)).expect("chmod");
    assert!(file.load().expect("ring").is_some());
}

#[test]
fn two_changes_at_once_both_happen() {
    let (_folder, file) = bed();
    file.load_or_make().expect("made");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                file.change(|ring| {
                    ring.add(&crate::env::OsRandom, Micros::new(0))
                        .map(drop)
                        .map_err(RingFileError::from)
                })
                .expect("change");
            });
        }
    });
    assert_eq!(file.load().expect("ring").expect("some").keys().len(), 5);
}

#[test]
fn damage_is_told_without_quoting_a_key() {
    let (_folder, file) = bed();
    let ring = file.load_or_make().expect("made");
    let key = ring.keys()[0].key.to_base64();
    let good = fs::read_to_string(file.path()).expect("text");
    let bads = [
        String::new(),
        good.replace("\"format\":1", "\"format\":2"),
        good.replace("\"keys\":[", "\"keys\":[\"AAAA\","),
        good.replace(&*key, &key[1..]),
        good.replace("\"key\":\"", "\"key\":{\"x\":\""),
        good.replace(ring.current().as_str(), "a b"),
        good.replacen(ring.current().as_str(), "other", 1),
    ];
    for bad in bads {
        fs::write(file.path(), &bad).expect("write");
        let error = file.load().expect_err(&bad).to_string();
        assert!(!error.contains(&key[1..20]), "{error}");
    }
}

#[test]
fn the_environment_names_the_current_key_first() {
    let key = |byte: u8| Key::from_bytes(&[byte; 32]).expect("key").to_base64().to_string();
    let ring = |text: String| from_environment(&Secret::new(text));
    let two = ring(format!("new:{}, old:{}", key(1), key(2))).expect("ring");
    assert_eq!(two.current().as_str(), "new");
    assert_eq!(two.keys().len(), 2);
    for bad in [
        String::new(),
        "new".to_owned(),
        format!("a b:{}", key(1)),
        "k:AAAA".to_owned(),
        format!("k:{},k:{}", key(1), key(2)),
        format!("k:{},", key(1)),
    ] {
        let error = ring(bad.clone()).expect_err(&bad).to_string();
        assert!(error.contains("AUDIENCE_STORE_KEYS") && !error.contains(&key(1)), "{error}");
    }
}
