//! TLS: certificate and key from PEM files, taken anew while the server runs.
//!
//! TLS 1.2 and 1.3, with the cipher suites of rustls, the cryptography of aws-lc-rs, and ALPN for
//! HTTP/2 and HTTP/1.1. The pair in use is replaced whole: a handshake sees the old one or the new
//! one. A new pair that cannot be used, or whose certificate does not hold now, leaves the old one
//! in use and is reported. At the start a certificate that does not hold is complained of and
//! used: a clock may be wrong, and there is no other. No client certificates, no OCSP stapling, one
//! certificate for all names.

mod reload;
mod validity;

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
use crate::domain::Micros;
use crate::env::{Clock, FileSystem};
use validity::Validity;

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
    /// The certificate's time is over.
    #[error("the certificate expired at {until}")]
    Expired {
        /// Its last second.
        until: Micros,
    },
    /// The certificate's time has not come.
    #[error("the certificate does not hold before {from}")]
    NotYet {
        /// Its first.
        from: Micros,
    },
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
struct Current(RwLock<Usable>);

/// A pair that goes together, and the time of its certificate.
#[derive(Clone, Debug)]
struct Usable {
    pair: Arc<CertifiedKey>,
    /// `None` where it could not be read off: the certificate is taken as it is.
    validity: Option<Validity>,
}

impl Usable {
    fn holds(&self, now: Micros) -> Result<(), TlsError> {
        self.validity.map_or(Ok(()), |validity| validity.holds(now))
    }
}

impl Current {
    fn get(&self) -> Usable {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get().pair)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the files. A certificate that does not hold now is used, and said so loudly. Blocking.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(
        fs: &dyn FileSystem,
        clock: &dyn Clock,
        files: &TlsFiles,
    ) -> Result<Self, TlsError> {
        let pair = Pair::read(fs, files)?;
        let loaded = pair.digest();
        let usable = pair.usable()?;
        // Some tools that renew certificates leave it so; this is said and not refused.
        if matches!(fs.is_private(&files.key), Ok(false)) {
            tracing::warn!(file = %files.key.display(), "others may read the key of the certificate");
        }
        if let Err(error) = usable.holds(clock.now()) {
            tracing::error!(
                %error,
                "clients that check certificates will refuse this server: give it another one"
            );
        }
        let current = Arc::new(Current(RwLock::new(usable)));
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

    /// The last second of the certificate in use, where it could be read off.
    #[must_use]
    pub fn until(&self) -> Option<Micros> {
        self.current.get().validity.map(|validity| validity.until)
    }

    fn take(&self, usable: Usable) {
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = usable;
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

    fn usable(&self) -> Result<Usable, TlsError> {
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
        let validity = chain.first().and_then(Validity::of);
        let pair = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        Ok(Usable { pair: Arc::new(pair.map_err(TlsError::Pair)?), validity })
    }
}
