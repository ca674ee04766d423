//! A client: sends requests of all kinds, compares each answer with the model, and tells the model.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use audience_store::audit::Actor;
use audience_store::domain::input::Body;
use audience_store::domain::limits::InputLimits;
use audience_store::domain::{Patch, RecordId, Table, UserId};
use audience_store::storage::layout;
use audience_store::store::{
    Begun, KeyedRequest, ListRequest, Precondition, Remembered, Store, StoreError, Written,
};

use crate::dice::Dice;
use crate::disk::Disk;
use crate::durable;
use crate::model::{Content, Key, Keyed, Model, Seen, text_column};
use crate::trace::Trace;

/// What all clients of a process share.
#[derive(Clone)]
pub struct Client {
    pub store: Store,
    pub model: Rc<RefCell<Model>>,
    pub disk: Disk,
    pub dice: Dice,
    pub trace: Trace,
    pub users: usize,
    /// The first thing that was wrong.
    pub wrong: Rc<RefCell<Option<String>>>,
    /// The longest pause between requests, in microseconds.
    pub pause: u64,
    /// Whether the disk may be full for a while.
    pub fills: bool,
}

/// A user by number.
pub fn user(number: usize) -> UserId {
    layout::parse_user(&format!("user_id=user%2F{number}")).expect("user")
}

fn record_id(id: &str) -> RecordId {
    RecordId::checked(id).expect("id")
}

