//! Whom a provider's certificate must come from.
//!
//! Invariants: TLS 1.2 or 1.3 and a chain to a root of this machine, of the file its owner configured,
//! or (where the machine has none, as in a bare container) of Mozilla's list. `SSL_CERT_FILE`,
//! `SSL_CERT_DIR` and `SSLKEYLOGFILE` have no say, which is why the bundles are read here and not by
//! rustls-native-certs. Tests under way at the same time share the roots, so that a hundred of them read and hold the
//! machine's bundle once; with the last of them they are gone.
//!
//! Deliberately absent: switching the check off.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::regular::{self, Links};

/// Largest bundle that is read.
const MAX_BUNDLE: u64 = 8 << 20;

/// Where systems keep their roots: Debian and Arch, Fedora, openSUSE, Alpine, FreeBSD, NetBSD.
#[cfg(not(any(target_vendor = "apple", target_os = "android", windows)))]
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    "/etc/openssl/certs/ca-certificates.crt",
];

/// A configuration that lives as long as a test uses it, and whose it is.
static IN_USE: Mutex<Option<(Option<PathBuf>, Weak<ClientConfig>)>> = Mutex::new(None);

/// A TLS configuration that trusts the machine's roots and those of `extra`; the error is a sentence. Kept alive
/// for the whole test, it is the same for all that run meanwhile.
pub(super) fn client_config(extra: Option<&Path>) -> Result<Arc<ClientConfig>, &'static str> {
    const UNREADABLE: &str = "the configured file of certificate authorities cannot be read";
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((path, config)) = &*in_use
        && path.as_deref() == extra
        && let Some(config) = config.upgrade()
    {
        return Ok(config);
    }
    let certificates = match extra {
        None => Vec::new(),
        Some(path) => read_bundle(path)
            .filter(|certificates| !certificates.is_empty())
            .ok_or(UNREADABLE)?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = Arc::new(verifying(provider, certificates).ok_or(UNREADABLE)?);
    *in_use = Some((extra.map(Path::to_owned), Arc::downgrade(&config)));
    Ok(config)
}

/// For plain http to this machine, where a client wants a configuration and never uses it.
pub(super) fn trusting_nobody() -> Option<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Some(config)
}

#[cfg(not(any(target_vendor = "apple", target_os = "android", windows)))]
fn verifying(
    provider: Arc<CryptoProvider>,
    extra: Vec<CertificateDer<'static>>,
) -> Option<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let system = BUNDLES
        .iter()
        .find_map(|path| read_bundle(Path::new(path)).filter(|found| !found.is_empty()));
    let (added, _) = roots.add_parsable_certificates(system.unwrap_or_default());
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for certificate in extra {
        roots.add(certificate).ok()?;
    }
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Some(config)
}

#[cfg(any(target_vendor = "apple", target_os = "android", windows))]
fn verifying(
    provider: Arc<CryptoProvider>,
    extra: Vec<CertificateDer<'static>>,
) -> Option<ClientConfig> {
    let verifier =
        rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider.clone()).ok()?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Some(config)
}

/// The certificates of a PEM file; none if it cannot be read whole.
fn read_bundle(path: &Path) -> Option<Vec<CertificateDer<'static>>> {
    let text = regular::read(path, Links::Follow, MAX_BUNDLE).ok()??;
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .ok()
}
