//! A service that can be replaced: restoring a backup ends one and opens another on the same places.
//!
//! Invariants: a restore is prepared while the old service goes on (copied, checked, opened with the passphrase that
//! belongs to it), and carried out only while nobody is inside: calls under way end first, later ones wait. The
//! moment that counts is the rename in [`Service::finish_restore`]: before it the old vault stands, after it the restored one, also if
//! the process dies in between, because opening a vault completes what was begun (see `store`). Whoever cannot
//! wait, the thread that answers, is told so and asks again from another.
//!
//! A vault that is damaged has `salvage` in its place, and the same way back: a restore opens a service.
//!
//! Deliberately absent: keeping sessions over a restore. Their keys belong to another state of the vault.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::Duration;

use crate::audit::Caller;
use crate::billing;
use crate::caller::Confirm;
use crate::clipboard::Clipboard;
use crate::dashboard::Dashboard;
use crate::error::{Error, Kind, Result};
use crate::monitor::Monitor;
use crate::protocol::{BackupRestore, LockReason, Op, Request, Response, Restored, Schedule};
use crate::store::Contents;
use crate::vault::Origin;

use super::salvage::{self, Salvage};
use super::{
    Channel, Figures, Hosting, Lifetimes, Options, PushAnswer, Reminder, Service, Visitor, origin,
};

/// The way in for a program: what [`Service`] does, and restoring.
pub struct Door {
    /// None where the vault is damaged, and where a restored one could not be opened.
    open: RwLock<Option<Service>>,
    /// What is done with a vault that is damaged.
    salvage: RwLock<Option<Salvage>>,
    options: Options,
    lifetimes: Mutex<Option<Lifetimes>>,
    clipboard: Option<Arc<dyn Clipboard>>,
    billing: Option<Arc<billing::Settings>>,
    dashboard: Option<Arc<dyn Dashboard>>,
    monitor: Option<Arc<dyn Monitor>>,
    hosting: Option<Hosting>,
    confirm: Option<Arc<dyn Confirm>>,
}

const CLOSED: Error = Error::new(
    Kind::Unavailable,
    "the vault could not be opened again after a restore: restart the agent",
);

impl Door {
    /// Opens or creates the vault and takes its ownership lock: `conflict` if another process has it.
    pub fn open(options: Options) -> Result<Door> {
        let service = Service::open(options.clone())?;
        Ok(Door::with_behind(options, Some(service), None))
    }

    /// As [`Door::open`]; behind it is, where the vault's file is damaged, what restores a backup in its place and
    /// says so to everything else. For a program that people ask for that.
    pub fn open_or_salvage(options: Options) -> Result<Door> {
        match Service::open(options.clone()) {
            Ok(service) => Ok(Door::with_behind(options, Some(service), None)),
            Err(error) if salvage::is_for(&options, &error) => {
                let salvage = Salvage::open(options.clone())?;
                Ok(Door::with_behind(options, None, Some(salvage)))
            }
            Err(error) => Err(error),
        }
    }

    fn with_behind(options: Options, open: Option<Service>, salvage: Option<Salvage>) -> Door {
        Door {
            open: RwLock::new(open),
            salvage: RwLock::new(salvage),
            options,
            lifetimes: Mutex::default(),
            clipboard: None,
            billing: None,
            dashboard: None,
            monitor: None,
            hosting: None,
            confirm: None,
        }
    }

    /// As [`Service::with_clipboard`], also for the services after a restore.
    #[must_use]
    pub fn with_clipboard(mut self, clipboard: Arc<dyn Clipboard>) -> Door {
        self.clipboard = Some(clipboard);
        self.equip_again()
    }

    /// As [`Service::with_dashboard`], also for the services after a restore.
    #[must_use]
    pub fn with_dashboard(mut self, dashboard: Arc<dyn Dashboard>) -> Door {
        self.dashboard = Some(dashboard);
        self.equip_again()
    }

