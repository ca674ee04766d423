//! Who is asking, and what he may do: the one place outside the decoders of the store's own bytes
//! where a text becomes a [`UserId`](crate::domain::UserId).
//!
//! An [`Authenticator`] is built once; every HTTP worker has a [`Worker`] over it, which turns the
//! credential of a request into a [`Principal`] or a [`Refusal`] without waiting for anybody. A
//! principal has [`Scopes`], and makes the user's id for what a request says. `tokens` are API
//! tokens and their file, `jwt` JSON web tokens and their keys; `command` is `audience-store token`.
//!
//! What is *needed* for a route is not decided here: `http/routes.rs` has that table.

mod authenticator;
mod command;
mod identity;
pub mod jwt;
mod principal;
mod published;
mod refusal;
mod scope;
pub mod tokens;

pub use authenticator::{AuthError, AuthSettings, Authenticator, Mode, Opened, Worker};
pub use command::{TokenCommand, run as token_command};
pub use identity::IdentityError;
pub use principal::{Denial, Principal};
pub use published::{Published, Reader};
pub use refusal::{MAX_CREDENTIAL, Refusal, bearer};
pub use scope::{Scope, Scopes};
