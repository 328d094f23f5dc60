//! What a rightly signed token may say.

use std::sync::Arc;

use fanwire::model::application::Application;
use fanwire::model::token::Algorithm;

use crate::door::{Door, NOW_S, SECRET, hs256, raw};

/// Asks about each of `cases`: claims, and what is said of them; `None` when they hold.
fn check(cases: &[(&str, Option<&str>)]) {
    for (claims, expected) in cases {
        let mut door = Door::of_secret();
        let token = hs256(claims);
        match expected {
            None => drop(door.identity(&token)),
            Some(detail) => assert_eq!(door.refusal(&token), *detail, "{claims}"),
        }
    }
}

#[test]
fn times_are_numbers_and_are_judged_with_the_leeway() {
    let expired = |ago, at: &str| format!("the token expired {ago} s ago, at {at} (Unix seconds)");
    let early = |at: &str| format!("the token is not valid before {at} (Unix seconds)");
    check(&[
        ("{}", None),
        (r#"{"exp":1700000001}"#, None),
        (r#"{"exp":1700000000}"#, None),
        (r#"{"exp":1699999996}"#, None),
        (r#"{"exp":1699999995}"#, Some(&expired(5, "1699999995"))),
        (r#"{"exp":1699999996.999}"#, None),
        (r#"{"exp":1699999995.999}"#, Some(&expired(5, "1699999995"))),
        (r#"{"exp":1.7e9}"#, None),
        (r#"{"exp":0}"#, Some(&expired(1_700_000_000, "0"))),
        (r#"{"exp":-1}"#, Some(&expired(1_700_000_000, "0"))),
        (r#"{"exp":-1e300}"#, Some(&expired(1_700_000_000, "0"))),
        (r#"{"exp":18446744073709551615}"#, None),
        (r#"{"exp":1e300}"#, None),
        (r#"{"exp":"1800000000"}"#, Some("the token's exp is not a number")),
        (r#"{"exp":null}"#, Some("the token's exp is not a number")),
        (r#"{"exp":[1800000000]}"#, Some("the token's exp is not a number")),
        (r#"{"exp":true}"#, Some("the token's exp is not a number")),
        (r#"{"nbf":1700000005}"#, None),
        (r#"{"nbf":1700000006}"#, Some(&early("1700000006"))),
        (r#"{"nbf":1700000005.9}"#, None),
        (r#"{"nbf":1e300}"#, Some(&early("18446744073709551615"))),
        (r#"{"nbf":"0"}"#, Some("the token's nbf is not a number")),
        (r#"{"iat":1700009999}"#, None),
        (r#"{"iat":"0"}"#, Some("the token's iat is not a number")),
        (r#"{"iat":{}}"#, Some("the token's iat is not a number")),
    ]);
}

#[test]
fn the_leeway_is_the_applications() {
    for (token_leeway_s, holds) in [(0, false), (60, false), (61, true), (u32::MAX, true)] {
        let auth_keys = vec![raw(Algorithm::Hs256, SECRET)];
        let application = Application { auth_keys, token_leeway_s, ..Application::new("a") };
        let mut door = Door::of(application);
        let token = hs256(&format!(r#"{{"exp":{}}}"#, NOW_S - 60));
        assert_eq!(matches!(door.ask(&token), fanwire::auth::Verdict::Known(_)), holds);
    }
}

#[test]
fn a_subject_names_a_topic_and_an_id_is_text() {
    const SUBJECT: &str = "the token's sub is not 1 to 250 bytes without control characters";
    let of_size = |size| format!(r#"{{"sub":"{}"}}"#, "s".repeat(size));
    check(&[
        (r#"{"sub":"alice"}"#, None),
        (&of_size(250), None),
        (&of_size(251), Some(SUBJECT)),
        (r#"{"sub":""}"#, Some(SUBJECT)),
        (r#"{"sub":"a\u0000b"}"#, Some(SUBJECT)),
        (r#"{"sub":"a\nb"}"#, Some(SUBJECT)),
        (r#"{"sub":"a\u0085b"}"#, Some(SUBJECT)),
        (r#"{"sub":7}"#, Some("the token's sub is not a string")),
        (r#"{"sub":null}"#, Some("the token's sub is not a string")),
        (r#"{"jti":"x"}"#, None),
        (r#"{"jti":7}"#, Some("the token's jti is not a string")),
    ]);
}

#[test]
fn permissions_are_taken_from_the_first_claim_that_is_there() {
    const WRONG: &str = "the token's permissions (permissions, scp or scope) are not strings";
    let cases: [(&str, Result<&[&str], &str>); 15] = [
        ("{}", Ok(&[])),
        (r#"{"permissions":["a","b c"]}"#, Ok(&["a", "b c"])),
        (r#"{"permissions":[],"scp":["a"]}"#, Ok(&[])),
        (r#"{"permissions":["a"],"scp":["b"],"scope":"c"}"#, Ok(&["a"])),
        (r#"{"permissions":"a b"}"#, Err(WRONG)),
        (r#"{"permissions":null,"scope":"a"}"#, Err(WRONG)),
        (r#"{"permissions":["a",1]}"#, Err(WRONG)),
        (r#"{"permissions":{"a":1}}"#, Err(WRONG)),
        (r#"{"scp":["a","b"]}"#, Ok(&["a", "b"])),
        (r#"{"scp":" a  b "}"#, Ok(&["a", "b"])),
        (r#"{"scp":7,"scope":"a"}"#, Err(WRONG)),
        (r#"{"scope":"a b","scopes":"c"}"#, Ok(&["a", "b"])),
        (r#"{"scope":["a"]}"#, Ok(&["a"])),
        (r#"{"scope":""}"#, Ok(&[])),
        (r#"{"scope":false}"#, Err(WRONG)),
    ];
    for (claims, expected) in cases {
        let mut door = Door::of_secret();
        let token = hs256(claims);
        match expected {
            Ok(expected) => {
                assert_eq!(*door.identity(&token).rights.presented, *expected, "{claims}");
            }
            Err(detail) => assert_eq!(door.refusal(&token), detail, "{claims}"),
        }
    }
    let many = |count| format!(r#"{{"scope":"{}"}}"#, "p ".repeat(count));
    check(&[(&many(256), None), (&many(257), Some("the token has more than 256 permissions"))]);
}

#[test]
fn issuer_and_audience_are_the_keys_own() {
    let mut key = raw(Algorithm::Hs256, SECRET);
    key.issuers = vec!["https://a".into(), "https://b".into()];
    key.audiences = vec!["x".into(), "y".into()];
    let mut door = Door::new(vec![key]);
    let issuer = Some("the token's issuer (iss) is not one of this application's");
    let audience = Some("the token's audience (aud) is not one of this application's");
    for (claims, expected) in [
        (r#"{"iss":"https://a","aud":"x"}"#, None),
        (r#"{"iss":"https://b","aud":["z","y"]}"#, None),
        (r#"{"iss":"https://A","aud":"x"}"#, issuer),
        (r#"{"iss":"https://a/","aud":"x"}"#, issuer),
        (r#"{"iss":"","aud":"x"}"#, issuer),
        (r#"{"aud":"x"}"#, issuer),
        (r#"{"iss":"https://a"}"#, audience),
        (r#"{"iss":"https://a","aud":[]}"#, audience),
        (r#"{"iss":"https://a","aud":["z"]}"#, audience),
        (r#"{"iss":"https://a","aud":"x y"}"#, audience),
        (r#"{"iss":["https://a"],"aud":"x"}"#, Some("the token's iss is not a string")),
        (
            r#"{"iss":"https://a","aud":["x",7]}"#,
            Some("the token's aud is not a string or strings"),
        ),
        (
            r#"{"iss":"https://a","aud":{"x":1}}"#,
            Some("the token's aud is not a string or strings"),
        ),
    ] {
        let token = hs256(claims);
        match expected {
            None => drop(door.identity(&token)),
            Some(detail) => assert_eq!(door.refusal(&token), detail, "{claims}"),
        }
    }
    // Without lists, everyone's and nobody's tokens are taken.
    check(&[(r#"{"iss":"https://else","aud":["else"]}"#, None)]);
}

#[test]
fn the_identity_is_what_the_token_says() {
    let token = hs256(
        r#"{"sub":"alice","jti":"7f","iat":1699999000.5,"exp":1700000100,
           "scope":"realtime:publisher:write:topic:chat realtime:admin:manage:connections"}"#,
    );
    let identity = Door::of_secret().identity(&token);
    assert_eq!(identity.subject, Some(Arc::from("alice")));
    assert_eq!(identity.token_id.as_deref(), Some("7f"));
    assert_eq!(
        (identity.issued_at, identity.expires_at),
        (Some(1_699_999_000), Some(1_700_000_100))
    );
    assert!(identity.rights.publish.matches("chat") && !identity.rights.publish.matches("other"));
    assert!(identity.rights.manage.connections && !identity.rights.manage.application);
    assert!(!identity.rights.public_is_limited);
}
