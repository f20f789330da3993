//! Side-by-side measurements against peers. Each binary prints one table.

pub mod tables;
