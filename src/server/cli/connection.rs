//! What `publish` and `subscribe` share: which broker, which application, by which key or token; and
//! how a failure is told.
//!
//! Invariant: a key or token is printed nowhere, in no error and no Debug output. Arguments of a
//! process are visible to everyone on its machine, hence the variables and standard input.

use std::convert::Infallible;
use std::fmt;
use std::io::{BufRead, Read as _, Write};
use std::str::FromStr;

use clap::Args;

use crate::config::{CLIENT_KEY_VARIABLE, CLIENT_TOKEN_VARIABLE, CLIENT_URL_VARIABLE};
use crate::integrations::{Client, ClientError, Credential, Problem};

/// Where a broker listens unless it is told otherwise.
const URL_DEFAULT: &str = "http://127.0.0.1:8480/";
/// Most bytes of a key or token that is read from standard input.
const SECRET_SIZE_MAX: u64 = 16 * 1024;

/// Where commands read from and write to.
pub struct Streams<'s> {
    /// Standard input.
    pub input: &'s mut dyn BufRead,
    /// Standard output: results only.
    pub out: &'s mut dyn Write,
    /// Standard error: progress and failures.
    pub errors: &'s mut dyn Write,
}

/// Which broker and as whom.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub(super) struct ConnectionArgs {
    /// The broker's address; by default port 8480 of this machine [variable: `FANWIRE_CLIENT_URL`].
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// The application.
    #[arg(long, value_name = "ID", default_value = "demo")]
    pub(super) app: String,
    /// An API key; `-` reads it from standard input [variable: `FANWIRE_CLIENT_KEY`].
    #[arg(long, value_name = "KEY", conflicts_with = "token")]
    pub(super) key: Option<Secret>,
    /// A token (JWT); `-` reads it from standard input [variable: `FANWIRE_CLIENT_TOKEN`].
    #[arg(long, value_name = "TOKEN")]
    pub(super) token: Option<Secret>,
}

/// A key or token as typed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Secret, Infallible> {
        Ok(Secret(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl ConnectionArgs {
    /// A client for them; what no flag says, the environment may.
    ///
    /// # Errors
    /// What is wrong with them, as a sentence.
    pub(super) fn client(
        &self,
        environment: &[(String, String)],
        input: &mut dyn BufRead,
    ) -> Result<Client, String> {
        let url = self.url.as_deref().or_else(|| variable(environment, CLIENT_URL_VARIABLE));
        let credential = self.credential(environment, input)?;
        Client::new(url.unwrap_or(URL_DEFAULT), &self.app, &credential)
            .map_err(|error| error.to_string())
    }

    /// Whether the key or token takes up standard input.
    pub(super) fn reads_input(&self) -> bool {
        [&self.key, &self.token].into_iter().flatten().any(Secret::is_on_input)
    }

    fn credential(
        &self,
        environment: &[(String, String)],
        input: &mut dyn BufRead,
    ) -> Result<Credential, String> {
        match (&self.key, &self.token) {
            (Some(key), _) => return Ok(Credential::Key(key.text(input)?)),
            (None, Some(token)) => return Ok(Credential::Token(token.text(input)?)),
            (None, None) => {}
        }
        let key = variable(environment, CLIENT_KEY_VARIABLE);
        let token = variable(environment, CLIENT_TOKEN_VARIABLE);
        match (key, token) {
            (Some(_), Some(_)) => Err(format!(
                "{CLIENT_KEY_VARIABLE} and {CLIENT_TOKEN_VARIABLE} are both set; keep one of them"
            )),
            (Some(key), None) => Ok(Credential::Key(key.to_owned())),
            (None, Some(token)) => Ok(Credential::Token(token.to_owned())),
            (None, None) => Ok(Credential::None),
        }
    }
}

impl Secret {
    fn is_on_input(&self) -> bool {
        self.0 == "-"
    }

    /// The secret itself: as typed, or the first line of `input`.
    pub(super) fn text(&self, input: &mut dyn BufRead) -> Result<String, String> {
        if !self.is_on_input() {
            return Ok(self.0.clone());
        }
        let mut line = String::new();
        let read = input.take(SECRET_SIZE_MAX).read_line(&mut line);
        read.map_err(|error| format!("cannot read the key or token: {error}"))?;
        let text = line.trim();
        if text.is_empty() {
            return Err("standard input holds no key or token".to_owned());
        }
        Ok(text.to_owned())
    }
}

/// A variable that is set to something.
pub(super) fn variable<'e>(environment: &'e [(String, String)], name: &str) -> Option<&'e str> {
    let found = environment.iter().find(|(set, value)| set == name && !value.is_empty());
    found.map(|(_, value)| value.as_str())
}

/// What went wrong and, where that can be known, what to do next.
pub(super) fn told(error: &ClientError) -> String {
    match advice(error) {
        Some(advice) => format!("{error}\n{advice}"),
        None => error.to_string(),
    }
}

