//! Real small file systems, each in a mount namespace of its own, into which the server is started:
//! a tmpfs, which takes root or unprivileged user namespaces and without either fails the test; and
//! an ext4 on a loop device, which takes root and is left out, with a word, where the machine lacks
//! what it needs.

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

/// A kind of file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Tmpfs,
    /// With a journal, in a file behind a loop device.
    Ext4,
}

impl Kind {
    /// Makes one of `$1` MiB and mounts it on `$2`. `$3` is a name for a file.
    fn script(self) -> &'static str {
        match self {
            Self::Tmpfs => "mount -t tmpfs -o size=\"$1m\" tmpfs \"$2\"",
            // No block is root's alone: as on the other, all can be taken.
            Self::Ext4 => {
                "truncate -s \"$1M\" \"$3\" && mkfs.ext4 -q -F -b 4096 -m 0 \"$3\" \
                 && mount -t ext4 -o loop \"$3\" \"$2\""
            }
        }
    }

    /// What becomes a process in namespaces of its own.
    fn unshare(self) -> &'static [&'static str] {
        match self {
            Self::Tmpfs => &["--user", "--map-root-user", "--mount"],
            // A user namespace may not mount what is on a device.
            Self::Ext4 => &["--mount"],
        }
    }

    /// What enters them.
    fn enter(self) -> &'static [&'static str] {
        match self {
            Self::Tmpfs => &["--user", "--mount", "--preserve-credentials"],
            Self::Ext4 => &["--mount"],
        }
    }

    /// What the machine lacks for it; where it lacks nothing that can be seen, it must work.
    fn lacks(self) -> Option<&'static str> {
        let finds = |program: &str| {
            let asked = Command::new(program).arg("-V").stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success())
        };
        match self {
            Self::Tmpfs => None,
            Self::Ext4 if !rustix::process::geteuid().is_root() => Some("root"),
            Self::Ext4 if !Path::new("/dev/loop-control").exists() => Some("/dev/loop-control"),
            Self::Ext4 if !finds("mkfs.ext4") => Some("mkfs.ext4 (e2fsprogs)"),
            Self::Ext4 => None,
        }
    }
}

/// A file system of some MiB. It goes with this value.
pub struct SmallDisk {
    kind: Kind,
    /// Keeps the namespace: it reads until its input ends.
    holder: Child,
    point: PathBuf,
    _folder: TempDir,
}

impl SmallDisk {
    /// An empty one of each kind that the machine can make, one after another.
    pub fn each_of_mib(mib: usize) -> impl Iterator<Item = Self> {
        [Kind::Tmpfs, Kind::Ext4].into_iter().filter_map(move |kind| {
            if let Some(lacking) = kind.lacks() {
                println!("not tried on {kind:?}, which needs {lacking}");
                return None;
            }
            println!("on {kind:?}:");
            Some(Self::of(kind, mib))
        })
    }

    fn of(kind: Kind, mib: usize) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let point = folder.path().join("disk");
        fs::create_dir(&point).expect("folder");
        let script = format!("{} && echo mounted && exec cat", kind.script());
        let holder = Command::new("unshare")
            .args(kind.unshare())
            .args(["--", "sh", "-c", &script, "sh"])
            .arg(mib.to_string())
            .arg(&point)
            .arg(folder.path().join("image"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut holder = holder.unwrap_or_else(|e| panic!("{MISSING}: {e}"));
        let mut said = String::new();
        let out = holder.stdout.as_mut().expect("stdout");
        BufReader::new(out).read_line(&mut said).expect("read");
        let disk = Self { kind, holder, point, _folder: folder };
        match kind {
            Kind::Tmpfs => assert_eq!(said, "mounted\n", "{MISSING}"),
            Kind::Ext4 => assert_eq!(said, "mounted\n", "no ext4 on a loop device"),
        }
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
        let mut enter = vec!["nsenter", "--target", &namespace];
        enter.extend(self.kind.enter());
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
