//! What the providers answer, written by hand from their documents; never made from the catalogue.
//!
//! One server plays them all, each below its own path (`/openai/v1`, `/anthropic`, `/gemini/v1beta`,
//! `/deepseek`, …). A key says by its last part how it is treated: `sk-anything-valid`,
//! `sk-anything-invalid`, `sk-anything-ratelimited`. A key without such a part is invalid.

use super::provider_server::{Received, Reply};

/// How the provider treats a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Accepted.
    Valid,
    /// Refused.
    Invalid,
    /// Accepted, without the permission to list models.
    Restricted,
    /// Not allowed from here.
    Forbidden,
    /// Nothing left to spend.
    NoCredit,
    /// Too many requests.
    RateLimited,
    /// The provider's own trouble.
    Broken,
}

impl Mood {
    /// What a key asks for by its last part.
    pub(crate) fn of(key: &str) -> Mood {
        match key.rsplit('-').next() {
            Some("valid") => Mood::Valid,
            Some("restricted") => Mood::Restricted,
            Some("forbidden") => Mood::Forbidden,
            Some("nocredit") => Mood::NoCredit,
            Some("ratelimited") => Mood::RateLimited,
            Some("broken") => Mood::Broken,
            _ => Mood::Invalid,
        }
    }
}

/// Answers a request as the provider below whose path it came.
pub(crate) fn play(request: &Received) -> Reply {
    let (provider, path) = request
        .path
        .strip_prefix('/')
        .and_then(|path| path.split_once('/'))
        .unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let bearer = request
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    let get = request.method == "GET";
    match (provider, path) {
        ("openai", "v1/models") if get => openai(bearer),
        ("openai", "v1/chat/completions") if !get => openai_chat(bearer),
        ("anthropic", "v1/models") if get => anthropic(request),
        ("gemini", "v1beta/models") if get => gemini(request.header("x-goog-api-key")),
        ("deepseek", "user/balance") if get => deepseek(bearer),
        ("zhipu", "api/paas/v4/models") if get => zhipu(bearer),
        ("minimax", "v1/models") if get => minimax(bearer),
        ("alibaba", "compatible-mode/v1/models") if get => alibaba(bearer),
        ("moonshot", "v1/users/me/balance") if get => moonshot(bearer),
        ("elevenlabs", "v1/user") if get => elevenlabs(request.header("xi-api-key")),
        ("xai", "v1/api-key") if get => xai(bearer),
        // Below no path of its own: only the origin of this test is replaced.
        ("v1", "check-api-key") if !get => cohere(bearer),
        ("gateway", "v1/models") if get => Reply::json(200, OPENAI_MODELS),
        _ => Reply::json(
            404,
            r#"{"error":{"message":"Invalid URL","type":"invalid_request_error","param":null,"code":null}}"#,
        ),
    }
}

// platform.openai.com/docs/api-reference/models/list
const OPENAI_MODELS: &str = r#"{"object":"list","data":[
  {"id":"gpt-4o","object":"model","created":1715367049,"owned_by":"system"},
  {"id":"gpt-4o-mini","object":"model","created":1721172741,"owned_by":"system"}]}"#;

// Errors: platform.openai.com/docs/guides/error-codes; the refusal for a missing scope as reported in
// community.openai.com/t/1345041.
fn openai(key: Option<&str>) -> Reply {
    let reply = match key.map(Mood::of) {
        None => Reply::json(
            401,
            r#"{"error":{"message":"You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).","type":"invalid_request_error","param":null,"code":null}}"#,
        ),
        Some(Mood::Valid) => Reply::json(200, OPENAI_MODELS),
        Some(Mood::Invalid) => {
            // It shows the key's ends.
            let key = key.unwrap_or_default();
            let shown = key.get(key.len().saturating_sub(4)..).unwrap_or_default();
            Reply::json(
                401,
                &format!(
                    r#"{{"error":{{"message":"Incorrect API key provided: sk-***{}. You can find your API key at https://platform.openai.com/account/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}}}"#,
                    shown.replace(['"', '\\'], "*")
                ),
            )
        }
        Some(Mood::Restricted) => Reply::json(
            403,
            r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.model.read. Check that you have the correct role in your organization (Reader, Writer, Owner) and project (Member, Owner), and if you're using a restricted API key, that it has the necessary scopes.","type":"invalid_request_error","param":null,"code":null}}"#,
        ),
        Some(Mood::Forbidden) => Reply::json(
            403,
            r#"{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}"#,
        ),
        Some(Mood::NoCredit) => Reply::json(
            429,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        ),
        Some(Mood::RateLimited) => Reply::json(
            429,
            r#"{"error":{"message":"Rate limit reached for requests. Limit: 3 / min. Please try again in 20s.","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
        )
        .with("retry-after", "20")
        .with("x-ratelimit-remaining-requests", "0"),
        Some(Mood::Broken) => Reply::json(
            500,
            r#"{"error":{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error","param":null,"code":null}}"#,
        ),
    };
    reply
        .with("openai-version", "2020-10-01")
        .with("x-request-id", "req_played")
}

