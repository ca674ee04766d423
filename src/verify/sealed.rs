//! Sealed credentials: is it an envelope, is its key known, and, where asked, does it open.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::report::{Code, Finding, Report};
use crate::crypto::envelope::Stored;
use crate::crypto::{KeyId, LocalKeys, Owner, Ring, SealError, Sealer};
use crate::domain::{PartitionKey, Row};
use crate::env::Env;

/// Where the ring comes from, read again where a key is not in it: somebody may have changed it.
type Source = Box<dyn Fn() -> Option<Ring>>;

/// The keys at hand.
pub struct Keyring {
    env: Env,
    source: Source,
    runtime: Option<tokio::runtime::Runtime>,
    held: Option<(Arc<Sealer>, BTreeSet<String>)>,
    missing: BTreeSet<String>,
}

impl Keyring {
    /// The keys of what `source` gives; without a ring, keys and contents are not checked.
    pub fn new(env: &Env, source: impl Fn() -> Option<Ring> + 'static) -> Self {
        // Without a runtime nothing is opened, and that is said.
        let runtime = tokio::runtime::Builder::new_current_thread().build().ok();
        let mut keyring = Self {
            env: env.clone(),
            source: Box::new(source),
            runtime,
            held: None,
            missing: BTreeSet::new(),
        };
        keyring.read();
        keyring
    }

    fn read(&mut self) {
        self.held = (self.source)().map(|ring| {
            let ids = ring.keys().iter().map(|key| key.id.as_str().to_owned()).collect();
            let random = Arc::clone(&self.env.random);
            let service = Arc::new(LocalKeys::new(ring, Arc::clone(&random)));
            (Arc::new(Sealer::new(service, random)), ids)
        });
    }

    /// Whether the ring has a key; `None` without a ring.
    fn knows(&mut self, id: &KeyId) -> Option<bool> {
        let has = |held: &Option<(Arc<Sealer>, BTreeSet<String>)>| {
            held.as_ref().map(|(_, ids)| ids.contains(id.as_str()))
        };
        if has(&self.held) == Some(false) && self.missing.insert(id.as_str().to_owned()) {
            self.read();
        }
        has(&self.held)
    }

    /// Checks the credentials of a row, where it has some. `open`: whether to open them. A key
    /// that the ring lacks is handed back: it may be gone on purpose.
    #[must_use]
    pub(super) fn check(
        &mut self,
        report: &mut Report,
        (file, key, lsn): (&str, &PartitionKey, Option<u64>),
        row: &Row,
        open: bool,
    ) -> Option<Finding> {
        let bytes = row.sealed()?;
        let finding = |code, what: String| {
            let what = format!("record {}: {what}", row.id);
            Finding { code, file: file.to_owned(), what, offset: None, lsn }
        };
        let envelope = match Stored::parse(bytes) {
            // Its credentials are in a file of `legacy/`, which is checked there.
            Ok(Stored::KeptInLegacy { .. }) => return None,
            Ok(Stored::Sealed(envelope)) => envelope,
            Err(error) => {
                report.add(finding(Code::SealedMalformed, error.to_string()));
                return None;
            }
        };
        *report.sealed.entry(envelope.key_id.as_str().to_owned()).or_default() += 1;
        match self.knows(&envelope.key_id) {
            Some(false) => {
                let what = format!("key {} is not in the ring", envelope.key_id);
                return Some(finding(Code::SealedKeyUnknown, what));
            }
            Some(true) if open => {
                let owner = Owner { user: key.user(), table: key.table(), id: &row.id };
                match self.open(&owner, bytes) {
                    Some(Ok(())) => report.opened += 1,
                    Some(Err(error)) => {
                        report.add(finding(Code::SealedDoesNotOpen, error.to_string()));
                    }
                    None => {}
                }
            }
            Some(true) => {}
            None if report.counts.contains_key(&Code::KeysNotChecked) => {}
            None => {
                let what = "there is no key ring at hand: whose keys these are is not checked";
                report.note(Code::KeysNotChecked, file, what);
            }
        }
        None
    }

    fn open(&self, owner: &Owner<'_>, bytes: &[u8]) -> Option<Result<(), SealError>> {
        let (runtime, (sealer, _)) = (self.runtime.as_ref()?, self.held.as_ref()?);
        Some(runtime.block_on(sealer.open(owner, bytes)).map(|_| ()))
    }
}
