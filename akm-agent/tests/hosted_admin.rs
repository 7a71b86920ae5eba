//! Administration of a server as a browser meets it, monitoring, alerts, and backups that are copied elsewhere: a real agent, real
//! HTTP, a real program.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod hosted_support;
#[allow(dead_code, reason = "not every user looks at everything")]
#[path = "../../akm-core/tests/support/provider_server.rs"]
mod provider_server;
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use akm_agent::config::Thresholds;
use akm_agent::selling::Selling;
use akm_agent::server::lookout::Watch;
use akm_core::Secret;
use akm_core::audit::Caller;
use akm_core::billing::gateway::Gateway;
use akm_core::crypto::KdfCost;
use akm_core::host::Host;
use akm_core::protocol::{
    AccountRegister, AdminGrant, BackupSchedule, BillingContact, HookKind, Locale, Request, Role,
};
use akm_core::provider::Outbound;
use akm_core::service::{Door, Options};
use hosted_support::{Answer, OPEN, Site, configure};
use provider_server::{ProviderServer, Received, Reply};
use serde_json::json;
use support::{Home, PASSPHRASE, eventually};

const SECRET: &str = "a secret of the gateway, for tests";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const PAGES: [&str; 7] = [
    "/admin",
    "/admin/tiers",
    "/admin/orders",
    "/admin/codes",
    "/admin/providers",
    "/admin/limits",
    "/admin/monitoring",
];

fn private(path: &std::path::Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A server that sells, with an administrator `root`.
fn shop(config: &str) -> Site {
    let home = Home::new();
    configure(&home, config);
    let text = format!(
        "codes = true\n[gateway]\nsecret = \"{SECRET}\"\nlink = \"https://x.example/?for={{custom}}\"\n\
         [[product]]\nprovider = \"gateway\"\nplan = \"basic\"\ntier = \"basic\"\nprice = \"5.00\"\n"
    );
    private(&home.path().join("billing.toml"), &text, 0o600);
    let site = Site::at(home, config, &["--listen", "http://127.0.0.1:0"]);
    site.register("root");
    let account = "root".to_owned();
    let role = Role::Admin;
    site.agent
        .client()
        .call(&AdminGrant { account, role })
        .unwrap();
    site
}

/// Somebody's browser.
struct Browser<'s> {
    site: &'s Site,
    cookie: String,
}

