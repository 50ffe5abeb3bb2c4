//! `list` and `remove`, which every noun has in the same way: a table, or `{"items":[...]}`; a sentence, or `{"id"}`.
//!
//! Invariant: a thing is removed from the organisation that is named, or nothing is.

use clap::Args;
use kernel::{Kernel, Org, RecordError};
use serde_json::{Map, Value, json};

use super::{Answer, CliError};

/// Rows that are read at once.
const PAGE: i64 = 500;
/// Between two columns of a table.
const GAP: &str = "  ";

/// One line of a list: its columns in their order, by name.
pub(super) type Item = Vec<(&'static str, Value)>;

#[derive(Args, Debug)]
pub struct List {
    /// Id or slug of an organisation [default: all of them]
    #[arg(long)]
    org: Option<String>,
}

#[derive(Args, Debug)]
pub struct Remove {
    /// Its id, as `list` shows it
    id: String,
    /// Id or slug of the organisation
    #[arg(long)]
    org: String,
}

impl List {
    /// What `items` finds in each organisation, with its slug in front of the other columns.
    pub(super) async fn run(
        self,
        kernel: &Kernel,
        items: impl AsyncFn(&Org) -> Result<Vec<Item>, CliError>,
    ) -> Result<Answer, CliError> {
        let orgs = match &self.org {
            Some(org) => vec![kernel.find_org(org).await?],
            None => kernel.orgs().await?,
        };
        let mut all = Vec::new();
        for org in orgs {
            for mut item in items(&org).await? {
                item.insert(item.len().min(1), ("org", json!(org.slug)));
                all.push(item);
            }
        }
        Ok(answer(&all))
    }
}

impl Remove {
    /// Lets `remove` say whether the organisation had such a `what`.
    pub(super) async fn run(
        self,
        kernel: &Kernel,
        what: &'static str,
        remove: impl AsyncFn(&Org, &str) -> Result<bool, CliError>,
    ) -> Result<Answer, CliError> {
        let org = kernel.find_org(&self.org).await?;
        if !remove(&org, &self.id).await? {
            return Err(RecordError::NotFound { what, name: self.id }.into());
        }
        Ok(removed(what, &self.id))
    }
}

/// What a removal answers.
pub(super) fn removed(what: &str, id: &str) -> Answer {
    Answer { text: format!("{what} {id} is removed"), json: json!({"id": id}) }
}

/// What a list answers.
pub(super) fn answer(items: &[Item]) -> Answer {
    let object = |item: &Item| item.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let objects: Vec<Map<String, Value>> = items.iter().map(object).collect();
    Answer { text: table(items), json: json!({"items": objects}) }
}

/// Every page of a list that goes on after an id.
pub(super) async fn pages<T>(
    page: impl AsyncFn(&str, i64) -> Result<Vec<T>, CliError>,
    id: impl Fn(&T) -> &str,
) -> Result<Vec<T>, CliError> {
    let mut all: Vec<T> = Vec::new();
    loop {
        let more = page(all.last().map_or("", &id), PAGE).await?;
        if more.is_empty() {
            return Ok(all);
        }
        all.extend(more);
    }
}

/// The names of the columns, then a line an item; each column as wide as its widest word.
fn table(items: &[Item]) -> String {
    let Some(first) = items.first() else { return "none".to_owned() };
    let mut lines: Vec<Vec<String>> = vec![first.iter().map(|(name, _)| (*name).to_owned()).collect()];
    lines.extend(items.iter().map(|item| item.iter().map(|(_, value)| word(value)).collect()));
    let widths: Vec<usize> = (0..first.len())
        .map(|column| lines.iter().filter_map(|line| line.get(column)).map(|word| word.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let line = |words: &Vec<String>| {
        let padded: Vec<String> = words.iter().zip(&widths).map(|(word, width)| format!("{word:<width$}")).collect();
        padded.join(GAP).trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "-".to_owned(),
        Value::Array(list) => list.iter().map(word).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_table_for_people_and_items_for_scripts() {
        let items: Vec<Item> = vec![
            vec![("id", json!("trunk_1")), ("name", json!("Zürich")), ("targets", json!(["a", "b"]))],
            vec![("id", json!("t_2")), ("name", json!(null)), ("targets", json!([]))],
        ];
        let answer = answer(&items);
        assert_eq!(answer.text, "id       name    targets\ntrunk_1  Zürich  a,b\nt_2      -       -");
        assert_eq!(answer.json["items"][1], json!({"id": "t_2", "name": null, "targets": []}));
        let none = super::answer(&[]);
        assert_eq!((none.text.as_str(), none.json), ("none", json!({"items": []})));
    }
}
