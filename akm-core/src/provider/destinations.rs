//! Where a key may be sent, and in which header: fixed when the key is added and sealed with it.
//!
//! Invariants: the encoding is canonical (one value, one byte string), so its hash can stand in the
//! associated data of a seal; a later catalogue never widens what an earlier one allowed.

use super::Catalogue;
use super::address::BaseUrl;
use super::schema::{EndpointAuth, Provider, placeholders};
use crate::error::{Error, Result};

/// First byte of the encoding.
const VERSION: u8 = 1;
/// Most origins of one key.
const MAX_ORIGINS: usize = 64;
/// Longest origin or header in bytes.
const MAX_TEXT: usize = 300;

/// Where a key may be sent, and in which header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destinations {
    /// `scheme://host:port`, sorted, each once. Empty: nowhere.
    pub origins: Vec<String>,
    /// The header, lower case. Empty: in none, so nowhere.
    pub header: String,
}

impl Destinations {
    /// Where a key of this provider may be sent, as of now.
    ///
    /// With a `base_url` that is its origin alone. A provider nobody listed has nowhere without one, and
    /// `Authorization` with one.
    pub fn of(provider: Option<&Provider>, base_url: Option<&BaseUrl>) -> Destinations {
        let record = provider.unwrap_or_else(|| Catalogue::builtin().unlisted());
        let header = record.auth.header().unwrap_or_default().to_owned();
        let mut origins: Vec<String> = match base_url {
            _ if header.is_empty() => Vec::new(),
            Some(base_url) => vec![base_url.origin()],
            None => provider.map(origins_of).unwrap_or_default(),
        };
        origins.sort();
        origins.dedup();
        Destinations { origins, header }
    }

    /// Whether the key may be sent to this origin in this header.
    pub fn allow(&self, origin: &str, header: &str) -> bool {
        !header.is_empty() && self.header == header && self.origins.iter().any(|o| o == origin)
    }

    /// Canonical bytes: version, number of origins, then each text with its length; lengths little-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&(self.origins.len() as u32).to_le_bytes());
        for text in self.origins.iter().chain([&self.header]) {
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// Reads [`Destinations::encode`]; anything that it would not have written is `corrupt`.
    pub fn decode(bytes: &[u8]) -> Result<Destinations> {
        const BAD: Error = Error::corrupt("the destinations of a key are not readable");
        let (version, mut rest) = bytes.split_first().ok_or(BAD)?;
        if *version != VERSION {
            return Err(Error::new(
                crate::Kind::UnsupportedVersion,
                "the destinations of a key have an unknown version",
            ));
        }
        let count = take_length(&mut rest, MAX_ORIGINS).ok_or(BAD)?;
        let mut texts = Vec::with_capacity(count + 1);
        for _ in 0..=count {
            let length = take_length(&mut rest, MAX_TEXT).ok_or(BAD)?;
            let (text, after) = rest.split_at_checked(length).ok_or(BAD)?;
            texts.push(std::str::from_utf8(text).map_err(|_| BAD)?.to_owned());
            rest = after;
        }
        let header = texts.pop().ok_or(BAD)?;
        let canonical =
            |origin: &String| BaseUrl::read(origin).is_ok_and(|u| u.origin() == *origin);
        let sorted = texts.is_sorted_by(|a, b| a < b);
        if !rest.is_empty() || !sorted || !texts.iter().all(canonical) {
            return Err(BAD);
        }
        Ok(Destinations {
            origins: texts,
            header,
        })
    }
}

fn take_length(rest: &mut &[u8], max: usize) -> Option<usize> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    (length <= max).then_some(length)
}

