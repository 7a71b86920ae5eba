//! The check of a catalogue beyond what its types say: addresses, names, rules that could never fit.
//!
//! Invariants: a problem names record and field; what passes is canonical, so that the engine compares
//! texts. The build script runs this check over the built-in catalogue.

use std::collections::BTreeSet;
use std::fmt;

use super::address::{BaseUrl, Host};
use super::balance_rules;
use super::rules::{Match, Means, Method, StatusIs};
use super::schema::{Auth, Provider, Records, SCHEMA, placeholders};

/// What is wrong with a catalogue: which record, which field, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The record's id.
    pub record: String,
    /// The field, as a path inside the record.
    pub field: String,
    /// A sentence.
    pub what: &'static str,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.record, self.field, self.what)
    }
}

/// Which field of a file could not be read, and why. `path` is where the parser stood: of a field that is missing or
/// there twice it tells at what the field belongs to. Its own text may repeat the file; only a name of ours is taken from it.
pub(super) fn unreadable(path: &str, error: &serde_json::Error) -> (String, &'static str) {
    let said = error.to_string();
    let named = |what: &str| -> Option<String> {
        let (field, _) = said.strip_prefix(what)?.split_once('`')?;
        let ours = |c: char| c.is_ascii_lowercase() || c == '_';
        if !field.chars().all(ours) {
            return None;
        }
        Some(match path.trim_end_matches('?').trim_end_matches('.') {
            "" => field.to_owned(),
            path if path.rsplit('.').next() == Some(field) => path.to_owned(),
            path => format!("{path}.{field}"),
        })
    };
    if let Some(field) = named("missing field `") {
        return (field, "a field is missing");
    }
    if let Some(field) = named("duplicate field `") {
        return (field, "a field stands there twice");
    }
    let what = match error.classify() {
        serde_json::error::Category::Data if said.starts_with("unknown field") => {
            "there is no such field"
        }
        serde_json::error::Category::Data => "a field has the wrong type or value",
        _ => "it is no JSON, or breaks off",
    };
    (path.to_owned(), what)
}

impl Records {
    /// Completes every record with what is common to all, and checks what the types cannot say.
    pub fn complete(mut self) -> Result<Records, Problem> {
        for provider in std::iter::once(&mut self.unlisted).chain(&mut self.providers) {
            provider.test.complete(&self.common);
        }
        self.check()?;
        Ok(self)
    }

    fn check(&self) -> Result<(), Problem> {
        let whole = |field: &str, what| {
            Err(Problem {
                record: "catalogue".to_owned(),
                field: field.to_owned(),
                what,
            })
        };
        if self.schema != SCHEMA {
            return whole("schema", "the version is unknown");
        }
        if self.providers.is_empty() {
            return whole("providers", "there are none");
        }
        if self.common.iter().any(|rule| rule.body.is_some()) {
            return whole("common", "a rule for all looks at the status alone");
        }
        self.unlisted.check()?;
        let (mut names, mut variables) = (BTreeSet::new(), BTreeSet::new());
        for provider in &self.providers {
            provider.check()?;
            for name in std::iter::once(&provider.id).chain(&provider.aliases) {
                if !names.insert(name) {
                    return provider.wrong("id", "the id or an alias stands twice");
                }
            }
            if !variables.insert(&provider.env.primary) {
                return provider.wrong("env.primary", "another provider has the same variable");
            }
        }
        Ok(())
    }
}

impl Provider {
    fn wrong(&self, field: impl Into<String>, what: &'static str) -> Result<(), Problem> {
        Err(Problem {
            record: self.id.clone(),
            field: field.into(),
            what,
        })
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        for name in std::iter::once(&self.id).chain(&self.aliases) {
            let fits = (1..=64).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !fits {
                return self.wrong("id", "an id or alias has 1 to 64 of a-z, 0-9 and -");
            }
        }
        if self.display_name.trim().is_empty() || self.display_name_zh.trim().is_empty() {
            return self.wrong("display_name", "it is empty");
        }
        self.check_endpoints()?;
        if let Auth::Header { header, prefix } = &self.auth
            && (!header_name_fits(header) || !printable(prefix))
        {
            return self.wrong("auth", "the header is not one that may carry a key");
        }
        for (name, value) in &self.extra_headers {
            let carries_key = self.auth.header() == Some(name);
            if !header_name_fits(name) || !printable(value) || carries_key {
                return self.wrong("extra_headers", "a header is not one that may be added");
            }
        }
        self.check_test()?;
        if let Some(list) = &self.models_list
            && !self.address_fits(&list.url)
        {
            return self.wrong("models_list.url", "it is not an address");
        }
        self.check_balance()?;
        self.check_env()?;
        for pattern in &self.key_patterns {
            if pattern.regex.is_empty() {
                return self.wrong("key_patterns", "a pattern is empty");
            }
        }
        for (field, url) in [
            ("console_url", &self.console_url),
            ("docs_url", &self.docs_url),
        ] {
            let fits = |url: &String| {
                let address = url.split(['?', '#']).next().unwrap_or_default();
                let rest = &url[address.len()..];
                address.starts_with("https://")
                    && BaseUrl::read(address).is_ok()
                    && printable(rest)
                    && !rest.contains([' ', '@', '\\'])
            };
            if !url.as_ref().is_none_or(fits) {
                return self.wrong(field, "it is not an https address");
            }
        }
        Ok(())
    }

