//! JSON web tokens: keys from files and from an address, and every way to be refused.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::access::{folder, token};
use crate::support::files::contents;
use crate::support::identity::{KeyServer, Pair, b64, set, signed};
use crate::support::{Server, audience, eventually, program, run};

const SECRET: &str = "a shared secret of more than 32 bytes";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("clock").as_secs()
}

/// Claims that hold, with changes; null takes a claim out.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": "https://id.example", "aud": "audience-store", "sub": "u",
        "exp": now() + 3600, "scope": "openid audiences:read audiences:write",
    });
    for (name, value) in changes.as_object().expect("object") {
        if value.is_null() {
            claims.as_object_mut().expect("object").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec![
        "--auth",
        "jwt",
        "--jwt-issuer",
        "https://id.example",
        "--jwt-audience",
        "audience-store",
    ];
    all.extend(more);
    all
}

#[allow(clippy::disallowed_methods, reason = "lays out what the server finds")]
fn put(path: &Path, text: &str) -> String {
    std::fs::write(path, text).expect("file");
    path.to_str().expect("path").to_owned()
}

async fn works(server: &Server, token: &str) -> bool {
    server.with(token).get("/api/audiences").await.status.is_success()
}

#[tokio::test]
async fn each_algorithm_opens_the_store_with_a_key_from_a_file() {
    let (folder, _) = folder();
    let path = folder.path().join("keys");
    let (rsa, ec, ed) = (Pair::rsa(), Pair::ec(), Pair::ed());
    let all = set(&[("r", &rsa), ("e", &ec), ("d", &ed)]);
    for (pair, kid, file) in [
        (&rsa, None, &rsa.pem),
        (&ec, None, &ec.pem),
        (&ed, None, &ed.pem),
        (&rsa, Some("r"), &all),
        (&ec, Some("e"), &all),
        (&ed, Some("d"), &all),
    ] {
        let keys = put(&path, file);
        let server = Server::start_with(&args(&["--jwt-keys", &keys])).await;
        let token = pair.token(kid, &claims(&json!({})));
        let id = server.with(&token).save("audiences", &audience("u", "a")).await;
        let found = server.with(&token).get(&format!("/api/audiences/{id}")).await.expect(200);
        assert_eq!(found["audience"]["user_id"], "u", "{:?}", pair.algorithm);
    }
    let secret = put(&path, &format!("{SECRET}\n"));
    let server = Server::start_with(&args(&["--jwt-secret-file", &secret])).await;
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = signed(&json!({"alg": "HS256"}), &claims(&json!({})), &key, Algorithm::HS256);
    server.with(&token).save("audiences", &audience("u", "a")).await;
}

#[tokio::test]
async fn claims_of_other_names_say_who_and_what() {
    let (folder, _) = folder();
    let pair = Pair::ec();
    let keys = put(&folder.path().join("keys"), &pair.pem);
    let more = ["--jwt-keys", &keys, "--jwt-user-claim", "uid", "--jwt-scope-claim", "roles"];
    let server = Server::start_with(&args(&more)).await;
    let of = |changes: Value| pair.token(None, &claims(&changes));
    let user = of(json!({"uid": "me", "sub": "not me", "roles": ["audiences:read", "x"]}));
    let admin = of(json!({"uid": "ops", "roles": "admin", "aud": ["y", "audience-store"]}));
    let none = of(json!({"uid": "me", "scope": "admin"}));
    let id = server.with(&admin).save("audiences", &audience("me", "a")).await;
    server.with(&user).get(&format!("/api/audiences/{id}")).await.expect(200);
    server
        .with(&user)
        .post("/api/audiences", &audience("me", "b"))
        .await
        .expect_error(403, "SCOPE_MISSING");
    server.with(&none).get("/api/audiences").await.expect_error(403, "SCOPE_MISSING");
    let other = server.with(&user).get("/api/audiences?user_id=ops").await;
    other.expect_error(403, "USER_MISMATCH");
}

#[tokio::test]
async fn every_attack_is_refused() {
    let (folder, data) = folder();
    let (ours, other, theirs) = (Pair::rsa(), Pair::ec(), Pair::rsa());
    let keys = put(&folder.path().join("keys"), &set(&[("a", &ours), ("b", &other)]));
    let api_token = token(&data, "u", &["admin"], &[]);
    let server = Server::over(&data, &args(&["--jwt-keys", &keys])).await;
    let good = claims(&json!({}));
    let of = |changes: Value| ours.token(Some("a"), &claims(&changes));
    assert!(works(&server, &of(json!({}))).await);

    let unsigned = |alg: &str| {
        format!("{}.{}.", b64(json!({"alg": alg, "kid": "a"}).to_string()), b64(good.to_string()))
    };
    let confused = |secret: &str| {
        let key = EncodingKey::from_secret(secret.as_bytes());
        signed(&json!({"alg": "HS256", "kid": "a"}), &good, &key, Algorithm::HS256)
    };
    let brought = |header: &Value| signed(header, &good, &theirs.signs, Algorithm::RS256);
    let critical = json!({"alg": "RS256", "kid": "a", "crit": ["b64"], "b64": false});
    let valid = of(json!({}));
    let (head, rest) = valid.split_once('.').expect("parts");
    let (body, signature) = rest.split_once('.').expect("parts");
    let admin = b64(claims(&json!({"scope": "admin"})).to_string());
    let in_past = now() - 3600;
    let refused: Vec<(&str, String)> = vec![
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg empty", unsigned("")),
        ("alg HS512", unsigned("HS512")),
        ("RSA key as a secret, PEM", confused(&ours.pem)),
        ("RSA key as a secret, modulus", confused(ours.web["n"].as_str().expect("n"))),
        ("an empty secret", confused("")),
        ("another's key", theirs.token(Some("a"), &good)),
        ("another key of ours", ours.token(Some("b"), &good)),
        ("a key that is not known", ours.token(Some("c"), &good)),
        ("a name that is a path", ours.token(Some("../../etc/passwd"), &good)),
        ("no name", ours.token(None, &good)),
        ("a key in the header", brought(&json!({"alg": "RS256", "kid": "a", "jwk": theirs.web}))),
        (
            "an address in the header",
            brought(&json!({"alg": "RS256", "kid": "a", "jku": "http://127.0.0.1:1/"})),
        ),
        ("an extension", signed(&critical, &good, &ours.signs, Algorithm::RS256)),
        ("no signature", format!("{head}.{body}.")),
        ("other claims under the signature", format!("{head}.{admin}.{signature}")),
        ("not yet", of(json!({"nbf": now() + 3600}))),
        ("no end", of(json!({"exp": null}))),
        ("an end that is a text", of(json!({"exp": "9999999999"}))),
        ("another issuer", of(json!({"iss": "https://id.example.evil"}))),
        ("no issuer", of(json!({"iss": null}))),
        ("another audience", of(json!({"aud": "billing"}))),
        ("no audience", of(json!({"aud": null}))),
        ("other audiences", of(json!({"aud": ["billing", "mail"]}))),
        ("no user", of(json!({"sub": null}))),
        ("an empty user", of(json!({"sub": " "}))),
        ("a user that breaks lines", of(json!({"sub": "u\nadmin"}))),
        ("a user of another type", of(json!({"sub": ["u"]}))),
        ("scopes of another type", of(json!({"scope": {"admin": true}}))),
    ];
    let of_admin = of(json!({"scope": "admin"}));
    let count = refused.len();
    for (attack, token) in refused {
        let reply = server.with(&token).get("/api/audiences").await;
        let challenge = reply.header("www-authenticate").expect(attack).to_owned();
        assert!(challenge.contains("error=\"invalid_token\""), "{attack}: {challenge}");
        let error = reply.expect_error(401, "TOKEN_REFUSED");
        assert!(!error.to_string().contains(&token), "{attack}: {error}");
    }
    for (attack, token) in [
        ("an API token", api_token),
        ("a text", "hello".to_owned()),
        ("two parts", format!("{head}.{body}")),
        ("four parts", format!("{valid}.{signature}")),
        ("five parts, encrypted", format!("{head}..{body}.{signature}.{signature}")),
        ("no JSON", format!("{}.{body}.{signature}", b64("{"))),
        ("padding", format!("{head}=.{body}.{signature}")),
        ("too large", of(json!({"more": "x".repeat(8192)}))),
        ("much too large", "x".repeat(20_000)),
    ] {
        let reply = server.with(&token).get("/api/audiences").await;
        assert_eq!(reply.status.as_u16(), 401, "{attack}: {}", reply.text);
        reply.expect_error(401, "TOKEN_MALFORMED");
    }
    for expired in [in_past, 0] {
        let token = of(json!({"exp": expired}));
        server.with(&token).get("/api/audiences").await.expect_error(401, "TOKEN_EXPIRED");
    }
    // Clocks may be a little apart, by the leeway.
    assert!(works(&server, &of(json!({"exp": now() - 5}))).await);
    assert!(works(&server, &of(json!({"nbf": now() + 5}))).await);
    // One of two Authorization headers is not chosen.
    let bearer = format!("Bearer {valid}");
    let twice = [("Authorization", bearer.as_str()), ("Authorization", bearer.as_str())];
    let reply = server.send(reqwest::Method::GET, "/api/audiences", &twice, None).await;
    reply.expect_error(401, "TOKEN_MALFORMED");
    // Each refusal is in the trail, and nothing of a token is there or in the log.
    let ops = server.with(&of_admin);
    // Lines about refusals are written within a second.
    let last = async || {
        let denied = ops.events("action=denied").await;
        denied.iter().filter(|e| e["code"] == "TOKEN_MALFORMED").count() == 10
    };
    eventually("the last refusal's line", last).await;
    let denied = ops.events("action=denied").await;
    let of_code = |code: &str| denied.iter().filter(|e| e["code"] == code).count();
    assert_eq!((of_code("TOKEN_REFUSED"), of_code("TOKEN_EXPIRED")), (count, 2));
    assert_eq!(of_code("TOKEN_MALFORMED"), 10);
    assert!(denied.iter().all(|e| e.get("by_user").is_none() && e.get("via").is_none()));
    let asked = json!({"user_id": "v", "scopes": ["admin"]});
    ops.post("/api/admin/tokens", &asked).await.expect(201);
    let made = ops.events("action=token_created&limit=1").await;
    assert_eq!((&made[0]["by_user"], &made[0]["via"]), (&json!("u"), &json!("jwt")));
    let trail = contents(&data.join("audit")).into_values().flatten().collect();
    let trail = String::from_utf8(trail).expect("UTF-8");
    for part in [signature, body] {
        assert!(!trail.contains(part), "{part} is in the trail");
    }
    for part in [signature, body, SECRET] {
        assert!(!server.said().contains(part), "{part} is in the log");
    }
}

#[tokio::test]
async fn a_token_that_was_taken_is_refused_when_it_ends() {
    let (folder, _) = folder();
    let pair = Pair::ed();
    let keys = put(&folder.path().join("keys"), &pair.pem);
    let more = ["--jwt-keys", &keys, "--jwt-leeway", "0s"];
    let server = Server::start_with(&args(&more)).await;
    // A machine that is busy may take longer than the token lives: then another one is made.
    let mut token = String::new();
    eventually("a short one is taken", async || {
        token = pair.token(None, &claims(&json!({"exp": now() + 2})));
        works(&server, &token).await
    })
    .await;
    eventually("the token ends", async || !works(&server, &token).await).await;
    server.with(&token).get("/api/audiences").await.expect_error(401, "TOKEN_EXPIRED");
}

#[tokio::test]
async fn keys_in_a_file_are_taken_over_without_a_restart_and_never_replaced_by_nonsense() {
    let (folder, _) = folder();
    let path = folder.path().join("keys");
    let (old, new) = (Pair::ec(), Pair::ec());
    let keys = put(&path, &set(&[("old", &old)]));
    let server = Server::start_with(&args(&["--jwt-keys", &keys])).await;
    let (old_token, new_token) =
        (old.token(Some("old"), &claims(&json!({}))), new.token(Some("new"), &claims(&json!({}))));
    assert!(works(&server, &old_token).await);
    put(&path, "nonsense");
    server.says("the old ones serve").await;
    assert!(works(&server, &old_token).await);
    put(&path, &set(&[("new", &new)]));
    eventually("the new key", async || works(&server, &new_token).await).await;
    server.with(&old_token).get("/api/audiences").await.expect_error(401, "TOKEN_REFUSED");
}

#[tokio::test]
async fn a_new_key_of_an_address_is_fetched_when_a_token_names_it() {
    let (old, new) = (Pair::rsa(), Pair::ec());
    let source = KeyServer::start(&set(&[("old", &old)])).await;
    let url = source.url();
    let more = ["--jwt-keys", &url, "--jwt-refresh", "1d", "--jwt-cooldown", "100ms"];
    let server = Server::start_with(&args(&more)).await;
    let (old_token, new_token) =
        (old.token(Some("old"), &claims(&json!({}))), new.token(Some("new"), &claims(&json!({}))));
    // The very first request waits for the first fetch.
    assert!(works(&server, &old_token).await);
    server.with(&new_token).get("/api/audiences").await.expect_error(401, "TOKEN_REFUSED");
    source.answers(200, &set(&[("old", &old), ("new", &new)]));
    eventually("the new key", async || works(&server, &new_token).await).await;
    assert!(works(&server, &old_token).await, "both at once");
    // Taken out of the set, a key is refused as soon as anything brings a fetch.
    source.answers(200, &set(&[("new", &new)]));
    let stranger = Pair::ec().token(Some("stranger"), &claims(&json!({})));
    eventually("the old key goes", async || {
        server.with(&stranger).get("/api/audiences").await.expect_error(401, "TOKEN_REFUSED");
        !works(&server, &old_token).await
    })
    .await;
    assert!(works(&server, &new_token).await);
}

#[tokio::test]
async fn keys_come_over_tls_from_whom_the_authority_vouches_for_and_from_nobody_else() {
    let (folder, _) = folder();
    let pair = Pair::ec();
    let keys = set(&[("k", &pair)]);
    let (source, authority) = KeyServer::start_tls(&keys).await;
    let (_, another) = KeyServer::start_tls(&keys).await;
    let token = pair.token(Some("k"), &claims(&json!({})));
    let url = source.url();
    let good = put(&folder.path().join("good"), &authority);
    let bad = put(&folder.path().join("bad"), &another);
    let more = ["--jwt-keys", &url, "--jwt-ca-file", &good];
    let server = Server::start_with(&args(&more)).await;
    assert!(works(&server, &token).await);
    let served = source.served();
    assert_eq!(served, 1);
    for more in [&["--jwt-keys", &url, "--jwt-ca-file", &bad][..], &["--jwt-keys", &url]] {
        let server = Server::start_with(&args(more)).await;
        let refused = server.with(&token).get("/api/audiences").await;
        refused.expect_error(503, "KEYS_UNAVAILABLE");
        let says = "keys could not be fetched";
        server.says(says).await;
    }
    assert_eq!(source.served(), served, "nothing was asked of it");
}

#[tokio::test]
async fn tokens_with_names_of_no_key_bring_no_more_fetches_than_the_cooldown_allows() {
    let pair = Pair::ec();
    let source = KeyServer::start(&set(&[("k", &pair)])).await;
    let url = source.url();
    let more = ["--jwt-keys", &url, "--jwt-refresh", "1d", "--jwt-cooldown", "1h"];
    let server = Server::start_with(&args(&more)).await;
    assert!(works(&server, &pair.token(Some("k"), &claims(&json!({})))).await);
    for n in 0..50 {
        let token = pair.token(Some(&format!("made up {n}")), &claims(&json!({})));
        server.with(&token).get("/api/audiences").await.expect_error(401, "TOKEN_REFUSED");
    }
    assert_eq!(source.served(), 1);
}

#[tokio::test]
async fn old_keys_serve_while_fetching_fails_and_bad_answers_change_nothing() {
    let pair = Pair::ed();
    let keys = set(&[("k", &pair)]);
    let source = KeyServer::start(&keys).await;
    let url = source.url();
    let more = ["--jwt-keys", &url, "--jwt-refresh", "1s", "--jwt-cooldown", "100ms"];
    let server = Server::start_with(&args(&more)).await;
    let token = pair.token(Some("k"), &claims(&json!({})));
    assert!(works(&server, &token).await);
    let secret = json!({"keys": [{"kty": "oct", "kid": "k", "k": b64(SECRET)}]}).to_string();
    let large = format!("{}{}", keys, " ".repeat(300 << 10));
    for (status, body) in [
        (500, keys.as_str()),
        (302, ""),
        (200, ""),
        (200, "{"),
        (200, "{\"keys\":[]}"),
        (200, &secret),
        (200, &pair.pem),
        (200, &large),
    ] {
        source.answers(status, body);
        // One may be under way with the answer before; the second is not.
        source.serves(2).await;
        assert!(works(&server, &token).await, "{status} {}", &body[..body.len().min(40)]);
    }
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let header = json!({"alg": "HS256", "kid": "k"});
    let shared = signed(&header, &claims(&json!({})), &key, Algorithm::HS256);
    server.with(&shared).get("/api/audiences").await.expect_error(401, "TOKEN_REFUSED");
    server.says("keys could not be fetched").await;
}

#[tokio::test]
async fn without_keys_nobody_is_let_in_until_there_are_some() {
    let pair = Pair::ec();
    let token = pair.token(Some("k"), &claims(&json!({})));
    // Nothing listens there yet.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address");
    drop(listener);
    let url = format!("http://{address}/jwks.json");
    let times = ["--jwt-refresh", "1s", "--jwt-cooldown", "100ms", "--jwt-stale", "0s"];
    let more = [&["--jwt-keys", url.as_str()], &times[..]].concat();
    let server = Server::start_with(&args(&more)).await;
    let reply = server.with(&token).get("/api/audiences").await;
    assert!(reply.header("retry-after").is_some());
    reply.expect_error(503, "KEYS_UNAVAILABLE");
    server.get("/api/audiences").await.expect_error(401, "UNAUTHENTICATED");
    let listener = TcpListener::bind(address).await.expect("the same port");
    let source = KeyServer::over(listener, &set(&[("k", &pair)]));
    eventually("the keys come", async || works(&server, &token).await).await;
    // Too old, and nothing new to be had: nobody again.
    source.answers(500, "");
    eventually("the keys are too old", async || {
        server.with(&token).get("/api/audiences").await.status.as_u16() == 503
    })
    .await;
    source.answers(200, &set(&[("k", &pair)]));
    eventually("the keys come back", async || works(&server, &token).await).await;
}

#[test]
fn a_server_that_could_not_check_tokens_does_not_start() {
    let (folder, data) = folder();
    let start = |more: &[&str]| {
        let data = data.to_str().expect("path");
        let all = [&["serve", "--listen", "127.0.0.1:0", "--data", data], &args(more)[..]].concat();
        let (code, _, error) = run(program(&all));
        (code, error)
    };
    let path = folder.path().join("keys");
    for (text, says) in [
        ("nonsense", "neither a PEM public key nor a JSON web key set"),
        ("{\"keys\":[]}", "no usable key"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no public key"),
    ] {
        let keys = put(&path, text);
        let (code, error) = start(&["--jwt-keys", &keys]);
        assert!(code == 1 && error.contains(says) && error.contains(&keys), "{code} {error}");
    }
    let short = put(&path, "short");
    let (code, error) = start(&["--jwt-secret-file", &short]);
    assert!(code == 1 && error.contains("at least 32 bytes"), "{code} {error}");
    let no_authority = put(&path, "nonsense");
    let url = "https://id.example/jwks.json";
    let (code, error) = start(&["--jwt-keys", url, "--jwt-ca-file", &no_authority]);
    assert!(code == 1 && error.contains("holds no certificate"), "{code} {error}");
    let (code, error) = start(&["--jwt-keys", "/no/such/file"]);
    assert!(code == 1 && error.contains("cannot be read"), "{code} {error}");
    let (code, error) = start(&["--jwt-keys", "http://192.0.2.1/jwks.json"]);
    assert!(code == 2 && error.contains("not an address that keys may come from"), "{error}");
}
