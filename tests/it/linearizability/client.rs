//! A client that sends calls about few records, and notes when it sent each and what came back.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::record::{Answer, Content, Op};
use crate::support::chance::Chance;
use crate::support::{Server, record_of, singular, smallest};

/// Whose the records are.
pub const USER: &str = "u";
/// A monthly table and one without months.
pub const TABLES: [&str; 2] = ["audiences", "platforms"];
/// Records of a table that all clients are at.
pub const KEYS: usize = 2;

/// A call to a record.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose; one whose call was never answered sends no other.
    pub client: usize,
    /// When it was sent, in a count of all events.
    pub began: u64,
    /// What it was.
    pub op: Op,
    /// When it was answered, and what.
    pub answer: Option<(u64, Answer)>,
}

/// What the clients of one server share.
pub struct Round {
    events: AtomicU64,
    answered: AtomicU64,
    kill_after: Option<u64>,
    enough: Notify,
    working: AtomicUsize,
    calls: Mutex<Vec<(usize, usize, Call)>>,
    /// Records that were acknowledged and that nobody changes.
    kept: Mutex<BTreeSet<(usize, String)>>,
    lists: AtomicUsize,
}

impl Round {
    /// A round that begins with these records, and says when so many calls were answered.
    pub fn new(kept: Vec<(usize, String)>, kill_after: Option<u64>) -> Self {
        Self {
            events: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            kill_after,
            enough: Notify::new(),
            working: AtomicUsize::new(0),
            calls: Mutex::default(),
            kept: Mutex::new(kept.into_iter().collect()),
            lists: AtomicUsize::new(0),
        }
    }

    /// Waits until enough calls were answered, or nobody works any more.
    pub async fn enough(&self) {
        self.enough.notified().await;
    }

    fn now(&self) -> u64 {
        self.events.fetch_add(1, Ordering::SeqCst)
    }

    /// The calls to a record.
    pub fn history(&self, table: usize, key: usize) -> Vec<Call> {
        let calls = self.calls.lock().expect("calls");
        let its = calls.iter().filter(|(t, k, _)| (*t, *k) == (table, key));
        its.map(|(_, _, call)| call.clone()).collect()
    }

    /// Lists that were read to their end.
    pub fn lists(&self) -> usize {
        self.lists.load(Ordering::SeqCst)
    }

    /// The records that nobody changes.
    pub fn acknowledged(&self) -> Vec<(usize, String)> {
        self.kept.lock().expect("kept").iter().cloned().collect()
    }
}

/// A client.
pub struct Client<'a> {
    number: usize,
    round_number: u64,
    server: &'a Server,
    round: &'a Round,
    chance: Chance,
    sent: u64,
}

/// The server is gone.
struct Lost;

fn path(table: usize, key: usize) -> String {
    format!("/api/{}/k{key}", TABLES[table])
}

fn content(table: usize, body: &Value) -> Content {
    let record = record_of(TABLES[table], body);
    let value = record["name"].as_str().expect("name").to_owned();
    assert_eq!(record["echo"], value.as_str(), "in part: {record}");
    Some((record["version"].as_i64().expect("version"), value))
}

/// What a record is, of a server that nobody else asks.
pub async fn look(server: &Server, table: usize, key: usize) -> Content {
    let reply = server.get(&format!("{}?user_id={USER}", path(table, key))).await;
    match reply.status.as_u16() {
        404 => None,
        _ => content(table, &reply.expect(200)),
    }
}

impl<'a> Client<'a> {
    /// A client of a round.
    pub fn new(
        number: usize,
        round_number: u64,
        server: &'a Server,
        round: &'a Round,
        chance: Chance,
    ) -> Self {
        round.working.fetch_add(1, Ordering::SeqCst);
        Self { number, round_number, server, round, chance, sent: 0 }
    }

