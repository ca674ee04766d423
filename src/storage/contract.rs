//! What every storage must do. Each backend's tests call [`check`] on an empty one.

use bytes::Bytes;

use super::{PutIf, Storage, StorageError, layout};
use crate::domain::{Month, PartitionKey, Table, UserId};

fn key(user: &str, month: u8) -> PartitionKey {
    let user = UserId::checked(user).expect("user");
    PartitionKey::monthly(&user, Table::Audiences, Month::new(2025, month).expect("month"))
}

/// Runs the whole contract.
pub async fn check(storage: &dyn Storage) {
    absent_objects_are_absent(storage).await;
    puts_replace_whole_objects(storage).await;
    conditions_are_honoured(storage).await;
    ranges_are_exact(storage).await;
    lists_are_sorted_and_flat(storage).await;
    trees_go_as_a_whole(storage).await;
}

async fn absent_objects_are_absent(storage: &dyn Storage) {
    let path = layout::partition_file(&key("absent", 1));
    assert_eq!(storage.head(&path).await.expect("head"), None);
    assert!(matches!(storage.read(&path, 0..1).await, Err(StorageError::NotFound)));
    storage.delete(&path).await.expect("deleting nothing is fine");
    assert!(
        storage.list(&layout::partition_folder(&key("absent", 1))).await.expect("list").is_empty()
    );
    assert!(
        storage
            .folders(&layout::user_folder(key("absent", 1).user(), Table::Audiences))
            .await
            .expect("folders")
            .is_empty()
    );
}

async fn puts_replace_whole_objects(storage: &dyn Storage) {
    let path = layout::partition_file(&key("put", 1));
    let first =
        storage.put(&path, Bytes::from_static(b"first content"), PutIf::Always).await.expect("put");
    let second =
        storage.put(&path, Bytes::from_static(b"second"), PutIf::Always).await.expect("put");
    assert_ne!(first, second);
    let head = storage.head(&path).await.expect("head").expect("present");
    assert_eq!((head.len, head.version), (6, second));
    assert_eq!(storage.read(&path, 0..6).await.expect("read"), "second");
}

async fn conditions_are_honoured(storage: &dyn Storage) {
    let path = layout::partition_file(&key("if", 1));
    let first = storage.put(&path, Bytes::from_static(b"1"), PutIf::Absent).await.expect("absent");
    let taken = storage.put(&path, Bytes::from_static(b"x"), PutIf::Absent).await;
    assert!(matches!(taken, Err(StorageError::Conflict)));
    let second = storage
        .put(&path, Bytes::from_static(b"22"), PutIf::Version(first.clone()))
        .await
        .expect("match");
    let stale = storage.put(&path, Bytes::from_static(b"x"), PutIf::Version(first)).await;
    assert!(matches!(stale, Err(StorageError::Conflict)));
    assert_eq!(storage.head(&path).await.expect("head").expect("present").version, second);
    assert_eq!(storage.read(&path, 0..2).await.expect("read"), "22");
}

async fn ranges_are_exact(storage: &dyn Storage) {
    let path = layout::partition_file(&key("range", 1));
    storage.put(&path, Bytes::from_static(b"0123456789"), PutIf::Always).await.expect("put");
    assert_eq!(storage.read(&path, 3..6).await.expect("read"), "345");
    assert_eq!(storage.read(&path, 4..4).await.expect("read"), "");
    assert!(matches!(storage.read(&path, 8..11).await, Err(StorageError::Truncated)));
}

async fn lists_are_sorted_and_flat(storage: &dyn Storage) {
    for month in [11, 2, 5] {
        let path = layout::partition_file(&key("list", month));
        storage.put(&path, Bytes::from_static(b"x"), PutIf::Always).await.expect("put");
    }
    let user = UserId::checked("list").expect("user");
    assert_eq!(
        storage.folders(&layout::user_folder(&user, Table::Audiences)).await.expect("years"),
        ["year=2025"]
    );
    let months =
        storage.folders(&layout::year_folder(&user, Table::Audiences, 2025)).await.expect("months");
    assert_eq!(months, ["month=02", "month=05", "month=11"]);
    let folder = layout::partition_folder(&key("list", 2));
    let other = folder.listed("a.parquet").expect("path");
    storage.put(&other, Bytes::from_static(b"xy"), PutIf::Always).await.expect("put");
    let names: Vec<_> =
        storage.list(&folder).await.expect("list").into_iter().map(|m| (m.name, m.len)).collect();
    assert_eq!(names, [("a.parquet".to_owned(), 2), ("audiences_202502.parquet".to_owned(), 1)]);
    assert!(
        storage.list(&layout::user_folder(&user, Table::Audiences)).await.expect("flat").is_empty()
    );
}

async fn trees_go_as_a_whole(storage: &dyn Storage) {
    for month in 1..=3 {
        let path = layout::partition_file(&key("tree", month));
        storage.put(&path, Bytes::from_static(b"x"), PutIf::Always).await.expect("put");
    }
    let kept = layout::partition_file(&key("tree2", 1));
    storage.put(&kept, Bytes::from_static(b"x"), PutIf::Always).await.expect("put");
    let folder = layout::user_folder(key("tree", 1).user(), Table::Audiences);
    assert_eq!(storage.delete_tree(&folder).await.expect("delete"), 3);
    assert_eq!(storage.delete_tree(&folder).await.expect("again"), 0);
    assert!(storage.folders(&folder).await.expect("folders").is_empty());
    assert!(storage.head(&kept).await.expect("head").is_some());
}
