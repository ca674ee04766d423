//! AES-256-GCM over whole messages. The only file that names the cipher.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use zeroize::Zeroizing;

use super::key::Key;
use crate::env::Random;

/// Bytes of a nonce.
pub(super) const NONCE_BYTES: usize = 12;
/// Bytes that a sealed message has more than its plain text.
pub(super) const TAG_BYTES: usize = 16;

/// A random nonce. A data key seals one message in its life; a key-encryption key may seal 2^32
/// before a repeat gets as likely as 2^-32.
pub(super) fn nonce(random: &dyn Random) -> [u8; NONCE_BYTES] {
    let mut bytes = [0; NONCE_BYTES];
    random.fill(&mut bytes);
    bytes
}

/// Seals `plain`: as many bytes of ciphertext, then the tag. `None` only for messages of 64 GiB.
pub(super) fn seal(
    key: &Key,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    plain: &[u8],
) -> Option<Vec<u8>> {
    let cipher = Aes256Gcm::new_from_slice(key.expose()).ok()?;
    cipher.encrypt(&Nonce::from(*nonce), Payload { msg: plain, aad }).ok()
}

/// Opens what [`seal`] made with the same key, nonce and `aad`; `None` for anything else.
pub(super) fn open(
    key: &Key,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = Aes256Gcm::new_from_slice(key.expose()).ok()?;
    let opened = cipher.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad });
    opened.ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        digits
            .map(|d| u8::from_str_radix(std::str::from_utf8(d).expect("hex"), 16).expect("hex"))
            .collect()
    }

    /// Test case 16 of `McGrew` and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B.
    #[test]
    fn is_aes_256_gcm() {
        let key = Key::from_bytes(&hex(
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        ))
        .expect("key");
        let nonce: [u8; 12] = hex("cafebabefacedbaddecaf888").try_into().expect("nonce");
        let plain = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let sealed = hex(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
        );
        assert_eq!(seal(&key, &nonce, &aad, &plain), Some(sealed.clone()));
        assert_eq!(open(&key, &nonce, &aad, &sealed).as_deref(), Some(&plain));
        assert_eq!(open(&key, &nonce, b"", &sealed), None);
        assert_eq!(open(&key, &nonce, &aad, &sealed[1..]), None);
    }
}
