//! A record as a sequential object: what each call does to it and answers.

use stateright::semantics::SequentialSpec;

/// Its version and value; `None` where there is none.
pub type Content = Option<(i64, String)>;

/// A record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record(pub Content);

/// A call.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// `GET`
    Read,
    /// `POST` with its id.
    Upsert(String),
    /// `PUT`, with the version it must have.
    Update(String, Option<i64>),
    /// `DELETE`
    Delete,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// What it is.
    Is(Content),
    /// Saved as this version.
    Saved {
        /// The version.
        version: i64,
    },
    /// Deleted.
    Gone,
    /// There is none.
    NotFound,
    /// It has another version.
    Stale,
}

impl SequentialSpec for Record {
    type Op = Op;
    type Ret = Answer;

    fn invoke(&mut self, op: &Op) -> Answer {
        let version = self.0.as_ref().map(|(version, _)| *version);
        match (op, version) {
            (Op::Read, _) => Answer::Is(self.0.clone()),
            (Op::Upsert(value), version) => self.save(version.unwrap_or(0) + 1, value),
            (Op::Update(..) | Op::Delete, None) => Answer::NotFound,
            (Op::Update(_, Some(wanted)), Some(version)) if *wanted != version => Answer::Stale,
            (Op::Update(value, _), Some(version)) => self.save(version + 1, value),
            (Op::Delete, Some(_)) => {
                self.0 = None;
                Answer::Gone
            }
        }
    }
}

impl Record {
    fn save(&mut self, version: i64, value: &str) -> Answer {
        self.0 = Some((version, value.to_owned()));
        Answer::Saved { version }
    }
}
