//! `fanwire token`: makes keys and tokens. What judges a token is `explain`'s.
//!
//! Nothing here speaks to a broker: the configuration names the applications and their secrets.

use std::fs::OpenOptions;
use std::io::{BufRead, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::explain::{self, ApplicationArgs, ExplainTokenArgs, Told};
use crate::auth::mint::{self, Generated};
use crate::model::identity;
use crate::model::rights;
use crate::model::token::{Algorithm, KeySource, KeyText, TokenKey};

/// Longest life of a token that is minted here, in seconds: a hundred years.
const LIFE_S_MAX: u64 = 100 * 365 * 86_400;

/// What `token` is asked.
#[derive(Subcommand, Debug, Clone, PartialEq, Eq)]
pub enum TokenCommand {
    /// Mint a token and print it, and nothing else.
    Mint(MintArgs),
    /// Make a key pair, or for HS* a secret, and print what to paste into the configuration.
    Keys(KeysArgs),
    /// Say which key and which rule accepts or refuses a token; the same as `explain token`.
    Explain(ExplainTokenArgs),
}

/// For what a token is presented.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Subscribing, and publishing over a WebSocket (`auth_keys`).
    Client,
    /// Publishing from a backend, and administration (`admin_keys`).
    Admin,
}

impl Role {
    /// The role as the broker knows it.
    pub(super) fn meant(self) -> identity::Role {
        match self {
            Role::Client => identity::Role::Client,
            Role::Admin => identity::Role::Admin,
        }
    }

    /// The list of the configuration that holds its keys.
    fn list(self) -> &'static str {
        match self {
            Role::Client => "auth_keys",
            Role::Admin => "admin_keys",
        }
    }
}

/// What `token mint` is asked.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct MintArgs {
    #[command(flatten)]
    application: ApplicationArgs,
    /// Whose token: a client's or a backend's.
    #[arg(long, value_enum, default_value = "client")]
    role: Role,
    /// The signature algorithm; with the application's own secret, one that it is used for.
    #[arg(long, value_name = "ALG", value_parser = algorithm)]
    algorithm: Option<Algorithm>,
    /// The private key in PEM (for HS* the secret); without it the application's HMAC secret signs.
    #[arg(long, value_name = "FILE", requires = "algorithm")]
    key_file: Option<PathBuf>,
    /// Key id (`kid`), by which a key set finds the key.
    #[arg(long, value_name = "KID")]
    key_id: Option<String>,
    /// Who bears it (`sub`).
    #[arg(long)]
    subject: String,
    /// A permission, such as realtime:admin:manage:connections; may be repeated.
    #[arg(long = "permission", value_name = "P")]
    permissions: Vec<String>,
    /// A pattern of topics it may subscribe to; may be repeated.
    #[arg(long = "subscribe", value_name = "PATTERN")]
    subscribe: Vec<String>,
    /// A pattern of topics it may publish to; may be repeated.
    #[arg(long = "publish", value_name = "PATTERN")]
    publish: Vec<String>,
    /// How long it is valid, such as 90s, 15m, 1h or 30d.
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = seconds)]
    expires: u64,
    /// Issuer (`iss`); without it the first that the application's own secret demands.
    #[arg(long)]
    issuer: Option<String>,
    /// Audience (`aud`); without it the first that the application's own secret demands.
    #[arg(long)]
    audience: Option<String>,
    /// Token id (`jti`), by which it can be revoked.
    #[arg(long, value_name = "JTI")]
    id: Option<String>,
}

/// What `token keys` is asked.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct KeysArgs {
    /// The signature algorithm.
    #[arg(long, value_name = "ALG", default_value = "ES512", value_parser = algorithm)]
    algorithm: Algorithm,
    /// Write the keys into this folder, as files that must not exist; without it they are printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What signs, and what the key demands of the token.
struct Signer {
    algorithm: Algorithm,
    key: KeyText,
    issuer: Option<String>,
    audience: Option<String>,
}

/// Does what is asked, at `now_s` (Unix seconds).
///
/// # Errors
/// What is missing or wrong, as a sentence without any key.
pub(super) fn run(
    command: &TokenCommand,
    environment: Vec<(String, String)>,
    input: &mut dyn BufRead,
    now_s: u64,
) -> Result<Told, String> {
    let good = |text| Told { text, is_good: true };
    match command {
        TokenCommand::Mint(args) => mint(args, environment, now_s).map(good),
        TokenCommand::Keys(args) => keys(args).map(good),
        TokenCommand::Explain(args) => explain::token(args, environment, input, now_s),
    }
}

fn mint(args: &MintArgs, environment: Vec<(String, String)>, now_s: u64) -> Result<String, String> {
    let signer = args.signer(environment)?;
    let claims = args.claims(&signer, now_s).to_string();
    let token = mint::sign(signer.algorithm, args.key_id.as_deref(), &claims, &signer.key)?;
    Ok(token + "\n")
}

