//! The agent as a process: serving, and told to stop.
//!
//! How it is started in the background stands in `launch`, what it is put together from in `parts`.
//!
//! Invariants: hardened before the first thread and before the vault is opened; the socket listens before
//! the vault is opened, so that a client of the loser waits in the winner's queue; on SIGTERM and SIGINT
//! answers under way finish, every session is wiped, events are folded, the socket goes (unless a service manager passed
//! it), exit 0. SIGUSR1 locks. SIGHUP reads the configuration again, for sessions to come; one that is wrong changes
//! nothing. A changed certificate is taken up as well.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use akm_core::error::{Error, Kind, Result};
use akm_core::host::Host;
use akm_core::memory;
use akm_core::paths::{Places, accept_dir, ensure_dir};
use akm_core::protocol::LockReason;
use akm_core::service::Door;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::confirm;
use crate::harden;
use crate::lifetime::Lifetime;
use crate::log::{self, Entry};
use crate::manager::{self, Phase};
#[cfg(target_os = "linux")]
use crate::sandbox;
use crate::selling::Selling;
use crate::server::{self, Server, network};
use crate::socket::{self, Directory, Socket};
use crate::web::hosted::Hosted;
use crate::web::local::Local;

mod launch;
mod parts;

/// How long an agent that listens no more may still hold the vault: as long as it waits for answers under way, and a little.
const PREDECESSOR: Duration = Duration::from_secs(7);

pub(crate) use launch::this_program;
pub use launch::{Launch, end, is_agent, reexecuted, running, spawn, start};
#[cfg(target_os = "linux")]
use parts::bounds;
use parts::{jobs, lifetimes, open, watch};

/// Serves in this process until told to stop. `ready` is called with the socket's path once clients may come.
///
/// Errors: whatever stops the agent from starting; once it serves, none.
pub fn serve(launch: &Launch, ready: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    harden::agent()?;
    #[cfg(target_os = "linux")]
    if !sandbox::deny_calls() {
        log::write(&Entry::Unbounded {
            bound: "system_calls",
        });
    }
    if launch.bound_to_parent {
        bind_to_parent()?;
    }
    let mut places = Places::from_env()?;
    let named = |variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    let mut directory = match named("AKM_AGENT_SOCK") {
        true => Directory::Given,
        false => Directory::Own,
    };
    if let Some(path) = &launch.socket
        && *path != places.socket
    {
        places.socket = std::path::absolute(path).map_err(|error| Error::from_io(&error))?;
        directory = Directory::Given;
    }
    let config = Config::load(&places.config)?;
    crate::caller::configure(&config.callers)?;
    let vault_dir = places
        .vault
        .parent()
        .ok_or_else(|| Error::new(Kind::InvalidInput, "the path of the vault names no file"))?;
    match named("AKM_VAULT") {
        true => accept_dir(vault_dir)?,
        false => ensure_dir(vault_dir)?,
    }
    ensure_dir(&places.state)?;
    // Before the socket, so that a mistyped option leaves nothing behind.
    let network = match &launch.network {
        Some(options) => {
            let pages = Hosted::load(config.web_folder.as_deref(), &config.hosted.rules)?;
            let network = network::Network::bind(config.hosted.limits(options))?;
            Some(network.with_pages(Arc::new(pages)))
        }
        None => None,
    };
    let selling = Selling::load(&places.config, config.outbound())?;
    let (listener, bound) = match manager::listener()? {
        Some((listener, path)) => {
            places.socket = path;
            (listener, None)
        }
        None => {
            let (listener, bound) = socket::bind(&places.socket, directory)?;
            (listener, Some(bound))
        }
    };
    let dashboard = Arc::new(Local::new(Host::real(), config.web_folder.clone()));
    let watch = Arc::new(watch(&places, &config));
    let until = Instant::now() + PREDECESSOR;
    let opened = loop {
        let opened = open(
            &places,
            &config,
            launch,
            selling.as_ref(),
            &dashboard,
            &watch,
        );
        match &opened {
            // Whoever listened here before may still give its last answers.
            Err(error)
                if error.kind() == Kind::Conflict
                    && bound.as_ref().is_some_and(Socket::replaces_another)
                    && Instant::now() < until =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => break opened,
        }
    };
    let served = opened.and_then(|service| {
        if memory::lock_refused() {
            log::write(&Entry::MemoryNotLocked);
        }
        let group = config.group.as_deref();
        let group = group.map(|group| socket::share(&places.socket, group));
        let group = group.transpose()?;
        #[cfg(target_os = "linux")]
        if sandbox::confine(&bounds(&places, &config, launch)) == Some(sandbox::Held::Nothing) {
            log::write(&Entry::Unbounded { bound: "files" });
        }
        let runtime = server::runtime()?;
        let served = runtime.block_on(async {
            let server = Server::new(Arc::clone(&service));
            let server = match group {
                Some(group) => server.with_group(group),
                None => server,
            };
            let serves = launch.network.is_some();
            let mut server = server
                .with_watch(Arc::clone(&watch))
                .with_jobs(jobs(
                    &places,
                    &service,
                    selling.as_ref(),
                    serves,
                    &config,
                    &watch,
                ))
                .with_dashboard(Arc::clone(&dashboard))
                .with_daily_tests(config.daily_tests);
            if let Some(network) = network {
                for address in network.addresses() {
                    note(&format!("listening on {address}"));
                }
                if network.certificate_is_over() {
                    // Served all the same: the next one is taken up without a restart.
                    note("the certificate has expired: clients will refuse it");
                }
                server = server.with_network(network);
            }
            let signals = Signals::new()?;
            #[cfg(target_os = "linux")]
            let logind = tokio::spawn(crate::logind::run(server.clone(), config.lock_on));
            ready(&places.socket)?;
            manager::tell(Phase::Ready);
            log::write(&Entry::Ready {
                pid: std::process::id(),
                activated: bound.is_none(),
            });
            harden::give_back_memory();
            let reload = || {
                reload(&places.config, &service, launch.lifetime);
                server.reload();
            };
            let served = server
                .run(listener, signals.until_stop(&server, &reload))
                .await;
            #[cfg(target_os = "linux")]
            logind.abort();
            served
        });
        service.lock_all(LockReason::Stop);
        confirm::end_programs();
        memory::scrub_stack();
        if let Err(error) = service.fold() {
            // The journal keeps them; the next start folds them.
            log::failed("journal", &error);
        }
        // A provider test may still wait for its answer; the process does not wait for it.
        runtime.shutdown_background();
        served
    });
    match bound {
        Some(bound) => served.and(bound.remove()),
        None => served,
    }
}

