//! Wire types of tiers, orders and reminders.

use serde::{Deserialize, Serialize};

use super::plain::{list, one};
use super::{wire, word};
use crate::secret::Secret;

wire! {
    /// Asks what there is to have.
    #[derive(Default)]
    request BillingTiers {}
}

wire! {
    /// What there is to have.
    result Tiers {
        /// From the least; none where nothing is sold: there nobody is limited by any.
        tiers: Vec<TierInfo>,
        /// Days for which a tier that ended still holds.
        grace_days: u32,
        /// Whether redeem codes are taken.
        codes: bool,
    }
}

wire! {
    /// A tier. A limit that is absent is none.
    result TierInfo {
        /// Its id.
        tier: String,
        /// For people.
        name: String,
        /// For people, in Chinese.
        name_zh: String,
        /// Of a month, in fen.
        price_fen: i64,
        /// Most keys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys: Option<u64>,
        /// Most providers of the account's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        providers: Option<u32>,
        /// Most requests in a minute.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requests_per_minute: Option<u32>,
        /// Who sells it here, on a page that `billing.order_link` names.
        sold_by: Vec<String>,
    }
}

wire! {
    /// Asks where the account stands.
    #[derive(Default)]
    request BillingStatus {}
}

/// Whether a tier is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TierState {
    /// The account is its owner's own; nothing limits it.
    Local,
    /// Nothing was ever paid, or what was is over.
    None,
    /// It is paid.
    Paid,
    /// It ended and still holds for a while.
    Grace,
}

wire! {
    /// Where the account stands.
    result BillingStanding {
        /// The tier; `local` for an account of its owner's own.
        tier: String,
        /// Whether it is paid.
        state: TierState,
        /// Until when it is, or was, paid; RFC 3339 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<String>,
        /// Until when it holds; RFC 3339 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        holds_until: Option<String>,
        /// How many keys there are.
        keys: u64,
        /// Most keys; with more, none is lost and none is added.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        most_keys: Option<u64>,
        /// Most providers of the account's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        most_providers: Option<u32>,
        /// Changes of the tier, newest first.
        history: Vec<TierChange>,
    }
}

wire! {
    /// A change of a tier.
    result TierChange {
        /// When; RFC 3339 UTC.
        time: String,
        /// The tier from then on.
        tier: String,
        /// Until when it is paid; RFC 3339 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<String>,
        /// `paid`, `grace`, `ended` or `refunded`.
        reason: String,
    }
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Waits for a human; grants nothing.
    Held = 1,
    /// Granted.
    Paid = 2,
    /// The money went back; grants nothing any more.
    Refunded = 3,
    /// A human decided that it grants nothing.
    Dismissed = 4,
}

