//! What the store must hold: plain maps, told of every answer a client got.

use std::collections::BTreeMap;

use audience_store::domain::{Row, Table};
use audience_store::store::Remembered;

/// A record as clients see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub version: i64,
    pub text: String,
    pub pad: String,
    pub status: String,
}

/// The column that holds a record's text.
pub fn text_column(table: Table) -> &'static str {
    if table == Table::Distributions { "audience_name" } else { "name" }
}

impl Seen {
    pub fn of(row: &Row) -> Self {
        let text = |name| row.text(name).unwrap_or_default().to_owned();
        Self {
            version: row.version,
            text: text(text_column(row.table())),
            pad: row.extra().unwrap_or_default().to_owned(),
            status: text("status"),
        }
    }
}

/// A record, or its absence.
pub type Content = Option<Seen>;

/// Whose and which: the user's number, the table's, the id.
pub type Key = (usize, usize, String);

#[derive(Default)]
struct Record {
    /// What it was since when, by stamps; absent before.
    history: Vec<(u64, Content)>,
    /// What it may be instead, without anybody having been told.
    perhaps: Option<Content>,
    busy: bool,
}

impl Record {
    fn now(&self) -> Content {
        self.history.last().and_then(|(_, content)| content.clone())
    }
}

/// A record whose id only the store knows yet.
#[derive(Clone)]
struct Insert {
    user: usize,
    table: usize,
    content: Seen,
}

/// A request with an `Idempotency-Key`.
#[derive(Clone)]
pub struct Keyed {
    pub key: Key,
    pub digest: [u8; 32],
    pub text: String,
    pub pad: String,
    /// What was answered, where the client knows it.
    pub answer: Option<Remembered>,
    /// What it makes of its record, where nobody knows whether it did.
    pub perhaps: Option<Content>,
    /// Whether it did, once that was seen.
    pub took: Option<bool>,
}

/// All records.
#[derive(Default)]
pub struct Model {
    records: BTreeMap<Key, Record>,
    /// By text, which no other record ever has.
    inserts: BTreeMap<String, Insert>,
    pub keyed: BTreeMap<String, Keyed>,
    stamp: u64,
    /// Users of whom everything is perhaps gone.
    perhaps_erased: Vec<usize>,
    /// Requests under way, by user; one that must be alone takes all.
    under_way: BTreeMap<usize, usize>,
    pub acknowledged: u64,
}

/// One that must be alone with a user.
const ALONE: usize = usize::MAX / 2;

/// Ids that clients bring, a table.
const BROUGHT: usize = 4;

impl Model {
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The ids of a user's table that were ever used.
    pub fn ids(&self, user: usize, table: usize) -> Vec<String> {
        let mine = self.records.keys().filter(|(u, t, _)| (*u, *t) == (user, table));
        let mut ids: Vec<String> = mine.map(|(_, _, id)| id.clone()).collect();
        ids.extend((0..BROUGHT).map(|n| format!("k{n}")));
        ids.sort();
        ids.dedup();
        ids
    }

    pub fn content(&self, key: &Key) -> Content {
        self.records.get(key).and_then(Record::now)
    }

    /// Begins something of a user; `false` where it must wait. `alone` with the user or not.
    pub fn enter(&mut self, user: usize, alone: bool) -> bool {
        if self.perhaps_erased.contains(&user) {
            // What would be new could not be told from what was there before.
            return false;
        }
        let under_way = self.under_way.entry(user).or_default();
        if *under_way >= ALONE || alone && *under_way > 0 {
            return false;
        }
        *under_way += if alone { ALONE } else { 1 };
        true
    }

    pub fn leave(&mut self, user: usize, alone: bool) {
        *self.under_way.entry(user).or_default() -= if alone { ALONE } else { 1 };
    }

    /// Takes a record for a client, if it is free and certain.
    pub fn take(&mut self, key: &Key) -> bool {
        let record = self.records.entry(key.clone()).or_default();
        let free = !record.busy && record.perhaps.is_none();
        record.busy |= free;
        free
    }

    pub fn give_back(&mut self, key: &Key) {
        if let Some(record) = self.records.get_mut(key) {
            record.busy = false;
        }
    }

    /// From now on the record may be this.
    pub fn perhaps(&mut self, key: &Key, content: Content) {
        self.records.entry(key.clone()).or_default().perhaps = Some(content);
    }

    /// The record is what it was before.
    pub fn unchanged(&mut self, key: &Key) {
        self.records.entry(key.clone()).or_default().perhaps = None;
    }

    /// A client was told that the record is this now.
    pub fn set(&mut self, key: &Key, content: Content) {
        self.stamp += 1;
        let stamp = self.stamp;
        let record = self.records.entry(key.clone()).or_default();
        record.perhaps = None;
        record.history.push((stamp, content));
    }

    pub fn insert(&mut self, user: usize, table: usize, content: Seen) {
        self.inserts.insert(content.text.clone(), Insert { user, table, content });
    }

    pub fn inserted(&mut self, text: &str, id: Option<&str>) {
        if let (Some(Insert { user, table, content }), Some(id)) = (self.inserts.remove(text), id) {
            self.set(&(user, table, id.to_owned()), Some(content));
        }
    }

