//! The catalog of one user's monthly table: which months there are, and where ids live that do
//! not tell their month.
//!
//! Saves that bring an id go through here, so that `(user, table, id)` stays unique over all
//! months: saves of one id wait for each other, those of different ids do not. Server-made ids
//! never come here to be saved. Everything in it can be made again from folders, log and
//! partitions.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};

use super::StoreError;
use super::messages::{Answer, Change, ReplyTo, SaveMode, Work, Write, Written, answer};
use super::shared::Shared;
use super::supervisor::Door;
use crate::domain::{Micros, Month, PartitionKey, RecordId, Table, UserId};
use crate::log::ReadPoint;
use crate::storage::{StorageError, archived_months, layout, table_months};

/// The months of a table, newest first.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Months {
    /// Where the answer goes.
    pub reply: ReplyTo<Vec<Month>>,
}

/// The months an id may live in, likeliest first.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Locate {
    /// The id.
    pub id: RecordId,
    /// Where the answer goes.
    pub reply: ReplyTo<Vec<Month>>,
}

/// A partition is about to run, and may be about to hold its first row.
#[derive(Message)]
#[rtype(result = "()")]
pub struct MonthOpened {
    /// Its month.
    pub month: Month,
}

/// A save that brings an id.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SaveBrought(pub Box<Write>);

/// Stop, unless there is work under way. The catalog is made again when somebody asks.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

enum Request {
    Months(Months),
    Locate(Locate),
    Save(Box<Write>),
}

/// The actor.
pub struct Catalog {
    shared: Arc<Shared>,
    door: Door,
    user: UserId,
    table: Table,
    hasher: RandomState,
    months: Option<BTreeSet<Month>>,
    /// Months by hash of the id; read when first needed.
    foreign: Option<HashMap<u64, Vec<Month>>>,
    waiting: Vec<Request>,
    opened: Vec<Month>,
    loading: bool,
    /// Ids being saved, and the saves that wait for them.
    busy: HashMap<RecordId, VecDeque<Box<Write>>>,
    queued: usize,
    /// It was told to stop, and nobody finds it any more: what still comes goes to the next one.
    /// It ends with the last address of it.
    left: bool,
}

struct Read {
    months: BTreeSet<Month>,
    foreign: Option<Vec<(RecordId, Month)>>,
}

impl Catalog {
    /// The catalog of a user's monthly table.
    #[must_use]
    pub fn new(shared: Arc<Shared>, door: Door, user: UserId, table: Table) -> Self {
        Self {
            shared,
            door,
            user,
            table,
            hasher: RandomState::new(),
            months: None,
            foreign: None,
            waiting: Vec::new(),
            opened: Vec::new(),
            loading: false,
            busy: HashMap::new(),
            queued: 0,
            left: false,
        }
    }

    /// Hands a request that came after the end to the catalog that follows.
    fn forward(&self, request: Request) {
        let (door, user, table) = (self.door.clone(), self.user.clone(), self.table);
        actix::spawn(async move {
            let next = match door.catalog(&user, table).await {
                Ok(next) => next,
                Err(error) => return fail(request, error),
            };
            let full = match request {
                Request::Months(m) => {
                    next.try_send(m).err().map(|e| Request::Months(e.into_inner()))
                }
                Request::Locate(l) => {
                    next.try_send(l).err().map(|e| Request::Locate(e.into_inner()))
                }
                Request::Save(write) => {
                    let sent = next.try_send(SaveBrought(write));
                    sent.err().map(|e| Request::Save(e.into_inner().0))
                }
            };
            if let Some(request) = full {
                fail(request, StoreError::Overloaded);
            }
        });
    }

    fn serve(&mut self, request: Request, ctx: &mut Context<Self>) {
        if self.left {
            return self.forward(request);
        }
        let ids = match &request {
            Request::Months(_) => false,
            Request::Locate(_) | Request::Save(_) => true,
        };
        if self.months.is_none() || (ids && self.foreign.is_none()) {
            if self.waiting.len() >= self.shared.limits.mailbox {
                return fail(request, StoreError::Overloaded);
            }
            self.waiting.push(request);
            return self.read(ids, ctx);
        }
        match request {
            Request::Months(Months { reply }) => {
                let months = self.months.iter().flatten().rev().copied().collect();
                answer(reply, Ok(months), ReadPoint::NONE);
            }
            Request::Locate(Locate { id, reply }) => {
                answer(reply, Ok(self.locate(&id)), ReadPoint::NONE);
            }
            Request::Save(write) => self.save(write, ctx),
        }
    }

