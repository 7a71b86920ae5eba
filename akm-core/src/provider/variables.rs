//! Which environment variables the programs of a provider read, without reading the catalogue: `akm run` starts
//! thousands of times a day and must not parse 90 KB of JSON for a name or two. The build script takes this table out
//! of the catalogue that it checks.

/// The variables of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variables {
    /// The provider's id.
    pub provider: &'static str,
    /// The one for the key.
    pub primary: &'static str,
    /// Others for the key that programs take rather than the primary one, where both are set.
    pub preferred: &'static [&'static str],
    /// Those for the base address, the usual one first.
    pub base_url: &'static [&'static str],
    /// For some of those: the ends of an address that programs append themselves.
    pub appended: &'static [(&'static str, &'static [&'static str])],
    /// Its usual base address; empty where there is none.
    pub endpoint: &'static str,
}

/// Every built-in provider, in the order of the catalogue.
pub const VARIABLES: &[Variables] = include!(concat!(env!("OUT_DIR"), "/variables.rs"));

impl Variables {
    /// Those of a built-in provider.
    pub fn of(provider: &str) -> Option<&'static Variables> {
        VARIABLES.iter().find(|one| one.provider == provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Catalogue;

    #[test]
    fn the_table_says_what_the_catalogue_says() {
        let providers = Catalogue::builtin().providers();
        assert_eq!(VARIABLES.len(), providers.len());
        for provider in providers {
            let found = Variables::of(&provider.id).unwrap();
            assert_eq!(found.primary, provider.env.primary);
            assert_eq!(found.preferred, provider.env.preferred);
            assert_eq!(found.base_url, provider.env.base_url);
            let endpoint = provider.endpoints.first();
            assert_eq!(found.endpoint, endpoint.map_or("", |first| &first.base_url));
            assert_eq!(found.appended.len(), provider.env.appended.len());
            for (name, ends) in found.appended {
                assert_eq!(provider.env.appended[*name], *ends);
            }
        }
        assert_eq!(Variables::of("openai").unwrap().primary, "OPENAI_API_KEY");
        assert!(Variables::of("nobody").is_none());
    }
}