/// A patch of these fields.
fn patch(table: Table, id: Option<&str>, text: Option<&str>, rest: &str) -> Patch {
    let mut body = String::from("{");
    if let Some(id) = id {
        body.push_str(&format!(r#""{}":"{id}","#, table.spec().id_column()));
    }
    if let Some(text) = text {
        body.push_str(&format!(r#""{}":"{text}","#, text_column(table)));
    }
    body.push_str(rest);
    let body = format!("{}}}", body.trim_end_matches(','));
    let body = Body::parse(body.as_bytes(), &InputLimits::default()).expect("body");
    body.patch(table).expect("patch")
}

/// The fields of a new record beside its text.
fn fresh_fields(table: Table) -> &'static str {
    match table {
        Table::Audiences => r#""data_type":"first_party","selected_variables":["a"],"#,
        Table::Platforms => r#""platform_type":"meta","credentials":{"token":"t"},"#,
        _ => r#""audience_id":"a","platform_id":"p","#,
    }
}

fn extra(pad: &str) -> String {
    format!(r#"{{"pad":"{pad}"}}"#)
}

fn is_bug(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Internal
            | StoreError::PartitionCorrupt
            | StoreError::Input(_)
            | StoreError::KeyReused
            | StoreError::KeyUnverifiable
            | StoreError::QuotaExceeded(_)
            | StoreError::CredentialsUnavailable
    )
}

/// Two stamps: which record, and what it was when the request began.
struct At {
    key: Key,
    table: Table,
    user: UserId,
    id: RecordId,
    now: Content,
}

impl Client {
    /// Sends so many requests, or fewer where the store is at its end.
    pub async fn run(self, requests: usize) {
        for _ in 0..requests {
            let pause = match self.dice.roll(3) {
                0 => 0,
                1 => self.dice.roll(2000),
                _ => self.dice.roll(self.pause),
            };
            tokio::time::sleep(Duration::from_micros(pause)).await;
            if self.wrong.borrow().is_some() {
                return;
            }
            if let Err(wrong) = self.request().await {
                self.wrong.borrow_mut().get_or_insert(wrong);
                return;
            }
        }
    }

    fn tell(&self, what: &str, key: &Key, result: &Result<Written, StoreError>) {
        let (number, result) = match result {
            Ok(written) => (written.version.unsigned_abs(), "ok".to_owned()),
            Err(error) => (0, error.to_string()),
        };
        self.trace.event(number, &format!("{what} {key:?}: {result}"));
    }

    async fn request(&self) -> Result<(), String> {
        let choice = self.dice.roll(100);
        let user = self.dice.index(self.users);
        let alone = choice >= 98;
        if self.fills && self.dice.hits(1, 12) {
            self.disk.fill(self.dice.hits(1, 2));
        }
        if !self.model.borrow_mut().enter(user, alone) {
            return Ok(());
        }
        let table = self.dice.index(Table::PUBLIC.len());
        let done = match choice {
            0..18 => self.insert(user, table).await,
            18..40 => self.with(user, table, Self::upsert).await,
            40..58 => self.with(user, table, Self::update).await,
            58..66 => self.with(user, table, Self::delete).await,
            66..74 => self.with(user, table, Self::get).await,
            74..83 => self.list(user, table, None).await.map(|_| ()),
            83..95 => self.with(user, table, Self::keyed).await,
            95..98 => {
                let saved = self.store.checkpoint(false).await;
                self.trace.event(u64::from(saved.is_ok()), "checkpoint");
                Ok(())
            }
            _ => self.erase(user).await,
        };
        self.model.borrow_mut().leave(user, alone);
        done
    }

    /// Has `work` at a record that nobody else is at.
    async fn with(
        &self,
        user: usize,
        table: usize,
        work: impl AsyncFnOnce(&Self, At) -> Result<(), String>,
    ) -> Result<(), String> {
        let ids = self.model.borrow().ids(user, table);
        let id = ids[self.dice.index(ids.len())].clone();
        let key = (user, table, id);
        if !self.model.borrow_mut().take(&key) {
            return Ok(());
        }
        let at = At {
            table: Table::PUBLIC[table],
            user: self::user(user),
            id: record_id(&key.2),
            now: self.model.borrow().content(&key),
            key: key.clone(),
        };
        let done = work(self, at).await;
        self.model.borrow_mut().give_back(&key);
        done
    }

    fn fresh(&self) -> (String, String) {
        let text = format!("t{:016x}", self.dice.roll(u64::MAX));
        let longest = if self.dice.hits(1, 6) { 2500 } else { 60 };
        let pad = format!("{text}{}", "x".repeat(self.dice.index(longest)));
        (text, pad)
    }

    async fn insert(&self, user: usize, table: usize) -> Result<(), String> {
        let (text, pad) = self.fresh();
        let its = Table::PUBLIC[table];
        let rest = format!(r#"{}"pad":"{pad}""#, fresh_fields(its));
        let status = its.spec().default_status().unwrap_or_default().to_owned();
        let content = Seen { version: 1, text: text.clone(), pad: extra(&pad), status };
        self.model.borrow_mut().insert(user, table, content);
        let patch = patch(its, None, Some(&text), &rest);
        let result = self.store.save(&self::user(user), patch, Precondition::None, None).await;
        self.tell("insert", &(user, table, text.clone()), &result);
        let mut model = self.model.borrow_mut();
        match result {
            Ok(written) => {
                if (written.version, written.created) != (1, true) {
                    return Err(format!("a new record was answered with {written:?}"));
                }
                model.acknowledged += 1;
                model.inserted(&text, Some(written.id.as_str()));
                durable::check(&self.disk, &model, self.users)?;
            }
            Err(StoreError::LogFailed) => {}
            Err(error) if is_bug(&error) => return Err(format!("insert: {error:?}")),
            Err(_) => model.inserted(&text, None),
        }
        Ok(())
    }

    /// Compares the answer to a change with what it must be, and tells the model. `expected` is
    /// what the record becomes, or why it cannot.
    fn conclude(
        &self,
        what: &str,
        key: &Key,
        expected: &Result<Content, StoreError>,
        result: Result<Written, StoreError>,
    ) -> Result<Option<Written>, String> {
        self.tell(what, key, &result);
        let mut model = self.model.borrow_mut();
        let says = |e: &dyn std::fmt::Debug| format!("{what} {key:?}: {e:?}, not {expected:?}");
        match (result, expected) {
            (Ok(written), Ok(content)) => {
                let was = model.content(key);
                let version = content.as_ref().or(was.as_ref()).map(|c| c.version);
                let created = content.is_some() && was.is_none();
                if content.is_some()
                    && (Some(written.version), written.created) != (version, created)
                {
                    return Err(says(&written));
                }
                model.acknowledged += 1;
                model.set(key, content.clone());
                durable::check(&self.disk, &model, self.users)?;
                Ok(Some(written))
            }
            (Ok(written), Err(_)) => Err(says(&written)),
            (Err(StoreError::NotFound), Err(StoreError::NotFound)) => {
                model.unchanged(key);
                Ok(None)
            }
            (
                Err(StoreError::VersionMismatch { current }),
                Err(StoreError::VersionMismatch { current: right }),
            ) if current == *right => {
                model.unchanged(key);
                Ok(None)
            }
            (Err(error @ (StoreError::NotFound | StoreError::VersionMismatch { .. })), _) => {
                Err(says(&error))
            }
            // Nobody knows before the next start.
            (Err(StoreError::LogFailed), _) => Ok(None),
            (Err(error), _) if is_bug(&error) => Err(says(&error)),
            (Err(_), _) => {
                model.unchanged(key);
                Ok(None)
            }
        }
    }

    /// What an upsert makes of a record.
    fn upserted(at: &At, text: &str, pad: &str) -> Seen {
        let status = at.table.spec().default_status().unwrap_or_default().to_owned();
        Seen {
            version: at.now.as_ref().map_or(1, |now| now.version + 1),
            text: text.to_owned(),
            pad: extra(pad),
            status: at.now.as_ref().map_or(status, |now| now.status.clone()),
        }
    }

    async fn upsert(&self, at: At) -> Result<(), String> {
        let (text, pad) = self.fresh();
        let rest = format!(r#"{}"pad":"{pad}""#, fresh_fields(at.table));
        let patch = patch(at.table, Some(&at.key.2), Some(&text), &rest);
        let becomes = Some(Self::upserted(&at, &text, &pad));
        self.model.borrow_mut().perhaps(&at.key, becomes.clone());
        let result = self.store.save(&at.user, patch, Precondition::None, None).await;
        self.conclude("upsert", &at.key, &Ok(becomes), result).map(|_| ())
    }

    /// A condition, and what comes of it.
    fn condition(&self, now: &Content) -> (Precondition, Result<(), StoreError>) {
        let Some(now) = now else { return (Precondition::None, Err(StoreError::NotFound)) };
        match self.dice.roll(4) {
            0 => (Precondition::Versions(vec![now.version]), Ok(())),
            1 => {
                let stale = now.version + if self.dice.hits(1, 2) { 1 } else { -1 };
                let current = now.version;
                (Precondition::Versions(vec![stale]), Err(StoreError::VersionMismatch { current }))
            }
            2 => (Precondition::Exists, Ok(())),
            _ => (Precondition::None, Ok(())),
        }
    }

    async fn update(&self, at: At) -> Result<(), String> {
        let (text, _) = self.fresh();
        let allowed = at.table.spec().allowed("status").unwrap_or_default();
        let status = allowed[self.dice.index(allowed.len())];
        let of_status = self.dice.hits(1, 3) && status != "completed";
        let patch = if of_status {
            patch(at.table, None, None, &format!(r#""status":"{status}""#))
        } else {
            patch(at.table, None, Some(&text), "")
        };
        let (precondition, outcome) = self.condition(&at.now);
        let becomes = at.now.clone().map(|now| Seen {
            version: now.version + 1,
            text: if of_status { now.text } else { text },
            status: if of_status { status.to_owned() } else { now.status },
            pad: now.pad,
        });
        if outcome.is_ok() {
            self.model.borrow_mut().perhaps(&at.key, becomes.clone());
        }
        let result =
            self.store.update(&at.user, &at.id, patch, precondition, of_status, None).await;
        self.conclude("update", &at.key, &outcome.map(|()| becomes), result).map(|_| ())
    }

    async fn delete(&self, at: At) -> Result<(), String> {
        let (precondition, outcome) = self.condition(&at.now);
        if outcome.is_ok() {
            self.model.borrow_mut().perhaps(&at.key, None);
        }
        let result = self.store.delete(&at.user, at.table, &at.id, precondition).await;
        self.conclude("delete", &at.key, &outcome.map(|()| None), result).map(|_| ())
    }

    async fn get(&self, at: At) -> Result<(), String> {
        let since = self.model.borrow().stamp();
        let found = self.store.get(&at.user, at.table, &at.id).await;
        self.trace.event(u64::from(found.is_ok()), "get");
        let seen = match found {
            Ok(row) => Some(Seen::of(&row)),
            Err(StoreError::NotFound) => None,
            Err(error) if is_bug(&error) => return Err(format!("get {:?}: {error:?}", at.key)),
            Err(_) => return Ok(()),
        };
        self.model.borrow().check(&at.key, since, &seen)
    }

    /// A complete list, page by page; `None` where it could not be read.
    pub async fn list(
        &self,
        user: usize,
        table: usize,
        attempts: Option<usize>,
    ) -> Result<Option<Vec<(String, Seen)>>, String> {
        let since = self.model.borrow().stamp();
        let mut rows: Vec<(String, Seen)> = Vec::new();
        let mut last = None;
        let limit = 1 + self.dice.index(5);
        let mut request = ListRequest { limit, ..ListRequest::default() };
        let mut left = attempts.unwrap_or(1);
        loop {
            let its = Table::PUBLIC[table];
            let page = match self.store.list(&self::user(user), its, request.clone()).await {
                Ok(page) => page,
                Err(error) if is_bug(&error) => return Err(format!("list: {error:?}")),
                Err(error) => {
                    left -= 1;
                    match (left, attempts) {
                        (0, None) => return Ok(None),
                        (0, Some(_)) => return Err(format!("a list cannot be read: {error:?}")),
                        _ => tokio::time::sleep(Duration::from_millis(200)).await,
                    }
                    continue;
                }
            };
            for row in &page.rows {
                let place = (std::cmp::Reverse(row.created_at), row.id.as_str().to_owned());
                if last.as_ref().is_some_and(|last| *last >= place) {
                    return Err(format!("a list of user {user} is out of order at {place:?}"));
                }
                rows.push((place.1.clone(), Seen::of(row)));
                last = Some(place);
            }
            let Some(next) = page.next else { break };
            request.after = Some(next);
        }
        self.trace.event(rows.len() as u64, "list");
        self.model.borrow().check_list(user, table, since, &rows)?;
        Ok(Some(rows))
    }

    async fn keyed(&self, at: At) -> Result<(), String> {
        // One that was sent before, to this record, or a new one.
        let earlier: Vec<(String, Keyed)> = {
            let model = self.model.borrow();
            let mine = model.keyed.iter().filter(|(_, keyed)| keyed.key == at.key);
            mine.map(|(name, keyed)| (name.clone(), keyed.clone())).collect()
        };
        let (name, keyed) = if !earlier.is_empty() && self.dice.hits(1, 2) {
            earlier[self.dice.index(earlier.len())].clone()
        } else {
            let (text, pad) = self.fresh();
            let mut digest = [0; 32];
            digest[..16].copy_from_slice(&text.as_bytes()[..16]);
            let (answer, perhaps, took) = (None, None, None);
            let keyed = Keyed {
                key: at.key.clone(),
                digest,
                text: text.clone(),
                pad,
                answer,
                perhaps,
                took,
            };
            (format!("key-{text}"), keyed)
        };
        if keyed.perhaps.is_some() {
            // Nobody knows before the next start.
            return Ok(());
        }
        let request = KeyedRequest { key: name.clone(), digest: keyed.digest };
        let begun = match self.store.begin(&at.user, &request).await {
            Ok(begun) => begun,
            Err(error) if is_bug(&error) => return Err(format!("key {name}: {error:?}")),
            Err(_) => return Ok(()),
        };
        let pending = match (begun, keyed.took.unwrap_or(keyed.answer.is_some())) {
            (Begun::Replay(answer), true) => {
                self.trace.event(0, "replay");
                if keyed.answer.as_ref().is_some_and(|known| *known != answer) {
                    return Err(format!("key {name}: {answer:?}, not {:?}", keyed.answer));
                }
                return Ok(());
            }
            (Begun::Replay(answer), false) => {
                return Err(format!("key {name} was answered by {answer:?}, never carried out"));
            }
            (Begun::Go(_), true) => {
                let (of, took, answer) = (&at.key, keyed.took, &keyed.answer);
                let known = format!("{of:?}, took {took:?}, answered {answer:?}");
                return Err(format!("key {name} is carried out twice: {known}"));
            }
            (Begun::Go(pending), false) => pending,
        };
        let remember = pending.remember(answer_to);
        let rest = format!(r#"{}"pad":"{}""#, fresh_fields(at.table), keyed.pad);
        let patch = patch(at.table, Some(&at.key.2), Some(&keyed.text), &rest);
        let becomes = Some(Self::upserted(&at, &keyed.text, &keyed.pad));
        {
            let mut model = self.model.borrow_mut();
            model.perhaps(&at.key, becomes.clone());
            let perhaps = Some(becomes.clone());
            model.keyed.insert(name.clone(), Keyed { perhaps, took: None, ..keyed.clone() });
        }
        let result = self.store.save(&at.user, patch, Precondition::None, Some(remember)).await;
        let unknown = matches!(result, Err(StoreError::LogFailed));
        let written = self.conclude("keyed", &at.key, &Ok(becomes), result)?;
        if !unknown {
            let answer = written.as_ref().map(answer_to);
            let keyed = Keyed { answer, perhaps: None, took: None, ..keyed };
            self.model.borrow_mut().keyed.insert(name, keyed);
        }
        Ok(())
    }

    async fn erase(&self, user: usize) -> Result<(), String> {
        self.model.borrow_mut().erased(user, false);
        let result = self.store.erase(&self::user(user), &Actor::command()).await;
        self.trace.event(u64::from(result.is_ok()), &format!("erase {user}"));
        match result {
            Ok(_) => {
                self.model.borrow_mut().erased(user, true);
                durable::check(&self.disk, &self.model.borrow(), self.users)?;
            }
            Err(error) if is_bug(&error) => return Err(format!("erase: {error:?}")),
            // What became of it is seen after the next start.
            Err(_) => {}
        }
        Ok(())
    }
}

fn answer_to(written: &Written) -> Remembered {
    Remembered {
        status: if written.created { 201 } else { 200 },
        body: format!(r#"{{"id":"{}","version":{}}}"#, written.id, written.version),
        etag: Some(format!("\"{}\"", written.version)),
    }
}