fn advice(error: &ClientError) -> Option<&'static str> {
    match error {
        ClientError::Unreachable(_) => {
            Some("Is a broker running there? `fanwire` starts one; --url names another address.")
        }
        ClientError::Refused(problem) => advice_on(problem),
        ClientError::Unusable(_) => None,
    }
}

fn advice_on(problem: &Problem) -> Option<&'static str> {
    Some(match (&*problem.code, problem.status) {
        ("unauthorized", _) | ("", 401) => {
            "Set FANWIRE_CLIENT_KEY or FANWIRE_CLIENT_TOKEN, or pipe one into --key - or --token -."
        }
        ("forbidden", _) => {
            "This needs a key or token with more rights; the broker's operator gives them."
        }
        ("unknown_application", _) => {
            "Name one with --app; `fanwire config show` lists the applications of a configuration."
        }
        ("unknown_route", _) | ("", 404) => {
            "--url must be the broker's own address, without a route behind it."
        }
        ("bad_json", _) => "Without --json the data is sent as text.",
        (_, 408 | 429 | 500..) => "Try again later.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(
        key: Option<&str>,
        token: Option<&str>,
        environment: &[(&str, &str)],
        input: &str,
    ) -> Result<Credential, String> {
        let secret = |text: &str| Secret(text.to_owned());
        let (key, token) = (key.map(secret), token.map(secret));
        let args = ConnectionArgs { url: None, app: "demo".to_owned(), key, token };
        assert!(!format!("{args:?}").contains("hush"), "{args:?}");
        let environment: Vec<_> =
            environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        args.credential(&environment, &mut input.as_bytes())
    }

    #[test]
    fn credentials_come_from_flags_then_variables() {
        let key = |text: &str| Ok(Credential::Key(text.to_owned()));
        let token = |text: &str| Ok(Credential::Token(text.to_owned()));
        let both = [(CLIENT_KEY_VARIABLE, "hush1"), (CLIENT_TOKEN_VARIABLE, "hush2")];
        assert_eq!(credential(None, None, &[], ""), Ok(Credential::None));
        assert_eq!(credential(Some("hush"), None, &both, ""), key("hush"));
        assert_eq!(credential(None, Some("hush"), &both, ""), token("hush"));
        assert_eq!(credential(None, None, &both[..1], ""), key("hush1"));
        assert_eq!(credential(None, None, &both[1..], ""), token("hush2"));
        assert_eq!(credential(None, None, &[(CLIENT_KEY_VARIABLE, "")], ""), Ok(Credential::None));
        let problem = credential(None, None, &both, "").unwrap_err();
        assert!(problem.contains("are both set") && !problem.contains("hush"), "{problem}");
    }

    #[test]
    fn a_dash_reads_the_first_line_of_the_input() {
        let key = Ok(Credential::Key("hush".to_owned()));
        assert_eq!(credential(Some("-"), None, &[], "hush\r\nmore"), key);
        assert_eq!(credential(Some("-"), None, &[], "hush"), key);
        let token = Ok(Credential::Token("hush".to_owned()));
        assert_eq!(credential(None, Some("-"), &[], "hush\n"), token);
        for input in ["", "\nhush"] {
            let problem = credential(Some("-"), None, &[], input).unwrap_err();
            assert_eq!(problem, "standard input holds no key or token");
        }
    }

    #[test]
    fn the_default_address_is_the_brokers_default() {
        let default = crate::config::default_file();
        let listen = URL_DEFAULT.trim_start_matches("http://").trim_end_matches('/');
        assert!(default.contains(&format!("listen = \"{listen}\"")), "{default}");
    }

    #[test]
    fn secrets_and_refusals_show_in_no_error() {
        for url in ["nowhere", "ftp://hush@a/", "http://hush@127.0.0.1/", "http://u:hush@a/"] {
            let credential = Credential::Key("hush".to_owned());
            let error = Client::new(url, "demo", &credential).unwrap_err();
            assert!(!error.to_string().contains("hush"), "{error}");
        }
        let credential = Credential::Token("hush\n".to_owned());
        let error = Client::new(URL_DEFAULT, "demo", &credential).unwrap_err();
        assert!(!error.to_string().contains("hush"), "{error}");
        assert!(!format!("{credential:?}").contains("hush"));
    }

    #[test]
    fn a_refusal_says_what_to_do_next() {
        let problem = Problem {
            status: 401,
            code: "unauthorized".to_owned(),
            title: "A key is needed.".to_owned(),
            detail: "none was given".to_owned(),
            retry_after: None,
        };
        let text = told(&ClientError::Refused(problem));
        let expected = "401 A key is needed. (none was given)\nSet FANWIRE_CLIENT_KEY or ";
        assert!(text.starts_with(expected), "{text}");
        let error = ClientError::Unusable("odd".to_owned());
        assert_eq!(told(&error), "odd");
    }
}
