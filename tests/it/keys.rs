//! The key ring: made once and private, changed by command beside a running server, followed by
//! all records, and never taken away from one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::chance::{Chance, seed};
use crate::support::{Server, eventually, pages, platform, program, run};

const NO_CHECKPOINTS: [&str; 2] = ["--checkpoint-interval", "1h"];

/// Runs `audience-store keys`: exit code, standard output, standard error.
fn keys(data: &Path, args: &[&str]) -> (i32, String, String) {
    let mut all = vec!["keys"];
    all.extend(args);
    all.extend(["--data", data.to_str().expect("path")]);
    run(program(&all))
}

fn done(data: &Path, args: &[&str]) -> String {
    let (code, out, said) = keys(data, args);
    assert_eq!(code, 0, "{args:?}: {said}");
    out
}

fn refused(data: &Path, args: &[&str]) -> String {
    let (code, out, said) = keys(data, args);
    assert_eq!((code, &*out), (1, ""), "{args:?}: {said}");
    said
}

fn listed(data: &Path) -> Value {
    serde_json::from_str(&done(data, &["list", "--json"])).expect("JSON")
}

/// The keys' ids, oldest first, and which one is current.
fn ring(data: &Path) -> (Vec<String>, String) {
    let list = listed(data);
    let keys = list["keys"].as_array().expect("keys");
    let id = |key: &Value| key["id"].as_str().expect("id").to_owned();
    let current = keys.iter().find(|key| key["state"] == "current").expect("current");
    (keys.iter().map(id).collect(), id(current))
}

/// How many records in files are sealed with each key.
fn in_files(data: &Path, id: &str) -> u64 {
    let list = listed(data);
    let key = list["keys"].as_array().expect("keys").iter().find(|key| key["id"] == id).cloned();
    key.expect("key")["records_in_files"].as_u64().expect("count")
}

async fn saved(server: &Server, user: &str, number: usize) -> String {
    let mut body = platform(user, "a name");
    body["credentials"] = secret(user, number);
    server.save("platforms", &body).await
}

fn secret(user: &str, number: usize) -> Value {
    json!({"api_key": format!("{user}-{number}"), "account_id": number})
}

async fn opens(server: &Server, user: &str, id: &str) -> Value {
    let path = format!("/api/platforms/{id}/credentials?user_id={user}");
    server.get(&path).await.expect(200)["credentials"].clone()
}

/// What a server says that ends by itself; it may listen before it opens the store.
async fn does_not_start(started: Result<Server, String>) -> String {
    match started {
        Err(error) => error,
        Ok(mut server) => {
            assert_eq!(server.ended().await.code(), Some(1));
            server.says("audience-store: ").await;
            server.said()
        }
    }
}

async fn all_under_current(data: &Path) {
    eventually("all records are under the current key", async || {
        // Beside whatever else the test does meanwhile.
        let data = data.to_path_buf();
        let list = tokio::task::spawn_blocking(move || listed(&data));
        list.await.expect("list")["all_under_current"] == true
    })
    .await;
}

#[tokio::test]
async fn the_ring_is_made_at_the_first_start_for_its_owner_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &[]).await;
    let file = data.join("keys/ring.json");
    let mode = |path: &Path| fs::metadata(path).expect("ring").permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    let made = fs::read(&file).expect("ring");
    let id = saved(&server, "u", 1).await;
    server.stop().await;
    let mut server = Server::over(&data, &[]).await;
    assert_eq!(fs::read(&file).expect("ring"), made, "made once");
    assert_eq!(opens(&server, "u", &id).await, secret("u", 1));
    server.stop().await;

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
    let error = does_not_start(Server::listening(&data, &[])).await;
    assert!(error.contains("readable by others") && error.contains("chmod 600"), "{error}");
    let said = refused(&data, &["list"]);
    assert!(said.contains("readable by others"), "{said}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
    let server = Server::over(&data, &[]).await;
    assert_eq!(opens(&server, "u", &id).await, secret("u", 1));
}

