//! What an authenticator remembers: verified tokens, and revocations.

use std::sync::Arc;

use fanwire::auth::{Credential, TooManyRevocations, Verdict};
use fanwire::model::application::{ApiKey, AppIndex, Application};
use fanwire::model::identity::{Identity, Revocation, Role};
use fanwire::model::refusal::{Refusal, Refused};
use fanwire::model::rights::Rights;
use fanwire::model::token::{Algorithm, KeySetIndex};

use crate::door::{Door, NOT_VALID_HERE, NOW_S, SECRET, hs256, jwks, raw};

/// Whether the door knows `token` without a signature check.
fn is_remembered(door: &mut Door, token: &str) -> bool {
    door.recognize(Credential::Token(token)).is_some_and(|outcome| outcome.is_ok())
}

#[test]
fn keys_and_their_absence_need_no_signature() {
    let identity = Arc::new(Identity::without_token(Rights::of_permissions(vec!["x".to_owned()])));
    let keys = vec![ApiKey { secret: "right".into(), identity: Arc::clone(&identity) }];
    for open in [false, true] {
        let mut door = Door::of(Application { open, keys: keys.clone(), ..Application::new("a") });
        let mut ask = |credential| door.recognize(credential).expect("no signature is needed");
        assert_eq!(ask(Credential::ApiKey("right")), Ok(Arc::clone(&identity)));
        for wrong in ["", "wrong", "righ", "right "] {
            let refused = Refused::new(Refusal::Unauthorized, "no such API key here");
            assert_eq!(ask(Credential::ApiKey(wrong)), Err(refused), "{wrong:?}");
        }
        let everyone = Identity::without_token(Rights::every_topic());
        let refused = Refused::new(Refusal::Unauthorized, "present a key or a token");
        let expected = if open { Ok(Arc::new(everyone)) } else { Err(refused) };
        assert_eq!(ask(Credential::Absent), expected);
        // Who presents a token is judged by it, at an open application too.
        assert_eq!(door.refusal("a.b.c"), NOT_VALID_HERE);
    }
}

