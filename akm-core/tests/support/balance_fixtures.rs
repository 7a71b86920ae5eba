//! What providers answer when somebody asks for a balance, written by hand from their documents; never made
//! from the catalogue. The source stands above each; amounts were changed where the document shows nothing
//! that tells sign, unit or currency apart.

use serde_json::{Value, json};

/// One exchange: the host, the request line after `GET `, the status and the body.
pub(crate) type Exchange = (&'static str, &'static str, u16, &'static str);

/// A situation at one provider, and what is to be made of it.
pub(crate) struct Fixture {
    /// The provider's id.
    pub(crate) provider: &'static str,
    /// What it shows.
    pub(crate) name: &'static str,
    /// The key's own address, where it is not the standard one.
    pub(crate) base_url: Option<&'static str>,
    /// The id of the owner's team.
    pub(crate) team: Option<&'static str>,
    /// Header and value that must arrive; `KEY` stands for the key.
    pub(crate) auth: (&'static str, &'static str),
    /// What is asked and answered; anything else is 404.
    pub(crate) exchanges: &'static [Exchange],
    /// The outcome's token.
    pub(crate) outcome: &'static str,
    /// The balances, as on the wire, without `unlimited` where it is false.
    pub(crate) balances: Value,
    /// A part of the sentence.
    pub(crate) says: &'static str,
}

const BEARER: (&str, &str) = ("authorization", "Bearer KEY");
/// The time in the fixtures is 2026-11-22T19:30:15Z.
const SINCE: &str = "2026-11-01T00:00:00.000Z";

fn known(
    provider: &'static str,
    name: &'static str,
    exchanges: &'static [Exchange],
    balances: Value,
) -> Fixture {
    Fixture {
        provider,
        name,
        base_url: None,
        team: None,
        auth: BEARER,
        exchanges,
        outcome: "known",
        balances,
        says: "the provider says so",
    }
}

fn silent(
    provider: &'static str,
    name: &'static str,
    exchanges: &'static [Exchange],
    outcome: &'static str,
    says: &'static str,
) -> Fixture {
    Fixture {
        outcome,
        says,
        ..known(provider, name, exchanges, json!([]))
    }
}

/// Every situation.
pub(crate) fn all() -> Vec<Fixture> {
    [
        openai(),
        deepseek(),
        moonshot(),
        openrouter(),
        xai(),
        fireworks(),
        siliconflow(),
        stepfun(),
        deepinfra(),
        lmstudio(),
        elevenlabs(),
        tavily(),
        novita(),
        venice(),
        poe(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

// The grants as the old dashboard answered (LiteLLM and one-api, controller/channel-billing.go, read them so);
// costs: platform.openai.com/docs/api-reference/usage/costs.
const GRANTS: &str = "/v1/dashboard/billing/credit_grants";
const COSTS: &str = "/v1/organization/costs?start_time=1793491200&bucket_width=1d&limit=31";
const OPENAI_SESSION: &str = r#"{"error":{"message":"Your request to GET /v1/dashboard/billing/credit_grants must be made with a session key (that is, it can only be made from the browser). You made it with the following key type: secret.","type":"server_error","param":null,"code":null}}"#;
const OPENAI_SCOPE: &str = r#"{"error":"You have insufficient permissions for this operation. Missing scopes: api.usage.read."}"#;

fn openai() -> Vec<Fixture> {
    vec![
        Fixture {
            says: "in part",
            ..known(
                "openai",
                "an old key reads its grants",
                &[
                    (
                        "api.openai.com",
                        GRANTS,
                        200,
                        r#"{"object":"credit_summary","total_granted":18.0,"total_used":4.73821,"total_available":13.26179,
                            "grants":{"object":"list","data":[]}}"#,
                    ),
                    ("api.openai.com", COSTS, 403, OPENAI_SCOPE),
                ],
                json!([{"currency": "USD", "kind": "prepaid", "of": "account",
                    "available": "13.26179", "total": "18.0", "used": "4.73821"}]),
            )
        },
        Fixture {
            says: "in part",
            ..known(
                "openai",
                "an administrator's key reads what was spent, summed over days and projects",
                &[
                    ("api.openai.com", GRANTS, 403, OPENAI_SESSION),
                    (
                        "api.openai.com",
                        COSTS,
                        200,
                        r#"{"object":"page","data":[
                            {"object":"bucket","start_time":1793491200,"end_time":1793577600,"results":[
                                {"object":"organization.costs.result","amount":{"value":0.06,"currency":"usd"},"line_item":null,"project_id":null},
                                {"object":"organization.costs.result","amount":{"value":0.1,"currency":"usd"},"line_item":null,"project_id":null}]},
                            {"object":"bucket","start_time":1793577600,"end_time":1793664000,"results":[]},
                            {"object":"bucket","start_time":1793664000,"end_time":1793750400,"results":[
                                {"object":"organization.costs.result","amount":{"value":0.2,"currency":"usd"},"line_item":null,"project_id":null}]}],
                            "has_more":false,"next_page":null}"#,
                    ),
                ],
                json!([{"currency": "USD", "kind": "spend", "of": "account", "used": "0.36", "since": SINCE}]),
            )
        },
        Fixture {
            says: "in part",
            ..known(
                "openai",
                "nothing was spent yet",
                &[
                    ("api.openai.com", GRANTS, 403, OPENAI_SESSION),
                    (
                        "api.openai.com",
                        COSTS,
                        200,
                        r#"{"object":"page","data":[{"object":"bucket","start_time":1793491200,"end_time":1793577600,"results":[]}],"has_more":false,"next_page":null}"#,
                    ),
                ],
                json!([]),
            )
        },
        silent(
            "openai",
            "a project key reads neither",
            &[
                ("api.openai.com", GRANTS, 404, "{}"),
                ("api.openai.com", COSTS, 403, OPENAI_SCOPE),
            ],
            "refused",
            "made for administration alone (HTTP 403)",
        ),
    ]
}

// api-docs.deepseek.com/api/get-user-balance; errors: api-docs.deepseek.com/quick_start/error_codes.
fn deepseek() -> Vec<Fixture> {
    vec![
        known(
            "deepseek",
            "two currencies, one of them owed",
            &[(
                "api.deepseek.com",
                "/user/balance",
                200,
                r#"{"is_available":true,"balance_infos":[
                    {"currency":"CNY","total_balance":"110.00","granted_balance":"10.00","topped_up_balance":"100.00"},
                    {"currency":"USD","total_balance":"-0.37","granted_balance":"0.00","topped_up_balance":"-0.37"}]}"#,
            )],
            json!([
                {"currency": "CNY", "kind": "prepaid", "of": "account",
                    "available": "110.00", "granted": "10.00", "topped_up": "100.00"},
                {"currency": "USD", "kind": "prepaid", "of": "account",
                    "available": "-0.37", "granted": "0.00", "topped_up": "-0.37"}]),
        ),
        silent(
            "deepseek",
            "a key that is refused",
            &[(
                "api.deepseek.com",
                "/user/balance",
                401,
                r#"{"error":{"message":"Authentication Fails, Your api key: ****alid is invalid","type":"authentication_error","param":null,"code":"invalid_request_error"}}"#,
            )],
            "refused",
            "refuses the key",
        ),
        silent(
            "deepseek",
            "no account without a currency",
            &[(
                "api.deepseek.com",
                "/user/balance",
                200,
                r#"{"is_available":false,"balance_infos":[]}"#,
            )],
            "unreachable",
            "does not have the shape",
        ),
    ]
}

