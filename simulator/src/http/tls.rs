//! TLS with a certificate authority of the simulator's own, `sim-ca.pem` in the state directory.
//!
//! The authority is made once, so that a client's trust survives a restart; the server's certificate is made at each start.

use crate::error::SimulatorError;
use crate::state;
use chrono::{Datelike, Days, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

pub(crate) const CA_FILE: &str = "sim-ca.pem";
const CA_KEY_FILE: &str = "sim-ca-key.pem";
const NAMES: [&str; 7] = [
    "login.salesforce.com",
    "test.salesforce.com",
    "*.my.salesforce.com",
    "*.sandbox.my.salesforce.com",
    "api.pubsub.salesforce.com",
    "localhost",
    "127.0.0.1",
];

pub(crate) fn acceptor(state_dir: &Path) -> Result<TlsAcceptor, SimulatorError> {
    let failed = |reason: rcgen::Error| SimulatorError::Crypto { what: "the TLS certificate", reason: reason.to_string() };
    let authority_key = authority_key(state_dir)?;
    let authority = authority_params();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().map_err(failed)?;
    let leaf = leaf_params().map_err(failed)?.signed_by(&key, &issuer).map_err(failed)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth())
        .and_then(|builder| builder.with_single_cert(vec![CertificateDer::from(leaf.der().to_vec())], private));
    let mut config = config.map_err(|e| SimulatorError::Crypto { what: "the TLS configuration", reason: e.to_string() })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The authority's key; at the first start it is made, with the certificate that clients are told to trust.
fn authority_key(state_dir: &Path) -> Result<KeyPair, SimulatorError> {
    let failed = |reason: rcgen::Error| SimulatorError::Crypto { what: "the certificate authority", reason: reason.to_string() };
    let path = state_dir.join(CA_KEY_FILE);
    if path.exists() && state_dir.join(CA_FILE).exists() {
        let pem = std::fs::read_to_string(&path).map_err(SimulatorError::file("reading", &path))?;
        return KeyPair::from_pem(&pem).map_err(failed);
    }
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = authority_params().self_signed(&key).map_err(failed)?;
    state::write_secret(&path, key.serialize_pem().as_bytes()).map_err(SimulatorError::file("writing", &path))?;
    let path = state_dir.join(CA_FILE);
    std::fs::write(&path, certificate.pem()).map_err(SimulatorError::file("writing", &path))?;
    Ok(key)
}

/// The same at every start but for the dates, which an issuer does not use.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("leadline Salesforce simulator CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let year = Utc::now().year();
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + 10, 1, 1);
    params
}

fn leaf_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(NAMES.map(str::to_owned).to_vec())?;
    params.distinguished_name = named("leadline Salesforce simulator");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let (from, until) = (Utc::now() - Days::new(2), Utc::now() + Days::new(365));
    let day = |at: chrono::DateTime<Utc>| date_time_ymd(at.year(), at.month() as u8, at.day() as u8);
    (params.not_before, params.not_after) = (day(from), day(until));
    Ok(params)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
