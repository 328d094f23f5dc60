//! One application's door: what it is configured with, and what it says to a token.

use std::sync::Arc;

use fanwire::auth::{Authenticator, Credential, KeyRing, KeySet, Request, Verdict, mint};
use fanwire::model::application::{AppIndex, Application, Applications};
use fanwire::model::identity::{Identity, Role};
use fanwire::model::refusal::{Refusal, Refused};
use fanwire::model::token::{Algorithm, KeySetIndex, KeySetSource, KeySource, KeyText, TokenKey};

/// When it is, unless a test says otherwise; Unix seconds.
pub(crate) const NOW_S: u64 = 1_700_000_000;
/// A secret for HS*.
pub(crate) const SECRET: &str =
    "an-hmac-secret-of-more-than-64-bytes-so-that-no-algorithm-minds-it.";

/// What every refusal before the signature says.
pub(crate) const NOT_VALID_HERE: &str = "the token is not valid here: form, algorithm, key or \
                                         signature; `fanwire explain token` says why";

/// A configured key that accepts every issuer and audience.
pub(crate) fn raw(algorithm: Algorithm, text: &str) -> TokenKey {
    let source = KeySource::Raw(KeyText(text.into()));
    TokenKey { source, algorithms: vec![algorithm], issuers: Vec::new(), audiences: Vec::new() }
}

/// A configured key set that accepts every issuer and audience.
pub(crate) fn jwks(index: u16, algorithms: &[Algorithm]) -> TokenKey {
    let source = KeySource::Jwks(KeySetIndex(index));
    let algorithms = algorithms.to_vec();
    TokenKey { source, algorithms, issuers: Vec::new(), audiences: Vec::new() }
}

/// `claims` signed with [`SECRET`].
pub(crate) fn hs256(claims: &str) -> String {
    mint::sign(Algorithm::Hs256, None, claims, &KeyText(SECRET.into()))
        .expect("claims and a secret")
}

/// Two applications, of which the first is configured by the test and the second equals it.
pub(crate) struct Door {
    applications: Arc<Applications>,
    pub(crate) authenticator: Authenticator,
    pub(crate) app: AppIndex,
    pub(crate) roles: Vec<Role>,
    pub(crate) now_s: u64,
}

impl Door {
    /// A door with these `authKey`s.
    pub(crate) fn new(auth_keys: Vec<TokenKey>) -> Door {
        Door::of(Application { auth_keys, ..Application::new("first") })
    }

    /// A door for clients of `application`.
    pub(crate) fn of(application: Application) -> Door {
        let second = Application { id: Arc::from("second"), ..application.clone() };
        let source = KeySetSource { uri: "https://idp.example/jwks".into(), allow_private: false };
        let applications = Applications::new(vec![application, second], None)
            .with_key_sets(vec![source.clone(), source]);
        let ring = KeyRing::new(&applications).expect("the test's keys are good");
        Door {
            applications: Arc::new(applications),
            authenticator: Authenticator::new(Arc::new(ring)),
            app: AppIndex(0),
            roles: vec![Role::Client],
            now_s: NOW_S,
        }
    }

    /// A door that takes what [`hs256`] signs.
    pub(crate) fn of_secret() -> Door {
        Door::new(vec![raw(Algorithm::Hs256, SECRET)])
    }

    /// Gives it a key set.
    pub(crate) fn give(&mut self, index: u16, document: &str) {
        let key_set = KeySet::parse(document.as_bytes()).expect("a key set");
        self.authenticator.set_keys(KeySetIndex(index), Some(Arc::new(key_set)));
    }

    /// Whether it knows `credential` without checking a signature; `None` when it has to.
    pub(crate) fn recognize(
        &mut self,
        credential: Credential<'_>,
    ) -> Option<Result<Arc<Identity>, Refused>> {
        let applications = Arc::clone(&self.applications);
        let roles = self.roles.clone();
        let request = self.request(&applications, &roles, credential);
        self.authenticator.recognize(&request)
    }

    /// What it says to `token`, as the shard asks: known ones first.
    pub(crate) fn ask(&mut self, token: &str) -> Verdict {
        match self.recognize(Credential::Token(token)) {
            Some(Ok(identity)) => Verdict::Known(identity),
            Some(Err(refused)) => Verdict::Refused(refused),
            None => self.verify(token),
        }
    }

    /// What it says to `token` after checking its signature.
    pub(crate) fn verify(&mut self, token: &str) -> Verdict {
        let applications = Arc::clone(&self.applications);
        let roles = self.roles.clone();
        let request = self.request(&applications, &roles, Credential::Token(token));
        self.authenticator.verify(&request)
    }

    fn request<'a>(
        &self,
        applications: &'a Applications,
        roles: &'a [Role],
        credential: Credential<'a>,
    ) -> Request<'a> {
        let application = applications.get(self.app);
        Request { app: self.app, application, roles, credential, now_s: self.now_s }
    }

    /// The bearer of a token that is to hold.
    pub(crate) fn identity(&mut self, token: &str) -> Arc<Identity> {
        match self.ask(token) {
            Verdict::Known(identity) => identity,
            other => panic!("{other:?}"),
        }
    }

    /// What the bearer of a token that is not to hold is told.
    pub(crate) fn refusal(&mut self, token: &str) -> String {
        match self.ask(token) {
            Verdict::Refused(Refused { refusal: Refusal::Unauthorized, detail }) => detail,
            other => panic!("{other:?}"),
        }
    }
}
