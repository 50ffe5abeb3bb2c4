//! Forms: told field by field, filled with what was typed, and refused with an error beside the field.
//!
//! Invariant: what somebody typed is never lost to an error, except passwords; an error that names no field of the form
//! stands above it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use askama::Template;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use kernel::error::codes;
use kernel::http::{MAX_JSON_BODY, read_body};
use kernel::{Problem, RecordError};

/// Fields of one form at most.
const MAX_FIELDS: usize = 500;
/// A flow in a form is a little longer than as it is.
const MAX_FORM_BODY: usize = 4 * MAX_JSON_BODY;

/// What a form sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Posted(BTreeMap<String, Vec<String>>);

impl Posted {
    /// The value of a field, without blanks around it; empty when it did not come.
    pub(super) fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The value of a field as it was typed.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.0.get(name).and_then(|values| values.first()).map_or("", String::as_str)
    }

    /// The value of a field, if anything was typed.
    pub(super) fn optional(&self, name: &str) -> Option<String> {
        Some(self.get(name)).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// Every name with each of its values.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(name, values)| values.iter().map(move |value| (name.as_str(), value.as_str())))
    }

    /// Every value of a field.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a box was ticked.
    pub(super) fn is_ticked(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The words of a field, apart by commas, blanks or lines.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        let words = self.raw(name).split(|c: char| c == ',' || c.is_whitespace());
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }
}

impl<S: Send + Sync> FromRequest<S> for Posted {
    type Rejection = Problem;

    async fn from_request(mut request: Request, _: &S) -> Result<Self, Problem> {
        match request.extensions_mut().remove::<Self>() {
            // Its door has read it.
            Some(posted) => Ok(posted),
            None => Self::read(request.into_body()).await,
        }
    }
}

impl Posted {
    /// The fields of a form's body.
    ///
    /// # Errors
    /// A body that is too long, has too many fields, or U+0000 in one.
    pub(super) async fn read(body: Body) -> Result<Self, Problem> {
        let body = read_body(body, MAX_FORM_BODY).await?;
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (count, (name, value)) in url::form_urlencoded::parse(&body).enumerate() {
            if count >= MAX_FIELDS {
                return Err(Problem::new(codes::INVALID_REQUEST).detail(format!("at most {MAX_FIELDS} fields")));
            }
            if value.contains('\0') || name.contains('\0') {
                return Err(Problem::new(codes::NUL_CHARACTER));
            }
            // Browsers send a text's lines with CRLF.
            fields.entry(name.into_owned()).or_default().push(value.replace("\r\n", "\n"));
        }
        Ok(Self(fields))
    }
}

/// A value and its label.
pub(super) type Choice = (String, String);

/// How a field looks.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A line of this HTML type: `text`, `email`, `password`, `number`, `url`, `tel`, `date`.
    Line(&'static str),
    /// One of several.
    One(Vec<Choice>),
    /// Any of several.
    Many(Vec<Choice>),
    /// A box to tick.
    Tick,
    /// A text of so many rows.
    Text(u8),
    /// Not seen.
    Hidden,
}

/// One field.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) hint: Cow<'static, str>,
    pub(super) kind: Kind,
    pub(super) values: Vec<String>,
    pub(super) error: Option<String>,
    pub(super) is_optional: bool,
    pub(super) autocomplete: &'static str,
    /// Values that a line offers to choose from.
    pub(super) suggestions: Vec<String>,
}

impl Field {
    fn new(name: &'static str, label: &'static str, kind: Kind) -> Self {
        Self {
            name,
            label,
            hint: Cow::Borrowed(""),
            kind,
            values: Vec::new(),
            error: None,
            is_optional: false,
            autocomplete: "off",
            suggestions: Vec::new(),
        }
    }

    /// A line of text.
    pub(super) fn line(name: &'static str, label: &'static str) -> Self {
        Self::new(name, label, Kind::Line("text"))
    }

    /// A line of another HTML type.
    pub(super) fn typed(name: &'static str, label: &'static str, html_type: &'static str) -> Self {
        Self::new(name, label, Kind::Line(html_type))
    }

    /// One of several.
    pub(super) fn one(name: &'static str, label: &'static str, choices: Vec<Choice>) -> Self {
        Self::new(name, label, Kind::One(choices))
    }