/// Reads the configuration again. What is fixed when the agent starts stays as it is.
fn reload(path: &Path, service: &Door, lifetime: Option<Lifetime>) {
    manager::tell(Phase::Reloading);
    let read = Config::load(path);
    if let Ok(config) = &read {
        service.set_lifetimes(lifetimes(config, lifetime));
    }
    log::write(&Entry::Reloaded {
        error: read.as_ref().err().map(Error::kind),
        message: read.as_ref().err().map(log::literal),
    });
    manager::tell(Phase::Ready);
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    lock: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let catch = |kind| signal(kind).map_err(|error| Error::from_io(&error));
        Ok(Signals {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            lock: catch(SignalKind::user_defined1())?,
            hang_up: catch(SignalKind::hangup())?,
        })
    }

    async fn until_stop(mut self, server: &Server, reload: &dyn Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.lock.recv() => server.lock_all(LockReason::Signal).await,
                _ = self.hang_up.recv() => reload(),
            }
        }
        log::write(&Entry::Stopping);
        manager::tell(Phase::Stopping);
    }
}

/// Asks the kernel for SIGTERM when the process that started this one ends, whatever it has become by then.
fn bind_to_parent() -> Result<()> {
    let parent = nix::unistd::getppid();
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
        .map_err(|errno| Error::from_io(&errno.into()))?;
    // It may have ended before the kernel was asked.
    if nix::unistd::getppid() != parent || parent.as_raw() == 1 {
        return Err(Error::new(
            Kind::Unavailable,
            "the command ended before the agent was ready",
        ));
    }
    Ok(())
}

fn note(text: &str) {
    // There is nobody to tell that telling failed.
    let _ = writeln!(std::io::stderr(), "akm-agent: {text}");
}

/// Says on standard error what went wrong.
pub fn report(error: &Error) {
    match error.field() {
        Some(field) => note(&format!("{field}: {}", error.message())),
        None => note(error.message()),
    }
    if let Some(hint) = error.hint() {
        note(&format!("hint: {hint}"));
    }
}
