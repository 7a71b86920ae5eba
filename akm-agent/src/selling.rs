//! `billing.toml`: what a hosted service sells, by whom it is paid, and how it reminds people.
//!
//! Apart from `config.toml`, because it holds tokens and passwords: it is believed only if nobody but its owner can read
//! or write it. No file, and nothing is sold and nobody reminded; an empty secret, a product that contradicts the tiers, or
//! a key that is not known refuses to start. Errors name the section or the line, never a value.
//!
//! ```toml
//! codes = true                       # redeem codes
//! grace_days = 7
//! push_secret = "…"                  # pushes come to /webhook/PROVIDER/SECRET
//! [afdian]
//! user_id = "…"
//! token = "…"
//! origin = "https://afdian.com"      # or another host of theirs
//! [gateway]                          # pushes of your own, signed with a shared secret
//! secret = "…"
//! link = "https://pay.example.com/?p={product}&n={months}&for={custom}"
//! [[product]]
//! provider = "afdian"
//! plan = "…"                         # or sku = "…", with the plan of the goods for order links
//! tier = "basic"
//! months = 1                         # of one month or piece of it
//! price = "5.00"
//! [[tier]]                           # in place of the compiled-in ones, from the least
//! [mail]
//! host = "smtp.example.com"
//! security = "tls"                   # or starttls; none on this machine only
//! user = "…"
//! password = "…"
//! from = "akm <akm@example.com>"
//! [[hook]]                           # where chat hooks may point, in place of the known ones
//! kind = "slack"
//! begin = "https://hooks.example.com/"
//! ```

mod alerts;
mod jobs;
mod mail;

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use akm_core::billing::afdian::{self, Afdian, Setup};
use akm_core::billing::gateway::Gateway;
use akm_core::billing::{PaymentProvider, Product, Settings, Tier, money};
use akm_core::error::{Error, Kind, Result};
use akm_core::host::{Clock, Host};
use akm_core::protocol::HookKind;
use akm_core::provider::Outbound;
use akm_core::regular::{self, Links};
use akm_core::secret::Secret;
use akm_core::service::Door;
use serde::{Deserialize, Deserializer};

use crate::jobs::Job;
use crate::server::lookout::Watch;
use mail::Mail;

const FILE: &str = "billing.toml";
/// Largest file that is read.
const MAX_FILE: u64 = 64 * 1024;

