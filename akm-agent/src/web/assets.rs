//! What a browser loads beside the pages: style, script, logo. All of it is in the program; an operator's folder may
//! replace the logo and add a style.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};

use super::answer::{self, Http};
use super::theme::Site;

const APP_CSS: &str = include_str!("../../web/app.css");
const APP_JS: &str = include_str!("../../web/app.js");
const OPEN_JS: &str = include_str!("../../web/open.js");
const LOGO: &str = include_str!("../../web/logo.svg");

/// The file of a name below `assets/`; nobody's name, but one of these.
pub(crate) fn find(site: &Site, name: &str) -> Option<Http> {
    const CSS: &str = "text/css;charset=utf-8";
    const JS: &str = "text/javascript;charset=utf-8";
    let (kind, body) = match name {
        "app.css" => (CSS, APP_CSS.to_owned()),
        "app.js" => (JS, APP_JS.to_owned()),
        "open.js" => (JS, OPEN_JS.to_owned()),
        "theme.css" => (CSS, site.style()?.to_owned()),
        "logo.svg" => ("image/svg+xml", site.logo().unwrap_or(LOGO).to_owned()),
        _ => return None,
    };
    let mut http = answer::with_body(StatusCode::OK, kind, body);
    // Asked for under a version of its own; see `Site::version`.
    http.headers_mut().insert(
        CACHE_CONTROL,
        HeaderValue::from_static("private,max-age=86400"),
    );
    Some(http)
}

/// The text all of the built-in files make, for their version.
pub(crate) fn all() -> [&'static str; 4] {
    [APP_CSS, APP_JS, OPEN_JS, LOGO]
}
