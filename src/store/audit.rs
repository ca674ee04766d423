//! The audit trail: one JSON object a line, appended and synced, never rewritten.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::domain::UserId;
use crate::domain::json_text::push_string;
use crate::env::{Env, OpenMode};

/// Folder and file below the store's root.
const FOLDER: &str = "audit";
const FILE: &str = "audit.jsonl";

/// The trail.
pub struct Audit {
    env: Env,
    root: PathBuf,
    /// Lines are appended one at a time.
    writing: Mutex<()>,
}

impl Audit {
    /// The trail of the store in `root`.
    #[must_use]
    pub fn new(env: Env, root: PathBuf) -> Self {
        Self { env, root, writing: Mutex::new(()) }
    }

    /// Notes that a user was erased, with counts. On return the line survives power loss.
    /// Blocking.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn user_erased(&self, user: &UserId, counts: &[(&str, u64)]) -> io::Result<()> {
        let mut line = self.begin("user_erased");
        line.push_str(",\"user_id\":");
        push_string(user.as_str(), &mut line);
        for (name, count) in counts {
            line.push_str(",\"");
            line.push_str(name);
            line.push_str("\":");
            line.push_str(&count.to_string());
        }
        line.push_str("}\n");
        self.append(line.as_bytes())
    }

    /// Notes that a platform's credentials were read in the clear. On return the line survives
    /// power loss. Blocking.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn credentials_read(&self, user: &UserId, platform_id: &str) -> io::Result<()> {
        let mut line = self.begin("credentials_read");
        line.push_str(",\"user_id\":");
        push_string(user.as_str(), &mut line);
        line.push_str(",\"platform_id\":");
        push_string(platform_id, &mut line);
        line.push_str("}\n");
        self.append(line.as_bytes())
    }

    /// Notes what became of a key of the ring. On return the line survives power loss. Blocking.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn key_changed(&self, action: &str, key: &str) -> io::Result<()> {
        let mut line = self.begin(action);
        line.push_str(",\"key\":");
        push_string(key, &mut line);
        line.push_str("}\n");
        self.append(line.as_bytes())
    }

    fn begin(&self, action: &str) -> String {
        format!("{{\"time\":\"{}\",\"action\":\"{action}\"", self.env.clock.now())
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        // A panic in here leaves nothing half done that the next line would not mend.
        let _one = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let folder = self.root.join(FOLDER);
        let path = folder.join(FILE);
        self.env.fs.create_dir_all(&folder)?;
        let file = match self.env.fs.open(&path, OpenMode::Write) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let file = self.env.fs.open(&path, OpenMode::CreateNew)?;
                self.env.fs.sync_dir(&folder)?;
                file
            }
            other => other?,
        };
        file.write_all_at(line, file.len()?)?;
        file.sync_data()
    }
}
