//! The task that fetches a JSON web key set: every so often, and sooner where a token names a key
//! that is not known. Requests never fetch; one that needs a new key waits for the task, which
//! answers as soon as the keys are as new as the policy lets them be.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::policy::{History, Policy};
use super::{KeyUrl, Keys};
use crate::auth::Published;
use crate::env::Clock;

/// How long a fetch may take, its body included.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest set, in bytes.
const MAX_BYTES: usize = 256 << 10;
/// Requests that may wait for the same fetch.
const WAITING: usize = 256;

/// Asks for keys that are as new as may be; answered when they are.
pub type Ask = oneshot::Sender<()>;

/// The task, before it runs.
pub struct Fetching {
    url: KeyUrl,
    trusts: Option<Arc<rustls::ClientConfig>>,
    policy: Policy,
    clock: Arc<dyn Clock>,
    keys: Arc<Published<Keys>>,
    asked: mpsc::Receiver<Ask>,
}

impl Fetching {
    /// A task that has fetched nothing, and where to ask it. It trusts the public authorities
    /// where `trusts` does not say otherwise.
    #[must_use]
    pub fn new(
        url: KeyUrl,
        trusts: Option<Arc<rustls::ClientConfig>>,
        policy: Policy,
        clock: Arc<dyn Clock>,
        keys: Arc<Published<Keys>>,
    ) -> (Self, mpsc::Sender<Ask>) {
        let (ask, asked) = mpsc::channel(WAITING);
        (Self { url, trusts, policy, clock, keys, asked }, ask)
    }

    /// Fetches until nobody can ask any more. Called on an actix system's thread.
    pub async fn run(mut self) {
        // Whoever came first has installed it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut connector = awc::Connector::new();
        if let Some(trusts) = self.trusts.clone() {
            connector = connector.rustls_0_23(trusts);
        }
        let builder = awc::Client::builder().connector(connector);
        let client = builder.timeout(PATIENCE).disable_redirects().finish();
        let mut history = History::default();
        loop {
            let wait = history.wait(&self.policy, self.clock.monotonic());
            let ask = tokio::select! {
                biased;
                asked = self.asked.recv() => match asked {
                    Some(ask) => Some(ask),
                    None => return,
                },
                () = tokio::time::sleep(wait) => None,
            };
            if ask.is_none() || history.may(&self.policy, self.clock.monotonic()) {
                self.fetch(&client, &mut history).await;
            }
            if let Some(ask) = ask {
                // Whoever went away does not wait.
                let _ = ask.send(());
            }
        }
    }

    async fn fetch(&self, client: &awc::Client, history: &mut History) {
        let fetched = tokio::time::timeout(PATIENCE, get(client, &self.url)).await;
        let fetched = fetched.unwrap_or_else(|_| Err("it took too long".to_owned()));
        let now = self.clock.monotonic();
        history.ended(now, fetched.is_ok());
        match fetched {
            Ok(keys) => self.keys.publish(keys),
            Err(error) => {
                let serves = history.serves(&self.policy, now);
                tracing::warn!(error, old_keys_serve = serves, "keys could not be fetched");
                if !serves && !matches!(*self.keys.get(), Keys::None) {
                    self.keys.publish(Keys::None);
                }
            }
        }
    }
}

async fn get(client: &awc::Client, url: &KeyUrl) -> Result<Keys, String> {
    let request = client.get(url.as_str()).insert_header(("Accept", "application/json"));
    let mut response = request.send().await.map_err(|e| e.to_string())?;
    if response.status() != awc::http::StatusCode::OK {
        return Err(format!("the answer is {}", response.status()));
    }
    let body = response.body().limit(MAX_BYTES).await.map_err(|e| e.to_string())?;
    Keys::set(&body).map_err(|e| e.to_string())
}
