//! A page that is a list: what it is, the way to make one more, the rows, and what to do while there are none.

use askama::Template;

use super::form::Form;
use super::page::Page;
use super::table::Table;

/// Where a button leads, and its label.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) label: &'static str,
    pub(super) path: String,
}

impl Link {
    pub(super) fn new(label: &'static str, path: impl Into<String>) -> Self {
        Self { label, path: path.into() }
    }
}

/// The page.
#[derive(Clone, Debug, Template)]
#[template(path = "console/list.html")]
pub(super) struct ListPage {
    pub(super) page: Page,
    /// What these things are for, in a sentence.
    pub(super) about: &'static str,
    /// Buttons beside the heading.
    pub(super) actions: Vec<Link>,
    /// Other ways to look at the same, beside the heading.
    pub(super) others: Vec<Link>,
    /// Above the list: narrows it down, sent by GET, or makes one more.
    pub(super) filter: Option<Form>,
    pub(super) table: Table,
    /// While there is nothing: what to do next.
    pub(super) empty: &'static str,
    /// The next page: of older ones, or whatever its label says.
    pub(super) more: Option<String>,
    pub(super) more_label: &'static str,
}

impl ListPage {
    /// A list with nothing around it.
    pub(super) fn new(page: Page, about: &'static str, table: Table, empty: &'static str) -> Self {
        Self {
            page,
            about,
            actions: Vec::new(),
            others: Vec::new(),
            filter: None,
            table,
            empty,
            more: None,
            more_label: "Older",
        }
    }

    /// With a button beside the heading, when the visitor may press it.
    pub(super) fn action(mut self, may: bool, label: &'static str, path: impl Into<String>) -> Self {
        if may {
            self.actions.push(Link::new(label, path));
        }
        self
    }
}

/// A page that is a form.
#[derive(Clone, Debug, Template)]
#[template(path = "console/form_page.html")]
pub(super) struct FormPage {
    pub(super) page: Page,
    /// What it is for, in a sentence.
    pub(super) about: &'static str,
    /// Where to go instead: label and path.
    pub(super) back: Link,
    pub(super) form: Form,
}
