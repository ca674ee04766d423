//! tmp
pub mod partition;
