//! A wall clock that a test sets, for the real program: Debian's libfaketime, which
//! `tests/prometheus-env` fetches.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use audience_store::env::{Clock as _, SystemClock};

fn library() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prometheus-env");
        let made = Command::new(script).stderr(Stdio::inherit()).output().expect("prometheus-env");
        assert!(made.status.success(), "tests/prometheus-env: {}", made.status);
        let folder = PathBuf::from(String::from_utf8(made.stdout).expect("UTF-8").trim_end());
        let folders = std::fs::read_dir(folder.join("usr/lib")).expect("usr/lib").flatten();
        let mut found = folders.map(|f| f.path().join("faketime/libfaketimeMT.so.1"));
        let found = found.find(|path| path.is_file()).expect("libfaketime");
        found.to_str().expect("UTF-8").to_owned()
    })
}

/// A clock that shows what a test wants and goes on from there, and can be moved while a program
/// runs by it.
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// A clock that shows so many seconds since 1970. It is kept in `folder`.
    pub fn at(folder: &Path, seconds: i64) -> Self {
        let clock = Self { file: folder.join("clock") };
        clock.set(seconds);
        clock
    }

    /// Moves it, for programs that run, too.
    pub fn set(&self, seconds: i64) {
        let seconds = seconds - SystemClock::new().now().get() / 1_000_000;
        // In one step: a program may look at any moment.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).expect("written");
        std::fs::rename(&new, &self.file).expect("set");
    }

    /// What a program needs in its environment.
    pub fn environment(&self) -> [(&str, &str); 4] {
        [
            ("LD_PRELOAD", library()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_str().expect("UTF-8")),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}
