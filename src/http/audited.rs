//! How many lines one caller may put into the audit trail. The trail is bounded in size, so each
//! line pushes an older one out. Requests that leave a line on purpose (credentials shown, a user
//! erased, a token made) have a limit a minute and caller; refusals have a budget of their own
//! ([`crate::audit`]).

use super::error::ApiError;
use super::guard::Caller;
use super::refusal::Refusal;
use super::state::AppState;
use crate::domain::UserId;

/// Counts a request of `caller` that will leave a line in the audit trail. Where callers have no
/// user of their own (`--auth off`) it counts as `of`'s, whom it is about.
///
/// # Errors
/// 429 `RATE_LIMITED`.
pub fn admit(state: &AppState, caller: &Caller, of: &UserId) -> Result<(), ApiError> {
    let Some(limiter) = state.bounds.audited.as_ref() else { return Ok(()) };
    let by = caller.actor().user;
    let standing = limiter.take(by.as_ref().unwrap_or(of));
    if !standing.refused {
        return Ok(());
    }
    let message = format!("A user may ask {} times a minute for what is audited", standing.quota);
    let error = ApiError::new("RATE_LIMITED", message).retry_after(standing.next_in);
    Err(error.refusing(Refusal::Audited))
}
