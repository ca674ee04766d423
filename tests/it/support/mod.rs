//! The real program, started for a test, and a client for it.

pub mod access;
pub mod busy;
pub mod chance;
pub mod faketime;
pub mod files;
pub mod identity;
pub mod launch;
pub mod python;
mod raw;
pub mod rows;
pub mod secrets;
pub mod wire;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

pub use raw::encoded;

/// How long anything a test waits for may take before the test fails.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// A running server over a data folder.
pub struct Server {
    child: Option<Child>,
    address: SocketAddr,
    client: Client,
    /// Where its data is.
    pub data: PathBuf,
    said: Arc<Mutex<String>>,
    printed: Arc<Mutex<String>>,
    _folder: Option<TempDir>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body as it came.
    pub text: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().expect("ASCII header"))
    }

    /// The body, after checking the status.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()
    }

    /// The error body, after checking status, code and shape.
    pub fn expect_error(self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["success"], false, "{body}");
        assert_eq!(body["code"], code, "{body}");
        assert!(body["error"].is_string() && body["details"].is_object(), "{body}");
        body
    }
}

/// The program with arguments, its environment free of settings.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_audience-store"));
    command.args(args).env("RUST_BACKTRACE", "0");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AUDIENCE_STORE_")) {
        command.env_remove(name);
    }
    command
}

impl Server {
    /// A server over an empty folder of its own.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A server over an empty folder of its own, with further arguments.
    pub async fn start_with(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let mut server = Self::over(&folder.path().join("data"), args).await;
        server._folder = Some(folder);
        server
    }

    /// A server over `data`, ready.
    pub async fn over(data: &Path, args: &[&str]) -> Self {
        let server = Self::listening(data, args).unwrap_or_else(|e| panic!("{e}"));
        server.ready().await;
        server
    }

    /// A server over `data` as soon as it listens; what it said where it ended instead.
    pub fn listening(data: &Path, args: &[&str]) -> Result<Self, String> {
        Self::listening_with(data, args, &[])
    }

    /// The same, with variables in its environment.
    pub fn listening_with(
        data: &Path,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self, String> {
        Self::launched(data, args, |mut command| {
            command.envs(environment.iter().copied());
            command
        })
    }

    /// The same, started by what `dress` makes of the command.
    pub fn launched(
        data: &Path,
        args: &[&str],
        dress: impl FnOnce(Command) -> Command,
    ) -> Result<Self, String> {
        let mut all = vec!["serve", "--data", data.to_str().expect("path")];
        if !args.contains(&"--listen") {
            all.extend(["--listen", "127.0.0.1:0"]);
        }
        all.extend(args);
        let mut command = dress(program(&all));
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("program");
        let said = Arc::new(Mutex::new(String::new()));
        let (hearing, errors) = (Arc::clone(&said), child.stderr.take().expect("stderr"));
        let heard = std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut said = hearing.lock().expect("said");
                said.push_str(&line);
                said.push('\n');
            }
        });
        let lines = BufReader::new(child.stdout.take().expect("stdout"));
        let (found, address) = mpsc::channel();
        let printed = Arc::new(Mutex::new(String::new()));
        let keeping = Arc::clone(&printed);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut printed = keeping.lock().expect("printed");
                printed.push_str(&line);
                printed.push('\n');
                drop(printed);
                if let Some((_, address)) =
                    line.split_once("listening on  ").and_then(|(_, url)| url.split_once("://"))
                {
                    let _ = found.send(address.trim().parse().expect("address"));
                }
            }
        });
        match address.recv_timeout(PATIENCE) {
            Ok(address) => Ok(Self {
                child: Some(child),
                address,
                client: Client::builder().timeout(PATIENCE).build().expect("client"),
                data: data.to_path_buf(),
                said,
                printed,
                _folder: None,
            }),
            Err(_) => {
                let _ = child.kill();
                let ended = child.wait();
                heard.join().expect("stderr");
                let said = said.lock().expect("said");
                Err(format!("the server ended: {ended:?}\n{said}"))
            }
        }
    }

    /// Waits until the server takes requests.
    pub async fn ready(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Ok(reply) = self.client.get(self.url("/health/ready")).send().await
                && reply.status() == StatusCode::OK
            {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "the server does not get ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// An absolute URL.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until it has written `text` to standard error, whose lines arrive in their own time.
    pub async fn says(&self, text: &str) {
        eventually(text, async || self.said().contains(text)).await;
    }

    /// What it has written to standard error, as far as that has arrived.
    pub fn said(&self) -> String {
        self.said.lock().expect("said").clone()
    }

    /// What it has written to standard output.
    pub fn printed(&self) -> String {
        self.printed.lock().expect("printed").clone()
    }

    /// A number out of `/metrics`, by its name without the prefix.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").await.text;
        let line = format!("audience_store_{name} ");
        let value = text.lines().find_map(|l| l.strip_prefix(&line));
        let value = value.unwrap_or_else(|| panic!("no {name} in {text}"));
        value.parse().unwrap_or_else(|e| panic!("{name} {value}: {e}"))
    }

    /// A client with connections of its own.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request with headers and, where given, a JSON body.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Reply {
        self.try_send(method, path, headers, body).await.expect("an answer")
    }

    /// Sends a request that may fail with the server.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> reqwest::Result<Reply> {
        let mut request = self.client.request(method, self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                request = request.header("Content-Type", "application/json");
            }
            request = request.body(body.to_owned());
        }
        let reply = request.send().await?;
        let (status, headers) = (reply.status(), reply.headers().clone());
        Ok(Reply { status, headers, text: reply.text().await? })
    }

    /// `GET`
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], None).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, &[], Some(&body.to_string())).await
    }

    /// `PUT` with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PUT, path, &[], Some(&body.to_string())).await
    }

    /// `DELETE`
    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], None).await
    }

    /// Saves a record and answers its id.
    pub async fn save(&self, table: &str, body: &Value) -> String {
        let saved = self.post(&format!("/api/{table}"), body).await.expect(201);
        let id = format!("{}_id", table.trim_end_matches('s'));
        saved[&id].as_str().expect("id").to_owned()
    }

    /// Writes everything to Parquet.
    pub async fn checkpoint(&self) {
        self.send(Method::POST, "/api/admin/checkpoint", &[], None).await.expect(200);
    }

    /// Asks for the same, whatever comes of it.
    pub async fn try_checkpoint(&self) {
        // The caller kills the server meanwhile.
        let _ = self.try_send(Method::POST, "/api/admin/checkpoint", &[], None).await;
    }

    /// kill -9
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    /// Waits for the process to end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("running");
        let ended = tokio::task::spawn_blocking(move || child.wait().expect("wait"));
        tokio::time::timeout(PATIENCE, ended).await.expect("the server ends").expect("join")
    }

    /// SIGTERM, and waits for exit code 0.
    pub async fn stop(&mut self) {
        self.signal("TERM");
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking()
            && let Ok(said) = self.said.lock()
        {
            eprintln!("--- what the server over {} said\n{said}", self.data.display());
        }
    }
}

