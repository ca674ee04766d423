//! tmp
pub mod payload;
