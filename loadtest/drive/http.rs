//! As much of HTTP/1.1 as a load driver needs: one request, one answer with a `Content-Length`,
//! over a connection that is kept.
//!
//! A chunked answer, a missing length and bytes after the answer are errors, not guesses. Nothing
//! is pipelined. A body is counted and thrown away unless it is asked for.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes read at once; the longest head of an answer.
const BUFFER_BYTES: usize = 32 * 1024;

/// Why a request got no usable answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The connection failed.
    #[error("{}", .0.kind())]
    Io(#[from] io::Error),
    /// The server closed the connection before the answer was complete.
    #[error("connection closed by the server")]
    Closed,
    /// What came is not an answer in HTTP/1.1.
    #[error("malformed answer: {0}")]
    Malformed(&'static str),
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Whether the server closes the connection after the body.
    pub close: bool,
    /// Bytes of the head itself.
    len: usize,
}

/// Reads the head of an answer from the start of `bytes`; `None` where more bytes are needed.
///
/// # Errors
/// [`HttpError::Malformed`].
pub fn parse_head(bytes: &[u8]) -> Result<Option<Head>, HttpError> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let mut lines = bytes[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let status = parse_status(lines.next().unwrap_or_default())?;
    let mut body_bytes = None;
    let mut close = false;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':');
        let Some((name, value)) = colon.map(|at| (&line[..at], line[at + 1..].trim_ascii())) else {
            return Err(HttpError::Malformed("a header without a colon"));
        };
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            body_bytes = Some(length.ok_or(HttpError::Malformed("content-length"))?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(HttpError::Malformed("chunked answers are not supported by this driver"));
        } else if name.eq_ignore_ascii_case(b"connection") {
            close = value.eq_ignore_ascii_case(b"close");
        }
    }
    let bodiless = status < 200 || status == 204 || status == 304;
    let body_bytes = match body_bytes {
        _ if bodiless => 0,
        Some(length) => length,
        None => return Err(HttpError::Malformed("no content-length")),
    };
    Ok(Some(Head { status, body_bytes, close, len: end + 4 }))
}

/// The status of `HTTP/1.1 201 Created`.
fn parse_status(line: &[u8]) -> Result<u16, HttpError> {
    let code = line.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let code = code.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    code.ok_or(HttpError::Malformed("status line"))
}

/// A connection that carries one request after another.
pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
}

impl Connection {
    /// Connects to `address`.
    ///
    /// # Errors
    /// [`HttpError::Io`].
    pub async fn open(address: SocketAddr) -> Result<Self, HttpError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES].into_boxed_slice() })
    }

    /// Sends `request` and reads the whole answer, dropping its body.
    ///
    /// # Errors
    /// [`HttpError`]; the connection cannot be used further.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Head, HttpError> {
        self.exchange_with(request, |_| {}).await
    }

    /// Sends `request` and reads the whole answer, body included.
    ///
    /// # Errors
    /// [`HttpError`]; the connection cannot be used further.
    pub async fn fetch(&mut self, request: &[u8]) -> Result<(Head, Vec<u8>), HttpError> {
        let mut body = Vec::new();
        let head = self.exchange_with(request, |bytes| body.extend_from_slice(bytes)).await?;
        Ok((head, body))
    }

    async fn exchange_with(
        &mut self,
        request: &[u8],
        mut keep: impl FnMut(&[u8]),
    ) -> Result<Head, HttpError> {
        self.stream.write_all(request).await?;
        let (head, mut filled) = self.read_head().await?;
        let mut start = head.len;
        let mut missing = head.body_bytes;
        loop {
            let body = &self.buffer[start..filled];
            missing = missing
                .checked_sub(body.len())
                .ok_or(HttpError::Malformed("bytes after the answer"))?;
            keep(body);
            if missing == 0 {
                return Ok(head);
            }
            start = 0;
            filled = self.read_into(0).await?;
        }
    }

    /// Reads until the head is complete; also gives the bytes in the buffer.
    async fn read_head(&mut self) -> Result<(Head, usize), HttpError> {
        let mut filled = 0;
        loop {
            filled += self.read_into(filled).await?;
            if let Some(head) = parse_head(&self.buffer[..filled])? {
                return Ok((head, filled));
            }
            if filled == self.buffer.len() {
                return Err(HttpError::Malformed("head too long"));
            }
        }
    }

    async fn read_into(&mut self, from: usize) -> Result<usize, HttpError> {
        match self.stream.read(&mut self.buffer[from..]).await? {
            0 => Err(HttpError::Closed),
            read => Ok(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const ANSWER: &[u8] =
        b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\ncontent-type: text/plain\r\n\r\n";

    #[test]
    fn reads_a_head_once_it_is_complete() {
        for cut in 0..ANSWER.len() {
            assert!(parse_head(&ANSWER[..cut]).expect("part of a head").is_none(), "{cut}");
        }
        let head = Head { status: 201, body_bytes: 5, close: false, len: ANSWER.len() };
        assert_eq!(parse_head(&[ANSWER, b"hello"].concat()).expect("head"), Some(head));
    }

    #[test]
    fn a_bodiless_answer_needs_no_length() {
        let head = parse_head(b"HTTP/1.1 304 Not Modified\r\nConnection: Close\r\n\r\n");
        let head = head.expect("head").expect("complete");
        assert_eq!((head.status, head.body_bytes, head.close), (304, 0, true));
    }

    #[test]
    fn what_it_cannot_read_is_an_error() {
        for bad in [
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ndate: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
            "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert!(parse_head(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// A server that sends `pieces` to whoever connects, each in a write of its own, then closes.
    async fn answering(pieces: Vec<Vec<u8>>) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut request = [0; 1];
            stream.read_exact(&mut request).await.expect("request");
            for piece in pieces {
                stream.write_all(&piece).await.expect("write");
                stream.flush().await.expect("flush");
                tokio::task::yield_now().await;
            }
        });
        Connection::open(address).await.expect("connect")
    }

    #[tokio::test]
    async fn a_long_body_arrives_whole() {
        let body: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let (first, second) = head.as_bytes().split_at(20);
        let mut connection = answering(vec![first.to_vec(), second.to_vec(), body.clone()]).await;
        let (head, found) = connection.fetch(b"x").await.expect("answer");
        assert_eq!(head.body_bytes, body.len());
        assert!(found == body);
    }

    #[tokio::test]
    async fn a_cut_or_overlong_answer_is_an_error() {
        let mut cut = answering(vec![[ANSWER, b"hel"].concat()]).await;
        assert!(matches!(cut.exchange(b"x").await, Err(HttpError::Closed)));
        let mut long = answering(vec![[ANSWER, b"hello!"].concat()]).await;
        assert!(matches!(long.exchange(b"x").await, Err(HttpError::Malformed(_))));
    }
}
