//! From an HTTP request to an operation and back.
//!
//! `POST /v1/OPERATION` is the table of `akm_core::protocol`; nothing here knows an operation, only its
//! columns there. After one that carries a credential, the connection is closed: its read buffer still holds the
//! passphrase, and closing is what frees it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use akm_core::audit::{Caller, Via};
use akm_core::error::{Error, Kind};
use akm_core::monitor::Monitor;
use akm_core::protocol::{self, Cost, MAX_REQUEST, Mark, Op, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::sync::Semaphore;

use super::room::Seat;
use super::{BODY_TIMEOUT, Shared, metrics};
use crate::caller::Process;
use crate::log;

/// What a monitor reads where all is well.
const YES: Bytes = Bytes::from_static(br#"{"ok":true,"result":{}}"#);

/// An answer.
pub type Http = hyper::Response<Full<Bytes>>;

pub(super) async fn answer(
    shared: &Arc<Shared>,
    process: &Process,
    seat: &Seat,
    request: hyper::Request<Incoming>,
) -> Http {
    let path = request.uri().path();
    if let Some(name) = path.strip_prefix("/v1/")
        && let Some(op) = Op::from_name(name)
    {
        if request.method() != Method::POST {
            return wrong_method("POST");
        }
        let start = Instant::now();
        let answer = operation(shared, process, seat, op, request.into_body()).await;
        let (took, error) = (start.elapsed(), failed_as(&answer));
        shared.metrics.count(op, error, took);
        if log::tells_requests() {
            log::request(op, error, took, process.pid());
        }
        return answer;
    }
    let _answering = seat.answering();
    let known = ["/healthz", "/readyz", "/metrics", "/v1/openapi.json"];
    let Some(path) = known.into_iter().find(|known| *known == path) else {
        return unknown();
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return wrong_method("GET");
    }
    match path {
        "/healthz" => health(shared),
        "/readyz" => match ready(shared).await {
            Ok(body) => http(StatusCode::OK, body),
            Err(error) => failure(&error),
        },
        "/metrics" => figures(shared).await,
        _ => match document(shared).await {
            Some(document) => http(StatusCode::OK, document),
            None => failure(&unexpected()),
        },
    }
}

/// Whether operations can be served: not while it ends, nor without a vault.
pub(super) fn health(shared: &Shared) -> Http {
    match shared.service.is_open() && !shared.phase.borrow().stopping {
        true => http(StatusCode::OK, YES),
        false => failure(&Error::new(Kind::Unavailable, "the agent is not serving")),
    }
}

/// Whether a request that needs the vault would be served now.
pub(super) async fn ready(shared: &Arc<Shared>) -> akm_core::Result<Bytes> {
    let asked = shared.blocking(|shared| shared.service.ready());
    asked
        .await
        .unwrap_or_else(|| Err(Error::internal("the look at the vault failed unexpectedly")))?;
    Ok(YES)
}

pub(super) async fn figures(shared: &Arc<Shared>) -> Http {
    // As an operation on the store: it reads a directory, and may wait for a restore.
    let place = Arc::clone(&shared.storing).acquire_owned().await.ok();
    let text = shared
        .blocking(move |shared| {
            let _place = place;
            let connections = shared.connections.load(Ordering::Relaxed);
            let figures = shared.service.figures();
            let observed = shared.watch.get().map(|watch| watch.observe(&figures));
            shared.metrics.text(figures, connections, observed)
        })
        .await;
    match text {
        Some(Ok(text)) => {
            let mut http = http(StatusCode::OK, text.into_bytes());
            http.headers_mut().insert(
                CONTENT_TYPE,
                HeaderValue::from_static(metrics::CONTENT_TYPE),
            );
            http
        }
        Some(Err(error)) => failure(&error),
        None => failure(&Error::internal("the operation failed unexpectedly")),
    }
}

/// The OpenAPI document. Writing it takes long enough for other clients to notice, so another thread does, once.
pub(super) async fn document(shared: &Arc<Shared>) -> Option<Bytes> {
    static WRITTEN: OnceLock<Bytes> = OnceLock::new();
    if let Some(document) = WRITTEN.get() {
        return Some(document.clone());
    }
    let write = |_: &Shared| WRITTEN.get_or_init(|| protocol::openapi::document().into());
    shared.blocking(write).await.cloned()
}

/// The kind of the error that an answer carries.
pub(super) fn failed_as(answer: &Http) -> Option<Kind> {
    answer.extensions().get::<Kind>().copied()
}

async fn operation(
    shared: &Arc<Shared>,
    process: &Process,
    seat: &Seat,
    op: Op,
    body: Incoming,
) -> Http {
    let body = match read(body).await {
        Ok(body) => body,
        Err(refusal) => return closing(refusal),
    };
    let _answering = seat.answering();
    let caller = process.caller();
    let decoded = decode(shared, &caller, op, &body).await;
    drop(body);
    let request = match decoded {
        Ok(request) => request,
        Err(error) if op.is(Mark::Credential) => return closing(failure(&error)),
        Err(error) => return failure(&error),
    };
    let request = match op.cost() {
        Cost::Quick => match shared.service.try_call(&caller, request) {
            Ok(answer) => {
                shared.touched();
                return envelope(&answer);
            }
            Err(request) => request,
        },
        Cost::Store | Cost::Deriving | Cost::Outbound => request,
    };
    let answer = slow(shared, caller, request, |answer| envelope(&answer)).await;
    let answer = answer.unwrap_or_else(|| failure(&unexpected()));
    if op.is(Mark::Credential) {
        closing(answer)
    } else {
        answer
    }
}

/// The gate, then the content: a locked agent tells nobody what it thinks of a request.
pub(super) async fn decode(
    shared: &Arc<Shared>,
    caller: &Caller,
    op: Op,
    body: &[u8],
) -> akm_core::Result<Request> {
    let open = match shared.service.try_gate(caller, op) {
        Some(open) => open,
        None => {
            let caller = caller.clone();
            let waited = shared.blocking(move |shared| shared.service.gate(&caller, op));
            waited.await.unwrap_or_else(|| Err(unexpected()))
        }
    };
    open.and_then(|()| Request::decode(op, body))
}

/// Runs an operation where its cost belongs.
pub(super) async fn run(
    shared: &Arc<Shared>,
    caller: Caller,
    request: Request,
) -> akm_core::Result<Response> {
    let request = match request.op().cost() {
        Cost::Quick => match shared.service.try_call(&caller, request) {
            Ok(answer) => {
                shared.touched();
                return answer;
            }
            Err(request) => request,
        },
        Cost::Store | Cost::Deriving | Cost::Outbound => request,
    };
    let answer = slow(shared, caller, request, |answer| answer).await;
    answer.unwrap_or_else(|| Err(unexpected()))
}

fn unexpected() -> Error {
    Error::internal("the operation failed unexpectedly")
}

/// Runs an operation on another thread. It ends there even if the client has gone, and until then it keeps its
/// place in its lane: whoever asks and leaves holds up nobody but others of the kind. `None` if it panicked.
async fn slow<T: Send + 'static>(
    shared: &Arc<Shared>,
    caller: Caller,
    request: Request,
    finish: impl FnOnce(akm_core::Result<Response>) -> T + Send + 'static,
) -> Option<T> {
    let op = request.op();
    // A sign-in over the network is its own session: nobody else's ends, so nobody's connection has to.
    let ends_others = op.is(Mark::EndsSession)
        && (caller.via == Via::Host
            || !matches!(op, Op::AgentUnlock | Op::AccountRegister | Op::AgentLock));
    let lane = match op.cost() {
        // A lock waits behind nothing.
        Cost::Store if op.is(Mark::EndsSession) => None,
        Cost::Store if derives(&request) => Some(deriving(shared, &caller)),
        Cost::Quick => Some(&shared.asking),
        Cost::Store if changes(op) => Some(&shared.asking),
        Cost::Store => Some(&shared.storing),
        Cost::Deriving => Some(deriving(shared, &caller)),
        Cost::Outbound => Some(&shared.outbound),
    };
    let place = match lane {
        // Nobody closes it; without a place is better than not at all.
        Some(lane) => Arc::clone(lane).acquire_owned().await.ok(),
        None => None,
    };
    let answer = shared
        .blocking(move |shared| {
            let _place = place;
            let answer = shared.service.call(&caller, request);
            // Before the answer is on its way: whoever reads that it is locked finds it so.
            if ends_others && answer.is_ok() {
                shared.locked();
            }
            // From here, as the client may be gone: a new deadline and new events must be seen to.
            shared.dirty.store(true, Ordering::Relaxed);
            shared.work.notify_one();
            shared.jobs.notify_one();
            finish(answer)
        })
        .await;
    if op.is(Mark::EndsSession) {
        // And it may begin one.
        shared.sessions.notify_one();
        // Lets the other connections notice first: they are in the queue before us.
        tokio::task::yield_now().await;
        akm_core::memory::scrub_stack();
    }
    answer
}

/// The lane of those who derive keys. The agent's own user has one that strangers cannot fill.
pub(super) fn deriving<'a>(shared: &'a Shared, caller: &Caller) -> &'a Arc<Semaphore> {
    match caller.is_owner() {
        true => &shared.own_deriving,
        false => &shared.deriving,
    }
}