#[tokio::test]
async fn the_ring_may_lie_elsewhere() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let elsewhere = folder.path().join("secrets/ring.json");
    let args = ["--key-ring", elsewhere.to_str().expect("path")];
    let server = Server::over(&data, &args).await;
    let id = saved(&server, "u", 1).await;
    assert_eq!(opens(&server, "u", &id).await, secret("u", 1));
    assert!(elsewhere.exists() && !data.join("keys/ring.json").exists());
}

#[tokio::test]
async fn the_environment_may_hold_the_ring() {
    use base64::Engine;
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let key = |byte: u8| base64::engine::general_purpose::STANDARD.encode([byte; 32]);
    let start = async |value: &str| {
        let started =
            Server::listening_with(&data, &NO_CHECKPOINTS, &[("AUDIENCE_STORE_KEYS", value)]);
        let server = started.expect("started");
        server.ready().await;
        server
    };
    let one = format!("first:{}", key(1));
    let mut server = start(&one).await;
    let id = saved(&server, "u", 1).await;
    assert!(!data.join("keys/ring.json").exists());
    server.stop().await;
    let both = format!("second:{},{one}", key(2));
    let command = |args: &[&str], value: &str| {
        let mut all = vec!["keys"];
        all.extend(args);
        all.extend(["--data", data.to_str().expect("path")]);
        let mut command = program(&all);
        command.env("AUDIENCE_STORE_KEYS", value);
        run(command)
    };
    let (code, _, said) = command(&["retire", "first"], &both);
    assert!(code == 1 && said.contains("in use: 1 records"), "{said}");
    let mut server = start(&both).await;
    eventually("re-wrapped", async || server.metric("credentials_rewrapped_total").await == 1)
        .await;
    eventually("noted", async || {
        command(&["list", "--json"], &both).1.contains("\"all_under_current\":true")
    })
    .await;
    server.checkpoint().await;
    let (code, out, said) = command(&["retire", "first"], &both);
    assert!(code == 0 && out.contains("take it out of AUDIENCE_STORE_KEYS"), "{out}{said}");
    let (code, _, said) = command(&["rotate"], &both);
    assert!(code == 1 && said.contains("AUDIENCE_STORE_KEYS"), "{said}");
    server.stop().await;
    let server = start(&format!("second:{}", key(2))).await;
    assert_eq!(opens(&server, "u", &id).await, secret("u", 1));
    assert!(!server.said().contains(&key(2)[..20]));
    drop(server);
    let wrong = Server::listening_with(&data, &[], &[("AUDIENCE_STORE_KEYS", "x:notakey")]);
    let error = does_not_start(wrong).await;
    assert!(error.contains("AUDIENCE_STORE_KEYS") && !error.contains("notakey"), "{error}");
}

