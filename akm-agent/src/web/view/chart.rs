//! Charts, drawn here as SVG: bars of days, and how much of something is left.
//!
//! The numbers of a chart stand beside it in a table as well: a picture is no answer for somebody who cannot see it.
//! Colours come from the style; a shape has a class, never a style of its own.

use maud::{Markup, html};

/// One day: its date, and a number for each series.
pub(crate) struct Day {
    pub(crate) date: String,
    pub(crate) counts: Vec<u64>,
}

const WIDTH: usize = 720;
const HEIGHT: usize = 220;
const LEFT: usize = 40;
const BOTTOM: usize = 28;
const TOP: usize = 12;

/// Stacked bars, one for each day, the first series at the bottom. `series` are their names.
pub(crate) fn bars(label: &str, series: &[String], days: &[Day]) -> Markup {
    let most = days.iter().map(|day| day.counts.iter().sum()).max();
    let scale = scale(most.unwrap_or(0));
    let room = HEIGHT - BOTTOM - TOP;
    let height = |count: u64| (count as f64 / scale as f64 * room as f64).round() as usize;
    let slot = (WIDTH - LEFT) as f64 / days.len().max(1) as f64;
    let bar = (slot * 0.68).max(2.0);
    // Every how many days a date is written.
    let every = days.len().div_ceil(6).max(1);
    html! {
        // Wider than a narrow window, in which it scrolls; the newest are at its end, where a script begins.
        div.chart-frame data-newest {
        svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) tabindex="0" data-chart {
            @for step in 0..=4u64 {
                @let y = HEIGHT - BOTTOM - height(scale * step / 4);
                line.grid x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                text.axis x=(LEFT - 8) y=(y + 4) text-anchor="end" { (scale * step / 4) }
            }
            @for (index, day) in days.iter().enumerate() {
                @let x = LEFT as f64 + slot * index as f64 + (slot - bar) / 2.0;
                g.day data-tip=(tip(day, series)) {
                    rect.hit x=(format!("{:.1}", LEFT as f64 + slot * index as f64)) y=(TOP)
                        width=(format!("{slot:.1}")) height=(room) {}
                    @for (which, y, tall) in stacked(day, HEIGHT - BOTTOM, &height) {
                        rect class={ "series-" (which) } x=(format!("{x:.1}")) y=(y)
                            width=(format!("{bar:.1}")) height=(tall) rx="1.5" {}
                    }
                }
                @if index % every == 0 {
                    text.axis x=(format!("{:.1}", x + bar / 2.0)) y=(HEIGHT - 8) text-anchor="middle" {
                        (day.date.get(5..).unwrap_or(&day.date))
                    }
                }
            }
        }
        p.tip data-tip-of hidden {}
        }
    }
}

/// Series, top and height of each piece of a bar.
fn stacked(day: &Day, ground: usize, height: &dyn Fn(u64) -> usize) -> Vec<(usize, usize, usize)> {
    let mut under = 0;
    let mut pieces = Vec::new();
    for (which, count) in day.counts.iter().enumerate() {
        let (bottom, top) = (height(under), height(under + count));
        under += count;
        if *count > 0 {
            // One event among many is still seen.
            let tall = (top - bottom).max(1);
            pieces.push((which, ground - bottom - tall, tall));
        }
    }
    pieces
}

fn tip(day: &Day, series: &[String]) -> String {
    let mut tip = day.date.clone();
    for (name, count) in series.iter().zip(&day.counts) {
        tip.push_str(&format!("\n{name}: {count}"));
    }
    tip
}

/// The smallest round number that is not below: its quarters are whole.
fn scale(most: u64) -> u64 {
    let mut ten = 1;
    loop {
        for step in [4, 8, 20] {
            if most <= step * ten {
                return step * ten;
            }
        }
        ten *= 10;
    }
}

/// How much is left, of 1000 parts.
pub(crate) fn gauge(label: &str, left: u64, low: bool) -> Markup {
    let left = left.min(1000);
    html! {
        svg.gauge viewBox="0 0 1000 24" preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.gauge-ground width="1000" height="24" {}
            rect.gauge-left.low[low] width=(left) height="24" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_each_other_and_nothing_leaves_the_picture() {
        let day = Day {
            date: "2026-11-22".into(),
            counts: vec![3, 0, 1, 1_000_000],
        };
        let height = |count: u64| (count * 180 / 1_000_004) as usize;
        let pieces = stacked(&day, 192, &height);
        assert_eq!(pieces.len(), 3);
        assert!(
            pieces
                .iter()
                .all(|(_, top, tall)| *tall > 0 && top + tall <= 192)
        );
        let drawn = bars("x", &["<a>".into()], &[day]).into_string();
        assert!(
            drawn.contains("&lt;a&gt;: 3") && !drawn.contains("<a>"),
            "{drawn}"
        );
        // None of it is an error.
        for days in [
            Vec::new(),
            vec![Day {
                date: String::new(),
                counts: Vec::new(),
            }],
        ] {
            assert!(bars("x", &[], &days).into_string().contains("<svg"));
        }
    }

    #[test]
    fn a_scale_is_round_and_not_too_small() {
        for (most, wanted) in [
            (0, 4),
            (4, 4),
            (5, 8),
            (9, 20),
            (21, 40),
            (100, 200),
            (401, 800),
        ] {
            assert_eq!(scale(most), wanted, "{most}");
        }
    }
}
