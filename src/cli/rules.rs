//! What a setting's text must be, and what it means: one [`Rule`] a kind of value.
//!
//! A rule turns text into a checked value, says in words what it accepts, and writes a value in
//! its shortest form. Rules know neither the setting's name nor where its text came from.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::quantity::{parse_duration, parse_size, show_duration, show_size};

/// How a text becomes a checked value.
pub trait Rule: Send + Sync {
    /// What comes out.
    type Out;

    /// Reads a text.
    ///
    /// # Errors
    /// The reason, where there is more to say than [`Rule::accepts`] does; else an empty text.
    fn parse(&self, text: &str) -> Result<Self::Out, String>;

    /// What texts are accepted, as the end of the sentence "accepts …".
    fn accepts(&self) -> String;

    /// The value in its shortest form, which [`Rule::parse`] reads back.
    fn show(&self, value: &Self::Out) -> String;

    /// Whether several texts joined by commas are one text of the rule.
    fn repeats(&self) -> bool {
        false
    }
}

/// When a write counts as saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncMode {
    /// After an fsync: survives power loss.
    Always,
    /// After the write; an fsync follows within this time. Survives a killed process at once,
    /// power loss after the interval.
    Interval(Duration),
    /// After the write; the operating system decides when. Survives a killed process alone.
    Off,
}

impl fmt::Display for SyncMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Interval(every) => write!(f, "interval={}", show_duration(*every)),
            Self::Off => f.write_str("off"),
        }
    }
}

/// Durability, as `always`, `interval=50ms` or `off`.
pub struct SyncRule {
    /// Shortest and longest interval.
    pub interval: DurationRule,
}

impl Rule for SyncRule {
    type Out = SyncMode;

    fn parse(&self, text: &str) -> Result<SyncMode, String> {
        match text {
            "always" => Ok(SyncMode::Always),
            "off" => Ok(SyncMode::Off),
            _ => {
                let every = text.strip_prefix("interval=").ok_or_else(String::new)?;
                self.interval.parse(every).map(SyncMode::Interval)
            }
        }
    }

    fn accepts(&self) -> String {
        let (least, most) = (show_duration(self.interval.least), show_duration(self.interval.most));
        format!("`always`, `off`, or `interval=` and a duration from {least} to {most}")
    }

    fn show(&self, value: &SyncMode) -> String {
        value.to_string()
    }
}

/// An address and port. Which are acceptable without authentication is checked beside it.
pub struct ListenRule;

impl Rule for ListenRule {
    type Out = SocketAddr;

    fn parse(&self, text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| String::new())
    }

    fn accepts(&self) -> String {
        "an address and port, such as 127.0.0.1:8080 or [::1]:8080; with `--auth off` a loopback \
         address"
            .to_owned()
    }

    fn show(&self, value: &SocketAddr) -> String {
        value.to_string()
    }
}

/// A folder.
pub struct PathRule;

impl Rule for PathRule {
    type Out = PathBuf;

    fn parse(&self, text: &str) -> Result<PathBuf, String> {
        if text.is_empty() || text.contains('\0') {
            return Err(String::new());
        }
        Ok(PathBuf::from(text))
    }

    fn accepts(&self) -> String {
        "the path of a folder".to_owned()
    }

    fn show(&self, value: &PathBuf) -> String {
        value.display().to_string()
    }
}

/// The path of a file.
pub struct FilePathRule;

impl Rule for FilePathRule {
    type Out = PathBuf;

    fn parse(&self, text: &str) -> Result<PathBuf, String> {
        if text.ends_with('/') { Err(String::new()) } else { PathRule.parse(text) }
    }

    fn accepts(&self) -> String {
        "the path of a file".to_owned()
    }

    fn show(&self, value: &PathBuf) -> String {
        PathRule.show(value)
    }
}

/// A file, or none where the text is empty.
pub struct FileRule;

impl Rule for FileRule {
    type Out = Option<PathBuf>;

    fn parse(&self, text: &str) -> Result<Option<PathBuf>, String> {
        if text.contains('\0') {
            return Err(String::new());
        }
        Ok(Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty()))
    }

    fn accepts(&self) -> String {
        "the path of a file, or nothing".to_owned()
    }

    fn show(&self, value: &Option<PathBuf>) -> String {
        value.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }
}

/// Origins of web pages, as browsers send them; none where the text is empty.
pub struct OriginsRule;

impl Rule for OriginsRule {
    type Out = Vec<String>;