    /// As [`Service::with_monitor`], also for the services after a restore.
    #[must_use]
    pub fn with_monitor(mut self, monitor: Arc<dyn Monitor>) -> Door {
        self.monitor = Some(monitor);
        self.equip_again()
    }

    /// As [`Service::with_hosting`], also for the services after a restore.
    #[must_use]
    pub fn with_hosting(mut self, hosting: Hosting) -> Door {
        self.hosting = Some(hosting);
        self.equip_again()
    }

    /// As [`Service::with_billing`], also for the services after a restore.
    #[must_use]
    pub fn with_billing(mut self, settings: Arc<billing::Settings>) -> Door {
        self.billing = Some(settings);
        self.equip_again()
    }

    fn equip_again(self) -> Door {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        *open = open.take().map(|service| self.equipped(service));
        drop(open);
        self
    }

    /// As [`Service::with_callers`], also for the services after a restore.
    #[must_use]
    pub fn with_callers(mut self, confirm: Arc<dyn Confirm>) -> Door {
        self.confirm = Some(confirm);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        *open = open.take().map(|service| self.equipped(service));
        drop(open);
        self
    }

    /// As [`Service::set_lifetimes`], also for the services after a restore.
    pub fn set_lifetimes(&self, lifetimes: Lifetimes) {
        *self
            .lifetimes
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(lifetimes);
        if let Some(service) = &*self.read() {
            service.set_lifetimes(lifetimes);
        }
    }

    fn equipped(&self, service: Service) -> Service {
        let lifetimes = *self
            .lifetimes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(lifetimes) = lifetimes {
            service.set_lifetimes(lifetimes);
        }
        let service = match &self.clipboard {
            Some(clipboard) => service.with_clipboard(Arc::clone(clipboard)),
            None => service,
        };
        let service = match &self.dashboard {
            Some(dashboard) => service.with_dashboard(Arc::clone(dashboard)),
            None => service,
        };
        let service = match &self.monitor {
            Some(monitor) => service.with_monitor(Arc::clone(monitor)),
            None => service,
        };
        let service = match &self.confirm {
            Some(confirm) => service.with_callers(Arc::clone(confirm)),
            None => service,
        };
        let service = match &self.hosting {
            Some(hosting) => service.with_hosting(hosting.clone()),
            None => service,
        };
        match &self.billing {
            Some(settings) => service.with_billing(Arc::clone(settings)),
            None => service,
        }
    }

    /// As [`Service::take_push`].
    pub fn take_push(
        &self,
        provider: &str,
        gate: &str,
        signature: Option<&str>,
        body: &[u8],
    ) -> PushAnswer {
        self.with(|service| Ok(service.take_push(provider, gate, signature, body)))
            .unwrap_or_else(|_| PushAnswer::unavailable())
    }

    /// As [`Service::poll_payments`].
    pub fn poll_payments(&self) -> Result<()> {
        self.with(Service::poll_payments)
    }

    /// As [`Service::settle_tiers`].
    pub fn settle_tiers(&self) -> Result<()> {
        self.with(Service::settle_tiers)
    }

    /// As [`Service::claim_reminders`].
    pub fn claim_reminders(&self, channels: &[Channel]) -> Result<Vec<Reminder>> {
        self.with(|service| service.claim_reminders(channels))
    }

    /// As [`Service::claim_alert`].
    pub fn claim_alert(
        &self,
        alert: &str,
        since: i64,
        channels: &[Channel],
    ) -> Result<Vec<Reminder>> {
        self.with(|service| service.claim_alert(alert, since, channels))
    }

    /// As [`Service::own_backups`]; none during a restore.
    pub fn own_backups(&self) -> Result<Vec<(String, PathBuf)>> {
        self.with(Service::own_backups)
    }

    /// As [`Service::release_reminder`].
    pub fn release_reminder(&self, reminder: &Reminder) -> Result<()> {
        self.with(|service| service.release_reminder(reminder))
    }

