//! Links and browsers in time, without a listener.

use super::super::routes::Doorkeeper;
use super::*;
use akm_core::host::{Clock, Random};
use jiff::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};

/// A clock that a test moves, and bytes that count up.
#[derive(Default)]
struct Bench {
    seconds: AtomicU64,
    drawn: AtomicU64,
}

impl Clock for Bench {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn boot(&self) -> Duration {
        Duration::from_secs(self.seconds.load(Ordering::Relaxed))
    }
}

impl Random for Bench {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(u8::try_from(self.drawn.fetch_add(1, Ordering::Relaxed)).unwrap());
    }
}

struct Scene {
    bench: Arc<Bench>,
    local: Local,
    caller: Caller,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn new() -> Scene {
        let bench = Arc::new(Bench::default());
        let host = Host {
            clock: Arc::clone(&bench) as Arc<dyn Clock>,
            random: Arc::clone(&bench) as Arc<dyn Random>,
            ..Host::real()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let local = Local::new(host, None);
        let before = local.open(&caller()).map(drop).unwrap_err();
        assert_eq!(before.kind(), Kind::Unavailable);
        let entered = runtime.enter();
        local.serve(Desk::default());
        drop(entered);
        Scene {
            bench,
            local,
            caller: caller(),
            runtime,
        }
    }

    /// The token of a new link.
    fn link(&self) -> Secret {
        let link = self.local.open(&self.caller).unwrap();
        let (address, token) = link.url.expose().split_once('#').unwrap();
        assert!(address.starts_with("http://127.0.0.1:"), "{address}");
        assert!(!format!("{link:?}").contains(token));
        Secret::new(token.to_owned())
    }

    fn pass(&self, seconds: u64) {
        self.bench.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    fn door(&self) -> &Inner {
        &self.local.0
    }
}

fn caller() -> Caller {
    Caller {
        uid: 7,
        pid: 11,
        exe: "/usr/bin/akm".into(),
        via: Default::default(),
        process: Default::default(),
    }
}

#[test]
fn a_link_is_good_once_and_for_a_minute() {
    let scene = Scene::new();
    let (token, late) = (scene.link(), scene.link());
    assert!(
        scene
            .door()
            .exchange(7, &Secret::new("guess".into()))
            .is_none()
    );
    let cookie = scene.door().exchange(7, &token).unwrap();
    assert!(!cookie.matches(&token));
    assert!(scene.door().exchange(7, &token).is_none(), "a second use");
    scene.pass(LINK_LIFE.as_secs() - 1);
    let edge = scene.link();
    scene.pass(1);
    assert!(scene.door().exchange(7, &late).is_none(), "after a minute");
    assert!(scene.door().exchange(7, &edge).is_some());
    // It acts for who asked for the link.
    let who = scene.door().caller(7, &cookie).unwrap();
    assert_eq!((who.uid, who.pid, who.exe.as_str()), (7, 11, EXE));
    assert!(
        scene.door().caller(8, &cookie).is_none(),
        "another user's browser"
    );
    // A link's token is no cookie, and a cookie no link's token.
    assert!(scene.door().caller(7, &edge).is_none());
    assert!(scene.door().exchange(7, &cookie).is_none());
}

#[test]
fn a_browser_is_forgotten_when_it_is_quiet_after_a_day_and_when_it_leaves() {
    let scene = Scene::new();
    let enter = || scene.door().exchange(7, &scene.link()).unwrap();
    let (quiet, busy, leaving) = (enter(), enter(), enter());
    scene.pass(IDLE.as_secs() - 1);
    assert!(scene.door().caller(7, &busy).is_some());
    assert!(scene.door().caller(7, &leaving).is_some());
    scene.door().leave(&leaving);
    assert!(scene.door().caller(7, &leaving).is_none());
    scene.pass(1);
    assert!(scene.door().caller(7, &quiet).is_none());
    for _ in 0..(STAY.as_secs() / (IDLE.as_secs() / 2)) {
        scene.door().caller(7, &busy);
        scene.pass(IDLE.as_secs() / 2);
    }
    assert!(
        scene.door().caller(7, &busy).is_none(),
        "busy, but too long"
    );
    assert!(scene.door().is_over());
}

#[test]
fn the_listener_ends_with_the_last_that_is_wanted_and_the_next_has_another_address() {
    let scene = Scene::new();
    let address = |scene: &Scene| {
        let state = scene.door().state.lock().unwrap();
        state
            .door
            .as_ref()
            .map(|door| (door.address, door.base.clone()))
    };
    assert!(
        address(&scene).is_none(),
        "nothing listens before it is asked for"
    );
    let cookie = scene.door().exchange(7, &scene.link()).unwrap();
    let first = address(&scene).unwrap();
    assert!(!scene.door().is_over());
    scene.link();
    assert_eq!(address(&scene).unwrap(), first);
    scene.door().leave(&cookie);
    scene.pass(LINK_LIFE.as_secs());
    assert!(scene.door().is_over());
    assert!(address(&scene).is_none());
    scene.link();
    assert_ne!(address(&scene).unwrap().1, first.1);
    drop(scene.runtime);
}

#[test]
fn links_and_browsers_are_bounded() {
    let scene = Scene::new();
    let first = scene.link();
    for _ in 0..MAX_LINKS {
        scene.link();
    }
    assert!(scene.door().exchange(7, &first).is_none());
    let cookies: Vec<_> = (0..=MAX_GUESTS)
        .map(|_| {
            scene.pass(1);
            scene.door().exchange(7, &scene.link()).unwrap()
        })
        .collect();
    assert!(scene.door().caller(7, &cookies[0]).is_none());
    assert!(scene.door().caller(7, &cookies[MAX_GUESTS]).is_some());
}
