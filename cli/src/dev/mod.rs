//! The dev stack: everything that leadline stands on, and leadline itself, on one machine under one supervisor.

pub mod child;
pub mod org;
pub mod parts;
pub mod ports;
mod ready;
pub mod stack;
pub mod state;
pub mod temporal;