/// Waits until `holds` does.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs the program to its end: exit code, standard output, standard error.
pub fn run(mut command: Command) -> (i32, String, String) {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("program");
    let pid = child.id().to_string();
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let output = ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        let _ = Command::new("kill").args(["-KILL", &pid]).status();
        panic!("the program does not end: {command:?}")
    });
    let output = output.expect("output");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// A JSON fixture of `tests/fixtures`.
pub fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("JSON fixture")
}

/// A small audience of `user`.
pub fn audience(user: &str, name: &str) -> Value {
    serde_json::json!({
        "user_id": user,
        "name": name,
        "data_type": "first_party",
        "selected_variables": ["AGE_18_24"],
    })
}

/// A small platform of `user`.
pub fn platform(user: &str, name: &str) -> Value {
    serde_json::json!({"user_id": user, "platform_type": "meta", "name": name})
}

/// A small distribution of `user`.
pub fn distribution(user: &str, audience: &str) -> Value {
    serde_json::json!({"user_id": user, "audience_id": audience, "platform_id": "plat_1"})
}

/// The smallest body that creates a record of `table`.
pub fn smallest(table: &str, user: &str) -> Value {
    match table {
        "audiences" => audience(user, "a name"),
        "platforms" => platform(user, "a name"),
        _ => distribution(user, "aud_1"),
    }
}

/// The singular name of a table.
pub fn singular(table: &str) -> &str {
    table.trim_end_matches('s')
}
/// The record in the answer to a read of `table`.
pub fn record_of(table: &str, answer: &Value) -> Value {
    answer[table.trim_end_matches('s')].clone()
}

/// All records of a user's table, over all pages. `user` is escaped.
pub async fn pages(server: &Server, table: &str, user: &str) -> Vec<Value> {
    let first = format!("/api/{table}?user_id={user}&limit=500");
    let (mut all, mut next) = (Vec::new(), first.clone());
    loop {
        let page = server.get(&next).await.expect(200);
        all.extend(page[table].as_array().expect("records").iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("{first}&cursor={cursor}"),
            None => return all,
        }
    }
}
