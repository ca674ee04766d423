//! Writers that go on while something else happens, each with a history to hold states against.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::chance::Chance;
use super::{Server, pages};

/// What a user's records are: by table and id, the revision of the write that made them so.
pub type State = BTreeMap<(&'static str, String), u64>;

const TABLES: [&str; 3] = ["audiences", "distributions", "platforms"];
/// Creation times are spread over so many months.
const MONTHS: u64 = 3;

/// One write: where, and the revision it leaves there, or nothing.
type Change = ((&'static str, String), Option<u64>);

/// One user, written by one client that awaits each answer.
struct Writer {
    user: String,
    server: (Client, String),
    chance: Chance,
    history: Vec<Change>,
    state: State,
    /// Writes answered, seen from outside.
    answered: Arc<AtomicUsize>,
}

/// Writers at work.
pub struct Busy {
    stop: Arc<AtomicBool>,
    answered: Vec<Arc<AtomicUsize>>,
    tasks: Vec<JoinHandle<Writer>>,
}

/// What they did.
pub struct Histories(Vec<Writer>);

impl Busy {
    /// Begins so many writers of users `busy-0`, `busy-1` and so on.
    pub fn start(server: &Server, writers: usize, chance: &mut Chance) -> Self {
        let make = |n| Writer {
            user: format!("busy-{n}"),
            server: (server.client().clone(), server.url("")),
            chance: chance.fork(),
            history: Vec::new(),
            state: State::new(),
            answered: Arc::default(),
        };
        Self::resume(Histories((0..writers).map(make).collect()))
    }

    /// Goes on after a stop.
    pub fn resume(Histories(writers): Histories) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = writers.iter().map(|w| Arc::clone(&w.answered)).collect();
        let task = |mut writer: Writer| {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    writer.write().await;
                }
                writer
            })
        };
        let tasks = writers.into_iter().map(task).collect();
        Self { stop, answered, tasks }
    }

    /// How many writes each has had answered.
    pub fn counts(&self) -> Vec<usize> {
        self.answered.iter().map(|n| n.load(Ordering::SeqCst)).collect()
    }

    /// Waits until each has had `more` writes answered from now on.
    pub async fn until(&self, more: usize) {
        let wanted: Vec<_> = self.counts().iter().map(|n| n + more).collect();
        super::eventually("writers write", async || {
            self.counts().iter().zip(&wanted).all(|(now, wanted)| now >= wanted)
        })
        .await;
    }

    /// Ends them, each after an answer.
    pub async fn stop(self) -> Histories {
        self.stop.store(true, Ordering::Relaxed);
        let mut writers = Vec::new();
        for task in self.tasks {
            writers.push(task.await.expect("writer"));
        }
        Histories(writers)
    }
}

impl Writer {
    async fn write(&mut self) {
        let revision = self.history.len() as u64 + 1;
        let ids: Vec<_> = self.state.keys().cloned().collect();
        let some = (!ids.is_empty()).then(|| self.chance.of(0..ids.len() as u64));
        let old = some.and_then(|at| ids.get(usize::try_from(at).expect("small")).cloned());
        let (user, base) = (self.user.clone(), self.server.1.clone());
        let (place, leaves) = match (self.chance.of(0..10), old) {
            (0..=1, Some((table, id))) => {
                let url = format!("{base}/api/{table}/{id}?user_id={user}");
                self.send(Method::DELETE, &url, None).await;
                ((table, id), None)
            }
            (2..=6, Some((table, id))) => {
                let body =
                    json!({ "user_id": user, "revision": revision, "filler": filler(revision) });
                self.send(Method::PUT, &format!("{base}/api/{table}/{id}"), Some(body)).await;
                ((table, id), Some(revision))
            }
            _ => {
                let table = TABLES[usize::try_from(self.chance.of(0..3)).expect("small")];
                // An id that was deleted may come back, in another month.
                let id = format!("r{}", self.chance.of(0..60));
                let mut body = super::smallest(table, &user);
                body[format!("{}_id", super::singular(table))] = json!(id);
                body["revision"] = json!(revision);
                body["filler"] = json!(filler(revision));
                body["created_at"] = json!(format!("2025-{:02}-11", self.chance.of(1..MONTHS + 1)));
                if table == "platforms" {
                    body["credentials"] = json!({ "secret": format!("{user}-{revision}") });
                }
                self.send(Method::POST, &format!("{base}/api/{table}"), Some(body)).await;
                ((table, id), Some(revision))
            }
        };
        match leaves {
            Some(revision) => self.state.insert(place.clone(), revision),
            None => self.state.remove(&place),
        };
        self.history.push((place, leaves));
        self.answered.store(self.history.len(), Ordering::SeqCst);
    }

    /// Sends until it is done: a full queue is no answer.
    async fn send(&self, method: Method, url: &str, body: Option<Value>) {
        loop {
            let mut request = self.server.0.request(method.clone(), url);
            if let Some(body) = &body {
                request = request.json(body);
            }
            let reply = request.send().await.expect("an answer");
            let status = reply.status();
            if status.is_success() {
                return;
            }
            let text = reply.text().await.unwrap_or_default();
            assert_eq!(status.as_u16(), 503, "{method} {url}: {text}");
        }
    }
}

impl Histories {
    /// The users, by number.
    pub fn users(&self) -> Vec<String> {
        self.0.iter().map(|writer| writer.user.clone()).collect()
    }

    /// Each user's records after all writes.
    pub fn now(&self) -> Vec<State> {
        self.0.iter().map(|writer| writer.state.clone()).collect()
    }

    /// The number of writes of each user after which the records were these: a state between two
    /// writes, whole. Fails where there is none between `least` and `most`.
    pub fn find(&self, states: &[State], least: &[usize], most: &[usize]) -> Vec<usize> {
        let mut found = Vec::new();
        for (number, writer) in self.0.iter().enumerate() {
            let mut state = State::new();
            let mut fits = None;
            for done in 0..=writer.history.len() {
                if state == states[number] && done >= least[number] && done <= most[number] {
                    fits = Some(done);
                    break;
                }
                if let Some((place, leaves)) = writer.history.get(done) {
                    match leaves {
                        Some(revision) => state.insert(place.clone(), *revision),
                        None => state.remove(place),
                    };
                }
            }
            found.push(fits.unwrap_or_else(|| {
                panic!(
                    "{}: no state between write {} and {} is {:?}",
                    writer.user, least[number], most[number], states[number]
                )
            }));
        }
        found
    }
}

/// What a server shows of each user.
pub async fn shown(server: &Server, users: &[String]) -> Vec<State> {
    let mut all = Vec::new();
    for user in users {
        let mut state = State::new();
        for table in TABLES {
            for record in pages(server, table, user).await {
                let id = record[format!("{}_id", super::singular(table))].as_str().expect("id");
                let revision = record["revision"].as_u64().expect("revision");
                assert_eq!(record["filler"], json!(filler(revision)), "torn: {record}");
                let twice = state.insert((table, id.to_owned()), revision);
                assert_eq!(twice, None, "{user} has {id} twice");
            }
        }
        all.push(state);
    }
    all
}

fn filler(revision: u64) -> String {
    format!("{revision:08}").repeat(10 + usize::try_from(revision % 5).expect("small") * 40)
}
