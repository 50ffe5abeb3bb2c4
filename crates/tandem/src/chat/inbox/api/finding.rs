//! `/v1/chat/search`: what was said; `/v1/chat/reports`: how it went.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::State as Given;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use kernel::Problem;
use kernel::error::codes;
use kernel::http::{Json, PageQuery, Query, cursor};
use kernel::time::rfc3339;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::report::Report;
use super::super::reports::Span;
use super::super::search::{Hit, Said};
use crate::chat::Chats;
use crate::chat::api::Caller;

/// Longest query, characters.
const MAX_QUERY: usize = 500;

/// What is looked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchQuery {
    /// Words that all occur, the last one as a beginning; accents and case make no difference.
    q: Option<String>,
}

/// A message or a note in which the words stand.
#[derive(Serialize, ToSchema)]
pub(super) struct HitView {
    /// The room.
    room: String,
    /// The message's number; of a note that of the message before it.
    seq: i64,
    /// `note_...`, of a note.
    note: Option<String>,
    /// `visitor`, `agent`, `app` or `system`.
    role: &'static str,
    /// The sender's name.
    author: String,
    /// A piece around the words.
    text: String,
    /// RFC 3339.
    at: String,
    /// `open` or `closed`: the room.
    state: String,
    /// The visitor's name in the customer's own books.
    user_id: String,
}

impl From<Hit> for HitView {
    fn from(hit: Hit) -> Self {
        let Hit { state, user_id, text, said, .. } = hit;
        match said {
            Said::Message(message) => Self {
                room: message.room.to_string(),
                seq: message.seq,
                note: None,
                role: message.sender.role(),
                author: message.author,
                at: rfc3339(message.created_ms),
                text,
                state,
                user_id,
            },
            Said::Note(note) => Self {
                room: note.room.to_string(),
                seq: note.after_seq,
                note: Some(note.id.to_string()),
                role: note.author.role(),
                author: String::new(),
                at: rfc3339(note.created_ms),
                text,
                state,
                user_id,
            },
        }
    }
}

/// What was found.
#[derive(Serialize, ToSchema)]
pub(super) struct HitList {
    /// The newest first.
    hits: Vec<HitView>,
    /// Where the page ended; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// Find what was said, in messages and notes
#[utoipa::path(
    get, path = "/v1/chat/search", tag = "chat", params(SearchQuery, PageQuery),
    responses((status = 200, description = "What was found", body = HitList)),
    security(("bearer" = []))
)]
pub(super) async fn search(
    Given(chats): Given<Chats>,
    caller: Caller,
    Query(query): Query<SearchQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<HitList>, Problem> {
    let asker = caller.asker()?;
    let text = query.q.unwrap_or_default();
    if text.chars().count() > MAX_QUERY {
        return Err(Problem::new(codes::INVALID_REQUEST).and(
            "?q",
            "too_long",
            format!("at most {MAX_QUERY} characters"),
        ));
    }
    let wrong = || Problem::new(codes::INVALID_CURSOR).and("?cursor", "invalid", "not a cursor of this list");
    let before = page.after()?.map(|place| place.parse::<i64>().map_err(|_| wrong())).transpose()?;
    let limit = page.limit()?;
    let found = chats.search(&asker, &text, before, limit).await?;
    let is_full = usize::try_from(limit).is_ok_and(|limit| found.matches >= limit);
    let next = found.last.filter(|_| is_full).map(|position| cursor(&position.to_string()));
    Ok(Json(HitList { hits: found.hits.into_iter().map(HitView::from).collect(), cursor: next }))
}

/// Which days.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ReportQuery {
    /// First day, `YYYY-MM-DD`; six days before the last one when absent.
    from: Option<String>,
    /// Last day; today when absent. At most 366 days.
    to: Option<String>,
    /// Whose days they are, `Europe/Berlin`; UTC when absent.
    zone: Option<String>,
}

async fn report_of(chats: &Chats, caller: &Caller, query: &ReportQuery) -> Result<Report, Problem> {
    let asker = caller.asker()?;
    let span = Span::read(query.from.as_deref(), query.to.as_deref(), query.zone.as_deref(), chats.now_ms());
    let span = span.map_err(|(name, what)| Problem::new(codes::INVALID_REQUEST).and(name, "invalid", what))?;
    Ok(chats.report(&asker, &span).await?)
}

/// See how chats went: first response, resolution, ratings
#[utoipa::path(
    get, path = "/v1/chat/reports", tag = "chat", params(ReportQuery),
    responses((status = 200, description = "The report", body = Report)),
    security(("bearer" = []))
)]
pub(super) async fn report(
    Given(chats): Given<Chats>,
    caller: Caller,
    Query(query): Query<ReportQuery>,
) -> Result<Json<Report>, Problem> {
    Ok(Json(report_of(&chats, &caller, &query).await?))
}

/// The same as a table, a line a day
#[utoipa::path(
    get, path = "/v1/chat/reports.csv", tag = "chat", params(ReportQuery),
    responses((status = 200, description = "The days", body = String, content_type = "text/csv")),
    security(("bearer" = []))
)]
pub(super) async fn table(
    Given(chats): Given<Chats>,
    caller: Caller,
    Query(query): Query<ReportQuery>,
) -> Result<Response, Problem> {
    let report = report_of(&chats, &caller, &query).await?;
    Ok(([(CONTENT_TYPE, "text/csv; charset=utf-8")], report.csv()).into_response())
}
