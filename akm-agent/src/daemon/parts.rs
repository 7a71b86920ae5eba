//! What an agent is put together from: each part as the configuration and the places want it.
//!
//! Deliberately absent: the order in which they are made, and what is undone when one fails: that is `serve`'s.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use akm_core::dashboard::Dashboard;
use akm_core::error::Result;
use akm_core::host::Host;
use akm_core::monitor::Monitor;
use akm_core::paths::Places;
use akm_core::service::{Door, Lifetimes, Options};

use super::{Launch, report};
use crate::clipboard::Helpers;
use crate::config::Config;
use crate::confirm::{self, People};
use crate::jobs::{Job, Scheduler};
use crate::lifetime::Lifetime;
use crate::offsite::{Copies, Offsite};
#[cfg(target_os = "linux")]
use crate::sandbox;
use crate::selling::Selling;
use crate::server::lookout::Watch;
use crate::server::timetable::DailyBackup;
use crate::web::local::Local;

pub(super) fn lifetimes(config: &Config, lifetime: Option<Lifetime>) -> Lifetimes {
    let time = |lifetime: Lifetime| Duration::from_secs(lifetime.as_secs());
    Lifetimes {
        default: lifetime.or(config.lifetime).map(time),
        longest: config.max_lifetime.map(time),
        idle: config.idle.map(time),
    }
}

pub(super) fn open(
    places: &Places,
    config: &Config,
    launch: &Launch,
    selling: Option<&Selling>,
    dashboard: &Arc<Local>,
    watch: &Arc<Watch>,
) -> Result<Arc<Door>> {
    let door = Door::open_or_salvage(Options {
        vault: places.vault.clone(),
        journal: places.journal.clone(),
        state: places.state.clone(),
        backups: places.backups.clone(),
        host: Host::real(),
        key_limit: config.keys_per_account,
        default_lifetime: None,
        outbound: config.outbound(),
    })?
    .with_clipboard(Arc::new(Helpers::default()))
    .with_callers(Arc::new(people(config)))
    .with_dashboard(Arc::clone(dashboard) as Arc<dyn Dashboard>)
    .with_monitor(Arc::clone(watch) as Arc<dyn Monitor>);
    if let Err(error) = door.ready() {
        // Served all the same, so that a backup can be restored.
        report(&error);
    }
    door.set_lifetimes(lifetimes(config, launch.lifetime));
    let door = match selling {
        Some(selling) => door.with_billing(selling.settings()),
        None => door,
    };
    Ok(Arc::new(match &launch.network {
        Some(_) => door.with_hosting(config.hosted.rules.clone()),
        None => door,
    }))
}

/// Who is asked about a key that wants confirmation.
fn people(config: &Config) -> People {
    let named = std::env::var_os("AKM_ASKPASS").filter(|path| !path.is_empty());
    let askpass = named.and_then(|path| match confirm::askpass(Path::new(&path)) {
        Ok(program) => Some(program),
        Err(error) => {
            // Without it the terminal is left, or nobody, which is a no.
            report(&error);
            None
        }
    });
    let patience = config
        .confirm_timeout_s
        .map_or(confirm::PATIENCE, Duration::from_secs);
    People::new(askpass, patience)
}

/// Which files it needs from here on.
#[cfg(target_os = "linux")]
pub(super) fn bounds(places: &Places, config: &Config, launch: &Launch) -> sandbox::Bounds {
    let above = |path: &Path| path.parent().map(Path::to_owned);
    let own = [
        above(&places.vault),
        above(&places.socket),
        Some(places.state.clone()),
    ];
    let mut write: Vec<PathBuf> = own.into_iter().flatten().collect();
    write.push(places.backups.clone());
    write.extend(config.paths.iter().cloned());
    // The directories, because a certificate is changed by putting another file in its place.
    let files = launch
        .network
        .as_ref()
        .and_then(|of| of.certificate.clone());
    let certificate = files
        .into_iter()
        .flat_map(|(chain, key)| [chain, key])
        .filter_map(|path| std::path::absolute(path).ok())
        .filter_map(|path| above(&path));
    sandbox::Bounds {
        own_user: config.group.is_some(),
        write,
        read: [above(&places.config), config.outbound.ca_file.clone()]
            .into_iter()
            .flatten()
            .chain(certificate)
            .collect(),
    }
}

/// Who watches: over the disk of the vault, by the thresholds of the configuration.
pub(super) fn watch(places: &Places, config: &Config) -> Watch {
    let above = places.vault.parent().unwrap_or(Path::new("/"));
    let clock = Host::real().clock;
    let offsite = (!config.elsewhere.command.is_empty()).then(|| {
        Arc::new(Offsite::new(
            config.elsewhere.command.clone(),
            config.elsewhere.timeout,
            places.state.clone(),
            Arc::clone(&clock),
        ))
    });
    let (directory, state) = (above.to_owned(), places.state.clone());
    Watch::new(config.thresholds.clone(), directory, state, clock, offsite)
}

/// What the agent does by itself.
pub(super) fn jobs(
    places: &Places,
    service: &Arc<Door>,
    selling: Option<&Selling>,
    serves: bool,
    config: &Config,
    watch: &Arc<Watch>,
) -> Scheduler {
    let offsite = watch.offsite();
    let mut jobs: Vec<Box<dyn Job>> = vec![Box::new(DailyBackup {
        service: Arc::clone(service),
        offsite: offsite.clone(),
    })];
    if let Some(offsite) = offsite {
        jobs.push(Box::new(Copies {
            service: Arc::clone(service),
            offsite,
        }));
    }
    if let Some(selling) = selling {
        jobs.extend(selling.jobs(service));
    }
    if serves {
        let watch = Arc::clone(watch);
        jobs.push(Selling::alerts(selling, service, watch, config.outbound()));
    }
    Scheduler::new(jobs, Host::real().clock, places.state.clone())
}
