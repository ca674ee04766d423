//! What is stored and under which names. No I/O, no actix, no arrow.

pub mod json_text;
pub mod object;
mod partition_key;
mod record_id;
mod row;
mod table;
mod time;
mod user_id;

pub use partition_key::PartitionKey;
pub use record_id::{MAX_RECORD_ID_BYTES, RecordId, RecordIdError};
pub use row::{Cell, Row, RowBuilder};
pub use table::{Column, JsonShape, Kind, Partitioning, Table, TableSpec};
pub use time::{Micros, Month, TimeError};
pub use user_id::{MAX_USER_ID_BYTES, UserId, UserIdError};
