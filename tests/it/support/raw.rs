//! What a careful HTTP client would not send, and what every client must escape.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PATIENCE, Server};

impl Server {
    /// Sends bytes as they are over a connection of their own, and reads until the server closes
    /// it: the request must ask for that.
    pub async fn raw(&self, request: &[u8]) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address()).await.expect("connect");
            stream.write_all(request).await.expect("write");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.expect("read");
            String::from_utf8(answer).expect("UTF-8")
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }

    /// Sends a request whose body never comes, and reads to the end of the error it is answered
    /// with: the server may keep the connection open a little longer.
    pub async fn bodiless(&self) -> String {
        let head = "POST /api/audiences HTTP/1.1\r\nHost: t\r\nContent-Length: 500\r\n\r\n{";
        let mut stream = TcpStream::connect(self.address()).await.expect("connect");
        stream.write_all(head.as_bytes()).await.expect("write");
        let mut answer = Vec::new();
        while !answer.ends_with(b"}}") {
            let mut part = [0; 1024];
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut part)).await;
            let read = read.expect("in time").expect("read");
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&part[..read]);
        }
        String::from_utf8(answer).expect("UTF-8")
    }

    /// Status and body of a request whose target goes out as it is: no client normalises it.
    pub async fn raw_request(&self, method: &str, target: &str) -> (u16, String) {
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let answer = self.raw(request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("status");
        (status, body.to_owned())
    }
}

/// A text as one path segment or query value.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
