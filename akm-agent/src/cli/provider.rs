//! `akm provider add show rm`: providers of one's own, sealed in the vault.
//!
//! A record comes from a file, from three flags, or from questions on a terminal; each way makes the same
//! record, and the agent alone decides whether it is one. `akm provider show` prints what `--file` takes.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use akm_core::protocol::{ProviderAdd, ProviderRemove, ProviderResult, ProviderShow, Record};
use akm_core::provider::{BaseUrl, MAX_RECORD};
use akm_core::{Error, Kind};
use clap::{Args, Subcommand, ValueHint};
use serde_json::json;

use super::output::{self, Fail, Result};
use super::text::text;
use super::{connect, connect_unlocked, prompt};

/// Providers of one's own.
#[derive(Args)]
#[command(after_help = "Example:\n  akm provider add\n  akm provider show mycorp")]
pub(crate) struct Provider {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add a provider: from a file, with --base-url, or by questions on a terminal
    Add(Add),
    /// Show the record of a provider, built in or your own
    #[command(after_help = "Example:\n  akm provider show openai > mine.json")]
    Show {
        /// Its id
        name: String,
    },
    /// Remove a provider of your own; its keys stay, sealed for the hosts they were added for
    #[command(after_help = "Example:\n  akm provider rm my-gateway")]
    Rm {
        /// Its id
        name: String,
        /// Do not ask on the terminal
        #[arg(short, long)]
        yes: bool,
    },
}

/// Adds a provider.
#[derive(Args)]
#[command(
    after_help = "A file has one record in the format of the catalogue (akm-core/catalog/README.md).\n\nExample:\n  akm provider add\n  akm provider add my-gateway --base-url https://gw.example.com/v1 --auth header:x-api-key\n  akm provider add --file mine.json"
)]
pub(crate) struct Add {
    /// Its id, as in names of keys: my-gateway
    #[arg(conflicts_with = "file")]
    name: Option<String>,
    /// Read the record from this file
    #[arg(long, value_name = "F", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Where it is reached: https, or http://127.0.0.1:PORT
    #[arg(long, value_name = "U", conflicts_with = "file")]
    base_url: Option<String>,
    /// How a request carries the key: bearer, or header:NAME
    #[arg(long, value_name = "HOW", requires = "base_url", value_parser = auth)]
    auth: Option<serde_json::Value>,
    /// What a test asks for, from the root of the host; /models below the address if absent
    #[arg(long, value_name = "PATH", requires = "base_url")]
    test_path: Option<String>,
    /// The test's address answers a valid key only, so that its success proves one
    #[arg(long, requires = "base_url")]
    proves_key: bool,
    /// The variable that akm run sets; MY_GATEWAY_API_KEY if absent
    #[arg(long, value_name = "VAR", requires = "base_url")]
    env: Option<String>,
}

/// The message holds nothing of what was typed.
fn auth(text: &str) -> Result<serde_json::Value, &'static str> {
    match text.split_once(':') {
        None if text == "bearer" => Ok(json!({"style": "bearer"})),
        Some(("header", name)) if !name.is_empty() => {
            Ok(json!({"style": "header", "header": name.to_ascii_lowercase()}))
        }
        _ => Err("a key is carried as bearer or header:NAME"),
    }
}

pub(crate) fn provider(args: Provider, json: bool) -> Result<()> {
    match args.command {
        Command::Add(args) => add(args, json),
        Command::Show { name } => show(name, json),
        Command::Rm { name, yes } => rm(name, yes, json),
    }
}

fn add(args: Add, json: bool) -> Result<()> {
    if args.file.is_none() && args.base_url.is_none() {
        // Before somebody answers questions for nothing.
        connect_unlocked()?;
    }
    let record = record(args, check_new)?;
    let added = connect()?.call(&ProviderAdd { record })?;
    changed(&added, json, |name| text!("provider-added", name = name))
}

/// What is said of a name that somebody answered with.
type CheckName = fn(&str) -> Result<()>;

/// The record that the flags, the file or a person say.
pub(crate) fn record(args: Add, check_name: CheckName) -> Result<Record> {
    match (args.file, args.base_url) {
        (Some(file), _) => read(&file),
        (None, Some(base_url)) => {
            let name = args.name.ok_or_else(needs_name)?;
            Simple {
                env: args.env.unwrap_or_else(|| variable(&name)),
                name,
                base_url,
                auth: args.auth.unwrap_or_else(|| json!({"style": "bearer"})),
                test_path: args.test_path,
                proves_key: args.proves_key,
            }
            .record()
            .map_err(Fail::from)
        }
        (None, None) => Ok(ask(args.name, check_name)?.record()?),
    }
}

