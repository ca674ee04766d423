//! Steers `tests/faults/preload.c` in a running server.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Places in the file that the library maps.
const HOLD: u64 = 0;
const WAITING: u64 = 8;
const DELAY_MICROS: u64 = 16;
const FAIL: u64 = 24;
const FAILED: u64 = 32;
const CLOCK_SECONDS: u64 = 40;
const PART: u64 = 48;
const BYTES: u64 = 256;

/// The library, built, and the file that it is steered through. One server at a time.
pub struct Preload {
    folder: TempDir,
    control: File,
}

impl Preload {
    /// Builds it with the C compiler that Rust links with.
    pub fn build() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/preload.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(folder.path().join("preload.so"))
            .arg(source)
            .output();
        let built = built.expect("cc: the C compiler that Rust links with");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let control = File::create_new(folder.path().join("control")).expect("control");
        control.set_len(BYTES).expect("control");
        let control = File::options().read(true).write(true).open(folder.path().join("control"));
        Self { control: control.expect("control"), folder }
    }

    /// The command with the library.
    pub fn dress(&self, mut command: Command) -> Command {
        command.env("LD_PRELOAD", self.path("preload.so"));
        command.env("FAULTS_CONTROL", self.path("control"));
        command
    }

    /// The same, with a file system that cannot reserve space.
    pub fn dress_without_reservations(&self, command: Command) -> Command {
        let mut command = self.dress(command);
        command.env("FAULTS_NO_FALLOCATE", "1");
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn set(&self, at: u64, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), at).expect("control");
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, at).expect("control");
        u64::from_ne_bytes(bytes)
    }

    /// Which files the faults of syncs are for: those whose path has this part; at first, all.
    pub fn only(&self, part: &str) {
        let mut bytes = part.as_bytes().to_vec();
        bytes.push(0);
        self.control.write_all_at(&bytes, PART).expect("control");
    }

    /// Makes syncs wait, or go on.
    pub fn hold(&self, hold: bool) {
        self.set(HOLD, u64::from(hold));
    }

    /// How many syncs wait.
    pub fn waiting(&self) -> u64 {
        self.get(WAITING)
    }

    /// Makes each sync take so much longer.
    pub fn delay_micros(&self, micros: u64) {
        self.set(DELAY_MICROS, micros);
    }

    /// Makes so many syncs fail from now on.
    pub fn fail(&self, count: u64) {
        self.set(FAIL, count);
    }

    /// How many syncs have failed.
    pub fn failed(&self) -> u64 {
        self.get(FAILED)
    }

    /// Moves the wall clock.
    pub fn shift_clock(&self, seconds: i64) {
        self.control.write_all_at(&seconds.to_ne_bytes(), CLOCK_SECONDS).expect("control");
    }
}

/// Where what a server says of itself on the way is kept: it must have taken the library.
pub fn loaded_in(pid: u32) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    maps.contains("preload.so")
}
