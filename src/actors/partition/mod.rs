//! tmp
pub mod overlay;
pub mod rows;
pub mod scan;
