//! One run: processes one after another over one disk, each ended by the work's end, a kill or a
//! power loss; after each start everything is compared with the model.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use audience_store::actors::Threads;
use audience_store::app;
use audience_store::audit::{Audit, Bounds};
use audience_store::cli::{StoreSettings, SyncMode};
use audience_store::crypto::KeySettings;
use audience_store::domain::{Micros, Row, Table};
use audience_store::parquet::{Fetched, FileView, decode_group};
use bytes::Bytes;
use futures_util::future::join_all;

use crate::client::Client;
use crate::dice::{Dice, own_this_thread};
use crate::disk::{Disk, Faults, Stop};
use crate::durable;
use crate::machine::{End, Machine};
use crate::model::Model;
use crate::plan::Plan;
use crate::trace::{Trace, digest};

/// How often a read that must work is tried.
const ATTEMPTS: usize = 60;
pub const DATA: &str = "data";
/// Just before a month ends.
const BEGIN: &str = "2025-03-31T23:58:00Z";

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was wrong.
    pub wrong: Option<String>,
    /// The whole run as one number, and how many events it had.
    pub sum: (u64, u64),
    /// Changes that were acknowledged.
    pub acknowledged: u64,
    /// The last events, where they were asked for.
    pub text: Vec<String>,
}

/// Runs a plan on a thread of its own.
pub fn run(plan: &Plan, text: bool) -> Outcome {
    let plan = plan.clone();
    let thread = std::thread::spawn(move || {
        own_this_thread(plan.seed);
        Run::new(plan, text).all()
    });
    thread.join().unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        let wrong = Some(format!("panicked: {}", said.unwrap_or_default()));
        Outcome { wrong, sum: (0, 0), acknowledged: 0, text: Vec::new() }
    })
}

struct Run {
    plan: Plan,
    dice: Dice,
    disk: Disk,
    trace: Trace,
    model: Rc<RefCell<Model>>,
    wrong: Rc<RefCell<Option<String>>>,
    wall: Micros,
}

fn settings(plan: &Plan) -> StoreSettings {
    StoreSettings {
        max_page: 1 << 20,
        quota_audiences: 0,
        quota_bytes: 0,
        data: PathBuf::from(DATA),
        sync: SyncMode::Always,
        checkpoint_interval: plan.checkpoint_interval,
        checkpoint_bytes: 4096,
        checkpoint_concurrency: 2,
        log_segment_bytes: plan.segment_bytes,
        log_keep_bytes: 0,
        log_max_bytes: plan.segment_bytes * 24,
        disk_reserve: 1,
        resident_bytes: plan.resident_bytes,
        resident_partitions: 4,
        idle_timeout: Duration::from_millis(700),
        cache_bytes: 1 << 16,
        mailbox: 16,
        arbiters: 1,
        keys: KeySettings { file: "keys/ring.json".into(), environment: None },
    }
}

impl Run {
    fn new(plan: Plan, text: bool) -> Self {
        let trace = Trace::new(text);
        let dice = Dice::new(plan.seed, 2);
        let disk = Disk::new(Dice::new(plan.seed, 3), trace.clone());
        let wall = Micros::parse(BEGIN).expect("time");
        let (model, wrong) = (Rc::default(), Rc::default());
        Self { plan, dice, disk, trace, model, wrong, wall }
    }

    fn all(self) -> Outcome {
        let wrong = self.lives().err();
        for (path, bytes) in self.disk.files() {
            self.trace.event(digest(&bytes), &path);
        }
        let acknowledged = self.model.borrow().acknowledged;
        Outcome { wrong, sum: self.trace.sum(), acknowledged, text: self.trace.text() }
    }

    fn lives(&self) -> Result<(), String> {
        let mut wall = self.wall;
        for life in 0..self.plan.lives {
            wall = self.life(wall, false).map_err(|e| format!("life {life}: {e}"))?;
            let jump = i64::try_from(self.dice.roll(60 * 60 * 4)).expect("jump") - 60 * 60;
            wall = Micros::new(wall.get() + jump * 1_000_000);
        }
        // Twice: what the first one wrote to files, the second one reads from them alone.
        wall = self.life(wall, true).map_err(|e| format!("at the end: {e}"))?;
        self.life(wall, true).map_err(|e| format!("from the files: {e}"))?;
        Ok(())
    }

