//! `akm providers`, `akm models`: what is publicly known. The agent is asked if one is there; without one the same
//! answer comes from the same library, since nothing of it is anybody's secret.
//!
//! A model's price that is not known is shown as unknown, never as zero, and no exchange rate is assumed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use akm_core::client::Client;
use akm_core::paths::{Places, models_beside};
use akm_core::protocol::{
    ModelInfo, ModelList, ModelPage, ModelSort, Operation, ProviderInfo, ProviderList, Providers,
};
use akm_core::provider::models::Category;
use akm_core::{Error, Kind, provider};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use serde::Serialize;

use super::output::{self, Result};
use super::text::{self, Language, text};

/// Lists models.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  akm models openai\n  akm models --category code --min-context 200k --sort price\n  akm models update models.json"
)]
pub(crate) struct Models {
    /// Only models of this provider
    provider: Option<String>,
    /// Only models for this
    #[arg(long, value_name = "C", value_parser = PossibleValuesParser::new(Category::ALL.iter().map(|c| c.token())))]
    category: Option<String>,
    /// Only models known to read so many tokens: 32000, 200k, 1m
    #[arg(long, value_name = "N", value_parser = tokens)]
    min_context: Option<u64>,
    /// The order; prices are compared within a currency, as no exchange rate is assumed
    #[arg(long, value_name = "BY")]
    sort: Option<Sort>,
    #[command(subcommand)]
    command: Option<Change>,
}

#[derive(Subcommand)]
enum Change {
    /// Put a catalogue of models in the place of the built-in one, after checking every row
    #[command(
        after_help = "Rows of providers of your own are taken while your account is unlocked.\n\nExample:\n  akm models update models.json\n  akm models update --reset"
    )]
    Update {
        /// The file, in the format of akm-core/catalog/models.json; - is standard input
        #[arg(required_unless_present = "reset", conflicts_with = "reset", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// Go back to the built-in one
        #[arg(long)]
        reset: bool,
    },
}

/// An order of models.
#[derive(Clone, Copy, ValueEnum)]
enum Sort {
    Price,
    Context,
    Name,
}

impl From<Sort> for ModelSort {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Price => ModelSort::Price,
            Sort::Context => ModelSort::Context,
            Sort::Name => ModelSort::Name,
        }
    }
}

/// `200k` is 200000. The message holds nothing of what was typed.
fn tokens(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "a number of tokens is 32000, 200k or 1m";
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or(WRONG)
}

/// Asks the agent, or the library where no agent is.
fn ask<T: Operation>(
    request: &T,
    without_agent: impl FnOnce(&Path) -> akm_core::Result<T::Result>,
) -> Result<T::Result> {
    match Client::connect(None).and_then(|mut client| client.call(request)) {
        Err(error) if error.kind() == Kind::NoAgent => {
            Ok(without_agent(&models_beside(&Places::from_env()?.vault))?)
        }
        answer => Ok(answer?),
    }
}

pub(crate) fn known_providers() -> Result<Providers> {
    ask(&ProviderList {}, |installed| {
        provider::list_providers(installed, &[])
    })
}

pub(crate) fn providers(json: bool) -> Result<()> {
    let answer = known_providers()?;
    if json {
        return output::json(&answer);
    }
    let rows: Vec<Vec<String>> = answer.providers.iter().map(provider_row).collect();
    output::table(
        &[
            "col-provider",
            "col-name",
            "col-status",
            "col-variable",
            "col-test",
            "col-models",
            "col-default-model",
        ],
        &rows,
    )
}

fn provider_row(provider: &ProviderInfo) -> Vec<String> {
    let test = match (provider.test.proves_key, provider.test.cost.as_str()) {
        (false, _) => text!("test-proves-nothing"),
        (true, "none") => text!("test-free"),
        (true, _) => text!("test-costs"),
    };
    vec![
        provider.id.clone(),
        match text::language() {
            Language::English => provider.name.clone(),
            Language::Chinese => provider.name_zh.clone(),
        },
        text::of_token("provider", &provider.status),
        provider.env.clone(),
        test,
        provider.models.to_string(),
        provider
            .default_model
            .clone()
            .unwrap_or_else(|| "-".to_owned()),
    ]
}

pub(crate) fn models(args: Models, json: bool) -> Result<()> {
    match args.command {
        Some(Change::Update { file, .. }) => return update(file, json),
        None => {}
    }
    let request = ModelList {
        provider: args.provider,
        category: args.category,
        min_context: args.min_context,
        sort: args.sort.map(ModelSort::from),
    };
    let page = ask(&request, |installed| {
        provider::list_models(installed, &request, &|_| false)
    })?;
    if json {
        return output::json(&page);
    }
    show(&page)
}

