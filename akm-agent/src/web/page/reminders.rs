//! What the owner of an account should know today, and where they are reminded of it.

use akm_core::error::Result;
use akm_core::protocol::{
    BillingContact, BillingNotices, BillingTiers, ContactInfo, HookKind, Locale, NoticeInfo,
    NoticeKind, TierInfo,
};
use maud::{Markup, html};

use super::super::answer::{self, Http};
use super::super::routes::Ask;
use super::super::view::{Field, icon, time};
use super::super::words::{Language, say};
use super::{Page, membership};

/// Most notices on a page: the most urgent come first.
const MOST: usize = 5;

/// What to know today, if there is something.
pub(super) async fn notices(page: &Page<'_>) -> Result<Markup> {
    let notices = page.ask(BillingNotices {}).await?.notices;
    let tiers = match notices.iter().any(|notice| notice.tier.is_some()) {
        true => page.ask(BillingTiers {}).await?.tiers,
        false => Vec::new(),
    };
    Ok(html! {
        @if !notices.is_empty() {
            ul.notices { @for each in notices.iter().take(MOST) { (one(page, each, &tiers)) } }
        }
    })
}

fn one(page: &Page<'_>, notice: &NoticeInfo, tiers: &[TierInfo]) -> Markup {
    let words = page.words();
    let tier = membership::called(page, notice.tier.as_deref().unwrap_or_default(), tiers);
    let key = notice.key.as_deref().unwrap_or_default();
    let text = match notice.kind {
        NoticeKind::TierEnds => say!(words, "notice-tier-ends", tier = tier),
        NoticeKind::TierGrace => say!(words, "notice-tier-grace", tier = tier),
        NoticeKind::OverLimit => say!(words, "notice-over-limit", tier = tier),
        NoticeKind::KeyExpires => say!(words, "notice-key-expires", key = key),
        NoticeKind::KeyExpired => say!(words, "notice-key-expired", key = key),
    };
    html! {
        li.notice.tone-warn {
            (icon("alert")) span { (text) @if let Some(at) = &notice.at { " " (time(at)) } }
        }
    }
}

/// Where reminders go.
pub(super) async fn panel(page: &Page<'_>) -> Result<Markup> {
    let words = page.words();
    let contact = page.ask(BillingContact::default()).await?;
    let ContactInfo {
        email,
        hook,
        locale,
    } = contact;
    // Who never said so reads this page in their language.
    let locale = match (&email, hook, words.language()) {
        (None, None, Language::Chinese) => Locale::Zh,
        _ => locale,
    };
    let kinds = [
        ("", say!(words, "hook-none")),
        ("feishu", say!(words, "hook-feishu")),
        ("dingtalk", say!(words, "hook-dingtalk")),
        ("wecom", say!(words, "hook-wecom")),
        ("slack", "Slack".to_owned()),
    ];
    let chosen = hook.map_or("", token);
    Ok(html! {
        section.panel {
            h2 { (say!(words, "reminders-title")) }
            p { (say!(words, "reminders-lead")) }
            form.form method="post" action=(page.path("membership/contact")) data-busy {
                (Field {
                    name: "email", label: say!(words, "field-email"), kind: "email", autocomplete: "email",
                    value: email.as_deref().unwrap_or(""), ..Field::default()
                }.show())
                div.pair {
                    label.field {
                        span { (say!(words, "field-hook")) }
                        select name="hook" {
                            @for (kind, name) in &kinds { option value=(kind) selected[*kind == chosen] { (name) } }
                        }
                    }
                    label.field {
                        span { (say!(words, "field-locale")) }
                        select name="locale" {
                            option value="en" lang="en" selected[locale == Locale::En] { "English" }
                            option value="zh" lang="zh-CN" selected[locale == Locale::Zh] { "简体中文" }
                        }
                    }
                }
                (Field {
                    name: "hook_url", label: say!(words, "field-hook-url"), kind: "password", autocomplete: "off",
                    hint: if hook.is_some() { say!(words, "hook-url-kept") } else { String::new() }, ..Field::default()
                }.show())
                div.buttons { button type="submit" { (say!(words, "save")) } }
            }
        }
    })
}

const fn token(kind: HookKind) -> &'static str {
    match kind {
        HookKind::Feishu => "feishu",
        HookKind::Dingtalk => "dingtalk",
        HookKind::Wecom => "wecom",
        HookKind::Slack => "slack",
    }
}

/// Takes the form: an address for mail that is empty is forgotten, a hook is kept where its address is not typed again.
pub(super) async fn save(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let kind = match ask.form.get("hook") {
        Some("feishu") => Some(HookKind::Feishu),
        Some("dingtalk") => Some(HookKind::Dingtalk),
        Some("wecom") => Some(HookKind::Wecom),
        Some("slack") => Some(HookKind::Slack),
        _ => None,
    };
    let url = ask.form.text("hook_url");
    let kept = page.ask(BillingContact::default()).await?.hook;
    let (hook, hook_url) = match (kind, url) {
        (None, _) => (None, Some(String::new())),
        (Some(kind), None) if kept == Some(kind) => (None, None),
        (Some(kind), url) => (Some(kind), Some(url.unwrap_or_default())),
    };
    let saved = page
        .ask(BillingContact {
            email: Some(ask.form.text("email").unwrap_or_default()),
            hook,
            hook_url,
            locale: Some(match ask.form.get("locale") {
                Some("zh") => Locale::Zh,
                _ => Locale::En,
            }),
        })
        .await;
    match saved {
        Ok(_) => Ok(answer::see(&page.path("membership?done=reminders"))),
        Err(error) => membership::show(page, Some(&error)).await,
    }
}