    /// One process; answers where the wall clock is then.
    fn life(&self, wall: Micros, last: bool) -> Result<Micros, String> {
        readable(&self.disk)?;
        self.model.borrow_mut().restart();
        let machine = Machine::start(&self.disk, &self.dice, &self.trace, wall, self.plan.longest);
        let troubled = !last && self.dice.hits(1, 4);
        self.disk.set(if troubled { self.plan.faults } else { Faults::default() });
        let stops = !last && self.dice.hits(self.plan.stops_in_ten, 10);
        self.disk.stop_after(stops.then(|| self.dice.roll(self.plan.stop_within)));
        let end = match self.open(&machine, troubled)? {
            Some(opened) => self.work(&machine, opened, last)?,
            None => End::Stopped,
        };
        let wall = machine.now();
        self.disk.set(Faults::default());
        if end == End::Stuck {
            return Err("nothing happened any more".to_owned());
        }
        // Before anything is let go: nothing of the process writes after its end.
        self.disk.die();
        drop(machine);
        let loses = self.dice.hits(self.plan.loses_in_ten, 10);
        self.disk.restart(if loses { Stop::PowerLoss } else { Stop::Kill });
        Ok(wall)
    }

    /// Opens the store; `None` where the machine stopped meanwhile.
    fn open(&self, machine: &Machine, troubled: bool) -> Result<Option<app::Opened>, String> {
        let settings = settings(&self.plan);
        let open = || machine.block(|| app::open(&machine.env, &settings, &mut |_, _| {}));
        let mut opened = open();
        if opened.is_err() && troubled && !self.disk.is_dead() {
            self.disk.set(Faults::default());
            opened = open();
        }
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(_) if self.disk.is_dead() => Ok(None),
            Err(error) => Err(format!("the store does not open: {error}")),
        }
    }

    fn work(&self, machine: &Machine, opened: app::Opened, last: bool) -> Result<End, String> {
        let client = |store| Client {
            store,
            model: Rc::clone(&self.model),
            disk: self.disk.clone(),
            dice: self.dice.clone(),
            trace: self.trace.clone(),
            users: self.plan.users,
            wrong: Rc::clone(&self.wrong),
            pause: self.plan.pause,
            fills: self.plan.fills && !last,
        };
        let (env, wrong, plan) = (machine.env.clone(), Rc::clone(&self.wrong), self.plan.clone());
        let (disk, dice) = (self.disk.clone(), self.dice.clone());
        let make = client;
        let folder = PathBuf::from(DATA);
        let (clients, requests) = if last { (1, 0) } else { (plan.clients, plan.requests) };
        let (made, store_made) = tokio::sync::oneshot::channel();
        let shared = std::sync::Arc::clone(&opened.shared);
        let report = opened.report.clone();
        let begin = async move {
            let audit = Audit::start(&env, &folder, Bounds { file_bytes: 1 << 16, files: 2 });
            let store = app::begin(shared, &report, audit, Threads::current()).await;
            // The other end waits for it.
            let _ = made.send(store);
        };
        let removals = || self.check_removals();
        match machine.run(begin, &removals) {
            End::Done => {}
            other => return Ok(other),
        }
        let store = store_made.blocking_recv().map_err(|e| e.to_string())?;
        let client = make(store.clone());
        let closes = last || dice.hits(1, 3);
        let work = async move {
            let done = async {
                verify(&client).await?;
                disk.set(if last { Faults::default() } else { plan.faults });
                let share = requests.div_ceil(clients);
                join_all((0..clients).map(|_| client.clone().run(share))).await;
                if last {
                    disk.set(Faults::default());
                    settle(&client).await?;
                    verify(&client).await?;
                }
                Ok::<_, String>(())
            };
            if let Err(error) = done.await {
                client.wrong.borrow_mut().get_or_insert(error);
            }
            if client.wrong.borrow().is_none() && closes {
                let closed = client.store.close(Duration::from_mins(1)).await;
                if last && let Err(error) = closed {
                    let said = format!("closing a sound store: {error:?}");
                    client.wrong.borrow_mut().get_or_insert(said);
                }
            }
        };
        let end = machine.run(work, &removals);
        drop(opened);
        match wrong.borrow().clone() {
            Some(wrong) => Err(wrong),
            None => Ok(end),
        }
    }

    /// Where a file was removed, everything is still on the disk.
    fn check_removals(&self) {
        if self.disk.has_removed()
            && let Err(error) = durable::check(&self.disk, &self.model.borrow(), self.plan.users)
        {
            self.wrong.borrow_mut().get_or_insert(format!("after a removal: {error}"));
        }
    }
}