    fn read(&mut self, ids: bool, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.loading, true) {
            return;
        }
        let reading =
            read(Arc::clone(&self.shared), self.door.clone(), self.user.clone(), self.table, ids);
        ctx.spawn(reading.into_actor(self).map(|read, act, ctx| {
            act.loading = false;
            let waiting = std::mem::take(&mut act.waiting);
            match read {
                Ok(read) => act.take(read),
                Err(error) => return waiting.into_iter().for_each(|r| fail(r, error.clone())),
            }
            for request in waiting {
                act.serve(request, ctx);
            }
        }));
    }

    fn take(&mut self, read: Read) {
        let mut months = read.months;
        months.extend(self.opened.drain(..));
        months.extend(self.months.take().unwrap_or_default());
        self.months = Some(months);
        if let Some(ids) = read.foreign {
            self.foreign = Some(HashMap::with_capacity(ids.len()));
            for (id, month) in ids {
                self.note(&id, month);
            }
        }
    }

    fn note(&mut self, id: &RecordId, month: Month) {
        let hash = self.hasher.hash_one(id);
        if let Some(foreign) = &mut self.foreign {
            let months = foreign.entry(hash).or_default();
            if !months.contains(&month) {
                months.push(month);
            }
        }
    }

    fn locate(&self, id: &RecordId) -> Vec<Month> {
        let told =
            id.month(self.table).filter(|m| self.months.as_ref().is_some_and(|s| s.contains(m)));
        let hash = self.hasher.hash_one(id);
        let noted = self.foreign.as_ref().and_then(|f| f.get(&hash)).into_iter().flatten().copied();
        let mut months: Vec<Month> = told.into_iter().collect();
        months.extend(noted.filter(|m| Some(*m) != told));
        months
    }

    fn save(&mut self, write: Box<Write>, ctx: &mut Context<Self>) {
        let Change::Save { id, created_at, .. } = &write.change else {
            return answer(write.reply, Err(StoreError::Internal), ReadPoint::NONE);
        };
        let (id, created_at) = (id.clone(), *created_at);
        if let Some(waiting) = self.busy.get_mut(&id) {
            if self.queued >= self.shared.limits.mailbox {
                return answer(write.reply, Err(StoreError::Overloaded), ReadPoint::NONE);
            }
            self.queued += 1;
            waiting.push_back(write);
            return;
        }
        self.busy.insert(id.clone(), VecDeque::new());
        let saving =
            save(self.door.clone(), self.user.clone(), self.table, self.locate(&id), *write);
        ctx.spawn(saving.into_actor(self).map(move |inserted, act, ctx| {
            if let (true, Some(month)) = (inserted, Month::of(created_at)) {
                act.months.get_or_insert_default().insert(month);
                if id.month(act.table) != Some(month) {
                    act.note(&id, month);
                }
            }
            let mut waiting = act.busy.remove(&id).unwrap_or_default();
            act.queued -= waiting.len();
            if let Some(next) = waiting.pop_front() {
                act.save(next, ctx);
                for later in waiting {
                    act.save(later, ctx);
                }
            }
        }));
    }
}

fn fail(request: Request, error: StoreError) {
    match request {
        Request::Months(Months { reply }) | Request::Locate(Locate { reply, .. }) => {
            answer(reply, Err(error), ReadPoint::NONE);
        }
        Request::Save(write) => answer(write.reply, Err(error), ReadPoint::NONE),
    }
}

/// Saves where the id lives, or else in the month of `created_at`; answers the writer, and here
/// whether the record is new.
async fn save(door: Door, user: UserId, table: Table, lives: Vec<Month>, write: Write) -> bool {
    let Write { change, precondition, remember, reply } = write;
    let Change::Save { id, created_at, patch, names_status, .. } = change else { return false };
    let attempt = |month: Month, mode: SaveMode, remember| {
        let key = PartitionKey::monthly(&user, table, month);
        let change =
            Change::Save { id: id.clone(), created_at, patch: patch.clone(), mode, names_status };
        let (door, precondition) = (door.clone(), precondition.clone());
        async move {
            let make =
                |reply| Work::Write(Box::new(Write { change, precondition, remember, reply }));
            door.ask::<Written>(&key, make).await
        }
    };
    for month in lives {
        let found = door
            .ask(&PartitionKey::monthly(&user, table, month), |reply| Work::Get {
                id: id.clone(),
                reply,
            })
            .await;
        match found.result {
            Err(StoreError::NotFound) => {}
            Err(error) => {
                answer(reply, Err(error), found.as_of);
                return false;
            }
            Ok(_) => {
                let Answer { result, as_of } = attempt(month, SaveMode::Update, remember).await;
                // Deleted in between: whoever asked may simply ask again.
                let gone = matches!(result, Err(StoreError::NotFound));
                answer(reply, if gone { Err(StoreError::Overloaded) } else { result }, as_of);
                return false;
            }
        }
    }
    let Some(month) = Month::of(created_at) else {
        answer(reply, Err(StoreError::Internal), ReadPoint::NONE);
        return false;
    };
    let Answer { result, as_of } = attempt(month, SaveMode::Upsert, remember).await;
    let inserted = result.is_ok();
    answer(reply, result, as_of);
    inserted
}

