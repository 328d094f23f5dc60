//! What must hold of buzzPost's publish body for any bytes: it reads as a naive reader over
//! `serde_json` reads it, or is refused.

use fanwire::model::refusal::Refusal;
use fanwire::proto::buzzpost::parse_publish;
use fanwire::proto::json::Scanner;

use crate::fields::{fields, string};

/// Below the depth at which `serde_json` gives up (128).
const DEPTH_MAX: usize = 64;

/// Panics where the naive reader disagrees.
pub(crate) fn check(data: &[u8]) {
    let mut scanner = Scanner::new(DEPTH_MAX);
    let is_json = scanner.scan(data).is_ok();
    let text = str::from_utf8(data).unwrap_or_default();
    let expected = is_json.then(|| naive_publish(text)).flatten();
    match parse_publish(&mut scanner, data) {
        Ok(publish) => {
            assert_eq!(Some((publish.channel.into_owned(), publish.data.to_owned())), expected);
        }
        Err(refused) => {
            assert_eq!(expected, None, "{}", refused.detail);
            let is_refused_json = matches!(refused.refusal, Refusal::BadJson | Refusal::BadUtf8);
            assert_eq!(is_refused_json, !is_json, "{}", refused.detail);
        }
    }
}

fn naive_publish(text: &str) -> Option<(String, String)> {
    let [channel, data] = fields(text, ["channel", "data"])?;
    Some((string(channel?)?, data?.to_owned()))
}