// platform.moonshot.cn/docs/api/balance, platform.moonshot.ai/docs/api/balance.
fn moonshot() -> Vec<Fixture> {
    const MINE: &str = "/v1/users/me/balance";
    vec![
        known(
            "moonshot",
            "in China it is yuan; cash may be owed while vouchers last",
            &[(
                "api.moonshot.cn",
                MINE,
                200,
                r#"{"code":0,"data":{"available_balance":49.58894,"voucher_balance":59.58894,"cash_balance":-10.00000},"scode":"0x0","status":true}"#,
            )],
            json!([{"currency": "CNY", "kind": "prepaid", "of": "account",
                "available": "49.58894", "granted": "59.58894", "topped_up": "-10.00000"}]),
        ),
        Fixture {
            base_url: Some("https://api.moonshot.ai/v1"),
            ..known(
                "moonshot",
                "elsewhere it is dollars",
                &[(
                    "api.moonshot.ai",
                    MINE,
                    200,
                    r#"{"code":0,"data":{"available_balance":5.00001,"voucher_balance":5.00001,"cash_balance":0},"scode":"0x0","status":true}"#,
                )],
                json!([{"currency": "USD", "kind": "prepaid", "of": "account",
                    "available": "5.00001", "granted": "5.00001", "topped_up": "0"}]),
            )
        },
        Fixture {
            base_url: Some("https://gateway.example.com/v1"),
            ..known(
                "moonshot",
                "at an address of somebody else nobody knows the currency",
                &[(
                    "gateway.example.com",
                    MINE,
                    200,
                    r#"{"code":0,"data":{"available_balance":1,"voucher_balance":0,"cash_balance":1},"scode":"0x0","status":true}"#,
                )],
                json!([{"kind": "prepaid", "of": "account", "available": "1", "granted": "0", "topped_up": "1"}]),
            )
        },
        silent(
            "moonshot",
            "a 200 that says inside that it failed",
            &[(
                "api.moonshot.cn",
                MINE,
                200,
                r#"{"code":5,"data":{"available_balance":0,"voucher_balance":0,"cash_balance":0},"scode":"0x5","status":false}"#,
            )],
            "unreachable",
            "says inside its answer",
        ),
    ]
}

