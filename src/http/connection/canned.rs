//! Answers written by hand, where nothing of a request was understood or may be read.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::error::ApiError;
use crate::http::headers;
use crate::http::refusal::Refusal;

/// How long a refused client may take to read why.
const GOODBYE: Duration = Duration::from_secs(1);
/// What is read of a refused client's request at most, so that its answer is not lost in a reset.
const DISCARDED: usize = 64 * 1024;

/// A whole HTTP/1.1 answer that ends its connection.
#[must_use]
pub fn answer(error: &ApiError, tls: bool) -> Vec<u8> {
    let (status, body) = (error.status(), error.body());
    let reason = status.canonical_reason().unwrap_or("Error");
    let mut text = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n",
        status.as_u16(),
        body.len()
    );
    if let Some(seconds) = error.retry_seconds() {
        text.push_str("retry-after: ");
        text.push_str(itoa::Buffer::new().format(seconds));
        text.push_str("\r\n");
    }
    headers::as_lines(tls, &mut text);
    text.push_str("\r\n");
    text.push_str(&body);
    text.into_bytes()
}

/// The answer to a request whose head came too slowly.
#[must_use]
pub fn slow_head() -> ApiError {
    ApiError::new("REQUEST_TIMEOUT", "The head of the request took too long")
}

/// Tells a client over a plain connection why it is not served, and ends the connection.
pub async fn refuse(mut stream: TcpStream, error: &ApiError) {
    let goodbye = async {
        let mut part = [0; 1024];
        // To many clients, an answer that comes before they asked is none.
        let mut seen = stream.read(&mut part).await?;
        stream.write_all(&answer(error, false)).await?;
        stream.shutdown().await?;
        while seen < DISCARDED {
            match stream.read(&mut part).await? {
                0 => break,
                n => seen += n,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // Whoever does not listen has been told all the same.
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}

/// Finds an answer of the HTTP library that has no body at the end of what it is about to write:
/// where it begins, and what to send instead.
#[must_use]
pub fn bodiless(written: &[u8]) -> Option<(usize, ApiError, Refusal)> {
    // Answers of ours end in a body, but for those to HEAD and 304, which say no length of zero.
    let head = written.strip_suffix(b"\r\n\r\n")?;
    let begin = head.windows(7).rposition(|part| part == b"HTTP/1.")?;
    let head = std::str::from_utf8(head.get(begin..)?).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?;
    let (error, refusal) = match status {
        "400" => {
            let message = "What was sent is not an HTTP request this server understands";
            (ApiError::new("MALFORMED_REQUEST", message), Refusal::Malformed)
        }
        "431" => {
            let message = "The head of the request is larger than the server takes";
            (ApiError::new("HEADERS_TOO_LARGE", message), Refusal::LargeHead)
        }
        _ => return None,
    };
    lines
        .any(|line| line.eq_ignore_ascii_case("content-length: 0"))
        .then_some((begin, error, refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole() {
        let bytes = answer(&slow_head(), true);
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
        assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
        assert!(head.contains("\r\nstrict-transport-security: "), "{head}");
        assert!(body.contains("\"REQUEST_TIMEOUT\""), "{body}");
    }

    #[test]
    fn only_a_bodiless_error_at_the_end_is_replaced() {
        let ours = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let theirs = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let found = |text: &str| {
            bodiless(text.as_bytes()).map(|(at, error, _)| (at, error.status().as_u16()))
        };
        assert_eq!(found(theirs), Some((0, 400)));
        assert_eq!(found(&format!("{ours}{theirs}")), Some((ours.len(), 400)));
        assert_eq!(found(&theirs.replace("400", "431")), Some((0, 431)));
        for other in [
            ours,
            "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 90\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nmore",
            "\r\n\r\n",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
