//! A QR code as SVG: always dark on light, whatever the page around it, because cameras expect that.

use akm_core::Secret;
use maud::{Markup, html};
use qrcode::{Color, EcLevel, QrCode};

/// The code of a text; nothing where the text is too long for one.
pub(crate) fn qr(text: &Secret, label: &str) -> Markup {
    /// Empty modules around it, as the standard wants them.
    const QUIET: usize = 4;
    let Ok(code) = QrCode::with_error_correction_level(text.expose(), EcLevel::M) else {
        return html! {};
    };
    let width = code.width();
    let size = width + 2 * QUIET;
    // One path for all modules: no gaps between them at any size.
    let mut path = zeroize::Zeroizing::new(String::new());
    for (index, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let (x, y) = (index % width + QUIET, index / width + QUIET);
            path.push_str(&format!("M{x} {y}h1v1h-1z"));
        }
    }
    html! {
        svg.qr viewBox=(format!("0 0 {size} {size}")) role="img" aria-label=(label) shape-rendering="crispEdges" {
            rect.qr-ground width=(size) height=(size) {}
            path.qr-ink d=(path.as_str()) {}
        }
    }
}