    /// Sends so many calls, or until the server is gone.
    pub async fn work(mut self, calls: u64) {
        for _ in 0..calls {
            let sent = match self.chance.of(0..10) {
                0 => self.keep().await,
                1 => self.list().await,
                _ => self.call().await,
            };
            if sent.is_err() {
                break;
            }
            let answered = self.round.answered.fetch_add(1, Ordering::SeqCst) + 1;
            if self.round.kill_after.is_some_and(|after| answered == after) {
                self.round.enough.notify_one();
            }
        }
        if self.round.working.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.round.enough.notify_one();
        }
    }

    fn value(&mut self) -> String {
        self.sent += 1;
        format!("{}-{}-{}", self.round_number, self.number, self.sent)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(u16, Value), Lost> {
        let body = body.map(ToString::to_string);
        let reply = self.server.try_send(method, path, headers, body.as_deref()).await;
        let reply = reply.map_err(|_| Lost)?;
        Ok((reply.status.as_u16(), reply.json()))
    }

    /// A call to one of the records that all are at.
    async fn call(&mut self) -> Result<(), Lost> {
        let index = |n: u64| usize::try_from(n).expect("index");
        let table = index(self.chance.of(0..TABLES.len() as u64));
        let key = index(self.chance.of(0..KEYS as u64));
        let op = match self.chance.of(0..12) {
            0..4 => Op::Read,
            4..7 => Op::Upsert(self.value()),
            7..9 => Op::Update(self.value(), None),
            9..11 => Op::Update(self.value(), Some(self.version(table, key).await?)),
            _ => Op::Delete,
        };
        let began = self.round.now();
        let answer = self.carry_out(table, key, &op).await;
        let answer = answer.map(|answer| (self.round.now(), answer));
        let call = Call { client: self.number, began, op, answer: answer.as_ref().ok().cloned() };
        self.round.calls.lock().expect("calls").push((table, key, call));
        answer.map(|_| ())
    }

    /// A version to bring: the present one, often enough.
    async fn version(&self, table: usize, key: usize) -> Result<i64, Lost> {
        let read = format!("{}?user_id={USER}", path(table, key));
        let (status, body) = self.send(Method::GET, &read, &[], None).await?;
        Ok(if status == 200 { content(table, &body).map_or(1, |(version, _)| version) } else { 1 })
    }

    async fn carry_out(&self, table: usize, key: usize, op: &Op) -> Result<Answer, Lost> {
        let name = TABLES[table];
        let of_user = format!("{}?user_id={USER}", path(table, key));
        let (status, body) = match op {
            Op::Read => self.send(Method::GET, &of_user, &[], None).await?,
            Op::Delete => self.send(Method::DELETE, &of_user, &[], None).await?,
            Op::Upsert(value) => {
                let mut body = smallest(name, USER);
                body[format!("{}_id", singular(name))] = format!("k{key}").into();
                body["name"] = value.as_str().into();
                body["echo"] = value.as_str().into();
                self.send(Method::POST, &format!("/api/{name}"), &[], Some(&body)).await?
            }
            Op::Update(value, version) => {
                let body = json!({"user_id": USER, "name": value, "echo": value});
                let tag = version.map(|version| format!("\"{version}\""));
                let headers: Vec<_> = tag.iter().map(|tag| ("If-Match", tag.as_str())).collect();
                self.send(Method::PUT, &path(table, key), &headers, Some(&body)).await?
            }
        };
        Ok(match (status, op) {
            (200, Op::Read) => Answer::Is(content(table, &body)),
            (404, Op::Read) => Answer::Is(None),
            (200, Op::Delete) => Answer::Gone,
            (200 | 201, _) => Answer::Saved { version: body["version"].as_i64().expect("version") },
            (404, _) => Answer::NotFound,
            (412, _) => Answer::Stale,
            // Nothing is known of a call that ended with the server.
            (500.., _) => return Err(Lost),
            _ => panic!("{op:?}: {status} {body}"),
        })
    }

    /// Makes a record that nobody changes.
    async fn keep(&mut self) -> Result<(), Lost> {
        let table = usize::from(self.chance.once_in(2));
        let name = TABLES[table];
        let mut body = smallest(name, USER);
        let value = self.value();
        body["echo"] = value.as_str().into();
        body["name"] = value.into();
        let (status, saved) =
            self.send(Method::POST, &format!("/api/{name}"), &[], Some(&body)).await?;
        if status != 201 {
            return Err(Lost);
        }
        let id = saved[format!("{}_id", singular(name))].as_str().expect("id").to_owned();
        self.round.kept.lock().expect("kept").insert((table, id));
        Ok(())
    }

    /// Reads a list page by page: everything acknowledged before is in it, and nothing twice.
    async fn list(&mut self) -> Result<(), Lost> {
        let table = usize::from(self.chance.once_in(2));
        let name = TABLES[table];
        let before: Vec<_> = self.round.acknowledged();
        let limit = self.chance.of(1..30);
        let first = format!("/api/{name}?user_id={USER}&limit={limit}");
        let mut seen = BTreeSet::new();
        let mut next = first.clone();
        loop {
            let (status, page) = self.send(Method::GET, &next, &[], None).await?;
            if status != 200 {
                return Err(Lost);
            }
            for record in page[name].as_array().expect("records") {
                let id = record[format!("{}_id", singular(name))].as_str().expect("id").to_owned();
                assert!(seen.insert(id.clone()), "{id} is in a list twice");
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => next = format!("{first}&cursor={cursor}"),
                None => break,
            }
        }
        for (_, id) in before.iter().filter(|(of, _)| *of == table) {
            assert!(seen.contains(id), "{id} was acknowledged before the list began");
        }
        self.round.lists.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}
