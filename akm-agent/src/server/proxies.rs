//! Reverse proxies that are believed when they say for whom they ask.
//!
//! Only the last hop is known: the address that connected. Where that is a trusted proxy, `X-Forwarded-For` is read from its
//! end, past further trusted proxies, to the first address that is not one: everything before it was written by
//! that client and says nothing. From anybody else the header is not looked at.

use std::net::IpAddr;

use akm_core::error::{Error, Result};
use hyper::HeaderMap;

/// A network, as `192.0.2.0/24` or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    base: u128,
    mask: u128,
}

impl Cidr {
    /// Parses `ADDR` or `ADDR/BITS`; bits of the address past the prefix are an error.
    pub fn parse(text: &str) -> Result<Cidr> {
        const BAD: Error = Error::invalid(
            "trusted-proxy",
            "a network is written as 10.0.0.0/8, fd00::/8 or a single address",
        );
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BAD)?;
        let longest: u32 = if address.is_ipv4() { 32 } else { 128 };
        let bits: u32 = match bits {
            Some(bits) => bits.parse().map_err(|_| BAD)?,
            None => longest,
        };
        // A prefix of nothing would trust everybody.
        if bits == 0 || bits > longest {
            return Err(BAD);
        }
        let mask = u128::MAX << (longest - bits);
        let base = number(address);
        if base & !mask != 0 {
            return Err(BAD);
        }
        Ok(Cidr { base, mask })
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        number(address) & self.mask == self.base
    }
}

/// IPv4 as the addresses that IPv6 maps it to: one kind of number.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// For whom a request is made, and whether it came to the proxy over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    pub(crate) tls: bool,
}

/// Who stands at the end of the chain of trusted proxies.
pub(crate) fn client(peer: IpAddr, tls: bool, headers: &HeaderMap, trusted: &[Cidr]) -> Client {
    let peer = peer.to_canonical();
    let trusts = |address: IpAddr| trusted.iter().any(|cidr| cidr.contains(address));
    if !trusts(peer) {
        return Client { address: peer, tls };
    }
    let hops: Vec<&[u8]> = headers
        .get_all("x-forwarded-for")
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .collect();
    let mut address = peer;
    for hop in hops.iter().rev() {
        let parsed = std::str::from_utf8(hop)
            .ok()
            .and_then(|hop| hop.trim().parse::<IpAddr>().ok());
        // What is no address was not written by a proxy that can be trusted with it: the hop before counts.
        let Some(parsed) = parsed.map(|address| address.to_canonical()) else {
            break;
        };
        address = parsed;
        if !trusts(parsed) {
            break;
        }
    }
    let forwarded = headers
        .get_all("x-forwarded-proto")
        .iter()
        .next_back()
        .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    Client {
        address,
        tls: tls || forwarded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        let trusted: Vec<Cidr> = trusted
            .iter()
            .map(|text| Cidr::parse(text).unwrap())
            .collect();
        let found = client(peer.parse().unwrap(), false, &headers, &trusted);
        format!("{} {}", found.address, found.tls)
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_for_the_hop_it_saw() {
        let spoofed = ["203.0.113.9"];
        assert_eq!(of("192.0.2.1", &spoofed, &[]), "192.0.2.1 false");
        assert_eq!(
            of("192.0.2.1", &spoofed, &["10.0.0.0/8"]),
            "192.0.2.1 false"
        );
        assert_eq!(
            of("10.1.2.3", &spoofed, &["10.0.0.0/8"]),
            "203.0.113.9 true"
        );
        // The client wrote the first, the proxy added the second.
        let chain = ["198.51.100.1, 203.0.113.9", "10.9.9.9"];
        assert_eq!(of("10.1.2.3", &chain, &["10.0.0.0/8"]), "203.0.113.9 true");
        assert_eq!(
            of("10.1.2.3", &["nonsense"], &["10.0.0.0/8"]),
            "10.1.2.3 true"
        );
        assert_eq!(of("10.1.2.3", &[], &["10.0.0.0/8"]), "10.1.2.3 true");
        assert_eq!(
            of("::ffff:10.1.2.3", &spoofed, &["10.0.0.0/8"]),
            "203.0.113.9 true"
        );
    }

    #[test]
    fn networks_are_parsed_strictly() {
        for good in [
            "127.0.0.1",
            "::1",
            "10.0.0.0/8",
            "fd00::/8",
            "192.0.2.128/25",
        ] {
            assert!(Cidr::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "host",
            "10.0.0.0/-1",
            "10/8",
        ] {
            assert_eq!(
                Cidr::parse(bad).unwrap_err().field(),
                Some("trusted-proxy"),
                "{bad}"
            );
        }
        let all_v4 = Cidr::parse("128.0.0.0/1").unwrap();
        assert!(!all_v4.contains("2001:db8::1".parse().unwrap()));
    }
}
