//! A real small file system: a tmpfs in a mount namespace of its own, into which the server is
//! started. It takes root or unprivileged user namespaces; without either the test fails and says so.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::Server;
use crate::support::launch::through;

const MISSING: &str = "no small file system could be mounted: this test needs `unshare`, `nsenter` \
     and `mount` (util-linux), and root or unprivileged user namespaces (`sysctl \
     kernel.unprivileged_userns_clone=1` on Debian, `kernel.apparmor_restrict_unprivileged_userns=0` \
     on Ubuntu)";

/// A file system of some MiB. It goes with this value.
pub struct SmallDisk {
    /// Keeps the namespace: it reads until its input ends.
    holder: Child,
    point: PathBuf,
    _folder: TempDir,
}

impl SmallDisk {
    /// An empty one.
    pub fn of_mib(mib: usize) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let point = folder.path().join("disk");
        fs::create_dir(&point).expect("folder");
        let script = "mount -t tmpfs -o size=\"$1\" tmpfs \"$2\" && echo mounted && exec cat";
        let holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "--", "sh", "-c", script, "sh"])
            .arg(format!("{mib}m"))
            .arg(&point)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut holder = holder.unwrap_or_else(|e| panic!("{MISSING}: {e}"));
        let mut said = String::new();
        let out = holder.stdout.as_mut().expect("stdout");
        BufReader::new(out).read_line(&mut said).expect("read");
        let disk = Self { holder, point, _folder: folder };
        assert_eq!(said, "mounted\n", "{MISSING}");
        disk
    }

    /// Where the store is, seen from outside of the namespace.
    pub fn data(&self) -> PathBuf {
        self.seen().join("data")
    }

    fn seen(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.point.strip_prefix("/").expect("absolute"))
    }

    /// A server on it, ready. `dress` as in [`Server::launched`].
    pub async fn server(&self, args: &[&str], dress: impl FnOnce(Command) -> Command) -> Server {
        let namespace = self.holder.id().to_string();
        let enter =
            ["nsenter", "--target", &namespace, "--user", "--mount", "--preserve-credentials"];
        let inside = |command| through(&enter, &dress(command));
        let mut server = Server::launched(&self.point.join("data"), args, inside)
            .unwrap_or_else(|e| panic!("{e}"));
        server.data = self.data();
        server.ready().await;
        server
    }

    /// Takes all the space there is.
    pub fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.filler());
        let filler = filler.as_mut().expect("filler");
        for size in [64 * 1024, 512] {
            let block = vec![0xaa; size];
            loop {
                match filler.write_all(&block) {
                    Ok(()) => {}
                    Err(e) if e.kind() == ErrorKind::StorageFull => break,
                    Err(e) => panic!("{e}"),
                }
            }
        }
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("filler");
    }

    fn filler(&self) -> PathBuf {
        self.seen().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The bytes of a file, or nothing where there is none.
pub fn bytes_of(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}