#[tokio::test]
async fn a_rotation_is_followed_under_writers_and_the_old_key_goes_only_then() {
    let [often, hour] = NO_CHECKPOINTS;
    // More credentials are read back than one user may in a minute.
    let server = Server::start_with(&[often, hour, "--audited-rate=0"]).await;
    let data = server.data.clone();
    let mut ids = Vec::new();
    for number in 0..60 {
        let user = format!("user-{}", number % 6);
        ids.push((user.clone(), number, saved(&server, &user, number).await));
    }
    let mut contested = Vec::new();
    for number in 0..40 {
        contested.push(saved(&server, "busy", number).await);
    }
    server.checkpoint().await;
    let (_, first) = ring(&data);
    assert_eq!(in_files(&data, &first), 100);
    let said = refused(&data, &["retire", &first]);
    assert!(said.contains("current one"), "{said}");
    let mut before = Vec::new();
    for user in 0..6 {
        before.push(pages(&server, "platforms", &format!("user-{user}")).await);
    }
    let tag = server.get("/api/platforms?user_id=user-0").await;
    let tag = tag.header("etag").expect("tag").to_owned();

    // Writers go on all the time.
    let stop = std::sync::atomic::AtomicBool::new(false);
    let write = async {
        let mut written = Vec::new();
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let number = 1000 + written.len();
            written.push((number, saved(&server, "writer", number).await));
        }
        written
    };
    // These are given other credentials while they are put under another key.
    let replace = async {
        let mut round = 0;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            round += 1;
            let replaced = contested.iter().map(async |id| {
                let body = json!({"user_id": "busy", "credentials": secret("busy", round)});
                server.put(&format!("/api/platforms/{id}"), &body).await.expect(200);
            });
            futures_util::future::join_all(replaced).await;
        }
        round
    };
    let rotate = async {
        let out = tokio::task::spawn_blocking({
            let data = data.clone();
            move || done(&data, &["rotate"])
        });
        let out = out.await.expect("rotate");
        let (_, second) = ring(&data);
        assert!(out.contains(&second) && second != first, "{out}");
        let data_then = data.clone();
        let said = tokio::task::spawn_blocking(move || keys(&data_then, &["retire", &first]));
        let (code, _, said) = said.await.expect("retire");
        assert!(code == 1 && said.contains("records in files"), "{said}");
        all_under_current(&data).await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        second
    };
    let (written, rounds, second) = tokio::join!(write, replace, rotate);
    let (all, _) = ring(&data);
    let first = all[0].clone();
    assert!(server.metric("credentials_rewrapped_total").await >= 60);

    // Clients see nothing of it.
    for (user, before) in before.iter().enumerate() {
        assert_eq!(&pages(&server, "platforms", &format!("user-{user}")).await, before);
    }
    let known = [("If-None-Match", tag.as_str())];
    let same = server.send(Method::GET, "/api/platforms?user_id=user-0", &known, None).await;
    assert_eq!(same.status.as_u16(), 304);

    // The files follow, and then the old key goes.
    let said = refused(&data, &["retire", &first]);
    assert!(said.contains(&format!("key {first} is in use: 100 records in files")), "{said}");
    server.checkpoint().await;
    let all = 100 + written.len() as u64;
    assert_eq!((in_files(&data, &first), in_files(&data, &second)), (0, all));
    assert!(done(&data, &["retire", &first]).contains("retired"));
    assert_eq!(ring(&data), (vec![second.clone()], second.clone()));
    // The log remembers what was sealed with it. Nothing reads that any more: no damage.
    let path = data.to_str().expect("path");
    let (code, out, _) = run(program(&["verify", "--deep", "--json", "--data", path]));
    let report: Value = serde_json::from_str(&out).expect("report");
    assert_eq!((code, report["sound"].as_bool()), (0, Some(true)), "{report}");
    assert_eq!(report["counts"], json!({ "SEALED_KEY_RETIRED": 1 }), "{report}");
    for (user, number, id) in &ids {
        assert_eq!(opens(&server, user, id).await, secret(user, *number));
    }
    for id in &contested {
        assert_eq!(opens(&server, "busy", id).await, secret("busy", rounds), "the last one stays");
    }
    for (number, id) in &written {
        assert_eq!(opens(&server, "writer", id).await, secret("writer", *number));
    }
    // What became of the keys is in the audit trail.
    eventually("the trail tells of it", async || {
        let trail =
            fs::read_to_string(data.join("audit/00000000000000000001.jsonl")).expect("trail");
        [
            ("key_added", &first),
            ("key_added", &second),
            ("key_made_current", &second),
            ("key_retired", &first),
        ]
        .iter()
        .all(|(action, key)| {
            trail
                .contains(&format!("\"action\":\"{action}\",\"via\":\"command\",\"key\":\"{key}\""))
        })
    })
    .await;
}

#[tokio::test]
async fn a_rotation_of_a_stopped_server_is_done_at_its_start() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &[]).await;
    let id = saved(&server, "u", 1).await;
    server.stop().await;
    let (_, first) = ring(&data);
    assert!(done(&data, &["add"]).contains("waits"));
    let (waiting, current) = ring(&data);
    assert_eq!((waiting.len(), &current), (2, &first));
    done(&data, &["rotate"]);
    let (after, second) = ring(&data);
    assert_eq!((after.len(), &second), (2, &waiting[1]), "the key that waited");
    let said = refused(&data, &["retire", &first]);
    assert!(said.contains("in use: 1 records in files"), "{said}");
    let table = done(&data, &["list"]);
    assert!(table.contains("has not looked at the records"), "{table}");
    let mut server = Server::over(&data, &[]).await;
    all_under_current(&data).await;
    server.checkpoint().await;
    server.stop().await;
    done(&data, &["retire", &first]);
    let said = refused(&data, &["retire", &first]);
    assert!(said.contains("there is no key"), "{said}");
    let server = Server::over(&data, &[]).await;
    assert_eq!(opens(&server, "u", &id).await, secret("u", 1));
}

