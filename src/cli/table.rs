//! The one list of settings. Flags and their help, environment names, TOML keys, defaults, checks,
//! the `config` command and the README's table are all made from it.
//!
//! To add a setting: an entry here and a field in [`super::Settings`] (a test fails without the
//! second). Names and meanings are a promise to users: an entry is never renamed or retyped.

use std::time::Duration;

use super::auth_rules::{AuthRule, KeysRule, OptionalPathRule, OptionalTextRule, TextRule};
use super::optional_rules::{OptionalHttpRule, OptionalListenRule};
use super::rules::{
    CountRule, DurationRule, FilePathRule, FileRule, ListenRule, LogFormatRule, LogLevelRule,
    OriginsRule, PathRule, Rule, SizeRule, SyncRule,
};

/// Under which heading help and tables show a setting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    /// Sockets and threads that serve them.
    Network,
    /// Who is let in.
    Authentication,
    /// Where data lies and how much of it.
    Storage,
    /// What survives, and since when.
    Durability,
    /// Bounds on memory.
    Memory,
    /// Bounds on requests and queues.
    Limits,
    /// Log lines.
    Logging,
}

impl Group {
    /// The heading.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "Network",
            Self::Authentication => "Authentication",
            Self::Storage => "Storage",
            Self::Durability => "Durability",
            Self::Memory => "Memory",
            Self::Limits => "Limits",
            Self::Logging => "Logging",
        }
    }
}

/// Which commands take a setting; each scope takes those of the scopes before it too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    /// Every command that touches a store's files.
    Data,
    /// Commands that open the store.
    Store,
    /// The server.
    Serve,
}

/// What is said of a setting.
#[derive(Debug)]
pub struct About {
    /// Its name: the flag without dashes, and the TOML key.
    pub key: &'static str,
    /// Where help shows it.
    pub group: Group,
    /// Who takes it.
    pub scope: Scope,
    /// What stands for its value in help.
    pub placeholder: &'static str,
    /// Its value where none is given, as text.
    pub default: &'static str,
    /// What it does: one sentence without a full stop.
    pub help: &'static str,
}

impl About {
    /// Its default as help and tables show it.
    #[must_use]
    pub fn shown_default(&self) -> &'static str {
        if self.default.is_empty() { "none" } else { self.default }
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn environment(&self) -> String {
        format!("AUDIENCE_STORE_{}", self.key.to_ascii_uppercase().replace('-', "_"))
    }
}

/// A setting: what is said of it, and the rule its text must follow.
#[derive(Debug)]
pub struct Setting<R> {
    /// What is said of it.
    pub about: About,
    /// The rule for its text.
    pub rule: R,
}

/// A setting whose type does not matter: what lists of settings hold.
pub trait AnySetting: Sync {
    /// What is said of it.
    fn about(&self) -> &About;
    /// What texts are accepted, as the end of the sentence "accepts …".
    fn accepts(&self) -> String;
    /// Checks a text and gives the value's shortest form.
    ///
    /// # Errors
    /// The reason, empty where [`AnySetting::accepts`] says all.
    fn check(&self, text: &str) -> Result<String, String>;
    /// Whether its flag may come several times: the texts are then joined by commas.
    fn repeats(&self) -> bool;
}

impl<R: Rule> AnySetting for Setting<R> {
    fn about(&self) -> &About {
        &self.about
    }

    fn accepts(&self) -> String {
        self.rule.accepts()
    }

    fn check(&self, text: &str) -> Result<String, String> {
        self.rule.parse(text).map(|value| self.rule.show(&value))
    }

    fn repeats(&self) -> bool {
        self.rule.repeats()
    }
}

macro_rules! settings {
    ($($name:ident: $rule:ty = $key:literal, $group:ident, $scope:ident, $placeholder:literal,
        $default:literal, $value:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $name: Setting<$rule> = Setting {
                about: About {
                    key: $key,
                    group: Group::$group,
                    scope: Scope::$scope,
                    placeholder: $placeholder,
                    default: $default,
                    help: $help,
                },
                rule: $value,
            };
        )*

        /// Every setting, in the order in which they are shown.
        pub static ALL: &[&dyn AnySetting] = &[$(&$name),*];
    };
}

