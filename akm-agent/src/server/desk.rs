//! What the dashboard gets of the server: operations in their lanes, and connections under the server's limits.
//!
//! It holds the server weakly: the service leads to the dashboard, and the dashboard back here.

use std::future::Future;
use std::sync::{Arc, Weak};

use akm_core::audit::Caller;
use akm_core::error::{Error, Kind, Result};
use akm_core::protocol::{Cost, Operation, Request};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use tokio::net::TcpStream;

use super::{Shared, connection, route};

const STOPPING: Error = Error::new(Kind::Unavailable, "the agent is stopping");

/// The server, as the dashboard sees it; by default one that has stopped.
#[derive(Clone, Default)]
pub(crate) struct Desk(Weak<Shared>);

impl Desk {
    pub(super) fn new(shared: &Arc<Shared>) -> Desk {
        Desk(Arc::downgrade(shared))
    }

    /// Carries out an operation where its cost says.
    pub(crate) async fn ask<O>(&self, caller: &Caller, request: O) -> Result<O::Result>
    where
        O: Operation + Into<Request>,
    {
        let shared = self.0.upgrade().ok_or(STOPPING)?;
        let mut request = request.into();
        if O::OP.cost() == Cost::Quick {
            match shared.service.try_call(caller, request) {
                Ok(answer) => {
                    shared.touched();
                    return answer.and_then(result::<O>);
                }
                Err(again) => request = again,
            }
        }
        route::perform(&shared, caller.clone(), request, |answer| {
            answer.and_then(result::<O>)
        })
        .await
        .unwrap_or_else(|| Err(Error::internal("the operation failed unexpectedly")))
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
        A: Future<Output = hyper::Response<Full<Bytes>>>,
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

fn result<O: Operation>(answer: akm_core::protocol::Response) -> Result<O::Result> {
    O::result(answer).ok_or_else(|| Error::internal("an answer of another operation"))
}