    fn parse(&self, text: &str) -> Result<Vec<String>, String> {
        let mut origins: Vec<String> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if matches!(part, "*" | "null") {
                return Err(format!("`{part}` would let every page in: name the origins"));
            }
            if !is_origin(part) {
                return Err(format!("`{part}` is no origin"));
            }
            if !origins.iter().any(|known| known == part) {
                origins.push(part.to_owned());
            }
        }
        Ok(origins)
    }

    fn accepts(&self) -> String {
        "origins separated by commas, such as https://app.example.com,http://localhost:3000"
            .to_owned()
    }

    fn show(&self, value: &Vec<String>) -> String {
        value.join(",")
    }

    fn repeats(&self) -> bool {
        true
    }
}

/// Whether a text is `http(s)://host` or `http(s)://host:port`, in the form in which a browser
/// sends it: lower case, no path, no default port.
fn is_origin(text: &str) -> bool {
    let (rest, default) = match text.split_once("://") {
        Some(("http", rest)) => (rest, ":80"),
        Some(("https", rest)) => (rest, ":443"),
        _ => return false,
    };
    let host = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._:[]".contains(&b);
    let port = rest.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let port = port.is_none_or(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    !rest.is_empty() && rest.bytes().all(host) && port && !rest.ends_with(default)
}

/// A duration between two bounds, both included.
#[derive(Clone, Copy)]
pub struct DurationRule {
    /// Shortest.
    pub least: Duration,
    /// Longest.
    pub most: Duration,
}

impl Rule for DurationRule {
    type Out = Duration;

    fn parse(&self, text: &str) -> Result<Duration, String> {
        match parse_duration(text) {
            Some(value) if (self.least..=self.most).contains(&value) => Ok(value),
            Some(_) => Err("out of range".to_owned()),
            None if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() => {
                Err("the unit is missing".to_owned())
            }
            None => Err(String::new()),
        }
    }

    fn accepts(&self) -> String {
        let (least, most) = (show_duration(self.least), show_duration(self.most));
        format!("a duration from {least} to {most}, in ms, s, m, h or d")
    }

    fn show(&self, value: &Duration) -> String {
        show_duration(*value)
    }
}

/// A size in bytes between two bounds, both included.
#[derive(Clone, Copy)]
pub struct SizeRule {
    /// Smallest, in bytes.
    pub least: u64,
    /// Largest, in bytes.
    pub most: u64,
}

impl Rule for SizeRule {
    type Out = u64;

    fn parse(&self, text: &str) -> Result<u64, String> {
        let value = parse_size(text).ok_or_else(String::new)?;
        if (self.least..=self.most).contains(&value) {
            Ok(value)
        } else {
            Err("out of range".to_owned())
        }
    }

    fn accepts(&self) -> String {
        let (least, most) = (show_size(self.least), show_size(self.most));
        format!("a size from {least} to {most}, in bytes or with a unit such as KiB, MiB, GB")
    }

    fn show(&self, value: &u64) -> String {
        show_size(*value)
    }
}

/// A whole number between two bounds, both included.
#[derive(Clone, Copy)]
pub struct CountRule {
    /// Smallest.
    pub least: usize,
    /// Largest.
    pub most: usize,
}

impl Rule for CountRule {
    type Out = usize;

    fn parse(&self, text: &str) -> Result<usize, String> {
        // `usize::from_str` would read a leading plus sign.
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(String::new());
        }
        match text.parse() {
            Ok(value) if (self.least..=self.most).contains(&value) => Ok(value),
            _ if text.is_empty() => Err(String::new()),
            _ => Err("out of range".to_owned()),
        }
    }

    fn accepts(&self) -> String {
        format!("a whole number from {} to {}", self.least, self.most)
    }

    fn show(&self, value: &usize) -> String {
        value.to_string()
    }
}

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For a person at a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// `text` or `json`.
pub struct LogFormatRule;

impl Rule for LogFormatRule {
    type Out = LogFormat;

    fn parse(&self, text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(String::new()),
        }
    }

    fn accepts(&self) -> String {
        "`text` or `json`".to_owned()
    }

    fn show(&self, value: &LogFormat) -> String {
        match value {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
        .to_owned()
    }
}

/// Which log lines are written, in tracing's filter syntax.
pub struct LogLevelRule;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Rule for LogLevelRule {
    type Out = String;

