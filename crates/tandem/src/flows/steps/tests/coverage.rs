//! Compares the step table of docs/contracts/flows.md with the tests beside this file, by name: a field or an edge
//! that the contract lists and no test names fails here, and so does a step type that is not built.
use std::collections::BTreeSet;

use super::*;

const CONTRACT: &str = include_str!("../../../../../../docs/contracts/flows.md");
/// The sentence of the contract that names what comes later.
const LATER: &str = "Later: ";

/// The tests of a type: its own file, or functions of `small` that begin with its name.
fn source(kind: &str) -> &'static str {
    match kind {
        "call" => include_str!("call.rs"),
        "play" => include_str!("play.rs"),
        "digits" => include_str!("digits.rs"),
        "http" => include_str!("http.rs"),
        "connect" => include_str!("connect.rs"),
        "conference" => include_str!("conference.rs"),
        "callback" => include_str!("callback.rs"),
        "queue" => include_str!("queue.rs"),
        "stream" => include_str!("stream.rs"),
        _ => include_str!("small.rs"),
    }
}

fn rows() -> Vec<Vec<String>> {
    let table = CONTRACT.split("## Steps").nth(1).unwrap().split("## Semantics").next().unwrap();
    table
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|---") && !line.starts_with("| type"))
        .map(|line| {
            line.replace("\\|", "\u{1}")
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().replace('\u{1}', "|"))
                .collect()
        })
        .collect()
}

/// Splits at commas outside brackets.
fn split(text: &str) -> Vec<String> {
    let (mut depth, mut out) = (0, vec![String::new()]);
    for c in text.chars() {
        match c {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 { out.push(String::new()) } else { out.last_mut().unwrap().push(c) }
    }
    out.into_iter().map(|piece| piece.trim().to_owned()).filter(|piece| !piece.is_empty()).collect()
}

fn name(text: &str) -> String {
    text.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

fn fields(cell: &str) -> BTreeSet<String> {
    let alternatives = |piece: String| -> Vec<String> {
        let piece = piece.replace(" xor/and ", " or ");
        let pieces: Vec<&str> = piece.split(" or ").collect();
        pieces.iter().flat_map(|p| p.split_whitespace().next().unwrap_or_default().split('|')).map(name).collect()
    };
    split(cell).into_iter().flat_map(alternatives).collect()
}

fn edges(cell: &str) -> BTreeSet<String> {
    let cell = cell.replace("`*`", "any ");
    let known = ["next_step", "success", "fail", "exact", "any"];
    let quoted: BTreeSet<String> =
        cell.split('`').skip(1).step_by(2).flat_map(|list| list.split(',')).map(name).collect();
    let plain = cell
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| known.contains(word))
        .map(str::to_owned);
    quoted.into_iter().chain(plain).collect()
}

fn later() -> BTreeSet<String> {
    let sentence = CONTRACT.split(LATER).nth(1).unwrap().split('.').next().unwrap();
    sentence.split(',').map(name).collect()
}

/// `name(argument, argument)` or `name=sugar`.
fn small(piece: &str) -> (String, Vec<String>) {
    let arguments = piece.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')'));
    (name(piece), split(arguments).iter().map(|argument| name(argument)).collect())
}

/// Whether a function stands there as a test that asserts something.
fn is_tested(source: &str, function: &str) -> bool {
    let body = source.split_once(&format!("#[test]\n{function}")).map(|(_, rest)| rest);
    let body = body.and_then(|rest| rest.split_once("\n}\n").map(|(body, _)| body));
    body.is_some_and(|body| body.contains("assert"))
}

#[test]
fn a_test_without_an_assertion_covers_nothing() {
    assert!(is_tested("#[test]\nfn field_x() {\n    assert!(true);\n}\n", "fn field_x("));
    for idle in [
        "fn field_x() {\n    assert!(true);\n}\n",
        "#[test]\nfn field_x() {\n}\n",
        "#[test]\nfn field_x() {\n}\n#[test]\nfn field_y() {\n    assert!(true);\n}\n",
    ] {
        assert!(!is_tested(idle, "fn field_x("), "{idle}");
    }
}

/// A row of the table that explains one type.
fn is_one_type(row: &[String]) -> bool {
    split(row[0].split('(').next().unwrap_or_default()).len() == 1 && !row[1].is_empty()
}

/// The types of a row that lists several, with their arguments.
fn listed(row: &[String]) -> impl Iterator<Item = (String, Vec<String>)> {
    let later = later();
    split(&row[0]).into_iter().map(|piece| small(&piece)).filter(move |(kind, _)| !later.contains(kind))
}

/// Every type with each of its fields, as the contract has them.
pub(in crate::flows) fn contract_fields() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for row in rows() {
        let kinds = if is_one_type(&row) {
            vec![(name(&row[0]), fields(&row[1]).into_iter().collect())]
        } else {
            listed(&row).collect()
        };
        found.extend(
            kinds.into_iter().flat_map(|(kind, fields)| fields.into_iter().map(move |field| (kind.clone(), field))),
        );
    }
    found
}

/// Every type that has a row of its own with each of its edges.
pub(in crate::flows) fn contract_edges() -> Vec<(String, String)> {
    let own = rows().into_iter().filter(|row| is_one_type(row));
    own.flat_map(|row| edges(&row[2]).into_iter().map(move |edge| (name(&row[0]), edge))).collect()
}

#[test]
fn every_field_and_edge_of_the_contract_has_a_test() {
    let mut wanted = Vec::new();
    for row in rows() {
        if is_one_type(&row) {
            let kind = name(&row[0]);
            wanted.extend(fields(&row[1]).into_iter().map(|field| (kind.clone(), format!("fn field_{field}("))));
            wanted.extend(edges(&row[2]).into_iter().map(|edge| (kind.clone(), format!("fn edge_{edge}("))));
        } else {
            for (kind, arguments) in listed(&row) {
                if arguments.is_empty() {
                    wanted.push((kind.clone(), format!("fn {kind}(")));
                }
                wanted.extend(arguments.into_iter().map(|argument| (kind.clone(), format!("fn {kind}_{argument}("))));
            }
        }
    }
    let missing: Vec<_> = wanted.iter().filter(|(kind, test)| !is_tested(source(kind), test)).collect();
    assert!(missing.is_empty(), "nothing asserted for {missing:?}");
    assert!(wanted.len() >= 65, "the table was not read: {wanted:?}");
    let kinds: BTreeSet<&str> = wanted.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds.len(), 18, "{kinds:?}");
}

#[test]
fn every_alias_of_the_contract_is_read() {
    for row in rows() {
        let Some((kind, aliases)) = row[0].split_once(" (") else {
            continue;
        };
        for alias in aliases.trim_end_matches(')').split(',') {
            let step = json!({"type": alias.trim(), "text": "x", "number": "5263"});
            let run = Run::of(step);
            let entered =
                run.find(|effect| if let Effect::Enter { step, .. } = effect { Some(step.kind) } else { None });
            assert_eq!(entered, kind);
        }
    }
}
