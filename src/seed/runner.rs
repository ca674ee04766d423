//! Saving what the generator makes: many saves under way at once, in bounded memory.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use indicatif::{DecimalBytes, HumanCount};
use thiserror::Error;

use super::generator::{Generator, Record};
use crate::cli::progress::{Progress, per_second};
use crate::domain::Table;
use crate::env::Clock;

/// Where records go.
pub trait Sink {
    /// Why a record was not saved.
    type Error: std::error::Error + 'static;

    /// Saves one body. On success the record survives whatever the store's durability promises.
    /// Saves are under way at once and may overtake each other: a distribution may come before
    /// the audience it names. An overloaded store is waited for in here: an error ends the run.
    fn save(
        &self,
        table: Table,
        user: &str,
        body: &[u8],
    ) -> impl Future<Output = Result<(), Self::Error>>;
}

/// What to save.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What makes the records.
    pub generator: Generator,
    /// Users, numbered from 1.
    pub users: u64,
    /// Saves under way at once; 0 counts as 1. So many bodies are held in memory.
    pub concurrency: usize,
}

/// What a run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Users whose records are saved.
    pub users: u64,
    /// Records saved.
    pub records: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// From the first save's start to the last one's end.
    pub elapsed: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "saved {} records ({}) of {} users in {:.1} s: {} records/s",
            HumanCount(self.records),
            DecimalBytes(self.bytes),
            HumanCount(self.users),
            self.elapsed.as_secs_f64(),
            HumanCount(per_second(self.records, self.elapsed))
        )
    }
}

/// Why a run stopped early.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("after {saved} records, a record of {table} of {user} was not saved: {source}")]
pub struct RunError<E: std::error::Error + 'static> {
    /// Records saved before. Others may have been saved too: those under way at the error.
    pub saved: u64,
    /// The table of the record that was not saved.
    pub table: Table,
    /// Its user.
    pub user: String,
    /// What the sink said.
    pub source: E,
}

/// Saves the records of users 1 to `plan.users`, user after user.
///
/// # Errors
/// [`RunError`] at the first record that is not saved; saves under way are dropped.
pub async fn run<S: Sink>(
    plan: &Plan,
    sink: &S,
    clock: &dyn Clock,
    progress: &mut Progress,
) -> Result<Summary, RunError<S::Error>> {
    let total = plan.users.saturating_mul(plan.generator.records_a_user());
    let started = clock.monotonic();
    let elapsed = || clock.monotonic().saturating_sub(started);
    let records = (1..=plan.users).flat_map(|number| {
        let user: Rc<str> = plan.generator.user_id(number).into();
        plan.generator.records(number).map(move |record| (Rc::clone(&user), record))
    });
    let mut saves = stream::iter(records)
        .map(|(user, record)| save(sink, user, record))
        .buffer_unordered(plan.concurrency.max(1));
    let (mut done, mut bytes) = (0, 0);
    while let Some(outcome) = saves.next().await {
        match outcome {
            Ok(length) => {
                done += 1;
                bytes += length;
                progress.advance(done, total, elapsed());
            }
            Err((table, user, source)) => {
                progress.finish();
                return Err(RunError { saved: done, table, user: user.to_string(), source });
            }
        }
    }
    progress.finish();
    Ok(Summary { users: plan.users, records: done, bytes, elapsed: elapsed() })
}

