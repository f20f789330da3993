//! Who may call: the connected app, sessions, OAuth flows, and the SOAP login that older clients still use.

pub(crate) mod connected_app;
pub(crate) mod oauth;
pub(crate) mod sessions;
pub(crate) mod soap;
