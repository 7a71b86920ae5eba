//! References: `akm://openai/work` says which key, and is no secret. `akm read` follows one.
//!
//! Invariant: a reference is parsed here and nowhere else, and an error never repeats it: what stands where a
//! reference belongs may be the secret itself.

use akm_core::Error;
use akm_core::name::KeyName;
use akm_core::protocol::KeyGet;
use clap::Args;

use super::connect;
use super::output::{self, Result};
use super::run::about;

/// What every reference begins with.
pub(crate) const SCHEME: &str = "akm://";

/// The key that a reference names; `field` is named in the error.
pub(crate) fn parse(text: &str, field: &'static str) -> Result<KeyName, Error> {
    let Some(name) = text.strip_prefix(SCHEME) else {
        return Err(Error::invalid(field, "a reference begins with akm://")
            .with_hint("write akm://openai/work"));
    };
    KeyName::parse(name, field)
}

/// Follows a reference.
#[derive(Args)]
#[cfg_attr(test, derive(Debug))]
#[command(after_help = "Example:\n  akm read akm://openai/work")]
pub(crate) struct Read {
    /// Which key
    #[arg(value_name = "akm://NAME")]
    reference: String,
}

pub(crate) fn read(args: &Read, json: bool) -> Result<()> {
    let name = parse(&args.reference, "reference")?.to_string();
    let request = KeyGet {
        name,
        version: None,
    };
    let answer = connect()?
        .call(&request)
        .map_err(|error| about(error, &request.name))?;
    if json {
        output::json(&answer)
    } else {
        output::secret(&answer.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_the_scheme_and_a_name() {
        let name = |text| parse(text, "x").map(|name| name.to_string());
        assert_eq!(name("akm://openai").unwrap(), "openai/default");
        assert_eq!(name("akm://my-own/工作").unwrap(), "my-own/工作");
        for bad in [
            "",
            "openai",
            "AKM://openai",
            "akm:/openai",
            "akm://",
            "akm://a/b/c",
            "akm://openai ",
            " akm://openai",
            "sk-canary",
        ] {
            let error = name(bad).unwrap_err();
            assert_eq!(error.kind(), akm_core::Kind::InvalidInput, "{bad:?}");
            assert!(!format!("{error:?}").contains("canary"));
        }
    }
}