wire! {
    /// Asks for the account's orders.
    #[derive(Default)]
    request BillingOrders {
        /// Only those in this state.
        #[serde(default, deserialize_with = "word::option", skip_serializing_if = "Option::is_none")]
        state: Option<OrderState>,
        /// Most orders in the answer, 1 to 1000; 100 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    }
}

wire! {
    /// Asks for everybody's orders; for an administrator.
    #[derive(Default)]
    request AdminOrders {
        /// Only those in this state.
        #[serde(default, deserialize_with = "word::option", skip_serializing_if = "Option::is_none")]
        state: Option<OrderState>,
        /// Most orders in the answer, 1 to 1000; 100 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        /// `next` of the page before; opaque.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    }
}

wire! {
    /// A page of orders, newest first.
    result OrderPage {
        /// The orders.
        orders: Vec<OrderInfo>,
        /// Where the next page starts, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    }
}

wire! {
    /// An order.
    result OrderInfo {
        /// Who took the money; `code` for a redeem code.
        provider: String,
        /// Its number there.
        number: String,
        /// What became of it.
        state: OrderState,
        /// The account's name, for an administrator; absent where nobody's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// The tier, where the product is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tier: Option<String>,
        /// For how long.
        months: u32,
        /// What was paid, in the smallest unit of the currency.
        amount: i64,
        /// What of it falls on each month; the sum is the amount.
        monthly: Vec<i64>,
        /// The currency.
        currency: String,
        /// When it was paid; RFC 3339 UTC.
        paid_at: String,
        /// What a human should look at: `account`, `product`, `paid_less`, `paid_more`, `months`, `currency` or `unpaid`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    }
}

wire! {
    /// Asks where a tier is bought.
    request BillingOrderLink {
        /// The tier.
        tier: String,
        /// For how long; 1 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        months: Option<u32>,
        /// By whom, where more than one sells it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider: Option<String>,
    }
}

wire! {
    /// Where a tier is bought.
    result OrderLink {
        /// Who sells it.
        provider: String,
        /// The address of the order page; it says whose the order is.
        url: String,
        /// What it costs there, in the smallest unit of the currency.
        amount: i64,
        /// The currency.
        currency: String,
    }
}

wire! {
    /// Redeems a code for the account.
    request BillingRedeem {
        /// The code.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        code: Secret,
    }
}

wire! {
    /// Makes redeem codes; for an administrator.
    request BillingCodesCreate {
        /// What they are good for.
        tier: String,
        /// For how long.
        months: u32,
        /// How many, 1 to 1000; 1 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Until when they may be redeemed: a date or RFC 3339.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
    }
}

wire! {
    /// Redeem codes; they are said once.
    result RedeemCodes {
        /// The codes.
        #[serde(with = "list")]
        #[cfg_attr(feature = "openapi", schemars(with = "Vec<String>"))]
        codes: Vec<Secret>,
    }
}

/// What a human decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It grants what is said.
    Grant,
    /// The money went back.
    Refund,
    /// It grants nothing.
    Dismiss,
}

wire! {
    /// Decides about an order; for an administrator.
    request BillingOrderResolve {
        /// Who took the money.
        provider: String,
        /// Its number there.
        number: String,
        /// What is decided.
        #[serde(deserialize_with = "word::one")]
        resolution: Resolution,
        /// Whose it is, where it was nobody's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// What it grants, where that was not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tier: Option<String>,
        /// For how long, where that was not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        months: Option<u32>,
    }
}

wire! {
    /// Says, or changes, where the account's owner is reminded. What is absent stays; empty goes.
    #[derive(Default)]
    request BillingContact {
        /// An address for mail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<String>,
        /// Whose chat hook it is.
        #[serde(default, deserialize_with = "word::option", skip_serializing_if = "Option::is_none")]
        hook: Option<HookKind>,
        /// Its address, which opens it to whoever knows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hook_url: Option<String>,
        /// In which language.
        #[serde(default, deserialize_with = "word::option", skip_serializing_if = "Option::is_none")]
        locale: Option<Locale>,
    }
}

wire! {
    /// Where the account's owner is reminded.
    result ContactInfo {
        /// An address for mail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<String>,
        /// Whose chat hook there is. Its address is not said again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hook: Option<HookKind>,
        /// In which language.
        locale: Locale,
    }
}

wire! {
    /// Asks what the account's owner should know today.
    #[derive(Default)]
    request BillingNotices {}
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// The tier ends soon.
    TierEnds,
    /// The tier ended and still holds.
    TierGrace,
    /// The account has more keys than its tier: none is added.
    OverLimit,
    /// A key expires soon.
    KeyExpires,
    /// A key expired.
    KeyExpired,
}

wire! {
    /// What the account's owner should know today.
    result Notices {
        /// The most urgent first.
        notices: Vec<NoticeInfo>,
    }
}

wire! {
    /// Something to know.
    result NoticeInfo {
        /// What it is about.
        kind: NoticeKind,
        /// The key's name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The tier.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tier: Option<String>,
        /// When it ends; RFC 3339 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<String>,
        /// Whole days until then; 0 on the last day and after it.
        days: u32,
    }
}

/// A language that reminders are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum Locale {
    /// English.
    #[default]
    En,
    /// 简体中文.
    Zh,
}

/// Whose chat hook it is, which decides its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum HookKind {
    /// 飞书, Lark.
    Feishu,
    /// 钉钉.
    Dingtalk,
    /// 企业微信.
    Wecom,
    /// Slack.
    Slack,
}