async fn save<S: Sink>(
    sink: &S,
    user: Rc<str>,
    Record { table, body }: Record,
) -> Result<u64, (Table, Rc<str>, S::Error)> {
    match sink.save(table, &user, &body).await {
        Ok(()) => Ok(body.len() as u64),
        Err(source) => Err((table, user, source)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;
    use std::io;
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::super::generator::Options;
    use super::*;
    use crate::domain::Micros;

    /// A clock that goes on by a second with each look at it.
    struct Ticking(Mutex<u64>);

    impl Clock for Ticking {
        fn now(&self) -> Micros {
            Micros::new(0)
        }

        fn monotonic(&self) -> Duration {
            let mut ticks = self.0.lock().expect("clock");
            *ticks += 1;
            Duration::from_secs(*ticks)
        }
    }

    #[derive(Debug, Error, PartialEq, Eq)]
    #[error("the disk is full")]
    struct Full;

    /// Keeps what it is given; full after `room` records.
    struct Memory {
        room: usize,
        kept: RefCell<BTreeMap<(Table, String), usize>>,
        under_way: Cell<usize>,
        most: Cell<usize>,
    }

    impl Memory {
        fn new(room: usize) -> Self {
            let kept = RefCell::default();
            Self { room, kept, under_way: Cell::new(0), most: Cell::new(0) }
        }

        fn kept(&self) -> usize {
            self.kept.borrow().values().sum()
        }
    }

    impl Sink for Memory {
        type Error = Full;

        async fn save(&self, table: Table, user: &str, body: &[u8]) -> Result<(), Full> {
            self.under_way.set(self.under_way.get() + 1);
            self.most.set(self.most.get().max(self.under_way.get()));
            tokio::task::yield_now().await;
            self.under_way.set(self.under_way.get() - 1);
            if self.kept() == self.room {
                return Err(Full);
            }
            assert!(body.starts_with(b"{\"user_id\":"));
            *self.kept.borrow_mut().entry((table, user.to_owned())).or_default() += 1;
            Ok(())
        }
    }

    fn plan() -> Plan {
        let options = Options { audiences: 5, platforms: 2, distributions: 3, months: 12 };
        let generator = Generator::new(1, options, Micros::new(1_700_000_000_000_000));
        Plan { generator, users: 4, concurrency: 3 }
    }

    /// Where progress lines go.
    struct Lines(mpsc::Sender<u8>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            for byte in bytes {
                self.0.send(*byte).expect("reader");
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn run_into(sink: &Memory) -> (Result<Summary, RunError<Full>>, String) {
        let (sender, lines) = mpsc::channel();
        let mut progress =
            Progress::lines(Box::new(Lines(sender)), "records", Duration::from_secs(15));
        let outcome = run(&plan(), sink, &Ticking(Mutex::new(0)), &mut progress).await;
        (outcome, String::from_utf8(lines.try_iter().collect()).expect("text"))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn saves_every_record_of_every_user_with_bounded_concurrency() {
        let sink = Memory::new(usize::MAX);
        let (outcome, lines) = run_into(&sink).await;
        let summary = outcome.expect("a summary");
        assert_eq!((summary.users, summary.records), (4, 40));
        assert_eq!(summary.elapsed, Duration::from_secs(41));
        assert!(summary.bytes > 40 * 200);
        let kept = sink.kept.borrow();
        assert_eq!(kept.len(), 3 * 4);
        assert_eq!(kept.get(&(Table::Audiences, "user_000004".to_owned())), Some(&5));
        assert_eq!(kept.get(&(Table::Distributions, "user_000001".to_owned())), Some(&3));
        assert_eq!(sink.most.get(), 3);
        assert_eq!(
            lines,
            "15 of 40 records, 1 records/s, 25 s left\n30 of 40 records, 1 records/s, 10 s left\n"
        );
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_first_error_ends_the_run_and_says_where() {
        let sink = Memory::new(12);
        let error = run_into(&sink).await.0.expect_err("an error");
        assert_eq!((error.saved, error.source), (12, Full));
        assert_eq!(error.user, "user_000002");
        assert_eq!(sink.kept(), 12);
    }

    #[test]
    fn the_summary_is_a_sentence() {
        let elapsed = Duration::from_millis(4_500);
        let summary = Summary { users: 100, records: 9_000, bytes: 12_300_000, elapsed };
        assert_eq!(
            summary.to_string(),
            "saved 9,000 records (12.30 MB) of 100 users in 4.5 s: 2,000 records/s"
        );
    }
}
