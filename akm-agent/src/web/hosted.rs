//! The dashboard of a server with accounts: the same pages, on its network listeners.
//!
//! Host, Origin, rates and bodies are the listener's business (`server::remote`), cookies and sessions the visitor's; what this adds is
//! that a `POST` which was not shown to come from our own pages is refused whichever of the pages it asks for, and that a path
//! which no page has is answered to a program as everywhere on this listener.

use std::path::Path;

use akm_core::error::Result;
use akm_core::service::Hosting;
use hyper::body::Bytes;
use hyper::{Method, StatusCode};

use super::form::Form;
use super::theme::Site;
use super::{Edition, Visit, answer, assets, guard, routes};
use crate::server::route;
use crate::server::visitor::{Answer, Pages, Visitor};

/// The pages of a server.
pub(crate) struct Hosted {
    site: Site,
    rules: Hosting,
}

impl Hosted {
    /// Pages that look and speak as the folder says, of a server with these rules.
    pub(crate) fn load(folder: Option<&Path>, rules: &Hosting) -> Result<Hosted> {
        Ok(Hosted {
            rules: rules.clone(),
            site: Site::load(folder)?,
        })
    }

    async fn page(&self, visitor: Visitor, request: hyper::Request<Bytes>) -> answer::Http {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().strip_prefix('/').unwrap_or_default();
        let posts = parts.method == Method::POST;
        if let Some(name) = path.strip_prefix("assets/") {
            let asset = assets::find(&self.site, name).filter(|_| !posts);
            return asset.unwrap_or_else(route::unknown);
        }
        let visit = Visit {
            visitor: &visitor,
            site: &self.site,
            edition: Edition::Hosted,
            rules: Some(&self.rules),
            base: "",
            words: routes::words(&self.site, &parts.headers),
        };
        // Known before it is asked who may: there is nothing behind such a path, for anybody.
        if !routes::is_known(path) {
            return routes::unknown(&visit, &parts);
        }
        if posts && !visitor.may_change() {
            return answer::bare(StatusCode::FORBIDDEN);
        }
        routes::pages(&visit, &parts, path, Form::parse(&body)).await
    }
}

impl Pages for Hosted {
    fn answer(&self, visitor: Visitor, request: hyper::Request<Bytes>) -> Answer<'_> {
        Box::pin(async move { guard::harden(self.page(visitor, request).await) })
    }
}
