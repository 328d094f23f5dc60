//! Minting, explaining, and the property that no bit of a token may change.

use fanwire::auth::{Credential, KeyRing, KeySets, Request, Verdict, explain, mint};
use fanwire::model::application::{AppIndex, Application, Applications};
use fanwire::model::identity::Role;
use fanwire::model::token::{Algorithm, KeyText};

use crate::door::{Door, NOT_VALID_HERE, NOW_S, SECRET, hs256, jwks, raw};

#[test]
fn every_bit_of_a_token_matters_with_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let key = mint::generate(algorithm).expect("random bits");
        let token = mint::sign(algorithm, Some("k"), r#"{"sub":"a"}"#, &key.private).unwrap();
        let text = key.public.as_deref().unwrap_or(&key.private.0);
        let mut door = Door::new(vec![raw(algorithm, text)]);
        for at in 0..token.len() {
            // The eighth bit would leave ASCII: no `&str` of one byte less.
            for bit in 0..7 {
                let mut changed = token.clone().into_bytes();
                changed[at] ^= 1 << bit;
                let changed = String::from_utf8(changed).expect("ASCII");
                assert_eq!(
                    door.refusal(&changed),
                    NOT_VALID_HERE,
                    "{} bit {bit} of {at}",
                    algorithm.name()
                );
            }
        }
        assert!(matches!(door.ask(&token), Verdict::Known(_)));
    }
}

