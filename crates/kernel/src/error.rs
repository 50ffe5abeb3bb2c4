//! The register of error codes: each has a status, a title and an explanation that `/v1/errors/<code>` prints.
//!
//! Invariant: a code, once published, keeps its meaning; every `Problem` of the kernel names a code of this list.

/// One kind of error as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Stable name, used in `type` and `code`.
    pub code: &'static str,
    /// HTTP status it is answered with.
    pub status: u16,
    /// One line for people.
    pub title: &'static str,
    /// What happened and what to do about it.
    pub explanation: &'static str,
}

/// Declares codes as constants and lists them in `ALL`; desks use it for their own codes too.
#[macro_export]
macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $title:literal, $explanation:literal;)*) => {
        $($(#[$doc])*
        #[doc = $explanation]
        pub const $name: $crate::error::Code = $crate::error::Code {
            code: $code, status: $status, title: $title, explanation: $explanation,
        };)*
        /// Every code declared here.
        pub const ALL: &[$crate::error::Code] = &[$($name),*];
    };
}

/// The codes of the kernel: what any route may answer.
pub mod codes {
    error_codes! {
        UNREADABLE_JSON = "unreadable_json", 400, "The body is not readable JSON",
            "The body could not be read as JSON, or not as text in UTF-8. The detail names the line and column.";
        NUL_CHARACTER = "nul_character", 400, "A text holds U+0000",
            "The character U+0000 is refused in every text, path and query, because stores and headers cannot carry it.";
        INVALID_REQUEST = "invalid_request", 400, "The request is malformed",
            "A path, query, header or form value cannot be read. errors[] names the place.";
        INVALID_FIELD = "invalid_field", 422, "A field is missing or wrong",
            "The body is JSON, but a field is missing, unknown, of the wrong type or out of its range. Each entry of errors[] has a JSON pointer to the field.";
        INVALID_CURSOR = "invalid_cursor", 400, "The cursor is not one of this list",
            "Cursors are opaque: pass on the text that the last page gave, unchanged, or leave it out to begin.";
        UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415, "The body is not JSON",
            "This route reads JSON: send the header Content-Type: application/json.";
        UNAUTHORIZED = "unauthorized", 401, "A good credential is needed",
            "No credential came with the request, or one that is unknown, revoked or expired. Send Authorization: Bearer KEY.";
        FORBIDDEN = "forbidden", 403, "The credential may not do this",
            "The credential is good, but the role of its person or the scope of its application does not allow this action.";
        FOREIGN_ORIGIN = "foreign_origin", 403, "The request comes from another site",
            "A request that changes something by the cookie of a signed-in browser must come from a page of this server: its Origin header names another one, or is missing. Programs send Authorization: Bearer KEY.";
        NO_ORGANISATION_CHOSEN = "no_organisation_chosen", 403, "No organisation is chosen",
            "An administrator of the installation works in one organisation at a time: choose it in the console first.";
        NOT_FOUND = "not_found", 404, "There is nothing here",
            "No such route, or no such thing in the organisation of the credential.";
        METHOD_NOT_ALLOWED = "method_not_allowed", 405, "The route does not know this method",
            "The path exists, but not with this method; the Allow header lists those that do.";
        CONFLICT = "conflict", 409, "The change meets another one",
            "Something of that name exists already, or the thing was changed by someone else in the same moment. Read it again, then repeat.";
        IDEMPOTENCY_MISMATCH = "idempotency_mismatch", 409, "The Idempotency-Key was used for another request",
            "Within 24 hours an Idempotency-Key stands for one request: same route, same body. Use a fresh key for a new request.";
        IDEMPOTENCY_IN_FLIGHT = "idempotency_in_flight", 409, "The first request with this Idempotency-Key is still running",
            "Repeat after the seconds that Retry-After names; the answer of the first request will be given.";
        IDEMPOTENCY_UNKNOWN = "idempotency_unknown", 409, "Nobody knows what became of the first request with this Idempotency-Key",
            "The server stopped, or its store failed, while the first request with this key was running. It may have had its effect, so it is not run again. Look first: GET /v1/events and the list of what you were making show what happened since the time that the detail names. If nothing did, send the request with a fresh key.";
        BODY_TOO_LARGE = "body_too_large", 413, "The body is too large",
            "The body exceeds the limit of this route, which the detail names.";
        URI_TOO_LONG = "uri_too_long", 414, "The path or query is too long",
            "Path and query together may have 8 KiB.";
        RATE_LIMITED = "rate_limited", 429, "Too many requests",
            "A limit per address, per credential or per organisation is reached. Repeat after the seconds that Retry-After names.";
        INTERNAL = "internal", 500, "The server failed",
            "Something went wrong inside the server. The request id finds the reason in its log.";
        UNAVAILABLE = "unavailable", 503, "The server cannot answer now",
            "The server is starting, stopping or out of a resource. Repeat after the seconds that Retry-After names.";
        TIMED_OUT = "timed_out", 504, "The server gave up waiting",
            "The request took longer than the server allows. Whether it took effect is not known: read before repeating.";
    }
}

/// Finds a code in the kernel's register and in those of the desks.
pub fn explain(code: &str, others: &[&[Code]]) -> Option<Code> {
    std::iter::once(&codes::ALL).chain(others).flat_map(|list| list.iter()).find(|entry| entry.code == code).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_snake_case_and_explained() {
        let mut seen = std::collections::BTreeSet::new();
        for entry in codes::ALL {
            assert!(seen.insert(entry.code), "{} stands twice", entry.code);
            assert!(entry.code.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", entry.code);
            assert!((400..600).contains(&entry.status) && entry.explanation.len() > 20 && !entry.title.is_empty());
        }
        assert_eq!(explain("forbidden", &[]), Some(codes::FORBIDDEN));
        assert_eq!(explain("no_such", &[codes::ALL]), None);
    }
}
