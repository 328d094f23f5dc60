//! The `OpenAPI` document against the running broker: what it documents is there, what is there is
//! documented.

mod support;

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use support::token::{EVERYTHING, admin_token, application, bearer, client_token, enter};
use support::{Broker, Response, Setup, on_each_with, request_bytes, upgrade_bytes};

/// The document as it stands in the repository.
const DOCUMENT: &str = include_str!("../src/shard/dispatch/openapi.json");

const METHODS: [&str; 8] = ["get", "post", "delete", "put", "patch", "options", "head", "trace"];

fn setup(setup: Setup) -> Setup {
    // The simple form of polling is there only for an application that is named.
    let setup = setup.with("POLL_SIMPLE_APPLICATION", "demo").with("POLL_WAIT_MAX", "100ms");
    setup.config(&application("same_subject = \"allow\""))
}

fn document() -> Value {
    support::json(DOCUMENT)
}

/// Follows a `$ref` of the document's own.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(pointer) => {
            let target = document.pointer(pointer.strip_prefix('#').expect("its own"));
            resolve(document, target.unwrap_or_else(|| panic!("{pointer} points nowhere")))
        }
        None => value,
    }
}

fn paths(document: &Value) -> &Map<String, Value> {
    document["paths"].as_object().expect("paths")
}

/// Every documented operation: path, method, operation.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    paths(document).iter().flat_map(|(path, item)| {
        let operations = item.as_object().expect("a path item");
        operations
            .iter()
            .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// A request as the document describes it, filled in with its own examples.
fn request(
    document: &Value,
    connection: &str,
    path: &str,
    method: &str,
    operation: &Value,
) -> Vec<u8> {
    let mut target = path.to_owned();
    let mut query = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let parameter = resolve(document, parameter);
        let name = parameter["name"].as_str().expect("a name");
        let example = parameter["example"].as_str().unwrap_or_default();
        match parameter["in"].as_str() {
            Some("path") => {
                let value = if name == "connectionId" { connection } else { example };
                assert!(!value.is_empty(), "{name} of {path} has no example");
                target = target.replace(&format!("{{{name}}}"), value);
            }
            Some("query") if parameter["required"] == true => {
                query.push(format!("{name}={example}"));
            }
            _ => {}
        }
    }
    if !query.is_empty() {
        target = format!("{target}?{}", query.join("&"));
    }
    let token = if path.starts_with("/apps/") {
        client_token("alice", &EVERYTHING)
    } else {
        admin_token(&EVERYTHING)
    };
    let fields = match operation["security"].as_array() {
        Some(schemes) if schemes.is_empty() => vec![],
        _ => vec![("Authorization", bearer(&token))],
    };
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if operation["responses"]["101"].is_object() {
        return upgrade_bytes(&target, &fields);
    }
    let media = operation["requestBody"]["content"].as_object().and_then(|all| all.values().next());
    let body = media.map(|media| {
        let first = media["examples"].as_object().and_then(|all| all.values().next());
        first.map_or(&media["example"], |example| &example["value"]).to_string()
    });
    request_bytes(&method.to_uppercase(), &target, &fields, body.unwrap_or_default().as_bytes())
}

/// Sends and reads the answer; of what lasts only the head.
fn answer(broker: &Broker, request: &[u8]) -> Response {
    let mut http = broker.http();
    http.send(request);
    let mut head = http.head().expect("an answer");
    if let Some(size) = head.header("content-length") {
        let mut body = vec![0; size.parse().expect("a number")];
        if !request.starts_with(b"HEAD ") {
            let mut reader = http.into_reader();
            std::io::Read::read_exact(&mut reader, &mut body).expect("the whole body");
        }
        head.body = body;
    }
    head
}

/// Fails unless the operation documents this answer: status, media type, header fields.
fn check_documented(document: &Value, what: &str, operation: &Value, answer: &Response) {
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{what}: {} is not documented", answer.status);
    let response = resolve(document, response);
    match (answer.header("content-type"), response["content"].as_object()) {
        (Some(media), Some(content)) => {
            assert!(content.contains_key(media), "{what}: {media} is not documented");
        }
        (None, None) => {}
        (found, documented) => panic!("{what}: {found:?}, and documented {documented:?}"),
    }
    for (name, _) in response["headers"].as_object().into_iter().flatten() {
        let is_optional = name == "Sec-WebSocket-Extensions";
        let found = answer.header(&name.to_ascii_lowercase());
        assert!(is_optional || found.is_some(), "{what}: no {name}: {answer:?}");
    }
}

#[test]
fn the_broker_serves_the_document_as_it_stands() {
    on_each_with(setup, |broker| {
        let answer = broker.http().request("GET", "/openapi.json", &[], b"");
        assert_eq!((answer.status, answer.text()), (200, DOCUMENT));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    });
}

