//! What is counted, and how Prometheus reads it (`GET /metrics`).
//!
//! Invariants: an operation is counted with atomics alone, in places that exist from the start: no lock and no memory
//! taken on the way of a get. Labels are the names of operations and the tokens of errors; no key, account or caller
//! can become one. What is not counted (sessions, sizes) is looked up when somebody asks.
//!
//! The text is written by `prometheus-client`; its own families were left out, because they take a lock and a copy of the
//! labels for each count.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use akm_core::error::{Error, Kind, Result};
use akm_core::protocol::{Observed, Op, OperationCount};
use akm_core::service::Figures;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// What the answer is called.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Upper bounds of the latency classes in microseconds: a get takes tens, a change hundreds, a derivation a hundred
/// thousand, a provider up to its limit. One more class is beyond.
const BOUNDS_US: [u64; 14] = [
    10, 25, 50, 100, 250, 500, 1_000, 5_000, 25_000, 100_000, 500_000, 1_000_000, 10_000_000,
    60_000_000,
];

/// Counts of one agent.
pub(super) struct Metrics {
    operations: Box<[Operation]>,
}

#[derive(Default)]
struct Operation {
    classes: [AtomicU64; BOUNDS_US.len() + 1],
    nanos: AtomicU64,
    errors: [AtomicU64; Kind::ALL.len()],
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        Metrics {
            operations: Op::ALL.iter().map(|_| Operation::default()).collect(),
        }
    }

    /// An operation was answered.
    pub(super) fn count(&self, op: Op, error: Option<Kind>, took: Duration) {
        // `ALL` lists the variants in the order in which they are numbered; a test says so.
        let Some(operation) = self.operations.get(op as usize) else {
            return;
        };
        let micros = took.as_micros();
        let class = BOUNDS_US
            .iter()
            .position(|bound| micros <= u128::from(*bound))
            .unwrap_or(BOUNDS_US.len());
        operation.classes[class].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        operation.nanos.fetch_add(nanos, Ordering::Relaxed);
        let place = error.and_then(|kind| Kind::ALL.iter().position(|known| *known == kind));
        if let Some(place) = place {
            operation.errors[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Operations that were asked for.
    pub(super) fn counts(&self) -> Vec<OperationCount> {
        let counted = Op::ALL.iter().zip(&self.operations);
        counted
            .map(|(op, operation)| OperationCount {
                operation: op.name().to_owned(),
                answered: count(operation),
                failed: errors(operation, |_| true),
                faults: errors(operation, is_fault),
            })
            .filter(|counted| counted.answered > 0)
            .collect()
    }

    /// Everything, in the text format of Prometheus (OpenMetrics).
    pub(super) fn text(
        self: &Arc<Self>,
        figures: Figures,
        connections: usize,
        observed: Option<Observed>,
    ) -> Result<String> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape {
            metrics: Arc::clone(self),
            figures,
            connections,
            observed,
        }));
        let mut out = String::new();
        text::encode(&mut out, &registry)
            .map_err(|_| Error::internal("the metrics could not be written"))?;
        Ok(out)
    }
}

struct Scrape {
    metrics: Arc<Metrics>,
    figures: Figures,
    connections: usize,
    observed: Option<Observed>,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape(..)")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.operations(&mut encoder)?;
        self.gauges(&mut encoder)?;
        match &self.observed {
            Some(observed) => seen(observed, &mut encoder),
            None => Ok(()),
        }
    }
}

impl Scrape {
    /// Operations that were asked for; the others would be sixty lines of nothing.
    fn asked(&self) -> impl Iterator<Item = (&'static str, &Operation)> {
        let counted = Op::ALL.iter().zip(&self.metrics.operations);
        counted
            .filter(|(_, operation)| count(operation) > 0)
            .map(|(op, operation)| (op.name(), operation))
    }

