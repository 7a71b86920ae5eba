//! What the dashboard on loopback gets of the server: visitors, and connections under the server's limits.
//!
//! It holds the server weakly: the service leads to the dashboard, and the dashboard back here.

use std::future::Future;
use std::sync::{Arc, Weak};

use akm_core::audit::Caller;
use akm_core::error::Result;
use hyper::body::{Bytes, Incoming};
use tokio::net::TcpStream;

use super::route::{self, Http};
use super::visitor::{Proof, Visitor};
use super::{Shared, connection};

/// The server, as the dashboard sees it; by default one that has stopped.
#[derive(Clone, Default)]
pub(crate) struct Desk(Weak<Shared>);

impl Desk {
    pub(super) fn new(shared: &Arc<Shared>) -> Desk {
        Desk(Arc::downgrade(shared))
    }

    /// The owner on this machine, in a request that was shown to come from our own pages; nobody once the server is gone.
    pub(crate) fn owner(&self, caller: Caller) -> Option<Visitor> {
        Some(Visitor {
            shared: self.0.upgrade()?,
            caller,
            proof: Proof::Kernel,
            same_origin: true,
            address: None,
        })
    }

    /// Runs slow work that is no operation on another thread.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.0.upgrade()?.blocking(|_| work()).await
    }

    /// Answers the requests of a connection until it ends; a lock or a stop ends it as well.
    pub(crate) async fn serve<F, A>(&self, stream: TcpStream, answer: F)
    where
        F: Fn(hyper::Request<Incoming>) -> A,
        A: Future<Output = Http>,
    {
        let phase = self.0.upgrade().map(|shared| shared.phase.subscribe());
        if let Some(phase) = phase {
            connection::http(phase, stream, answer).await;
        }
    }

    /// Returns when the server stops.
    pub(crate) async fn stopped(&self) {
        let Some(mut phase) = self.0.upgrade().map(|shared| shared.phase.subscribe()) else {
            return;
        };
        // An error is its end as well.
        let _ = phase.wait_for(|phase| phase.stopping).await;
    }
}

/// A request's body within the limits of an operation's; what it is refused with otherwise.
pub(crate) async fn body(body: Incoming) -> Result<Bytes, hyper::StatusCode> {
    route::read(body).await.map_err(|refusal| refusal.status())
}
