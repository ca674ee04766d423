//! What is stored and under which names. No I/O, no actix, no arrow.

mod credentials;
mod cursor;
mod fields;
mod filter;
pub mod input;
pub mod json_text;
pub mod limits;
mod lists;
pub mod object;
mod partition_key;
mod patch;
mod record_id;
mod row;
mod secret;
mod table;
mod time;
mod user_id;

pub use credentials::{Credentials, Hold, MAX_CREDENTIALS, Sealed};
pub use cursor::{CursorError, ListIdentity, Place, Position};
pub use filter::{Filter, FilterError};
pub use partition_key::PartitionKey;
pub use patch::Patch;
pub use record_id::{MAX_RECORD_ID_BYTES, RecordId, RecordIdError};
pub use row::{Cell, Row, RowBuilder};
pub use secret::Secret;
pub use table::{Column, JsonShape, Kind, Partitioning, Table, TableSpec};
pub use time::{Micros, Month, TimeError};
pub(crate) use user_id::is_unsafe_char;
pub use user_id::{MAX_USER_ID_BYTES, UserId, UserIdError};