/// A text that is not shown.
struct Hidden(Secret);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Hidden, D::Error> {
        String::deserialize(from).map(|text| Hidden(Secret::new(text)))
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sections {
    codes: bool,
    grace_days: Option<u32>,
    push_secret: Option<Hidden>,
    afdian: Option<AfdianSection>,
    gateway: Option<GatewaySection>,
    product: Vec<ProductSection>,
    tier: Vec<Tier>,
    mail: Option<mail::Section>,
    hook: Vec<HookSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AfdianSection {
    user_id: String,
    token: Hidden,
    origin: Option<String>,
    public_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewaySection {
    secret: Hidden,
    link: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductSection {
    provider: String,
    plan: Option<String>,
    sku: Option<String>,
    tier: String,
    months: Option<u32>,
    price: String,
    currency: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HookSection {
    kind: HookKind,
    begin: String,
}

/// What is sold, and how people are reminded.
pub struct Selling {
    settings: Arc<Settings>,
    mail: Option<Arc<Mail>>,
    outbound: Outbound,
    polls: bool,
}

impl Selling {
    /// Reads `billing.toml` beside the configuration; none if there is no such file.
    pub fn load(config: &Path, outbound: Outbound) -> Result<Option<Selling>> {
        let path = config
            .parent()
            .map_or_else(|| PathBuf::from(FILE), |dir| dir.join(FILE));
        let Some(file) = regular::open(&path, Links::Follow)? else {
            return Ok(None);
        };
        let facts = file.metadata().map_err(|error| Error::from_io(&error))?;
        let euid = nix::unistd::geteuid().as_raw();
        if !facts.is_file() || facts.uid() != euid || facts.mode() & 0o077 != 0 {
            return Err(Error::new(
                Kind::Denied,
                "billing.toml holds secrets and can be read or written by others",
            )
            .with_hint("chmod 600 billing.toml"));
        }
        let mut text = zeroize::Zeroizing::new(String::new());
        file.take(MAX_FILE + 1)
            .read_to_string(&mut text)
            .map_err(|error| Error::from_io(&error))?;
        if text.len() as u64 > MAX_FILE {
            return Err(bad("billing.toml is too large"));
        }
        Selling::parse(&text, outbound, Host::real().clock).map(Some)
    }

    /// Reads the text of the file.
    pub fn parse(text: &str, outbound: Outbound, clock: Arc<dyn Clock>) -> Result<Selling> {
        let sections = sections(text)?;
        let mut payments: Vec<Arc<dyn PaymentProvider>> = Vec::new();
        let polls = sections.afdian.is_some();
        if let Some(section) = sections.afdian {
            let setup = Setup {
                user_id: section.user_id,
                token: section.token.0,
                origin: section.origin.unwrap_or_else(|| afdian::ORIGIN.to_owned()),
                public_key: section
                    .public_key
                    .unwrap_or_else(|| afdian::PUBLIC_KEY.to_owned()),
            };
            payments.push(Arc::new(Afdian::new(setup, outbound.clone(), clock)?));
        }
        if let Some(section) = sections.gateway {
            payments.push(Arc::new(Gateway::new(section.secret.0, section.link)?));
        }
        let defaults = Settings::default();
        let settings = Settings {
            own_tiers: !sections.tier.is_empty(),
            tiers: match sections.tier.is_empty() {
                true => defaults.tiers,
                false => sections.tier,
            },
            grace_days: sections.grace_days.unwrap_or(defaults.grace_days),
            products: sections
                .product
                .into_iter()
                .map(product)
                .collect::<Result<_>>()?,
            payments,
            codes: sections.codes,
            push_secret: sections.push_secret.map(|hidden| hidden.0),
            hooks: match sections.hook.is_empty() {
                true => defaults.hooks,
                false => sections
                    .hook
                    .into_iter()
                    .map(|hook| (hook.kind, hook.begin))
                    .collect(),
            },
        };
        settings.check()?;
        Ok(Selling {
            settings: Arc::new(settings),
            mail: sections
                .mail
                .map(|section| Mail::new(section, &outbound))
                .transpose()?
                .map(Arc::new),
            outbound,
            polls,
        })
    }

    /// What the service is told.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings)
    }

    /// Who tells administrators of alerts.
    pub fn alerts(
        selling: Option<&Selling>,
        service: &Arc<Door>,
        watch: Arc<Watch>,
        outbound: Outbound,
    ) -> Box<dyn Job> {
        Box::new(alerts::Alerts {
            watch,
            service: Arc::clone(service),
            mail: selling.and_then(|selling| selling.mail.clone()),
            outbound,
        })
    }

    /// What is done by itself: terms that end, pushes that were missed, reminders.
    pub fn jobs(&self, service: &Arc<Door>) -> Vec<Box<dyn Job>> {
        let mut jobs: Vec<Box<dyn Job>> = vec![
            Box::new(jobs::Tiers(Arc::clone(service))),
            Box::new(jobs::Remind {
                service: Arc::clone(service),
                mail: self.mail.clone(),
                outbound: self.outbound.clone(),
            }),
        ];
        if self.polls {
            jobs.push(Box::new(jobs::Orders(Arc::clone(service))));
        }
        jobs
    }
}

/// Reads the sections. An error names the line and, where it looks like one, the key; its own text would quote the line.
fn sections(text: &str) -> Result<Sections> {
    let wrong = |error: &toml::de::Error, path: &str| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|b| *b == b'\n').count() + 1;
        let named = !path.is_empty()
            && path
                .split(['.', '[', ']'])
                .all(|part| part.parse::<u32>().is_ok() || crate::config::shown(part));
        bad("billing.toml is not as it should be").with_hint(match named {
            true => format!("look at {path}, line {line} of billing.toml"),
            false => format!("look at line {line} of billing.toml"),
        })
    };
    let parsed = toml::Deserializer::parse(text).map_err(|error| wrong(&error, ""))?;
    serde_path_to_error::deserialize(parsed).map_err(|error| {
        let path = error.path().to_string();
        wrong(error.inner(), &path)
    })
}

fn product(section: ProductSection) -> Result<Product> {
    let (id, goods, plan) = match (section.plan, section.sku) {
        (Some(plan), None) => (plan, false, None),
        (None, Some(sku)) => (sku, true, None),
        // Only there goods stand under a plan.
        (Some(plan), Some(sku)) if section.provider == afdian::NAME => (sku, true, Some(plan)),
        _ => return Err(bad("a product has a plan or a sku").with_field("product")),
    };
    let currency = section.currency.unwrap_or_else(|| "CNY".to_owned());
    let decimals = money::decimals(&currency)
        .ok_or_else(|| bad("the currency of a product is not known").with_field("product"))?;
    Ok(Product {
        provider: section.provider,
        id,
        goods,
        plan,
        tier: section.tier,
        months: section.months.unwrap_or(1),
        price: money::minor(&section.price, decimals)
            .map_err(|error| error.with_field("product"))?,
        currency,
    })
}

const fn bad(message: &'static str) -> Error {
    Error::new(Kind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn parse(text: &str) -> Result<Selling> {
        Selling::parse(text, Outbound::default(), Host::real().clock)
    }

    const GOOD: &str = "codes = true\ngrace_days = 3\n[gateway]\nsecret = \"sixteen or more characters\"\n\
        [[product]]\nprovider = \"gateway\"\nplan = \"p\"\ntier = \"basic\"\nprice = \"5.00\"\n\
        [mail]\nhost = \"127.0.0.1\"\nport = 2525\nsecurity = \"none\"\nfrom = \"akm <akm@example.com>\"\n";

    #[test]
    fn what_is_sold_is_read_and_contradictions_and_empty_secrets_refuse_to_start() {
        let selling = parse(GOOD).unwrap();
        assert_eq!(selling.settings.products[0].price, 500);
        assert_eq!(
            (selling.settings.grace_days, selling.settings.codes),
            (3, true)
        );
        assert!(parse("").unwrap().settings.payments.is_empty());
        for (from, to) in [
            ("secret = \"sixteen or more characters\"", "secret = \"\""),
            ("tier = \"basic\"", "tier = \"canary\""),
            ("tier = \"basic\"", "tier = \"free\""),
            ("price = \"5.00\"", "price = 5.0"),
            ("price = \"5.00\"", "price = \"0.00\""),
            ("price = \"5.00\"", "price = \"5.001\""),
            ("plan = \"p\"", "plan = \"p\"\nsku = \"s\""),
            ("plan = \"p\"", ""),
            ("plan = \"p\"", "plan = \"p\"\nmonths = 0"),
            ("provider = \"gateway\"", "provider = \"canary\""),
            ("codes = true", "codez = true"),
            ("security = \"none\"", "security = \"canary\""),
            ("host = \"127.0.0.1\"", "host = \"mail.example.com\""),
            ("from = \"akm <akm@example.com>\"", "from = \"canary\""),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD);
            let error = parse(&text)
                .err()
                .unwrap_or_else(|| panic!("{to} was taken"));
            assert_eq!(error.kind(), Kind::InvalidInput, "{to}");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
        let afdian = "[afdian]\nuser_id = \"0123456789abcdef\"\ntoken = \"\"\n";
        assert_eq!(parse(afdian).err().unwrap().kind(), Kind::InvalidInput);
        assert!(
            parse(&afdian.replace("\"\"", "\"a-token-of-afdian\"")).is_ok(),
            "control"
        );
        let goods = format!(
            "{}[[product]]\nprovider = \"afdian\"\nsku = \"s\"\nplan = \"p\"\ntier = \"pro\"\nprice = \"40.00\"\n",
            afdian.replace("\"\"", "\"a-token-of-afdian\"")
        );
        let settings = parse(&goods).unwrap().settings;
        let product = &settings.products[0];
        assert_eq!(
            (product.id.as_str(), product.goods, product.plan.as_deref()),
            ("s", true, Some("p"))
        );
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_and_none_sells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.toml");
        let load = || Selling::load(&config, Outbound::default());
        assert!(load().unwrap().is_none());
        let path = dir.path().join(FILE);
        std::fs::write(&path, GOOD).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(load().err().unwrap().kind(), Kind::Denied);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(load().unwrap().is_some());
    }
}
