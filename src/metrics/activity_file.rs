//! Where activity outlives the process: `metrics/activity` below the store's root, mode 0600,
//! replaced whole once a minute where something changed and at a clean stop. A crash loses at most
//! that minute.
//!
//! Format, little-endian: the eight bytes `ASACTIV1`; the key, 16 bytes; the day of the lowest bit,
//! i64; the level, u32; the number of users, u32; a hash and the days of each, u64 both; CRC32C of
//! all before, u32. No user id is in it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::activity::{Activity, CAPACITY, Kept};
use crate::env::Env;

const MAGIC: &[u8; 8] = b"ASACTIV1";
const FOLDER: &str = "metrics";
const FILE: &str = "activity";
/// How often it is written.
const EVERY: Duration = Duration::from_mins(1);

/// The file of a store's activity. Cheap to clone.
#[derive(Clone)]
pub struct ActivityFile {
    env: Env,
    path: PathBuf,
}

impl ActivityFile {
    /// The file of the store in `root`; it need not exist.
    #[must_use]
    pub fn new(env: &Env, root: &Path) -> Self {
        Self { env: env.clone(), path: root.join(FOLDER).join(FILE) }
    }

    /// What was kept; nobody where there is no file. One that cannot be read is set aside, and
    /// counting begins anew: the numbers of users are worth less than a start. Blocking.
    #[must_use]
    pub fn load(&self) -> Activity {
        let kept = match self.env.fs.read(&self.path).map(|bytes| decode(&bytes)) {
            Ok(Some(kept)) => Some(kept),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            damaged => {
                let aside = self.path.with_extension("damaged");
                let moved = self.env.fs.rename(&self.path, &aside);
                let error = damaged.err().or(moved.err()).map(|e| e.to_string());
                tracing::warn!(?error, "the file of user activity is damaged: counted anew");
                None
            }
        };
        Activity::new(kept.unwrap_or_else(|| {
            let mut bytes = [0; 16];
            self.env.random.fill(&mut bytes);
            let key = u128::from_le_bytes(bytes);
            #[allow(clippy::cast_possible_truncation, reason = "two halves")]
            Kept::empty([key as u64, (key >> 64) as u64])
        }))
    }

    /// Writes what changed since the last call. On return it survives power loss. Blocking.
    pub fn save(&self, activity: &Activity) {
        let Some(kept) = activity.changes() else { return };
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let written = self.env.fs.create_dir_all(folder);
        let written =
            written.and_then(|()| self.env.fs.replace_private(&self.path, &encode(&kept)));
        if let Err(error) = written {
            activity.not_written();
            tracing::warn!(%error, "user activity could not be written and will be tried again");
        }
    }

    /// Writes it now and then, for as long as the runtime lives.
    pub async fn keep(self, activity: Arc<Activity>) {
        loop {
            tokio::time::sleep(EVERY).await;
            let (file, activity) = (self.clone(), Arc::clone(&activity));
            // A panic in it is told by the runtime; the next turn tries again.
            let _ = tokio::task::spawn_blocking(move || file.save(&activity)).await;
        }
    }
}

fn encode(kept: &Kept) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(48 + kept.users.len() * 16);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&kept.key[0].to_le_bytes());
    bytes.extend_from_slice(&kept.key[1].to_le_bytes());
    bytes.extend_from_slice(&kept.today.to_le_bytes());
    bytes.extend_from_slice(&kept.level.to_le_bytes());
    // At most CAPACITY.
    bytes.extend_from_slice(&u32::try_from(kept.users.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (hash, days) in &kept.users {
        bytes.extend_from_slice(&hash.to_le_bytes());
        bytes.extend_from_slice(&days.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// What was written; `None` where the bytes are not that.
fn decode(bytes: &[u8]) -> Option<Kept> {
    let (bytes, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(bytes) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (low, rest) = rest.split_first_chunk::<8>()?;
    let (high, rest) = rest.split_first_chunk::<8>()?;
    let (today, rest) = rest.split_first_chunk::<8>()?;
    let (level, rest) = rest.split_first_chunk::<4>()?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (users, left) = rest.as_chunks::<16>();
    if magic != MAGIC || count != users.len() || count > CAPACITY || !left.is_empty() {
        return None;
    }
    let user = |both: &[u8; 16]| {
        let both = u128::from_le_bytes(*both);
        #[allow(clippy::cast_possible_truncation, reason = "two halves")]
        (both as u64, (both >> 64) as u64)
    };
    Some(Kept {
        key: [u64::from_le_bytes(*low), u64::from_le_bytes(*high)],
        today: i64::from_le_bytes(*today),
        level: u32::from_le_bytes(*level),
        users: users.iter().map(user).collect::<HashMap<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Micros, UserId};

    fn kept() -> Kept {
        let mut kept = Kept::empty([1, u64::MAX]);
        kept.today = 20_000;
        kept.level = 2;
        kept.users = (1..=100).map(|n: u64| (n << 2, n)).collect();
        kept
    }

    #[test]
    fn what_is_written_is_read_and_nothing_damaged_is() {
        let bytes = encode(&kept());
        assert_eq!(decode(&bytes), Some(kept()));
        for cut in [0, 3, 47, bytes.len() - 1] {
            assert_eq!(decode(&bytes[..cut]), None, "{cut}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged), None, "{at}");
        }
    }

    #[test]
    fn activity_outlives_the_process_without_ids_and_damage_is_set_aside() {
        let folder = tempfile::tempdir().expect("folder");
        let file = ActivityFile::new(&Env::system(), folder.path());
        let user = UserId::checked("somebody@example.com").expect("user");
        let activity = file.load();
        activity.mark(&user, Micros::new(20_000 * 86_400_000_000));
        file.save(&activity);
        let bytes = Env::system().fs.read(&file.path).expect("written");
        assert!(!bytes.windows(8).any(|w| w == b"somebody"));
        let again = file.load();
        again.mark(&user, Micros::new(20_000 * 86_400_000_000));
        assert_eq!(again.changes().expect("marked").users.len(), 1, "the same key: the same user");
        Env::system().fs.replace(&file.path, b"nonsense").expect("damaged");
        assert!(file.load().changes().is_none());
        assert!(Env::system().fs.stat(&file.path.with_extension("damaged")).is_ok());
    }
}
