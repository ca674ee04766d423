//! Sealed credentials and the keys that seal them. No I/O but the ring's own small files, no
//! actix, no arrow, no HTTP.
//!
//! A record's credentials are sealed with a data key of their own ([`Sealer::seal`]); the data
//! key is wrapped with the current key of a [`KeyService`]: a local [`Ring`] in a file or the
//! environment, or a cloud's. Which record they belong to is authenticated ([`Owner`]), so that
//! bytes moved elsewhere do not open. The bytes are an [`envelope`]; [`view`] makes what reads
//! show of it, without a key. [`Keys`] is the running server's ring, which may change; a
//! [`Progress`] says how far records have followed.
//!
//! What it does not do: read or write records. `store::rewrap` walks over them.

mod aead;
pub mod envelope;
mod key;
mod keys;
mod owner;
mod progress;
mod ring;
mod ring_file;
mod sealer;
mod service;

pub use key::{Key, KeyId, KeyTextError};
pub use keys::{KeySettings, Keys};
pub use owner::Owner;
pub use progress::{FOLDER, Progress};
pub use ring::{LocalKeys, Ring, RingError, RingKey};
pub use ring_file::{KEYS_ENVIRONMENT, RingFile, RingFileError, from_environment};
pub use sealer::{SealError, Sealer, from_legacy, is_in_legacy, key_of, view};
pub use service::{KeyError, KeyService, MAC_BYTES};
