//! A client that writes until the server dies, and remembers what it was told.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Count, TABLES};
use crate::support::chance::Chance;
use crate::support::{Reply, Server, audience, record_of};

/// Records a writer keeps: with more it deletes, so that many rounds do not take ever longer.
const MOST_ALIVE: usize = 40;

/// A state of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// Its version.
    pub version: i64,
    /// Which write of its writer made it.
    pub revision: u64,
}

impl Known {
    /// The state that an answered record shows, after checking that it is one write's whole.
    pub fn of(record: &Value) -> Self {
        let revision = record["revision"].as_u64().unwrap_or_else(|| panic!("{record}"));
        assert_eq!(record["filler"], filler(revision), "torn: {record}");
        Self { version: record["version"].as_i64().expect("version"), revision }
    }
}

/// A text of a few hundred to a few thousand bytes that only this write sends.
fn filler(revision: u64) -> String {
    format!("{revision:08}").repeat(20 + usize::try_from(revision % 7).expect("small") * 60)
}

/// A record that was acknowledged.
pub struct Record {
    table: &'static str,
    /// Its id.
    pub id: String,
    /// What its create sent to tell it from all others.
    pub token: String,
    /// Its state; `None` once deleted.
    pub known: Option<Known>,
}

/// A request, and what an answer to it means.
#[derive(Clone)]
struct Request {
    method: Method,
    path: String,
    key: Option<String>,
    body: String,
    table: &'static str,
    /// The record it changes; `None` where it creates one.
    target: Option<usize>,
    /// The id that a create brings.
    id: Option<String>,
    token: String,
    revision: u64,
}

/// The client.
pub struct Writer {
    /// Its number.
    pub number: usize,
    /// The user it writes for.
    pub user: String,
    /// What it made.
    pub records: Vec<Record>,
    /// How many changes were acknowledged.
    pub acknowledged: u64,
    chance: Chance,
    revision: u64,
    /// The request that was under way when the server died.
    pending: Option<Request>,
    /// Creates without id and key that were under way then: kept or not.
    perhaps: Vec<Request>,
    /// The last acknowledged create with a key, and the answer.
    keyed: Option<(Request, Value)>,
}

impl Writer {
    /// A client that has made nothing.
    pub fn new(number: usize, user: String, chance: Chance) -> Self {
        let (records, perhaps) = (Vec::new(), Vec::new());
        Self {
            number,
            user,
            records,
            acknowledged: 0,
            chance,
            revision: 0,
            pending: None,
            perhaps,
            keyed: None,
        }
    }

    /// Writes until the server does not answer any more.
    pub async fn write_until_killed(&mut self, server: &Server, count: &Count) {
        loop {
            let request = self.next();
            let Some(reply) = self.send(server, &request).await else {
                self.pending = Some(request);
                return;
            };
            self.note(request, reply);
            count.acknowledged();
        }
    }

    fn next(&mut self) -> Request {
        self.revision += 1;
        let revision = self.number as u64 * 1_000_000 + self.revision;
        let alive: Vec<usize> =
            (0..self.records.len()).filter(|&i| self.records[i].known.is_some()).collect();
        let kind = match alive.len() {
            0 => 0,
            MOST_ALIVE.. => self.chance.of(4..10),
            _ => self.chance.of(0..10),
        };
        let mut body = json!({ "user_id": self.user, "revision": revision });
        body["filler"] = filler(revision).into();
        let target = |chance: &mut Chance| {
            alive[usize::try_from(chance.of(0..alive.len() as u64)).expect("index")]
        };
        if kind < 4 {
            return self.create(revision, body);
        }
        let target = target(&mut self.chance);
        let record = &self.records[target];
        let (table, id, token) = (record.table, record.id.clone(), record.token.clone());
        let base = format!("/api/{table}");
        let (method, path, body) = match kind {
            4..7 => (Method::PUT, format!("{base}/{id}"), body.to_string()),
            7 => {
                body["status"] =
                    ["active", "completed"][usize::from(table == "distributions")].into();
                (Method::PUT, format!("{base}/{id}/status"), body.to_string())
            }
            8 => {
                merge(&mut body, required(table, &self.user));
                body[format!("{}_id", table.trim_end_matches('s'))] = id.clone().into();
                body["token"] = token.clone().into();
                (Method::POST, base, body.to_string())
            }
            _ => {
                let user = self.user.replace('/', "%2F");
                (Method::DELETE, format!("{base}/{id}?user_id={user}"), String::new())
            }
        };
        let key = (kind < 8 && self.chance.once_in(4)).then(|| format!("key {revision}"));
        Request { method, path, key, body, table, target: Some(target), id: None, token, revision }
    }

