//! What a loaded partition does with a message: decides at once, in order, and hands the change
//! to the log. It does not wait for the log: whoever asked is answered from the log's own thread
//! when the change is durable.

mod learning;

use std::collections::HashSet;
use std::sync::Arc;

use super::ack::Ack;
use super::checkpoint::{Plan, Published};
use super::file::{BaseFile, LegacyFile};
use super::holdings::Holdings;
use super::load::Loaded;
use super::overlay::Overlay;
use super::rows::{Lookup, Need, Rows};
use super::scan::Progress;
use crate::actors::messages::{
    Change, Precondition, Remember, ReplyTo, SaveMode, Work, Write, Written, answer,
};
use crate::actors::registry::TableEntry;
use crate::actors::{Shared, StoreError, idempotency};
use crate::domain::{Micros, PartitionKey, RecordId, Row, Table};
use crate::log::payload::{OpRef, encode};
use crate::log::{Lsn, ReadPoint, Stream};

/// Share of all resident bytes that one partition's loaded row groups may take.
const SHARE: u64 = 4;

/// How long an idempotency key is remembered: 24 hours, in microseconds.
pub const REMEMBERED: i64 = 24 * 3600 * 1_000_000;

/// What became of a message.
pub enum Step {
    /// It is dealt with.
    Done,
    /// It goes on once this is read.
    Need(Need, Work),
}

/// A loaded partition.
pub struct Ready {
    /// Its rows.
    pub rows: Rows,
    /// Its file.
    pub file: Option<BaseFile>,
    /// The last LSN it appended or read.
    pub last_lsn: Lsn,
    /// The log epoch its state belongs to.
    pub epoch: u64,
    legacy: Vec<LegacyFile>,
    foreign_ids: u64,
    shared: Arc<Shared>,
    key: PartitionKey,
    entry: Arc<TableEntry>,
    stream: Stream,
    payload: Vec<u8>,
    learned: HashSet<Lsn>,
    holdings: Holdings,
}