// openrouter.ai/docs/api/api-reference/api-keys/get-current-key, …/credits/get-credits.
const OR_KEY: &str = "/api/v1/key";
const OR_CREDITS: &str = "/api/v1/credits";
const OR_FORBIDDEN: &str =
    r#"{"error":{"code":403,"message":"Only management keys can perform this operation"}}"#;

fn openrouter() -> Vec<Fixture> {
    vec![
        Fixture {
            says: "in part",
            ..known(
                "openrouter",
                "an ordinary key with a limit",
                &[
                    (
                        "openrouter.ai",
                        OR_KEY,
                        200,
                        r#"{"data":{"label":"sk-or-v1-0e6...1c96","limit":5,"usage":0.1015644762,"limit_remaining":4.8984355238,"is_free_tier":false,"rate_limit":{"requests":50,"interval":"10s"}}}"#,
                    ),
                    ("openrouter.ai", OR_CREDITS, 403, OR_FORBIDDEN),
                ],
                json!([{"currency": "USD", "kind": "prepaid", "of": "key",
                    "available": "4.8984355238", "total": "5", "used": "0.1015644762"}]),
            )
        },
        known(
            "openrouter",
            "a key without limit, and what is left in the wallet",
            &[
                (
                    "openrouter.ai",
                    OR_KEY,
                    200,
                    r#"{"data":{"label":"sk-or-v1-0e6...1c96","limit":null,"usage":25.5,"limit_remaining":null,"is_free_tier":false}}"#,
                ),
                (
                    "openrouter.ai",
                    OR_CREDITS,
                    200,
                    r#"{"data":{"total_credits":100.5,"total_usage":25.75}}"#,
                ),
            ],
            json!([
                {"currency": "USD", "kind": "prepaid", "of": "key", "unlimited": true, "used": "25.5"},
                {"currency": "USD", "kind": "prepaid", "of": "account",
                    "available": "74.75", "total": "100.5", "used": "25.75"}]),
        ),
        silent(
            "openrouter",
            "a key that both refuse",
            &[
                ("openrouter.ai", OR_KEY, 404, "{}"),
                ("openrouter.ai", OR_CREDITS, 403, OR_FORBIDDEN),
            ],
            "refused",
            "made for administration alone",
        ),
    ]
}