impl<'s> Browser<'s> {
    fn sign_in(site: &'s Site, account: &str) -> Browser<'s> {
        let origin = format!("Origin: http://{}", site.address);
        let body = format!(
            "account={account}&passphrase={}",
            PASSPHRASE.replace(' ', "+")
        );
        let answer = site.ask("POST", "/unlock", &[&origin, FORM], &body);
        let line = answer
            .header("set-cookie")
            .unwrap_or_else(|| panic!("{answer:?}"));
        let cookie = format!("Cookie: {}", line.split(';').next().unwrap());
        Browser { site, cookie }
    }

    fn get(&self, path: &str, language: &str) -> Answer {
        let language = format!("Accept-Language: {language}");
        self.site.ask("GET", path, &[&self.cookie, &language], "")
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        let origin = format!("Origin: http://{}", self.site.address);
        self.site
            .ask("POST", path, &[&origin, FORM, &self.cookie], body)
    }

    /// As another site's page makes a browser ask: the cookie goes along, our own origin does not.
    fn forged(&self, path: &str, body: &str) -> Answer {
        self.site.ask("POST", path, &[FORM, &self.cookie], body)
    }
}

const POSTS: [(&str, &str); 10] = [
    ("/admin/account", "account=alice&key_limit=1"),
    ("/admin/invite", "uses=1&days=1"),
    ("/admin/remove", "account=alice&passphrase=x"),
    (
        "/admin/tiers",
        "tier=free&name=F&name_zh=F&price=0.00&keys=1",
    ),
    (
        "/admin/orders",
        "provider=gateway&number=1&resolution=grant",
    ),
    ("/admin/codes", "tier=basic&months=1&count=1"),
    ("/admin/codes/revoke", "id=00"),
    (
        "/admin/providers",
        "id=ours&base_url=https://gw.example.com/v1",
    ),
    ("/admin/providers/remove", "name=ours"),
    ("/account/remove", "passphrase=x"),
];

#[test]
fn e02_pages_of_administration_are_for_administrators_and_take_no_foreign_form() {
    let site = shop(OPEN);
    site.register("alice");
    let (root, alice) = (
        Browser::sign_in(&site, "root"),
        Browser::sign_in(&site, "alice"),
    );
    for path in PAGES {
        for (language, word) in [("en", "Monitoring"), ("zh-CN", "监控")] {
            let page = root.get(path, language);
            assert_eq!(page.status, 200, "{path}: {page:?}");
            assert!(page.body.contains(word), "{path} in {language}");
            // An id that is no message shows itself.
            assert!(
                !page.body.contains("{$") && !page.body.contains("??"),
                "{path}"
            );
        }
        assert_eq!(alice.get(path, "en").status, 403, "{path}");
    }
    assert_eq!(root.get("/admin/nothing", "en").status, 404, "control");
    for (path, body) in POSTS {
        assert_eq!(root.forged(path, body).status, 403, "{path} from elsewhere");
        if path.starts_with("/admin") {
            assert_eq!(alice.post(path, body).status, 403, "{path}");
        }
    }
    // Nothing of it was done.
    let accounts = root.get("/admin", "en").body;
    assert!(accounts.contains("<bdi>alice</bdi>") && accounts.contains("<bdi>root</bdi>"));
    assert!(root.get("/admin/codes", "en").body.contains("none yet"));
    assert!(
        !root
            .get("/admin/providers", "en")
            .body
            .contains("gw.example.com")
    );
}

#[test]
fn an_administrator_does_everything_in_the_browser() {
    let site = shop(OPEN);
    let token = site.register("alice");
    let root = Browser::sign_in(&site, "root");
    // Everybody can be disabled but oneself.
    let page = root.get("/admin", "en").body;
    let row = |account: &str| {
        let (_, row) = page.split_once(&format!("<bdi>{account}</bdi>")).unwrap();
        row.split_once("</tr>").unwrap().0
    };
    assert!(row("alice").contains("name=\"disabled\""));
    assert!(!row("root").contains("name=\"disabled\""));
    let own = root.post("/admin/account", "account=root&disabled=true");
    assert_eq!(own.status, 403, "{own:?}");
    // What is no number is refused, not taken for one.
    for (path, body) in [
        ("/membership/order", "tier=basic&months=many"),
        ("/admin/invite", "uses=many&days=1"),
        ("/admin/invite", "uses=1&days=many"),
        ("/admin/account", "account=alice&key_limit=many"),
    ] {
        let refused = root.post(path, body);
        assert_eq!(refused.status, 400, "{path} {body}: {refused:?}");
    }
    let ordered = root.post("/membership/order", "tier=basic&months=2");
    assert_eq!(ordered.status, 200, "control: {ordered:?}");
    assert!(ordered.body.contains("10.00 CNY"));
    // A tier: alice may have one key from now on.
    let set = root.post(
        "/admin/tiers",
        "tier=free&name=Free&name_zh=%E5%85%8D%E8%B4%B9&price=0.00&keys=1&providers=1&requests_per_minute=500",
    );
    assert_eq!(set.status, 303, "{set:?}");
    let add = |name: &str| {
        let body = json!({"name": name, "secret": "sk-canary-0123456789"});
        site.op(Some(&token), "key.add", &body)
    };
    assert_eq!(add("openai/one").status, 200);
    assert_eq!(add("openai/two").kind(), "limit_reached");
    let wrong = root.post("/admin/tiers", "tier=free&name=F&name_zh=F&price=five");
    assert_eq!(wrong.status, 400, "{wrong:?}");
    // Codes are shown once, listed without themselves, redeemed, taken back.
    let made = root.post("/admin/codes", "tier=basic&months=1&count=2");
    assert_eq!(made.status, 200, "{made:?}");
    let codes: Vec<&str> = made
        .body
        .split("<code class=\"breaks\">")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap())
        .collect();
    assert_eq!(codes.len(), 2, "{made:?}");
    let listed = root.get("/admin/codes", "en").body;
    assert!(codes.iter().all(|code| !listed.contains(code)));
    let ids: Vec<&str> = listed
        .split("name=\"id\" value=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(ids.len(), 2);
    for id in &ids {
        let gone = root.post("/admin/codes/revoke", &format!("id={id}"));
        assert_eq!(gone.status, 303, "{gone:?}");
    }
    let redeemed = site.op(Some(&token), "billing.redeem", &json!({"code": codes[0]}));
    assert_eq!(redeemed.kind(), "not_found");
    // An order of nobody waits for a human, who says whose it is.
    let body =
        json!({"order": "lost-1", "account": "", "product": "basic", "months": 1, "amount": "5.00",
        "currency": "CNY", "status": "paid"})
        .to_string();
    let at = jiff::Timestamp::now().as_second().to_string();
    let gateway = Gateway::new(Secret::new(SECRET.to_owned()), None).unwrap();
    let signed = format!(
        "Akm-Signature: t={at},v1={}",
        gateway.sign(&at, body.as_bytes())
    );
    let json = "Content-Type: application/json";
    let push = site.ask("POST", "/webhook/gateway", &[json, &signed], &body);
    assert_eq!(push.status, 200, "{push:?}");
    assert!(root.get("/admin/orders", "en").body.contains("lost-1"));
    let resolve = |account: &str| {
        let body = format!(
            "provider=gateway&number=lost-1&resolution=grant&tier=basic&months=1&account={account}"
        );
        root.post("/admin/orders", &body)
    };
    assert_eq!(resolve("nobody").status, 404);
    assert_eq!(resolve("alice").status, 303);
    assert!(!root.get("/admin/orders", "en").body.contains("lost-1"));
    assert!(
        root.get("/admin/orders?state=all", "en")
            .body
            .contains("lost-1")
    );
    assert_eq!(add("openai/two").status, 200, "she is a member now");
    // A provider for everybody.
    let ours = "id=ours&base_url=https%3A%2F%2Fgw.example.com%2Fv1";
    assert_eq!(root.post("/admin/providers", ours).status, 303);
    let known = site.op(Some(&token), "provider.show", &json!({"name": "ours"}));
    assert_eq!(known.result()["own"], false);
    assert_eq!(
        root.post("/admin/providers/remove", "name=ours").status,
        303
    );
    // What was done stands in the log of the system.
    let log = root.get("/admin", "en").body;
    for action in [
        "admin.tier",
        "billing.codes_create",
        "admin.code_revoke",
        "admin.provider_put",
    ] {
        assert!(log.contains(action), "{action}");
    }
    // The account goes with the administrator's own passphrase, and its sessions with it.
    let remove = |passphrase: &str| {
        let passphrase = passphrase.replace(' ', "+");
        root.post(
            "/admin/remove",
            &format!("account=alice&passphrase={passphrase}"),
        )
    };
    assert_eq!(remove("a guess").status, 401);
    assert_eq!(site.op(Some(&token), "key.list", &json!({})).status, 200);
    assert_eq!(remove(PASSPHRASE).status, 303);
    assert_eq!(
        site.op(Some(&token), "key.list", &json!({})).kind(),
        "locked"
    );
}

#[test]
fn amounts_stand_in_their_own_units_on_every_page() {
    let site = shop(OPEN);
    let token = site.register("alice");
    let link = site.op(
        Some(&token),
        "billing.order_link",
        &json!({"tier": "basic"}),
    );
    let link = link.result()["url"].as_str().unwrap().to_owned();
    let account = link.split_once("for=").unwrap().1;
    let gateway = Gateway::new(Secret::new(SECRET.to_owned()), None).unwrap();
    for (number, amount, currency) in [("1", "500", "JPY"), ("2", "1.234", "KWD")] {
        let body = json!({"order": number, "account": account, "product": "basic", "months": 1,
            "amount": amount, "currency": currency, "status": "paid"})
        .to_string();
        let at = jiff::Timestamp::now().as_second().to_string();
        let signed = format!(
            "Akm-Signature: t={at},v1={}",
            gateway.sign(&at, body.as_bytes())
        );
        let json = "Content-Type: application/json";
        let push = site.ask("POST", "/webhook/gateway", &[json, &signed], &body);
        assert_eq!(push.status, 200, "{push:?}");
    }
    for (who, page) in [("alice", "/membership"), ("root", "/admin/orders")] {
        let page = Browser::sign_in(&site, who).get(page, "en").body;
        for amount in ["500 JPY", "1.234 KWD"] {
            assert!(page.contains(&format!(">{amount}<")), "{who}: {page}");
        }
    }
}

#[test]
fn an_account_is_deleted_on_its_own_page_with_the_passphrase() {
    let site = shop(OPEN);
    let token = site.register("alice");
    let alice = Browser::sign_in(&site, "alice");
    assert!(
        alice
            .get("/account", "en")
            .body
            .contains("Delete the account")
    );
    assert_eq!(
        alice.post("/account/remove", "passphrase=a+guess").status,
        401
    );
    assert_eq!(alice.get("/", "en").status, 200);
    let body = format!("passphrase={}", PASSPHRASE.replace(' ', "+"));
    assert_eq!(alice.post("/account/remove", &body).status, 303);
    assert_eq!(alice.get("/", "en").status, 303, "signed out");
    assert_eq!(
        site.op(Some(&token), "key.list", &json!({})).kind(),
        "locked"
    );
    assert_eq!(
        site.sign_in("alice", PASSPHRASE).kind(),
        "wrong_credentials"
    );
    // The name is free, and whoever takes it finds nothing.
    let token = site.register("alice");
    assert_eq!(
        site.op(Some(&token), "key.list", &json!({})).result()["keys"],
        json!([])
    );
}

#[test]
fn monitoring_counts_alerts_and_copies_backups_elsewhere() {
    let home = Home::new();
    let bin = tempfile::tempdir().unwrap();
    let (copies, program) = (bin.path().join("copies"), bin.path().join("copy"));
    let draft = bin.path().join("draft");
    let text = format!(
        "#!/bin/sh\necho \"$1 $2\" >> {}\ncp \"$2\" {}/\n",
        copies.display(),
        bin.path().display()
    );
    private(&draft, &text, 0o700);
    assert!(
        Command::new("mv")
            .arg(&draft)
            .arg(&program)
            .status()
            .unwrap()
            .success()
    );
    let config = format!(
        "{OPEN}[monitoring]\ndisk_percent = 100\n[backup]\noffsite = [\"{}\", \"--away\"]\n",
        program.display()
    );
    configure(&home, &config);
    let site = Site::at(home, &config, &["--listen", "http://127.0.0.1:0"]);
    let token = site.register("root");
    let status = || site.op(Some(&token), "admin.status", &json!({}));
    assert_eq!(status().status, 403, "not for a user");
    let account = "root".to_owned();
    let role = Role::Admin;
    let mut client = site.agent.client();
    client.call(&AdminGrant { account, role }).unwrap();
    site.op(Some(&token), "key.get", &json!({"name": "openai/none"}));
    let seen = status().result();
    let of = |op: &str| {
        let operations = seen["observed"]["operations"].as_array().unwrap().clone();
        operations
            .into_iter()
            .find(|count| count["operation"] == op)
            .unwrap()
    };
    assert_eq!(of("key.get")["answered"], 1);
    assert_eq!(
        (&of("key.get")["failed"], &of("key.get")["faults"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(seen["accounts"], 1);
    assert_eq!(seen["rules"]["registration"], "open");
    assert!(seen["observed"]["disk"]["free_bytes"].as_u64().unwrap() > 0);
    assert_eq!(seen["observed"]["hours"].as_array().unwrap().len(), 24);
    assert_eq!(seen["observed"]["alerts"][0]["alert"], "disk", "{seen}");
    // A backup is made by the schedule and copied at once, with its path behind the arguments.
    let unlock = json!({"account": "root", "passphrase": PASSPHRASE});
    site.agent
        .http(&support::request("agent.unlock", &unlock.to_string()));
    let schedule = BackupSchedule {
        daily: true,
        keep: None,
        max_age_days: None,
    };
    client = site.agent.client();
    client.call(&schedule).unwrap();
    eventually("the backup is copied", || {
        status().result()["observed"]["offsite"]["outcome"] == "ok"
    });
    let said = std::fs::read_to_string(&copies).unwrap();
    let (argument, path) = said.trim_end().split_once(' ').unwrap();
    assert_eq!(argument, "--away");
    let name = PathBuf::from(path).file_name().unwrap().to_owned();
    let (made, copied) = (
        std::fs::read(path).unwrap(),
        std::fs::read(bin.path().join(name)).unwrap(),
    );
    assert!(made == copied && !made.is_empty());
    // The page, and what Prometheus reads.
    let root = Browser::sign_in(&site, "root");
    let page = root.get("/admin/monitoring", "en");
    for part in [
        "<svg class=\"chart\"",
        "The disk is nearly full",
        "key.get",
        "Copy elsewhere",
    ] {
        assert!(page.body.contains(part), "{part}: {page:?}");
    }
    let metrics = site
        .agent
        .http("GET /metrics HTTP/1.1\r\nhost: akm\r\nconnection: close\r\n\r\n");
    for line in [
        "akm_alert{alert=\"disk\"} 1",
        "akm_offsite_ok 1",
        "akm_disk_free_bytes ",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn administrators_are_told_of_an_alert_once_each_in_their_language_and_nobody_else() {
    let hook = ProviderServer::start(|_: &Received| Reply::json(200, "ok")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { home.path().join(name) };
    std::fs::create_dir(at("state")).unwrap();
    let host = Host {
        kdf_cost: KdfCost::insecure_test(),
        ..Host::real()
    };
    let text = format!(
        "[[hook]]\nkind = \"slack\"\nbegin = \"http://127.0.0.1:{}/\"\n",
        hook.port()
    );
    let selling = Selling::parse(&text, Outbound::default(), host.clock.clone()).unwrap();
    let door = Door::open(Options {
        vault: at("vault.db"),
        journal: at("journal"),
        state: at("state"),
        backups: at("backups"),
        host: host.clone(),
        key_limit: None,
        default_lifetime: None,
        outbound: Outbound::default(),
    })
    .unwrap()
    .with_billing(selling.settings());
    let door = Arc::new(door);
    let me = Caller {
        uid: nix::unistd::geteuid().as_raw(),
        pid: 1,
        exe: "/usr/bin/test".to_owned(),
        via: Default::default(),
        process: Default::default(),
    };
    for (name, locale, role) in [
        ("root", Locale::En, Role::Admin),
        ("guanli", Locale::Zh, Role::Admin),
        ("user", Locale::En, Role::User),
    ] {
        let register = AccountRegister {
            account: name.to_owned(),
            passphrase: Secret::new(PASSPHRASE.to_owned()),
            totp: Some(false),
            invitation: None,
        };
        door.call(&me, Request::from(register)).unwrap();
        let contact = BillingContact {
            hook: Some(HookKind::Slack),
            hook_url: Some(format!("http://127.0.0.1:{}/{name}", hook.port())),
            locale: Some(locale),
            ..BillingContact::default()
        };
        door.call(&me, Request::from(contact)).unwrap();
        let account = name.to_owned();
        door.call(&me, Request::from(AdminGrant { account, role }))
            .unwrap();
    }
    let watch = |disk_percent| {
        let thresholds = Thresholds {
            disk_percent,
            ..Thresholds::default()
        };
        let directory = home.path().to_owned();
        let watch = Watch::new(thresholds, directory, at("state"), host.clock.clone(), None);
        Selling::alerts(Some(&selling), &door, Arc::new(watch), Outbound::default())
    };
    watch(Some(0)).run().unwrap();
    assert_eq!(hook.received().len(), 0, "control: nothing is wrong");
    let job = watch(Some(100));
    job.run().unwrap();
    job.run().unwrap();
    // Nor after a restart.
    watch(Some(100)).run().unwrap();
    let mut told: Vec<(String, String)> = hook
        .received()
        .into_iter()
        .map(|request| {
            (
                request.path.clone(),
                String::from_utf8(request.body).unwrap(),
            )
        })
        .collect();
    told.sort();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].0 == "/guanli" && told[0].1.contains("磁盘空间"),
        "{told:?}"
    );
    assert!(
        told[1].0 == "/root" && told[1].1.contains("the disk is nearly full"),
        "{told:?}"
    );
    // It is over, and comes up again: once more.
    watch(Some(0)).run().unwrap();
    let then = host.clock.now().as_millisecond();
    while host.clock.now().as_millisecond() == then {
        std::hint::spin_loop();
    }
    watch(Some(100)).run().unwrap();
    assert_eq!(hook.received().len(), 4);
}
