//! Concurrent clients over few records, with kill -9 and restarts: what they saw of each record can
//! be put in one order in which every answer is right (checked by stateright's tester, a restart
//! at a time), and a list, over its pages, misses nothing acknowledged and shows nothing twice.
//!
//! `AUDIENCE_STORE_TEST_ROUNDS` sets how many kills there are.

mod client;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use self::client::{Call, Client, KEYS, Round, TABLES, USER, look};
use self::record::{Answer, Content, Op, Record};
use crate::support::Server;
use crate::support::chance::{Chance, rounds, seed};

const ROUNDS: u64 = 8;
const CLIENTS: usize = 6;
const REQUESTS: u64 = 70;
/// Checkpoints, rotations and passivation are to happen meanwhile.
const ARGS: [&str; 8] = [
    "--log-segment-bytes",
    "1MiB",
    "--checkpoint-interval",
    "100ms",
    "--resident-partitions",
    "2",
    "--idle-timeout",
    "1s",
];

type Tester = LinearizabilityTester<usize, Record>;

#[tokio::test]
async fn answers_about_a_record_are_in_one_order_and_lists_are_whole_across_kills() {
    let rounds = rounds(ROUNDS);
    let mut chance = Chance::new(seed());
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut now: BTreeMap<(usize, usize), Content> = BTreeMap::new();
    let mut kept = Vec::new();
    let (mut calls, mut lists, mut open) = (0, 0, 0);
    for number in 0..=rounds {
        let server = Arc::new(Server::over(&data, &ARGS).await);
        let last = number == rounds;
        // The last server is not killed: everything has an answer.
        let kill_after = (!last).then(|| chance.of(20..CLIENTS as u64 * REQUESTS));
        let round = Round::new(kept, kill_after);
        let all = (0..CLIENTS).map(|n| Client::new(n, number, &server, &round, chance.fork()));
        let working = join_all(all.map(|client| client.work(REQUESTS)));
        let killing = async {
            round.enough().await;
            // A moment later requests are at any point.
            tokio::time::sleep(Duration::from_micros(chance.of(0..3000))).await;
            if !last {
                server.signal("KILL");
            }
        };
        tokio::join!(working, killing);
        let mut server = Arc::into_inner(server).expect("nobody else has it");
        if last {
            server.stop().await;
        } else {
            server.kill();
        }
        // What is there after a restart is what was there before it: the round's last answer.
        let again = Server::over(&data, &ARGS).await;
        for (table, name) in TABLES.iter().enumerate() {
            for key in 0..KEYS {
                let is = look(&again, table, key).await;
                let before = now.insert((table, key), is.clone()).flatten();
                let history = round.history(table, key);
                check(before, &history, is).unwrap_or_else(|said| {
                    panic!("{name} k{key} in round {number}: {said}\n{history:#?}")
                });
                calls += history.len();
                open += history.iter().filter(|call| call.answer.is_none()).count();
            }
        }
        lists += round.lists();
        kept = round.acknowledged();
        let mut again = again;
        again.stop().await;
    }
    println!(
        "{rounds} kills, {calls} calls, {open} without an answer, {lists} whole lists of {USER}"
    );
    assert!(calls > 500 && lists > 10 && kept.len() > 20, "{calls} {lists} {}", kept.len());
}

/// Whether the calls to a record can be put in an order that explains every answer, from what it
/// was before to what it was seen to be afterwards.
fn check(before: Content, history: &[Call], after: Content) -> Result<(), String> {
    let mut tester = Tester::new(Record(before));
    let mut events = Vec::new();
    for (index, call) in history.iter().enumerate() {
        events.push((call.began, index, true));
        events.extend(call.answer.as_ref().map(|(at, _)| (*at, index, false)));
    }
    events.sort_unstable();
    for (_, index, begins) in events {
        let call = &history[index];
        match (&call.answer, begins) {
            (_, true) => drop(tester.on_invoke(call.client, call.op.clone())?),
            (Some((_, answer)), false) => drop(tester.on_return(call.client, answer.clone())?),
            (None, false) => {}
        }
    }
    let is_right = |tester: &Tester| tester.serialized_history().is_some();
    tester.on_invret(CLIENTS, Op::Read, Answer::Is(after.clone()))?;
    if is_right(&tester) { Ok(()) } else { Err(format!("no order explains it, then {after:?}")) }
}

#[test]
fn the_checker_tells_a_lost_write_a_stale_read_and_a_version_given_twice() {
    let saved = |version| Answer::Saved { version };
    let is = |version, value: &str| Answer::Is(Some((version, value.to_owned())));
    let call = |client, began, op, ended, answer| Call {
        client,
        began,
        op,
        answer: Some((ended, answer)),
    };
    let save = |value: &str| Op::Upsert(value.to_owned());
    let content = |version, value: &str| Some((version, value.to_owned()));
    let fine = [call(0, 0, save("a"), 3, saved(1)), call(1, 1, save("b"), 2, saved(2))];
    check(None, &fine, content(2, "b")).expect("concurrent saves");
    check(None, &fine, content(1, "a")).expect_err("a lost write");
    let stale = [fine[0].clone(), fine[1].clone(), call(2, 4, Op::Read, 5, is(1, "a"))];
    check(None, &stale, content(2, "b")).expect_err("a stale read");
    let twice = [call(0, 0, save("a"), 3, saved(1)), call(1, 1, save("b"), 2, saved(1))];
    check(None, &twice, content(1, "b")).expect_err("a version given twice");
    let open = Call { client: 3, began: 0, op: save("c"), answer: None };
    check(None, std::slice::from_ref(&open), content(1, "c")).expect("one that was carried out");
    check(None, &[open], None).expect("one that was not");
}