async fn read(
    shared: Arc<Shared>,
    door: Door,
    user: UserId,
    table: Table,
    ids: bool,
) -> Result<Read, StoreError> {
    // Running partitions first, folders second: one that stops in between has written its file.
    let mut months: BTreeSet<Month> =
        shared.registry.of_user(&user, Some(table)).iter().filter_map(|s| s.key.month()).collect();
    months.extend(
        shared.log.unpublished_partitions(&user, table).iter().filter_map(PartitionKey::month),
    );
    let (storage, whose) = (Arc::clone(&shared.storage), user.clone());
    let folders = async move {
        let stored = table_months(storage.as_ref(), &whose, table).await?;
        Ok((stored, archived_months(storage.as_ref(), &whose, table).await?))
    };
    let looked = shared.env.in_one_job(folders).await;
    let looked = looked.map_err(|_| StoreError::StorageFailed)?;
    let (stored, archived) = looked.map_err(|error| {
        if !matches!(error, StorageError::NotAFolder) {
            return StoreError::StorageFailed;
        }
        let folder = layout::user_folder(&user, table);
        shared.unreadable.report(folder.as_str(), None, "something in it or it is no folder");
        StoreError::PartitionCorrupt
    })?;
    months.extend(stored.iter().chain(&archived));
    for month in archived {
        note_archived(&shared, &PartitionKey::monthly(&user, table, month)).await?;
    }
    let mut foreign = None;
    if ids {
        let mut all = Vec::new();
        for month in &months {
            let key = PartitionKey::monthly(&user, table, *month);
            let found = door.ask(&key, |reply| Work::ForeignIds { read: None, reply }).await;
            all.extend(found.result?.into_iter().map(|id| (id, *month)));
        }
        foreign = Some(all);
    }
    Ok(Read { months, foreign })
}

/// Notes a month that is in the archive alone. A running partition knows better, and says so.
async fn note_archived(shared: &Shared, key: &PartitionKey) -> Result<(), StoreError> {
    let failed = |_| StoreError::StorageFailed;
    let moving =
        || shared.registry.partition(key).is_some() || !shared.log.unpublished(key).is_empty();
    let elsewhere = layout::partition_file(key);
    if moving()
        || shared.storage.head(&elsewhere).await.map_err(failed)?.is_some()
        || shared.storage.head(&layout::archive_file(key)).await.map_err(failed)?.is_none()
    {
        return Ok(());
    }
    shared.archived.set(key, true);
    if moving() {
        shared.archived.set(key, false);
    }
    Ok(())
}

/// The earliest month a list can still need, given the oldest `created_at` it wants. Rows of the
/// Python service may lie a day outside their folder's month.
#[must_use]
pub fn may_hold(month: Month, after: Option<Micros>, before: Option<Micros>) -> bool {
    const DAY: i64 = 86_400_000_000;
    after.is_none_or(|at| month.end().get() + DAY > at.get())
        && before.is_none_or(|at| month.start().get() - DAY < at.get())
}

impl Actor for Catalog {
    type Context = Context<Self>;
}

impl Handler<Months> for Catalog {
    type Result = ();
    fn handle(&mut self, months: Months, ctx: &mut Context<Self>) {
        self.serve(Request::Months(months), ctx);
    }
}

impl Handler<Locate> for Catalog {
    type Result = ();
    fn handle(&mut self, locate: Locate, ctx: &mut Context<Self>) {
        self.serve(Request::Locate(locate), ctx);
    }
}

impl Handler<SaveBrought> for Catalog {
    type Result = ();
    fn handle(&mut self, SaveBrought(write): SaveBrought, ctx: &mut Context<Self>) {
        self.serve(Request::Save(write), ctx);
    }
}

impl Handler<MonthOpened> for Catalog {
    type Result = ();
    fn handle(&mut self, MonthOpened { month }: MonthOpened, _: &mut Context<Self>) {
        match &mut self.months {
            Some(months) => {
                months.insert(month);
            }
            None => self.opened.push(month),
        }
    }
}

impl Handler<Stop> for Catalog {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        if self.busy.is_empty() && !self.loading {
            self.shared.registry.leave_catalog(&(self.user.clone(), self.table), &ctx.address());
            self.left = true;
        }
    }
}
