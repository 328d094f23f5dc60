//! The whole way from sources to settings, and the checks that span sections.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::environment;
use super::limits;
use super::listeners::ListenerOptions;
use super::problem::{ConfigError, Origin, Problem};
use super::raw::Raw;
use super::value::Scalar;
use super::values::Values;
use super::{
    admin, applications, key_sets, listeners, log, poll, proxies, server, shards, store, tree,
};
use crate::config::{AdminOptions, ServerOptions};
use crate::integrations::KeySetOptions;
use crate::model::application::Applications;
use crate::model::proxies::TrustedProxies;
use crate::shard;
use crate::store::StoreOptions;
use crate::telemetry::LogOptions;

/// Reads a whole text file.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// Where settings come from; later ones win: file, environment, flags.
pub struct Sources<'a> {
    /// The configuration file, if there is one.
    pub file: Option<ConfigFile>,
    /// All environment variables; those that do not begin with `FANWIRE_` are passed over.
    pub environment: Vec<(String, String)>,
    /// What the command line sets.
    pub flags: Vec<Flag>,
    /// Reads the files that secrets are kept in. Relative names mean the working directory.
    pub read: ReadFile<'a>,
}

/// A configuration file that has been read. It may hold secrets, so it has no `Debug`.
#[derive(Clone)]
pub struct ConfigFile {
    /// Its name for messages.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// One option of the command line that sets a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flag {
    /// Its name for messages, e.g. `--listen`.
    pub name: &'static str,
    /// The key it sets, e.g. `server.listen`.
    pub path: &'static str,
    /// What to.
    pub value: String,
}

/// Everything the broker is told: one part per layer, nothing left to parse.
#[derive(Debug)]
pub struct Settings {
    /// For the process.
    pub server: ServerOptions,
    /// For the admin door.
    pub admin: AdminOptions,
    /// Where to listen beside `server.listen`.
    pub listeners: Vec<ListenerOptions>,
    /// Who may speak for the clients behind it.
    pub proxies: TrustedProxies,
    /// For each shard.
    pub shard: shard::Options,
    /// For the log.
    pub log: LogOptions,
    /// For the store; `None` without one.
    pub store: Option<StoreOptions>,
    /// For fetching the key sets that the applications' token keys name.
    pub key_sets: KeySetOptions,
    /// The tenants.
    pub applications: Arc<Applications>,
}

/// Settings, and each of them with its origin for showing.
pub struct Loaded {
    /// What the layers are told.
    pub settings: Settings,
    pub(super) values: Values,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values beside the settings hold secrets.
        self.settings.fmt(f)
    }
}

/// Reads and checks all sources.
///
/// # Errors
/// Everything that is wrong, together. Only a file whose syntax is broken ends it early, since what
/// the rest of it says is then a guess.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, ConfigError> {
    let mut raw = Raw::default();
    if let Some(file) = &sources.file {
        read_file(&mut raw, file)?;
    }
    environment::apply(&mut raw, &sources.environment, sources.read);
    for flag in &sources.flags {
        raw.set(flag.path.to_owned(), Scalar::Bare(flag.value.clone()), Origin::Flag(flag.name));
    }
    let mut values = Values::new(raw);
    let settings = Settings {
        server: server::server(&values),
        admin: admin::admin(&mut values, sources.read),
        listeners: listeners::listeners(&mut values, sources.read),
        proxies: proxies::proxies(&mut values),
        shard: shard_options(&values),
        log: log::log(&values),
        store: store::store(&mut values),
        key_sets: key_sets::key_sets(&mut values),
        applications: Arc::new(applications::applications(&mut values, sources.read)),
    };
    limits::check(&mut values);
    server::check_stop(&mut values);
    shards::check(&mut values);
    check_sizes(&mut values, &settings);
    check_exposure(&mut values, &settings);
    ConfigError::unless_empty(std::mem::take(&mut values.problems))?;
    Ok(Loaded { settings, values })
}

fn read_file(raw: &mut Raw, file: &ConfigFile) -> Result<(), ConfigError> {
    let origin = |line| Origin::File { line, name: file.name.clone() };
    match tree::document(&file.text) {
        Ok(root) => {
            raw.document(root, &origin);
            Ok(())
        }
        Err(errors) => {
            let problem = |(line, text)| Problem::new(origin(line), "", text);
            ConfigError::unless_empty(errors.into_iter().map(problem).collect())
        }
    }
}

fn shard_options(values: &Values) -> shard::Options {
    shard::Options {
        driver: shards::driver(values),
        send: shards::send(values),
        socket: shards::socket(values),
        mesh: shards::mesh(values),
        turn: shards::turn(values),
        http: limits::http(values),
        websocket: limits::websocket(values),
        sse: limits::sse(values),
        publish: limits::publish(values),
        poll: poll::poll(values),
        history: store::history(values),
        drain: server::drain(values),
        pages: server::pages(values),
    }
}

/// What a dialect adds around a payload: field names, id, topic, message type.
const ENVELOPE_SIZE: usize = 1024;

/// A payload that its application allows must fit every limit on its way.
fn check_sizes(values: &mut Values, settings: &Settings) {
    let frame = settings.shard.websocket.message_size_max;
    let body = settings.shard.publish.body_size_max;
    for (index, path) in values.entries("applications").iter().enumerate() {
        let Some(application) = settings.applications.iter().nth(index) else { return };
        let limits = application.1.limits;
        let native = limits.native_payload_size_max;
        let ways = [
            (
                "realtime_payload_size_max",
                limits.realtime_payload_size_max,
                "websocket.message_size_max",
                frame,
            ),
            ("native_payload_size_max", native, "publish.body_size_max", body),
        ];
        for (name, payload, way, limit) in ways {
            let key = format!("{path}.limits.{name}");
            if payload + ENVELOPE_SIZE <= limit || !values.is_sound(&key) || !values.is_sound(way) {
                continue;
            }
            let text =
                format!("a payload of this size with its envelope does not fit {way} = {limit}");
            values.problem(&key, text);
        }
    }
}

/// Whoever reaches a listener may use an open application, so nobody else may reach any.
fn check_exposure(values: &mut Values, settings: &Settings) {
    let is_exposed = |app: &crate::model::application::Application| app.open && app.enabled;
    let open: Vec<_> = settings
        .applications
        .iter()
        .filter(|(_, application)| is_exposed(application))
        .map(|(_, application)| format!("`{}`", application.id))
        .collect();
    if open.is_empty() {
        return;
    }
    for (key, listen) in tcp_addresses(values, settings) {
        if listen.ip().is_loopback() || !values.is_sound(&key) {
            continue;
        }
        let text = format!(
            "{listen} can be reached from other machines, and the application {} is open to \
             everyone without a key or token. Either declare keys for it ([[applications]] with \
             [[applications.keys]] or [[applications.auth_keys]], and open = false), or listen on loopback (127.0.0.1:{port} or \
             [::1]:{port})",
            open.join(", "),
            port = listen.port(),
        );
        values.problem(&key, text);
    }
}

/// Every address that is listened on, by its key.
fn tcp_addresses(values: &Values, settings: &Settings) -> Vec<(String, SocketAddr)> {
    let further = values.entries("listeners").into_iter().filter_map(|entry| {
        let key = format!("{entry}.address");
        let address = values.text(&key)?.parse().ok()?;
        Some((key, address))
    });
    [("server.listen".to_owned(), settings.server.listen)].into_iter().chain(further).collect()
}
