//! Addresses: a `base_url` as a person may type it.
//!
//! Invariants: what is accepted has one spelling, so no two parsers can disagree about the host;
//! plain http goes only to a literal `127.0.0.1` or `[::1]` with an explicit port; everything else is
//! https, and a host that is a number is a public one. A *name* is judged a second time when it has
//! been resolved, with [`is_public`] over every address.
//!
//! Deliberately absent: name resolution, and tolerance. The build script reads the catalogue with this
//! file too, so it uses nothing but the standard library.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::network::is_public;

/// Longest address in bytes.
pub const MAX_BASE_URL: usize = 2048;

/// Names that mean a machine or a network near this one, with everything below them.
const INSIDE: &[&str] = &[
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "svc",
    "home.arpa",
    "invalid",
    "onion",
];

/// Why an address is not taken. A literal; what was typed is never part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub(super) &'static str);

impl Refusal {
    /// The sentence, lowercase and without a full stop.
    pub fn message(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The host of an address, in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name of at least two labels, lower case.
    Name(String),
    /// A literal network address.
    Address(IpAddr),
}

/// An address a key may be sent below: scheme, host, port and a path without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    secure: bool,
    host: Host,
    port: u16,
    path: String,
}

impl BaseUrl {
    /// Reads an address; everything that has a second reading is refused.
    pub fn read(text: &str) -> Result<BaseUrl, Refusal> {
        if text.is_empty() || text.len() > MAX_BASE_URL {
            return Err(Refusal("an address is 1 to 2048 characters"));
        }
        if !text.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
            return Err(Refusal("an address is printable ASCII without spaces"));
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or(Refusal("an address starts with https://"))?;
        let secure = if scheme.eq_ignore_ascii_case("https") {
            true
        } else if scheme.eq_ignore_ascii_case("http") {
            false
        } else {
            return Err(Refusal("an address starts with https://"));
        };
        let cut = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        let (host, port) = read_authority(authority)?;
        match (&host, secure) {
            (Host::Address(ip), false) => {
                if !(*ip == Ipv4Addr::LOCALHOST || *ip == Ipv6Addr::LOCALHOST) {
                    return Err(PLAIN);
                }
                if port.is_none() {
                    return Err(Refusal("plain http to this machine needs an explicit port"));
                }
            }
            (Host::Name(_), false) => return Err(PLAIN),
            (Host::Address(ip), true) => {
                if !is_public(*ip) {
                    return Err(Refusal("the address is not a public one"));
                }
            }
            (Host::Name(name), true) => check_name(name)?,
        }
        Ok(BaseUrl {
            secure,
            host,
            port: port.unwrap_or(443),
            path: read_path(path)?,
        })
    }

    /// Whether the connection is TLS; if not, the host is this machine by number.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The host as it stands in an address: IPv6 in brackets.
    pub fn host_text(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(IpAddr::V4(ip)) => ip.to_string(),
            Host::Address(IpAddr::V6(ip)) => format!("[{ip}]"),
        }
    }

    /// The port, also where it was not typed.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path: empty, or `/` and something that does not end in `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `scheme://host:port`, always with the port: what destinations are compared by.
    pub fn origin(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host_text(), self.port)
    }
}

/// The address in its one spelling; `:443` is left out.
impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host_text();
        match (self.secure, self.port) {
            (true, 443) => write!(f, "https://{host}{}", self.path),
            (true, port) => write!(f, "https://{host}:{port}{}", self.path),
            (false, port) => write!(f, "http://{host}:{port}{}", self.path),
        }
    }
}

const PLAIN: Refusal = Refusal("plain http goes only to 127.0.0.1 or [::1] with a port; use https");

fn read_authority(text: &str) -> Result<(Host, Option<u16>), Refusal> {
    if text.contains('@') {
        return Err(Refusal("an address has no user name or password"));
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest
            .split_once(']')
            .ok_or(Refusal("the host is not an IPv6 address in brackets"))?;
        // A zone id names an interface of this machine; the parser refuses it with the rest.
        let ip: Ipv6Addr = inside
            .parse()
            .map_err(|_| Refusal("the host is not an IPv6 address in brackets"))?;
        if ip.to_string() != inside.to_ascii_lowercase() {
            return Err(Refusal("the host is not written in its shortest form"));
        }
        let port = match after {
            "" => None,
            _ => Some(
                after
                    .strip_prefix(':')
                    .ok_or(Refusal("the port is not a number"))?,
            ),
        };
        (Host::Address(ip.into()), port)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        (read_host(host)?, port)
    };
    let port = match port {
        None => None,
        Some(digits) => Some(read_port(digits)?),
    };
    Ok((host, port))
}

fn read_port(digits: &str) -> Result<u16, Refusal> {
    let fits = !digits.is_empty()
        && !digits.starts_with('0')
        && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| digits.parse().ok())
        .flatten()
        .ok_or(Refusal("the port is not a number from 1 to 65535"))
}

