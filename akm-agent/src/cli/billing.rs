//! `akm billing`: tiers, orders and reminders of an account; and for `akm admin` the orders of everybody.

use akm_core::Secret;
use akm_core::billing::money;
use akm_core::protocol::{
    AdminOrders, BillingCodesCreate, BillingContact, BillingNotices, BillingOrderLink,
    BillingOrderResolve, BillingOrders, BillingRedeem, BillingStanding, BillingStatus,
    BillingTiers, HookKind, Locale, NoticeInfo, NoticeKind, OrderInfo, OrderPage, OrderState,
    Resolution, TierState, Tiers,
};
use clap::{Args, Subcommand, ValueEnum};

use super::connect;
use super::output::{self, Result};
use super::text::{self, text};

/// Tiers and orders.
#[derive(Args)]
#[command(after_help = "Example:\n  akm billing status\n  akm billing notices")]
pub(crate) struct Billing {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the tiers that accounts of this server can have
    #[command(after_help = "Example:\n  akm billing tiers")]
    Tiers,
    /// Say which tier the account has, and until when
    #[command(after_help = "Example:\n  akm billing status --json")]
    Status,
    /// List the account's orders
    #[command(after_help = "Example:\n  akm billing orders")]
    Orders,
    /// Print the address where a tier is bought for this account
    #[command(after_help = "Example:\n  akm billing link basic --months 3")]
    Link {
        /// The tier
        tier: String,
        /// For how many months; 1 if absent
        #[arg(long, value_name = "N")]
        months: Option<u32>,
        /// By whom, where more than one sells it
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
    },
    /// Redeem a code for the account
    #[command(after_help = "Example:\n  akm billing redeem ABCDE-FGHIJ-KLMNO-PQRST-UVWXY-Z")]
    Redeem {
        /// The code; it is good once, so it may stand here
        code: String,
    },
    /// Say or change where you are reminded before a tier ends or a key expires
    #[command(
        after_help = "Example:\n  akm billing contact --email me@example.com --locale zh\n  akm billing contact --email \"\""
    )]
    Contact {
        /// An address for mail; empty for none any more
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// Whose chat hook it is
        #[arg(long, value_enum, value_name = "KIND", requires = "hook_url")]
        hook: Option<Hook>,
        /// Its address; empty for none any more
        #[arg(long, value_name = "URL")]
        hook_url: Option<String>,
        /// In which language
        #[arg(long, value_enum, value_name = "LANG")]
        locale: Option<Spoken>,
    },
    /// List what you should know today: ends of tiers and keys
    #[command(after_help = "Example:\n  akm billing notices")]
    Notices,
}

/// The kinds of chat hooks, as they are typed.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Hook {
    /// 飞书, Lark
    Feishu,
    /// 钉钉
    Dingtalk,
    /// 企业微信
    Wecom,
    /// Slack
    Slack,
}

/// The languages, as they are typed.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Spoken {
    /// English
    En,
    /// 简体中文
    Zh,
}

