//! The pictures of the dashboard: strokes on a grid of 24, in the colour of the text beside them.

use maud::{Markup, html};

/// The picture of a name; nothing for a name that has none.
pub(crate) fn icon(name: &str) -> Markup {
    let strokes: &[&str] = match name {
        "key" => &[
            "M8 16.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9Z",
            "M12.5 12H22",
            "M18 12v4",
            "M22 12v3",
        ],
        "layers" => &["M12 3 3 8l9 5 9-5-9-5Z", "M3 13l9 5 9-5"],
        "chart" => &["M4 20V10", "M10 20V4", "M16 20v-7", "M22 20H2"],
        "list" => &[
            "M8 6h13",
            "M8 12h13",
            "M8 18h13",
            "M3 6h.01",
            "M3 12h.01",
            "M3 18h.01",
        ],
        "user" => &[
            "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8Z",
            "M4 21c1-4 4-6 8-6s7 2 8 6",
        ],
        "lock" => &["M6 11h12v9H6z", "M8.5 11V8a3.5 3.5 0 0 1 7 0v3"],
        "plus" => &["M12 5v14", "M5 12h14"],
        "copy" => &["M9 9h11v11H9z", "M15 5H4v11"],
        "eye" => &[
            "M2 12c3-5 6-7 10-7s7 2 10 7c-3 5-6 7-10 7s-7-2-10-7Z",
            "M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
        ],
        "bolt" => &["M13 3 5 14h6l-1 7 8-11h-6l1-7Z"],
        "search" => &["M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14Z", "M16.5 16.5 21 21"],
        "check" => &["M4 12.5 9.5 18 20 6"],
        "alert" => &["M12 4 2.5 20h19L12 4Z", "M12 10v5", "M12 17.5v.01"],
        "download" => &["M12 4v11", "M7 11l5 5 5-5", "M4 20h16"],
        "shield" => &["M12 3 5 6v5c0 5 3 8 7 10 4-2 7-5 7-10V6l-7-3Z"],
        "next" => &["M9 5l7 7-7 7"],
        "coin" => &[
            "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z",
            "M8.5 9.5h7",
            "M8.5 13.5h7",
            "M12 9.5V17",
        ],
        _ => &[],
    };
    html! {
        svg.icon viewBox="0 0 24 24" aria-hidden="true" focusable="false" {
            @for stroke in strokes { path d=(stroke) {} }
        }
    }
}