/// Whether this request derives a key although others of its operation do not.
pub(super) fn derives(request: &Request) -> bool {
    match request {
        Request::KeyUpdate(update) => update.passphrase.is_some(),
        Request::PolicySet(set) => set.passphrase.is_some(),
        _ => false,
    }
}

/// Whether a person may have to be asked before this change: then it must not hold a place of those that never wait.
fn changes(op: Op) -> bool {
    matches!(
        op,
        Op::KeyAdd
            | Op::KeyUpdate
            | Op::KeyRotate
            | Op::KeyRemove
            | Op::VaultImport
            | Op::ProviderAdd
            | Op::ProviderRemove
            | Op::BackupCreate
            | Op::BackupSchedule
    )
}

/// The whole body, or the refusal.
pub(super) async fn read(body: Incoming) -> Result<Bytes, Http> {
    let too_large = || {
        let mut http = failure(&Error::new(Kind::InvalidInput, "the request is too large"));
        *http.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        http
    };
    // Announced: not a byte of it is read.
    if body.size_hint().lower() > MAX_REQUEST as u64 {
        return Err(too_large());
    }
    let body = Limited::new(body, MAX_REQUEST).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(failure(&Error::new(
            Kind::InvalidInput,
            "the body of the request is broken",
        ))),
        Err(_) => Err(failure(&Error::new(
            Kind::InvalidInput,
            "the body of the request did not come in time",
        ))),
    }
}