fn read_host(text: &str) -> Result<Host, Refusal> {
    let name = text.to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    // Resolvers take 0x7f.1, 0177.0.0.1 and 2130706433 for addresses, so whatever ends in a number is
    // one: it must be the plain dotted form.
    if last.starts_with(|c: char| c.is_ascii_digit()) {
        let ip: Ipv4Addr = name
            .parse()
            .map_err(|_| Refusal("the host is a number that is not a dotted address"))?;
        return Ok(Host::Address(ip.into()));
    }
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label_fits) {
        return Err(Refusal(
            "the host is not a name of letters, digits, - and dots",
        ));
    }
    Ok(Host::Name(name))
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let inside = INSIDE.iter().any(|suffix| {
        name.strip_suffix(suffix)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    // A name that is an address with something behind it (nip.io and its like) is resolved to that address. Whatever a
    // name resolves to is judged again; this one says beforehand where it leads.
    let labels: Vec<&str> = name.split('.').collect();
    let leads_inside = labels.windows(4).any(|four| {
        let address = four.join(".").parse::<Ipv4Addr>();
        address.is_ok_and(|ip| !is_public(ip.into()))
    });
    if inside || leads_inside || !name.contains('.') {
        return Err(Refusal(
            "the host is a name inside a network, not a public one",
        ));
    }
    Ok(())
}

fn read_path(text: &str) -> Result<String, Refusal> {
    if text.contains(['?', '#']) {
        return Err(Refusal("an address has no query and no fragment"));
    }
    let path = text.strip_suffix('/').unwrap_or(text);
    let Some(inner) = path.strip_prefix('/') else {
        return if path.is_empty() {
            Ok(String::new())
        } else {
            Err(Refusal("an address has no backslash"))
        };
    };
    // No percent signs: %2e%2e and %2f are dots and slashes to some servers and not to others.
    let segment_fits = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b))
    };
    if inner.split('/').all(segment_fits) {
        Ok(path.to_owned())
    } else {
        Err(Refusal("the path has a part that servers read differently"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_taken_in_one_spelling() {
        for (typed, read, origin) in [
            (
                "https://api.openai.com/v1",
                "https://api.openai.com/v1",
                "https://api.openai.com:443",
            ),
            (
                "https://api.openai.com/v1/",
                "https://api.openai.com/v1",
                "https://api.openai.com:443",
            ),
            (
                "HTTPS://API.OpenAI.com:443",
                "https://api.openai.com",
                "https://api.openai.com:443",
            ),
            (
                "https://gw.example.com:8443/a/b",
                "https://gw.example.com:8443/a/b",
                "https://gw.example.com:8443",
            ),
            (
                "http://127.0.0.1:11434/v1",
                "http://127.0.0.1:11434/v1",
                "http://127.0.0.1:11434",
            ),
            (
                "http://127.0.0.1:80/",
                "http://127.0.0.1:80",
                "http://127.0.0.1:80",
            ),
            (
                "http://[::1]:8000",
                "http://[::1]:8000",
                "http://[::1]:8000",
            ),
            (
                "https://[2606:4700::6810:84e5]/x",
                "https://[2606:4700::6810:84e5]/x",
                "https://[2606:4700::6810:84e5]:443",
            ),
            ("https://8.8.8.8", "https://8.8.8.8", "https://8.8.8.8:443"),
            (
                "https://8.8.8.8.example.com",
                "https://8.8.8.8.example.com",
                "https://8.8.8.8.example.com:443",
            ),
            (
                "https://xn--bcher-kva.example.com/v1",
                "https://xn--bcher-kva.example.com/v1",
                "https://xn--bcher-kva.example.com:443",
            ),
        ] {
            let url = BaseUrl::read(typed).unwrap_or_else(|e| panic!("{typed}: {e}"));
            assert_eq!(url.to_string(), read);
            assert_eq!(url.origin(), origin);
            assert_eq!(
                BaseUrl::read(read),
                Ok(url),
                "reading again changes nothing"
            );
        }
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for typed in [
            "",
            "https://",
            "https:///v1",
            "https:/api.openai.com",
            "//api.openai.com",
            "api.openai.com",
            " https://api.openai.com",
            "https://api.openai.com\r\n",
            "https://api.openai.com/v1?x=1",
            "https://api.openai.com?x=1",
            "https://api.openai.com/v1#x",
            "https://api.openai.com#@evil.test",
            "https://user@api.openai.com/",
            "https://user:pw@api.openai.com/",
            "https://api.openai.com@evil.test/",
            "https://api.openai.com\\@evil.test/",
            "https://api.openai.com\\.evil.test",
            "https://api.openai.com:0/",
            "https://api.openai.com:/",
            "https://api.openai.com:65536/",
            "https://api.openai.com:0443/",
            "https://api.openai.com:+443/",
            "https://api.openai.com:443:1/",
            "https://api.openai.com./",
            "https://api..openai.com/",
            "https://-api.openai.com/",
            "https://api_x.openai.com/",
            "https://api%2eopenai.com/",
            "https://router/",
            "https://localhost:8443/",
            "https://x.localhost/",
            "https://printer.local/",
            "https://metadata.google.internal/",
            "https://kubernetes.default.svc/",
            "https://vault.corp/",
            "https://169.254.169.254.nip.io/",
            "https://a.10.0.0.1.sslip.io/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://127.1/",
            "https://1.2.3.4.5/",
            "https://evil.0x7f000001/",
            "https://127.0.0.1:8443/",
            "https://[::1]:8443/",
            "https://[::ffff:8.8.8.8]/",
            "https://[2606:4700:0:0::1]/",
            "https://[2606:4700::1",
            "https://[2606:4700::1]x",
            "https://[v1.x]/",
            "http://127.0.0.1",
            "http://127.0.0.2:80",
            "http://localhost:11434",
            "http://0.0.0.0:11434",
            "http://[0:0:0:0:0:0:0:1]:80",
            "http://8.8.8.8:80",
            "https://api.openai.com/a/../b",
            "https://api.openai.com/./b",
            "https://api.openai.com//b",
            "https://api.openai.com/%2e%2e/b",
            "https://api.openai.com/a\\b",
            "https://api.openai.com/a b",
            "https://api.openai.com/ä",
            "https://аpi.openai.com/",
        ] {
            let refused = BaseUrl::read(typed);
            assert!(refused.is_err(), "{typed:?}: {refused:?}");
        }
        assert!(BaseUrl::read(&format!("https://a.example/{}", "a".repeat(2100))).is_err());
    }
}
