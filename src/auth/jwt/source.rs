//! Where keys come from: a file of public keys, a file with a shared secret, or an address.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{KeyError, Keys};
use crate::auth::Published;
use crate::env::{FileSystem, OpenMode};

/// Largest file of keys, in bytes.
const MAX_BYTES: u64 = 256 << 10;

/// Where keys come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeySource {
    /// A file with a PEM public key or a JSON web key set.
    Public(PathBuf),
    /// A file with a shared secret.
    Secret(PathBuf),
    /// The address of a JSON web key set.
    Url {
        /// Which.
        url: KeyUrl,
        /// File with the certificates of who may vouch for it; the public authorities without.
        authority: Option<PathBuf>,
    },
}

/// An address that keys may come from: nobody on the way can replace them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyUrl(String);

impl KeyUrl {
    /// Checks an address: `https`, or `http` on the machine itself; without user name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url: awc::http::Uri = text.parse().ok()?;
        let (scheme, host) = (url.scheme_str()?, url.host()?);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let here = bare == "localhost"
            || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let safe = scheme == "https" || (scheme == "http" && here);
        let named = url.authority().is_some_and(|a| a.as_str().contains('@'));
        (safe && !named).then(|| Self(text.to_owned()))
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why keys cannot be read from a file.
#[derive(Debug, Error)]
pub enum KeySourceError {
    /// It cannot be read.
    #[error("the file of keys, {}, cannot be read: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// It holds no certificate.
    #[error("the file of certificates, {}, holds no certificate that can be used", .0.display())]
    Authority(PathBuf),
    /// It holds no keys.
    #[error("the file of keys, {}, cannot be used: {source}", path.display())]
    Keys {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
}

/// What a connection to an address of keys trusts: the certificates of a PEM file and no others.
/// Blocking.
///
/// # Errors
/// [`KeySourceError::Io`], [`KeySourceError::Authority`].
pub fn trusting(
    fs: &dyn FileSystem,
    path: &Path,
) -> Result<Arc<rustls::ClientConfig>, KeySourceError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let bytes =
        fs.read(path).map_err(|source| KeySourceError::Io { path: path.to_path_buf(), source })?;
    let unusable = || KeySourceError::Authority(path.to_path_buf());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        roots.add(certificate.map_err(|_| unusable())?).map_err(|_| unusable())?;
    }
    if roots.is_empty() {
        return Err(unusable());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| unusable())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// A file of keys that is read again when it changes. All methods but `published` block.
pub struct KeyFile {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    secret: bool,
    keys: Arc<Published<Keys>>,
    /// Hash of what was read last. The contents count, not the file's time: deployments replace
    /// keys behind a symbolic link.
    seen: Mutex<[u8; 32]>,
}

impl KeyFile {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`KeySourceError`].
    pub fn open(
        fs: Arc<dyn FileSystem>,
        path: PathBuf,
        secret: bool,
        keys: Arc<Published<Keys>>,
    ) -> Result<Self, KeySourceError> {
        let file = Self { fs, path, secret, keys, seen: Mutex::new([0; 32]) };
        file.refresh()?;
        // Deployments mount secrets readable to a group, so this is said and not refused.
        if secret && matches!(file.fs.is_private(&file.path), Ok(false)) {
            tracing::warn!(file = %file.path.display(), "others may read the shared secret of web tokens");
        }
        Ok(file)
    }

    /// Reads the file again and takes its keys where it has changed; whether it had. After an
    /// error the keys stay as they were, and it is looked at again when it changes.
    ///
    /// # Errors
    /// [`KeySourceError`].
    pub fn refresh(&self) -> Result<bool, KeySourceError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let io = |source| KeySourceError::Io { path: self.path.clone(), source };
        let bytes = self.read().map_err(io)?;
        let hash: [u8; 32] = Sha256::digest(&bytes).into();
        if hash == *seen {
            return Ok(false);
        }
        *seen = hash;
        let keys = if self.secret { Keys::secret(&bytes) } else { Keys::public(&bytes) };
        let keys =
            keys.map_err(|source| KeySourceError::Keys { path: self.path.clone(), source })?;
        self.keys.publish(keys);
        Ok(true)
    }

    fn read(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        let file = self.fs.open(&self.path, OpenMode::Read)?;
        let len = file.len()?;
        if len > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = Zeroizing::new(vec![0; len]);
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::OsFileSystem;

    #[test]
    fn keys_come_from_where_nobody_can_replace_them() {
        for good in [
            "https://id.example/jwks.json",
            "https://id.example:8443/a?b=c",
            "http://127.0.0.1:8/k",
            "http://localhost/k",
            "http://[::1]:9/k",
        ] {
            assert!(KeyUrl::parse(good).is_some(), "{good}");
        }
        for bad in [
            "http://id.example/jwks.json",
            "http://10.0.0.1/k",
            "http://127.0.0.1.example/k",
            "http://localhost@id.example/k",
            "https://user:password@id.example/k",
            "ftp://id.example/k",
            "file:///etc/passwd",
            "/jwks.json",
            "id.example",
            "",
        ] {
            assert!(KeyUrl::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_file_is_taken_again_when_its_contents_change() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("secret");
        let put = |text: &str| OsFileSystem.replace(&path, text.as_bytes()).expect("file");
        let keys = Arc::new(Published::new(Keys::None));
        let open = || KeyFile::open(Arc::new(OsFileSystem), path.clone(), true, Arc::clone(&keys));
        assert!(matches!(open(), Err(KeySourceError::Io { .. })));
        put("too short");
        assert!(matches!(open(), Err(KeySourceError::Keys { source: KeyError::Secret, .. })));
        put(&"a".repeat(32));
        let file = open().expect("keys");
        assert!(keys.get().find("HS256", None).is_ok());
        assert!(!file.refresh().expect("same"));
        put(&"b".repeat(32));
        assert!(file.refresh().expect("another"));
        put("too short");
        assert!(file.refresh().is_err());
        assert!(!file.refresh().expect("said once"));
        assert!(keys.get().find("HS256", None).is_ok(), "the old ones serve");
    }
}