fn needs_name() -> Fail {
    Fail::usage(
        text!("provider-needs-name"),
        "akm provider add my-gateway --base-url https://gw.example.com/v1",
    )
}

fn show(name: String, json: bool) -> Result<()> {
    let shown = connect()?.call(&ProviderShow { name })?;
    if json {
        return output::json(&shown);
    }
    let text = serde_json::to_string_pretty(&shown.record)
        .map_err(|_| Error::internal("a record could not be written"))?;
    for line in text.lines() {
        output::line(&output::clean(line))?;
    }
    Ok(())
}

fn rm(name: String, yes: bool, json: bool) -> Result<()> {
    let mut client = connect()?;
    let question = text!("ask-provider-rm", name = name.as_str());
    if !yes && !prompt::confirm(&question)? {
        output::note(&text!("nothing-removed"));
        return Err(Fail::Exit(1));
    }
    let removed = client.call(&ProviderRemove { name })?;
    changed(&removed, json, |name| {
        text!("provider-removed", name = name)
    })
}

fn changed(result: &ProviderResult, json: bool, say: impl Fn(&str) -> String) -> Result<()> {
    if json {
        return output::json(result);
    }
    output::note(&say(&result.name));
    Ok(())
}

/// A record from a file; `-` is standard input.
fn read(path: &PathBuf) -> Result<Record> {
    let mut bytes = Vec::new();
    let most = MAX_RECORD as u64 + 1;
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(most).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    read.map_err(|error| Error::from_io(&error).with_field("file"))?;
    if bytes.len() > MAX_RECORD {
        return Err(Error::invalid("file", "a provider's record has at most 64 KiB").into());
    }
    serde_json::from_slice(&bytes)
        .map_err(|_| Error::invalid("file", "the file is not one JSON object").into())
}

/// `MY_GATEWAY_API_KEY` of `my-gateway`.
pub(crate) fn variable(name: &str) -> String {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    // A name of a variable does not begin with a digit.
    let lead = if upper.starts_with(|c: char| c.is_ascii_digit()) {
        "_"
    } else {
        ""
    };
    format!("{lead}{upper}_API_KEY")
}

/// What flags, questions and a form can say.
#[derive(Clone)]
pub(crate) struct Simple {
    pub(crate) name: String,
    pub(crate) base_url: String,
    pub(crate) auth: serde_json::Value,
    pub(crate) test_path: Option<String>,
    pub(crate) proves_key: bool,
    pub(crate) env: String,
}

impl Simple {
    /// Whether the agent would take it, as far as that can be told without its vault.
    fn check(&self) -> akm_core::Result<()> {
        let record = self.clone().record()?;
        let text = serde_json::to_string(&record)
            .map_err(|_| Error::internal("a record could not be written"))?;
        akm_core::provider::read_own(&text).map(|_| ())
    }

    /// The record of such a provider.
    pub(crate) fn record(self) -> akm_core::Result<Record> {
        let base_url = BaseUrl::parse(&self.base_url, "base_url")?;
        let test_url = match &self.test_path {
            None => "{base_url}/models".to_owned(),
            Some(path) if path.starts_with('/') => {
                let whole = base_url.to_string();
                let origin = whole.strip_suffix(base_url.path()).unwrap_or(&whole);
                format!("{origin}{path}")
            }
            Some(_) => {
                return Err(Error::invalid("test_path", "a path starts with a slash"));
            }
        };
        let (kind, region) = match base_url.is_secure() {
            true => ("gateway", "global"),
            false => ("local", "local"),
        };
        let record = json!({
            "id": self.name, "display_name": self.name, "display_name_zh": self.name,
            "status": "active", "kind": kind,
            "endpoints": [{"base_url": base_url.to_string(), "region": region, "protocol": "openai-chat"}],
            "auth": self.auth,
            "test": {"method": "GET", "url": test_url, "proves_key": self.proves_key, "cost": "none", "verified": false},
            "env": {"primary": self.env}, "verified": false,
        });
        match record {
            serde_json::Value::Object(record) => Ok(record),
            _ => Err(Error::internal("a record is an object")),
        }
    }
}