    /// Everything of a user is gone, or was perhaps.
    pub fn erased(&mut self, user: usize, surely: bool) {
        if !surely {
            self.perhaps_erased.push(user);
            return;
        }
        self.perhaps_erased.retain(|other| *other != user);
        self.stamp += 1;
        let stamp = self.stamp;
        for ((of, ..), record) in &mut self.records {
            if *of == user {
                record.perhaps = None;
                record.history.push((stamp, None));
            }
        }
        self.inserts.retain(|_, insert| insert.user != user);
        self.keyed.retain(|_, keyed| keyed.key.0 != user);
    }

    fn allows(&self, key: &Key, since: u64, seen: &Content) -> bool {
        let Some(record) = self.records.get(key) else { return seen.is_none() };
        let at = record.history.iter().rposition(|(stamp, _)| *stamp <= since);
        let before = at.and_then(|at| record.history[at].1.clone());
        before == *seen
            || record.history.iter().any(|(stamp, content)| *stamp > since && content == seen)
            || record.perhaps.as_ref() == Some(seen)
            || seen.is_none() && self.perhaps_erased.contains(&key.0)
    }

    /// Whether a read that began at `since` may have seen this.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, key: &Key, since: u64, seen: &Content) -> Result<(), String> {
        if self.allows(key, since, seen) {
            return Ok(());
        }
        let is = self.records.get(key).map(|r| (r.history.last(), &r.perhaps));
        Err(format!("{key:?} was seen as {seen:?} and is {is:?}"))
    }

    /// Whether a record was gone for a moment: then it is two records to a list that was read page
    /// by page meanwhile, the later one below the other where the clock was set back.
    fn was_made_anew(&self, key: &Key, since: u64) -> bool {
        let gone = |(stamp, content): &(u64, Content)| *stamp > since && content.is_none();
        self.records.get(key).is_some_and(|record| record.history.iter().any(gone))
    }

    /// Whether a complete list that began at `since` may have been this.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_list(
        &self,
        user: usize,
        table: usize,
        since: u64,
        rows: &[(String, Seen)],
    ) -> Result<(), String> {
        let mut listed = BTreeMap::new();
        for (id, seen) in rows {
            let key = (user, table, id.clone());
            if let Some(first) = listed.insert(id.clone(), seen)
                && !self.was_made_anew(&key, since)
            {
                let both = format!("{first:?} and {seen:?}");
                return Err(format!("{id} of user {user} is in a list twice: {both}"));
            }
            if self.records.contains_key(&key) {
                self.check(&key, since, &Some(seen.clone()))?;
            } else {
                let insert = self.inserts.get(&seen.text);
                let fits = |i: &Insert| (i.user, i.table, &i.content) == (user, table, seen);
                if !insert.is_some_and(fits) {
                    return Err(format!("{key:?} in a list is nobody's: {seen:?}"));
                }
            }
        }
        for key in self.records.keys().filter(|(u, t, _)| (*u, *t) == (user, table)) {
            if !listed.contains_key(&key.2) {
                self.check(key, since, &None)?;
            }
        }
        Ok(())
    }

    /// A new process has begun: nobody is at anything.
    pub fn restart(&mut self) {
        self.under_way.clear();
        for record in self.records.values_mut() {
            record.busy = false;
        }
    }

    /// Of a user nothing is left, or everything: what a complete look after a start shows is what
    /// is so from now on. `lists` has the lists of all tables.
    ///
    /// # Errors
    /// Where some is there and some not.
    pub fn settle(&mut self, user: usize, lists: &[Vec<(String, Seen)>]) -> Result<(), String> {
        if self.perhaps_erased.contains(&user) {
            if lists.iter().all(Vec::is_empty) {
                self.erased(user, true);
            } else {
                self.perhaps_erased.retain(|other| *other != user);
            }
        }
        for (table, rows) in lists.iter().enumerate() {
            self.check_list(user, table, self.stamp, rows)?;
            for (id, seen) in rows {
                let key = (user, table, id.clone());
                if self.content(&key).as_ref() != Some(seen) {
                    self.inserts.remove(&seen.text);
                    self.set(&key, Some(seen.clone()));
                }
            }
            let listed = |id: &String| rows.iter().any(|(listed, _)| listed == id);
            let mine = self.records.iter().filter(|((u, t, _), _)| (*u, *t) == (user, table));
            let gone: Vec<Key> = mine
                .filter(|((_, _, id), record)| !listed(id) && record.now().is_some())
                .map(|(key, _)| key.clone())
                .collect();
            for key in gone {
                self.set(&key, None);
            }
        }
        self.inserts.retain(|_, insert| insert.user != user);
        for (key, record) in &mut self.records {
            if key.0 == user {
                record.perhaps = None;
            }
        }
        for keyed in self.keyed.values_mut().filter(|k| k.key.0 == user) {
            if let Some(made) = keyed.perhaps.take() {
                let now = self.records.get(&keyed.key).and_then(Record::now);
                keyed.took = Some(now == made);
            }
        }
        Ok(())
    }
}
