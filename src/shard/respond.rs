//! Writes answers: an answer's outcome in its dialect, with the fields every answer has.

use std::sync::Arc;

use http::StatusCode;

use super::answer::{Answer, AnswerBody, Cors, PublishDialect, Publishes};
use crate::model::application::Applications;
use crate::model::application::CorsOrigins;
use crate::model::refusal::{Refusal, Refused};
use crate::proto::http1::{Date, Response, Terms, problem};
use crate::proto::native;

/// Appends a ready answer.
pub(super) fn write(
    out: &mut Vec<u8>,
    answer: Answer,
    date: &Date,
    applications: &Arc<Applications>,
) {
    match answer.body {
        AnswerBody::Ready(bytes) => out.extend_from_slice(&bytes),
        AnswerBody::Publishes(publishes) => {
            let origin = allowed_origin(answer.cors, applications);
            write_publishes(out, &publishes, answer.terms, date, origin);
        }
    }
}

/// The origin that may read the answer, as the header's value.
pub(super) fn allowed_origin(cors: Cors, applications: &Applications) -> Option<&str> {
    match cors {
        Cors::Absent => None,
        Cors::Any => Some("*"),
        Cors::Listed(app, index) => match &applications.get(app).cors_origins {
            CorsOrigins::List(origins) => origins.get(usize::from(index)).map(AsRef::as_ref),
            CorsOrigins::Any => Some("*"),
        },
    }
}

/// Adds the CORS fields (Fetch standard, CORS protocol).
pub(super) fn with_origin<'o>(response: Response<'o>, origin: Option<&str>) -> Response<'o> {
    match origin {
        None => response,
        Some("*") => response.header("Access-Control-Allow-Origin", "*"),
        Some(origin) => {
            response.header("Access-Control-Allow-Origin", origin).header("Vary", "Origin")
        }
    }
}

/// Appends a refusal as a problem body.
pub(super) fn write_refusal(
    out: &mut Vec<u8>,
    refused: &Refused,
    terms: Terms,
    date: &Date,
    origin: Option<&str>,
) {
    match origin {
        None => problem(out, refused, terms, date, &[]),
        Some("*") => problem(out, refused, terms, date, &[("Access-Control-Allow-Origin", "*")]),
        Some(origin) => {
            let fields = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")];
            problem(out, refused, terms, date, &fields);
        }
    }
}

fn write_publishes(
    out: &mut Vec<u8>,
    publishes: &Publishes,
    terms: Terms,
    date: &Date,
    origin: Option<&str>,
) {
    let refused = publishes.outcomes.iter().flatten().find_map(|outcome| outcome.as_ref().err());
    let mut body = Vec::with_capacity(128 * publishes.outcomes.len());
    match (publishes.dialect, refused) {
        (PublishDialect::Single, Some(refusal)) => {
            let refused = Refused::new(*refusal, "the message was not published; send it again");
            return write_refusal(out, &refused, terms, date, origin);
        }
        (PublishDialect::Single, None) => append_outcomes(&mut body, publishes),
        (PublishDialect::Batch, _) => {
            body.extend_from_slice(b"{\"results\":[");
            append_outcomes(&mut body, publishes);
            body.extend_from_slice(b"]}");
        }
    }
    // A batch of which a part was refused says 503 and, per message, what is to be sent again.
    let retry = refused.and_then(|refusal| refusal.entry().retry_after);
    let status = match refused {
        None => StatusCode::OK,
        Some(refusal) => {
            StatusCode::from_u16(refusal.entry().status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
        }
    };
    let mut response = with_origin(Response::start(out, status, terms, date), origin);
    if let Some(seconds) = retry {
        response = response.header_number("Retry-After", u64::from(seconds));
    }
    response.finish("application/json", &body);
}

fn append_outcomes(body: &mut Vec<u8>, publishes: &Publishes) {
    for (index, outcome) in publishes.outcomes.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        match outcome {
            Some(Ok(receipt)) => native::append_receipt(body, receipt.id, receipt.position),
            Some(Err(refusal)) => native::append_refusal(body, *refusal),
            None => native::append_refusal(body, Refusal::Internal),
        }
    }
}