    /// Whether a vault is open and can be read.
    pub fn ready(&self) -> Result<()> {
        self.with_or(Service::ready, salvage::unopened)
    }

    /// As [`Service::visitor`].
    pub fn visitor(&self, caller: &Caller) -> Result<Option<Visitor>> {
        self.with_or(|service| service.visitor(caller), salvage::unopened)
    }

    /// As [`Service::call`], and restores.
    pub fn call(&self, caller: &Caller, request: Request) -> Result<Response> {
        match request {
            Request::BackupRestore(request) => {
                self.restore(caller, &request).map(Response::BackupRestore)
            }
            request => match &*self.read() {
                Some(service) => service.call(caller, request),
                None => self.salvaged(|salvage| salvage.call(caller, &request)),
            },
        }
    }

    /// As [`Service::gate`].
    pub fn gate(&self, caller: &Caller, op: Op) -> Result<()> {
        match &*self.read() {
            Some(service) => service.gate(caller, op),
            None => self.salvaged(|salvage| salvage.gate(caller, op)),
        }
    }

    /// As [`Service::try_gate`].
    pub fn try_gate(&self, caller: &Caller, op: Op) -> Option<Result<()>> {
        match &*self.try_read()? {
            Some(service) => service.try_gate(caller, op),
            None => Some(self.salvaged(|salvage| salvage.gate(caller, op))),
        }
    }

    /// As [`Service::try_call`].
    #[allow(clippy::result_large_err)] // The error is the request itself, not a failure.
    pub fn try_call(&self, caller: &Caller, request: Request) -> Result<Result<Response>, Request> {
        match self.try_read().as_deref() {
            Some(Some(service)) => service.try_call(caller, request),
            Some(None) => Ok(self.salvaged(|salvage| salvage.call(caller, &request))),
            None => Err(request),
        }
    }

    /// As [`Service::record_foreign_peer`].
    pub fn record_foreign_peer(&self, caller: &Caller) -> Result<()> {
        self.with(|service| service.record_foreign_peer(caller))
    }

