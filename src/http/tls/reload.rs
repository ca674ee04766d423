//! Taking a new certificate and key: on SIGHUP, and when the files change.
//!
//! The files are looked at every [`EVERY`]; what counts is their content. Tools that renew
//! certificates replace two files one after the other: a pair that does not go together yet is
//! reported once and tried again when one of them changes further. A certificate that does not hold
//! yet is tried again when it does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{Certificates, Pair, TlsError};
use crate::domain::Micros;
use crate::env::{Clock, FileSystem};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// What one look at the files found.
#[derive(Debug)]
enum Look {
    Same,
    Taken,
    Refused(TlsError),
}

/// What the looks before found.
#[derive(Clone, Copy)]
struct Seen {
    /// A digest of the files.
    files: [u8; 32],
    /// When the certificate in them will hold, where it does not yet.
    waits: Option<Micros>,
}

impl Certificates {
    /// Takes new certificates and keys for as long as the server runs. Called on the thread of a
    /// runtime; SIGHUP does nothing else from then on.
    ///
    /// # Errors
    /// Where signals cannot be listened to.
    pub fn keep_current(self, fs: Arc<dyn FileSystem>, clock: Arc<dyn Clock>) -> io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        actix_web::rt::spawn(async move {
            let mut seen = Seen { files: self.loaded, waits: None };
            loop {
                let asked = tokio::select! {
                    _ = hangup.recv() => true,
                    () = tokio::time::sleep(EVERY) => false,
                };
                let (this, fs, now) = (self.clone(), Arc::clone(&fs), clock.now());
                let looking = tokio::task::spawn_blocking(move || {
                    let look = this.look(fs.as_ref(), now, asked, &mut seen);
                    (look, seen)
                });
                let Ok((look, now)) = looking.await else { return };
                seen = now;
                match look {
                    Look::Same => {}
                    Look::Taken => tracing::info!("the certificate and key were taken anew"),
                    Look::Refused(error) => tracing::error!(
                        %error,
                        "the new certificate and key cannot be used; the old ones stay in use"
                    ),
                }
            }
        });
        Ok(())
    }

    /// Looks at the files; takes them where they changed, their time came, or somebody `asked`.
    fn look(&self, fs: &dyn FileSystem, now: Micros, asked: bool, seen: &mut Seen) -> Look {
        let pair = Pair::read(fs, &self.files);
        let files = pair.as_ref().map_or([0; 32], Pair::digest);
        let due = seen.waits.is_some_and(|from| from <= now);
        if !asked && !due && seen.files == files {
            return Look::Same;
        }
        *seen = Seen { files, waits: None };
        let usable = pair.and_then(|pair| pair.usable());
        match usable.and_then(|usable| usable.holds(now).map(|()| usable)) {
            Ok(usable) => {
                self.take(usable);
                Look::Taken
            }
            Err(error) => {
                if let TlsError::NotYet { from } = error {
                    seen.waits = Some(from);
                }
                Look::Refused(error)
            }
        }
    }
}
