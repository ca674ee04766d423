//! API tokens: made, shown, taken back, by command and by endpoint, while the server runs.

use std::os::unix::fs::PermissionsExt;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::access::{folder, id_of, token};
use crate::support::files::{contents, holding};
use crate::support::{Server, audience, eventually, program, run};

const TOKENS: [&str; 2] = ["--auth", "tokens"];

/// Runs `token …` over a server's folder.
fn command(data: &std::path::Path, args: &[&str]) -> (i32, String, String) {
    let data = data.to_str().expect("path");
    run(program(&[&["token"], args, &["--data", data]].concat()))
}

#[tokio::test]
async fn a_token_of_the_command_opens_a_running_server_until_it_is_revoked() {
    let server = Server::start_with(&TOKENS).await;
    let made = server.token("u", &["audiences:read", "audiences:write"]);
    let holder = server.with(&made);
    eventually("the token is taken", async || {
        holder.get("/api/audiences").await.status.is_success()
    })
    .await;
    let id = holder.save("audiences", &audience("u", "a")).await;
    holder.get(&format!("/api/audiences/{id}")).await.expect(200);

    let (code, out, _) = command(&server.data, &["revoke", id_of(&made)]);
    assert!(code == 0 && out.contains("is revoked"), "{out}");
    eventually("the token is refused", async || {
        holder.get("/api/audiences").await.status.as_u16() == 401
    })
    .await;
    holder.get("/api/audiences").await.expect_error(401, "TOKEN_UNKNOWN");
    // Whoever pastes the whole token means its id, and does not see the secret again.
    let (code, out, notes) = command(&server.data, &["revoke", &made]);
    assert!(code == 0 && !out.contains(&made[17..]) && !notes.contains(&made[17..]), "{out}");
    let other = format!("ast_nonenonenone_{}", &made[17..]);
    for unknown in ["nonenonenone", &other] {
        let (code, _, error) = command(&server.data, &["revoke", unknown]);
        assert!(code == 1 && error.contains("there is no token nonenonenone;"), "{error}");
        assert!(!error.contains(&made[17..]), "{error}");
    }
}

#[tokio::test]
async fn an_administrator_makes_lists_and_revokes_tokens_and_it_takes_effect_at_once() {
    let (_folder, data) = folder();
    let admin = token(&data, "ops", &["admin"], &["--name", "the first"]);
    let mut server = Server::over(&data, &[&TOKENS[..], &["--workers", "4"]].concat()).await;
    let asked = json!({"user_id": "u", "scopes": ["audiences:read"], "name": "ci", "ttl": "90d"});
    let reply = server.with(&admin).post("/api/admin/tokens", &asked).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let made = reply.expect(201);
    let text = made["token"].as_str().expect("token");
    assert_eq!((&made["id"], &made["status"]), (&json!(id_of(text)), &json!("active")));
    assert!(made["expires_at"].is_string());

    let listed = server.with(&admin).get("/api/admin/tokens").await.expect(200);
    assert_eq!(listed["count"], 2);
    let newest = &listed["tokens"][0];
    assert_eq!((&newest["name"], &newest["scopes"]), (&json!("ci"), &json!(["audiences:read"])));
    assert_eq!(listed["tokens"][1]["name"], "the first");
    let secret = &text[17..];
    assert!(!listed.to_string().contains(secret) && !listed.to_string().contains("sha256"));

    // Every worker takes it at once, and at once no worker does.
    let all = async |expected: u16| {
        let client = || reqwest::Client::builder().build().expect("client");
        let ask = |client: reqwest::Client| {
            let url = server.url("/api/audiences");
            async move { client.get(url).bearer_auth(text).send().await.expect("answer").status() }
        };
        for status in join_all((0..32).map(|_| ask(client()))).await {
            assert_eq!(status.as_u16(), expected);
        }
    };
    all(200).await;
    let path = format!("/api/admin/tokens/{}", id_of(text));
    server.with(&admin).delete(&path).await.expect(200);
    all(401).await;
    server.with(&admin).delete(&path).await.expect(200);
    server.with(&admin).delete("/api/admin/tokens/none").await.expect_error(404, "NOT_FOUND");
    let listed = server.with(&admin).get("/api/admin/tokens?user_id=u").await.expect(200);
    assert_eq!((&listed["count"], &listed["tokens"][0]["status"]), (&json!(1), &json!("revoked")));

    // All of that holds after a restart, after a kill too.
    let second = server.with(&admin).post("/api/admin/tokens", &asked).await.expect(201);
    server.kill();
    let server = Server::over(&data, &TOKENS).await;
    server.with(text).get("/api/audiences").await.expect_error(401, "TOKEN_UNKNOWN");
    let second = second["token"].as_str().expect("token");
    server.with(second).get("/api/audiences").await.expect(200);
    server.with(&admin).get("/metrics").await;
}

