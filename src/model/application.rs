//! Applications: isolated namespaces with their keys and limits, an immutable snapshot.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::address::AddressList;
use super::family::{Family, FamilyIndex};
use super::identity::{Identity, Role};
use super::rate::Rate;
use super::token::{KeySetIndex, KeySetSource, TokenExpiry, TokenKey};
use super::topic::TopicName;

/// An application's index in the snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct AppIndex(pub u16);

/// One application.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the configuration")]
pub struct Application {
    /// Its name in paths: 1–64 of `A-Z a-z 0-9 _ - .`.
    pub id: Arc<str>,
    /// Its name for people; may be empty.
    pub name: Box<str>,
    /// What it is for; may be empty.
    pub description: Box<str>,
    /// Whether it serves at all.
    pub enabled: bool,
    /// Whether everyone may subscribe and publish without a key.
    pub open: bool,
    /// API keys; compared in constant time by `auth`.
    pub keys: Vec<ApiKey>,
    /// Verify tokens of clients, `authKey`; tried in this order.
    pub auth_keys: Vec<TokenKey>,
    /// Verify tokens of backends, `adminKey`; tried in this order.
    pub admin_keys: Vec<TokenKey>,
    /// Clock difference that is forgiven when a token's times are judged, in seconds.
    pub token_leeway_s: u32,
    /// What happens when an open connection's token expires.
    pub token_expiry: TokenExpiry,
    /// Networks from which clients may come.
    pub client_source_address: AddressList,
    /// Networks from which backends may publish and administer.
    pub admin_source_address: AddressList,
    /// Whether clients may send `type:"message"`, and presence is told, on `secure/inbound`.
    pub websocket_inbound_topic_enabled: bool,
    /// Whether a WebSocket publisher gets an ack (protocols.md §1.3).
    pub client_inbound_ack_enabled: bool,
    /// What becomes of a second WebSocket of the same token subject.
    pub same_subject: SameSubject,
    /// How joining and leaving is told.
    pub presence: PresenceOptions,
    /// Its limits.
    pub limits: AppLimits,
    /// Kinds of topics; the first that matches a topic counts, and the last matches every topic.
    pub families: Vec<Family>,
    /// How long a repeated publish is known by its idempotency key, in milliseconds.
    pub idempotency_window_ms: u64,
    /// Origins that browsers may call from: `*`, or a list of exact origins.
    pub cors_origins: CorsOrigins,
    /// Whether pages of those origins may send credentials; never with `*`.
    pub cors_credentials: bool,
}

impl Application {
    /// An enabled application of this id that nobody may use yet, with every default.
    pub fn new(id: &str) -> Application {
        Application {
            id: Arc::from(id),
            name: Box::default(),
            description: Box::default(),
            enabled: true,
            open: false,
            keys: Vec::new(),
            auth_keys: Vec::new(),
            admin_keys: Vec::new(),
            token_leeway_s: 5,
            token_expiry: TokenExpiry::Keep,
            client_source_address: AddressList::default(),
            admin_source_address: AddressList::default(),
            websocket_inbound_topic_enabled: true,
            client_inbound_ack_enabled: true,
            same_subject: SameSubject::ReplaceOld,
            presence: PresenceOptions::default(),
            limits: AppLimits::default(),
            families: vec![Family::default()],
            idempotency_window_ms: 300_000,
            cors_origins: CorsOrigins::Any,
            cors_credentials: false,
        }
    }

    /// The family of a topic.
    ///
    /// # Panics
    /// Without a family that matches every topic, which the configuration adds.
    pub fn family_of(&self, topic: &TopicName) -> FamilyIndex {
        let last = self.families.len() - 1;
        let matching =
            self.families[..last].iter().position(|f| f.patterns.matches(topic.as_str()));
        FamilyIndex(u16::try_from(matching.unwrap_or(last)).expect("the configuration bounds them"))
    }

    /// The family at `index`.
    pub fn family(&self, index: FamilyIndex) -> &Family {
        &self.families[usize::from(index.0)]
    }

    /// Whether any of its topics is durable.
    pub fn has_durable_topics(&self) -> bool {
        self.families.iter().any(|family| family.durable)
    }

    /// The keys that verify tokens of `role`.
    pub fn token_keys(&self, role: Role) -> &[TokenKey] {
        match role {
            Role::Client => &self.auth_keys,
            Role::Admin => &self.admin_keys,
        }
    }

    /// Networks from which callers of `role` may come.
    pub fn source_addresses(&self, role: Role) -> &AddressList {
        match role {
            Role::Client => &self.client_source_address,
            Role::Admin => &self.admin_source_address,
        }
    }
}

/// What becomes of a second WebSocket of the same token subject on this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SameSubject {
    /// Both stay.
    Allow,
    /// The new one is closed. A user whose connection was cut is locked out until that is noticed.
    RejectNew,
    /// The old one is closed.
    #[default]
    ReplaceOld,
}

/// How joining and leaving is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PresenceOptions {
    /// How long a subject may be gone before it is told, in milliseconds; one that returns earlier
    /// never left. 0 tells at once.
    pub debounce_ms: u32,
    /// Members of a topic up to which they are named; above it only their number is told.
    pub members_max: u32,
}

