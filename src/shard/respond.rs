//! Writes answers: an answer's outcome in its dialect, with the fields every answer has.

use std::sync::Arc;

use http::StatusCode;
use smallvec::SmallVec;

use super::answer::{Answer, AnswerBody, Cors, PublishDialect, Publishes};
use super::{past, polling, report};
use crate::model::application::Applications;
use crate::model::application::CorsOrigins;
use crate::model::refusal::{Refusal, Refused};
use crate::proto::http1::{Date, Response, Terms, problem};
use crate::proto::native;

/// Header fields.
pub(super) type Fields<'a> = SmallVec<[(&'static str, &'a str); 3]>;

/// Size in bytes from which the scratch buffer is given back after an answer.
const SCRATCH_SIZE_MAX: usize = 16 * 1024;

/// Appends a ready answer. The scratch buffer is left empty.
pub(super) fn write(
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    answer: Answer,
    date: &Date,
    applications: &Arc<Applications>,
) {
    match answer.body {
        AnswerBody::Ready(bytes) => out.extend_from_slice(&bytes),
        AnswerBody::Publishes(publishes) => {
            let fields = cors_fields(answer.cors, applications);
            write_publishes(out, scratch, &publishes, answer.terms, date, &fields);
            scratch.clear();
            scratch.shrink_to(SCRATCH_SIZE_MAX);
        }
        AnswerBody::History(history) => {
            let fields = cors_fields(answer.cors, applications);
            past::write(out, &history, answer.terms, date, &fields);
        }
        AnswerBody::Poll(poll) => {
            let fields = cors_fields(answer.cors, applications);
            polling::write(out, &poll, answer.terms, date, &fields);
        }
        AnswerBody::Asked(asked) => {
            let fields = cors_fields(answer.cors, applications);
            report::write(out, *asked, answer.terms, date, &fields);
        }
    }
}

/// Which origin may read the answer (Fetch standard, CORS protocol).
pub(super) fn cors_fields(cors: Cors, applications: &Applications) -> Fields<'_> {
    let mut fields = Fields::new();
    match cors {
        Cors::Absent => {}
        Cors::Any => fields.push(("Access-Control-Allow-Origin", "*")),
        Cors::Unlisted => fields.push(("Vary", "Origin")),
        Cors::Listed(app, index) => {
            let application = applications.get(app);
            if let CorsOrigins::List(origins) = &application.cors_origins
                && let Some(origin) = origins.get(usize::from(index))
            {
                fields.push(("Access-Control-Allow-Origin", origin));
                fields.push(("Vary", "Origin"));
            }
            if application.cors_credentials {
                fields.push(("Access-Control-Allow-Credentials", "true"));
            }
        }
    }
    fields
}

/// Writes fields.
pub(super) fn with_fields<'o>(
    response: Response<'o>,
    fields: &[(&'static str, &str)],
) -> Response<'o> {
    fields.iter().fold(response, |response, (name, value)| response.header(name, value))
}

fn write_publishes(
    out: &mut Vec<u8>,
    body: &mut Vec<u8>,
    publishes: &Publishes,
    terms: Terms,
    date: &Date,
    fields: &[(&'static str, &str)],
) {
    let refused = publishes.outcomes.iter().flatten().find_map(|outcome| outcome.as_ref().err());
    match (publishes.dialect, refused) {
        (PublishDialect::Single | PublishDialect::Simple, Some(refusal)) => {
            let refused = Refused::new(*refusal, "the message was not published; send it again");
            return problem(out, &refused, terms, date, fields);
        }
        (PublishDialect::Simple, None) => {
            let response = Response::start(out, StatusCode::OK, terms, date);
            return with_fields(response, fields).finish("text/plain;charset=utf-8", b"ok");
        }
        (PublishDialect::Single, None) => append_outcomes(body, publishes),
        (PublishDialect::Batch, _) => {
            body.extend_from_slice(b"{\"results\":[");
            append_outcomes(body, publishes);
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
    let mut response = with_fields(Response::start(out, status, terms, date), fields);
    if let Some(seconds) = retry {
        response = response.header_number("Retry-After", u64::from(seconds));
    }
    response.finish("application/json", body);
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