// docs.x.ai/docs/management-api/billing, "List prepaid credit balance and balance changes": cents as text, a
// purchase of ten dollars stands as -1000.
fn xai() -> Vec<Fixture> {
    const PREPAID: &str = "/v1/billing/teams/team-0123/prepaid/balance";
    vec![
        Fixture {
            team: Some("team-0123"),
            ..known(
                "xai",
                "money one has is negative, and in cents",
                &[(
                    "management-api.x.ai",
                    PREPAID,
                    200,
                    r#"{"changes":[{"teamId":"team-0123","changeOrigin":"PURCHASE","topupStatus":"SUCCEEDED","amount":{"val":"-1000"},"createTime":"2026-11-02T10:00:00Z"},
                        {"teamId":"team-0123","changeOrigin":"SPEND","topupStatus":null,"amount":{"val":"245"},"createTime":"2026-11-03T10:00:00Z"}],
                        "total":{"val":"-755"}}"#,
                )],
                json!([{"currency": "USD", "kind": "prepaid", "of": "account", "available": "7.55"}]),
            )
        },
        Fixture {
            team: Some("team-0123"),
            ..known(
                "xai",
                "a positive ledger is owed",
                &[(
                    "management-api.x.ai",
                    PREPAID,
                    200,
                    r#"{"changes":[],"total":{"val":"5"}}"#,
                )],
                json!([{"currency": "USD", "kind": "prepaid", "of": "account", "available": "-0.05"}]),
            )
        },
        Fixture {
            team: Some("team-0123"),
            ..silent(
                "xai",
                "an ordinary key is refused",
                &[(
                    "management-api.x.ai",
                    PREPAID,
                    401,
                    r#"{"code":16,"message":"Invalid bearer token.","details":[]}"#,
                )],
                "refused",
                "made for administration alone",
            )
        },
        silent(
            "xai",
            "without the team's id nothing is asked",
            &[],
            "unsupported",
            "--team",
        ),
    ]
}

// docs.fireworks.ai, GetBillingSummary; the shape as github.com/steipete/CodexBar docs/fireworks.md reads it:
// `units` and thousand-millionths in `nanos`.
fn fireworks() -> Vec<Fixture> {
    const SUMMARY: &str = "/v1/accounts/my-team/billing/summary?startTime=2026-11-01T00:00:00Z&endTime=2026-11-22T19:30:15Z";
    vec![
        Fixture {
            team: Some("my-team"),
            ..known(
                "fireworks",
                "what was spent, summed from units and nanos",
                &[(
                    "api.fireworks.ai",
                    SUMMARY,
                    200,
                    r#"{"lineItems":[
                        {"usageType":"TEXT_COMPLETION","totalCost":{"currencyCode":"USD","units":"12","nanos":340000000}},
                        {"usageType":"EMBEDDING","totalCost":{"currencyCode":"USD","nanos":1}},
                        {"usageType":"TRAINING","totalCost":{"currencyCode":"USD","units":"3"}}]}"#,
                )],
                json!([{"currency": "USD", "kind": "spend", "of": "account", "used": "15.340000001", "since": SINCE}]),
            )
        },
        Fixture {
            team: Some("my-team"),
            ..known(
                "fireworks",
                "nothing was spent yet",
                &[("api.fireworks.ai", SUMMARY, 200, r#"{"lineItems":[]}"#)],
                json!([]),
            )
        },
    ]
}

