//! Files made, changed, read and damaged.

mod changing;
mod damage;
mod format;
mod pages;
mod reading;
mod support;
