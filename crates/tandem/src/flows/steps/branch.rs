//! `branch`: compares a variable and goes by `true` or `false`.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};

use super::{Context, Exit, Turn};
use crate::flows::check::fields::Fields;

pub(super) const EDGES: &[&str] = &["true", "false"];
/// Memory that one compiled pattern may take, in bytes. Matching itself is linear in the text.
const MAX_PATTERN_SIZE: usize = 256 * 1024;
/// Patterns of one flow.
const MAX_PATTERNS: usize = 50;

/// Configuration of a `branch` step.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// The variable's name.
    pub variable: String,
    /// What is asked of it.
    pub test: Test,
}

/// A comparison. Numbers are compared as numbers by `lt` and `gt` only; `eq` and `ne` compare texts, so that leading
/// zeros count.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the contract's words")]
pub enum Test {
    Eq(String),
    Ne(String),
    Lt(String),
    Gt(String),
    /// A regular expression that matches anywhere in the text.
    Matches(Regex),
    Exists,
}

impl PartialEq for Test {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

#[derive(Clone, Copy)]
enum Op {
    Eq,
    Ne,
    Lt,
    Gt,
    Matches,
    Exists,
}

const OPS: [(&str, Op); 6] =
    [("eq", Op::Eq), ("ne", Op::Ne), ("lt", Op::Lt), ("gt", Op::Gt), ("matches", Op::Matches), ("exists", Op::Exists)];

impl Branch {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let variable = fields.required_text("variable").unwrap_or_default();
        let path = fields.path("variable");
        if !variable.is_empty() {
            // A name that no step sets gets the same warning as in a template.
            fields.found.used.push((variable.clone(), path));
        }
        if fields.value("op").is_none() {
            fields.missing("op");
        }
        let op = fields.choice("op", &OPS, Op::Exists);
        let value = read_value(fields, op);
        let test = match op {
            Op::Eq => Test::Eq(value),
            Op::Ne => Test::Ne(value),
            Op::Lt => Test::Lt(value),
            Op::Gt => Test::Gt(value),
            Op::Exists => Test::Exists,
            Op::Matches => read_pattern(fields, &value),
        };
        Self { variable, test }
    }

    fn holds(&self, value: Option<&str>) -> bool {
        match (&self.test, value) {
            (Test::Exists, value) => value.is_some(),
            (Test::Ne(wanted), value) => value != Some(wanted),
            (_, None) => false,
            (Test::Eq(wanted), Some(value)) => value == wanted,
            (Test::Lt(wanted), Some(value)) => order(value, wanted) == Some(Ordering::Less),
            (Test::Gt(wanted), Some(value)) => order(value, wanted) == Some(Ordering::Greater),
            (Test::Matches(pattern), Some(value)) => pattern.is_match(value),
        }
    }

    pub(super) fn start(&self, context: &mut Context<'_>) -> Turn {
        let holds = self.holds(context.variables.get(&self.variable));
        Turn::Done(Exit::by(if holds { "true" } else { "false" }))
    }
}

fn read_value(fields: &mut Fields<'_>, op: Op) -> String {
    use serde_json::Value;
    match (fields.value("value"), op) {
        (_, Op::Exists) => String::new(),
        (Some(Value::String(text)), _) => text.clone(),
        (Some(Value::Number(number)), _) => number.to_string(),
        (Some(Value::Bool(flag)), _) => flag.to_string(),
        (Some(_), _) => {
            let path = fields.path("value");
            fields.found.report.error("invalid_type", path, "value must be a text, a number or a boolean");
            String::new()
        }
        (None, _) => {
            fields.missing("value");
            String::new()
        }
    }
}

fn read_pattern(fields: &mut Fields<'_>, value: &str) -> Test {
    fields.found.patterns += 1;
    if fields.found.patterns > MAX_PATTERNS {
        let (path, message) = (fields.path("value"), format!("a flow has {MAX_PATTERNS} patterns at most"));
        fields.found.report.error("limit_exceeded", path, message);
        return Test::Exists;
    }
    match RegexBuilder::new(value).size_limit(MAX_PATTERN_SIZE).build() {
        Ok(pattern) => Test::Matches(pattern),
        Err(error) => {
            fields.out_of_range("value", format!("value is no regular expression: {error}"));
            Test::Exists
        }
    }
}

/// As numbers when both are, else as texts.
fn order(left: &str, right: &str) -> Option<Ordering> {
    match (left.trim().parse::<f64>(), right.trim().parse::<f64>()) {
        (Ok(left), Ok(right)) => left.partial_cmp(&right),
        _ => Some(left.cmp(right)),
    }
}
