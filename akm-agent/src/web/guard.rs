//! Whose requests are heard, and what every answer says to the browser.
//!
//! What is refused, before a path is looked at: a `Host` that is not exactly ours (another name that leads here is DNS
//! rebinding), an address with an authority of its own, a request that a browser says came from another site or from another
//! port of this one (`Sec-Fetch-Site`), a `POST` without our own `Origin` or of another type than a form (which is
//! all that another page can make a browser send without asking). Cookies are `SameSite=Strict`; this does not lean on it.
//!
//! The policy of every answer: nothing is loaded but from here, no script or style stands in a page, no frame, no base,
//! no plugin, and no script turns text into markup (trusted types, none allowed).

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, StatusCode, Uri};

use super::answer::Http;

/// Where a dashboard is reached, as browsers write it.
pub(crate) struct Origin {
    /// `http://127.0.0.1:4711`
    pub(crate) origin: String,
    /// `127.0.0.1:4711`
    pub(crate) host: String,
}

impl Origin {
    /// Whether a request is one that our own pages, or a person, made a browser send.
    pub(crate) fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), StatusCode> {
        if uri.authority().is_some() {
            return Err(StatusCode::BAD_REQUEST);
        }
        match one(headers, &HOST)? {
            Some(host) if host == self.host.as_str() => {}
            _ => return Err(StatusCode::MISDIRECTED_REQUEST),
        }
        let changes = match *method {
            Method::GET | Method::HEAD => false,
            Method::POST => true,
            _ => return Err(StatusCode::METHOD_NOT_ALLOWED),
        };
        match one(headers, &SEC_FETCH_SITE)?.map(HeaderValue::as_bytes) {
            // A person typed it, or a program that is no browser asks.
            None => {}
            Some(b"none") if !changes => {}
            Some(b"same-origin") => {}
            Some(_) => return Err(StatusCode::FORBIDDEN),
        }
        match one(headers, &ORIGIN)? {
            Some(origin) if origin == self.origin.as_str() => {}
            None if !changes => {}
            _ => return Err(StatusCode::FORBIDDEN),
        }
        if changes {
            let kind = one(headers, &CONTENT_TYPE)?;
            let kind = kind.map_or(&b""[..], HeaderValue::as_bytes);
            let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
            if kind.trim_ascii() != FORM {
                return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            }
        }
        Ok(())
    }
}

const FORM: &[u8] = b"application/x-www-form-urlencoded";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The one header of a name; two are one too many.
fn one<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, StatusCode> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(StatusCode::BAD_REQUEST),
        (value, None) => Ok(value),
    }
}

/// What an answer may load and do.
const POLICY: &str = include_str!("../../web/policy.txt").trim_ascii_end();

/// Puts on an answer what every answer says.
pub(crate) fn harden(mut http: Http) -> Http {
    let headers = http.headers_mut();
    let constants = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: browsers then say `Origin: null` also of our own forms.
        (REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(),microphone=(),geolocation=(),usb=(),clipboard-read=(self),clipboard-write=(self)",
        ),
    ];
    for (name, value) in constants {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    http
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(method: Method, headers: &[(&'static str, &'static str)]) -> Result<(), u16> {
        let origin = Origin {
            origin: "http://127.0.0.1:80".into(),
            host: "127.0.0.1:80".into(),
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let checked = origin.check(&method, &Uri::from_static("/x"), &map);
        checked.map_err(|status| status.as_u16())
    }

    #[test]
    fn our_own_pages_and_persons_are_heard() {
        let host = ("host", "127.0.0.1:80");
        let own = ("origin", "http://127.0.0.1:80");
        let form = (
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        );
        for (method, headers) in [
            (Method::GET, &[host][..]),
            (Method::GET, &[host, ("sec-fetch-site", "none")]),
            (Method::HEAD, &[host, ("sec-fetch-site", "same-origin")]),
            (Method::POST, &[host, own, form]),
            (
                Method::POST,
                &[host, own, form, ("sec-fetch-site", "same-origin")],
            ),
        ] {
            assert_eq!(checked(method, headers), Ok(()), "{headers:?}");
        }
    }

    #[test]
    fn everybody_else_is_not() {
        let host = ("host", "127.0.0.1:80");
        let own = ("origin", "http://127.0.0.1:80");
        let form = ("content-type", "application/x-www-form-urlencoded");
        for (method, headers, status) in [
            (Method::GET, &[][..], 421),
            (Method::GET, &[("host", "evil.test:80")], 421),
            (Method::GET, &[("host", "localhost:80")], 421),
            (Method::GET, &[("host", "127.0.0.1:80.evil.test")], 421),
            (Method::GET, &[host, host], 400),
            (Method::PUT, &[host, own, form], 405),
            (Method::OPTIONS, &[host], 405),
            (Method::TRACE, &[host], 405),
            (Method::GET, &[host, ("sec-fetch-site", "cross-site")], 403),
            (Method::GET, &[host, ("sec-fetch-site", "same-site")], 403),
            (Method::GET, &[host, ("origin", "http://evil.test")], 403),
            (Method::POST, &[host, form], 403),
            (Method::POST, &[host, form, ("origin", "null")], 403),
            (
                Method::POST,
                &[host, form, ("origin", "http://127.0.0.1:81")],
                403,
            ),
            (
                Method::POST,
                &[host, form, own, ("sec-fetch-site", "none")],
                403,
            ),
            (Method::POST, &[host, form, own, own], 400),
            (Method::POST, &[host, own], 415),
            (
                Method::POST,
                &[host, own, ("content-type", "text/plain")],
                415,
            ),
            (
                Method::POST,
                &[host, own, ("content-type", "multipart/form-data")],
                415,
            ),
        ] {
            assert_eq!(checked(method, headers), Err(status), "{headers:?}");
        }
    }
}
