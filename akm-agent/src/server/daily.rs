//! The daily connection tests, where the configuration switches them on: every key that was not tested for a day is, as
//! long as its account is open.
//!
//! When a key was tested stands beside it in the vault, so nothing is remembered here and a restart repeats nothing. Looked
//! at after each unlock, and every quarter of an hour (the runtime's timer stops while the machine is suspended).

use std::sync::Arc;
use std::time::Duration;

use super::Shared;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LOOK_EVERY: Duration = Duration::from_secs(15 * 60);

pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.sessions.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        shared
            .blocking(|shared| {
                if shared.service.test_due(DAY) > 0 {
                    shared.touched();
                }
            })
            .await;
    }
}