    /// Any of several.
    pub(super) fn many(name: &'static str, label: &'static str, choices: Vec<Choice>) -> Self {
        Self::new(name, label, Kind::Many(choices)).optional()
    }

    /// A box to tick.
    pub(super) fn tick(name: &'static str, label: &'static str) -> Self {
        Self::new(name, label, Kind::Tick).optional()
    }

    /// A text of so many rows.
    pub(super) fn text(name: &'static str, label: &'static str, rows: u8) -> Self {
        Self::new(name, label, Kind::Text(rows))
    }

    /// A value that travels with the form.
    pub(super) fn hidden(name: &'static str, value: impl Into<String>) -> Self {
        Self::new(name, "", Kind::Hidden).optional().value(value)
    }

    /// What to type, in a few words.
    pub(super) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// It may stay empty.
    pub(super) fn optional(mut self) -> Self {
        self.is_optional = true;
        self
    }

    /// What stands in it at first.
    pub(super) fn value(mut self, value: impl Into<String>) -> Self {
        self.values = vec![value.into()];
        self
    }

    /// What is ticked at first.
    pub(super) fn ticked(mut self, is_ticked: bool) -> Self {
        self.values = if is_ticked { vec!["on".to_owned()] } else { Vec::new() };
        self
    }

    /// What is chosen at first.
    pub(super) fn chosen(mut self, values: Vec<String>) -> Self {
        self.values = values;
        self
    }

    /// What a line offers to choose from, besides typing.
    pub(super) fn suggesting(mut self, values: Vec<String>) -> Self {
        self.suggestions = values;
        self
    }

    /// What a browser may fill in by itself, in HTML's words.
    pub(super) fn autocomplete(mut self, word: &'static str) -> Self {
        self.autocomplete = word;
        self
    }

    /// The first value of it.
    pub(super) fn text_value(&self) -> &str {
        self.values.first().map_or("", String::as_str)
    }

    fn has(&self, value: &str) -> bool {
        self.values.iter().any(|known| known == value)
    }

    /// The attributes by which the field names its hint and its error.
    fn described(&self) -> Described<'_> {
        Described(self)
    }

    fn is_password(&self) -> bool {
        matches!(self.kind, Kind::Line("password"))
    }
}

