//! Single exchanges around a run: fetch a path, wait until the server is ready, collect ids.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use thiserror::Error;

use crate::http::{Connection, HttpError};
use crate::requests::{audience_path, authorized, get, listing_path};

/// Pause between two looks at the readiness of a server.
const READY_PAUSE: Duration = Duration::from_millis(2);
/// Records asked for at once when ids are collected.
const IDS_A_PAGE: u32 = 1000;

/// Why an exchange failed.
#[derive(Debug, Error)]
pub enum OnceError {
    /// No usable answer.
    #[error("{path}: {source}")]
    Http {
        /// What was asked for.
        path: String,
        /// What went wrong.
        source: HttpError,
    },
    /// Another status than 200.
    #[error("{path}: status {status}")]
    Status {
        /// What was asked for.
        path: String,
        /// The status.
        status: u16,
    },
    /// A listing that is not what it should be.
    #[error("{path}: {source}")]
    Listing {
        /// What was asked for.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The server did not become ready.
    #[error("not ready within {0:?}: {1}")]
    NotReady(Duration, String),
}

/// The body of `path`, which is percent-encoded.
///
/// # Errors
/// [`OnceError`].
pub async fn fetch(
    connection: &mut Connection,
    path: &str,
    bearer: Option<&str>,
) -> Result<Vec<u8>, OnceError> {
    let answer = connection.fetch(&authorized(get(path), bearer)).await;
    let (head, body) =
        answer.map_err(|source| OnceError::Http { path: path.to_owned(), source })?;
    if head.status == 200 {
        Ok(body)
    } else {
        Err(OnceError::Status { path: path.to_owned(), status: head.status })
    }
}

/// Opens a connection to fetch from.
///
/// # Errors
/// [`OnceError::Http`].
pub async fn open(addr: SocketAddr) -> Result<Connection, OnceError> {
    let opened = Connection::open(addr).await;
    opened.map_err(|source| OnceError::Http { path: addr.to_string(), source })
}

/// Waits until `addr` says that it is ready; gives the time since `since` (nanoseconds of the wall
/// clock since 1970), or since now.
///
/// # Errors
/// [`OnceError::NotReady`] after `timeout`.
pub async fn wait_ready(
    addr: SocketAddr,
    since: Option<u128>,
    timeout: Duration,
) -> Result<Duration, OnceError> {
    let begun = Instant::now();
    let before = since.map_or(0, |since| wall_nanos().saturating_sub(since));
    let mut problem = "no answer".to_owned();
    loop {
        let look = async { fetch(&mut open(addr).await?, "/health/ready", None).await };
        let left = timeout.saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, look).await {
            Ok(Ok(_)) => {
                let before = u64::try_from(before).unwrap_or(u64::MAX);
                return Ok(Duration::from_nanos(before) + begun.elapsed());
            }
            Ok(Err(error)) => problem = error.to_string(),
            // What came before says more than that the time ran out over this one.
            Err(_) => {}
        }
        if begun.elapsed() >= timeout {
            return Err(OnceError::NotReady(timeout, problem));
        }
        tokio::time::sleep(READY_PAUSE).await;
    }
}

fn wall_nanos() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

#[derive(Deserialize)]
struct Listing {
    audiences: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    audience_id: String,
}

/// Paths of at most `most` audiences, the newest of each of `users` in turn.
///
/// # Errors
/// [`OnceError`].
pub async fn collect_audiences(
    addr: SocketAddr,
    users: &[String],
    most: usize,
    bearer: Option<&str>,
) -> Result<Vec<String>, OnceError> {
    let mut connection = open(addr).await?;
    let mut paths = Vec::new();
    for user in users {
        if paths.len() >= most {
            break;
        }
        let path = listing_path(user, IDS_A_PAGE, "&fields=audience_id");
        let body = fetch(&mut connection, &path, bearer).await?;
        let listing: Listing =
            serde_json::from_slice(&body).map_err(|source| OnceError::Listing { path, source })?;
        paths.extend(listing.audiences.iter().map(|row| audience_path(&row.audience_id, user)));
    }
    paths.truncate(most);
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that gives each connection the next of `answers` (status and body), then none.
    async fn answering(answers: Vec<(u16, &'static str)>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let addr = listener.local_addr().expect("address");
        tokio::spawn(async move {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.expect("accept");
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await.expect("request");
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                stream
                    .write_all(&[head.as_bytes(), body.as_bytes()].concat())
                    .await
                    .expect("write");
            }
        });
        addr
    }

    #[tokio::test]
    async fn ready_is_not_before_200() {
        let addr = answering(vec![(503, "{}"), (503, "{}"), (200, "{}")]).await;
        let took = wait_ready(addr, None, Duration::from_secs(10)).await.expect("ready");
        assert!(took >= 2 * READY_PAUSE, "{took:?}");
        let addr = answering(vec![(200, "{}")]).await;
        let since = wall_nanos() - 5_000_000_000;
        let took = wait_ready(addr, Some(since), Duration::from_secs(10)).await.expect("ready");
        assert!((5..15).contains(&took.as_secs()), "{took:?}");
    }

    #[tokio::test]
    async fn giving_up_says_what_was_wrong() {
        let addr = answering(vec![(503, "{}"); 1000]).await;
        let error = wait_ready(addr, None, Duration::from_secs(1)).await.expect_err("not ready");
        assert!(error.to_string().contains("status 503"), "{error}");
    }

    #[tokio::test]
    async fn ids_are_collected_up_to_a_bound() {
        let body =
            r#"{"success":true,"audiences":[{"audience_id":"a"},{"audience_id":"b"}],"count":2}"#;
        let users = ["u/1".to_owned()];
        let paths = collect_audiences(answering(vec![(200, body)]).await, &users, 1, None).await;
        assert_eq!(paths.expect("paths"), ["/api/audiences/a?user_id=u%2F1"]);
        let wrong = collect_audiences(answering(vec![(200, "[]")]).await, &users, 1, None).await;
        assert!(matches!(wrong, Err(OnceError::Listing { .. })));
        let absent = collect_audiences(answering(vec![(404, "{}")]).await, &users, 1, None).await;
        assert!(matches!(absent, Err(OnceError::Status { status: 404, .. })));
    }
}
