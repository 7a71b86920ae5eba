//! The dashboard: pages made on the server, for a browser.
//!
//! In reading order: [`local`] (a link for one browser of this machine, and the listener behind it), [`hosted`] (the same pages on
//! the listeners of a server), [`guard`] (whose
//! requests are heard, and what every answer says to the browser), [`routes`] (from a path to a page), [`page`]
//! (the pages), [`view`] (what they are made of), [`words`] (in which language), [`theme`] (what an operator replaces).
//!
//! Invariants: everything goes through the operations of the service, as the caller that the browser's cookie stands
//! for. A secret stands in an answer only to a `POST` that asks for this one key, and never in a page that lists.
//! Nothing is cached but what every browser may see. Text is escaped by the template language (maud), in
//! which raw text has to be asked for by name; nobody here does. There is no script and no style in a page: the policy forbids
//! them, and also that a script turns text into markup.
//!
//! Deliberately absent: a framework, a build step, scripts of others, and anything that works only with script but copying,
//! revealing and progress.

pub(crate) mod answer;
pub(crate) mod assets;
pub(crate) mod form;
pub(crate) mod guard;
pub(crate) mod hosted;
pub(crate) mod local;
mod page;
mod peer;
mod routes;
pub(crate) mod theme;
mod view;
pub(crate) mod words;

use akm_core::error::{Error, Result};
use akm_core::protocol::{Operation, Request};
use akm_core::service::Hosting;
use hyper::header::HeaderValue;

use crate::server::visitor::Visitor;
use theme::Site;
use words::Words;

/// Which dashboard it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edition {
    /// A developer's own, on the agent's machine.
    Local,
    /// That of a server with accounts.
    Hosted,
}

/// One request's surroundings: in whose name it acts, in which language, under which path.
pub(crate) struct Visit<'a> {
    pub(crate) visitor: &'a Visitor,
    pub(crate) site: &'a Site,
    pub(crate) edition: Edition,
    /// What holds for those who come over the network, where they do.
    pub(crate) rules: Option<&'a Hosting>,
    /// What stands before every path, without a slash at its end.
    pub(crate) base: &'a str,
    pub(crate) words: Words<'a>,
}

impl Visit<'_> {
    /// A path of this dashboard.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    pub(crate) fn is_hosted(&self) -> bool {
        self.edition == Edition::Hosted
    }

    /// Carries out an operation in the visitor's name.
    pub(crate) async fn ask<O: Operation + Into<Request>>(&self, request: O) -> Result<O::Result> {
        let answer = self.visitor.call(request).await?;
        O::result(answer).ok_or_else(foreign)
    }

    /// As [`Visit::ask`] for what begins a session, and the cookie of it where sessions have one.
    pub(crate) async fn enter<O: Operation + Into<Request>>(
        &self,
        request: O,
    ) -> Result<(O::Result, Option<HeaderValue>)> {
        let (answer, cookie) = self.visitor.enter(request).await?;
        let result = O::result(answer).ok_or_else(foreign)?;
        Ok((result, self.is_hosted().then_some(cookie)))
    }
}

fn foreign() -> Error {
    Error::internal("an answer of another operation")
}