/// The `aria-*` attributes of a field.
struct Described<'a>(&'a Field);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Field { name, hint, error, is_optional, .. } = self.0;
        if !is_optional {
            write!(f, r#" aria-required="true""#)?;
        }
        match (hint.is_empty(), error.is_some()) {
            (true, false) => Ok(()),
            (false, false) => write!(f, r#" aria-describedby="{name}-hint""#),
            (true, true) => write!(f, r#" aria-invalid="true" aria-describedby="{name}-error""#),
            (false, true) => write!(f, r#" aria-invalid="true" aria-describedby="{name}-hint {name}-error""#),
        }
    }
}

/// Names of fields are words of ours.
impl askama::filters::HtmlSafe for Described<'_> {}

/// A form, which is shown by naming it in a template.
#[derive(Clone, Debug, Template)]
#[template(path = "console/form.html")]
pub(super) struct Form {
    /// Where it is posted to.
    pub(super) action: String,
    /// On its button.
    pub(super) submit: &'static str,
    /// In their order.
    pub(super) fields: Vec<Field>,
    /// What is wrong with none of the fields alone.
    pub(super) problem: Option<String>,
    /// Sent by GET, in one row: it narrows a list down.
    pub(super) is_search: bool,
}

/// Every value in it is escaped by its own template.
impl askama::filters::HtmlSafe for Form {}

impl Form {
    /// Whether anything must be told: where nothing must, nothing is marked as optional.
    fn asks(&self) -> bool {
        self.fields.iter().any(|field| !field.is_optional && !matches!(field.kind, Kind::Hidden | Kind::Tick))
    }

    /// A form that posts to `action`.
    pub(super) fn new(action: impl Into<String>, submit: &'static str) -> Self {
        Self { action: action.into(), submit, fields: Vec::new(), problem: None, is_search: false }
    }

    /// A form that narrows a list down.
    pub(super) fn search(action: impl Into<String>, submit: &'static str) -> Self {
        Self { is_search: true, ..Self::new(action, submit) }
    }

    /// Adds a field.
    pub(super) fn with(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// With what was typed, passwords excepted.
    pub(super) fn filled(mut self, posted: &Posted) -> Self {
        for field in self.fields.iter_mut().filter(|field| !field.is_password()) {
            field.values = posted.all(field.name).to_vec();
        }
        self
    }

    /// With another value in a field.
    pub(super) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        if let Some(field) = self.fields.iter_mut().find(|field| field.name == name) {
            field.values = vec![value.into()];
        }
        self
    }

    /// With an error beside a field, or above all when it has no such field.
    pub(super) fn wrong(mut self, name: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        match self.fields.iter_mut().find(|field| field.name == name) {
            Some(field) => field.error = Some(message),
            None => self.problem = Some(message),
        }
        self
    }

    /// With, beside each field that differs, what somebody else has saved meanwhile; `now` is the form as it would be
    /// shown now. Sent again, what was typed holds.
    pub(super) fn overtaken(mut self, now: &Self) -> Self {
        for (typed, now) in self.fields.iter_mut().zip(&now.fields) {
            let (theirs, ours) = (now.text_value().trim(), typed.text_value().trim());
            if theirs != ours {
                let theirs = if theirs.is_empty() { "nothing" } else { theirs };
                typed.error = Some(format!("Somebody else has saved meanwhile: {theirs}"));
            }
        }
        self.wrong(
            "",
            "Somebody else has saved other settings meanwhile; nothing of yours is saved yet. Where \
            the two differ it stands beside the field. Save again when yours shall hold.",
        )
    }

    /// With the errors of a refusal beside their fields.
    ///
    /// # Errors
    /// The problem itself when it is none of the form's: a failure inside, or a limit.
    pub(super) fn refused(mut self, problem: impl Into<Problem>) -> Result<Self, Problem> {
        let problem: Problem = problem.into();
        if problem.status().is_server_error() || problem.code == codes::RATE_LIMITED {
            return Err(problem);
        }
        for error in &problem.errors {
            let field = error.pointer.trim_start_matches(['/', '?']).split('/').next().unwrap_or_default().to_owned();
            self = self.wrong(&field, error.message.clone());
        }
        if problem.errors.is_empty() {
            self.problem = Some(problem.detail.clone().unwrap_or_else(|| problem.code.title.to_owned()));
        }
        Ok(self)
    }

    /// The same for what the kernel refuses: something that is named and does not exist is an error of its field.
    ///
    /// # Errors
    /// As [`Form::refused`].
    pub(super) fn refused_record(self, error: RecordError, named_by: &str) -> Result<Self, Problem> {
        match error {
            RecordError::NotFound { .. } => Ok(self.wrong(named_by, error.to_string())),
            error => self.refused(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> Form {
        Form::new("/x", "Save").with(Field::line("name", "Name")).with(Field::typed("password", "Password", "password"))
    }

    async fn posted(body: &'static str) -> Result<Posted, Problem> {
        Posted::from_request(Request::new(body.into()), &()).await
    }

    #[tokio::test]
    async fn what_was_typed_stays_and_passwords_do_not() {
        let sent = posted("name=%3Cb%3E&password=secret&member=1&member=2").await.unwrap();
        assert_eq!(sent.all("member"), ["1", "2"]);
        let html = form().filled(&sent).render().unwrap();
        assert!(html.contains("&#60;b&#62;") && !html.contains("secret"), "{html}");
    }

    #[tokio::test]
    async fn errors_stand_beside_their_field_or_above_all() {
        let refused = form().refused(Problem::field("/name", "invalid", "too long")).unwrap();
        assert_eq!(refused.fields[0].error.as_deref(), Some("too long"));
        let html = refused.render().unwrap();
        assert!(html.contains("aria-invalid=\"true\"") && html.contains("aria-describedby"), "{html}");
        let refused = form().refused(Problem::field("/other", "invalid", "no")).unwrap();
        assert_eq!(refused.problem.as_deref(), Some("no"));
        assert!(form().refused(Problem::internal("x")).is_err(), "a failure inside is not the visitor's");
    }

    #[tokio::test]
    async fn a_form_has_an_end() {
        assert!(posted("a=%00").await.is_err());
        let long: &'static str = Box::leak("a=1&".repeat(MAX_FIELDS + 1).into_boxed_str());
        assert!(posted(long).await.is_err());
    }
}
