//! Keys of the admin door.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::environment;
use super::key::{Key, Kind};
use super::load::ReadFile;
use super::secret;
use super::values::Values;
use crate::auth::AdminToken;

/// What the admin door is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminOptions {
    /// Where it listens; `None` = there is none. Key `admin.listen`.
    pub listen: Option<SocketAddr>,
    /// Whether that is the default: when it is taken, the broker serves without an admin door.
    pub is_default: bool,
    /// What its callers present; `None` only on loopback. Key `admin.token`.
    pub token: Option<AdminToken>,
}

const LISTEN: &str = "admin.listen";
const TOKEN: &str = "admin.token";
const TOKEN_FILE: &str = "admin.token_file";
const OFF: &str = "off";
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8481);

pub(super) const KEYS: &[Key] = &[
    Key::new(
        LISTEN,
        Kind::Text,
        "127.0.0.1:8481",
        "Where the admin door listens (metrics, health, `fanwire top`, `tail` and `trace`): an IP \
         address and port, or \"off\". It has room of its own for 16 connections and answers while \
         the broker is full or stops. When the default is taken, the broker warns and serves \
         without; any other must be free. Other than loopback it needs a token.",
    ),
    Key::new(
        TOKEN,
        Kind::Secret,
        "",
        "What callers of the admin door present as `Authorization: Bearer …`; all but the health \
         routes ask for it. Without one, `tail`, `trace` and the topics of `top` show open \
         applications only. At least 16 visible ASCII characters; placeholders are refused. Empty = \
         none.",
    ),
    Key::new(
        TOKEN_FILE,
        Kind::Text,
        "",
        "A file that holds the token instead, such as a systemd credential.",
    ),
];

/// Reads them and notes every problem.
pub(super) fn admin(values: &mut Values, read: ReadFile<'_>) -> AdminOptions {
    let listen = listen(values);
    let is_default = listen == Some(DEFAULT);
    let token = token(values, read);
    let is_sound = [LISTEN, TOKEN, TOKEN_FILE].iter().all(|path| values.is_sound(path));
    if let Some(address) = listen
        && !address.ip().is_loopback()
        && token.is_none()
        && is_sound
    {
        let text = format!(
            "{address} can be reached from other machines: set {TOKEN} or {TOKEN_FILE}, or listen on \
             loopback"
        );
        values.problem(LISTEN, text);
    }
    AdminOptions { listen, is_default, token }
}

fn listen(values: &mut Values) -> Option<SocketAddr> {
    let text = values.text(LISTEN).filter(|text| !text.is_empty() && text != OFF)?;
    let address = text.parse().ok();
    if address.is_none() {
        let text = format!(
            "expected an IP address and port, such as \"127.0.0.1:8481\", or \"{OFF}\", not {text:?}"
        );
        values.problem(LISTEN, text);
    }
    address
}

fn token(values: &mut Values, read: ReadFile<'_>) -> Option<AdminToken> {
    let given = |path| values.text(path).filter(|text| !text.is_empty());
    let (path, secret) = match (given(TOKEN), given(TOKEN_FILE)) {
        (None, None) => return None,
        (Some(_), Some(_)) => {
            values.problem(TOKEN_FILE, format!("{TOKEN} is set too; keep one of them"));
            return None;
        }
        (Some(secret), None) => (TOKEN, Ok(secret)),
        (None, Some(name)) => (TOKEN_FILE, environment::read_value(&name, read)),
    };
    let checked = secret.and_then(|secret| match secret::check(&secret) {
        Ok(()) => Ok(secret),
        Err(problem) => Err(problem.to_owned()),
    });
    match checked {
        Ok(secret) => Some(AdminToken::new(secret)),
        Err(problem) => {
            values.problem(path, problem);
            None
        }
    }
}
