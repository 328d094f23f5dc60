//! Writes answers to requests for history.

use http::StatusCode;

use super::answer::{History, HistoryShape};
use super::polling::append_items;
use super::respond::{Fields, with_fields};
use crate::model::position::Position;
use crate::model::recovery::LossReason;
use crate::model::refusal::{Refusal, Refused};
use crate::model::store::Page;
use crate::proto::http1::{Date, Response, Terms, problem};
use crate::proto::{json, sse};

/// Writes the answer once its page has come.
pub(super) fn write(
    out: &mut Vec<u8>,
    history: &History,
    terms: Terms,
    date: &Date,
    fields: &Fields<'_>,
) {
    let Some(Ok(page)) = &history.outcome else {
        let refused = Refused::new(Refusal::StoreFailed, "the store could not be read");
        return problem(out, &refused, terms, date, fields);
    };
    match &history.shape {
        HistoryShape::List => write_list(out, history, page, terms, date, fields),
        HistoryShape::Latest(known) => {
            write_latest(out, page, known.as_deref(), terms, date, fields);
        }
    }
}

fn write_list(
    out: &mut Vec<u8>,
    history: &History,
    page: &Page,
    terms: Terms,
    date: &Date,
    fields: &Fields<'_>,
) {
    let (epoch, lane) = history.lane;
    let at = |offset| Position { epoch, lane, offset };
    let first = page.messages.first().map(|message| message.position);
    let is_unknown = history.after.is_some_and(|after| page.through < after);
    let is_short = history.after.is_some_and(|after| page.lost_through > after);
    let loss = history
        .loss
        .or(is_unknown.then_some(LossReason::UnknownPosition))
        .or(is_short.then_some(LossReason::TooOld));
    let mut body = Vec::with_capacity(256 * (1 + page.messages.len()));
    body.extend_from_slice(b"{\"messages\":[");
    append_items(&mut body, &page.messages);
    body.extend_from_slice(b"],\"first\":");
    append_position(&mut body, first);
    body.extend_from_slice(b",\"last\":");
    append_position(&mut body, Some(at(page.through)));
    body.extend_from_slice(if page.has_more { b",\"more\":true" } else { b",\"more\":false" });
    body.extend_from_slice(b",\"lost\":");
    match loss {
        None => body.extend_from_slice(b"null"),
        Some(reason) => sse::loss(&mut body, reason, std::slice::from_ref(&history.topic)),
    }
    body.push(b'}');
    with_fields(Response::start(out, StatusCode::OK, terms, date), fields)
        .header("Cache-Control", "private, no-cache")
        .finish("application/json", &body);
}

fn append_position(out: &mut Vec<u8>, position: Option<Position>) {
    match position {
        None => out.extend_from_slice(b"null"),
        Some(position) => json::escape_into(out, &position.to_string()),
    }
}

fn write_latest(
    out: &mut Vec<u8>,
    page: &Page,
    known: Option<&str>,
    terms: Terms,
    date: &Date,
    fields: &Fields<'_>,
) {
    let latest = page.messages.last();
    let tag = latest.map(|message| format!("\"{}\"", message.id)).unwrap_or_default();
    let status = match latest {
        None => StatusCode::NO_CONTENT,
        Some(_) if known == Some(&*tag) => StatusCode::NOT_MODIFIED,
        Some(_) => StatusCode::OK,
    };
    let mut response = with_fields(Response::start(out, status, terms, date), fields)
        .header("Cache-Control", "private, no-cache");
    if latest.is_some() {
        response = response.header("ETag", &tag);
    }
    if status != StatusCode::OK {
        return response.finish_empty();
    }
    let mut body = Vec::new();
    append_items(&mut body, &page.messages[page.messages.len() - 1..]);
    response.finish("application/json", &body);
}