// docs.siliconflow.cn/cn/api-reference/userinfo/get-user-info.
fn siliconflow() -> Vec<Fixture> {
    const INFO: &str = "/v1/user/info";
    const BODY: &str = r#"{"code":20000,"message":"OK","status":true,"data":{"id":"userid","name":"username","image":"","email":"","isAdmin":false,
        "balance":"0.88","status":"normal","introduction":"","role":"","chargeBalance":"88.00","totalBalance":"88.88"}}"#;
    vec![
        known(
            "siliconflow",
            "decimal texts, yuan in China",
            &[("api.siliconflow.cn", INFO, 200, BODY)],
            json!([{"currency": "CNY", "kind": "prepaid", "of": "account",
                "available": "88.88", "granted": "0.88", "topped_up": "88.00"}]),
        ),
        Fixture {
            base_url: Some("https://api.siliconflow.com/v1"),
            ..known(
                "siliconflow",
                "dollars elsewhere",
                &[("api.siliconflow.com", INFO, 200, BODY)],
                json!([{"currency": "USD", "kind": "prepaid", "of": "account",
                    "available": "88.88", "granted": "0.88", "topped_up": "88.00"}]),
            )
        },
        silent(
            "siliconflow",
            "another code inside is a failure",
            &[(
                "api.siliconflow.cn",
                INFO,
                200,
                r#"{"code":50000,"message":"Service discontinued","status":false,"data":{"balance":"0","chargeBalance":"0","totalBalance":"0"}}"#,
            )],
            "unreachable",
            "says inside its answer",
        ),
        silent(
            "siliconflow",
            "an address that stopped",
            &[],
            "unsupported",
            "no balance at this address (HTTP 404)",
        ),
    ]
}

// platform.stepfun.com/docs/zh/api-reference/accounts/get, platform.stepfun.ai/docs/en/api-reference/accounts/get.
fn stepfun() -> Vec<Fixture> {
    const BODY: &str = r#"{"object":"account","type":"prepaid","balance":12.30,"total_cash_balance":100.00,"total_voucher_balance":26.00}"#;
    vec![
        known(
            "stepfun",
            "what is left, not what ever came in",
            &[("api.stepfun.com", "/v1/accounts", 200, BODY)],
            json!([{"currency": "CNY", "kind": "prepaid", "of": "account", "available": "12.30"}]),
        ),
        Fixture {
            base_url: Some("https://api.stepfun.ai/v1"),
            ..known(
                "stepfun",
                "elsewhere the documents name no currency",
                &[("api.stepfun.ai", "/v1/accounts", 200, BODY)],
                json!([{"kind": "prepaid", "of": "account", "available": "12.30"}]),
            )
        },
        silent(
            "stepfun",
            "an answer of somebody else",
            &[(
                "api.stepfun.com",
                "/v1/accounts",
                200,
                r#"{"object":"list","balance":1}"#,
            )],
            "unreachable",
            "says inside its answer",
        ),
    ]
}

// docs.deepinfra.com/api-reference/get-checklist: "Negative value indicates funds ready-to-spend".
fn deepinfra() -> Vec<Fixture> {
    const CHECKLIST: &str = "/payment/checklist?compute_owed=true";
    vec![
        known(
            "deepinfra",
            "prepaid money is negative",
            &[(
                "api.deepinfra.com",
                CHECKLIST,
                200,
                r#"{"stripe_balance":-17.25,"recent":2.125,"limit":20.0,"suspend_reason":null,"email":true,"billing_address":false,"payment_method":true,"suspended":false,"overdue_invoices":0,"topup":false}"#,
            )],
            json!([{"currency": "USD", "kind": "prepaid", "of": "account",
                "available": "17.25", "used": "2.125", "total": "20.0"}]),
        ),
        known(
            "deepinfra",
            "a positive balance is owed, and there may be no limit",
            &[(
                "api.deepinfra.com",
                CHECKLIST,
                200,
                r#"{"stripe_balance":3.5,"recent":0,"limit":null,"suspend_reason":"balance","suspended":true}"#,
            )],
            json!([{"currency": "USD", "kind": "prepaid", "of": "account", "available": "-3.5", "used": "0"}]),
        ),
    ]
}

