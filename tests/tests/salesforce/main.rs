//! The Salesforce wire, end to end: leadline's own client and unmodified third-party clients against the simulator.

mod client;
mod jsforce;
mod simple_salesforce;
mod third_party;
