//! What is publicly known, listed: providers, models, and the file that may replace the built-in models.
//!
//! Invariants: an installed file is believed only if it is this user's, of bounded size and checked whole, row by row,
//! each time it is read; a bad one is refused and never half used, nor passed over for the built-in one, which would
//! show old prices as new. It is installed by one rename, after it was synced, so there is the old one or the new one.
//! Where it comes from is for whoever names it to say: a pipe will do, and nothing is asked of its owner and mode. Its rows
//! name providers that are known when it is installed; one of the user's own that is removed later leaves its rows behind.
//!
//! The models are read when somebody asks and not kept: an agent that hands out keys has no use for them.

use std::cmp::Ordering;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde::Serialize;

use super::check::Problem;
use super::models::{Category, MAX_FILE, Model, Models};
use super::schema::Provider;
use super::{Catalogue, models};
use crate::error::{Error, Kind, Result};
use crate::name::ProviderId;
use crate::protocol::{
    AddressVariable, EndpointInfo, ModelInfo, ModelList, ModelPage, ModelSort, PriceInfo,
    ProviderInfo, Providers, TestInfo,
};
use crate::regular::{self, Links};

/// The facts, as committed; the build script has checked them.
const BUILTIN: &str = include_str!("../../catalog/models.json");

/// A provider that is not built in.
pub enum Added {
    /// The account that asks added it.
    Own(Provider),
    /// An administrator added it for every account.
    Shared(Provider),
}

/// The providers that this program knows, and those that were added. `installed` is where a file of models may be.
pub fn list_providers(installed: &Path, added: &[Added]) -> Result<Providers> {
    let (models, _) = load(installed)?;
    let builtin = Catalogue::builtin().providers().iter();
    let added = added.iter().map(|added| match added {
        Added::Own(provider) => ProviderInfo {
            own: true,
            ..info(provider, &models)
        },
        Added::Shared(provider) => ProviderInfo {
            shared: true,
            ..info(provider, &models)
        },
    });
    Ok(Providers {
        providers: builtin.map(|p| info(p, &models)).chain(added).collect(),
    })
}

/// The models that are known, from the file at `installed` if there is one. `is_added` tells providers that are not built
/// in.
///
/// Errors: `invalid_input` for a filter, `not_found` for a provider that nobody knows, `corrupt` or `denied` for the file.
pub fn list_models(
    installed: &Path,
    request: &ModelList,
    is_added: &dyn Fn(&ProviderId) -> bool,
) -> Result<ModelPage> {
    let provider = request
        .provider
        .as_deref()
        .map(|text| ProviderId::parse(text, "provider"))
        .transpose()?;
    let category = request.category.as_deref().map(category).transpose()?;
    let (models, is_installed) = load(installed)?;
    if let Some(id) = &provider {
        let has_rows = models.models.iter().any(|row| row.provider == id.as_str());
        if !has_rows && Catalogue::builtin().provider(id.as_str()).is_none() && !is_added(id) {
            return Err(nobody(id, &models));
        }
    }
    let mut rows: Vec<&Model> = models
        .models
        .iter()
        .filter(|row| {
            provider
                .as_ref()
                .is_none_or(|id| id.as_str() == row.provider)
        })
        .filter(|row| category.is_none_or(|category| row.is_of(category)))
        .filter(|row| {
            request
                .min_context
                .is_none_or(|least| row.context.is_some_and(|context| context >= least))
        })
        .collect();
    match request.sort {
        None => {}
        Some(ModelSort::Price) => rows.sort_by(|a, b| by_price(a, b)),
        Some(ModelSort::Context) => rows.sort_by_key(|row| std::cmp::Reverse(row.context)),
        Some(ModelSort::Name) => {
            rows.sort_by(|a, b| (&a.name, &a.provider).cmp(&(&b.name, &b.provider)));
        }
    }
    Ok(ModelPage {
        compiled: models.compiled.clone(),
        installed: is_installed,
        models: rows.into_iter().map(|row| model(row, &models)).collect(),
    })
}