#[test]
fn nothing_may_be_inserted_or_left_out() {
    let token = hs256(r#"{"sub":"a"}"#);
    let mut door = Door::of_secret();
    for at in 0..=token.len() {
        for inserted in [".", "A", "=", " ", "\0", "\n", "é", "%", "-"] {
            let changed = [&token[..at], inserted, &token[at..]].concat();
            assert_eq!(door.refusal(&changed), NOT_VALID_HERE, "{inserted:?} at {at}");
        }
        assert!(at == token.len() || door.refusal(&token[..at]) == NOT_VALID_HERE);
        assert!(at == 0 || door.refusal(&token[at..]) == NOT_VALID_HERE);
    }
}

#[test]
fn a_token_is_taken_up_to_8704_bytes() {
    let claims = |size: usize| format!(r#"{{"x":"{}"}}"#, "x".repeat(size - r#"{"x":""}"#.len()));
    // 36 characters of header, 43 of signature, two dots, and 4 for every 3 bytes of claims.
    let token = hs256(&claims(6467));
    assert_eq!(token.len(), 8704);
    assert!(matches!(Door::of_secret().ask(&token), Verdict::Known(_)));
    let problem = "the token would be larger than 8704 bytes";
    let secret = KeyText(SECRET.into());
    let refused = mint::sign(Algorithm::Hs256, None, &claims(6468), &secret);
    assert_eq!(refused.err().as_deref(), Some(problem));
    let mut door = Door::of_secret();
    let known = door.recognize(Credential::Token(&(token + "A")));
    assert_eq!(
        known.expect("no hash is needed").map_err(|refused| refused.detail).err().as_deref(),
        Some(NOT_VALID_HERE)
    );
}

#[test]
fn minting_refuses_what_could_not_hold() {
    let rsa = mint::generate(Algorithm::Rs256).expect("random bits");
    let public = KeyText(rsa.public.clone().expect("a public half").into());
    let secret = KeyText(SECRET.into());
    let unfit = |name| format!("the key is not a private key in PEM that can sign {name}");
    let not_object = "the claims are not one JSON object without repeated members".to_owned();
    let too_large = format!(r#"{{"x":"{}"}}"#, "x".repeat(8000));
    let cases = [
        (Algorithm::Rs256, "{}", &rsa.private, None),
        (Algorithm::Ps512, "{}", &rsa.private, None),
        (Algorithm::Rs256, "{}", &public, Some(unfit("RS256"))),
        (Algorithm::Es256, "{}", &rsa.private, Some(unfit("ES256"))),
        (Algorithm::Es512, "{}", &rsa.private, Some(unfit("ES512"))),
        (Algorithm::EdDsa, "{}", &secret, Some(unfit("EdDSA"))),
        (Algorithm::Hs256, "[]", &secret, Some(not_object.clone())),
        (Algorithm::Hs256, r#"{"a":1,"a":1}"#, &secret, Some(not_object)),
        (
            Algorithm::Hs256,
            &too_large,
            &secret,
            Some("the token would be larger than 8704 bytes".to_owned()),
        ),
        (
            Algorithm::Hs256,
            "{}",
            &rsa.private,
            Some("a PEM text is no secret: others have it, or it signs".to_owned()),
        ),
    ];
    for (algorithm, claims, key, expected) in cases {
        assert_eq!(
            mint::sign(algorithm, None, claims, key).err(),
            expected,
            "{}",
            algorithm.name()
        );
    }
}

/// The steps that explaining `token` takes at an application with an RS256 key, a secret for one
/// issuer and a key set that is not here.
fn steps(token: &str) -> (Vec<String>, Verdict) {
    let rsa = mint::generate(Algorithm::Rs256).expect("random bits").public.expect("a public half");
    let mut secret = raw(Algorithm::Hs256, SECRET);
    secret.issuers = vec!["me".into()];
    let auth_keys = vec![raw(Algorithm::Rs256, &rsa), secret, jwks(0, &[Algorithm::Es256])];
    let applications =
        Applications::new(vec![Application { auth_keys, ..Application::new("a") }], None);
    let ring = KeyRing::new(&applications).expect("good keys");
    let request = Request {
        app: AppIndex(0),
        application: applications.get(AppIndex(0)),
        roles: &[Role::Client],
        credential: Credential::Token(token),
        now_s: NOW_S,
    };
    let explanation = explain(&request, &ring, &KeySets::new()).expect("a token");
    (explanation.steps, explanation.verdict)
}

#[test]
fn explaining_says_what_the_door_does() {
    let permissions = r#"["realtime:publisher:write:topic:chat","billing"]"#;
    let token =
        hs256(&format!(r#"{{"iss":"me","sub":"alice","exp":1700000060,"scp":{permissions}}}"#));
    let (found, verdict) = steps(&token);
    let expected = [
        "the header says alg HS256",
        "key 1 of authKey is not for HS256",
        "key 2 of authKey has signed it",
        "accepted",
        "its subject is \"alice\"",
        "it expires at 1700000060 (Unix seconds)",
        "it has no jti: it can be revoked by its subject only",
        "it grants \"realtime:publisher:write:topic:chat\"",
        "it grants nothing by \"billing\"",
    ];
    assert_eq!(found[..3], expected[..3]);
    assert_eq!(found[found.len() - 6..], expected[3..]);
    assert!(matches!(verdict, Verdict::Known(_)));

    let (found, verdict) = steps(&hs256(r#"{"iss":"you"}"#));
    let problem = "the token's issuer (iss) is not one of this application's";
    assert_eq!(found.last(), Some(&format!("refused: {problem}")));
    assert!(matches!(verdict, Verdict::Refused(refused) if refused.detail == problem));

    let (found, verdict) = steps("eyJhbGciOiJub25lIn0.e30.AA");
    assert_eq!(found, ["refused: the header's alg is none, or none of the thirteen known ones"]);
    assert!(matches!(verdict, Verdict::Refused(refused) if refused.detail == NOT_VALID_HERE));

    let ec = mint::generate(Algorithm::Es256).expect("random bits");
    let token = mint::sign(Algorithm::Es256, Some("k7"), "{}", &ec.private).expect("its own key");
    let (found, verdict) = steps(&token);
    assert_eq!(found[0], "the header says alg ES256, kid \"k7\"");
    assert_eq!(found[3], "key 3 of authKey: its key set is not here");
    assert_eq!(found[4], "undecided: a key set has to be fetched first");
    assert!(matches!(verdict, Verdict::NeedsKeys(_)));
}

#[test]
fn no_credential_is_shown() {
    let shown = format!("{:?}", Credential::Token("topsecret"))
        + &format!("{:?}", Credential::ApiKey("topsecret"));
    assert_eq!(shown, "TokenApiKey");
    let applications = Applications::new(
        vec![Application {
            auth_keys: vec![raw(Algorithm::Hs256, SECRET)],
            ..Application::new("a")
        }],
        None,
    );
    let ring = KeyRing::new(&applications).expect("good keys");
    let mut door = Door::of_secret();
    let token = hs256(r#"{"sub":"alice"}"#);
    door.identity(&token);
    let shown = format!("{ring:?}{:?}", door.authenticator);
    let signature = token.rsplit('.').next().expect("three parts");
    assert!(!shown.contains(SECRET) && !shown.contains(signature), "{shown}");
    assert!(!shown.contains("97, 110, 45, 104"), "nor its bytes: {shown}");
}
