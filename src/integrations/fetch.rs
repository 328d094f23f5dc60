//! One fetch of a key set: a GET without redirects, proxies, cookies or a kept connection, bounded in
//! time and size.
//!
//! Invariant: a reason never holds the URI, whose query may be secret.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use http::{StatusCode, header};
use reqwest::{Client, ClientBuilder, redirect};

use super::address::PublicResolver;
use super::freshness;
use super::options::KeySetOptions;
use super::target::Target;
use crate::stdx::clock;

/// What a provider answered.
pub(super) struct Document {
    pub(super) body: Vec<u8>,
    /// How long it calls this fresh.
    pub(super) lifetime: Option<Duration>,
}

/// The clients of all targets: one for each way of connecting, since each one with TLS holds the
/// system's certificates.
#[derive(Default)]
pub(super) struct Clients {
    made: HashMap<Route, Client>,
}

/// How a target is connected to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Route {
    /// https, to public addresses only.
    Public,
    /// https, to any address.
    PrivateTls,
    /// http, to any address.
    Private,
}

impl Clients {
    /// The client that may fetch `target`.
    ///
    /// # Errors
    /// When the system has no certificates to judge an https provider by.
    pub(super) fn of(&mut self, target: &Target) -> Result<Client, String> {
        let route = match (target.allow_private, target.url.scheme()) {
            (false, _) => Route::Public,
            (true, "https") => Route::PrivateTls,
            (true, _) => Route::Private,
        };
        if let Some(client) = self.made.get(&route) {
            return Ok(client.clone());
        }
        let client = match route {
            Route::Public => builder().https_only(true).dns_resolver(PublicResolver),
            Route::PrivateTls => builder().https_only(true),
            // Needs no certificates, so that a machine without any can use it.
            Route::Private => builder().tls_certs_only([]),
        };
        let client = client.build().map_err(|error| sentence(&error))?;
        self.made.insert(route, client.clone());
        Ok(client)
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("fanwire/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        // Fetches are minutes apart, and each shall look at the name's addresses anew.
        .pool_max_idle_per_host(0)
}

/// Fetches `target` once.
///
/// # Errors
/// Why there is no document: the name, the connection, the status, the size or the time.
pub(super) async fn fetch(
    client: &Client,
    target: &Target,
    options: &KeySetOptions,
) -> Result<Document, String> {
    let whole = exchange(client, target, options.body_size_max);
    match tokio::time::timeout(options.fetch_timeout, whole).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(format!("no whole answer within {:?}", options.fetch_timeout)),
    }
}

async fn exchange(client: &Client, target: &Target, size_max: usize) -> Result<Document, String> {
    let request = client
        .get(target.url.clone())
        .header(header::ACCEPT, "application/jwk-set+json, application/json");
    let mut response = request.send().await.map_err(failure)?;
    let status = response.status();
    if status.is_redirection() {
        return Err(format!("it redirects ({status}), which is not followed"));
    }
    if status != StatusCode::OK {
        return Err(format!("it answers {status}"));
    }
    let now_unix = Duration::from_millis(clock::unix_ms());
    let lifetime = freshness::lifetime(response.headers(), now_unix);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > size_max {
            return Err(format!("it is larger than {size_max} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Document { body, lifetime })
}

/// What went wrong, without the URI.
pub(super) fn failure(error: reqwest::Error) -> String {
    sentence(&error.without_url())
}

/// An error with all its causes: `a: b: c`, each said once.
fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}