// platform.openai.com/docs/api-reference/chat/object
fn openai_chat(key: Option<&str>) -> Reply {
    match key.map(Mood::of) {
        Some(Mood::Valid | Mood::Restricted) => Reply::json(
            200,
            r#"{"id":"chatcmpl-played","object":"chat.completion","created":1741569952,"model":"gpt-4o-mini",
  "choices":[{"index":0,"message":{"role":"assistant","content":"Hello from the other side.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],
  "usage":{"prompt_tokens":9,"completion_tokens":6,"total_tokens":15}}"#,
        ),
        _ => openai(key),
    }
}

// docs.claude.com/en/api/models-list and docs.claude.com/en/api/errors
fn anthropic(request: &Received) -> Reply {
    let error = |status, kind: &str, message: &str| {
        Reply::json(
            status,
            &format!(
                r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}},"request_id":"req_played"}}"#
            ),
        )
    };
    if request.header("anthropic-version").is_none() {
        return error(
            400,
            "invalid_request_error",
            "anthropic-version: header is required",
        );
    }
    let key = request.header("x-api-key");
    let reply = match key.map(Mood::of) {
        None => error(401, "authentication_error", "x-api-key header is required"),
        Some(Mood::Valid) => Reply::json(
            200,
            r#"{"data":[{"type":"model","id":"claude-opus-4-1-20250805","display_name":"Claude Opus 4.1","created_at":"2025-08-05T00:00:00Z"}],"has_more":true,"first_id":"claude-opus-4-1-20250805","last_id":"claude-opus-4-1-20250805"}"#,
        ),
        Some(Mood::Invalid) => error(401, "authentication_error", "invalid x-api-key"),
        Some(Mood::Restricted | Mood::Forbidden) => error(
            403,
            "permission_error",
            "Your API key does not have permission to use the specified resource.",
        ),
        Some(Mood::NoCredit) => error(
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
        ),
        Some(Mood::RateLimited) => error(
            429,
            "rate_limit_error",
            "This request would exceed the rate limit for your organization.",
        )
        .with("retry-after", "30"),
        Some(Mood::Broken) => error(529, "overloaded_error", "Overloaded"),
    };
    reply.with("request-id", "req_played")
}

// ai.google.dev/api/models and ai.google.dev/gemini-api/docs/troubleshooting; the details of a bad key
// as Google's error model gives them (google.rpc.ErrorInfo).
fn gemini(key: Option<&str>) -> Reply {
    let error = |code: u16, status: &str, message: &str, details: &str| {
        Reply::json(
            code,
            &format!(
                r#"{{"error":{{"code":{code},"message":"{message}","status":"{status}"{details}}}}}"#
            ),
        )
    };
    match key.map(Mood::of) {
        None => error(
            403,
            "PERMISSION_DENIED",
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.",
            "",
        ),
        Some(Mood::Valid) => Reply::json(
            200,
            r#"{"models":[{"name":"models/gemini-2.5-flash","version":"001","displayName":"Gemini 2.5 Flash","inputTokenLimit":1048576,"outputTokenLimit":65536,"supportedGenerationMethods":["generateContent","countTokens"]}],"nextPageToken":"Chht"}"#,
        ),
        Some(Mood::Invalid) => error(
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            r#","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com","metadata":{"service":"generativelanguage.googleapis.com"}},{"@type":"type.googleapis.com/google.rpc.LocalizedMessage","locale":"en-US","message":"API key not valid. Please pass a valid API key."}]"#,
        ),
        Some(Mood::Restricted) => error(
            403,
            "PERMISSION_DENIED",
            "Requests to this API generativelanguage.googleapis.com method google.ai.generativelanguage.v1beta.ModelService.ListModels are blocked.",
            r#","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_SERVICE_BLOCKED","domain":"googleapis.com"}]"#,
        ),
        Some(Mood::Forbidden) => error(
            400,
            "FAILED_PRECONDITION",
            "User location is not supported for the API use.",
            "",
        ),
        Some(Mood::NoCredit) => error(
            402,
            "RESOURCE_EXHAUSTED",
            "Your prepayment credits are depleted.",
            "",
        ),
        Some(Mood::RateLimited) => error(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details.",
            r#","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"generativelanguage.googleapis.com/generate_requests"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"37s"}]"#,
        ),
        Some(Mood::Broken) => error(
            503,
            "UNAVAILABLE",
            "The model is overloaded. Please try again later.",
            "",
        ),
    }
}