impl Default for PresenceOptions {
    fn default() -> Self {
        PresenceOptions { debounce_ms: 0, members_max: 1000 }
    }
}

/// An API key and what it allows.
#[derive(Clone)]
pub struct ApiKey {
    /// The secret itself; never printed.
    pub secret: Box<str>,
    /// Its holder, and what that may do.
    pub identity: Arc<Identity>,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("identity", &self.identity).finish_non_exhaustive()
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
    /// Silence of a WebSocket client after which it is closed, in milliseconds; it is pinged before.
    pub idle_timeout_ms: u32,
    /// Connections that one address (IPv6: one /64) may begin; over it 429.
    pub connections_per_address: Option<Rate>,
    /// Commands that one WebSocket may send; over it close 1013.
    pub commands_per_connection: Option<Rate>,
    /// Bytes of messages that one WebSocket may send; over it close 1013.
    pub bytes_per_connection: Option<Rate>,
    /// Publishes of the whole application, through every door; over it 429 or close 1013.
    pub publishes: Option<Rate>,
}

impl Default for AppLimits {
    fn default() -> Self {
        AppLimits {
            realtime_payload_size_max: 5 * 1024,
            native_payload_size_max: 256 * 1024,
            outbound_size_max: 64 * 1024,
            subscriptions_max: 1024,
            idle_timeout_ms: 30_000,
            connections_per_address: None,
            commands_per_connection: None,
            bytes_per_connection: None,
            publishes: None,
        }
    }
}

/// Up to so many applications are searched one by one.
const SEARCHED_COUNT_MAX: usize = 4;

/// All applications, swapped whole.
#[derive(Clone, Debug)]
pub struct Applications {
    pub(super) list: Vec<Application>,
    /// Those that were removed are in the list and not here.
    pub(super) by_id: HashMap<Arc<str>, AppIndex, foldhash::fast::RandomState>,
    pub(super) removed: BTreeSet<AppIndex>,
    pub(super) buzzpost: Option<AppIndex>,
    pub(super) simple_poll: Option<(AppIndex, TopicName)>,
    pub(super) key_sets: Vec<KeySetSource>,
}

impl Applications {
    /// A snapshot of `list`; `buzzpost` names the application that the root path belongs to.
    ///
    /// # Panics
    /// With more than 65,535 applications, which the configuration refuses.
    pub fn new(list: Vec<Application>, buzzpost: Option<&str>) -> Applications {
        let by_id: HashMap<_, _, _> = list
            .iter()
            .enumerate()
            .map(|(index, app)| {
                let index = u16::try_from(index).expect("the configuration bounds the count");
                (Arc::clone(&app.id), AppIndex(index))
            })
            .collect();
        let buzzpost = buzzpost.and_then(|id| by_id.get(id).copied());
        Applications {
            list,
            by_id,
            removed: BTreeSet::new(),
            buzzpost,
            simple_poll: None,
            key_sets: Vec::new(),
        }
    }

    /// The same with the key sets that its token keys name.
    #[must_use]
    pub fn with_key_sets(self, key_sets: Vec<KeySetSource>) -> Applications {
        Applications { key_sets, ..self }
    }

    /// The same with a simple form of long polling, which reads `topic` of `application`.
    #[must_use]
    pub fn with_simple_poll(self, application: AppIndex, topic: TopicName) -> Applications {
        Applications { simple_poll: Some((application, topic)), ..self }
    }

    /// Every key set that a token key names, by its place.
    pub fn key_sets(&self) -> &[KeySetSource] {
        &self.key_sets
    }

    /// The key set at `index`.
    pub fn key_set(&self, index: KeySetIndex) -> &KeySetSource {
        &self.key_sets[usize::from(index.0)]
    }

    /// The application at `index`.
    pub fn get(&self, index: AppIndex) -> &Application {
        &self.list[usize::from(index.0)]
    }

    /// The application named `id`.
    pub fn find(&self, id: &str) -> Option<AppIndex> {
        // Comparing a few names costs less than hashing one.
        if self.list.len() <= SEARCHED_COUNT_MAX {
            let found = self
                .iter()
                .find(|(index, application)| *application.id == *id && !self.is_removed(*index));
            return found.map(|(index, _)| index);
        }
        self.by_id.get(id).copied()
    }

    /// The application that the root path (buzzPost) belongs to.
    pub fn buzzpost(&self) -> Option<AppIndex> {
        self.buzzpost
    }

    /// What the simple form of long polling reads; `None` = there is no simple form.
    pub fn simple_poll(&self) -> Option<(AppIndex, &TopicName)> {
        self.simple_poll.as_ref().map(|(application, topic)| (*application, topic))
    }

    /// Whether the application at `index` was removed by a reload: it is only here because what is under
    /// way may still name it.
    pub fn is_removed(&self, index: AppIndex) -> bool {
        self.removed.contains(&index)
    }

    /// All of them, the removed ones too.
    ///
    /// # Panics
    /// With more than 65,535 applications, which the configuration refuses.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (AppIndex, &Application)> {
        self.list.iter().enumerate().map(|(index, app)| {
            (AppIndex(u16::try_from(index).expect("bounded by the configuration")), app)
        })
    }
}
