//! The process-wide TLS provider.

/// Makes `ring` the process's rustls provider. Idempotent: if a provider is already installed, that one stays.
pub fn install_default_provider() {
    // The error says that another caller was first, which is what this function is for.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