    fn operations(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "akm_operations",
            "Operations that were answered",
            None,
            MetricType::Counter,
        )?;
        for (op, operation) in self.asked() {
            family
                .encode_family(&[("operation", op)])?
                .encode_counter::<NoLabelSet, u64, f64>(&count(operation), None)?;
        }
        let mut family = encoder.encode_descriptor(
            "akm_operation_errors",
            "Operations that failed or were refused, by the kind of the error",
            None,
            MetricType::Counter,
        )?;
        for (op, operation) in self.asked() {
            for (kind, errors) in Kind::ALL.iter().zip(&operation.errors) {
                let errors = errors.load(Ordering::Relaxed);
                if errors > 0 {
                    family
                        .encode_family(&[("operation", op), ("kind", kind.token())])?
                        .encode_counter::<NoLabelSet, u64, f64>(&errors, None)?;
                }
            }
        }
        let mut family = encoder.encode_descriptor(
            "akm_operation_duration_seconds",
            "From the head of a request to its answer",
            None,
            MetricType::Histogram,
        )?;
        for (op, operation) in self.asked() {
            let classes: Vec<(f64, u64)> = BOUNDS_US
                .iter()
                .map(|bound| *bound as f64 / 1e6)
                .chain([f64::MAX])
                .zip(&operation.classes)
                .map(|(bound, class)| (bound, class.load(Ordering::Relaxed)))
                .collect();
            let sum = operation.nanos.load(Ordering::Relaxed) as f64 / 1e9;
            let count = classes.iter().map(|(_, count)| count).sum();
            family
                .encode_family(&[("operation", op)])?
                .encode_histogram::<NoLabelSet>(sum, count, &classes, None)?;
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Figures {
            sessions,
            vault_bytes,
            last_backup_s,
            pending_events,
        } = self.figures;
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (name, help, value) in [
            (
                "akm_sessions",
                "Accounts that are unlocked",
                Some(number(sessions)),
            ),
            (
                "akm_connections",
                "Clients that are connected",
                Some(number(self.connections)),
            ),
            (
                "akm_vault_bytes",
                "Size of the vault's file and its log",
                i64::try_from(vault_bytes).ok(),
            ),
            (
                "akm_last_backup_timestamp_seconds",
                "When the newest backup was made; absent without one",
                last_backup_s,
            ),
            (
                "akm_audit_pending_events",
                "Events that wait in the journal",
                Some(number(pending_events)),
            ),
        ] {
            if let Some(value) = value {
                encoder
                    .encode_descriptor(name, help, None, MetricType::Gauge)?
                    .encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

/// What whoever watches saw.
fn seen(observed: &Observed, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let second = |time: &String| Some(time.parse::<jiff::Timestamp>().ok()?.as_second());
    let copy = observed.offsite.as_ref();
    for (name, help, value) in [
        (
            "akm_disk_free_bytes",
            "What is left on the vault's disk",
            observed
                .disk
                .as_ref()
                .and_then(|disk| i64::try_from(disk.free_bytes).ok()),
        ),
        (
            "akm_certificate_end_timestamp_seconds",
            "When the certificate of the listeners ends",
            observed.certificate_ends.as_ref().and_then(second),
        ),
        (
            "akm_offsite_timestamp_seconds",
            "When a backup was last copied elsewhere, or that was tried",
            copy.and_then(|copy| second(&copy.at)),
        ),
        (
            "akm_offsite_ok",
            "Whether that succeeded",
            copy.map(|copy| i64::from(copy.outcome == "ok")),
        ),
    ] {
        if let Some(value) = value {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&value)?;
        }
    }
    let mut family =
        encoder.encode_descriptor("akm_alert", "What to look at", None, MetricType::Gauge)?;
    for alert in &observed.alerts {
        family
            .encode_family(&[("alert", alert.alert.as_str())])?
            .encode_gauge(&1_i64)?;
    }
    Ok(())
}

fn errors(operation: &Operation, which: impl Fn(Kind) -> bool) -> u64 {
    let kinds = Kind::ALL.iter().zip(&operation.errors);
    kinds
        .filter(|(kind, _)| which(**kind))
        .map(|(_, errors)| errors.load(Ordering::Relaxed))
        .sum()
}

/// Whether an error of this kind is the server's own, and not of whoever asked or of a provider.
const fn is_fault(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Corrupt
            | Kind::RolledBack
            | Kind::UnsupportedVersion
            | Kind::Unavailable
            | Kind::Io
            | Kind::Internal
    )
}

fn count(operation: &Operation) -> u64 {
    let classes = operation.classes.iter();
    classes.map(|class| class.load(Ordering::Relaxed)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        Figures {
            sessions: 1,
            vault_bytes: 4096,
            last_backup_s: None,
            pending_events: 2,
        }
    }

    #[test]
    fn operations_are_numbered_as_they_are_listed() {
        for (index, op) in Op::ALL.iter().enumerate() {
            assert_eq!(*op as usize, index, "{}", op.name());
        }
    }

    #[test]
    fn counts_and_classes_are_told_as_prometheus_reads_them() {
        let metrics = Arc::new(Metrics::new());
        metrics.count(Op::KeyGet, None, Duration::from_micros(20));
        metrics.count(Op::KeyGet, None, Duration::from_micros(25));
        metrics.count(Op::KeyGet, Some(Kind::NotFound), Duration::from_secs(100));
        let text = metrics.text(figures(), 3, None).unwrap();
        for line in [
            "akm_operations_total{operation=\"key.get\"} 3",
            "akm_operation_errors_total{operation=\"key.get\",kind=\"not_found\"} 1",
            "akm_operation_duration_seconds_bucket{le=\"0.00001\",operation=\"key.get\"} 0",
            "akm_operation_duration_seconds_bucket{le=\"0.000025\",operation=\"key.get\"} 2",
            "akm_operation_duration_seconds_bucket{le=\"60.0\",operation=\"key.get\"} 2",
            "akm_operation_duration_seconds_bucket{le=\"+Inf\",operation=\"key.get\"} 3",
            "akm_operation_duration_seconds_count{operation=\"key.get\"} 3",
            "akm_sessions 1",
            "akm_connections 3",
            "akm_vault_bytes 4096",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(
            !text.contains("key.add") && !text.contains("backup"),
            "{text}"
        );
        let with_backup = Figures {
            last_backup_s: Some(7),
            ..figures()
        };
        let text = metrics.text(with_backup, 0, None).unwrap();
        assert!(
            text.contains("akm_last_backup_timestamp_seconds 7\n"),
            "{text}"
        );
    }
}
