//! Asking a played provider about a key, the way the vault does.

use akm_core::Secret;
use akm_core::provider::{self, BaseUrl, Catalogue, Destinations, Outbound, Provider, TestReport};

use super::provider_server::{ProviderServer, Received, Reply};

pub(crate) fn known(id: &str) -> Option<&'static Provider> {
    Some(Catalogue::builtin().provider(id).expect(id))
}

/// Tests a key that was sealed for this base_url.
pub(crate) fn ask(provider: Option<&Provider>, base_url: &str, key: &str) -> TestReport {
    ask_by(&Outbound::default(), provider, base_url, key)
}

#[allow(dead_code, reason = "not every user needs it")]
pub(crate) fn ask_by(
    outbound: &Outbound,
    provider: Option<&Provider>,
    base_url: &str,
    key: &str,
) -> TestReport {
    let url = BaseUrl::parse(base_url, "base_url").unwrap();
    let destinations = Destinations::of(provider, Some(&url));
    let secret = Secret::new(key.to_owned());
    provider::test(outbound, provider, &destinations, Some(base_url), &secret)
}

pub(crate) fn start(play: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> ProviderServer {
    ProviderServer::start(play).unwrap()
}

/// A base_url below a path of the server.
pub(crate) fn below(server: &ProviderServer, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", server.port())
}
