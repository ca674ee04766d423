//! What was found, and how it is said: to a person, and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

/// Most findings that are listed; all are counted.
const MOST_LISTED: usize = 1000;

/// Whether something is lost or wrong, or only worth knowing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Nothing is wrong: a start of the server deals with it, or a person knows why it is so.
    Note,
    /// Bytes are not what was written, or say what cannot be.
    Damage,
}

macro_rules! codes {
    ($($name:ident = $text:literal, $severity:ident, $about:literal;)*) => {
        /// What kind of finding it is. The texts are stable.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Code {
            $(#[doc = $about] $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its text.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// How bad it is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity),* }
            }

            /// What it means.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$name => $about),* }
            }
        }
    };
}

codes! {
    LogDamaged = "LOG_DAMAGED", Damage, "bytes of the log are not what was written, or segments are missing";
    RecordMalformed = "RECORD_MALFORMED", Damage, "a whole log record whose payload makes no sense";
    FileDamaged = "FILE_DAMAGED", Damage, "a Parquet file whose bytes are not what was written";
    FileMisplaced = "FILE_MISPLACED", Damage, "a Parquet file of another user, table or month";
    FileNewer = "FILE_NEWER", Damage, "a Parquet file of a later version of this store";
    FileUnreadable = "FILE_UNREADABLE", Damage, "a file that the file system does not give";
    LsnBeyondLog = "LSN_BEYOND_LOG", Damage, "a footer with a higher LSN than the log ever gave";
    DuplicateId = "DUPLICATE_ID", Damage, "one id in two months, or twice in one file";
    SealedMalformed = "SEALED_MALFORMED", Damage, "credentials of no form that this version knows";
    SealedKeyUnknown = "SEALED_KEY_UNKNOWN", Damage, "credentials sealed with a key that the ring lacks";
    SealedDoesNotOpen = "SEALED_DOES_NOT_OPEN", Damage, "credentials that their key does not open";
    LegacyUnreadable = "LEGACY_UNREADABLE", Damage, "a kept file of the Python service that cannot be read";
    TornTail = "TORN_TAIL", Note, "the beginning of a log record that was never acknowledged";
    OtherLog = "OTHER_LOG", Note, "a file whose footer counts in another log";
    SealedKeyRetired = "SEALED_KEY_RETIRED", Note, "log records that nothing reads any more, sealed with a key that the ring lacks";
    KeysNotChecked = "KEYS_NOT_CHECKED", Note, "sealed credentials without a ring to check their keys with";
    Temporary = "TEMPORARY", Note, "a half-written file";
    Unexpected = "UNEXPECTED", Note, "something in a table's folder that the store does not read";
}

/// One thing that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What kind.
    pub code: Code,
    /// The file, below the store's root.
    pub file: String,
    /// What exactly.
    pub what: String,
    /// Where in the file, in bytes, where that is known.
    pub offset: Option<u64>,
    /// The LSN it is about.
    pub lsn: Option<u64>,
}

/// What verifying found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Whether every row was decoded and every sealed credential opened.
    pub deep: bool,
    /// The log's id.
    pub log_id: Option<Uuid>,
    /// First LSN of the oldest segment.
    pub first_lsn: u64,
    /// The last LSN.
    pub last_lsn: u64,
    /// Log segments.
    pub segments: u64,
    /// Log records.
    pub records: u64,
    /// Parquet files of the tables.
    pub files: u64,
    /// Files that the Python service wrote and that are not taken over yet.
    pub legacy_files: u64,
    /// Files kept in `legacy/`.
    pub kept_files: u64,
    /// Bytes read of all these.
    pub bytes: u64,
    /// Rows of the tables' files.
    pub rows: u64,
    /// Sealed credentials in files and log records, by the key they are sealed with.
    pub sealed: BTreeMap<String, u64>,
    /// How many of them were opened.
    pub opened: u64,
    /// The first findings.
    pub findings: Vec<Finding>,
    /// How many there are of each kind.
    pub counts: BTreeMap<Code, u64>,
    /// Time it took.
    pub elapsed: Duration,
}

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        *self.counts.entry(finding.code).or_default() += 1;
        if self.findings.len() < MOST_LISTED {
            self.findings.push(finding);
        }
    }

    pub(super) fn note(&mut self, code: Code, file: &str, what: &str) {
        let (file, what) = (file.to_owned(), what.to_owned());
        self.add(Finding { code, file, what, offset: None, lsn: None });
    }

    /// How many findings are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> u64 {
        self.counts.iter().filter(|(c, _)| c.severity() == severity).map(|(_, n)| n).sum()
    }

    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.count(Severity::Damage) == 0
    }

    /// One JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let severity = |code: Code| match code.severity() {
            Severity::Damage => "damage",
            Severity::Note => "note",
        };
        let finding = |f: &Finding| {
            let mut value = json!({
                "code": f.code.text(), "severity": severity(f.code), "file": f.file, "what": f.what,
            });
            if let Value::Object(fields) = &mut value {
                fields.extend(f.offset.map(|n| ("offset".to_owned(), json!(n))));
                fields.extend(f.lsn.map(|n| ("lsn".to_owned(), json!(n))));
            }
            value
        };
        let counts: BTreeMap<_, _> = self.counts.iter().map(|(c, n)| (c.text(), n)).collect();
        json!({
            "sound": self.is_sound(),
            "deep": self.deep,
            "log": {
                "id": self.log_id.map(|id| id.to_string()),
                "first_lsn": self.first_lsn,
                "last_lsn": self.last_lsn,
                "segments": self.segments,
                "records": self.records,
            },
            "files": self.files,
            "legacy_files": self.legacy_files,
            "kept_files": self.kept_files,
            "rows": self.rows,
            "bytes": self.bytes,
            "sealed": { "by_key": self.sealed, "opened": self.opened },
            "damages": self.count(Severity::Damage),
            "notes": self.count(Severity::Note),
            "counts": counts,
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "elapsed_ms": u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX),
        })
        .to_string()
    }

    /// For a person: findings, then a summary.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        for f in &self.findings {
            let _ = write!(out, "{} {}", f.code.text(), f.file);
            if let Some(offset) = f.offset {
                let _ = write!(out, ", byte {offset}");
            }
            if let Some(lsn) = f.lsn {
                let _ = write!(out, ", LSN {lsn}");
            }
            let _ = writeln!(out, ": {}", f.what);
        }
        let listed = self.findings.len() as u64;
        let all = self.count(Severity::Damage) + self.count(Severity::Note);
        if all > listed {
            let _ = writeln!(out, "and {} more", all - listed);
        }
        let _ = writeln!(
            out,
            "log: {} records in {} segments, LSN {} to {}",
            self.records, self.segments, self.first_lsn, self.last_lsn
        );
        let _ = writeln!(
            out,
            "files: {} with {} rows, {} of the Python service, {} kept in legacy/",
            self.files, self.rows, self.legacy_files, self.kept_files
        );
        let sealed: u64 = self.sealed.values().sum();
        let _ = writeln!(out, "sealed credentials: {sealed}, {} opened", self.opened);
        let _ = write!(
            out,
            "{}: {} damaged, {} notes, {} MiB read in {:.1} s{}",
            if self.is_sound() { "sound" } else { "DAMAGED" },
            self.count(Severity::Damage),
            self.count(Severity::Note),
            self.bytes >> 20,
            self.elapsed.as_secs_f64(),
            if self.deep { "" } else { " (--deep also decodes every row and opens credentials)" },
        );
        out
    }
}
