//! What a verified token claims (RFC 7519 §4.1), judged, and the identity that follows.
//!
//! Read only once the signature is verified. The reasons given here go to the caller: they say which
//! rule refused and when, and repeat nothing that the token says except its times.
//!
//! `iat` must be a number but is not judged: RFC 7519 §4.1.6 attaches no rule to it, and the
//! platform's own library has none. Only a revocation by subject looks at it.

use std::sync::Arc;

use serde_json::Value;

use super::json::Object;
use crate::model::identity::Identity;
use crate::model::rights::Rights;
use crate::model::token::TokenKey;
use crate::model::topic::TOPIC_SIZE_MAX;

/// Permissions of one token; with more it is refused.
const PERMISSIONS_COUNT_MAX: usize = 256;
/// Bytes of a subject, so that `priv/{subject}` is a topic.
const SUBJECT_SIZE_MAX: usize = TOPIC_SIZE_MAX - "priv/".len();
/// Where permissions stand; the first that is present counts (protocols.md §1.4).
const PERMISSION_CLAIMS: [&str; 3] = ["permissions", "scp", "scope"];

/// The claims that have a meaning here.
pub(super) struct Claims {
    issuer: Option<String>,
    audiences: Vec<String>,
    not_before: Option<u64>,
    pub(super) issued_at: Option<u64>,
    pub(super) expires_at: Option<u64>,
    pub(super) subject: Option<String>,
    pub(super) token_id: Option<String>,
    pub(super) permissions: Vec<String>,
}

impl Claims {
    /// Reads the claims; members of other names are not looked at.
    ///
    /// # Errors
    /// Which member is not what it has to be.
    pub(super) fn read(mut members: Object) -> Result<Claims, &'static str> {
        let mut take = |name: &str| members.remove(name);
        let subject = text(take("sub"), "the token's sub is not a string")?;
        let is_legal = |subject: &String| {
            (1..=SUBJECT_SIZE_MAX).contains(&subject.len()) && !subject.contains(char::is_control)
        };
        if subject.as_ref().is_some_and(|subject| !is_legal(subject)) {
            return Err("the token's sub is not 1 to 250 bytes without control characters");
        }
        Ok(Claims {
            issuer: text(take("iss"), "the token's iss is not a string")?,
            audiences: match take("aud") {
                None => Vec::new(),
                Some(Value::String(audience)) => vec![audience],
                Some(list) => strings(list).ok_or("the token's aud is not a string or strings")?,
            },
            not_before: seconds(take("nbf"), "the token's nbf is not a number")?,
            issued_at: seconds(take("iat"), "the token's iat is not a number")?,
            expires_at: seconds(take("exp"), "the token's exp is not a number")?,
            subject,
            token_id: text(take("jti"), "the token's jti is not a string")?,
            permissions: permissions(&mut members)?,
        })
    }

    /// Judges `exp` and `nbf` at `now_s`, forgiving `leeway_s` (RFC 7519 §4.1.4, §4.1.5).
    ///
    /// # Errors
    /// When it expired, or from when on it is valid.
    pub(super) fn judge_times(&self, now_s: u64, leeway_s: u32) -> Result<(), String> {
        let leeway_s = u64::from(leeway_s);
        if let Some(expires_at) = self.expires_at
            && now_s >= expires_at.saturating_add(leeway_s)
        {
            let ago_s = now_s - expires_at;
            return Err(format!("the token expired {ago_s} s ago, at {expires_at} (Unix seconds)"));
        }
        if let Some(not_before) = self.not_before
            && not_before > now_s.saturating_add(leeway_s)
        {
            return Err(format!("the token is not valid before {not_before} (Unix seconds)"));
        }
        Ok(())
    }

    /// Judges `iss` and `aud` by what `key` accepts.
    ///
    /// # Errors
    /// Which of them is not accepted.
    pub(super) fn judge_parties(&self, key: &TokenKey) -> Result<(), &'static str> {
        let is_issuer = |issuer: &str| key.issuers.iter().any(|known| **known == *issuer);
        if !key.issuers.is_empty() && !self.issuer.as_deref().is_some_and(is_issuer) {
            return Err("the token's issuer (iss) is not one of this application's");
        }
        let is_audience =
            |audience: &String| key.audiences.iter().any(|known| **known == **audience);
        if !key.audiences.is_empty() && !self.audiences.iter().any(is_audience) {
            return Err("the token's audience (aud) is not one of this application's");
        }
        Ok(())
    }

    /// Who the token's bearer is.
    pub(super) fn into_identity(self) -> Identity {
        Identity {
            subject: self.subject.map(Arc::from),
            token_id: self.token_id.map(Box::from),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            rights: Rights::of_permissions(self.permissions),
        }
    }
}

fn text(value: Option<Value>, problem: &'static str) -> Result<Option<String>, &'static str> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(problem),
    }
}

/// A time (RFC 7519 §2, NumericDate): whole or with a fraction, which is cut off; before 1970 is 0.
fn seconds(value: Option<Value>, problem: &'static str) -> Result<Option<u64>, &'static str> {
    let Some(value) = value else { return Ok(None) };
    if let Some(whole) = value.as_u64() {
        return Ok(Some(whole));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "cut off, and clamped"
    )]
    let clamped = |number: f64| number as u64;
    value.as_f64().map(|number| Some(clamped(number))).ok_or(problem)
}

/// The permissions: strings, or words of one string (RFC 8693 §4.2); `permissions` has strings only.
fn permissions(members: &mut Object) -> Result<Vec<String>, &'static str> {
    let Some(name) = PERMISSION_CLAIMS.into_iter().find(|name| members.contains_key(*name)) else {
        return Ok(Vec::new());
    };
    let list = match members.remove(name) {
        Some(Value::String(words)) if name != "permissions" => {
            let words = words.split(' ').filter(|word| !word.is_empty());
            Some(words.map(str::to_owned).collect())
        }
        value => value.and_then(strings),
    };
    let list = list.ok_or("the token's permissions (permissions, scp or scope) are not strings")?;
    if list.len() > PERMISSIONS_COUNT_MAX {
        return Err("the token has more than 256 permissions");
    }
    Ok(list)
}

fn strings(value: Value) -> Option<Vec<String>> {
    let Value::Array(list) = value else { return None };
    let string = |value| if let Value::String(text) = value { Some(text) } else { None };
    list.into_iter().map(string).collect()
}