impl Ready {
    /// The partition as it was loaded.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        key: PartitionKey,
        entry: Arc<TableEntry>,
        stream: Stream,
        loaded: Loaded,
    ) -> Self {
        let holdings = Holdings::new(&key, shared.usage(key.user()), &loaded);
        let Loaded { rows, file, legacy, last_lsn, epoch, replayed, .. } = loaded;
        let mut foreign_ids =
            file.as_ref().and_then(|f| f.view.footer()).map_or(0, |f| f.foreign_ids);
        if !legacy.is_empty() {
            let all = rows.groups().iter().filter_map(|g| g.loaded.as_ref()).flat_map(|r| r.iter());
            foreign_ids = all.filter(|r| rows.is_astray(r)).count() as u64;
        }
        // What the log had over the file comes into the next one.
        let replayed_rows = rows.active().changes().filter_map(|(_, row)| row.as_ref());
        foreign_ids += replayed_rows.filter(|row| rows.is_astray(row)).count() as u64;
        let learned = replayed.into_iter().collect();
        let payload = Vec::with_capacity(2048);
        Self {
            rows,
            file,
            last_lsn,
            epoch,
            legacy,
            foreign_ids,
            shared,
            key,
            entry,
            stream,
            payload,
            learned,
            holdings,
        }
    }

    /// Bytes in memory, about: rows, and the file's footer.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.bytes() + self.file.as_ref().map_or(0, |file| file.view.memory())
    }

    /// Enters what the partition holds in its user's book, where there is one.
    pub fn report(&self) {
        self.holdings.report(|| {
            let unsaved = self.rows.active().bytes() + self.rows.frozen().map_or(0, Overlay::bytes);
            self.file.as_ref().map_or(0, |file| file.len) + unsaved as u64
        });
    }

    /// What an answer given now rests on.
    #[must_use]
    pub fn read_point(&self) -> ReadPoint {
        ReadPoint { epoch: self.epoch, lsn: self.last_lsn }
    }

    /// Whether something is not in the file yet.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.rows.active().is_empty() || self.rows.frozen().is_some()
    }

    /// Whether files of the Python service make up the base.
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        !self.legacy.is_empty()
    }

    /// Deals with one message.
    pub fn step(&mut self, work: Work) -> Step {
        match work {
            Work::Write(write) => self.write(write),
            Work::Get { id, reply } => match self.find(&id) {
                Lookup::Found(row) => self.reply(reply, Ok(row)),
                Lookup::Absent => self.reply(reply, Err(StoreError::NotFound)),
                Lookup::Need(need) => Step::Need(need, Work::Get { id, reply }),
            },
            Work::Scan { mut scan, reply } => {
                scan.go_on_in(self.epoch);
                match scan.advance(&mut self.rows) {
                    Progress::Enough | Progress::End => {
                        let found = std::mem::take(&mut scan.found);
                        self.reply(reply, Ok(found))
                    }
                    Progress::Need(need) => Step::Need(need, Work::Scan { scan, reply }),
                }
            }
            Work::ForeignIds { read, reply } => self.foreign_ids(read, reply),
            Work::Weigh { reply } => {
                self.report();
                self.reply(reply, Ok(()))
            }
            Work::Learn { row, lsn, epoch } => {
                // Of an earlier epoch, the load found it in the log, or it was taken back.
                if epoch == self.epoch {
                    self.learn(row, lsn);
                }
                Step::Done
            }
            other => {
                other.fail(StoreError::Internal, self.read_point());
                Step::Done
            }
        }
    }

    fn reply<T>(&self, reply: ReplyTo<T>, result: Result<T, StoreError>) -> Step {
        answer(reply, result, self.read_point());
        Step::Done
    }

    fn find(&mut self, id: &RecordId) -> Lookup {
        match self.rows.lookup(id) {
            Lookup::Found(row) if self.is_expired(&row) => Lookup::Absent,
            other => other,
        }
    }

    fn is_expired(&self, row: &Row) -> bool {
        self.key.table() == Table::Idempotency
            && row.created_at.get() + REMEMBERED < self.shared.env.clock.now().get()
    }

    fn foreign_ids(
        &mut self,
        read: Option<(u64, Vec<RecordId>)>,
        reply: ReplyTo<Vec<RecordId>>,
    ) -> Step {
        let mut ids: Vec<RecordId> = Vec::new();
        if self.foreign_ids > 0 {
            let loaded: Option<Vec<_>> =
                self.rows.groups().iter().map(|group| group.loaded.as_ref()).collect();
            match (read, loaded) {
                (Some((generation, read)), _) if generation == self.rows.generation() => {
                    ids.extend(read);
                }
                (_, Some(groups)) => {
                    ids.extend(groups.iter().flat_map(|rows| rows.iter().map(|r| r.id.clone())));
                }
                // The ids alone: all rows at once may be more than memory is to hold.
                (_, None) => {
                    return Step::Need(Need::ForeignIds, Work::ForeignIds { read: None, reply });
                }
            }
            ids.retain(|id| self.rows.is_foreign(id));
        }
        let unsaved = [Some(self.rows.active()), self.rows.frozen()];
        let unsaved = unsaved.into_iter().flatten().flat_map(|o| o.changes().map(|(id, _)| id));
        ids.extend(unsaved.filter(|id| self.rows.is_foreign(id)).cloned());
        self.reply(reply, Ok(ids))
    }

    fn write(&mut self, write: Box<Write>) -> Step {
        let now = self.shared.env.clock.now();
        match &write.change {
            Change::Put(_) => self.put(*write),
            Change::Delete(id) => match self.find(&id.clone()) {
                Lookup::Found(row) => self.delete(*write, &row),
                Lookup::Absent => self.reply(write.reply, Err(StoreError::NotFound)),
                Lookup::Need(need) => Step::Need(need, Work::Write(write)),
            },
            Change::Reseal { id, .. } => match self.find(&id.clone()) {
                Lookup::Found(row) => self.reseal(*write, &row),
                Lookup::Absent => self.reply(write.reply, Err(StoreError::NotFound)),
                Lookup::Need(need) => Step::Need(need, Work::Write(write)),
            },
            // A record that is yet to be made is not the one the caller expects.
            Change::Save { mode: SaveMode::Insert, .. }
                if write.precondition != Precondition::None =>
            {
                self.reply(write.reply, Err(StoreError::NotFound))
            }
            Change::Save { id, mode: SaveMode::Insert, .. } => {
                let id = id.clone();
                self.insert(*write, id, now)
            }
            Change::Save { id, mode, .. } => {
                let (id, mode) = (id.clone(), *mode);
                match self.find(&id) {
                    Lookup::Found(row) => self.update(*write, &row, now),
                    Lookup::Absent
                        if mode == SaveMode::Upsert && write.precondition == Precondition::None =>
                    {
                        self.insert(*write, id, now)
                    }
                    Lookup::Absent => self.reply(write.reply, Err(StoreError::NotFound)),
                    Lookup::Need(need) => Step::Need(need, Work::Write(write)),
                }
            }
        }
    }

    fn insert(&mut self, write: Write, id: RecordId, now: Micros) -> Step {
        let Change::Save { patch, created_at, mode, .. } = write.change else {
            return Step::Done;
        };
        let fresh = mode == SaveMode::Insert;
        if patch.unsealed().is_some() {
            return self.reply(write.reply, Err(StoreError::Internal));
        }
        if let Err(error) = patch.check_insert() {
            return self.reply(write.reply, Err(error.into()));
        }
        let ignored = patch.ignored_on_create();
        // Without a time of the client's the record is new in both senses at one moment.
        let now = if patch.created_at.is_some() { now } else { created_at };
        let row = patch.created(id, created_at, now);
        if let Err(error) = self.holdings.make_room(&row, None) {
            return self.reply(write.reply, Err(error));
        }
        let written =
            Written { id: row.id.clone(), created: true, version: 1, status: None, ignored };
        self.commit(&row.id.clone(), Some(row), fresh, written, write.remember, write.reply)
    }

    fn update(&mut self, write: Write, row: &Row, now: Micros) -> Step {
        let Change::Save { patch, names_status, .. } = write.change else { return Step::Done };
        if patch.unsealed().is_some() {
            return self.reply(write.reply, Err(StoreError::Internal));
        }
        let checked = write.precondition.check(row.version);
        if let Err(error) = checked.and_then(|()| Ok(patch.check_update(&row.id)?)) {
            return self.reply(write.reply, Err(error));
        }
        let next = patch.updated(row, now);
        let merged = patch.check_merged(row, &next).map_err(StoreError::from);
        if let Err(error) = merged.and_then(|()| self.holdings.make_room(&next, Some(row))) {
            return self.reply(write.reply, Err(error));
        }
        let written = Written {
            id: next.id.clone(),
            created: false,
            version: next.version,
            status: names_status.then(|| next.text("status").unwrap_or_default().to_owned()),
            ignored: patch.ignored(row),
        };
        self.commit(&next.id.clone(), Some(next), false, written, write.remember, write.reply)
    }

    fn reseal(&mut self, write: Write, row: &Row) -> Step {
        let Change::Reseal { id, was, sealed } = write.change else { return Step::Done };
        let version = row.version;
        if row.sealed() != Some(&*was) {
            let late = StoreError::VersionMismatch { current: version };
            return self.reply(write.reply, Err(late));
        }
        let mut next = row.edit();
        next.set_sealed(Some(sealed.bytes.clone()));
        let next = next.finish(id.clone(), row.created_at, row.updated_at, version);
        let written =
            Written { id: id.clone(), created: false, version, status: None, ignored: Vec::new() };
        self.commit(&id, Some(next), false, written, write.remember, write.reply)
    }

    fn delete(&mut self, write: Write, row: &Row) -> Step {
        if let Err(error) = write.precondition.check(row.version) {
            return self.reply(write.reply, Err(error));
        }
        let (id, version) = (row.id.clone(), row.version);
        let written =
            Written { id: id.clone(), created: false, version, status: None, ignored: Vec::new() };
        self.commit(&id, None, false, written, write.remember, write.reply)
    }

    fn put(&mut self, write: Write) -> Step {
        let Change::Put(row) = write.change else { return Step::Done };
        let (id, version) = (row.id.clone(), row.version);
        let written =
            Written { id: id.clone(), created: true, version, status: None, ignored: Vec::new() };
        self.commit(&id, Some(*row), false, written, write.remember, write.reply)
    }

    /// Hands a change to the log and takes it into memory. The caller is answered when the log
    /// is durable through it; on a refusal at once, and nothing is changed. `fresh` says that
    /// the id was made for this very change.
    fn commit(
        &mut self,
        id: &RecordId,
        row: Option<Row>,
        fresh: bool,
        written: Written,
        remember: Option<Remember>,
        reply: ReplyTo<Written>,
    ) -> Step {
        let (remembered, ticket) = match remember {
            Some(Remember { row, ticket }) => (Some(Arc::new(row(&written))), Some(ticket)),
            None => (None, None),
        };
        self.payload.clear();
        let now = self.shared.env.clock.now();
        let op = row.as_ref().map_or(OpRef::Delete(id), OpRef::Put);
        let ledger = remembered.as_ref().map(|_| {
            self.shared.log.stream(&PartitionKey::whole(self.key.user(), Table::Idempotency))
        });
        match (&remembered, &ledger) {
            (Some(more), Some(_)) => encode(&[op, OpRef::Put(more)], now, &mut self.payload),
            _ => encode(&[op], now, &mut self.payload),
        }
        let streams: &[&Stream] = match &ledger {
            Some(ledger) => &[&self.stream, ledger],
            None => &[&self.stream],
        };
        let created = written.created;
        let deleted = row.is_none();
        let ack = Ack { written, reply };
        // A refusal was told to the writer by the log itself, and nothing was changed.
        if let Ok(lsn) = self.shared.log.append(self.epoch, streams, &self.payload, ack) {
            self.last_lsn = lsn;
            if row.as_ref().is_some_and(|row| self.rows.is_astray(row)) {
                self.foreign_ids += 1;
            }
            match row {
                Some(row) if fresh => self.rows.insert(Arc::new(row), lsn.get()),
                row => self.rows.apply(id, row.map(Arc::new), lsn.get()),
            }
            self.holdings.changed(created, deleted);
            self.shared.registry.changed(&self.entry);
            if let (Some(row), Some(ticket)) = (remembered, ticket) {
                let at = (lsn, self.epoch);
                idempotency::tell(&self.shared, self.key.user(), row, at, ticket);
            }
        }
        self.report();
        Step::Done
    }

    fn file_lsn(&self) -> Lsn {
        let footer = self.file.as_ref().and_then(|f| f.view.footer());
        Lsn::new(
            footer.filter(|f| f.log_id == self.shared.log.log_id()).map_or(0, |f| f.applied_lsn),
        )
    }

    /// Sets the unsaved changes aside and says what the checkpoint must write.
    pub fn freeze(&mut self) -> Plan {
        let mut upserts = Vec::new();
        let mut deletes = HashSet::new();
        let mut fresh = HashSet::new();
        let mut through = self.file_lsn();
        let now = self.shared.env.clock.now().get();
        let expires = self.key.table() == Table::Idempotency;
        if !self.legacy.is_empty() {
            let all = self.rows.groups().iter().filter_map(|g| g.loaded.as_ref());
            let kept = all.flat_map(|rows| rows.iter()).filter(|r| !self.rows.is_shadowed(&r.id));
            upserts.extend(kept.cloned());
        }
        self.rows.freeze();
        if let Some(frozen) = self.rows.frozen() {
            through = through.max(Lsn::new(frozen.max_lsn()));
            fresh.extend(frozen.fresh().cloned());
            for (id, row) in frozen.changes() {
                match row {
                    Some(row) if !(expires && row.created_at.get() + REMEMBERED < now) => {
                        upserts.push(Arc::clone(row));
                    }
                    _ => {
                        deletes.insert(id.clone());
                    }
                }
            }
        }
        if expires {
            // What another partition has logged here and not told yet must stay in the log.
            let mut untold = self.shared.log.unpublished(&self.key).into_iter().map(|at| at.lsn());
            if let Some(first) = untold.find(|lsn| !self.learned.contains(lsn)) {
                through = through.min(Lsn::new(first.get() - 1));
            }
        }
        self.learned.retain(|lsn| *lsn > through);
        let expired_before = expires.then(|| Micros::new(now - REMEMBERED));
        Plan {
            key: self.key.clone(),
            file: self.file.clone(),
            upserts,
            deletes,
            fresh,
            legacy: self.legacy.clone(),
            through: ReadPoint { epoch: self.epoch, lsn: through },
            foreign_ids: self.foreign_ids,
            expired_before,
        }
    }

    /// Takes a written checkpoint as the new base.
    pub fn install(&mut self, published: Published) {
        self.rows.install_base(published.groups, published.foreign_ids);
        self.file = Some(published.file);
        self.legacy.clear();
        self.evict();
    }

    /// Drops row groups that take more than this partition's share of memory.
    pub fn evict(&mut self) {
        if self.file.is_some() && self.legacy.is_empty() {
            let share =
                usize::try_from(self.shared.limits.resident_bytes / SHARE).unwrap_or(usize::MAX);
            self.rows.evict_groups(share);
        }
    }
}