/// Everybody's orders.
#[derive(Args)]
pub(crate) struct All {
    /// Only those that wait for a human
    #[arg(long)]
    held: bool,
    /// The page behind this one: what the page before named
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

/// A decision about an order.
#[derive(Args)]
pub(crate) struct Resolve {
    /// Who took the money
    provider: String,
    /// The number of the order there
    number: String,
    /// What is decided
    #[arg(value_enum)]
    decision: Decision,
    /// Whose it is, where it was nobody's
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// What it grants, where that was not known
    #[arg(long, value_name = "TIER")]
    tier: Option<String>,
    /// For how many months, where that was not known
    #[arg(long, value_name = "N")]
    months: Option<u32>,
}

/// The decisions, as they are typed.
#[derive(Clone, Copy, ValueEnum)]
enum Decision {
    /// It grants what it was paid for, or what is said
    Grant,
    /// The money went back
    Refund,
    /// It grants nothing
    Dismiss,
}

/// New redeem codes.
#[derive(Args)]
pub(crate) struct Codes {
    /// What they are good for
    tier: String,
    /// For how many months; 1 if absent
    #[arg(long, value_name = "N", default_value_t = 1)]
    months: u32,
    /// How many; 1 if absent
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// Until when they may be redeemed
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,
}

pub(crate) fn billing(args: Billing, json: bool) -> Result<()> {
    match args.command {
        Command::Tiers => tiers(json),
        Command::Status => {
            let status = connect()?.call(&BillingStatus {})?;
            standing(&status, json)
        }
        Command::Orders => {
            let page = connect()?.call(&BillingOrders::default())?;
            orders(&page, json)
        }
        Command::Link {
            tier,
            months,
            provider,
        } => {
            let link = connect()?.call(&BillingOrderLink {
                tier,
                months,
                provider,
            })?;
            if json {
                return output::json(&link);
            }
            output::note(&text!(
                "order-link",
                provider = link.provider.as_str(),
                amount = money::shown(link.amount, &link.currency)
            ));
            output::line(&link.url)
        }
        Command::Redeem { code } => {
            let status = connect()?.call(&BillingRedeem {
                code: Secret::new(code),
            })?;
            standing(&status, json)
        }
        Command::Contact {
            email,
            hook,
            hook_url,
            locale,
        } => {
            let contact = connect()?.call(&BillingContact {
                email,
                hook: hook.map(|hook| match hook {
                    Hook::Feishu => HookKind::Feishu,
                    Hook::Dingtalk => HookKind::Dingtalk,
                    Hook::Wecom => HookKind::Wecom,
                    Hook::Slack => HookKind::Slack,
                }),
                hook_url,
                locale: locale.map(|locale| match locale {
                    Spoken::En => Locale::En,
                    Spoken::Zh => Locale::Zh,
                }),
            })?;
            if json {
                return output::json(&contact);
            }
            let none = || text!("nowhere");
            output::fields(&[
                ("field-email", contact.email.unwrap_or_else(none)),
                (
                    "field-hook",
                    contact
                        .hook
                        .map_or_else(none, |hook| hook_name(hook).to_owned()),
                ),
                (
                    "field-locale",
                    match contact.locale {
                        Locale::En => text!("locale-en"),
                        Locale::Zh => text!("locale-zh"),
                    },
                ),
            ])
        }
        Command::Notices => {
            let notices = connect()?.call(&BillingNotices {})?;
            if json {
                return output::json(&notices);
            }
            if notices.notices.is_empty() {
                output::note(&text!("no-notices"));
            }
            notices
                .notices
                .iter()
                .try_for_each(|notice| output::line(&said(notice)))
        }
    }
}

const fn hook_name(hook: HookKind) -> &'static str {
    match hook {
        HookKind::Feishu => "feishu",
        HookKind::Dingtalk => "dingtalk",
        HookKind::Wecom => "wecom",
        HookKind::Slack => "slack",
    }
}

fn said(notice: &NoticeInfo) -> String {
    let key = notice.key.as_deref().unwrap_or_default();
    let tier = notice.tier.as_deref().unwrap_or_default();
    let date = day(notice.at.as_deref());
    match notice.kind {
        NoticeKind::TierEnds => text!("notice-tier-ends", tier = tier, date = date),
        NoticeKind::TierGrace => text!("notice-tier-grace", tier = tier, date = date),
        NoticeKind::OverLimit => text!("notice-over-limit", tier = tier),
        NoticeKind::KeyExpires => text!("notice-key-expires", key = key, date = date),
        NoticeKind::KeyExpired => text!("notice-key-expired", key = key, date = date),
    }
}

fn tiers(json: bool) -> Result<()> {
    show_tiers(&connect()?.call(&BillingTiers {})?, json)
}

pub(crate) fn show_tiers(tiers: &Tiers, json: bool) -> Result<()> {
    if json {
        return output::json(tiers);
    }
    if tiers.tiers.is_empty() {
        output::note(&text!("no-tiers"));
        return Ok(());
    }
    let chinese = text::language() == text::Language::Chinese;
    let most =
        |limit: Option<u64>| limit.map_or_else(|| text!("no-limit"), |most| most.to_string());
    let rows: Vec<Vec<String>> = tiers
        .tiers
        .iter()
        .map(|tier| {
            let name = if chinese { &tier.name_zh } else { &tier.name };
            vec![
                tier.tier.clone(),
                name.clone(),
                money::shown(tier.price_fen, "CNY"),
                most(tier.keys),
                most(tier.providers.map(u64::from)),
                most(tier.requests_per_minute.map(u64::from)),
            ]
        })
        .collect();
    output::table(
        &[
            "col-tier",
            "col-tier-name",
            "col-price",
            "col-most-keys",
            "col-most-providers",
            "col-most-requests",
        ],
        &rows,
    )
}

