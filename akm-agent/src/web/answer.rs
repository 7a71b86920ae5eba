//! Answers of the dashboard, before the guard has put its headers on them.

use akm_core::error::Error;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, LOCATION};
use maud::Markup;
use serde::Serialize;

pub(crate) use crate::server::route::Http;

/// An answer with a body.
pub(crate) fn with_body(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Http {
    let mut http = hyper::Response::new(Full::new(body.into()));
    *http.status_mut() = status;
    http.headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    http
}

/// A page.
pub(crate) fn html(status: StatusCode, page: Markup) -> Http {
    with_body(status, "text/html;charset=utf-8", page.into_string())
}

/// What a script asked for.
pub(crate) fn json(value: &impl Serialize) -> Http {
    match serde_json::to_vec(value) {
        Ok(body) => with_body(StatusCode::OK, "application/json", body),
        Err(_) => bare(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// A status and its name, for who is not a person in front of a page.
pub(crate) fn bare(status: StatusCode) -> Http {
    let text = status.canonical_reason().unwrap_or("Error");
    with_body(status, "text/plain;charset=utf-8", text)
}

/// Another page, to be asked for with GET.
pub(crate) fn see(path: &str) -> Http {
    let mut http = bare(StatusCode::SEE_OTHER);
    // Every path is made here, of our own literals and escaped fields.
    match HeaderValue::from_str(path) {
        Ok(path) => http.headers_mut().insert(LOCATION, path),
        Err(_) => return bare(StatusCode::INTERNAL_SERVER_ERROR),
    };
    http
}

/// A file to be kept, under a name of ours.
pub(crate) fn download(name: &str, kind: &'static str, content: Vec<u8>) -> Http {
    let mut http = with_body(StatusCode::OK, kind, content);
    let disposition = format!("attachment;filename=\"{name}\"");
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        http.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    }
    http
}

/// The status that an error has.
pub(crate) fn status(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.kind().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