fn show(page: &ModelPage) -> Result<()> {
    if page.models.is_empty() {
        output::note(&text!("no-models"));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = page.models.iter().map(model_row).collect();
    output::table(
        &[
            "col-provider",
            "col-model",
            "col-category",
            "col-context",
            "col-price-in",
            "col-price-out",
            "col-currency",
            "col-marks",
        ],
        &rows,
    )?;
    output::note(&text!(
        "models-as-of",
        count = page.models.len(),
        date = page.compiled.as_str()
    ));
    Ok(())
}

fn model_row(model: &ModelInfo) -> Vec<String> {
    let unknown = || text!("unknown");
    let amount = |amount: Option<f64>| amount.map_or_else(unknown, |amount| amount.to_string());
    let price = model.price.as_ref();
    let mut marks = Vec::new();
    if model.default {
        marks.push(text!("mark-default"));
    }
    if model.sources == ["model-bank"] {
        marks.push(text!("mark-unlicensed"));
    }
    if !model.verified {
        marks.push(text!("mark-unverified"));
    }
    if let Some(date) = &model.retires {
        marks.push(text!("mark-retires", date = date.as_str()));
    }
    vec![
        match &model.region {
            Some(region) => format!("{} ({region})", model.provider),
            None => model.provider.clone(),
        },
        model.id.clone(),
        text::of_token("category", &model.category),
        model
            .context
            .map_or_else(unknown, |tokens| tokens.to_string()),
        amount(price.and_then(|price| price.input)),
        amount(price.and_then(|price| price.output)),
        price.map_or_else(|| "-".to_owned(), |price| price.currency.clone()),
        match marks.is_empty() {
            true => "-".to_owned(),
            false => marks.join(", "),
        },
    ]
}

/// A file that somebody named: a pipe will do, and `-` is standard input.
fn open(path: &Path) -> Result<Box<dyn Read>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(Kind::NotFound, "there is no such file")
                .with_field("file")
                .with_hint("check the path")
                .into())
        }
        Err(error) => Err(Error::from_io(&error).with_field("file").into()),
    }
}

/// What an update did.
#[derive(Serialize)]
struct Updated {
    /// Rows that count from now on; absent after a reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<usize>,
    /// Whether an installed catalogue counts, not the built-in one.
    installed: bool,
}

fn update(file: Option<PathBuf>, json: bool) -> Result<()> {
    let installed = models_beside(&Places::from_env()?.vault);
    let done = match file {
        Some(file) => {
            if let Some(dir) = installed.parent() {
                akm_core::paths::ensure_dir(dir)?;
            }
            // An installed file that went bad must not keep out the one that mends it; the built-in ones count then.
            let known = known_providers().map_or_else(|_| Vec::new(), |known| known.providers);
            let is_added = |id: &str| known.iter().any(|known| known.id == id);
            let from = open(&file)?;
            Updated {
                models: Some(provider::install_models(from, &installed, &is_added)?),
                installed: true,
            }
        }
        None => {
            provider::reset_models(&installed)?;
            Updated {
                models: None,
                installed: false,
            }
        }
    };
    if json {
        return output::json(&done);
    }
    output::note(&match done.models {
        Some(count) => text!("models-installed", count = count),
        None => text!("models-reset"),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_as_people_write_them() {
        for (text, number) in [
            ("32000", 32_000),
            ("200k", 200_000),
            ("1m", 1_000_000),
            ("1M", 1_000_000),
        ] {
            assert_eq!(tokens(text), Ok(number));
        }
        for bad in [
            "",
            "k",
            "-1",
            "1.5m",
            "1g",
            "1 k",
            "99999999999999999999",
            "18446744073709551615k",
        ] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_price_is_said_to_be_unknown_and_a_free_one_is_zero() {
        let page = provider::list_models(
            Path::new("/nonexistent/models.json"),
            &ModelList::default(),
            &|_| false,
        )
        .unwrap();
        let (mut unknown, mut free) = (0, 0);
        for model in &page.models {
            let row = model_row(model);
            match model.price.as_ref().map(|price| price.input) {
                None | Some(None) => {
                    unknown += 1;
                    assert_eq!(row[4], "unknown", "{}", model.id);
                }
                Some(Some(amount)) => {
                    free += usize::from(amount == 0.0);
                    assert_eq!(row[4] == "0", amount == 0.0, "{}", model.id);
                }
            }
            assert_eq!(
                row[7].contains("model-bank only"),
                model.sources == ["model-bank"]
            );
        }
        assert_eq!((unknown, free), (107, 7));
    }
}