#[tokio::test]
async fn a_key_that_only_the_log_needs_is_kept() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let id = saved(&server, "u", 1).await;
    server.kill();
    let (_, first) = ring(&data);
    done(&data, &["rotate"]);
    assert_eq!(in_files(&data, &first), 0, "no file has it yet");
    let said = refused(&data, &["retire", &first]);
    assert!(said.contains("may be in use"), "{said}");
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    all_under_current(&data).await;
    done(&data, &["retire", &first]);
    assert_eq!(opens(&server, "u", &id).await, secret("u", 1));
}

#[tokio::test]
async fn a_record_whose_key_is_lost_holds_up_its_key_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let id = saved(&server, "u", 1).await;
    server.stop().await;
    let file = data.join("keys/ring.json");
    let (_, lost) = ring(&data);
    let kept = data.join("kept.json");
    fs::rename(&file, &kept).expect("rename");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let other = saved(&server, "u", 2).await;
    all_under_current(&data).await;
    let table = done(&data, &["list"]);
    assert!(table.contains("1 could not be put under the current key"), "{table}");
    // With the key back, the running server tries again by itself.
    done(&data, &["add", "--from", kept.to_str().expect("path")]);
    eventually("the record follows", async || {
        done(&data, &["list"]).contains("all are under the current key")
    })
    .await;
    server.checkpoint().await;
    done(&data, &["retire", &lost]);
    server.stop().await;
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    assert_eq!(opens(&server, "u", &id).await, secret("u", 1));
    assert_eq!(opens(&server, "u", &other).await, secret("u", 2));
}

#[tokio::test]
async fn a_kill_at_any_time_during_a_rotation_loses_nothing_and_it_goes_on() {
    let mut chance = Chance::new(seed());
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let mut ids = Vec::new();
    for number in 0..120 {
        let user = format!("user-{}", number % 60);
        ids.push((user.clone(), number, saved(&server, &user, number).await));
    }
    server.checkpoint().await;
    let mut retired = 0;
    for round in 0..5 {
        done(&data, &["rotate"]);
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_micros(chance.of(0..500_000))).await;
            server.kill();
            // Somewhere in the middle, every record opens.
            server = Server::over(&data, &NO_CHECKPOINTS).await;
            let (user, number, id) = &ids[usize::try_from(chance.of(0..120)).expect("index")];
            assert_eq!(opens(&server, user, id).await, secret(user, *number), "round {round}");
        }
        if round % 2 == 1 {
            all_under_current(&data).await;
            server.checkpoint().await;
            let (all, current) = ring(&data);
            for old in all.iter().filter(|key| **key != current) {
                done(&data, &["retire", old]);
                retired += 1;
            }
        }
    }
    assert!(retired >= 4, "{retired}");
    all_under_current(&data).await;
    server.stop().await;
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    for (user, number, id) in &ids {
        assert_eq!(opens(&server, user, id).await, secret(user, *number));
        let path = format!("/api/platforms/{id}?user_id={user}");
        assert_eq!(server.get(&path).await.expect(200)["platform"]["version"], 1);
    }
    let (_, current) = ring(&data);
    assert_eq!(in_files(&data, &current), 120);
}

/// A user's place in the walk over all users.
fn place(user: &str) -> u64 {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(format!("user_id={user}"));
    u64::from_be_bytes(hash[..8].try_into().expect("8 bytes"))
}