pub(super) fn envelope(answer: &akm_core::Result<Response>) -> Http {
    match answer {
        Ok(_) => http(StatusCode::OK, protocol::envelope(answer)),
        Err(error) => failure(error),
    }
}

pub(super) fn failure(error: &Error) -> Http {
    let mut http = http(status(error), protocol::envelope(&Err(error.clone())));
    // For the counts; an answer without an error takes no memory for this.
    http.extensions_mut().insert(error.kind());
    http
}

/// To whoever asks for a path that there is not.
pub(crate) fn unknown() -> Http {
    failure(&Error::new(Kind::NotFound, "there is no such operation"))
}

pub(super) fn wrong_method(allowed: &'static str) -> Http {
    let mut http = failure(&Error::new(
        Kind::InvalidInput,
        "the method does not fit the path",
    ));
    *http.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    http.headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    http
}

fn status(error: &Error) -> StatusCode {
    // Kinds that only a client raises have no status; one that got here is a defect.
    StatusCode::from_u16(error.kind().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(super) fn http(status: StatusCode, body: impl Into<Bytes>) -> Http {
    let mut http = hyper::Response::new(Full::new(body.into()));
    *http.status_mut() = status;
    http.headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    http
}

pub(super) fn closing(mut http: Http) -> Http {
    http.headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    http
}

#[cfg(test)]
mod tests {
    use super::*;
    use akm_core::host::Host;
    use akm_core::provider::Outbound;
    use akm_core::service::{Door, Options};

    /// A server on an empty vault.
    fn server(dir: &tempfile::TempDir) -> Arc<Shared> {
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("state")).unwrap();
        let door = Door::open(Options {
            vault: at("vault.db"),
            journal: at("journal"),
            state: at("state"),
            backups: at("backups"),
            host: Host::real(),
            key_limit: None,
            default_lifetime: None,
            outbound: Outbound::default(),
        })
        .unwrap();
        super::super::Server::new(Arc::new(door)).shared
    }

    #[test]
    fn health_is_503_while_the_agent_ends() {
        let dir = tempfile::tempdir().unwrap();
        let shared = server(&dir);
        assert_eq!(health(&shared).status(), 200, "control");
        shared.phase.send_modify(|phase| phase.stopping = true);
        let http = health(&shared);
        assert_eq!(http.status(), 503);
        assert_eq!(failed_as(&http), Some(Kind::Unavailable));
    }

    #[tokio::test]
    async fn the_openapi_document_is_written_once_and_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let shared = server(&dir);
        let mut asked = Box::pin(document(&shared));
        // Nothing in this process asked before, so there is something to wait for: the thread of all clients is free.
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(asked.as_mut().poll(cx)));
        assert!(polled.await.is_pending());
        let first = asked.await.unwrap();
        assert!(first.starts_with(b"{"));
        let second = document(&shared).await.unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr(), "written again");
    }
}