/// Checks a catalogue of models and puts it in the place of the built-in one. Says how many rows it has. `from` is read
/// to its end, or as far as a catalogue may go; `is_added` tells providers that are not built in.
///
/// Errors: `invalid_input` if it is not one, with row and field in the hint; `denied`, `io`.
pub fn install_models(
    from: impl Read,
    installed: &Path,
    is_added: &dyn Fn(&str) -> bool,
) -> Result<usize> {
    let text = text_of(from)?;
    let is_known = |id: &str| Catalogue::builtin().provider(id).is_some() || is_added(id);
    let models = Models::from_json(&text)
        .and_then(|models| models.check_providers(&is_known).map(|()| models))
        .map_err(|problem| {
            refused(
                Kind::InvalidInput,
                "the file is no catalogue of models",
                &problem,
            )
        })?;
    let dir = installed
        .parent()
        .ok_or(Error::internal("a file of akm has no directory"))?;
    crate::paths::accept_dir(dir)?;
    // A name of this process's own, so that two who install do not write into one file.
    let fresh = dir.join(format!(".models-{}.new", std::process::id()));
    let written = write_synced(&fresh, text.as_bytes())
        .and_then(|()| std::fs::rename(&fresh, installed))
        .and_then(|()| File::open(dir)?.sync_all());
    if let Err(error) = written {
        let _ = std::fs::remove_file(&fresh);
        return Err(Error::from_io(&error));
    }
    Ok(models.models.len())
}

/// Removes an installed catalogue, so that the built-in one counts again. Says whether there was one.
pub fn reset_models(installed: &Path) -> Result<bool> {
    match std::fs::remove_file(installed) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::from_io(&error)),
    }
}

/// The installed catalogue, else the built-in one, and whether it is the installed.
fn load(installed: &Path) -> Result<(Models, bool)> {
    let Some(text) = read(installed)? else {
        let models = Models::from_json(BUILTIN)
            .map_err(|_| Error::internal("the built-in catalogue of models is not readable"))?;
        return Ok((models, false));
    };
    let models = Models::from_json(&text).map_err(|problem| {
        refused(
            Kind::Corrupt,
            "the installed catalogue of models is not readable",
            &problem,
        )
    })?;
    Ok((models, true))
}

/// The text of a file of this user or root that others cannot write; none if there is no file.
fn read(path: &Path) -> Result<Option<String>> {
    let Some(file) = regular::open(path, Links::Follow)? else {
        return Ok(None);
    };
    let meta = file.metadata().map_err(|error| Error::from_io(&error))?;
    let euid = nix::unistd::geteuid().as_raw();
    if !meta.is_file() || (meta.uid() != euid && meta.uid() != 0) || meta.mode() & 0o022 != 0 {
        return Err(Error::new(
            Kind::Denied,
            "the catalogue of models is no file, or others could have written it",
        ));
    }
    text_of(file).map(Some)
}

/// All of a catalogue, and never more than one may have.
fn text_of(from: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    from.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::from_io(&error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::new(
            Kind::InvalidInput,
            "a catalogue of models has at most 4 MiB",
        ));
    }
    String::from_utf8(bytes)
        .map_err(|_| Error::new(Kind::InvalidInput, "a catalogue of models is UTF-8"))
}

/// A provider that nobody knows. The hint names one that is spelt like it, never what was typed.
fn nobody(id: &ProviderId, models: &Models) -> Error {
    let builtin = Catalogue::builtin().providers().iter();
    let mut names = builtin
        .flat_map(|known| std::iter::once(&known.id).chain(&known.aliases))
        .chain(models.defaults.keys());
    let hint = match names.find(|known| is_near(known, id.as_str())) {
        Some(known) => format!("did you mean {known}? akm providers lists all"),
        None => "run akm providers".to_owned(),
    };
    Error::new(Kind::NotFound, "there is no provider of this name")
        .with_field("provider")
        .with_hint(hint)
}

