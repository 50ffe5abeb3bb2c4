//! What organisations, people and applications have in common: how their fields are checked, and how making, finding
//! or changing one can fail.
//!
//! Invariant: an error names the field in the words of the API, so that the command line and a form can point at it.

use crate::db::DbError;
use crate::error::codes;
use crate::problem::Problem;
use crate::secret::SecretError;

/// Longest name of a thing, in characters.
const MAX_NAME: usize = 200;
/// Longest mail address (RFC 5321, 4.5.3.1.3).
pub(crate) const MAX_EMAIL: usize = 254;

/// Why a record could not be made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A field's value is refused.
    #[error("{field}: {message}")]
    Invalid {
        /// As the API calls it.
        field: &'static str,
        /// What is expected.
        message: String,
    },
    /// Another record has this value already.
    #[error("{field}: \"{value}\" is taken")]
    Taken {
        /// As the API calls it.
        field: &'static str,
        /// The value.
        value: String,
    },
    /// There is no such record in the organisation.
    #[error("there is no {what} \"{name}\"")]
    NotFound {
        /// organisation, person, application ...
        what: &'static str,
        /// The id or name that was asked for.
        name: String,
    },
    /// Somebody else changed it in the same moment.
    #[error("it was changed by someone else in the same moment; try again")]
    Conflict,
    /// The store failed.
    #[error("the store: {0}")]
    Db(#[source] DbError),
    /// The server's key failed.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Hashing a password failed.
    #[error("the password cannot be hashed: {0}")]
    Password(String),
}

impl RecordError {
    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { field, message: message.into() }
    }

    pub(crate) fn not_found(what: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { what, name: name.into() }
    }

    /// A unique key was hit: by this value of this field.
    pub(crate) fn taken(field: &'static str, value: impl Into<String>) -> impl FnOnce(DbError) -> Self {
        let value = value.into();
        move |e| match e {
            DbError::Duplicate(_) => Self::Taken { field, value },
            e => e.into(),
        }
    }
}

impl From<DbError> for RecordError {
    fn from(e: DbError) -> Self {
        match e {
            DbError::Conflict => Self::Conflict,
            e => Self::Db(e),
        }
    }
}

impl From<RecordError> for Problem {
    fn from(e: RecordError) -> Self {
        match e {
            RecordError::Invalid { field, message } => Self::field(format!("/{field}"), "invalid", message),
            RecordError::Taken { field, .. } => {
                Self::new(codes::CONFLICT).detail(e.to_string()).and(format!("/{field}"), "taken", e.to_string())
            }
            RecordError::NotFound { .. } => Self::not_found().detail(e.to_string()),
            RecordError::Conflict => Self::new(codes::CONFLICT).detail(e.to_string()),
            RecordError::Db(_) | RecordError::Secret(_) | RecordError::Password(_) => Self::internal(e),
        }
    }
}

/// A name for people: trimmed, one line, not empty.
pub(crate) fn check_name(name: &str) -> Result<String, RecordError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(RecordError::invalid("name", format!("1 to {MAX_NAME} characters in one line")));
    }
    Ok(name.to_owned())
}

/// A mail address, in lower case. What is no address at all is refused; whether mail arrives, only mail can tell.
pub(crate) fn check_email(email: &str) -> Result<String, RecordError> {
    let email = email.trim().to_lowercase();
    let good = email.len() <= MAX_EMAIL
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && is_host(domain));
    if good { Ok(email) } else { Err(RecordError::invalid("email", "a mail address such as ann@example.org")) }
}

/// A host name: labels of letters, digits and inner hyphens (RFC 1123, 2.1).
pub(crate) fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        assert_eq!(check_name("  Ann Lee ").unwrap(), "Ann Lee");
        for bad in ["", "  ", "a\nb", "a\0b", &"x".repeat(201)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check_email("Ann@Example.ORG").unwrap(), "ann@example.org");
        for bad in ["", "ann", "@x.org", "ann@", "a b@x.org", "ann@-x.org", "ann@x..org", "ann@x@y.org"] {
            assert!(check_email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_failure_has_its_status() {
        let status = |e: RecordError| Problem::from(e).code.status;
        assert_eq!(status(RecordError::invalid("slug", "x")), 422);
        assert_eq!(status(RecordError::taken("slug", "dev")(DbError::Duplicate("x".into()))), 409);
        assert_eq!(status(RecordError::not_found("organisation", "x")), 404);
        assert_eq!(status(DbError::Conflict.into()), 409);
        assert_eq!(status(DbError::Closed.into()), 500);
    }
}