    /// As [`Service::next_deadline`]; none during a restore, which has ended every session.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.try_read()?.as_ref()?.next_deadline()
    }

    /// As [`Service::expire`].
    pub fn expire(&self) -> usize {
        self.read().as_ref().map_or(0, Service::expire)
    }

    /// As [`Service::lock_all`].
    pub fn lock_all(&self, reason: LockReason) {
        if let Some(service) = &*self.read() {
            service.lock_all(reason);
        }
    }

    /// As [`Service::figures`]; all zero where there is no service.
    pub fn figures(&self) -> Figures {
        self.read()
            .as_ref()
            .map(Service::figures)
            .unwrap_or_default()
    }

    /// Whether there is a vault behind the door: not where it is damaged, nor where one could not be opened after a
    /// restore. Never waits.
    pub fn is_open(&self) -> bool {
        self.try_read().is_none_or(|open| open.is_some())
    }

    /// As [`Service::pending_events`].
    pub fn pending_events(&self) -> usize {
        self.read().as_ref().map_or(0, Service::pending_events)
    }

    /// As [`Service::fold`].
    pub fn fold(&self) -> Result<()> {
        self.with(Service::fold)
    }

    /// As [`Service::checkpoint`].
    pub fn checkpoint(&self) -> Result<()> {
        self.with(Service::checkpoint)
    }

    /// As [`Service::test_due`]; none where there is no service.
    #[cfg(feature = "providers")]
    pub fn test_due(&self, not_for: Duration) -> usize {
        self.read()
            .as_ref()
            .map_or(0, |service| service.test_due(not_for))
    }

    /// As [`Service::check_pending`].
    pub fn check_pending(&self) -> bool {
        self.read().as_ref().is_some_and(Service::check_pending)
    }

    /// As [`Service::check_some`].
    pub fn check_some(&self) {
        if let Some(service) = &*self.read() {
            service.check_some();
        }
    }

    /// As [`Service::scheduled_backup`].
    pub fn scheduled_backup(&self) -> Result<()> {
        self.with(Service::scheduled_backup)
    }

    /// As [`Service::backup_schedule`]; none during a restore.
    pub fn backup_schedule(&self) -> Option<Schedule> {
        self.try_read()?.as_ref()?.backup_schedule()
    }

    fn restore(&self, caller: &Caller, request: &BackupRestore) -> Result<Restored> {
        if self.read().is_none() {
            return self.restore_damaged(caller, request);
        }
        let staged = match self.with(|service| service.prepare_restore(caller, request)) {
            Err(error) if self.is_lost(caller, &error) => {
                return self.restore_damaged(caller, request);
            }
            staged => staged?,
        };
        let contents = staged.contents();
        // Every session ends before the wait, so that nobody has to wait for a lock.
        self.lock_all(LockReason::Restore);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let service = open.as_ref().ok_or(CLOSED)?;
        match service.finish_restore(caller, staged) {
            Err(error) if error.kind() == Kind::Corrupt => {
                drop(open);
                match self.is_lost(caller, &error) {
                    true => self.restore_damaged(caller, request),
                    false => Err(error),
                }
            }
            finished => {
                finished?;
                self.reopen(&mut open, request, contents)
            }
        }
    }

    /// Whether an attempt to restore failed because of the vault that is to be replaced, for its owner.
    fn is_lost(&self, caller: &Caller, error: &Error) -> bool {
        error.kind() == Kind::Corrupt
            && origin(caller) == Origin::Owner
            && self.read().as_ref().is_some_and(Service::is_damaged)
    }

    /// Restores without a word from the vault that is there, if that is still damaged once nobody is inside.
    fn restore_damaged(&self, caller: &Caller, request: &BackupRestore) -> Result<Restored> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let contents = match &*open {
            Some(service) => {
                let contents = service.replace_damaged(&self.options, caller, request)?;
                service.lock_all(LockReason::Restore);
                contents
            }
            None => self.salvaged(|salvage| salvage.restore(caller, request))?,
        };
        // Its lock is in the way of whoever opens the restored vault.
        *self.salvage.write().unwrap_or_else(PoisonError::into_inner) = None;
        let restored = self.reopen(&mut open, request, contents)?;
        if let Some(service) = &*open {
            service.note_restored(caller);
        }
        Ok(restored)
    }

    /// From here on the restored vault stands. The old one is closed first: one process, one owner.
    fn reopen(
        &self,
        open: &mut Option<Service>,
        request: &BackupRestore,
        contents: Contents,
    ) -> Result<Restored> {
        *open = None;
        let service = self.equipped(Service::open(self.options.clone())?);
        let kept = service.replaced();
        *open = Some(service);
        Ok(Restored {
            name: request.name.clone(),
            accounts: contents.accounts,
            keys: contents.keys,
            kept,
        })
    }

    fn with<T>(&self, act: impl FnOnce(&Service) -> Result<T>) -> Result<T> {
        self.with_or(act, salvage::damaged)
    }

    /// As `with`, and this of a vault that cannot be opened.
    fn with_or<T>(
        &self,
        act: impl FnOnce(&Service) -> Result<T>,
        damaged: fn() -> Error,
    ) -> Result<T> {
        match &*self.read() {
            Some(service) => act(service),
            None => self.salvaged(|_| Err(damaged())),
        }
    }

    /// Where there is no service: what is left.
    fn salvaged<T>(&self, act: impl FnOnce(&Salvage) -> Result<T>) -> Result<T> {
        let salvage = self.salvage.read().unwrap_or_else(PoisonError::into_inner);
        act(salvage.as_ref().ok_or(CLOSED)?)
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Service>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_read(&self) -> Option<RwLockReadGuard<'_, Option<Service>>> {
        match self.open.try_read() {
            Ok(open) => Some(open),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
