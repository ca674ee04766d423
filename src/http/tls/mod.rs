//! TLS: certificate and key from PEM files, taken anew while the server runs.
//!
//! TLS 1.2 and 1.3, with the cipher suites of rustls, the cryptography of aws-lc-rs, and ALPN for
//! HTTP/2 and HTTP/1.1. The pair in use is replaced whole: a handshake sees the old one or the new
//! one. A new pair that cannot be used leaves the old one in use and is reported. No client
//! certificates, no OCSP stapling, one certificate for all names.

mod reload;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

use crate::cli::TlsFiles;
use crate::env::FileSystem;

/// Why certificate and key cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// A file has no PEM section of its kind, or a broken one. What is in it is not repeated.
    #[error("{} has no {what} in PEM", file.display())]
    NotPem {
        /// The file.
        file: PathBuf,
        /// What is missed.
        what: &'static str,
    },
    /// The key cannot be used, or belongs to another certificate.
    #[error("certificate and key do not go together: {0}")]
    Pair(rustls::Error),
    /// TLS itself cannot be set up: a defect.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// The certificate and key in use.
#[derive(Clone)]
pub struct Certificates {
    files: TlsFiles,
    current: Arc<Current>,
    loaded: [u8; 32],
    config: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the files. Blocking.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(fs: &dyn FileSystem, files: &TlsFiles) -> Result<Self, TlsError> {
        let pair = Pair::read(fs, files)?;
        let loaded = pair.digest();
        let current = Arc::new(Current(RwLock::new(Arc::new(pair.certified()?))));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { files: files.clone(), current, loaded, config: Arc::new(config) })
    }

    /// What carries out handshakes, with the pair in use at each.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    fn take(&self, pair: CertifiedKey) {
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
    }
}

/// The bytes of both files.
struct Pair<'a> {
    files: &'a TlsFiles,
    cert: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
}

impl<'a> Pair<'a> {
    fn read(fs: &dyn FileSystem, files: &'a TlsFiles) -> Result<Self, TlsError> {
        let read = |file: &PathBuf| {
            fs.read(file).map_err(|source| TlsError::Unreadable { file: file.clone(), source })
        };
        Ok(Self { files, cert: read(&files.cert)?, key: read(&files.key)?.into() })
    }

    /// Tells this pair from another.
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update((self.cert.len() as u64).to_be_bytes());
        hash.update(&self.cert);
        hash.update(&*self.key);
        hash.finalize().into()
    }

    fn certified(&self) -> Result<CertifiedKey, TlsError> {
        let missing = |file: &PathBuf, what| TlsError::NotPem { file: file.clone(), what };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.cert).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| missing(&self.files.cert, "certificate"))?;
        // The pair is compared below; what stands behind it would only fail at the client.
        if chain.iter().any(|cert| ParsedCertificate::try_from(cert).is_err()) {
            return Err(missing(&self.files.cert, "certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| missing(&self.files.key, "private key"))?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(TlsError::Pair)
    }
}
