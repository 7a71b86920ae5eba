//! How much one address may ask for: token buckets in bounded memory.
//!
//! An IPv4 address has a bucket of its own, an IPv6 address shares one with its /64, because whoever has one address
//! there has all of them. The table is bounded: buckets that are full again are as good as none and go first; while there is no
//! room, all new addresses share one bucket. So no number of addresses makes it grow or gives anybody a fresh start.
//!
//! Guesses at an account are counted elsewhere, durably and for all addresses together: in the vault.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Most addresses that are remembered.
const MAX_ADDRESSES: usize = 16_384;
/// Between two looks for buckets that are full again.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A number of requests per minute; a burst of as many is let through at once. Zero is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PerMinute(pub(crate) u32);

/// The buckets of one limit.
pub(crate) struct Limiter {
    limit: PerMinute,
    buckets: HashMap<IpAddr, Bucket>,
    /// For addresses that there is no room for.
    shared: Bucket,
    swept: Instant,
}

/// When it will be full, were nothing taken any more: one number says it all.
#[derive(Clone, Copy)]
struct Bucket {
    full_at: Instant,
}

impl Limiter {
    pub(crate) fn new(limit: PerMinute, now: Instant) -> Limiter {
        Limiter {
            limit,
            buckets: HashMap::new(),
            shared: Bucket { full_at: now },
            swept: now,
        }
    }

    /// Takes one from the address's bucket, or says how long to wait.
    pub(crate) fn take(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let PerMinute(limit) = self.limit;
        if limit == 0 {
            return Ok(());
        }
        let who = network_of(address);
        if !self.buckets.contains_key(&who) && self.buckets.len() >= MAX_ADDRESSES {
            if now.duration_since(self.swept) >= SWEEP_EVERY {
                self.swept = now;
                self.buckets.retain(|_, bucket| bucket.full_at > now);
            }
            if self.buckets.len() >= MAX_ADDRESSES {
                return self.shared.take(limit, now);
            }
        }
        self.buckets
            .entry(who)
            .or_insert(Bucket { full_at: now })
            .take(limit, now)
    }
}

impl Bucket {
    fn take(&mut self, limit: u32, now: Instant) -> Result<(), Duration> {
        const SPAN: Duration = Duration::from_secs(60);
        let each = SPAN / limit;
        let after = self.full_at.max(now) + each;
        let empty_at = now + SPAN;
        if after > empty_at {
            return Err(after - empty_at);
        }
        self.full_at = after;
        Ok(())
    }
}

/// The part of an address that one person has.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(prefix.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn a_burst_passes_then_one_at_a_time() {
        let start = Instant::now();
        let mut limiter = Limiter::new(PerMinute(6), start);
        let address = v4(1);
        for _ in 0..6 {
            assert_eq!(limiter.take(address, start), Ok(()));
        }
        let wait = limiter.take(address, start).unwrap_err();
        assert_eq!(wait, Duration::from_secs(10));
        assert_eq!(limiter.take(v4(2), start), Ok(()), "others go on");
        assert_eq!(limiter.take(address, start + wait), Ok(()));
        assert!(limiter.take(address, start + wait).is_err());
        let none = &mut Limiter::new(PerMinute(0), start);
        assert!((0..10_000).all(|_| none.take(address, start).is_ok()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_a_mapped_one_is_ipv4() {
        let of = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn many_addresses_neither_grow_the_table_nor_buy_a_fresh_start() {
        let start = Instant::now();
        let mut limiter = Limiter::new(PerMinute(2), start);
        let first = v4(u32::MAX);
        for _ in 0..2 {
            limiter.take(first, start).unwrap();
        }
        let passed = (0..100_000)
            .filter(|number| limiter.take(v4(*number), start).is_ok())
            .count();
        assert_eq!(limiter.buckets.len(), MAX_ADDRESSES);
        assert_eq!(passed, MAX_ADDRESSES - 1 + 2, "the rest shares one bucket");
        assert!(limiter.take(first, start).is_err(), "not forgotten");
        let later = start + Duration::from_secs(120);
        assert_eq!(limiter.take(v4(500_000), later), Ok(()));
        assert_eq!(limiter.buckets.len(), 1, "who is quiet is forgotten");
    }
}
