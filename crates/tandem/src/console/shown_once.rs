//! A page that shows what is shown once: keys, passwords, links.

use askama::Template;

use super::list::Link;
use super::page::Page;

/// The page.
#[derive(Clone, Debug, Template)]
#[template(path = "console/shown_once.html")]
pub(super) struct ShownOncePage {
    pub(super) page: Page,
    /// What was made, and what to do with what is shown.
    pub(super) about: String,
    /// Label and text.
    pub(super) secrets: Vec<(&'static str, String)>,
    /// Where to go on.
    pub(super) next: Link,
}
