//! API tokens: `text` is what a holder has, `record` what the server keeps of it, `file` where,
//! `store` the running server's view of the file. `docs/formats/tokens.md` has the format.

mod file;
mod record;
mod store;
mod text;

pub use file::{TokenFile, TokenFileError};
pub use record::{MAX_TOKENS, NewToken, NewTokenError, TokenRecord, TokenStatus, Tokens};
pub use store::TokenStore;
pub use text::{TokenText, TokenTextError};