fn standing(status: &BillingStanding, json: bool) -> Result<()> {
    if json {
        return output::json(status);
    }
    let keys = match status.most_keys {
        Some(most) => text!("keys-of", keys = status.keys, most = most),
        None => status.keys.to_string(),
    };
    let mut fields = vec![
        ("field-tier", status.tier.clone()),
        (
            "field-tier-state",
            match status.state {
                TierState::Local => text!("tier-local"),
                TierState::None => text!("tier-none"),
                TierState::Paid => text!("tier-paid"),
                TierState::Grace => text!("tier-grace"),
            },
        ),
        ("field-keys", keys),
    ];
    if status.until.is_some() {
        fields.push(("field-paid-until", day(status.until.as_deref())));
    }
    if status.state == TierState::Grace {
        fields.push(("field-holds-until", day(status.holds_until.as_deref())));
    }
    output::fields(&fields)?;
    if status.most_keys.is_some_and(|most| status.keys > most) {
        output::hint(&text!("hint-over-limit"));
    }
    Ok(())
}

pub(crate) fn all(args: &All, json: bool) -> Result<()> {
    let page = connect()?.call(&AdminOrders {
        state: args.held.then_some(OrderState::Held),
        limit: None,
        after: args.after.clone(),
    })?;
    orders(&page, json)
}

pub(crate) fn resolve(args: Resolve, json: bool) -> Result<()> {
    let order = connect()?.call(&BillingOrderResolve {
        provider: args.provider,
        number: args.number,
        resolution: match args.decision {
            Decision::Grant => Resolution::Grant,
            Decision::Refund => Resolution::Refund,
            Decision::Dismiss => Resolution::Dismiss,
        },
        account: args.account,
        tier: args.tier,
        months: args.months,
    })?;
    if json {
        return output::json(&order);
    }
    output::note(&text!(
        "order-is",
        number = order.number.as_str(),
        state = state(order.state)
    ));
    Ok(())
}

pub(crate) fn codes(args: &Codes, json: bool) -> Result<()> {
    let made = connect()?.call(&BillingCodesCreate {
        tier: args.tier.clone(),
        months: args.months,
        count: args.count,
        expires_at: args.expires.clone(),
    })?;
    if json {
        return output::json(&made);
    }
    made.codes.iter().try_for_each(output::secret)
}

fn orders(page: &OrderPage, json: bool) -> Result<()> {
    if json {
        return output::json(page);
    }
    if page.orders.is_empty() {
        output::note(&text!("no-orders"));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = page.orders.iter().map(row).collect();
    output::table(
        &[
            "col-order",
            "col-order-state",
            "col-account",
            "col-tier",
            "col-months",
            "col-amount",
            "col-paid-at",
            "col-order-note",
        ],
        &rows,
    )?;
    if let Some(next) = &page.next {
        output::hint(&text!("hint-orders-next", cursor = next.as_str()));
    }
    Ok(())
}

fn row(order: &OrderInfo) -> Vec<String> {
    vec![
        format!("{} {}", order.provider, order.number),
        state(order.state),
        order.account.clone().unwrap_or_default(),
        order.tier.clone().unwrap_or_default(),
        order.months.to_string(),
        money::shown(order.amount, &order.currency),
        day(Some(&order.paid_at)),
        order
            .note
            .as_deref()
            .map(|note| text::of_token("order-note", note))
            .unwrap_or_default(),
    ]
}

fn state(state: OrderState) -> String {
    match state {
        OrderState::Held => text!("order-held"),
        OrderState::Paid => text!("order-paid"),
        OrderState::Refunded => text!("order-refunded"),
        OrderState::Dismissed => text!("order-dismissed"),
    }
}

/// The day of an RFC 3339 time.
fn day(time: Option<&str>) -> String {
    time.unwrap_or_default().chars().take(10).collect()
}