    fn check_endpoints(&self) -> Result<(), Problem> {
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            for url in std::iter::once(&endpoint.base_url).chain(&endpoint.also) {
                let canonical = placeholders(url).is_ok_and(|(found, filled)| {
                    !found.iter().any(|part| part.is_of_requests())
                        && BaseUrl::read(&filled).is_ok_and(|read| read.to_string() == filled)
                });
                if !canonical {
                    let field = format!("endpoints[{index}].base_url");
                    return self.wrong(field, "it is not an address in its one spelling");
                }
            }
            let prefix = endpoint.path_prefix.as_deref();
            if !prefix.is_none_or(|p| p.starts_with('/') && !p.ends_with('/') && printable(p)) {
                let field = format!("endpoints[{index}].path_prefix");
                return self.wrong(field, "it starts with a slash and does not end with one");
            }
        }
        Ok(())
    }

    fn check_test(&self) -> Result<(), Problem> {
        let test = &self.test;
        if !self.address_fits(&test.url) {
            return self.wrong("test.url", "it is not an address");
        }
        if test.body.is_some() && test.method == Method::Get {
            return self.wrong("test.body", "a GET has none");
        }
        if !test.sends_key && test.proves_key {
            return self.wrong(
                "test.proves_key",
                "a request without the key proves nothing",
            );
        }
        let mut decided = BTreeSet::new();
        for (index, rule) in test.rules.iter().enumerate() {
            let wrong = |what| self.wrong(format!("test.rules[{index}]"), what);
            if !test.proves_key && rule.means == Means::ValidButRestricted {
                return wrong("a test that proves nothing cannot tell a restricted key");
            }
            match (rule.status, &rule.body) {
                (StatusIs::Any, None) => return wrong("a rule for any status looks at the body"),
                (StatusIs::Code(300..=399), _) => {
                    return wrong("a redirect is never followed or read");
                }
                (StatusIs::Code(code), None) => {
                    if !decided.insert(code) {
                        return wrong("the status is decided by an earlier rule");
                    }
                    if (200..=299).contains(&code) && rule.means != Means::Valid {
                        return wrong("a success alone cannot mean a failure");
                    }
                }
                (StatusIs::Code(code), Some(_)) => {
                    if decided.contains(&code) {
                        return wrong("the status is decided by an earlier rule");
                    }
                }
                (StatusIs::Any, Some(_)) => {
                    if !decided.is_empty() {
                        return wrong(
                            "a rule for any status stands before those for the status alone",
                        );
                    }
                }
            }
            let empty = match rule.body.as_ref().map(|body| &body.is) {
                Some(Match::Text(text) | Match::OtherThan(text) | Match::Contains(text)) => {
                    text.is_empty()
                }
                Some(Match::OneOf(texts)) => texts.is_empty() || texts.iter().any(String::is_empty),
                Some(Match::Bool(_)) | None => false,
            };
            if empty {
                return wrong("nothing could match");
            }
        }
        if !decided.contains(&200) {
            return self.wrong("test.rules", "no rule says what a success means");
        }
        Ok(())
    }

    fn check_balance(&self) -> Result<(), Problem> {
        let regions = self.endpoints.iter().map(|endpoint| endpoint.region);
        let address_fits = |text: &str| {
            // The one part of a request's address that the owner of a key may fill in, never in the host.
            let text = match text.split_once("/{team}") {
                Some((before, after)) if before.contains("://") => format!("{before}/x{after}"),
                _ => text.to_owned(),
            };
            match text.strip_prefix("{origin}") {
                Some(path) => self.address_fits(&format!("{{base_url}}{path}")),
                None => self.address_fits(&text),
            }
        };
        match balance_rules::check(&self.balance, &regions.collect(), address_fits) {
            Ok(()) => Ok(()),
            Err((below, what)) => self.wrong(format!("balance{below}"), what),
        }
    }

    fn check_env(&self) -> Result<(), Problem> {
        let fits = |name: &String| {
            !name.is_empty()
                && name.len() <= 128
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        if !fits(&self.env.primary) {
            return self.wrong("env.primary", "it is not the name of a variable");
        }
        if rules_programs(&self.env.primary) {
            return self.wrong("env.primary", "a variable of this name rules programs");
        }
        for (field, names) in [
            ("env.aliases", &self.env.aliases),
            ("env.base_url", &self.env.base_url),
        ] {
            let unique: BTreeSet<_> = names.iter().chain([&self.env.primary]).collect();
            if !names.iter().all(fits) || unique.len() != names.len() + 1 {
                return self.wrong(field, "a name is not one of a variable, or stands twice");
            }
            if names.iter().any(|name| rules_programs(name)) {
                return self.wrong(field, "a variable of this name rules programs");
            }
        }
        let aliases = &self.env.aliases;
        if !self.env.preferred.iter().all(|one| aliases.contains(one)) {
            return self.wrong("env.preferred", "a name is not among the aliases");
        }
        for (name, ends) in &self.env.appended {
            let is_path = |end: &String| {
                end.starts_with('/') && self.address_fits(&format!("{{base_url}}{end}"))
            };
            if !self.env.base_url.contains(name) || ends.is_empty() || !ends.iter().all(is_path) {
                return self.wrong(
                    "env.appended",
                    "a name is not in env.base_url, or an end is not a path",
                );
            }
        }
        Ok(())
    }

    /// Whether text is an address of a request: an address with placeholders and perhaps a query, or
    /// `{base_url}` and a path.
    fn address_fits(&self, text: &str) -> bool {
        let path_fits = |path: &str| {
            BaseUrl::read(&format!("https://x.example{path}"))
                .is_ok_and(|read| read.path() == path && matches!(read.host(), Host::Name(_)))
        };
        let (text, query) = match text.split_once('?') {
            Some((text, query)) => (text, Some(query)),
            None => (text, None),
        };
        let query_fits = query.is_none_or(|query| {
            !query.is_empty()
                && query
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._=&".contains(&b))
        });
        let address_fits = match text.strip_prefix("{base_url}") {
            Some(path) => path_fits(path),
            None => placeholders(text).is_ok_and(|(found, filled)| {
                !found.iter().any(|part| part.is_of_requests())
                    && BaseUrl::read(&filled).is_ok_and(|read| read.to_string() == filled)
            }),
        };
        query_fits && address_fits
    }
}

