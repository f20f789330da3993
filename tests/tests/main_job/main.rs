//! The main job, end to end: what leadline exists for, on a whole stack, and what holds when its parts die under it.

mod backup;
mod chaos;
mod codec;
mod consent;
mod durability;
mod exactly_once;
mod examples;
mod journey;
mod operators;
mod parity;
mod traces;
