//! What publishers send, read: a Realtime frame, a native batch, a whole HTTP exchange.

use std::fmt::Write as _;

use fanwire::model::id::MessageId;
use fanwire::model::message::Payload;
use fanwire::model::position::{Epoch, Lane, Position};
use fanwire::model::shard::ShardIndex;
use fanwire::model::topic::TopicName;
use fanwire::proto::http1::{
    Date, Decoded, Decoder, Limits, Response, Scratch, SizeLimit, decode_segment,
};
use fanwire::proto::json::Scanner;
use fanwire::proto::native;
use fanwire::proto::realtime::{Command, parse_command};
use http::StatusCode;

use super::{Op, text};

const DEPTH_MAX: usize = 64;
const LIMITS: Limits = Limits {
    target: SizeLimit { size_max: 8192, key: "target" },
    head: SizeLimit { size_max: 16_384, key: "head" },
};
const BODY: SizeLimit = SizeLimit { size_max: 1 << 20, key: "body" };

/// `{"type":"publish",…}` with a payload of `SIZE` bytes.
pub(crate) fn realtime<const SIZE: usize>() -> Op {
    let payload = json(SIZE);
    let frame = format!(
        r#"{{"type":"publish","data":{{"topic":"chat/room-7","messageType":"broadcast","compress":false,"payload":{payload},"id":"k3j5h2g8f1d"}}}}"#
    );
    let mut scanner = Scanner::new(DEPTH_MAX);
    Box::new(move || {
        let Ok(Command::Publish(publish)) = parse_command(&mut scanner, &frame) else {
            panic!("the frame is a publish")
        };
        publish.payload.len()
    })
}

/// `COUNT` messages of 200 bytes in one native batch.
pub(crate) fn batch<const COUNT: usize>() -> Op {
    let mut body = String::from("{\"messages\":[");
    for index in 0..COUNT {
        let comma = if index == 0 { "" } else { "," };
        let payload = json(200);
        write!(body, r#"{comma}{{"topic":"chat/room-{index}","data":{payload}}}"#)
            .expect("writing to memory");
    }
    body.push_str("]}");
    let mut scanner = Scanner::new(DEPTH_MAX);
    Box::new(move || {
        native::batch(&mut scanner, body.as_bytes(), COUNT, 0).expect("a valid batch").len()
    })
}

/// `POST /v1/demo/topics/…` as a backend sends it, whole in one read: decoded, its topic and payload
/// taken, its answer written.
pub(crate) fn http_publish<const SIZE: usize>() -> Op {
    let body = json(SIZE);
    let request = format!(
        "POST /v1/demo/topics/chat%2Froom-7 HTTP/1.1\r\nHost: broker.example.com\r\n\
         User-Agent: backend/1.0\r\nAccept: */*\r\nX-API-Key: 0123456789abcdef\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut decoder = Decoder::new();
    let mut scratch = Scratch::default();
    let mut scanner = Scanner::new(DEPTH_MAX);
    let date = Date::new(0);
    let position =
        Position { epoch: Epoch(0xbeef), lane: Lane::Home(ShardIndex(1)), offset: 0x12345 };
    let mut out = Vec::with_capacity(1024);
    let mut receipt = Vec::with_capacity(256);
    Box::new(move || {
        let (_, decoded) =
            decoder.decode(request.as_bytes(), &mut scratch, &LIMITS, |_head| Ok(BODY));
        let Decoded::Request(request) = decoded else { panic!("the request is whole") };
        let topic = request.head.path.strip_prefix("/v1/demo/topics/").expect("as written above");
        let topic = TopicName::native(&decode_segment(topic).expect("valid")).expect("legal");
        let content_type = request.head.headers.get("content-type");
        let payload = native::payload(&mut scanner, content_type, request.body).expect("JSON");
        let (Payload::Json(payload), terms) = (payload, request.head.terms()) else {
            panic!("declared JSON")
        };
        out.clear();
        receipt.clear();
        native::append_receipt(&mut receipt, MessageId::new(1, position), position);
        Response::start(&mut out, StatusCode::OK, terms, &date)
            .finish("application/json", &receipt);
        out.len() + topic.as_str().len() + payload.len()
    })
}

/// An object of `size` bytes with some structure.
fn json(size: usize) -> String {
    let head = r#"{"user":"u-4711","seq":42,"flags":[true,false,null],"text":""#;
    format!("{head}{}\"}}", text(size.saturating_sub(head.len() + 2)))
}
