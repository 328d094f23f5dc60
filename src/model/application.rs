//! Applications: isolated namespaces with their keys and limits, an immutable snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use super::rights::Rights;

/// An application's index in the snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct AppIndex(pub u16);

/// One application.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its name in paths: 1–64 of `A-Z a-z 0-9 _ - .`.
    pub id: Arc<str>,
    /// Whether it serves at all.
    pub enabled: bool,
    /// Whether everyone may subscribe and publish without a key.
    pub open: bool,
    /// API keys; compared in constant time by `auth`.
    pub keys: Vec<ApiKey>,
    /// Whether a WebSocket publisher gets an ack (protocols.md §1.3).
    pub client_inbound_ack_enabled: bool,
    /// Its limits.
    pub limits: AppLimits,
    /// Origins that browsers may call from: `*`, or a list of exact origins.
    pub cors_origins: CorsOrigins,
}

/// An API key and what it allows.
#[derive(Clone)]
pub struct ApiKey {
    /// The secret itself; never printed.
    pub secret: Box<str>,
    /// What it allows.
    pub rights: Arc<Rights>,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("rights", &self.rights).finish_non_exhaustive()
    }
}

/// Which browser origins may read answers (Fetch standard, CORS).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CorsOrigins {
    /// Every origin.
    Any,
    /// These, exactly.
    List(Vec<Box<str>>),
}

/// Limits of one application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppLimits {
    /// Largest payload through the Realtime dialect, in bytes.
    pub realtime_payload_size_max: usize,
    /// Largest payload through the native routes and buzzPost, in bytes.
    pub native_payload_size_max: usize,
    /// Most bytes queued for one connection before it is closed as a slow consumer.
    pub outbound_size_max: usize,
    /// Most topics one connection may be subscribed to.
    pub subscriptions_max: usize,
}

impl Default for AppLimits {
    fn default() -> Self {
        AppLimits {
            realtime_payload_size_max: 5 * 1024,
            native_payload_size_max: 256 * 1024,
            outbound_size_max: 1024 * 1024,
            subscriptions_max: 1024,
        }
    }
}

/// All applications, swapped whole.
#[derive(Debug)]
pub struct Applications {
    list: Vec<Application>,
    by_id: HashMap<Arc<str>, AppIndex>,
    buzzpost: Option<AppIndex>,
}

impl Applications {
    /// A snapshot of `list`; `buzzpost` names the application that the root path belongs to.
    ///
    /// # Panics
    /// With more than 65,535 applications, which the configuration refuses.
    pub fn new(list: Vec<Application>, buzzpost: Option<&str>) -> Applications {
        let by_id: HashMap<_, _> = list
            .iter()
            .enumerate()
            .map(|(index, app)| {
                let index = u16::try_from(index).expect("the configuration bounds the count");
                (Arc::clone(&app.id), AppIndex(index))
            })
            .collect();
        let buzzpost = buzzpost.and_then(|id| by_id.get(id).copied());
        Applications { list, by_id, buzzpost }
    }

    /// The application at `index`.
    pub fn get(&self, index: AppIndex) -> &Application {
        &self.list[usize::from(index.0)]
    }

    /// The application named `id`.
    pub fn find(&self, id: &str) -> Option<AppIndex> {
        self.by_id.get(id).copied()
    }

    /// The application that the root path (buzzPost) belongs to.
    pub fn buzzpost(&self) -> Option<AppIndex> {
        self.buzzpost
    }

    /// All of them.
    ///
    /// # Panics
    /// With more than 65,535 applications, which the configuration refuses.
    pub fn iter(&self) -> impl Iterator<Item = (AppIndex, &Application)> {
        self.list.iter().enumerate().map(|(index, app)| {
            (AppIndex(u16::try_from(index).expect("bounded by the configuration")), app)
        })
    }
}