// api-docs.deepseek.com/api/get-user-balance and api-docs.deepseek.com/quick_start/error_codes
fn deepseek(key: Option<&str>) -> Reply {
    let error = |status, kind: &str, message: &str| {
        Reply::json(
            status,
            &format!(
                r#"{{"error":{{"message":"{message}","type":"{kind}","param":null,"code":"invalid_request_error"}}}}"#
            ),
        )
    };
    let balance = |available: bool, total: &str| {
        Reply::json(
            200,
            &format!(
                r#"{{"is_available":{available},"balance_infos":[{{"currency":"CNY","total_balance":"{total}","granted_balance":"0.00","topped_up_balance":"{total}"}}]}}"#
            ),
        )
    };
    match key.map(Mood::of) {
        None | Some(Mood::Invalid) => error(
            401,
            "authentication_error",
            "Authentication Fails, Your api key: ****alid is invalid",
        ),
        Some(Mood::Valid) => balance(true, "110.00"),
        Some(Mood::NoCredit) => balance(false, "0.00"),
        Some(Mood::Restricted | Mood::Forbidden) => {
            error(403, "permission_error", "Permission denied")
        }
        Some(Mood::RateLimited) => error(429, "rate_limit_error", "Rate Limit Reached"),
        Some(Mood::Broken) => error(503, "server_error", "Server Overloaded"),
    }
}

