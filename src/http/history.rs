//! Keeping the history of what this server counts.

use std::sync::Arc;
use std::time::Duration;

use super::metrics::gather;
use super::state::AppState;
use crate::metrics::history::{Keeper, Sample};

/// Adds what was counted to the history, now and every so often, for as long as the runtime lives.
pub async fn keep(state: AppState, keeper: Arc<Keeper>, every: Duration) {
    loop {
        let (its, kept) = (state.clone(), Arc::clone(&keeper));
        // A panic in it is told by the runtime; the next turn tries again.
        let _ = state.env.blocking(move || kept.add(Sample::of(&gather(&its)))).await;
        tokio::time::sleep(every).await;
    }
}

/// Adds the rest, at a clean stop.
pub async fn end(state: AppState, keeper: Arc<Keeper>) {
    let env = state.env.clone();
    let _ = env.blocking(move || keeper.end(Sample::of(&gather(&state)))).await;
}