/// The origins a record names; those with a placeholder are nobody's yet.
fn origins_of(provider: &Provider) -> Vec<String> {
    let takes_key = |auth: &Option<EndpointAuth>| *auth != Some(EndpointAuth::Oauth);
    let mut urls: Vec<&str> = Vec::new();
    for endpoint in provider.endpoints.iter().filter(|e| takes_key(&e.auth)) {
        urls.push(&endpoint.base_url);
        urls.extend(endpoint.also.iter().map(String::as_str));
    }
    urls.push(&provider.test.url);
    urls.extend(provider.models_list.iter().map(|list| list.url.as_str()));
    urls.extend(provider.balance.iter().map(|source| source.url.as_str()));
    urls.iter()
        .filter_map(|url| {
            let url = url.split_once('?').map_or(*url, |(address, _)| address);
            // In a path the owner may have something to fill in; the host stands there already.
            let (found, url) = placeholders(&url.replace("/{team}", "/x")).ok()?;
            found.is_empty().then(|| BaseUrl::read(&url).ok())?
        })
        .map(|url| url.origin())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str) -> Option<&'static Provider> {
        Some(Catalogue::builtin().provider(id).unwrap())
    }

    #[test]
    fn a_key_goes_where_its_record_says() {
        let openai = Destinations::of(known("openai"), None);
        assert_eq!(openai.origins, ["https://api.openai.com:443"]);
        assert_eq!(openai.header, "authorization");
        let anthropic = Destinations::of(known("anthropic"), None);
        assert_eq!(anthropic.origins, ["https://api.anthropic.com:443"]);
        assert_eq!(anthropic.header, "x-api-key");
        let huggingface = Destinations::of(known("huggingface"), None);
        assert_eq!(
            huggingface.origins,
            [
                "https://huggingface.co:443",
                "https://router.huggingface.co:443"
            ]
        );
        // Only the owner knows the host.
        assert!(
            Destinations::of(known("azure-openai"), None)
                .origins
                .is_empty()
        );
    }

    #[test]
    fn a_base_url_replaces_every_other_origin() {
        let url = BaseUrl::read("https://gw.example.com:8443/openai").unwrap();
        for (provider, header) in [
            (known("openai"), "authorization"),
            (known("google"), "x-goog-api-key"),
            (None, "authorization"),
        ] {
            let there = Destinations::of(provider, Some(&url));
            assert_eq!(there.origins, ["https://gw.example.com:8443"]);
            assert_eq!(there.header, header);
            assert!(there.allow("https://gw.example.com:8443", header));
            assert!(!there.allow("https://gw.example.com:443", header));
            assert!(!there.allow("https://api.openai.com:443", header));
            assert!(!there.allow("https://gw.example.com:8443", "x-other"));
        }
        let nowhere = Destinations::of(None, None);
        assert!(nowhere.origins.is_empty() && !nowhere.allow("https://gw.example.com:8443", ""));
    }

    #[test]
    fn the_encoding_is_canonical() {
        let mut seen = std::collections::BTreeSet::new();
        for provider in Catalogue::builtin().providers() {
            let there = Destinations::of(Some(provider), None);
            let bytes = there.encode();
            assert_eq!(Destinations::decode(&bytes).unwrap(), there);
            seen.insert(bytes.clone());
            for cut in 0..bytes.len() {
                assert!(Destinations::decode(&bytes[..cut]).is_err());
            }
            let mut longer = bytes;
            longer.push(0);
            assert!(Destinations::decode(&longer).is_err());
        }
        assert!(seen.len() > 40, "different destinations, different bytes");

        let encode = |origins: &[&str]| {
            Destinations {
                origins: origins.iter().map(|o| (*o).to_owned()).collect(),
                header: "authorization".into(),
            }
            .encode()
        };
        assert!(
            Destinations::decode(&encode(&["https://a.example:443", "https://b.example:443"]))
                .is_ok()
        );
        for bad in [
            &["https://b.example:443", "https://a.example:443"][..],
            &["https://a.example:443", "https://a.example:443"],
            &["https://a.example"],
            &["https://a.example:443/"],
            &["http://a.example:80"],
        ] {
            assert_eq!(
                Destinations::decode(&encode(bad)).unwrap_err().kind(),
                crate::Kind::Corrupt
            );
        }
        let mut newer = encode(&[]);
        newer[0] = 2;
        assert_eq!(
            Destinations::decode(&newer).unwrap_err().kind(),
            crate::Kind::UnsupportedVersion
        );
    }
}
