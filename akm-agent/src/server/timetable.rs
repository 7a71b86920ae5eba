//! Drives the scheduler: sleeps until a job is due and runs it off the thread that answers.
//!
//! The runtime's timer stops while the machine is suspended, so a long wait is looked at again every few minutes.
//! With no job switched on it sleeps until an operation ran, which may have switched one on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use akm_core::error::Result;
use akm_core::service::Door;

use super::Shared;
use crate::jobs::{Job, Scheduler};
use crate::log;
use crate::offsite::{self, Offsite};

/// Longest sleep towards a job; after a suspend it may run this late.
const LOOK_EVERY: Duration = Duration::from_secs(15 * 60);

/// The daily backup, which is copied elsewhere at once where that is configured.
pub(crate) struct DailyBackup {
    pub(crate) service: Arc<Door>,
    pub(crate) offsite: Option<Arc<Offsite>>,
}

impl Job for DailyBackup {
    fn name(&self) -> &'static str {
        "backup"
    }

    fn every(&self) -> Option<Duration> {
        let schedule = self.service.backup_schedule()?;
        Some(Duration::from_secs(schedule.every_s))
    }

    fn run(&self) -> Result<()> {
        self.service.scheduled_backup()?;
        if let Some(offsite) = &self.offsite
            && let Err(error) = offsite.copy_new(&self.service)
        {
            // The backup stands; its copy is tried again by a job of its own.
            log::failed(offsite::JOB, &error);
        }
        Ok(())
    }
}

pub(super) async fn run(shared: Arc<Shared>, scheduler: Arc<Mutex<Scheduler>>) {
    loop {
        let wait = hold(&scheduler).wait();
        match wait {
            Some(Duration::ZERO) => {
                let due = Arc::clone(&scheduler);
                shared
                    .blocking(move |shared| {
                        for (job, done) in hold(&due).run_due() {
                            if let Err(error) = done {
                                log::failed(job, &error);
                            }
                        }
                        shared.touched();
                    })
                    .await;
            }
            Some(wait) => {
                tokio::select! {
                    () = tokio::time::sleep(wait.min(LOOK_EVERY)) => {}
                    () = shared.jobs.notified() => {}
                }
            }
            None => shared.jobs.notified().await,
        }
    }
}

fn hold(scheduler: &Mutex<Scheduler>) -> std::sync::MutexGuard<'_, Scheduler> {
    scheduler.lock().unwrap_or_else(PoisonError::into_inner)
}
