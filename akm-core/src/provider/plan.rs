//! The request of a connection test: from a record and a `base_url` to one address, or the reason why
//! there is none.
//!
//! Invariants: the address is read by the same strict parser as a typed one, so what is compared with
//! the sealed destinations is what is connected to; a part that only the owner knows is never guessed.

use super::address::BaseUrl;
use super::rules::Method;
use super::schema::{Provider, placeholders};

/// Where to send a test, and what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Scheme, host, port and path.
    pub(super) address: BaseUrl,
    /// What follows the `?`.
    pub(super) query: Option<String>,
    /// The method.
    pub(super) method: Method,
    /// The header that carries the key.
    pub(super) header: String,
}

impl Plan {
    /// The whole address as it is requested.
    pub(super) fn url(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.address),
            None => self.address.to_string(),
        }
    }
}

/// Plans the test of a key; the error is a sentence for its owner.
pub(super) fn plan(record: &Provider, base_url: Option<&BaseUrl>) -> Result<Plan, &'static str> {
    let header = header(record)?;
    let (address, query) = locate(record, &record.test.url, base_url)?;
    Ok(Plan {
        address,
        query,
        method: record.test.method,
        header: header.to_owned(),
    })
}

/// The header that carries a key of this provider.
pub(super) fn header(record: &Provider) -> Result<&str, &'static str> {
    record
        .auth
        .header()
        .ok_or("this provider takes keys in the address, where they would be logged")
}

/// Where a request of a record goes: its address and what follows the `?`.
pub(super) fn locate(
    record: &Provider,
    template: &str,
    base_url: Option<&BaseUrl>,
) -> Result<(BaseUrl, Option<String>), &'static str> {
    const OWNER: &str = "the address is known to the owner of the key alone: give its base_url";
    let (template, query) = match template.split_once('?') {
        Some((template, query)) => (template, Some(query.to_owned())),
        None => (template, None),
    };
    let home = || match base_url {
        Some(base_url) => Ok(base_url.to_string()),
        None => record
            .endpoints
            .first()
            .map(|default| default.base_url.clone())
            .ok_or(OWNER),
    };
    let text = if let Some(path) = template.strip_prefix("{base_url}") {
        format!("{}{path}", home()?)
    } else if let Some(path) = template.strip_prefix("{origin}") {
        let home = BaseUrl::read(&home()?).map_err(|_| OWNER)?;
        format!("{}{path}", home.origin())
    } else {
        match base_url {
            Some(base_url) => rebase(record, template, base_url),
            None => template.to_owned(),
        }
    };
    let (found, _) = placeholders(&text)?;
    if !found.is_empty() {
        return Err(OWNER);
    }
    let address = BaseUrl::read(&text).map_err(|refusal| refusal.message())?;
    Ok((address, query))
}

/// A request's address below a `base_url`: the longest endpoint it starts with is replaced, else its origin.
fn rebase(record: &Provider, template: &str, base_url: &BaseUrl) -> String {
    let rest = record
        .endpoints
        .iter()
        .flat_map(|endpoint| std::iter::once(&endpoint.base_url).chain(&endpoint.also))
        .filter_map(|endpoint| template.strip_prefix(endpoint.as_str()))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .min_by_key(|rest| rest.len());
    match rest {
        Some(rest) => format!("{base_url}{rest}"),
        None => {
            let after = template
                .split_once("://")
                .map_or(template, |(_, rest)| rest);
            let path = after.find('/').map_or("", |slash| &after[slash..]);
            format!("{}{path}", base_url.origin())
        }
    }
}

/// The endpoint of another region that a key may belong to which is refused where it was tried: at home, or at the
/// endpoint that its owner chose. None at an address of somebody else's: which region a gateway is for is not known.
pub(super) fn other_region<'a>(
    record: &'a Provider,
    base_url: Option<&BaseUrl>,
) -> Option<&'a str> {
    let tried = match base_url.map(BaseUrl::to_string) {
        None => record.endpoints.first()?,
        Some(given) => record.endpoints.iter().find(|own| own.base_url == given)?,
    };
    record
        .endpoints
        .iter()
        .find(|other| {
            other.region != tried.region
                && other.protocol == tried.protocol
                && other.plan.is_none()
                && !other.legacy
                && placeholders(&other.base_url).is_ok_and(|(found, _)| found.is_empty())
        })
        .map(|other| other.base_url.as_str())
}

/// The addresses of a provider that a key may belong to, one for each region.
pub(super) fn regions(record: &Provider) -> Vec<&str> {
    let home = record
        .endpoints
        .first()
        .map(|first| first.base_url.as_str());
    home.into_iter().chain(other_region(record, None)).collect()
}