#[tokio::test]
async fn a_walk_goes_on_at_the_place_that_was_noted() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let mut places = Vec::new();
    for number in 0..8 {
        let user = format!("user-{number}");
        saved(&server, &user, number).await;
        places.push(place(&user));
    }
    all_under_current(&data).await;
    server.stop().await;
    places.sort_unstable();
    let (_, first) = ring(&data);
    done(&data, &["rotate"]);
    let (_, second) = ring(&data);
    // As a server that was killed leaves it: three users are done.
    let file = data.join("keys/progress.json");
    let mut progress: Value =
        serde_json::from_slice(&fs::read(&file).expect("file")).expect("JSON");
    progress["current"] = json!(second);
    progress["complete"] = json!(false);
    progress["place"] = json!(places[3]);
    progress["users"] = json!(3);
    fs::write(&file, progress.to_string()).expect("write");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    all_under_current(&data).await;
    assert!(done(&data, &["list"]).contains("all records of 8 users"));
    server.checkpoint().await;
    server.stop().await;
    assert_eq!((in_files(&data, &first), in_files(&data, &second)), (3, 5));
    // What the files say counts, whatever the progress file does.
    let said = refused(&data, &["retire", &first]);
    assert!(said.contains("in use: 3 records in files"), "{said}");
    // Without the progress file, all are looked at again.
    fs::remove_file(&file).expect("remove");
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    all_under_current(&data).await;
    server.checkpoint().await;
    assert_eq!((in_files(&data, &first), in_files(&data, &second)), (0, 8));
    done(&data, &["retire", &first]);
}

#[test]
fn wrong_use_is_told() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    for command in [&["list"][..], &["add"], &["rotate"], &["retire", "k"]] {
        let said = refused(&data, command);
        assert!(said.contains("there is no key ring"), "{said}");
    }
    assert!(!data.exists(), "a wrong folder is not made");
    let (code, _, said) = keys(&data, &["retire", "a b"]);
    assert!(code == 2 && said.contains("a key id is"), "{said}");
    let (code, _, _) = keys(&data, &["retire"]);
    assert_eq!(code, 2);
}

#[tokio::test]
async fn a_key_that_comes_and_goes_while_no_server_looks_is_in_the_trail() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &[]).await;
    all_under_current(&data).await;
    server.stop().await;
    let (_, first) = ring(&data);
    done(&data, &["add"]);
    let (all, _) = ring(&data);
    let passing = all.iter().find(|id| **id != first).expect("a second key").clone();
    done(&data, &["retire", &passing]);
    refused(&data, &["retire", &first]);
    assert_eq!(ring(&data), (vec![first.clone()], first.clone()));
    let trail = fs::read_to_string(data.join("audit/00000000000000000001.jsonl")).expect("trail");
    let asked: Vec<(String, String)> = trail
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .filter(|line| line["action"].as_str().is_some_and(|a| a.starts_with("keys_")))
        .map(|line| ["action", "key"].map(|name| line[name].as_str().unwrap_or("-").to_owned()))
        .map(|[action, key]| (action, key))
        .collect();
    let said = [("keys_add", &passing), ("keys_retire", &passing), ("keys_retire_refused", &first)];
    assert_eq!(asked, said.map(|(action, key)| (action.to_owned(), key.clone())));
}

#[tokio::test]
async fn a_key_that_remembered_answers_need_stays_and_without_it_no_repeat_is_taken_for_another() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let send = async |server: &Server, key: &str, name: &str| {
        let body = platform("u", name).to_string();
        server.send(Method::POST, "/api/platforms", &[("Idempotency-Key", key)], Some(&body)).await
    };
    let first = send(&server, "once", "a name").await.expect(201);
    let (_, old) = ring(&data);
    done(&data, &["rotate"]);
    all_under_current(&data).await;
    server.checkpoint().await;
    let said = refused(&data, &["retire", &old]);
    assert!(said.contains("1 answers remembered for an Idempotency-Key need it"), "{said}");
    assert_eq!(send(&server, "once", "a name").await.expect(201), first);
    server.stop().await;
    // Gone all the same: by hand, or with a ring of another day.
    let file = data.join("keys/ring.json");
    let mut keys: Value = serde_json::from_slice(&fs::read(&file).expect("ring")).expect("JSON");
    keys["keys"].as_array_mut().expect("keys").retain(|key| key["id"] != old.as_str());
    fs::write(&file, keys.to_string()).expect("write");
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    for name in ["a name", "another"] {
        send(&server, "once", name).await.expect_error(409, "IDEMPOTENCY_KEY_UNVERIFIABLE");
    }
    send(&server, "twice", "a name").await.expect(201);
    assert_eq!(send(&server, "twice", "a name").await.header("idempotent-replayed"), Some("true"));
    assert_eq!(server.get("/api/platforms?user_id=u").await.expect(200)["count"], 2);
}
