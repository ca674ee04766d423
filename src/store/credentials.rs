//! Credentials on their way in and out: sealed before a change leaves for its partition, opened
//! for the one endpoint that gives them.
//!
//! Both are done where they are asked for, an HTTP worker's thread: a sealing takes microseconds,
//! a hop to another thread and back takes longer (decision 21).

use super::{Store, StoreError};
use crate::audit::{Actor, AuditError};
use crate::crypto::{Owner, SealError, is_in_legacy};
use crate::domain::{Patch, RecordId, Secret, Table, UserId};

impl Store {
    /// Seals what a patch brings in the open.
    ///
    /// # Errors
    /// [`StoreError::CredentialsUnavailable`] where the keys refuse.
    pub(super) async fn seal(
        &self,
        user: &UserId,
        id: &RecordId,
        patch: &mut Patch,
    ) -> Result<(), StoreError> {
        let Some(plain) = patch.unsealed() else { return Ok(()) };
        let owner = Owner { user, table: patch.table(), id };
        let sealed = self.shared.keys.sealer().seal(&owner, plain).await;
        patch.seal(sealed.map_err(|e| unavailable(&e))?);
        Ok(())
    }

    /// A platform's credentials, one JSON value, in the clear, for `by`; `None` where it has none. The
    /// audit trail has a line about it before this returns.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::CredentialsUnavailable`] and whatever keeps the
    /// store from reading or the audit trail from being written.
    pub async fn credentials(
        &self,
        user: &UserId,
        id: &RecordId,
        by: &Actor,
    ) -> Result<Option<Secret>, StoreError> {
        let mut row = self.get(user, Table::Platforms, id).await?;
        if row.sealed().is_some_and(is_in_legacy) {
            self.reseal_user(user).await?;
            row = self.get(user, Table::Platforms, id).await?;
        }
        let opened = match row.sealed() {
            Some(bytes) => {
                let owner = Owner { user, table: Table::Platforms, id };
                let opened = self.shared.keys.sealer().open(&owner, bytes).await;
                Some(opened.map_err(|e| unavailable(&e))?)
            }
            None => None,
        };
        match self.audit.credentials_read(by, user, id).await {
            Ok(()) => Ok(opened),
            Err(AuditError::Full) => Err(StoreError::StorageFull),
            Err(AuditError::Failed) => Err(StoreError::StorageFailed),
        }
    }
}

fn unavailable(error: &SealError) -> StoreError {
    tracing::warn!(%error, "credentials cannot be used");
    StoreError::CredentialsUnavailable
}
