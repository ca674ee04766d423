//! Parquet files that lose bits, or their ends, at rest: found by a checksum when they are read; that
//! partition alone answers 503 `PARTITION_CORRUPT`, the rest serves, and the file stays as it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::PATIENT;
use crate::support::chance::{Chance, rounds, seed};
use crate::support::{Server, audience};

const ARGS: [&str; 3] = ["--checkpoint-interval=1h", "--scrub-rate=0", PATIENT];
/// Damaged files, one a user; `AUDIENCE_STORE_TEST_ROUNDS` sets another number.
const USUAL: u64 = 64;
const SOUND: u64 = 4;

fn list(user: &str) -> String {
    format!("/api/audiences?user_id={user}&limit=100")
}

#[tokio::test]
async fn damage_at_rest_is_found_when_read_and_closes_one_partition_alone() {
    let mut chance = Chance::new(seed());
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let damaged = rounds(USUAL);
    let mut server = Server::over(&data, &ARGS).await;
    let mut before: BTreeMap<String, Value> = BTreeMap::new();
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    for n in 0..damaged + SOUND {
        let user = format!("u{n:04}");
        for record in 0..3 {
            let mut body = audience(&user, &format!("number {record}"));
            body["description"] = json!(format!("{n} {record} ").repeat(40));
            body["created_at"] = json!("2025-04-10");
            ids.insert(user.clone(), server.save("audiences", &body).await);
        }
        before.insert(user.clone(), server.get(&list(&user)).await.expect(200));
    }
    server.stop().await;

    let file_of = |user: &str| -> PathBuf {
        data.join(format!("audiences/user_id={user}/year=2025/month=04/audiences_202504.parquet"))
    };
    let mut bytes_of: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (n, user) in before.keys().enumerate() {
        let mut bytes = fs::read(file_of(user)).expect("file");
        let at = usize::try_from(chance.of(0..bytes.len() as u64)).expect("small");
        if (n as u64) < damaged {
            // Every fourth loses its end, the others a bit.
            if n % 4 == 0 {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 1 << chance.of(0..8);
            }
            fs::write(file_of(user), &bytes).expect("file");
        }
        bytes_of.insert(user.clone(), bytes);
    }

    let mut server = Server::over(&data, &ARGS).await;
    let mut found = 0;
    for (n, (user, was)) in before.iter().enumerate() {
        let reply = server.get(&list(user)).await;
        if reply.status == 200 {
            // A bit that nobody needs: of a bloom filter, or of what Parquet says twice.
            assert_eq!(&reply.expect(200), was, "{user}: never another record");
            assert!(n as u64 >= damaged || n % 4 != 0, "{user} was cut");
            continue;
        }
        assert!((n as u64) < damaged, "{user} is sound: {reply:?}");
        assert!(reply.header("retry-after").is_some());
        reply.expect_error(503, "PARTITION_CORRUPT");
        found += 1;
        let update = json!({ "user_id": user, "name": "changed" });
        let update = server.put(&format!("/api/audiences/{}", ids[user]), &update).await;
        update.expect_error(503, "PARTITION_CORRUPT");
        // The same user's other months and tables serve.
        let other = server.save("audiences", &audience(user, "another month")).await;
        server.get(&format!("/api/audiences/{other}?user_id={user}")).await.expect(200);
        server.get(&format!("/api/platforms?user_id={user}")).await.expect(200);
    }
    println!("{found} of {damaged} damages were found by reading; the others were harmless");
    assert!(found * 2 > damaged, "{found} of {damaged}");
    let ready = server.get("/health/ready").await.expect(200);
    assert!(ready["unreadable_files"].as_array().expect("files").len() as u64 >= found, "{ready}");
    server.try_checkpoint().await;
    server.stop().await;
    for (user, bytes) in &bytes_of {
        assert_eq!(&fs::read(file_of(user)).expect("file"), bytes, "{user}: kept byte by byte");
    }
}