/// Whether two names are the same but for two letters in one place.
fn is_near(known: &str, typed: &str) -> bool {
    let ahead = known.bytes().zip(typed.bytes());
    let behind = known.bytes().rev().zip(typed.bytes().rev());
    let same =
        ahead.take_while(|(a, b)| a == b).count() + behind.take_while(|(a, b)| a == b).count();
    same >= 3 && same + 2 >= known.len().max(typed.len())
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Row and field are named by the file's own keeper, not typed, so the hint may repeat them.
fn refused(kind: Kind, message: &'static str, problem: &Problem) -> Error {
    Error::new(kind, message)
        .with_field("models")
        .with_hint(problem.to_string())
}

fn category(text: &str) -> Result<Category> {
    let known = Category::ALL
        .iter()
        .find(|category| category.token() == text);
    known.copied().ok_or_else(|| {
        let words: Vec<&str> = Category::ALL
            .iter()
            .map(|category| category.token())
            .collect();
        Error::invalid("category", "there is no such category of models")
            .with_hint(format!("known are {}", words.join(", ")))
    })
}

/// Currency by currency, cheapest first, unknown last.
fn by_price(a: &Model, b: &Model) -> Ordering {
    let known = |amount: Option<f64>| amount.unwrap_or(f64::INFINITY);
    let key = |row: &Model| {
        row.price.as_ref().map(|price| {
            // The dollar first: most prices are in it.
            let foreign = price.currency != "USD";
            (
                foreign,
                price.currency.clone(),
                known(price.output),
                known(price.input),
            )
        })
    };
    match (key(a), key(b)) {
        (Some(a), Some(b)) => (a.0, &a.1)
            .cmp(&(b.0, &b.1))
            .then(a.2.total_cmp(&b.2))
            .then(a.3.total_cmp(&b.3)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

fn model(row: &Model, all: &Models) -> ModelInfo {
    ModelInfo {
        provider: row.provider.clone(),
        id: row.id.clone(),
        name: row.name.clone(),
        category: row.category.token().to_owned(),
        tags: row.tags.iter().map(|tag| tag.token().to_owned()).collect(),
        context: row.context,
        max_output: row.max_output,
        price: row.price.as_ref().map(|price: &models::Price| PriceInfo {
            currency: price.currency.clone(),
            input: price.input,
            output: price.output,
            cached: price.cached,
        }),
        region: row.region.map(|region| region.token().to_owned()),
        default: all.defaults.get(&row.provider) == Some(&row.id),
        verified: row.verified,
        sources: row.sources.clone(),
        released: row.released.clone(),
        retires: row.retires.clone(),
        note: row.note.clone(),
    }
}

/// What is known of a provider; that it is built in, for a start.
fn info(provider: &Provider, all: &Models) -> ProviderInfo {
    let known = all
        .models
        .iter()
        .filter(|row| row.provider == provider.id)
        .count();
    let default_model = all.defaults.get(&provider.id).cloned();
    describe(provider, default_model, known)
}

fn describe(provider: &Provider, default_model: Option<String>, known: usize) -> ProviderInfo {
    ProviderInfo {
        id: provider.id.clone(),
        aliases: provider.aliases.clone(),
        name: provider.display_name.clone(),
        name_zh: provider.display_name_zh.clone(),
        status: word(&provider.status),
        kind: word(&provider.kind),
        endpoints: provider
            .endpoints
            .iter()
            .map(|endpoint| EndpointInfo {
                base_url: endpoint.base_url.clone(),
                region: word(&endpoint.region),
                protocol: word(&endpoint.protocol),
            })
            .collect(),
        env: provider.env.primary.clone(),
        base_url_env: provider
            .env
            .base_url
            .iter()
            .map(|name| AddressVariable {
                name: name.clone(),
                appended: provider.env.appended.get(name).cloned().unwrap_or_default(),
            })
            .collect(),
        test: TestInfo {
            proves_key: provider.test.proves_key,
            cost: word(&provider.test.cost),
            region_bound: provider.test.region_bound,
        },
        default_model,
        models: u32::try_from(known).unwrap_or(u32::MAX),
        console_url: provider.console_url.clone(),
        docs_url: provider.docs_url.clone(),
        verified: provider.verified,
        own: false,
        shared: false,
    }
}

/// The word that stands for an enum in the file.
fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
