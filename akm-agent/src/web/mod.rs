//! The dashboard: pages made on the server, for a browser.
//!
//! In reading order: [`local`] (a link for one browser of this machine, and the listener behind it), [`guard`] (whose
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
pub(crate) mod local;
mod page;
mod peer;
mod routes;
pub(crate) mod theme;
mod view;
pub(crate) mod words;

use akm_core::audit::Caller;

use crate::server::desk::Desk;
use theme::Site;
use words::Words;

/// One request's surroundings: who asks, in which language, under which path.
pub(crate) struct Visit<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) site: &'a Site,
    pub(crate) caller: &'a Caller,
    /// What stands before every path, without a slash at its end.
    pub(crate) base: &'a str,
    pub(crate) words: Words<'a>,
}
