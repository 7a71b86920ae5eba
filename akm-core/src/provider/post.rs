//! One JSON text to one address that the owner of the machine or of an account named: payments and reminders.
//!
//! The rules are those of a connection test ([`super::outbound`]): https to a public address, resolved once; no redirects;
//! an answer that is bounded in size and time; nothing from the environment. No key of anybody's is ever sent this way.

use zeroize::Zeroizing;

use super::address::BaseUrl;
use super::outbound::{Failure, Outbound, exchange};
use super::plan::Plan;
use super::rules::Method;
use crate::error::{Error, Kind, Result};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};

/// Sends `body` and returns the body of a successful answer. `unavailable` where nothing was sent, `provider` where there is no
/// such answer.
pub fn post_json(outbound: &Outbound, url: &str, body: Vec<u8>) -> Result<Zeroizing<Vec<u8>>> {
    let (address, query) = match url.split_once('?') {
        Some((address, query)) => (address, Some(query.to_owned())),
        None => (url, None),
    };
    let plan = Plan {
        address: BaseUrl::parse(address, "url")?,
        query,
        method: Method::Post,
        header: String::new(),
    };
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answer = exchange(outbound, &plan, headers, Some(body))
        .map_err(|failure| Error::new(kind(failure), failure.sentence()))?;
    if answer.status != 200 {
        return Err(Error::new(
            Kind::Provider,
            "the host answered with another status than 200",
        ));
    }
    Ok(answer.body)
}

const fn kind(failure: Failure) -> Kind {
    match failure {
        Failure::Internal
        | Failure::Roots(_)
        | Failure::Proxy
        | Failure::NoName
        | Failure::NotPublic
        | Failure::NoConnection
        | Failure::Certificate
        | Failure::Tls => Kind::Unavailable,
        Failure::BrokenAnswer | Failure::TooLarge | Failure::TooSlow => Kind::Provider,
    }
}
