//! Tables: rows of cells, which become cards on a narrow screen.

use askama::Template;

/// What a cell shows.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// Words.
    Text(String),
    /// Words that are less important.
    Quiet(String),
    /// An id, a number, a URL.
    Code(String),
    /// Words that lead somewhere: label and path.
    Link(String, String),
    /// A state: its word and its colour (`good`, `bad`, `busy`, `plain`).
    State(String, &'static str),
    /// A moment, RFC 3339, shown in the visitor's own zone.
    Time(String),
    /// The same, leading somewhere: moment and path.
    TimeLink(String, String),
    /// A button that posts to a path: label, path, whether it must be confirmed.
    Button(&'static str, String, Option<&'static str>),
    /// Nothing.
    Empty,
}

impl Cell {
    /// Words.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Words that may be missing.
    pub(super) fn optional(text: Option<String>) -> Self {
        text.filter(|text| !text.is_empty()).map_or(Self::Empty, Self::Text)
    }

    /// Words that lead somewhere.
    pub(super) fn link(label: impl Into<String>, path: impl Into<String>) -> Self {
        Self::Link(label.into(), path.into())
    }

    /// A moment that may be missing.
    pub(super) fn time(at: Option<String>) -> Self {
        at.map_or(Self::Empty, Self::Time)
    }
}

/// A table, which is shown by naming it in a template.
#[derive(Clone, Debug, Template)]
#[template(path = "console/table.html")]
pub(super) struct Table {
    /// For who cannot see it.
    pub(super) caption: &'static str,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// Every value in it is escaped by its own template.
impl askama::filters::HtmlSafe for Table {}

impl Table {
    /// An empty table.
    pub(super) fn new(caption: &'static str, columns: &[&'static str]) -> Self {
        Self { caption, columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, a cell for each column.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// With these rows.
    pub(super) fn with(mut self, rows: impl IntoIterator<Item = Vec<Cell>>) -> Self {
        self.rows.extend(rows);
        self
    }

    /// Whether there is no row.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The cells of a row with the names of their columns.
    fn named<'a>(&'a self, row: &'a [Cell]) -> impl Iterator<Item = (&'static str, &'a Cell)> {
        self.columns.iter().copied().zip(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_named_and_escaped() {
        let table = Table::new("People", &["Name", "State"])
            .with([vec![Cell::text("<Ann>"), Cell::State("ready".to_owned(), "good")]]);
        let html = table.render().unwrap();
        assert!(html.contains("&#60;Ann&#62;") && html.contains("data-label=\"Name\""), "{html}");
    }
}