    fn create(&mut self, revision: u64, mut body: Value) -> Request {
        let table = TABLES[usize::try_from(self.chance.of(0..3)).expect("index")];
        let token = format!("token {revision}");
        merge(&mut body, required(table, &self.user));
        body["token"] = token.clone().into();
        if self.chance.once_in(2) {
            let month = self.chance.of(1..4);
            body["created_at"] = format!("2026-0{month}-03T04:05:06Z").into();
        }
        let id = self.chance.once_in(3).then(|| format!("own-{revision}"));
        if let Some(id) = &id {
            body[format!("{}_id", table.trim_end_matches('s'))] = id.clone().into();
        }
        let key = self.chance.once_in(2).then(|| format!("key {revision}"));
        let (method, path, body) = (Method::POST, format!("/api/{table}"), body.to_string());
        Request { method, path, key, body, table, target: None, id, token, revision }
    }

    async fn send(&self, server: &Server, request: &Request) -> Option<Reply> {
        let key = request.key.as_deref().map(|key| ("Idempotency-Key", key));
        let headers: Vec<_> = key.into_iter().collect();
        let body = Some(request.body.as_str()).filter(|body| !body.is_empty());
        server.try_send(request.method.clone(), &request.path, &headers, body).await.ok()
    }

    fn note(&mut self, request: Request, reply: Reply) {
        self.acknowledged += 1;
        let creates = request.target.is_none();
        let wanted = if creates { 201 } else { 200 };
        let (method, path, key) = (&request.method, &request.path, &request.key);
        assert_eq!(reply.status.as_u16(), wanted, "{method} {path} {key:?}: {}", reply.text);
        let answer = reply.json();
        let Some(target) = request.target else {
            let id = answer[format!("{}_id", request.table.trim_end_matches('s'))].as_str();
            let id = id.expect("id").to_owned();
            assert!(request.id.as_ref().is_none_or(|own| *own == id), "{answer}");
            assert_eq!(answer["version"], 1, "{answer}");
            let known = Some(Known { version: 1, revision: request.revision });
            let (table, token) = (request.table, request.token.clone());
            self.records.push(Record { table, id, token, known });
            if request.key.is_some() {
                self.keyed = Some((request, answer));
            }
            return;
        };
        let record = &mut self.records[target];
        record.known = match record.known.take() {
            Some(known) if request.method != Method::DELETE => {
                let version = known.version + 1;
                assert_eq!(answer.get("version").unwrap_or(&json!(version)), version, "{answer}");
                Some(Known { version, revision: request.revision })
            }
            _ => None,
        };
    }

    /// After a restart: finds out what became of the request under way, and repeats an
    /// acknowledged create with its key.
    pub async fn resolve(&mut self, server: &Server) {
        if let Some((request, answer)) = self.keyed.take() {
            let again = self.send(server, &request).await.expect("an answer");
            assert_eq!(again.expect(201), answer, "a repeat gets the first answer");
        }
        let Some(request) = self.pending.take() else { return };
        if request.key.is_some() {
            let reply = self.send(server, &request).await.expect("an answer");
            return self.note(request, reply);
        }
        let Some(target) = request.target else {
            return self.perhaps.push(request);
        };
        let record = &self.records[target];
        let before = record.known.clone().expect("it was there");
        let user = self.user.replace('/', "%2F");
        let path = format!("/api/{}/{}?user_id={user}", record.table, record.id);
        let reply = server.get(&path).await;
        let now = (reply.status != StatusCode::NOT_FOUND)
            .then(|| Known::of(&record_of(record.table, &reply.expect(200))));
        let after = (request.method != Method::DELETE)
            .then(|| Known { version: before.version + 1, revision: request.revision });
        assert!(now.as_ref() == Some(&before) || now == after, "{now:?}, was {before:?}");
        self.records[target].known = now;
    }

    /// Takes those of the records nobody acknowledged that this writer asked for.
    pub fn adopt(&mut self, left: &mut BTreeMap<String, (&str, String, Known)>) {
        for request in self.perhaps.drain(..) {
            let Some((table, id, known)) = left.remove(&request.token) else { continue };
            assert_eq!(table, request.table);
            assert!(request.id.is_none_or(|own| own == id));
            assert_eq!(known, Known { version: 1, revision: request.revision });
            let (table, token) = (request.table, request.token);
            self.records.push(Record { table, id, token, known: Some(known) });
        }
    }
}

fn required(table: &str, user: &str) -> Value {
    match table {
        "audiences" => audience(user, "an audience"),
        "platforms" => json!({ "platform_type": "meta", "name": "a platform" }),
        _ => json!({ "audience_id": "aud_1", "platform_id": "plat_1" }),
    }
}

fn merge(body: &mut Value, more: Value) {
    let (Value::Object(body), Value::Object(more)) = (body, more) else { return };
    body.extend(more);
}