// docs.bigmodel.cn/cn/api/api-code; the text of 1113 as in langgenius/dify#5850
fn zhipu(key: Option<&str>) -> Reply {
    let error = |status, code: &str, message: &str| {
        Reply::json(
            status,
            &format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#),
        )
    };
    match key.map(Mood::of) {
        None => error(
            401,
            "1001",
            "Header中未收到Authorization参数，无法进行身份验证。",
        ),
        Some(Mood::Invalid) => error(401, "1000", "身份验证失败。"),
        Some(Mood::Valid) => Reply::json(
            200,
            r#"{"object":"list","data":[{"id":"glm-4.6","object":"model","created":1759190400,"owned_by":"z-ai"}]}"#,
        ),
        Some(Mood::Restricted | Mood::Forbidden) => error(403, "1220", "您无权访问models。"),
        Some(Mood::NoCredit) => error(429, "1113", "您的账户已欠费，请充值后重试。"),
        Some(Mood::RateLimited) => error(
            429,
            "1302",
            "您当前使用该API的并发数过高，请降低并发，或联系客服增加限额。",
        ),
        // A success by its status, a failure by its content.
        Some(Mood::Broken) => Reply::json(200, r#"{"code":500,"msg":"系统异常","success":false}"#),
    }
}

// platform.minimaxi.com/document/error: native failures come with HTTP 200
fn minimax(key: Option<&str>) -> Reply {
    let in_band = |code: u32, message: &str| {
        Reply::json(
            200,
            &format!(r#"{{"base_resp":{{"status_code":{code},"status_msg":"{message}"}}}}"#),
        )
    };
    match key.map(Mood::of) {
        None | Some(Mood::Invalid) => in_band(
            1004,
            "login fail: Please carry the API secret key in the 'Authorization' field of the request header",
        ),
        Some(Mood::Valid) => Reply::json(
            200,
            r#"{"object":"list","data":[{"id":"MiniMax-M2","object":"model","created":1761523200,"owned_by":"minimax"}]}"#,
        ),
        Some(Mood::NoCredit) => in_band(1008, "insufficient balance"),
        Some(Mood::RateLimited) => in_band(1002, "rate limit triggered"),
        Some(Mood::Restricted | Mood::Forbidden) => Reply::json(
            403,
            r#"{"type":"error","error":{"type":"forbidden","message":"forbidden"}}"#,
        ),
        Some(Mood::Broken) => in_band(1013, "unknown error"),
    }
}

// help.aliyun.com/zh/model-studio/error-code
fn alibaba(key: Option<&str>) -> Reply {
    let error = |status, code: &str, kind: &str, message: &str| {
        Reply::json(
            status,
            &format!(
                r#"{{"error":{{"message":"{message}","type":"{kind}","param":null,"code":"{code}"}},"request_id":"played"}}"#
            ),
        )
    };
    match key.map(Mood::of) {
        None | Some(Mood::Invalid) => error(
            401,
            "invalid_api_key",
            "invalid_request_error",
            "Incorrect API key provided. ",
        ),
        Some(Mood::Valid) => Reply::json(
            200,
            r#"{"object":"list","data":[{"id":"qwen-plus","object":"model","created":1728632105,"owned_by":"system"}]}"#,
        ),
        Some(Mood::NoCredit) => error(
            400,
            "Arrearage",
            "Arrearage",
            "Access denied, please make sure your account is in good standing.",
        ),
        Some(Mood::RateLimited) => error(
            429,
            "limit_requests",
            "limit_requests",
            "You exceeded your current request limit.",
        ),
        Some(Mood::Restricted | Mood::Forbidden) => {
            error(403, "access_denied", "access_denied", "Access denied.")
        }
        Some(Mood::Broken) => error(
            500,
            "internal_error",
            "internal_error",
            "An internal error has occured.",
        ),
    }
}

// platform.moonshot.cn/docs/api/balance and platform.moonshot.cn/docs/api/errors
fn moonshot(key: Option<&str>) -> Reply {
    let error = |status, kind: &str, message: &str| {
        Reply::json(
            status,
            &format!(r#"{{"error":{{"message":"{message}","type":"{kind}"}}}}"#),
        )
    };
    match key.map(Mood::of) {
        None | Some(Mood::Invalid) => error(
            401,
            "invalid_authentication_error",
            "Invalid Authentication",
        ),
        Some(Mood::Valid) => Reply::json(
            200,
            r#"{"code":0,"data":{"available_balance":49.58894,"voucher_balance":46.58893,"cash_balance":3.00001},"scode":"0x0","status":true}"#,
        ),
        Some(Mood::NoCredit) => error(
            429,
            "exceeded_current_quota_error",
            "Your account is not active, current state: suspended, please check your plan and billing details",
        ),
        Some(Mood::RateLimited) => error(
            429,
            "rate_limit_reached_error",
            "Your account reached max request, please try again after 1 seconds",
        ),
        Some(Mood::Restricted | Mood::Forbidden) => error(
            403,
            "permission_denied_error",
            "The API you are accessing is not open",
        ),
        Some(Mood::Broken) => Reply::json(
            200,
            r#"{"code":5,"data":null,"scode":"0x5","status":false}"#,
        ),
    }
}

// elevenlabs.io/docs/api-reference/user/get and its error page
fn elevenlabs(key: Option<&str>) -> Reply {
    let error = |status, kind: &str, message: &str| {
        Reply::json(
            status,
            &format!(r#"{{"detail":{{"status":"{kind}","message":"{message}"}}}}"#),
        )
    };
    match key.map(Mood::of) {
        Some(Mood::Valid) => Reply::json(
            200,
            r#"{"user_id":"played","subscription":{"tier":"free","character_count":17,"character_limit":10000},"is_new_user":false}"#,
        ),
        Some(Mood::Restricted) => error(
            401,
            "missing_permissions",
            "The API key you used is missing the permission user_read to execute this operation.",
        ),
        Some(Mood::RateLimited) => error(429, "too_many_concurrent_requests", "Too many"),
        _ => error(401, "invalid_api_key", "Invalid API key"),
    }
}

// docs.x.ai/docs/api-reference, GET /v1/api-key
fn xai(key: Option<&str>) -> Reply {
    let info = |blocked: bool| {
        Reply::json(
            200,
            &format!(
                r#"{{"redacted_api_key":"xai-...b14o","user_id":"played","name":"My API Key","create_time":"2024-01-01T12:55:18.139305Z","acls":["api-key:model:*","api-key:endpoint:*"],"team_blocked":false,"api_key_blocked":{blocked},"api_key_disabled":false}}"#
            ),
        )
    };
    match key.map(Mood::of) {
        Some(Mood::Valid) => info(false),
        Some(Mood::Forbidden) => info(true),
        _ => Reply::json(
            400,
            r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***id. You can obtain an API key from https://console.x.ai."}"#,
        ),
    }
}

// docs.cohere.com: POST /v1/check-api-key
fn cohere(key: Option<&str>) -> Reply {
    match key.map(Mood::of) {
        Some(Mood::Valid) => Reply::json(
            200,
            r#"{"valid":true,"organization_id":"played","owner_id":"played"}"#,
        ),
        Some(Mood::Restricted) => Reply::json(200, r#"{"valid":false}"#),
        _ => Reply::json(401, r#"{"message":"invalid api token"}"#),
    }
}
