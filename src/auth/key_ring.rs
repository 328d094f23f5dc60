//! Every key that the configuration itself holds, read once and shared by all shards.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::raw_key::RawKey;
use crate::model::application::{AppIndex, Application, Applications};
use crate::model::identity::Role;
use crate::model::token::KeySource;

/// The raw keys of every application of one snapshot.
#[derive(Debug, Default)]
pub struct KeyRing {
    applications: Vec<[Keys; 2]>,
}

/// Beside each token key of one role its raw key; `None` where it is a key set.
type Keys = Vec<Option<RawKey>>;

impl KeyRing {
    /// Reads the keys of `applications`. Indexes of that snapshot are the only ones to ask with.
    ///
    /// # Errors
    /// The first key that cannot be used; [`check_key`](super::check_key) has told the configuration
    /// before.
    pub fn new(applications: &Applications) -> Result<KeyRing, KeyProblem> {
        let both = |(_, application): (_, &Application)| -> Result<_, KeyProblem> {
            Ok([keys(application, Role::Client)?, keys(application, Role::Admin)?])
        };
        Ok(KeyRing { applications: applications.iter().map(both).collect::<Result<_, _>>()? })
    }

    /// Beside each of [`Application::token_keys`] its raw key; `None` where it is a key set.
    pub(super) fn keys(&self, app: AppIndex, role: Role) -> &[Option<RawKey>] {
        let of_application = self.applications.get(usize::from(app.0));
        of_application.map_or(&[], |roles| &roles[usize::from(role == Role::Admin)])
    }
}

fn keys(application: &Application, role: Role) -> Result<Keys, KeyProblem> {
    let token_keys = application.token_keys(role).iter().enumerate();
    token_keys
        .map(|(index, key)| match &key.source {
            KeySource::Jwks(_) => Ok(None),
            KeySource::Raw(text) => {
                RawKey::parse(text, &key.algorithms).map(Some).map_err(|problem| KeyProblem {
                    application: Arc::clone(&application.id),
                    role,
                    index,
                    problem,
                })
            }
        })
        .collect()
}

/// A key of the configuration that cannot be used.
#[derive(Debug)]
pub struct KeyProblem {
    /// The application's name in paths.
    pub application: Arc<str>,
    /// Whose tokens it was to verify.
    pub role: Role,
    /// Its place among the role's keys, from 0.
    pub index: usize,
    /// What is wrong; no part of the key.
    pub problem: String,
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = match self.role {
            Role::Client => "authKey",
            Role::Admin => "adminKey",
        };
        write!(f, "{}: key {} of {list}: {}", self.application, self.index + 1, self.problem)
    }
}

impl Error for KeyProblem {}
