//! `akm-agent serve`: the agent with listeners on the network, in the foreground, as a service manager starts it.

use std::path::{Path, PathBuf};

use akm_core::error::Result;
use clap::Parser;

use crate::daemon::{self, Launch};
use crate::server::network::{Listen, Options};
use crate::server::proxies::Cidr;

/// Serves accounts over the network, and the owner on the Unix socket as ever.
///
///  akm-agent serve --listen https://192.0.2.1:443 --cert chain.pem --key key.pem --host akm.example.org
///  akm-agent serve --listen http://127.0.0.1:8080 --trusted-proxy 127.0.0.1 --host akm.example.org
///
/// Who may register, and the limits, stand in the section hosted of config.toml.
#[derive(Parser)]
#[command(name = "akm-agent serve", version, verbatim_doc_comment)]
pub struct Serve {
    /// Listen on https://ADDR:PORT, or on http://ADDR:PORT where ADDR is loopback
    #[arg(long, value_name = "URL", required = true)]
    listen: Vec<String>,
    /// Certificate chain in PEM; taken up again when it changes
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Believe X-Forwarded-For and -Proto of this address or network
    #[arg(long, value_name = "CIDR")]
    trusted_proxy: Vec<String>,
    /// A name under which the server is reached
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// The Unix socket of the owner
    #[arg(short = 'a', value_name = "ADDR")]
    address: Option<PathBuf>,
}

impl Serve {
    /// Serves until told to stop; `ready` is called with the socket's path.
    ///
    /// Errors: `invalid_input` naming the option, and as [`daemon::serve`].
    pub fn run(self, ready: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let network = Options {
            listen: self
                .listen
                .iter()
                .map(|text| Listen::parse(text))
                .collect::<Result<_>>()?,
            certificate: self.cert.zip(self.key),
            trusted: self
                .trusted_proxy
                .iter()
                .map(|text| Cidr::parse(text))
                .collect::<Result<_>>()?,
            hosts: self.host,
            ..Options::default()
        };
        let launch = Launch {
            socket: self.address,
            network: Some(network),
            ..Launch::default()
        };
        daemon::serve(&launch, ready)
    }
}
