//! `POST /webhook/PROVIDER` or `/webhook/PROVIDER/SECRET`: pushes of payment providers.
//!
//! The bytes go to the service as they came; what a push proves and grants is decided there. A provider that is not
//! configured is not found, and a push does not need a session: nobody's key is in reach of it.

use std::sync::Arc;

use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};

use super::Shared;
use super::route::{Http, failure, http, wrong_method};
use akm_core::error::{Error, Kind};

/// The signature of a gateway of one's own.
const SIGNATURE: &str = "akm-signature";

/// Answers a push; `rest` is the path behind `/webhook/`.
pub(super) async fn answer(shared: &Arc<Shared>, rest: &str, request: Request<Bytes>) -> Http {
    if *request.method() != Method::POST {
        return wrong_method("POST");
    }
    let (provider, gate) = rest.split_once('/').unwrap_or((rest, ""));
    let (provider, gate) = (provider.to_owned(), gate.to_owned());
    let signature = request
        .headers()
        .get(SIGNATURE)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let body = request.into_body();
    // A push may wait for its provider; it has a place among those who do.
    let place = Arc::clone(&shared.outbound).acquire_owned().await.ok();
    let answered = shared
        .blocking(move |shared| {
            let _place = place;
            let answer = shared
                .service
                .take_push(&provider, &gate, signature.as_deref(), &body);
            shared.touched();
            answer
        })
        .await;
    match answered {
        Some(answer) => http(
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            answer.body,
        ),
        None => failure(&Error::new(
            Kind::Unavailable,
            "the push could not be looked at",
        )),
    }
}
