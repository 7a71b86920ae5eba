//! Wire types of what is publicly known: providers and models. Nothing here is anybody's secret, so no session is
//! needed to ask.

use serde::{Deserialize, Serialize};

use super::{wire, word};

wire! {
    /// Asks which providers are known.
    #[derive(Default)]
    request ProviderList {}
}

wire! {
    /// The providers that are known.
    result Providers {
        /// In the order of the catalogue.
        providers: Vec<ProviderInfo>,
    }
}

wire! {
    /// What is known of a provider. More words than those named may come.
    result ProviderInfo {
        /// The id, as in names of keys.
        id: String,
        /// Other spellings of the id.
        aliases: Vec<String>,
        /// The name for people.
        name: String,
        /// The name for people who read Chinese.
        name_zh: String,
        /// `active`, `uncertain` or `retired`.
        status: String,
        /// `llm`, `llm_plan`, `gateway`, `local`, `embedding`, `voice` or `search`.
        kind: String,
        /// Where it answers, the default first.
        endpoints: Vec<EndpointInfo>,
        /// The variable its programs read the key from.
        env: String,
        /// Those they read its address from, the usual one first.
        #[serde(default)]
        base_url_env: Vec<AddressVariable>,
        /// How a key of it is tested.
        test: TestInfo,
        /// The model that is meant where nobody names one.
        default_model: Option<String>,
        /// How many models of it are known.
        models: u32,
        /// Where a person makes and revokes keys.
        console_url: Option<String>,
        /// Where it is documented.
        docs_url: Option<String>,
        /// Whether base address, auth and test were all read in a named source.
        verified: bool,
        /// Whether the account that asks added it itself.
        #[serde(default)]
        own: bool,
        /// Whether an administrator added it for every account.
        #[serde(default)]
        shared: bool,
    }
}

wire! {
    /// A variable that programs read an address from.
    result AddressVariable {
        /// Its name.
        name: String,
        /// The ends of an address that they append themselves, so that the variable must not have them.
        #[serde(default)]
        appended: Vec<String>,
    }
}

wire! {
    /// One place a provider answers at.
    result EndpointInfo {
        /// The address; a part in braces is known to the owner of a key alone.
        base_url: String,
        /// Whom it serves.
        region: String,
        /// What it speaks.
        protocol: String,
    }
}

wire! {
    /// How keys of a provider are tested.
    result TestInfo {
        /// Whether success proves the key.
        proves_key: bool,
        /// `none`, or `tokens` where it may cost a token or so.
        cost: String,
        /// Whether a key of one region is refused by the others.
        region_bound: bool,
    }
}

wire! {
    /// Asks which models are known. Filters combine.
    #[derive(Default)]
    request ModelList {
        /// Only this provider's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider: Option<String>,
        /// Only those for this: `chat`, `code`, `reasoning`, `vision`, `long_context`, `economy`, `embedding`,
        /// `image`, `audio`, `rerank` or `search`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        category: Option<String>,
        /// Only those that are known to read so many tokens.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_context: Option<u64>,
        /// The order; that of the catalogue if absent.
        #[serde(default, deserialize_with = "word::option", skip_serializing_if = "Option::is_none")]
        sort: Option<ModelSort>,
    }
}

/// An order of models. What is unknown stands last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum ModelSort {
    /// Cheapest first by what is written, then by what is read; each currency by itself, as no rate is assumed.
    Price,
    /// Largest window first.
    Context,
    /// By name.
    Name,
}

wire! {
    /// The models that are known.
    result ModelPage {
        /// The day the facts were gathered.
        compiled: String,
        /// Whether they come from a file that was installed, not from the program.
        installed: bool,
        /// The models.
        models: Vec<ModelInfo>,
    }
}

wire! {
    /// What is known of a model. Null is unknown.
    result ModelInfo {
        /// The provider's id.
        provider: String,
        /// The id in requests.
        id: String,
        /// The name for people.
        name: String,
        /// What it is mostly for.
        category: String,
        /// What else it can do.
        tags: Vec<String>,
        /// Tokens it reads.
        context: Option<u64>,
        /// Tokens it writes at most.
        max_output: Option<u64>,
        /// What it costs.
        price: Option<PriceInfo>,
        /// The region the price belongs to, where the provider has several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
        /// Whether it is meant where nobody names one.
        default: bool,
        /// Whether two independent data sets agree on the price.
        verified: bool,
        /// The data sets that list it.
        sources: Vec<String>,
        /// When it appeared: a day, or a month.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        released: Option<String>,
        /// When its provider switches it off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retires: Option<String>,
        /// What the other data set says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    }
}

wire! {
    /// What a million tokens cost. Null is unknown; zero is free.
    result PriceInfo {
        /// Three capital letters.
        currency: String,
        /// Read.
        input: Option<f64>,
        /// Written.
        output: Option<f64>,
        /// Read from the provider's cache.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cached: Option<f64>,
    }
}