#[test]
fn a_verified_token_is_remembered_for_its_application_and_roles() {
    let application = Application {
        auth_keys: vec![raw(Algorithm::Hs256, SECRET)],
        admin_keys: vec![raw(Algorithm::Hs256, "another-secret-of-enough-bytes")],
        ..Application::new("a")
    };
    let mut door = Door::of(application);
    let token = hs256(r#"{"sub":"alice"}"#);
    assert_eq!(door.recognize(Credential::Token(&token)), None);
    let first = door.identity(&token);
    let Some(Ok(again)) = door.recognize(Credential::Token(&token)) else { panic!("forgotten") };
    assert!(Arc::ptr_eq(&first, &again));
    assert!(!is_remembered(&mut door, &format!("{token}A")));
    door.roles = vec![Role::Admin];
    assert_eq!(door.refusal(&token), NOT_VALID_HERE);
    door.roles = vec![Role::Client, Role::Admin];
    assert!(!is_remembered(&mut door, &token));
    door.roles = vec![Role::Client];
    door.app = AppIndex(1);
    assert!(!is_remembered(&mut door, &token));
}

#[test]
fn it_is_remembered_until_it_expires_or_for_an_hour() {
    for (claims, last_s) in [
        (format!(r#"{{"exp":{}}}"#, NOW_S + 60), NOW_S + 64),
        (format!(r#"{{"exp":{}}}"#, NOW_S + 86_400), NOW_S + 86_404),
        ("{}".to_owned(), NOW_S + 3599),
    ] {
        let mut door = Door::of_secret();
        let token = hs256(&claims);
        door.identity(&token);
        door.now_s = last_s;
        assert!(is_remembered(&mut door, &token), "{claims}");
        door.now_s = last_s + 1;
        assert!(!is_remembered(&mut door, &token), "{claims}");
        let still_holds = matches!(door.verify(&token), Verdict::Known(_));
        assert_eq!(still_holds, claims == "{}", "{claims}");
    }
}

#[test]
fn a_refused_token_is_not_remembered() {
    let mut door = Door::of_secret();
    let token = hs256(&format!(r#"{{"nbf":{}}}"#, NOW_S + 60));
    assert!(door.refusal(&token).starts_with("the token is not valid before"));
    assert_eq!(door.recognize(Credential::Token(&token)), None);
    door.now_s += 60;
    door.identity(&token);
}

#[test]
fn the_table_is_bounded_and_keeps_who_returns() {
    const ENTRIES_COUNT_MAX: usize = 16_384;
    let mut door = Door::of_secret();
    let token = |number: usize| hs256(&format!(r#"{{"sub":"{number}"}}"#));
    let frequent = token(0);
    door.identity(&frequent);
    for number in 1..=ENTRIES_COUNT_MAX + 100 {
        door.identity(&token(number));
        assert!(number % 50 != 0 || is_remembered(&mut door, &frequent), "after {number}");
    }
    let remembered =
        (1..=ENTRIES_COUNT_MAX + 100).filter(|number| is_remembered(&mut door, &token(*number)));
    assert_eq!(remembered.count(), ENTRIES_COUNT_MAX - 1);
}

#[test]
fn tokens_of_a_replaced_key_set_are_forgotten() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("rfc.json")).expect("the data are JSON");
    let vector = &vectors[1];
    let token = vector["token"].as_str().expect("a string");
    let document = format!(r#"{{"keys":[{}]}}"#, vector["jwk"]);
    let mut door = Door::new(vec![raw(Algorithm::Hs256, SECRET), jwks(1, &[Algorithm::Rs256])]);
    door.now_s = 1_300_819_379;
    let by_secret = hs256("{}");
    let ask_both = |door: &mut Door| {
        door.give(1, &document);
        door.identity(token);
        door.identity(&by_secret);
        assert!(is_remembered(door, token));
    };
    ask_both(&mut door);
    door.give(1, &document);
    assert!(is_remembered(&mut door, token), "the same document again changes nothing");
    door.give(0, r#"{"keys":[]}"#);
    assert!(is_remembered(&mut door, token), "nor does another set");
    door.give(1, r#"{"keys":[]}"#);
    assert_eq!(door.refusal(token), NOT_VALID_HERE);

    ask_both(&mut door);
    door.authenticator.set_keys(KeySetIndex(1), None);
    assert_eq!(door.ask(token), Verdict::NeedsKeys(vec![KeySetIndex(1)]));
    assert!(is_remembered(&mut door, &by_secret), "the configuration's key has not changed");
}

/// Tokens to be revoked: claims, and whether they are under each of [`revocations`].
const REVOCABLE: [(&str, [bool; 2]); 6] = [
    (r#"{"sub":"alice","jti":"1","iat":1699999000}"#, [true, true]),
    (r#"{"sub":"alice","jti":"2","iat":1699999000}"#, [false, true]),
    (r#"{"sub":"alice","jti":"2","iat":1699999999.5}"#, [false, true]),
    (r#"{"sub":"alice","iat":1700000000}"#, [false, false]),
    (r#"{"sub":"alice"}"#, [false, true]),
    (r#"{"sub":"bob","iat":1699999000}"#, [false, false]),
];

fn revocations() -> [Revocation; 2] {
    let subject = Revocation::Subject { subject: "alice".into(), issued_before_s: NOW_S };
    [Revocation::TokenId("1".into()), subject]
}

#[test]
fn revoked_tokens_are_refused_at_once_in_their_application_until_the_end() {
    for (index, revocation) in revocations().iter().enumerate() {
        for was_remembered in [false, true] {
            let mut door = Door::of_secret();
            for (claims, _) in REVOCABLE {
                drop(was_remembered.then(|| door.identity(&hs256(claims))));
            }
            let until_s = NOW_S + 100;
            assert_eq!(door.authenticator.revoke(AppIndex(0), revocation, until_s, NOW_S), Ok(()));
            for (claims, is_revoked) in REVOCABLE {
                let token = hs256(claims);
                door.now_s = until_s - 1;
                if is_revoked[index] {
                    assert_eq!(door.refusal(&token), "the token has been revoked", "{claims}");
                } else {
                    door.identity(&token);
                }
                door.app = AppIndex(1);
                door.identity(&token);
                door.app = AppIndex(0);
                door.now_s = until_s;
                door.identity(&token);
            }
        }
    }
}

#[test]
fn a_second_revocation_of_the_same_only_widens_the_first() {
    let subject = |issued_before_s| Revocation::Subject { subject: "s".into(), issued_before_s };
    let mut door = Door::of_secret();
    let mut revoke = |revocation: &Revocation, until_s| {
        assert_eq!(door.authenticator.revoke(AppIndex(0), revocation, until_s, NOW_S), Ok(()));
    };
    revoke(&subject(NOW_S - 10), NOW_S + 100);
    revoke(&subject(NOW_S - 20), NOW_S + 50);
    door.now_s = NOW_S + 99;
    let token = hs256(&format!(r#"{{"sub":"s","iat":{}}}"#, NOW_S - 15));
    assert_eq!(door.refusal(&token), "the token has been revoked");
}

#[test]
fn a_full_table_refuses_aloud_and_has_room_when_entries_have_ended() {
    const ENTRIES_COUNT_MAX: usize = 100_000;
    let mut door = Door::of_secret();
    let mut revoke = |id: &str, until_s, now_s| {
        door.authenticator.revoke(AppIndex(0), &Revocation::TokenId(id.into()), until_s, now_s)
    };
    for number in 0..ENTRIES_COUNT_MAX {
        let until_s = if number == 0 { NOW_S + 10 } else { NOW_S + 100 };
        assert_eq!(revoke(&number.to_string(), until_s, NOW_S), Ok(()));
    }
    assert_eq!(revoke("one more", NOW_S + 100, NOW_S + 9), Err(TooManyRevocations));
    assert_eq!(revoke("7", NOW_S + 200, NOW_S + 9), Ok(()), "one that is there already");
    assert_eq!(revoke("one more", NOW_S + 100, NOW_S + 10), Ok(()));
    assert_eq!(revoke("and another", NOW_S + 100, NOW_S + 10), Err(TooManyRevocations));
    let token = hs256(r#"{"jti":"one more"}"#);
    door.now_s = NOW_S + 99;
    assert_eq!(door.refusal(&token), "the token has been revoked");
}