/// Asks what flags could have said. An empty answer takes what stands in brackets; one that will not do is said to be so,
/// and asked for again.
fn ask(name: Option<String>, check_name: CheckName) -> Result<Simple> {
    let or = |answer: String, standard: &str| match answer.is_empty() {
        true => standard.to_owned(),
        false => answer,
    };
    // What is asked later stands in as something that does.
    let mut simple = Simple {
        name: String::new(),
        base_url: "https://gw.example.com/v1".to_owned(),
        auth: json!({"style": "bearer"}),
        test_path: None,
        proves_key: false,
        env: "API_KEY".to_owned(),
    };
    match name {
        Some(name) => {
            simple.name = name;
            simple.check()?;
            check_name(&simple.name)?;
        }
        None => until(&text!("ask-provider-name"), |answer| {
            simple.name = answer;
            simple.check()?;
            check_name(&simple.name)
        })?,
    }
    until(&text!("ask-provider-address"), |answer| {
        simple.base_url = answer;
        Ok(simple.check()?)
    })?;
    until(&text!("ask-provider-auth"), |answer| {
        let how = or(answer, "bearer");
        simple.auth = auth(&how).map_err(|what| Error::invalid("auth", what))?;
        Ok(simple.check()?)
    })?;
    until(&text!("ask-provider-test-path"), |answer| {
        simple.test_path = Some(answer).filter(|path| !path.is_empty());
        Ok(simple.check()?)
    })?;
    until(&text!("ask-provider-proves"), |answer| {
        simple.proves_key = ["y", "yes"].contains(&answer.to_ascii_lowercase().as_str());
        Ok(simple.check()?)
    })?;
    let standard = variable(&simple.name);
    let question = text!("ask-provider-variable", standard = standard.as_str());
    until(&question, |answer| {
        simple.env = or(answer, &standard);
        Ok(simple.check()?)
    })?;
    Ok(simple)
}

/// Whether a provider can be added under this name.
fn check_new(name: &str) -> Result<()> {
    let name = name.to_owned();
    match connect()?.call(&ProviderShow { name }) {
        Ok(_) => Err(Error::new(Kind::Conflict, "a provider of this name exists already").into()),
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Asks until the answer will do. Who gives none ends it, and so does what no answer could mend.
fn until(question: &str, mut take: impl FnMut(String) -> Result<()>) -> Result<()> {
    loop {
        match take(prompt::answer(question)?) {
            Err(Fail::Akm(error))
                if matches!(error.kind(), Kind::InvalidInput | Kind::Conflict) =>
            {
                output::report(&error.into(), false);
            }
            ended => return ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simple() -> Simple {
        Simple {
            name: "my-gateway".into(),
            base_url: "https://gw.example.com/v1/".into(),
            auth: auth("bearer").unwrap(),
            test_path: None,
            proves_key: false,
            env: variable("my-gateway"),
        }
    }

    #[test]
    fn what_flags_say_is_a_record_that_the_agent_takes() {
        for (made, test_url) in [
            (simple(), "{base_url}/models"),
            (
                Simple {
                    test_path: Some("/v1/models".into()),
                    auth: auth("header:X-Api-Key").unwrap(),
                    proves_key: true,
                    ..simple()
                },
                "https://gw.example.com/v1/models",
            ),
            (
                Simple {
                    base_url: "http://127.0.0.1:8080".into(),
                    test_path: Some("/health".into()),
                    ..simple()
                },
                "http://127.0.0.1:8080/health",
            ),
        ] {
            let record = made.record().unwrap();
            assert_eq!(record["test"]["url"], test_url);
            let text = serde_json::to_string(&record).unwrap();
            akm_core::provider::read_own(&text).unwrap();
        }
        let bad = Simple {
            test_path: Some("v1/models".into()),
            ..simple()
        };
        assert!(bad.record().is_err());
    }

    #[test]
    fn a_variable_is_one_whatever_the_name() {
        assert_eq!(variable("my-gateway"), "MY_GATEWAY_API_KEY");
        assert_eq!(variable("01-ai"), "_01_AI_API_KEY");
        for bad in ["", "basic", "header", "header:", "bearer:x", "query:key"] {
            assert!(auth(bad).is_err(), "{bad}");
        }
    }
}
