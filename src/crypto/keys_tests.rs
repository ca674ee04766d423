//! What a running server notices of its ring.

use super::*;
use crate::crypto::Key;
use crate::crypto::ring_file::RingFile;
use crate::domain::Micros;
use crate::env::{Env, OsRandom};

struct Bed {
    folder: tempfile::TempDir,
    keys: Keys,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let keys = Keys::open(&Env::system(), folder.path(), &how()).expect("keys");
        Self { folder, keys }
    }

    fn change(&self, change: impl FnOnce(&mut Ring)) -> Ring {
        let file = RingFile::new(Env::system(), self.folder.path().join("keys/ring.json"));
        file.change(|ring| {
            change(ring);
            Ok::<(), RingFileError>(())
        })
        .expect("change")
    }

    fn progress(&self) -> Progress {
        self.keys.progress().expect("progress")
    }
}

fn how() -> KeySettings {
    KeySettings { file: "keys/ring.json".into(), environment: None }
}

#[test]
fn a_rotation_is_noticed_once_and_the_records_are_not_done_then() {
    let bed = Bed::new();
    let first = bed.keys.sealer().current().clone();
    assert!(bed.keys.look().expect("look").is_none());
    let mut done = bed.progress();
    assert!(!done.complete && done.current == first.as_str());
    done.complete = true;
    bed.keys.save(&done).expect("save");

    let ring = bed.change(|ring| drop(ring.rotate(&OsRandom, Micros::new(0)).expect("rotate")));
    let before = bed.keys.look().expect("look").expect("changed");
    assert_eq!(before.current(), &first);
    assert_eq!(bed.keys.sealer().current(), ring.current());
    assert_eq!(bed.keys.ids().len(), 2);
    assert!(!bed.progress().is_done(ring.current()));
    assert!(bed.keys.look().expect("look").is_none());
}

#[test]
fn an_added_key_changes_nothing_about_records() {
    let bed = Bed::new();
    let mut done = bed.progress();
    done.complete = true;
    bed.keys.save(&done).expect("save");
    bed.change(|ring| drop(ring.add(&OsRandom, Micros::new(0)).expect("add")));
    assert!(bed.keys.look().expect("look").is_some());
    assert!(bed.progress().complete);
    let again = Keys::open(&Env::system(), bed.folder.path(), &how()).expect("keys");
    assert!(again.progress().expect("progress").complete, "nor does a restart");
}

#[test]
fn what_was_left_is_tried_again_with_another_ring() {
    let bed = Bed::new();
    let mut done = bed.progress();
    done.complete = true;
    done.left.insert("lost".to_owned(), 2);
    bed.keys.save(&done).expect("save");
    bed.change(|ring| drop(ring.add(&OsRandom, Micros::new(0)).expect("add")));
    bed.keys.look().expect("look").expect("changed");
    assert!(!bed.progress().complete);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test puts a file back")]
fn the_same_names_with_other_keys_are_another_ring() {
    let bed = Bed::new();
    bed.keys.look().expect("look");
    let ring = bed.folder.path().join("keys/ring.json");
    let (text, key) = (std::fs::read_to_string(&ring).expect("ring"), Key::from_bytes(&[7; 32]));
    let before = text.split("\"key\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let after = key.expect("key").to_base64();
    std::fs::write(&ring, text.replace(before.expect("key"), &after)).expect("write");
    assert!(bed.keys.look().expect("look").is_some());
    assert!(bed.keys.look().expect("look").is_none());
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test damages a file")]
fn a_progress_file_that_is_gone_means_that_nothing_is_known() {
    let bed = Bed::new();
    let mut done = bed.progress();
    done.complete = true;
    bed.keys.save(&done).expect("save");
    std::fs::remove_file(bed.folder.path().join("keys/progress.json")).expect("remove");
    assert!(!bed.progress().complete);
    assert_eq!(bed.progress().current, bed.keys.sealer().current().as_str());
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test damages a file")]
fn a_ring_that_cannot_be_read_leaves_the_old_one_and_is_told_once() {
    let bed = Bed::new();
    bed.keys.look().expect("look");
    let before = bed.keys.sealer();
    std::fs::write(bed.folder.path().join("keys/ring.json"), "{").expect("write");
    assert!(matches!(bed.keys.look(), Err(RingFileError::Malformed { .. })));
    assert!(bed.keys.look().expect("not again").is_none());
    assert!(Arc::ptr_eq(&before, &bed.keys.sealer()));
}

#[test]
fn the_environments_ring_has_no_file() {
    let folder = tempfile::tempdir().expect("folder");
    let key = crate::crypto::Key::from_bytes(&[7; 32]).expect("key").to_base64();
    let environment = Some(Secret::new(format!("k1:{}", &*key)));
    let how = KeySettings { environment, ..how() };
    let keys = Keys::open(&Env::system(), folder.path(), &how).expect("keys");
    assert_eq!(keys.sealer().current().as_str(), "k1");
    assert!(keys.look().expect("look").is_none());
    assert!(!folder.path().join("keys/ring.json").exists());
    assert!(!format!("{how:?}").contains(&*key));
}