    fn parse(&self, text: &str) -> Result<String, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        // The filter takes any bare word for a target's name: a misspelt level would silence all.
        let bare = |part: &&&str| !part.contains(['=', '[']);
        for part in parts.iter().filter(bare) {
            if part.is_empty() {
                return Err(String::new());
            }
            if !LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part)) {
                return Err(format!("`{part}` is not a level"));
            }
        }
        let filter = parts.join(",");
        EnvFilter::try_new(&filter).map_err(|e| e.to_string())?;
        Ok(filter)
    }

    fn accepts(&self) -> String {
        format!("{}, or target=level pairs such as info,audience_store=debug", LEVELS.join(", "))
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port() {
        for ok in ["127.0.0.1:0", "127.9.9.9:80", "[::1]:8080", "0.0.0.0:8080", "[::]:8080"] {
            assert_eq!(ListenRule.parse(ok).expect(ok).to_string(), ok);
        }
        for bad in ["", "8080", "localhost:8080", "127.0.0.1", "127.0.0.1:99999"] {
            assert_eq!(ListenRule.parse(bad), Err(String::new()), "{bad}");
        }
    }

    #[test]
    fn sync_modes() {
        let rule = SyncRule {
            interval: DurationRule {
                least: Duration::from_millis(1),
                most: Duration::from_secs(10),
            },
        };
        for mode in [
            SyncMode::Always,
            SyncMode::Off,
            SyncMode::Interval(Duration::from_millis(50)),
            SyncMode::Interval(Duration::from_secs(10)),
        ] {
            assert_eq!(rule.parse(&rule.show(&mode)), Ok(mode));
        }
        assert_eq!(rule.parse("interval=11s"), Err("out of range".to_owned()));
        assert_eq!(rule.parse("interval=50"), Err("the unit is missing".to_owned()));
        for bad in ["", "Always", "interval", "interval=", "never", "50ms"] {
            assert_eq!(rule.parse(bad), Err(String::new()), "{bad}");
        }
    }

    #[test]
    fn bounds_are_included() {
        let duration = DurationRule { least: Duration::from_secs(1), most: Duration::from_mins(1) };
        assert_eq!(duration.parse("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(duration.parse("1m"), Ok(Duration::from_mins(1)));
        assert!(duration.parse("999ms").is_err() && duration.parse("61s").is_err());

        let size = SizeRule { least: 10, most: 1024 };
        assert_eq!((size.parse("10"), size.parse("1KiB")), (Ok(10), Ok(1024)));
        assert!(size.parse("9").is_err() && size.parse("1025").is_err());

        let count = CountRule { least: 1, most: 9 };
        assert_eq!((count.parse("1"), count.parse("9")), (Ok(1), Ok(9)));
        for bad in ["0", "10", "", "+5", "-1", "x", "5.0", "99999999999999999999999"] {
            assert!(count.parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for ok in ["info", "WARN", "off", "info,audience_store=debug", "warn,actix=trace"] {
            assert_eq!(LogLevelRule.parse(ok).as_deref(), Ok(ok));
        }
        assert_eq!(LogLevelRule.parse("warn, a=info").as_deref(), Ok("warn,a=info"));
        assert_eq!(LogLevelRule.parse("inof"), Err("`inof` is not a level".to_owned()));
        for bad in ["", "info,", "audience_store=loud", "info,hyper", "in-fo"] {
            assert!(LogLevelRule.parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn origins_are_named_one_by_one() {
        let two = "https://app.example.com,http://localhost:3000";
        assert_eq!(OriginsRule.parse(two).map(|o| OriginsRule.show(&o)).as_deref(), Ok(two));
        let spaced = OriginsRule.parse(" http://[::1]:5173 , http://[::1]:5173,").expect("origins");
        assert_eq!(spaced, ["http://[::1]:5173"]);
        assert_eq!(OriginsRule.parse(""), Ok(Vec::new()));
        for bad in [
            "*",
            "null",
            "app.example.com",
            "https://a/",
            "https://a:443",
            "http://a:80",
            "https://A.example",
            "https://a:x",
            "https://:1",
            "ftp://a",
            "https://",
            "https://a b",
        ] {
            assert!(OriginsRule.parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn formats_and_paths() {
        assert_eq!(FileRule.parse(""), Ok(None));
        assert_eq!(FileRule.parse("a"), Ok(Some(PathBuf::from("a"))));
        assert!(FileRule.parse("a\0b").is_err());
        assert_eq!(LogFormatRule.parse("json"), Ok(LogFormat::Json));
        assert_eq!(LogFormatRule.parse("JSON"), Err(String::new()));
        assert_eq!(PathRule.parse("a b/ü"), Ok(PathBuf::from("a b/ü")));
        assert!(PathRule.parse("").is_err() && PathRule.parse("a\0b").is_err());
    }
}
