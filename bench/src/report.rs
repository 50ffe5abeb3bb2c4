//! The table that a run prints: one row a unit of work, one column a server, the goal, the ratio.

/// One unit of work and what it cost each server.
pub(crate) struct Row {
    /// What was measured, with its unit.
    pub(crate) unit: String,
    /// The goal of the issue that asked for it; `None` where there is none.
    pub(crate) goal: Option<f64>,
    /// Whether more is better (rates) or less (costs).
    pub(crate) more_is_better: bool,
    /// Server and figure, Tandem first.
    pub(crate) figures: Vec<(&'static str, f64)>,
}

impl Row {
    /// A cost: less is better.
    pub(crate) fn cost(unit: &str, goal: Option<f64>) -> Self {
        Self { unit: unit.to_owned(), goal, more_is_better: false, figures: Vec::new() }
    }

    /// A rate: more is better.
    pub(crate) fn rate(unit: &str, goal: Option<f64>) -> Self {
        Self { more_is_better: true, ..Self::cost(unit, goal) }
    }

    /// Adds a server's figure.
    #[must_use]
    pub(crate) fn with(mut self, server: &'static str, figure: f64) -> Self {
        self.add(server, figure);
        self
    }

    /// The same for a row that is being filled.
    pub(crate) fn add(&mut self, server: &'static str, figure: f64) {
        self.figures.push((server, figure));
    }

    /// One line of the table.
    pub(crate) fn line(&self) -> String {
        let own = self.figures.first().map_or(f64::NAN, |(_, figure)| *figure);
        let mut out = format!("{:<58} {:>10}", self.unit, short(own));
        if let Some(goal) = self.goal {
            let met = if self.more_is_better { own >= goal } else { own <= goal };
            out.push_str(&format!("   goal {:>7} {}", short(goal), if met { "met   " } else { "MISSED" }));
        } else {
            out.push_str("                       ");
        }
        for (server, figure) in self.figures.iter().skip(1) {
            out.push_str(&format!("   {server} {}", short(*figure)));
            if *figure != 0.0 {
                out.push_str(&format!(" (Tandem/{server} {:.2})", own / figure));
            }
        }
        out
    }
}

fn short(figure: f64) -> String {
    if figure.abs() >= 100.0 {
        format!("{figure:.0}")
    } else if figure.abs() >= 10.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.3}")
    }
}
