//! Connections that a test holds by hand: slow ones, idle ones, ones over TLS.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{PATIENCE, Server};

impl Server {
    /// A connection of its own.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.expect("connect")
    }
}

/// Sends bytes as they are.
pub async fn say(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    stream.write_all(bytes).await.expect("write");
    stream.flush().await.expect("flush");
}

/// Reads one answer: its head, and the body its `content-length` tells.
pub async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let reading = async {
        let mut answer = Vec::new();
        loop {
            if let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
                let length = head.lines().find_map(|l| l.strip_prefix("content-length: "));
                let length: usize = length.map_or(0, |l| l.parse().expect("length"));
                if answer.len() >= end + 4 + length {
                    return String::from_utf8(answer).expect("UTF-8");
                }
            }
            let mut part = [0; 4096];
            let n = stream.read(&mut part).await.expect("read");
            assert_ne!(n, 0, "the connection ended: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&part[..n]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an answer in time")
}

/// Reads until the other side ends the connection, however it does.
pub async fn hear_all(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let reading = async {
        let mut answer = Vec::new();
        // A reset ends it as well.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).expect("UTF-8")
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the end in time")
}

/// A certificate for `localhost` and its key, in files.
pub struct Certificate {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// Its PEM.
    pub cert: String,
    /// The key's PEM.
    pub key: String,
}

impl Certificate {
    /// A fresh one, signed by itself.
    pub fn make() -> Self {
        Self::with(|_| {})
    }

    /// One that holds between these seconds since 1970 alone.
    pub fn dated(seconds: Range<u64>) -> Self {
        let at = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        Self::with(|params| {
            params.not_before = at(seconds.start);
            params.not_after = at(seconds.end);
        })
    }

    fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
        change(&mut params);
        let cert = params.self_signed(&key).expect("certificate");
        Self { der: cert.der().clone(), cert: cert.pem(), key: key.serialize_pem() }
    }

    /// Writes both files into `folder`: their paths.
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&cert, &self.cert).expect("certificate");
        std::fs::write(&key, &self.key).expect("key");
        (cert, key)
    }
}

/// A TLS client that trusts one certificate.
pub fn tls_client(
    trusted: &Certificate,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).expect("root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    // Each test's handshake is a whole one: which certificate answers is what is looked at.
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// A TLS connection to a server; what went wrong in the handshake otherwise.
pub async fn tls_connect(
    server: &Server,
    client: &TlsConnector,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = server.connect().await;
    let name = "localhost".try_into().expect("name");
    let shaking = client.connect(name, stream);
    tokio::time::timeout(PATIENCE, shaking).await.expect("a handshake in time")
}