// github.com/songquanpeng/one-api controller/billing.go: the subscription in dollars, the usage in hundredths.
fn lmstudio() -> Vec<Fixture> {
    const SUBSCRIPTION: &str = "/v1/dashboard/billing/subscription";
    const USAGE: &str = "/v1/dashboard/billing/usage?start_date=2026-11-01&end_date=2026-11-22";
    const USED: &str = r#"{"object":"list","total_usage":250.5}"#;
    vec![
        known(
            "lmstudio",
            "a gateway of the one-api family",
            &[
                (
                    "127.0.0.1:1234",
                    SUBSCRIPTION,
                    200,
                    r#"{"object":"billing_subscription","has_payment_method":true,"soft_limit_usd":10,"hard_limit_usd":10,"system_hard_limit_usd":10,"access_until":0}"#,
                ),
                ("127.0.0.1:1234", USAGE, 200, USED),
            ],
            json!([{"currency": "USD", "kind": "prepaid", "of": "key",
                "available": "7.495", "total": "10", "used": "2.505"}]),
        ),
        known(
            "lmstudio",
            "a token without limit",
            &[
                (
                    "127.0.0.1:1234",
                    SUBSCRIPTION,
                    200,
                    r#"{"object":"billing_subscription","has_payment_method":true,"hard_limit_usd":100000000,"access_until":0}"#,
                ),
                ("127.0.0.1:1234", USAGE, 200, USED),
            ],
            json!([{"currency": "USD", "kind": "prepaid", "of": "key", "unlimited": true, "used": "2.505"}]),
        ),
        Fixture {
            says: "in part",
            ..known(
                "lmstudio",
                "a usage that is not one leaves what is left unknown",
                &[
                    (
                        "127.0.0.1:1234",
                        SUBSCRIPTION,
                        200,
                        r#"{"object":"billing_subscription","hard_limit_usd":10}"#,
                    ),
                    (
                        "127.0.0.1:1234",
                        USAGE,
                        200,
                        r#"{"error":{"message":"database is locked","type":"one_api_error"},"total_usage":1}"#,
                    ),
                ],
                json!([{"currency": "USD", "kind": "prepaid", "of": "key", "total": "10"}]),
            )
        },
        silent(
            "lmstudio",
            "a local server has no such thing",
            &[(
                "127.0.0.1:1234",
                SUBSCRIPTION,
                200,
                r#"{"error":"Unexpected endpoint or method. (GET /v1/dashboard/billing/subscription)","hard_limit_usd":10}"#,
            )],
            "unreachable",
            "says inside its answer",
        ),
    ]
}

// elevenlabs.io/docs/api-reference/user/subscription/get.
fn elevenlabs() -> Vec<Fixture> {
    vec![Fixture {
        auth: ("xi-api-key", "KEY"),
        ..known(
            "elevenlabs",
            "characters, not money",
            &[(
                "api.elevenlabs.io",
                "/v1/user/subscription",
                200,
                r#"{"tier":"creator","character_count":17231,"character_limit":100000,"max_character_limit_extension":10000,"can_extend_character_limit":true,"next_character_count_reset_unix":1795000000,"voice_limit":30,"currency":"usd","status":"active"}"#,
            )],
            json!([{"currency": "characters", "kind": "quota", "of": "plan",
                "available": "82769", "total": "100000", "used": "17231"}]),
        )
    }]
}

// docs.tavily.com/documentation/api-reference/endpoint/usage.
fn tavily() -> Vec<Fixture> {
    vec![
        known(
            "tavily",
            "the plan's credits and the key's limit",
            &[(
                "api.tavily.com",
                "/usage",
                200,
                r#"{"key":{"usage":150,"limit":1000},"account":{"current_plan":"Bootstrap","plan_usage":500,"plan_limit":15000,"paygo_usage":25,"paygo_limit":100}}"#,
            )],
            json!([
                {"currency": "credits", "kind": "quota", "of": "plan",
                    "available": "14500", "total": "15000", "used": "500"},
                {"currency": "credits", "kind": "quota", "of": "key",
                    "available": "850", "total": "1000", "used": "150"}]),
        ),
        known(
            "tavily",
            "no limits",
            &[(
                "api.tavily.com",
                "/usage",
                200,
                r#"{"key":{"usage":150,"limit":null},"account":{"current_plan":"Enterprise","plan_usage":500,"plan_limit":null}}"#,
            )],
            json!([
                {"currency": "credits", "kind": "quota", "of": "plan", "unlimited": true, "used": "500"},
                {"currency": "credits", "kind": "quota", "of": "key", "unlimited": true, "used": "150"}]),
        ),
    ]
}