#[test]
fn every_operation_is_met_as_documented() {
    let document = document();
    on_each_with(setup, |broker| {
        for (path, method, operation) in operations(&document) {
            // Some of them close what there is.
            let socket = enter(broker, "alice", &[]);
            let request = request(&document, &socket.id, path, method, operation);
            let answer = answer(broker, &request);
            let what = format!("{method} {path}");
            // Nobody publishes, so the simple poll ends as that client wants it.
            let is_as_wanted =
                answer.status < 300 || (path == "/subscribe" && answer.status == 502);
            assert!(is_as_wanted, "{what}: {} {}", answer.status, answer.text());
            check_documented(&document, &what, operation, &answer);
        }
    });
}

#[test]
fn every_gated_operation_refuses_strangers_as_documented() {
    let document = document();
    on_each_with(setup, |broker| {
        for (path, method, operation) in operations(&document) {
            let request = request(&document, &"0".repeat(32), path, method, operation);
            let text = String::from_utf8(request).expect("UTF-8");
            let what = format!("{method} {path}");
            let is_gated = operation["security"].as_array().is_some_and(|all| !all.is_empty());
            if !is_gated || path == "/" && method == "get" {
                // The page at `/` is everyone's; only its stream is not.
                continue;
            }
            let without: String = text
                .split_inclusive("\r\n")
                .filter(|line| !line.starts_with("Authorization: "))
                .collect();
            let met = answer(broker, without.as_bytes());
            assert_eq!((met.status, met.problem().as_str()), (401, "unauthorized"), "{what}");
            check_documented(&document, &what, operation, &met);
            let elsewhere = text.replacen("demo", "none", 1);
            if elsewhere != text && path != "/" {
                let met = answer(broker, elsewhere.as_bytes());
                assert_eq!((met.status, met.problem().as_str()), (404, "unknown_application"));
                check_documented(&document, &what, operation, &met);
            }
        }
    });
}

#[test]
fn other_methods_are_refused_and_allow_names_the_documented_ones() {
    let document = document();
    on_each_with(setup, |broker| {
        for (path, item) in paths(&document) {
            let operations = item.as_object().expect("a path item");
            let mut documented: BTreeSet<String> =
                operations.keys().map(|method| method.to_uppercase()).collect();
            if documented.contains("GET") {
                documented.insert("HEAD".to_owned());
            }
            documented.insert("OPTIONS".to_owned());
            let target = path.replace("{app}", "demo");
            let target = target.replace("{topic}", "t").replace("{connectionId}", "x");
            for method in METHODS.map(str::to_uppercase) {
                if documented.contains(&method) && method != "OPTIONS" {
                    continue;
                }
                let answer = answer(broker, &request_bytes(&method, &target, &[], b""));
                let what = format!("{method} {target}");
                if method == "OPTIONS" {
                    assert_eq!(answer.status, 204, "{what}");
                } else if method == "HEAD" {
                    assert_eq!(answer.status, 405, "{what}");
                } else {
                    assert_eq!((answer.status, answer.problem().as_str()), (405, "bad_method"));
                }
                let allow = answer.header("allow").expect("RFC 9110 §15.5.6");
                let allowed: BTreeSet<_> = allow.split(", ").map(str::to_owned).collect();
                assert_eq!(allowed, documented, "{what}");
            }
        }
    });
}

#[test]
fn a_path_that_is_not_documented_is_not_there() {
    on_each_with(setup, |broker| {
        for path in
            ["/v1", "/v1/demo/", "/v2/demo", "/api", "/api/topics/demo", "/apps", "/openapi.yaml"]
        {
            let answer = answer(broker, &request_bytes("GET", path, &[], b""));
            assert_eq!(
                (answer.status, answer.problem().as_str()),
                (404, "unknown_route"),
                "{path}"
            );
        }
    });
}

#[test]
fn every_refusal_is_in_the_problem_s_list_and_no_other() {
    let document = document();
    let listed = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
        .as_array()
        .expect("a list");
    let listed: Vec<_> = listed.iter().filter_map(Value::as_str).collect();
    let known: Vec<_> =
        fanwire::model::refusal::Refusal::ALL.map(|refusal| refusal.entry().code).into();
    assert_eq!(listed, known);
}

#[test]
fn examples_of_refusals_say_what_the_broker_would() {
    let document = document();
    for (name, response) in document["components"]["responses"].as_object().expect("responses") {
        let example = &response["content"]["application/problem+json"]["example"];
        let entry = fanwire::model::refusal::Refusal::ALL
            .map(fanwire::model::refusal::Refusal::entry)
            .into_iter()
            .find(|entry| example["code"] == entry.code)
            .unwrap_or_else(|| panic!("{name} has no known code"));
        assert_eq!(
            (&example["status"], &example["title"], &example["type"]),
            (
                &entry.status.into(),
                &entry.title.into(),
                &format!("urn:fanwire:problem:{}", entry.code).into()
            ),
            "{name}"
        );
    }
}
