//! TLS for a test server, with the certificates of `fixtures/tls` (made by `make.sh` there).

use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::provider_server::Duplex;

/// The authority that signed `good`, `expired` and `elsewhere`.
#[allow(dead_code, reason = "not every user needs it")]
pub(crate) fn authority() -> PathBuf {
    fixture("ca.pem")
}

/// A file of `fixtures/tls`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tls")
        .join(name)
}

/// Puts TLS around a connection, with the certificate of that name.
pub(crate) fn with(
    certificate: &str,
) -> impl Fn(TcpStream) -> io::Result<Box<dyn Duplex>> + Send + Sync + 'static {
    let chain =
        vec![CertificateDer::from_pem_file(fixture(&format!("{certificate}.pem"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture(&format!("{certificate}.key.pem"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    move |stream| {
        let session = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(session, stream)))
    }
}
