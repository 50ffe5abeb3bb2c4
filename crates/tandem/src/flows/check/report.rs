//! What a check found. Problems carry a stable code and a JSON pointer from the body's root.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

/// Errors that are told of one body, and as many warnings; one more says that there are others.
pub(super) const MAX_PROBLEMS: usize = 100;

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = FlowProblem)]
pub struct Problem {
    /// Stable code, such as `unknown_step`.
    #[schema(value_type = String)]
    pub code: Cow<'static, str>,
    /// JSON pointer from the body's root (a missing field points to its step).
    pub path: String,
    /// For people.
    pub message: String,
}

/// All errors and warnings of one body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// With one of these the flow does not run.
    pub errors: Vec<Problem>,
    /// It runs, perhaps not as meant.
    pub warnings: Vec<Problem>,
}

impl Report {
    /// Adds an error.
    pub fn error(&mut self, code: &'static str, path: impl Into<String>, message: impl Into<String>) {
        add(&mut self.errors, code, path, message);
    }

    /// Adds a warning.
    pub fn warn(&mut self, code: &'static str, path: impl Into<String>, message: impl Into<String>) {
        add(&mut self.warnings, code, path, message);
    }
}

/// The path is written only here, for a problem that is told.
fn add(problems: &mut Vec<Problem>, code: &'static str, path: impl Into<String>, message: impl Into<String>) {
    let problem = match problems.len() {
        0..MAX_PROBLEMS => Problem { code: code.into(), path: path.into(), message: message.into() },
        MAX_PROBLEMS => Problem {
            code: "limit_exceeded".into(),
            path: String::new(),
            message: format!("there are more; these are the first {MAX_PROBLEMS}"),
        },
        _ => return,
    };
    problems.push(problem);
}

/// Something that only the organisation's data can answer; the shell asks and adds to the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Where a problem would point.
    pub path: String,
    /// What is asked.
    pub ask: Ask,
}

/// See [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// May this number be called or connected (`unknown_entity`, `number_not_allowed`)?
    Number(String),
    /// Is this the number of a person or a team (`unknown_entity`)?
    Entity(String),
    /// Is this the number of a team (`unknown_entity`)?
    Team(String),
    /// Is this the number of a person, who has a box (`unknown_entity`)?
    Mailbox(String),
    /// May this caller id be shown to that callee (`caller_id_replaced`)? The callee is none when a template gives it.
    CallerId {
        /// The author's wish.
        wanted: String,
        /// Whom it is shown to.
        callee: Option<String>,
        /// Who may be shown to callees inside; none for the call to him.
        customer: Option<String>,
    },
    /// Is the host of this URL, when it is a literal address, open for outgoing requests (`url_blocked`)?
    Url(String),
}