/// Whether a test's address is that of the models list, so that its answer is the list.
pub(super) fn lists_models(record: &Provider) -> bool {
    record.test.method == Method::Get
        && record
            .models_list
            .as_ref()
            .is_some_and(|list| list.url == record.test.url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Catalogue;

    fn planned(id: &str, base_url: Option<&str>) -> Result<String, &'static str> {
        let record = Catalogue::builtin().provider(id).unwrap();
        let base_url = base_url.map(|text| BaseUrl::read(text).unwrap());
        plan(record, base_url.as_ref()).map(|plan| plan.url())
    }

    #[test]
    fn without_a_base_url_the_record_decides() {
        for (id, url) in [
            ("openai", "https://api.openai.com/v1/models"),
            ("anthropic", "https://api.anthropic.com/v1/models?limit=1"),
            (
                "google",
                "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1",
            ),
            ("moonshot", "https://api.moonshot.cn/v1/users/me/balance"),
            ("ollama", "http://127.0.0.1:11434/api/tags"),
        ] {
            assert_eq!(planned(id, None).unwrap(), url);
        }
        for id in ["azure-openai", "bedrock"] {
            assert!(planned(id, None).unwrap_err().contains("base_url"), "{id}");
        }
        assert!(plan(Catalogue::builtin().unlisted(), None).is_err());
        // Every other record has a test that can be sent.
        for record in Catalogue::builtin().providers() {
            let needs_owner = ["azure-openai", "bedrock"].contains(&record.id.as_str());
            assert_eq!(plan(record, None).is_err(), needs_owner, "{}", record.id);
        }
    }

    #[test]
    fn a_base_url_replaces_the_longest_endpoint_else_the_origin() {
        let gateway = "https://gw.example.com/x";
        for (id, url) in [
            ("openai", "https://gw.example.com/x/models"),
            ("anthropic", "https://gw.example.com/x/v1/models?limit=1"),
            ("google", "https://gw.example.com/x/models?pageSize=1"),
            ("deepseek", "https://gw.example.com/x/user/balance"),
            ("moonshot", "https://gw.example.com/x/users/me/balance"),
            ("ollama", "https://gw.example.com/x/tags"),
            // Two endpoints are a part of the test's address: the longer is replaced.
            ("kimi-coding", "https://gw.example.com/x/usages"),
            (
                "vercel-ai-gateway",
                "https://gw.example.com/x/chat/completions",
            ),
            // No endpoint is a part of the test's address: its origin is replaced, path for path.
            ("huggingface", "https://gw.example.com/api/whoami-v2"),
            ("cohere", "https://gw.example.com/v1/check-api-key"),
            ("novita", "https://gw.example.com/v3/user/balance"),
        ] {
            assert_eq!(planned(id, Some(gateway)).unwrap(), url, "{id}");
        }
        assert_eq!(
            planned(
                "azure-openai",
                Some("https://mine.openai.azure.com/openai/v1")
            )
            .unwrap(),
            "https://mine.openai.azure.com/openai/models?api-version=2024-10-21"
        );
        assert_eq!(
            planned("openai", Some("http://127.0.0.1:8080")).unwrap(),
            "http://127.0.0.1:8080/models"
        );
        let unlisted = Catalogue::builtin().unlisted();
        let there = BaseUrl::read(gateway).unwrap();
        assert_eq!(
            plan(unlisted, Some(&there)).unwrap().url(),
            "https://gw.example.com/x/models"
        );
        // Every record can be tested below a base_url.
        for record in Catalogue::builtin().providers() {
            let plan = plan(record, Some(&there)).unwrap();
            assert_eq!(
                plan.address.origin(),
                "https://gw.example.com:443",
                "{}",
                record.id
            );
        }
    }

    #[test]
    fn a_region_bound_record_names_another_region() {
        for record in Catalogue::builtin().providers() {
            if record.test.region_bound {
                assert!(other_region(record, None).is_some(), "{}", record.id);
            }
        }
        let alibaba = Catalogue::builtin().provider("alibaba").unwrap();
        assert_eq!(
            other_region(alibaba, None),
            Some("https://dashscope-intl.aliyuncs.com/compatible-mode/v1")
        );
        // Refused abroad, it may be of home; refused by a gateway, nobody knows.
        let at = |text: &str| BaseUrl::read(text).unwrap();
        let abroad = at("https://dashscope-intl.aliyuncs.com/compatible-mode/v1");
        assert_eq!(
            other_region(alibaba, Some(&abroad)),
            Some("https://dashscope.aliyuncs.com/compatible-mode/v1")
        );
        assert_eq!(
            other_region(alibaba, Some(&at("https://gw.example.com/v1"))),
            None
        );
    }
}