/// Whether a variable says what a program is, loads or trusts. A provider's record and an imported file may come from anybody,
/// and what they put into such a variable would break every command that gets keys, or choose what runs there.
pub fn rules_programs(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "PATH",
        "HOME",
        "SHELL",
        "IFS",
        "ENV",
        "BASH_ENV",
        "PS4",
        "PROMPT_COMMAND",
        "CDPATH",
        "USER",
        "LOGNAME",
        "TERM",
        "TMPDIR",
        "PWD",
        "LANG",
        "EDITOR",
        "VISUAL",
        "PAGER",
        "BROWSER",
        "MANPAGER",
        "LESSOPEN",
        "LESSCLOSE",
        "SSH_ASKPASS",
        "SUDO_ASKPASS",
        "ZDOTDIR",
        "FPATH",
        "SHELLOPTS",
        "BASHOPTS",
        "VIMINIT",
        "EXINIT",
        "MAKEFLAGS",
        "GCONV_PATH",
        "LOCPATH",
        "OPENSSL_CONF",
        "OPENSSL_MODULES",
        "OPENSSL_ENGINES",
        "NODE_OPTIONS",
        "NODE_PATH",
        "NODE_EXTRA_CA_CERTS",
        "PERL5LIB",
        "PERL5OPT",
        "PERL5DB",
        "PERLLIB",
        "PHPRC",
        "RUBYLIB",
        "RUBYOPT",
        "GEM_PATH",
        "GEM_HOME",
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "_JAVA_OPTIONS",
        "DOTNET_STARTUP_HOOKS",
        "LUA_INIT",
        "CLASSPATH",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
    ];
    const BEGINNINGS: &[&str] = &["LD_", "DYLD_", "PYTHON", "GIT_", "LC_", "AKM_", "XDG_"];
    // Programs read `http_proxy` as they do `HTTP_PROXY`.
    let name = name.to_ascii_uppercase();
    NAMES.contains(&name.as_str()) || BEGINNINGS.iter().any(|begin| name.starts_with(begin))
}

/// A lower-case token that is none of the headers that frame or route a request.
fn header_name_fits(name: &str) -> bool {
    const FRAMING: &[&str] = &[
        "accept",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ];
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !FRAMING.contains(&name)
}

fn printable(text: &str) -> bool {
    text.bytes().all(|b| (0x20..=0x7e).contains(&b))
}
