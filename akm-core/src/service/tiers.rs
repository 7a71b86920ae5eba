//! The tiers: those of the configuration, or what an administrator made of them since.
//!
//! Invariants: what an administrator changed rests in the vault and holds from the next request on; it never contradicts
//! itself or a product that is sold. Where `billing.toml` has tiers of its own, its owner decides and nobody changes them
//! here. A stored table that cannot be believed counts for nothing: the configuration's holds.

use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use crate::audit::{Caller, Via};
use crate::billing::{Standing, Tier, tier};
use crate::error::{Error, Kind, Result};
use crate::protocol::{AdminTier, Op, TierInfo, Tiers};

use super::Service;
use super::billing::not_sold;

/// The document.
const KIND: &str = "tiers";
const FORMAT: u32 = 1;
/// Longest name of a tier in characters.
const MAX_NAME: usize = 64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    tiers: Vec<Tier>,
}

impl Service {
    /// The tiers that hold now, from the least.
    pub(super) fn tier_table(&self) -> Arc<Vec<Tier>> {
        let table = self.billing.tiers.read();
        Arc::clone(&table.unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins with the tiers of the configuration, or what an administrator made of them.
    pub(super) fn load_tiers(&self) {
        let settings = &self.billing.settings;
        let stored = match settings.own_tiers {
            true => None,
            false => self.document(KIND, "").ok().flatten(),
        };
        let tiers = stored
            .and_then(|text| serde_json::from_slice::<Stored>(&text).ok())
            .filter(|stored| stored.format == FORMAT && settings.fits(&stored.tiers).is_ok())
            .map_or_else(|| settings.tiers.clone(), |stored| stored.tiers);
        self.set_tiers(tiers);
    }

    fn set_tiers(&self, tiers: Vec<Tier>) {
        let mut table = self
            .billing
            .tiers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *table = Arc::new(tiers);
    }

    /// What a standing comes to; nothing at all where there are no tiers.
    pub(super) fn tier_of(&self, standing: &Standing) -> Tier {
        let nothing = || Tier {
            id: String::new(),
            name: String::new(),
            name_zh: String::new(),
            price_fen: 0,
            keys: Some(0),
            providers: Some(0),
            requests_per_minute: None,
        };
        let table = self.tier_table();
        table.get(standing.rank).cloned().unwrap_or_else(nothing)
    }

    /// The tiers, for whoever asks; none where they limit nobody.
    pub(super) fn tiers(&self) -> Tiers {
        let settings = &self.billing.settings;
        if !self.billing.on {
            return Tiers {
                tiers: Vec::new(),
                grace_days: 0,
                codes: false,
            };
        }
        Tiers {
            tiers: self
                .tier_table()
                .iter()
                .map(|tier| {
                    let mut sold_by: Vec<String> = settings
                        .products
                        .iter()
                        // What has no order page is sold elsewhere, and nobody is sent there.
                        .filter(|product| {
                            product.tier == tier.id && settings.link(product, 1, "").is_some()
                        })
                        .map(|product| product.provider.clone())
                        .collect();
                    sold_by.sort();
                    sold_by.dedup();
                    TierInfo {
                        tier: tier.id.clone(),
                        name: tier.name.clone(),
                        name_zh: tier.name_zh.clone(),
                        price_fen: tier.price_fen,
                        keys: tier.keys,
                        providers: tier.providers,
                        requests_per_minute: tier.requests_per_minute,
                        sold_by,
                    }
                })
                .collect(),
            grace_days: settings.grace_days,
            codes: settings.codes,
        }
    }

    /// The tier that an account begins with; none for one that the owner of this machine makes for themselves.
    pub(super) fn first_tier(&self, caller: &Caller) -> Option<String> {
        if caller.via == Via::Host {
            return None;
        }
        let table = self.tier_table();
        Some(
            table
                .first()
                .map_or_else(String::new, |tier| tier.id.clone()),
        )
    }

    /// Whether this is a tier above the first.
    pub(super) fn is_bought(&self, tier: &str) -> bool {
        self.tier_table()
            .iter()
            .skip(1)
            .any(|known| known.id == tier)
    }

    pub(super) fn put_tier(&self, caller: &Caller, request: &AdminTier) -> Result<Tiers> {
        if !self.billing.on {
            return Err(not_sold());
        }
        let settings = &self.billing.settings;
        if settings.own_tiers {
            return Err(
                Error::new(Kind::Conflict, "the tiers stand in billing.toml")
                    .with_hint("change them there, or take them out of it"),
            );
        }
        for (field, name) in [("name", &request.name), ("name_zh", &request.name_zh)] {
            let length = name.chars().count();
            if !(1..=MAX_NAME).contains(&length) || name.chars().any(char::is_control) {
                return Err(Error::invalid(field, "a name has 1 to 64 characters"));
            }
        }
        let new = Tier {
            id: request.tier.clone(),
            name: request.name.clone(),
            name_zh: request.name_zh.clone(),
            price_fen: request.price_fen,
            keys: request.keys,
            providers: request.providers,
            requests_per_minute: request.requests_per_minute,
        };
        // One change at a time: each is made of the table that it replaces.
        let _turn = self
            .billing
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut tiers = self.tier_table().to_vec();
        match tiers.iter_mut().find(|tier| tier.id == new.id) {
            Some(tier) => *tier = new,
            None => tiers.push(new),
        }
        tiers.sort_by_key(|tier| tier.price_fen);
        tier::check(&tiers).map_err(|error| error.with_field("tier"))?;
        settings.fits(&tiers)?;
        let body = crate::protocol::encode(&Stored {
            format: FORMAT,
            tiers: tiers.clone(),
        })?;
        self.as_admin(caller, Op::AdminTier, |event| {
            self.put_document(KIND, "", body, 1, event)
        })?;
        self.set_tiers(tiers);
        Ok(self.tiers())
    }
}
