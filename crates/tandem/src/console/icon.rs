//! Line icons, drawn on a grid of 24 by 24, as inline SVG.

use std::fmt;

/// An icon of the table below.
#[derive(Clone, Copy, Debug)]
pub(super) struct Icon(pub(super) &'static str);

/// Name and drawing.
const DRAWINGS: &[(&str, &str)] = &[
    ("home", "M4 11 12 4l8 7v9h-5v-6H9v6H4z"),
    ("live", "M4 12h3l3-7 4 14 3-7h3"),
    ("phone", "M6 3h4l2 5-2.5 1.5a11 11 0 0 0 5 5L16 12l5 2v4a3 3 0 0 1-3 3A15 15 0 0 1 3 6a3 3 0 0 1 3-3z"),
    ("calls", "M4 6h16M4 12h16M4 18h10"),
    ("callback", "M5 12a7 7 0 1 1 2 5M5 20v-4h4M12 8v4l3 2"),
    ("chat", "M4 5h16v11H10l-4 4v-4H4zM8 9h8M8 12h5"),
    ("calendar", "M4 6h16v15H4zM4 10h16M8 3v5M16 3v5M8 14h3M13 14h3M8 17h3"),
    ("flow", "M9 4h6v5H9zM3 15h6v5H3zM15 15h6v5h-6zM12 9v3M6 15v-3h12v3"),
    ("run", "M7 4v16l13-8z"),
    ("recording", "M12 4a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V7a3 3 0 0 0-3-3zM6 11a6 6 0 0 0 12 0M12 17v4"),
    ("voicemail", "M7 8a4 4 0 1 0 0 8h10a4 4 0 1 0-4-4 4 4 0 0 0 1.5 3.1M7 8a4 4 0 0 1 2.5 7.1"),
    ("people", "M9 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM2 21a7 7 0 0 1 14 0M17 5a3.5 3.5 0 0 1 0 7M18 15a6 6 0 0 1 4 6"),
    (
        "team",
        "M12 9a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM5 20a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM19 20a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM12 9v4M12 13l-5 2M12 13l5 2",
    ),
    ("queue", "M5 5h14M5 10h14M5 15h9M5 20h5"),
    ("number", "M9 4 7 20M17 4l-2 16M4 9h17M3 15h17"),
    ("trunk", "M4 12a8 8 0 1 0 16 0 8 8 0 0 0-16 0zM4 12h16M12 4c3 2.5 3 13.5 0 16M12 4c-3 2.5-3 13.5 0 16"),
    ("key", "M14 10a4 4 0 1 0-3.5 4L13 11.5h2V9.5h2v-2h3V4h-3z"),
    (
        "webhook",
        "M10 14a4 4 0 0 1 0-5.6l3-3a4 4 0 0 1 5.6 5.6L17 12.6M14 10a4 4 0 0 1 0 5.6l-3 3A4 4 0 0 1 5.400 13L7 11.400",
    ),
    ("events", "M12 3v6l4 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z"),
    ("outbox", "M3 6h18v12H3zM3 7l9 7 9-7"),
    ("settings", "M5 7h9M18 7h1M5 17h1M10 17h9M14 5v4M10 15v4M5 12h14"),
    ("audit", "M12 3l8 3v6c0 5-4 8-8 9-4-1-8-4-8-9V6zM9 12l2 2 4-4"),
    ("product", "M3 12V4h8l10 10-7 7zM7.500 8.500h.01"),
    ("code", "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h2v2h-2zM18 14h2v2h-2zM14 18h2v2h-2zM18 18h2v2h-2z"),
    ("report", "M4 20h16M7 20v-7M12 20V6M17 20v-10"),
    ("health", "M12 20S4 15 4 9.500A4.500 4.500 0 0 1 12 7a4.500 4.500 0 0 1 8 2.500C20 15 12 20 12 20z"),
    ("building", "M5 21V4h9v17M14 10h5v11M3 21h18M8 8h3M8 12h3M8 16h3"),
    ("user", "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21a8 8 0 0 1 16 0"),
    ("menu", "M4 6h16M4 12h16M4 18h16"),
    ("plus", "M12 5v14M5 12h14"),
    ("check", "M5 13l4 4L19 7"),
    ("warning", "M12 4 2.500 20h19zM12 10v4M12 17v.5"),
    ("exit", "M10 4H5v16h5M14 8l4 4-4 4M18 12H9"),
    ("theme", "M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z"),
    ("download", "M12 4v11M7 11l5 5 5-5M5 20h14"),
    ("hangup", "M3 14c5-5 13-5 18 0l-2.500 3-4-1.500V13c-1.500-.5-3.500-.5-5 0v2.500L5.500 17z"),
];

/// Whether there is an icon of this name.
#[cfg(test)]
pub(super) fn exists(name: &str) -> bool {
    DRAWINGS.iter().any(|(known, _)| *known == name)
}

impl fmt::Display for Icon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = DRAWINGS.iter().find(|(name, _)| *name == self.0).map_or("", |(_, path)| path);
        write!(
            f,
            r#"<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d="{path}"/></svg>"#
        )
    }
}

/// A drawing of ours needs no escaping.
impl askama::filters::HtmlSafe for Icon {}