impl MintArgs {
    fn signer(&self, environment: Vec<(String, String)>) -> Result<Signer, String> {
        let (Some(path), Some(algorithm)) = (&self.key_file, self.algorithm) else {
            return self.own_secret(environment);
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the key {}: {error}", path.display()))?;
        let key = KeyText(text.strip_suffix('\n').unwrap_or(&text).into());
        Ok(Signer { algorithm, key, issuer: None, audience: None })
    }

    /// The first HMAC secret of the application that serves the algorithm asked for.
    fn own_secret(&self, environment: Vec<(String, String)>) -> Result<Signer, String> {
        let settings = self.application.load(environment)?;
        let application = self.application.find(&settings.applications)?;
        let application = settings.applications.get(application);
        let signer = |token_key: &TokenKey| {
            let KeySource::Raw(key) = &token_key.source else { return None };
            let is_meant = |algorithm: &&Algorithm| {
                algorithm.is_symmetric() && self.algorithm.is_none_or(|meant| meant == **algorithm)
            };
            let first = |texts: &[Box<str>]| texts.first().map(ToString::to_string);
            Some(Signer {
                algorithm: *token_key.algorithms.iter().find(is_meant)?,
                key: key.clone(),
                issuer: first(&token_key.issuers),
                audience: first(&token_key.audiences),
            })
        };
        application.token_keys(self.role.meant()).iter().find_map(signer).ok_or_else(|| {
            format!(
                "none of {}'s {} is an HMAC secret{}: a public key verifies and cannot sign. Give the \
                 private key: --algorithm and --key-file",
                application.id,
                self.role.list(),
                self.algorithm.map(|meant| format!(" for {}", meant.name())).unwrap_or_default(),
            )
        })
    }

    fn claims(&self, signer: &Signer, now_s: u64) -> Value {
        let mut permissions = self.permissions.clone();
        permissions.extend(rights::permissions(true, false, false, &self.subscribe));
        permissions.extend(rights::permissions(false, true, false, &self.publish));
        let mut claims = json!({
            "sub": self.subject,
            "permissions": permissions,
            "iat": now_s,
            "exp": now_s.saturating_add(self.expires),
        });
        let optional = [
            ("iss", self.issuer.as_ref().or(signer.issuer.as_ref())),
            ("aud", self.audience.as_ref().or(signer.audience.as_ref())),
            ("jti", self.id.as_ref()),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                claims[name] = json!(value);
            }
        }
        claims
    }
}

/// Makes keys. A file that is there already is never replaced.
fn keys(args: &KeysArgs) -> Result<String, String> {
    let Generated { private, public } = mint::generate(args.algorithm)?;
    let Some(folder) = &args.out else {
        return Ok(pasted(args.algorithm, &private, public.as_deref()));
    };
    let verifying = if let Some(public) = &public {
        write_new(&folder.join("private.pem"), &private.0, 0o600)?;
        let path = folder.join("public.pem");
        write_new(&path, public, 0o644)?;
        path
    } else {
        let path = folder.join("secret.txt");
        write_new(&path, &private.0, 0o600)?;
        path
    };
    let path = std::path::absolute(&verifying)
        .map_err(|error| format!("cannot name {}: {error}", verifying.display()))?;
    Ok(format!("{}key_file = {}\n", head(args.algorithm), json!(path.display().to_string())))
}

/// Everything as text: the private key apart from what the configuration holds.
fn pasted(algorithm: Algorithm, private: &KeyText, public: Option<&str>) -> String {
    match public {
        Some(public) => format!(
            "# The private key signs tokens; keep it from the broker.\n{}\n{}key = '''\n{public}'''\n",
            private.0,
            head(algorithm)
        ),
        // Base64url needs no escape.
        None => format!("{}key = \"{}\"\n", head(algorithm), private.0),
    }
}

/// How the key's entry in the configuration begins.
fn head(algorithm: Algorithm) -> String {
    format!(
        "# Below [[applications]]; admin_keys instead for tokens of backends.\n\
         [[applications.auth_keys]]\nalgorithms = [\"{}\"]\n",
        algorithm.name()
    )
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    Algorithm::named(text)
        .ok_or_else(|| format!("there are {}", Algorithm::ALL.map(Algorithm::name).join(", ")))
}

fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "expected a span such as 90s, 15m, 1h or 30d, up to 100 years".to_owned();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match &text[end..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..end].parse().map_err(|_unread| wrong())?;
    number.checked_mul(factor).filter(|span| (1..=LIFE_S_MAX).contains(span)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        let cases = [
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("1h", Some(3_600)),
            ("30d", Some(2_592_000)),
            ("36500d", Some(LIFE_S_MAX)),
            ("36501d", None),
            ("0s", None),
            ("1", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("1w", None),
            ("99999999999999999999d", None),
        ];
        for (text, expected) in cases {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
    }
}