const fn millis(least: u64, most: u64) -> DurationRule {
    DurationRule { least: Duration::from_millis(least), most: Duration::from_millis(most) }
}

const fn size(least: u64, most: u64) -> SizeRule {
    SizeRule { least, most }
}

const fn count(least: usize, most: usize) -> CountRule {
    CountRule { least, most }
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

settings! {
    LISTEN: ListenRule = "listen", Network, Serve, "ADDRESS", "127.0.0.1:8080", ListenRule,
        "Address and port to serve HTTP on; port 0 takes a free one";
    WORKERS: CountRule = "workers", Network, Serve, "COUNT", "0", count(0, 512),
        "HTTP worker threads; 0 means one a core";
    MAX_CONNECTIONS: CountRule = "max-connections", Network, Serve, "COUNT", "10000",
        count(1, 1_000_000),
        "Connections open at once, over all workers; one more is answered with 503 and closed";
    MAX_WRITES: CountRule = "max-writes", Network, Serve, "COUNT", "4096",
        count(1, 1_000_000),
        "Requests that change records under way at once, over all users; one more is answered with 503";
    REQUEST_TIMEOUT: DurationRule = "request-timeout", Network, Serve, "DURATION", "30s",
        millis(100, 10 * MINUTE), "How long a request may take before it is answered with 503";
    KEEP_ALIVE: DurationRule = "keep-alive", Network, Serve, "DURATION", "75s",
        millis(SECOND, HOUR), "How long a connection may stay open between requests";
    HEADER_TIMEOUT: DurationRule = "header-timeout", Network, Serve, "DURATION", "10s",
        millis(100, 10 * MINUTE),
        "How long a TLS handshake, and the head of a request, may take to arrive";
    BODY_TIMEOUT: DurationRule = "body-timeout", Network, Serve, "DURATION", "30s",
        millis(100, 10 * MINUTE), "How long the body of a request may take to arrive";
    WRITE_TIMEOUT: DurationRule = "write-timeout", Network, Serve, "DURATION", "30s",
        millis(100, 10 * MINUTE),
        "How long a client may take to read an answer, beyond what min-rate gives it";
    MIN_RATE: SizeRule = "min-rate", Network, Serve, "SIZE", "4KiB", size(1, GIB),
        "Bytes of an answer for which a client gets a second more than write-timeout";
    DRAIN_TIMEOUT: DurationRule = "drain-timeout", Network, Serve, "DURATION", "30s",
        millis(SECOND, HOUR), "How long a shutdown waits for requests under way";
    CLOSE_TIMEOUT: DurationRule = "close-timeout", Network, Serve, "DURATION", "5m",
        millis(SECOND, 24 * HOUR), "How long a shutdown may then write to Parquet; what is left is in the log, and comes back with the next start";
    TLS_CERT: FileRule = "tls-cert", Network, Serve, "FILE", "", FileRule,
        "Certificate chain in PEM, the server's own first; HTTPS instead of HTTP; read again on \
         SIGHUP and when it changes";
    TLS_KEY: FileRule = "tls-key", Network, Serve, "FILE", "", FileRule,
        "Private key of the certificate, in PEM";
    CORS_ORIGIN: OriginsRule = "cors-origin", Network, Serve, "ORIGINS", "", OriginsRule,
        "Origins whose pages browsers let call the server; none of another site otherwise";
    METRICS_LISTEN: OptionalListenRule = "metrics-listen", Network, Serve, "ADDRESS", "none",
        OptionalListenRule, "Address and port to serve `/metrics` on too, apart from everything else: \
         it answers while the other port is full";

    AUTH: AuthRule = "auth", Authentication, Serve, "MODE", "off", AuthRule,
        "Which credentials requests need: none, API tokens, or JSON web tokens";
    JWT_KEYS: KeysRule = "jwt-keys", Authentication, Serve, "SOURCE", "none", KeysRule,
        "Public keys that web tokens are checked with (`RS256`, `ES256`, `EdDSA`)";
    JWT_SECRET_FILE: OptionalPathRule = "jwt-secret-file", Authentication, Serve, "FILE", "none",
        OptionalPathRule, "File with a shared secret that web tokens are checked with (`HS256`), \
         32 bytes or more";
    JWT_CA_FILE: OptionalPathRule = "jwt-ca-file", Authentication, Serve, "FILE", "none",
        OptionalPathRule, "PEM certificates of who may vouch for the address of keys, instead of \
         the public authorities";
    JWT_ISSUER: OptionalTextRule = "jwt-issuer", Authentication, Serve, "TEXT", "none",
        OptionalTextRule, "What the `iss` of a web token must be";
    JWT_AUDIENCE: OptionalTextRule = "jwt-audience", Authentication, Serve, "TEXT", "none",
        OptionalTextRule, "What the `aud` of a web token must be or hold";
    JWT_USER_CLAIM: TextRule = "jwt-user-claim", Authentication, Serve, "NAME", "sub", TextRule,
        "The claim of a web token that holds the user id";
    JWT_SCOPE_CLAIM: TextRule = "jwt-scope-claim", Authentication, Serve, "NAME", "scope", TextRule,
        "The claim of a web token that holds the scopes, as a list or separated by spaces";
    JWT_LEEWAY: DurationRule = "jwt-leeway", Authentication, Serve, "DURATION", "30s",
        millis(0, 5 * MINUTE), "How far the clocks of who makes web tokens and of the server may \
         be apart, in whole seconds";
    JWT_REFRESH: DurationRule = "jwt-refresh", Authentication, Serve, "DURATION", "10m",
        millis(SECOND, DAY), "How often keys are fetched from an address";
    JWT_COOLDOWN: DurationRule = "jwt-cooldown", Authentication, Serve, "DURATION", "10s",
        millis(100, HOUR), "How soon keys are fetched again after a failure, or when a web token \
         names one that is not known";
    JWT_STALE: DurationRule = "jwt-stale", Authentication, Serve, "DURATION", "1d",
        millis(0, 30 * DAY), "How much longer than `jwt-refresh` old keys serve while fetching fails";

    DATA: PathRule = "data", Storage, Data, "FOLDER", "data/persistence", PathRule,
        "Folder of the store; relative to the working directory, made where it is missing";
    KEY_RING: FilePathRule = "key-ring", Storage, Data, "FILE", "keys/ring.json", FilePathRule,
        "File with the keys that seal credentials; relative to the store's folder, made where it is \
         missing; not used where AUDIENCE_STORE_KEYS holds the keys";
    LOG_SEGMENT_BYTES: SizeRule = "log-segment-bytes", Storage, Store, "SIZE", "64MiB",
        size(MIB, GIB), "Size of one file of the write-ahead log";
    LOG_MAX_BYTES: SizeRule = "log-max-bytes", Storage, Store, "SIZE", "4GiB",
        size(2 * MIB, TIB), "Size of the whole write-ahead log; writes are refused with 503 beyond it";
    LOG_KEEP_BYTES: SizeRule = "log-keep-bytes", Storage, Store, "SIZE", "0", size(0, TIB),
        "Size of the log files that are kept in log/kept/ after nothing needs them, so that a \
         backup can be restored to a later moment; the oldest go; 0 keeps none";
    DISK_RESERVE: SizeRule = "disk-reserve", Storage, Store, "SIZE", "256MiB",
        size(0, TIB), "Space the log leaves free on the disk, at most a twentieth of it, so that Parquet files can still be written; writes are refused with 503 rather than take it";

    ARCHIVE_AFTER: DurationRule = "archive-after", Storage, Serve, "DURATION", "0s",
        millis(0, 36_500 * DAY),
        "How long after its end a month is moved to archive/, where all its records have \
         archive-status; the server looks daily; 0s for never";
    ARCHIVE_STATUS: TextRule = "archive-status", Storage, Serve, "STATUS", "archived", TextRule,
        "The status that all records of a month must have to be archived";
    SCRUB_RATE: SizeRule = "scrub-rate", Storage, Serve, "SIZE", "1MiB", size(0, TIB),
        "Bytes a second that the server reads of its Parquet files in the background, to find \
         damage before somebody asks for the rows; 0 for none";
    AUDIT_FILE_BYTES: SizeRule = "audit-file-bytes", Storage, Serve, "SIZE", "16MiB",
        size(4 * KIB, GIB), "Size of one file of the audit trail";
    AUDIT_FILES: CountRule = "audit-files", Storage, Serve, "COUNT", "32", count(2, 10_000),
        "Files of the audit trail; the oldest go";

    USAGE_INTERVAL: DurationRule = "usage-interval", Storage, Serve, "DURATION", "5m",
        millis(100, DAY), "How long it rests between two looks at how much every user stores";
    HISTORY_INTERVAL: DurationRule = "history-interval", Storage, Serve, "DURATION", "1m",
        millis(100, HOUR), "How often what the server counted is added to its history, which \
        `audience-store report` reads; a kill loses that much of it at most";
    REPORT_FILES: CountRule = "report-files", Storage, Serve, "COUNT", "0", count(0, 1_000),
        "How many reports of each kind the server keeps in reports/: on growth when a day has ended, \
         on errors after a week, on performance after a quarter; 0 for none";

    SYNC: SyncRule = "sync", Durability, Store, "MODE", "always",
        SyncRule { interval: millis(1, 10 * SECOND) },
        "When a save is answered: after an fsync, or before one that follows by the interval or \
         when the operating system likes";
    CHECKPOINT_INTERVAL: DurationRule = "checkpoint-interval", Durability, Store, "DURATION", "5s",
        millis(100, HOUR), "How far behind a partition's Parquet file may be";
    CHECKPOINT_BYTES: SizeRule = "checkpoint-bytes", Durability, Store, "SIZE", "8MiB",
        size(64 * KIB, GIB), "Bytes not yet in a partition's Parquet file that bring a checkpoint at once";
    CHECKPOINT_CONCURRENCY: CountRule = "checkpoint-concurrency", Durability, Store, "COUNT", "2",
        count(1, 64), "Checkpoints that run at once";

    RESIDENT_BYTES: SizeRule = "resident-bytes", Memory, Store, "SIZE", "256MiB",
        size(MIB, TIB), "Memory for the partitions that are loaded";
    RESIDENT_PARTITIONS: CountRule = "resident-partitions", Memory, Store, "COUNT", "20000",
        count(1, 10_000_000), "Partitions loaded at once";
    IDLE_TIMEOUT: DurationRule = "idle-timeout", Memory, Store, "DURATION", "1m",
        millis(SECOND, DAY), "How long a partition stays loaded without requests";
    CACHE_BYTES: SizeRule = "cache-bytes", Memory, Store, "SIZE", "64MiB",
        size(0, TIB), "Memory for ready-made listings; 0 keeps none";

    MAX_BODY: SizeRule = "max-body", Limits, Serve, "SIZE", "1MiB", size(KIB, 8 * MIB),
        "Largest request body; larger ones are answered with 413";
    MAX_BODIES: SizeRule = "max-bodies", Limits, Serve, "SIZE", "256MiB", size(8 * MIB, 1024 * GIB),
        "Size of all request bodies in memory at once; more are answered with 503";
    MAX_JSON_DEPTH: CountRule = "max-json-depth", Limits, Serve, "LEVELS", "64", count(1, 64),
        "Levels of nesting in one field of a body";
    MAX_JSON_NODES: CountRule = "max-json-nodes", Limits, Serve, "COUNT", "100000",
        count(100, 1_000_000), "Values in a body, of all levels together";
    MAX_NAME: SizeRule = "max-name", Limits, Serve, "SIZE", "1KiB", size(64, MIB),
        "Longest name, type or id of another record in a field";
    MAX_TEXT: SizeRule = "max-text", Limits, Serve, "SIZE", "256KiB", size(KIB, 8 * MIB),
        "Longest description, query or error message";
    MAX_LIST: CountRule = "max-list", Limits, Serve, "COUNT", "10000", count(1, 1_000_000),
        "Elements of a list: variables, their details, segments";
    MAX_EXTRA: SizeRule = "max-extra", Limits, Serve, "SIZE", "1MiB", size(KIB, 8 * MIB),
        "Size of all fields of a record that its table does not know, and of metadata, after \
         merging";
    MAX_PAGE: SizeRule = "max-page", Limits, Store, "SIZE", "64MiB", size(64 * KIB, GIB),
        "Size of the records on a page of a list; one that would be larger ends earlier";
    MAX_PAGES: SizeRule = "max-pages", Limits, Serve, "SIZE", "512MiB", size(MIB, TIB),
        "Size of all pages of lists in memory at once, those in the cache included; more are \
         answered with 503";
    RATE_LIMIT: CountRule = "rate-limit", Limits, Serve, "COUNT", "0", count(0, 1_000_000),
        "Requests a minute and user; more are answered with 429; 0 for any number";
    AUDITED_RATE: CountRule = "audited-rate", Limits, Serve, "COUNT", "300", count(0, 1_000_000),
        "Requests a minute and user that leave a line in the audit trail on purpose: credentials \
         shown, users erased, tokens made; more are answered with 429; 0 for any number";
    QUOTA_AUDIENCES: CountRule = "quota-audiences", Limits, Store, "COUNT", "0",
        count(0, 1_000_000_000), "Audiences a user may have; 0 for any number";
    QUOTA_BYTES: SizeRule = "quota-bytes", Limits, Store, "SIZE", "0", size(0, 1024 * TIB),
        "Size of a user's Parquet files and of what is not in one yet; 0 for any size";
    MAILBOX: CountRule = "mailbox", Limits, Store, "COUNT", "1024", count(1, 1_000_000),
        "Requests that may wait for one partition; more are answered with 503";
    ARBITERS: CountRule = "arbiters", Limits, Store, "COUNT", "0", count(0, 1_024),
        "Threads that run partitions; 0 means those of the HTTP workers";

    LOG_FORMAT: LogFormatRule = "log-format", Logging, Store, "FORMAT", "text", LogFormatRule,
        "How log lines are written";
    LOG_LEVEL: LogLevelRule = "log-level", Logging, Store, "FILTER", "info", LogLevelRule,
        "Which log lines are written, all or by target";
    OTLP_ENDPOINT: OptionalHttpRule = "otlp-endpoint", Logging, Serve, "URL", "none",
        OptionalHttpRule, "Where a collector takes traces of requests (OTLP over HTTP); only in a \
         program built with the feature `otlp`";
}

/// The settings that a command of `scope` takes, in the order in which they are shown.
pub fn in_scope(scope: Scope) -> impl Iterator<Item = &'static dyn AnySetting> {
    ALL.iter().copied().filter(move |setting| setting.about().scope <= scope)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_default_follows_its_rule_in_its_shortest_form() {
        for setting in ALL {
            let about = setting.about();
            assert_eq!(setting.check(about.default).as_deref(), Ok(about.default), "{}", about.key);
        }
    }

    #[test]
    fn names_are_unique_and_speak_one_language() {
        let keys: BTreeSet<_> = ALL.iter().map(|s| s.about().key).collect();
        assert_eq!(keys.len(), ALL.len());
        for setting in ALL {
            let about = setting.about();
            assert!(
                about.key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{}",
                about.key
            );
            assert!(!about.help.ends_with('.'), "{}", about.key);
        }
        assert_eq!(CHECKPOINT_BYTES.about.environment(), "AUDIENCE_STORE_CHECKPOINT_BYTES");
    }

    #[test]
    fn groups_stand_together() {
        let groups: Vec<_> = ALL.iter().map(|s| s.about().group).collect();
        assert!(groups.is_sorted());
    }

    #[test]
    fn scopes_grow() {
        let keys = |scope| in_scope(scope).map(|s| s.about().key).collect::<Vec<_>>();
        assert_eq!(keys(Scope::Data), ["data", "key-ring"]);
        assert!(keys(Scope::Store).contains(&"sync") && !keys(Scope::Store).contains(&"listen"));
        assert_eq!(keys(Scope::Serve).len(), ALL.len());
    }
}
