//! What a partition makes of a change of sealed bytes, asked directly.

use super::*;
use crate::actors::messages::SaveMode;
use crate::audit::Actor;
use crate::cli::{Command, StoreSettings, parse};
use crate::crypto::{KeyId, RingFile, RingFileError};
use crate::domain::input::Body;
use crate::domain::limits::InputLimits;
use crate::domain::{Hold, Patch};
use crate::env::{Env, OsRandom};

fn settings(data: &std::path::Path) -> StoreSettings {
    let args = ["audience-store", "seed", "--data", data.to_str().expect("path")];
    let parsed = parse(args.map(Into::into), &|_| None, &crate::env::OsFileSystem);
    match parsed {
        Ok(Command::Seed(seed)) => seed.store,
        _ => panic!("not understood"),
    }
}

async fn store(data: &std::path::Path) -> Store {
    let (env, settings) = (Env::system(), settings(data));
    let opened = crate::app::open(&env, &settings, &mut |_, _| {}).expect("open");
    crate::app::begin_command(&env, &opened, &settings).await
}

fn patch(body: &str) -> Patch {
    Body::parse(body.as_bytes(), &InputLimits::default())
        .expect("body")
        .patch(Table::Platforms)
        .expect("patch")
}

async fn send(store: &Store, key: &PartitionKey, change: Change) -> Result<(), StoreError> {
    let precondition = Precondition::None;
    let make = |reply| Work::Write(Box::new(Write { change, precondition, remember: None, reply }));
    let answer = store.door.ask(key, make).await;
    store.door.settled(answer).await.map(|_| ())
}

#[actix_web::test]
async fn sealed_bytes_change_only_where_they_are_still_the_ones_looked_at() {
    let folder = tempfile::tempdir().expect("folder");
    let store = store(folder.path()).await;
    let user = layout::parse_user("user_id=u").expect("user");
    let key = PartitionKey::whole(&user, Table::Platforms);
    let body = r#"{"platform_id":"p","platform_type":"meta","name":"n","credentials":{"k":"1"}}"#;
    store.save(&user, patch(body), Precondition::None, None).await.expect("saved");
    let id = RecordId::checked("p").expect("id");
    let get = async || store.get(&user, Table::Platforms, &id).await.expect("row");
    let first = get().await;
    let other = patch(r#"{"credentials":{"k":"2"}}"#);
    store.update(&user, &id, other, Precondition::None, false, None).await.expect("updated");
    let second = get().await;
    assert_ne!(first.sealed(), second.sealed());

    let reseal = |id: &str, was: &Row, to: &[u8]| Change::Reseal {
        id: RecordId::checked(id).expect("id"),
        was: was.sealed().expect("sealed").into(),
        sealed: Sealed { bytes: to.into(), hold: Hold::default() },
    };
    let late = send(&store, &key, reseal("p", &first, b"late")).await;
    assert!(matches!(late, Err(StoreError::VersionMismatch { current: 2 })), "{late:?}");
    assert_eq!(get().await.sealed(), second.sealed(), "the newer credentials stay");
    let absent = send(&store, &key, reseal("none", &second, b"none")).await;
    assert!(matches!(absent, Err(StoreError::NotFound)), "{absent:?}");

    send(&store, &key, reseal("p", &second, b"next")).await.expect("resealed");
    let third = get().await;
    assert_eq!(third.sealed(), Some(&b"next"[..]));
    assert_eq!((third.version, third.updated_at), (second.version, second.updated_at));
    store.close(crate::app::UNTIL_DONE).await.expect("closed");
}

#[actix_web::test]
async fn a_partition_takes_nothing_plain() {
    let folder = tempfile::tempdir().expect("folder");
    let store = store(folder.path()).await;
    let user = layout::parse_user("user_id=u").expect("user");
    let key = PartitionKey::whole(&user, Table::Platforms);
    let plain = r#"{"platform_type":"meta","name":"n","credentials":{"k":"1"}}"#;
    for mode in [SaveMode::Insert, SaveMode::Upsert] {
        let change = Change::Save {
            id: RecordId::checked("p").expect("id"),
            created_at: Micros::new(0),
            patch: Box::new(patch(plain)),
            mode,
            names_status: false,
        };
        let refused = send(&store, &key, change).await;
        assert!(matches!(refused, Err(StoreError::Internal)), "{refused:?}");
    }
    let id = RecordId::checked("p").expect("id");
    let none = store.get(&user, Table::Platforms, &id).await;
    assert!(matches!(none, Err(StoreError::NotFound)));
    store.close(crate::app::UNTIL_DONE).await.expect("closed");
}

#[actix_web::test]
#[allow(clippy::disallowed_methods, reason = "a test reads the trail")]
async fn a_walk_waits_for_what_was_sealed_before_and_is_on_its_way() {
    let folder = tempfile::tempdir().expect("folder");
    let store = store(folder.path()).await;
    let user = layout::parse_user("user_id=u").expect("user");
    let (key, id) = (PartitionKey::whole(&user, Table::Platforms), RecordId::checked("late"));
    let id = id.expect("id");
    let body = r#"{"platform_type":"meta","name":"n","credentials":{"k":"1"}}"#;
    // Sealed with the first key, and then a long time on its way.
    let mut late = patch(body);
    store.seal(&user, &id, &mut late).await.expect("sealed");

    let ring = RingFile::new(Env::system(), folder.path().join("keys/ring.json"));
    let noted = async |action: &str, key: &KeyId| {
        let line = format!("\"action\":\"{action}\",\"via\":\"command\",\"key\":\"{key}\"");
        loop {
            let trail =
                std::fs::read_to_string(folder.path().join("audit/00000000000000000001.jsonl"));
            if trail.is_ok_and(|trail| trail.contains(&line)) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let now = Micros::new(0);
    let changed =
        ring.change(|ring| ring.rotate(&OsRandom, now).map(drop).map_err(RingFileError::from));
    let current = changed.expect("rotated").current().clone();
    noted("key_made_current", &current).await;
    // A walk that did not wait would be over when the server notes the next change.
    let changed =
        ring.change(|ring| ring.add(&OsRandom, now).map(drop).map_err(RingFileError::from));
    noted("key_added", &changed.expect("added").keys().last().expect("key").id).await;
    assert!(!store.shared.keys.progress().expect("progress").complete);

    let change = Change::Save {
        id: id.clone(),
        created_at: now,
        patch: Box::new(late),
        mode: SaveMode::Insert,
        names_status: false,
    };
    send(&store, &key, change).await.expect("saved");
    while !store.shared.keys.progress().expect("progress").complete {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let row = store.get(&user, Table::Platforms, &id).await.expect("row");
    assert_eq!(row.sealed().and_then(key_of), Some(current));
    assert!(store.credentials(&user, &id, &Actor::command()).await.expect("opened").is_some());
    store.close(crate::app::UNTIL_DONE).await.expect("closed");
}
