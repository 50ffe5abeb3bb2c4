//! Lists in pages: an opaque cursor and a limit.
//!
//! Invariant: a cursor only says where to go on; what may be seen is decided by the query, not by the cursor.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::error::codes;
use crate::problem::Problem;

/// Items of a page when none is said.
pub const DEFAULT_PAGE: u32 = 50;
/// Items of a page at most.
pub const MAX_PAGE: u32 = 500;
/// Longest cursor that is read.
const MAX_CURSOR: usize = 512;

/// `?cursor=..&limit=..`
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Where the last page ended, as that page said; absent = from the beginning.
    pub cursor: Option<String>,
    /// 1 to 500; 50 when absent.
    pub limit: Option<u32>,
}

impl PageQuery {
    /// What was given to [`cursor`]; `None` at the beginning.
    ///
    /// # Errors
    /// 400 for what is no cursor.
    pub fn after(&self) -> Result<Option<String>, Problem> {
        let Some(text) = self.cursor.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let wrong = || Problem::new(codes::INVALID_CURSOR).and("?cursor", "invalid", "not a cursor of this list");
        if text.len() > MAX_CURSOR {
            return Err(wrong());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let place = String::from_utf8(bytes).map_err(|_| wrong())?;
        if place.contains('\0') { Err(wrong()) } else { Ok(Some(place)) }
    }

    /// How many items.
    ///
    /// # Errors
    /// 400 when it is 0 or too many.
    pub fn limit(&self) -> Result<i64, Problem> {
        match self.limit.unwrap_or(DEFAULT_PAGE) {
            limit @ 1..=MAX_PAGE => Ok(limit.into()),
            _ => Err(Problem::new(codes::INVALID_REQUEST).and("?limit", "out_of_range", format!("1 to {MAX_PAGE}"))),
        }
    }
}

/// The cursor that goes on after `place`.
pub fn cursor(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(cursor: Option<&str>, limit: Option<u32>) -> PageQuery {
        PageQuery { cursor: cursor.map(str::to_owned), limit }
    }

    #[test]
    fn limits_and_beginnings() {
        assert_eq!(page(None, None).limit().unwrap(), 50);
        assert_eq!(page(None, Some(500)).limit().unwrap(), 500);
        assert!(page(None, Some(0)).limit().is_err() && page(None, Some(501)).limit().is_err());
        assert_eq!(page(None, None).after().unwrap(), None);
        assert_eq!(page(Some(""), None).after().unwrap(), None);
        for bad in ["%", "a", "AA", "_w", &"A".repeat(1_000)] {
            assert_eq!(page(Some(bad), None).after().unwrap_err().code, codes::INVALID_CURSOR, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back(place in "[^\0]{1,60}") {
            prop_assert_eq!(page(Some(&cursor(&place)), None).after().unwrap().unwrap(), place);
        }
    }
}
