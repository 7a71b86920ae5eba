//! The certificate of a listener, and reading it again when its files change.
//!
//! Invariants: TLS 1.2 and 1.3 with `ring`, HTTP/1.1 alone; a key that others may read, or a certificate that others may
//! write, is refused. A new certificate is taken as a whole or not at all: while its files do not fit together, the old
//! one goes on.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use akm_core::error::{Error, Kind, Result};
use akm_core::regular::{self, Links};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::certificate;

/// Largest file that is read.
const MAX_FILE: u64 = 1024 * 1024;
/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A certificate and its key, as files.
pub(crate) struct Certificate {
    files: [PathBuf; 2],
    state: Mutex<State>,
}

struct State {
    acceptor: TlsAcceptor,
    /// When it ends, Unix seconds.
    ends: Option<i64>,
    /// What the files looked like when they were read.
    stamp: Stamp,
    looked: Instant,
}

/// Device, inode, size and time of each file.
type Stamp = [Option<(u64, u64, u64, i64, i64)>; 2];

impl Certificate {
    /// Reads certificate chain and key.
    ///
    /// Errors: `invalid_input` naming the option, `denied` for a file that others may read or write.
    pub(crate) fn open(certificate: &Path, key: &Path) -> Result<Certificate> {
        let files = [certificate.to_owned(), key.to_owned()];
        let stamp = stamp(&files);
        let (acceptor, ends) = load(&files)?;
        Ok(Certificate {
            state: Mutex::new(State {
                acceptor,
                ends,
                stamp,
                looked: Instant::now(),
            }),
            files,
        })
    }

    /// What connections are accepted with now. Looks at the files every few seconds.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let due = self.hold().looked.elapsed() >= LOOK_EVERY;
        if due {
            self.reload();
        }
        self.hold().acceptor.clone()
    }

    /// Takes up the files if they changed; says why not where they cannot be used.
    pub(crate) fn reload(&self) {
        let now = stamp(&self.files);
        {
            let mut state = self.hold();
            state.looked = Instant::now();
            if state.stamp == now {
                return;
            }
        }
        match load(&self.files) {
            Ok((acceptor, ends)) => {
                let mut state = self.hold();
                state.acceptor = acceptor;
                state.ends = ends;
                state.stamp = now;
            }
            // Perhaps only one of two is written yet: looked at again.
            Err(error) => crate::log::failed("certificate", &error),
        }
    }

    /// When it ends, Unix seconds.
    pub(crate) fn ends(&self) -> Option<i64> {
        self.hold().ends
    }

    fn hold(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(files: &[PathBuf; 2]) -> Stamp {
    [0, 1].map(|index| {
        let meta = std::fs::metadata(&files[index]).ok()?;
        Some((
            meta.dev(),
            meta.ino(),
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec(),
        ))
    })
}

fn load(files: &[PathBuf; 2]) -> Result<(TlsAcceptor, Option<i64>)> {
    let bad = |message, field| Error::new(Kind::InvalidInput, message).with_field(field);
    let no_certificate = || bad("the certificate's file holds no certificate in PEM", "cert");
    let chain = CertificateDer::pem_slice_iter(&read(&files[0], 0o022, "cert")?)
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|_| no_certificate())?;
    if chain.is_empty() {
        return Err(no_certificate());
    }
    let ends = certificate::ends(&chain[0]);
    // Freed through the wiping allocator; rustls keeps its own copy for as long as it signs.
    let key = PrivateKeyDer::from_pem_slice(&read(&files[1], 0o027, "key")?)
        .map_err(|_| bad("the key's file holds no private key in PEM", "key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| Error::internal("TLS has no protocol version"))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|_| {
            bad("the key does not belong to the certificate", "key")
                .with_hint("both in PEM; the certificate itself stands before those that signed it")
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // What was decided under an old certificate is decided anew: nothing is resumed from outside this process.
    Ok((TlsAcceptor::from(Arc::new(config)), ends))
}

/// A file of the owner's or root's with none of these bits.
fn read(path: &Path, forbidden: u32, field: &'static str) -> Result<Vec<u8>> {
    let io = |error: std::io::Error| {
        let name = path.display();
        Error::from_io(&error)
            .with_field(field)
            .with_hint(format!("the file is {name}"))
    };
    let missing = || io(std::io::Error::from(std::io::ErrorKind::NotFound));
    let file = regular::open(path, Links::Follow)
        .map_err(|error| error.with_field(field))?
        .ok_or_else(missing)?;
    let meta = file.metadata().map_err(io)?;
    let owner = nix::unistd::geteuid().as_raw();
    if !meta.is_file() || (meta.uid() != owner && meta.uid() != 0) || meta.mode() & forbidden != 0 {
        return Err(Error::new(
            Kind::Denied,
            "others may read the key, or write it or the certificate",
        )
        .with_field(field)
        .with_hint("chmod 600 for the key, 644 for the certificate; yours or root's"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}
