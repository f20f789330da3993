//! Learning from end to end, on synthetic records of a documented process.

mod artifacts;
mod encoding;
mod gates;
mod leaks;
mod numerics;
mod repeatability;
mod synthetic;
