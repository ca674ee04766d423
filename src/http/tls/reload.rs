//! Taking a new certificate and key: on SIGHUP, and when the files change.
//!
//! The files are looked at every [`EVERY`]; what counts is their content. Tools that renew
//! certificates replace two files one after the other: a pair that does not go together yet is
//! reported once and tried again when one of them changes further.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{Certificates, Pair, TlsError};
use crate::env::FileSystem;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// What one look at the files found.
#[derive(Debug)]
enum Look {
    Same,
    Taken,
    Refused(TlsError),
}

impl Certificates {
    /// Takes new certificates and keys for as long as the server runs. Called on the thread of a
    /// runtime; SIGHUP does nothing else from then on.
    ///
    /// # Errors
    /// Where signals cannot be listened to.
    pub fn keep_current(self, fs: Arc<dyn FileSystem>) -> io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        actix_web::rt::spawn(async move {
            let mut seen = self.loaded;
            loop {
                let asked = tokio::select! {
                    _ = hangup.recv() => true,
                    () = tokio::time::sleep(EVERY) => false,
                };
                let (this, fs) = (self.clone(), Arc::clone(&fs));
                let looking = tokio::task::spawn_blocking(move || {
                    let look = this.look(fs.as_ref(), asked, &mut seen);
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

    /// Looks at the files; takes them where they changed or somebody `asked`. `seen` is a digest
    /// of what was found last.
    fn look(&self, fs: &dyn FileSystem, asked: bool, seen: &mut [u8; 32]) -> Look {
        let pair = Pair::read(fs, &self.files);
        let now = pair.as_ref().map_or([0; 32], Pair::digest);
        let before = std::mem::replace(seen, now);
        if !asked && before == now {
            return Look::Same;
        }
        match pair.and_then(|pair| pair.certified()) {
            Ok(pair) => {
                self.take(pair);
                Look::Taken
            }
            Err(error) => Look::Refused(error),
        }
    }
}