/// Everything is as the model says.
async fn verify(client: &Client) -> Result<(), String> {
    for user in 0..client.users {
        let mut lists = Vec::new();
        for table in 0..Table::PUBLIC.len() {
            // Attempts are given, so that a list there is.
            lists.push(client.list(user, table, Some(ATTEMPTS)).await?.unwrap_or_default());
        }
        client.model.borrow_mut().settle(user, &lists)?;
    }
    Ok(())
}

/// Everything reaches its files, which then hold what the model does.
async fn settle(client: &Client) -> Result<(), String> {
    let mut left = ATTEMPTS;
    while let Err(error) = client.store.checkpoint(false).await {
        left -= 1;
        if left == 0 {
            return Err(format!("no checkpoint on a sound disk: {error:?}"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let unreadable = client.store.readiness().unreadable;
    if !unreadable.is_empty() {
        return Err(format!("unreadable: {unreadable:?}"));
    }
    external(client)
}

/// A file and its rows, as a reader of the tree sees them.
///
/// # Errors
/// Where it cannot be read.
pub fn read_file(path: &str, bytes: Vec<u8>) -> Result<(FileView, Vec<Row>), String> {
    let bytes = Bytes::from(bytes);
    let says = |e: &dyn std::fmt::Display| format!("{path} cannot be read: {e}");
    let view = FileView::open(&bytes).map_err(|e| says(&e))?;
    let mut rows = Vec::new();
    for group in 0..view.groups().len() {
        let fetched =
            Fetched::read(&bytes, view.column_ranges(group, None)).map_err(|e| says(&e))?;
        rows.extend(decode_group(&view, group, &fetched, None).map_err(|e| says(&e))?);
    }
    Ok((view, rows))
}

/// Whether a path is that of a file in a table's folder.
pub fn of_a_table(path: &str) -> bool {
    Table::ALL.iter().any(|t| path.starts_with(&format!("{DATA}/{}/", t.spec().name)))
}

fn tables_files(disk: &Disk) -> Vec<(String, Vec<u8>)> {
    disk.files().into_iter().filter(|(path, _)| of_a_table(path)).collect()
}

/// Every file in the tables' folders is whole.
fn readable(disk: &Disk) -> Result<(), String> {
    tables_files(disk).into_iter().try_for_each(|(path, bytes)| read_file(&path, bytes).map(|_| ()))
}

/// The files hold what the model does.
fn external(client: &Client) -> Result<(), String> {
    let files = tables_files(&client.disk);
    for user in 0..client.users {
        for (number, table) in Table::PUBLIC.into_iter().enumerate() {
            let folder = format!("{DATA}/{}/user_id=user%2F{user}/", table.spec().name);
            let mut rows = Vec::new();
            for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with(&folder)) {
                let (_, read) = read_file(path, bytes.clone())?;
                rows.extend(
                    read.iter()
                        .map(|row| (row.id.as_str().to_owned(), crate::model::Seen::of(row))),
                );
            }
            let model = client.model.borrow();
            let checked = model.check_list(user, number, model.stamp(), &rows);
            checked.map_err(|e| format!("in files: {e}"))?;
        }
    }
    Ok(())
}
