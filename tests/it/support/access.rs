//! Callers with credentials: API tokens made by the command, and requests that carry them.

use std::path::Path;

use reqwest::Method;
use serde_json::Value;

use super::{Reply, Server, program, run};

/// Every scope there is.
pub const SCOPES: [&str; 9] = [
    "audiences:read",
    "audiences:write",
    "platforms:read",
    "platforms:write",
    "distributions:read",
    "distributions:write",
    "credentials:read",
    "metrics:read",
    "admin",
];

/// A server as somebody with a credential sees it.
pub struct Holder<'a> {
    server: &'a Server,
    bearer: String,
}

impl Server {
    /// The server as the holder of `credential` sees it.
    pub fn with(&self, credential: &str) -> Holder<'_> {
        Holder { server: self, bearer: format!("Bearer {credential}") }
    }

    /// A token made by the command over this server's folder. The server takes it soon: a test
    /// that makes tokens before it starts the server need not wait.
    pub fn token(&self, user: &str, scopes: &[&str]) -> String {
        token(&self.data, user, scopes, &[])
    }
}

impl Holder<'_> {
    /// Sends a request.
    pub async fn send(&self, method: Method, path: &str, body: Option<&str>) -> Reply {
        self.server.send(method, path, &[("Authorization", &self.bearer)], body).await
    }

    /// `GET`
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, Some(&body.to_string())).await
    }

    /// `PUT` with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PUT, path, Some(&body.to_string())).await
    }

    /// `DELETE`
    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None).await
    }

    /// Saves a record and answers its id.
    pub async fn save(&self, table: &str, body: &Value) -> String {
        let saved = self.post(&format!("/api/{table}"), body).await.expect(201);
        saved[format!("{}_id", super::singular(table))].as_str().expect("id").to_owned()
    }

    /// All events of the audit trail that the query asks for, newest first, over all pages.
    pub async fn events(&self, query: &str) -> Vec<Value> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/api/admin/audit?{query}{cursor}")).await.expect(200);
            all.extend(page["events"].as_array().expect("events").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }
}

/// Makes a token by the command, over a folder that need not exist.
pub fn token(data: &Path, user: &str, scopes: &[&str], more: &[&str]) -> String {
    let mut args = vec!["token", "create", "--data", data.to_str().expect("path"), "--user", user];
    for scope in scopes {
        args.extend(["--scope", scope]);
    }
    args.extend(more);
    let (code, out, notes) = run(program(&args));
    assert_eq!(code, 0, "{notes}");
    assert!(!notes.contains(out.trim()), "the secret goes to standard output alone");
    out.trim().to_owned()
}

/// The part of a token that is no secret.
pub fn id_of(token: &str) -> &str {
    &token[4..16]
}

/// A folder for a store, which goes when it is dropped, and the store's path in it.
pub fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    (folder, data)
}