// novita.ai/docs/api-reference/basic-get-user-balance: texts in 1/10000 USD.
fn novita() -> Vec<Fixture> {
    vec![known(
        "novita",
        "ten-thousandths of a dollar",
        &[(
            "api.novita.ai",
            "/v3/user/balance",
            200,
            r#"{"availableBalance":"1000007","cashBalance":"800007","creditLimit":"200000","pendingCharges":"0","outstandingInvoices":"15"}"#,
        )],
        json!([{"currency": "USD", "kind": "prepaid", "of": "account", "available": "100.0007",
            "topped_up": "80.0007", "credit": "20.0000", "owed": "0.0015"}]),
    )]
}

// docs.venice.ai/api-reference/endpoint/billing/balance; the capitals: CodexBar 27c7f33, docs/venice.md.
fn venice() -> Vec<Fixture> {
    const BALANCE: &str = "/api/v1/billing/balance";
    vec![
        known(
            "venice",
            "two currencies",
            &[(
                "api.venice.ai",
                BALANCE,
                200,
                r#"{"canConsume":true,"consumptionCurrency":"DIEM","balances":{"diem":90.5,"usd":25},"diemEpochAllocation":100}"#,
            )],
            json!([
                {"currency": "USD", "kind": "prepaid", "of": "account", "available": "25"},
                {"currency": "DIEM", "kind": "quota", "of": "account", "available": "90.5", "total": "100"}]),
        ),
        known(
            "venice",
            "two currencies, in capitals",
            &[(
                "api.venice.ai",
                BALANCE,
                200,
                r#"{"canConsume":true,"consumptionCurrency":"DIEM","balances":{"DIEM":90.5,"USD":25},"diemEpochAllocation":100}"#,
            )],
            json!([
                {"currency": "USD", "kind": "prepaid", "of": "account", "available": "25"},
                {"currency": "DIEM", "kind": "quota", "of": "account", "available": "90.5", "total": "100"}]),
        ),
        known(
            "venice",
            "an answer in both spellings is counted once",
            &[(
                "api.venice.ai",
                BALANCE,
                200,
                r#"{"canConsume":true,"consumptionCurrency":"USD","balances":{"DIEM":1,"USD":2,"diem":1,"usd":2}}"#,
            )],
            json!([
                {"currency": "USD", "kind": "prepaid", "of": "account", "available": "2"},
                {"currency": "DIEM", "kind": "quota", "of": "account", "available": "1"}]),
        ),
        known(
            "venice",
            "one of them",
            &[(
                "api.venice.ai",
                BALANCE,
                200,
                r#"{"canConsume":true,"consumptionCurrency":"USD","balances":{"usd":0.05}}"#,
            )],
            json!([{"currency": "USD", "kind": "prepaid", "of": "account", "available": "0.05"}]),
        ),
        known(
            "venice",
            "the other one",
            &[(
                "api.venice.ai",
                BALANCE,
                200,
                r#"{"canConsume":true,"consumptionCurrency":"DIEM","balances":{"diem":1,"usd":null},"diemEpochAllocation":2}"#,
            )],
            json!([{"currency": "DIEM", "kind": "quota", "of": "account", "available": "1", "total": "2"}]),
        ),
        silent(
            "venice",
            "a key that is refused",
            &[(
                "api.venice.ai",
                BALANCE,
                401,
                r#"{"error":"Authentication failed"}"#,
            )],
            "refused",
            "refuses the key, or does not tell it the balance",
        ),
    ]
}

// creator.poe.com/api-reference/getCurrentBalance.
fn poe() -> Vec<Fixture> {
    vec![known(
        "poe",
        "points",
        &[(
            "api.poe.com",
            "/usage/current_balance",
            200,
            r#"{"current_point_balance":1234567}"#,
        )],
        json!([{"currency": "points", "kind": "prepaid", "of": "account", "available": "1234567"}]),
    )]
}
