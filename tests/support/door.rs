//! Every door that asks for a credential, and a way to knock at each.

use std::io::Read as _;

use super::http::request_bytes;
use super::websocket::upgrade_bytes;
use super::{Broker, Response};

/// Whose tokens a door takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Takes {
    Clients,
    Backends,
    Both,
}

/// One way in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    pub(crate) method: &'static str,
    pub(crate) target: &'static str,
    pub(crate) body: &'static str,
    pub(crate) takes: Takes,
}

/// How a token is presented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Header,
    Query,
}

const fn door(
    method: &'static str,
    target: &'static str,
    body: &'static str,
    takes: Takes,
) -> Door {
    Door { method, target, body, takes }
}

/// All doors of `demo`, each with a request that a caller who may do everything may make.
pub(crate) const DOORS: [Door; 15] = [
    door("GET", "/apps/demo", "", Takes::Clients),
    door("GET", "/v1/demo/events?topics=secure/t", "", Takes::Both),
    door("GET", "/?channels=secure/t", "", Takes::Both),
    door("POST", "/v1/demo/topics/t", "x", Takes::Both),
    door("POST", "/v1/demo/publish", r#"{"messages":[{"topic":"t","data":1}]}"#, Takes::Both),
    door("POST", "/", r#"{"channel":"t","data":"x"}"#, Takes::Both),
    door("GET", "/v1/demo/presence?topic=t", "", Takes::Both),
    door("POST", "/api/topics/demo/publish", r#"{"topic":"t","message":1}"#, Takes::Backends),
    door(
        "POST",
        "/api/topics/demo/unsubscribe",
        r#"{"topicPatterns":["none/*"],"subject":"nobody"}"#,
        Takes::Backends,
    ),
    door("DELETE", "/api/connections/demo", "", Takes::Backends),
    door("GET", "/v1/demo", "", Takes::Backends),
    door("GET", "/v1/demo/topics", "", Takes::Backends),
    door("GET", "/v1/demo/connections", "", Takes::Backends),
    door("POST", "/v1/demo/revocations", r#"{"tokenId":"none"}"#, Takes::Backends),
    door("HEAD", "/v1/demo/topics", "", Takes::Backends),
];

impl Door {
    /// The status of a caller who may come in.
    pub(crate) fn welcome_status(&self) -> u16 {
        if self.target.starts_with("/apps/") { 101 } else { 200 }
    }

    /// Knocks with a token and reads the answer's head, and its body unless it lasts.
    pub(crate) fn knock(&self, broker: &Broker, token: &str, way: Way) -> Response {
        match way {
            Way::Header => {
                self.knock_with(broker, "", &[("Authorization", &super::token::bearer(token))])
            }
            Way::Query => self.knock_with(broker, &format!("access_token={token}"), &[]),
        }
    }

    /// Knocks with anything in the query and the header.
    pub(crate) fn knock_with(
        &self,
        broker: &Broker,
        query: &str,
        fields: &[(&str, &str)],
    ) -> Response {
        let joint = if self.target.contains('?') { '&' } else { '?' };
        let target = match query {
            "" => self.target.to_owned(),
            query => format!("{}{joint}{query}", self.target),
        };
        let mut http = broker.http();
        http.send(if self.welcome_status() == 101 {
            upgrade_bytes(&target, fields)
        } else {
            request_bytes(self.method, &target, fields, self.body.as_bytes())
        });
        let mut head = http.head().expect("an answer");
        if let Some(size) = head.header("content-length").filter(|_| self.method != "HEAD") {
            let mut body = vec![0; size.parse().expect("a number")];
            http.into_reader().read_exact(&mut body).expect("the whole body");
            head.body = body;
        }
        head
    }
}
