//! A client that saves records and remembers what it was told of each.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::json;

use crate::support::{Server, pages, platform};

/// The errors that leave open whether something was changed.
const DOUBTFUL: [&str; 2] = ["LOG_FAILED", "TIMEOUT"];

/// One user's client.
pub struct Saver {
    /// The user.
    pub user: String,
    /// Bytes of each record's filler.
    bytes: usize,
    next: usize,
    /// Acknowledged, with the filler each has.
    pub kept: BTreeMap<String, String>,
    /// Refused by an error that promises that nothing changed.
    pub refused: BTreeSet<String>,
    /// There wholly or not at all.
    doubtful: BTreeMap<String, String>,
}

impl Saver {
    /// A client of `user` whose records have about so many bytes.
    pub fn new(user: &str, bytes: usize) -> Self {
        let (kept, refused, doubtful) = Default::default();
        Self { user: user.to_owned(), bytes, next: 0, kept, refused, doubtful }
    }

    /// Clients of so many users.
    pub fn some(count: usize, bytes: usize) -> Vec<Self> {
        (0..count).map(|n| Self::new(&format!("saver-{n}"), bytes)).collect()
    }

    /// Saves a record: the code of the error that it was refused with, after checking its shape;
    /// `None` where it was saved, or where the connection ended without an answer.
    pub async fn save(&mut self, server: &Server) -> Option<String> {
        let id = format!("r{:05}", self.next);
        let filler = format!("{id} ").repeat(self.bytes / 7 + 1);
        self.next += 1;
        let mut body = platform(&self.user, &id);
        body["platform_id"] = json!(id);
        body["filler"] = json!(filler);
        let body = body.to_string();
        let sent = server.try_send(Method::POST, "/api/platforms", &[], Some(&body)).await;
        let Ok(reply) = sent else {
            self.doubtful.insert(id, filler);
            return None;
        };
        if reply.status == 201 {
            self.kept.insert(id, filler);
            return None;
        }
        assert!(reply.header("retry-after").is_some(), "{reply:?}");
        let code = reply.expect(503)["code"].as_str().expect("code").to_owned();
        if DOUBTFUL.contains(&code.as_str()) {
            self.doubtful.insert(id, filler);
        } else {
            self.refused.insert(id);
        }
        Some(code)
    }

    /// Saves so many records, each of which must be taken.
    pub async fn fill(&mut self, server: &Server, count: usize) {
        for _ in 0..count {
            assert_eq!(self.save(server).await, None, "{}", self.user);
        }
    }

    /// Takes ids from `first` on.
    pub fn start_from(&mut self, first: usize) {
        self.next = first;
    }

    /// Saves until a record is refused: the code.
    pub async fn until_refused(&mut self, server: &Server) -> String {
        self.refused_within(server, 100_000).await.expect("nothing was refused")
    }

    /// Saves at most so many records, until one is refused: the code.
    pub async fn refused_within(&mut self, server: &Server, count: usize) -> Option<String> {
        for _ in 0..count {
            // After a refusal a partition is built anew, which takes a moment.
            let refused = self.save(server).await.filter(|c| c != "PARTITION_RESTARTING");
            if refused.is_some() {
                return refused;
            }
        }
        None
    }

    /// Compares what the server shows with what it said: lists, and reads of single records.
    pub async fn check(&mut self, server: &Server) {
        let mut shown = BTreeMap::new();
        for record in pages(server, "platforms", &self.user).await {
            let text = |field: &str| record[field].as_str().expect(field).to_owned();
            let (id, filler) = (text("platform_id"), text("filler"));
            assert_eq!(shown.insert(id, filler), None, "listed twice: {record}");
        }
        for id in &self.refused {
            assert!(!shown.contains_key(id), "{id} of {} was refused", self.user);
        }
        // What was in doubt is known from now on.
        for (id, filler) in std::mem::take(&mut self.doubtful) {
            if let Some(found) = shown.get(&id) {
                assert_eq!(found, &filler, "{id} of {} is torn", self.user);
                self.kept.insert(id, filler);
            }
        }
        assert_eq!(shown, self.kept, "{}", self.user);
        if let Some((id, filler)) = self.kept.iter().next() {
            let read = format!("/api/platforms/{id}?user_id={}", self.user);
            assert_eq!(&server.get(&read).await.expect(200)["platform"]["filler"], filler);
        }
    }
}

/// Checks each of them.
pub async fn check_all(savers: &mut [Saver], server: &Server) {
    for saver in savers {
        saver.check(server).await;
    }
}