#[tokio::test]
async fn what_is_asked_for_is_checked_and_keys_for_repeats_are_not_taken() {
    let (_folder, data) = folder();
    let admin = token(&data, "ops", &["admin"], &[]);
    let server = Server::over(&data, &TOKENS).await;
    for (body, code) in [
        (json!({}), "MISSING_FIELD"),
        (json!({"user_id": "u"}), "MISSING_FIELD"),
        (json!({"user_id": "u", "scopes": []}), "INVALID_FIELD"),
        (json!({"user_id": "u", "scopes": ["everything"]}), "INVALID_FIELD"),
        (json!({"user_id": "a\nb", "scopes": ["admin"]}), "INVALID_FIELD"),
        (json!({"user_id": "u", "scopes": ["admin"], "ttl": "soon"}), "INVALID_FIELD"),
        (json!({"user_id": "u", "scopes": ["admin"], "tll": "1d"}), "INVALID_FIELD"),
        (json!([]), "MALFORMED_JSON"),
    ] {
        let reply = server.with(&admin).post("/api/admin/tokens", &body).await;
        reply.expect_error(400, code);
    }
    let bearer = format!("Bearer {admin}");
    let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", "k")];
    let body = json!({"user_id": "u", "scopes": ["admin"]}).to_string();
    let reply = server.send(Method::POST, "/api/admin/tokens", &headers, Some(&body)).await;
    reply.expect_error(400, "INVALID_PARAMETER");
    let listed = server.with(&admin).get("/api/admin/tokens").await.expect(200);
    assert_eq!(listed["count"], 1, "none was made");
    for bad in ["limit=0", "cursor=none"] {
        let reply = server.with(&admin).get(&format!("/api/admin/tokens?{bad}")).await;
        assert_eq!(reply.status.as_u16(), 400, "{bad}");
    }
    // Pages, newest first.
    for _ in 0..4 {
        server
            .with(&admin)
            .post("/api/admin/tokens", &json!({"user_id": "u", "scopes": ["admin"]}))
            .await
            .expect(201);
    }
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/admin/tokens?limit=2{cursor}");
        let page = server.with(&admin).get(&path).await.expect(200);
        ids.extend(page["tokens"].as_array().expect("tokens").iter().map(|t| t["id"].to_string()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(ids.len(), 5);
    assert_eq!(ids[4], json!(id_of(&admin)).to_string(), "the oldest comes last");
}

#[tokio::test]
async fn a_typo_a_revoked_token_and_an_expired_one_are_told_apart() {
    let (_folder, data) = folder();
    let scopes = ["audiences:read"];
    let good = token(&data, "u", &scopes, &[]);
    let revoked = token(&data, "u", &scopes, &[]);
    let short = token(&data, "u", &scopes, &["--ttl", "1s"]);
    let elsewhere = folder();
    let foreign = token(&elsewhere.1, "u", &scopes, &[]);
    assert_eq!(command(&data, &["revoke", id_of(&revoked)]).0, 0);
    let server = Server::over(&data, &TOKENS).await;
    server.with(&good).get("/api/audiences").await.expect(200);

    let typo = |at: usize| {
        let mut typo: Vec<char> = good.chars().collect();
        typo[at] = if typo[at] == 'x' { 'y' } else { 'x' };
        typo.into_iter().collect::<String>()
    };
    let swapped = format!("{}{}{}", &good[..4], &revoked[4..16], &good[16..]);
    for bad in [
        typo(5),
        typo(30),
        typo(65),
        swapped,
        good[..65].to_owned(),
        format!("{good}x"),
        good.to_uppercase(),
    ] {
        let reply = server.with(&bad).get("/api/audiences").await;
        let challenge = reply.header("www-authenticate").expect("challenge").to_owned();
        assert!(challenge.starts_with("Bearer ") && challenge.contains("invalid_token"));
        let error = reply.expect_error(401, "TOKEN_MALFORMED");
        assert!(!error.to_string().contains(&bad), "{error}");
    }
    let typo = server.with(&typo(30)).get("/api/audiences").await.expect(401);
    assert!(typo["error"].as_str().expect("error").contains("typo"), "{typo}");
    let unknown = server.with(&foreign).get("/api/audiences").await;
    let unknown = unknown.expect_error(401, "TOKEN_UNKNOWN");
    let revoked = server.with(&revoked).get("/api/audiences").await;
    assert_eq!(revoked.expect_error(401, "TOKEN_UNKNOWN"), unknown, "the same bytes");
    eventually("it expires", async || {
        server.with(&short).get("/api/audiences").await.status.as_u16() == 401
    })
    .await;
    server.with(&short).get("/api/audiences").await.expect_error(401, "TOKEN_EXPIRED");
    let (_, list, _) = command(&data, &["list"]);
    for (id, status) in [(id_of(&good), "active"), (id_of(&short), "expired")] {
        let line = list.lines().find(|line| line.starts_with(id)).expect(id);
        assert!(line.contains(status), "{line}");
    }
}

#[tokio::test]
async fn a_secret_is_shown_once_and_kept_nowhere() {
    let (_folder, data) = folder();
    let admin = token(&data, "ops", &["admin"], &[]);
    let mut server = Server::over(&data, &[&TOKENS[..], &["--log-level", "trace"]].concat()).await;
    let asked = json!({"user_id": "u", "scopes": ["audiences:read", "audiences:write"]});
    let made = server.with(&admin).post("/api/admin/tokens", &asked).await.expect(201);
    let made = made["token"].as_str().expect("token").to_owned();
    server.with(&made).save("audiences", &audience("u", "a")).await;
    server.with(&made).get("/api/audiences?user_id=v").await.expect_error(403, "USER_MISMATCH");
    let (_, table, _) = command(&data, &["list"]);
    let (_, json, _) = command(&data, &["list", "--json"]);
    let listed: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(listed.as_array().expect("tokens").len(), 2);
    server.stop().await;
    let said = server.said();
    for text in [&admin, &made] {
        let secret = &text[17..];
        assert_eq!(holding(&data, secret), [""; 0]);
        for shown in [&table, &json, &said] {
            assert!(!shown.contains(secret), "a secret is shown again");
        }
    }
    let files = contents(&data);
    assert!(files.contains_key("auth/tokens.json"));
    for name in files.keys().filter(|name| name.starts_with("auth/") || name.starts_with("audit/"))
    {
        let mode = std::fs::metadata(data.join(name)).expect("file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} is others' to read");
    }
}

#[tokio::test]
async fn tokens_that_are_made_at_once_are_all_kept() {
    let server = Server::start_with(&TOKENS).await;
    let admin = server.token("ops", &["admin"]);
    eventually("the token is taken", async || {
        server.with(&admin).get("/api/admin/tokens").await.status.is_success()
    })
    .await;
    let data = server.data.clone();
    let by_command = (0..8).map(|_| {
        let data = data.clone();
        tokio::task::spawn_blocking(move || token(&data, "u", &["audiences:read"], &[]))
    });
    let asked = json!({"user_id": "u", "scopes": ["audiences:read"]});
    let by_endpoint = (0..8).map(|_| async {
        let made = server.with(&admin).post("/api/admin/tokens", &asked).await.expect(201);
        made["token"].as_str().expect("token").to_owned()
    });
    let (commands, endpoints) =
        futures_util::future::join(join_all(by_command), join_all(by_endpoint)).await;
    let made = commands.into_iter().map(|made| made.expect("made")).chain(endpoints);
    for token in made.collect::<Vec<_>>() {
        eventually("it works", async || {
            server.with(&token).get("/api/audiences").await.status.is_success()
        })
        .await;
    }
    let listed = server.with(&admin).get("/api/admin/tokens").await.expect(200);
    assert_eq!(listed["count"], 17);
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "damages what the server finds")]
async fn a_damaged_file_stops_a_start_and_not_a_running_server_and_is_left_as_it_is() {
    let (_folder, data) = folder();
    let admin = token(&data, "ops", &["admin"], &[]);
    let mut server = Server::over(&data, &TOKENS).await;
    let file = data.join("auth/tokens.json");
    let whole = std::fs::read(&file).expect("file");
    let damaged = &whole[..whole.len() / 2];
    std::fs::write(&file, damaged).expect("file");
    server.says("tokens cannot be read").await;
    server.with(&admin).get("/api/admin/tokens").await.expect(200);
    let asked = json!({"user_id": "u", "scopes": ["admin"]});
    let refused = server.with(&admin).post("/api/admin/tokens", &asked).await;
    refused.expect_error(503, "STORAGE_FAILED");
    assert_eq!(std::fs::read(&file).expect("file"), damaged);
    for args in [&["list"][..], &["create", "--user", "u", "--scope", "admin"]] {
        let (code, out, error) = command(&data, args);
        assert!(code == 1 && out.is_empty() && error.contains("is damaged"), "{error}");
    }
    server.stop().await;
    let error = Server::listening(&data, &TOKENS).err().expect("no start");
    assert!(error.contains("is damaged") && error.contains("was left as it is"), "{error}");
    std::fs::write(&file, &whole).expect("file");
    let server = Server::over(&data, &TOKENS).await;
    server.with(&admin).get("/api/admin/tokens").await.expect(200);
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "lays out what the server finds")]
async fn there_are_so_many_tokens_and_no_more() {
    let (_folder, data) = folder();
    let admin = token(&data, "ops", &["admin"], &[]);
    let file = data.join("auth/tokens.json");
    let text = std::fs::read_to_string(&file).expect("file");
    let mut document: Value = serde_json::from_str(&text).expect("JSON");
    let one = document["tokens"][0].clone();
    let all = document["tokens"].as_array_mut().expect("tokens");
    for n in 1..10_000 {
        let mut more = one.clone();
        more["id"] = json!(format!("{n:012}"));
        all.push(more);
    }
    std::fs::write(&file, document.to_string()).expect("file");
    let server = Server::over(&data, &TOKENS).await;
    let asked = json!({"user_id": "u", "scopes": ["admin"]});
    let make = async || server.with(&admin).post("/api/admin/tokens", &asked).await;
    make().await.expect_error(409, "TOKEN_LIMIT");
    let (code, _, error) = command(&data, &["create", "--user", "u", "--scope", "admin"]);
    assert!(code == 1 && error.contains("revoke some"), "{error}");
    server.with(&admin).delete("/api/admin/tokens/000000000007").await.expect(200);
    make().await.expect(201);
    make().await.expect_error(409, "TOKEN_LIMIT");
}

#[tokio::test]
async fn a_server_on_every_address_takes_tokens() {
    // Listens on all addresses of the machine, as it may with authentication.
    let server = Server::start_with(&["--auth", "tokens", "--listen", "0.0.0.0:0"]).await;
    server.get("/api/audiences").await.expect_error(401, "UNAUTHENTICATED");
}
