//! Which key is asked, and when a key set has to be fetched first.

use fanwire::auth::{KeyRing, KeySet, Verdict, check_key, mint};
use fanwire::model::application::{Application, Applications};
use fanwire::model::identity::Role;
use fanwire::model::token::{Algorithm, KeySetIndex, KeyText};

use crate::door::{Door, NOT_VALID_HERE, SECRET, hs256, jwks, raw};

/// A key pair.
struct Pair {
    private: KeyText,
    public_pem: String,
}

fn pair(algorithm: Algorithm) -> Pair {
    let made = mint::generate(algorithm).expect("random bits");
    Pair { private: made.private, public_pem: made.public.expect("a public half") }
}

impl Pair {
    fn token(&self, algorithm: Algorithm, key_id: Option<&str>) -> String {
        mint::sign(algorithm, key_id, r#"{"sub":"alice"}"#, &self.private).expect("a fitting key")
    }
}

/// A JWK of an Ed25519 public key: the last 32 bytes of its DER (RFC 8410 §4).
fn ed25519_jwk(pair: &Pair, key_id: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let body: String = pair.public_pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(body).expect("PEM");
    let x = URL_SAFE_NO_PAD.encode(&der[der.len() - 32..]);
    format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{key_id}"}}"#)
}

#[test]
fn every_algorithms_minted_tokens_hold_at_its_key_and_at_no_other() {
    let made =
        Algorithm::ALL.map(|algorithm| (algorithm, mint::generate(algorithm).expect("bits")));
    for (algorithm, key) in &made {
        let token = mint::sign(*algorithm, None, "{}", &key.private).expect("its own key");
        for (other, other_key) in &made {
            let text = other_key.public.as_deref().unwrap_or(&other_key.private.0);
            let verdict = Door::new(vec![raw(*other, text)]).ask(&token);
            let holds = matches!(verdict, Verdict::Known(_));
            assert_eq!(holds, algorithm == other, "{} at {}", algorithm.name(), other.name());
        }
    }
}

#[test]
fn keys_are_of_one_role() {
    let (client, admin) = (SECRET, "another-secret-of-enough-bytes");
    let application = Application {
        auth_keys: vec![raw(Algorithm::Hs256, client)],
        admin_keys: vec![raw(Algorithm::Hs256, admin)],
        ..Application::new("a")
    };
    let mut door = Door::of(application);
    let client_token = hs256("{}");
    let admin_token = mint::sign(Algorithm::Hs256, None, "{}", &KeyText(admin.into())).unwrap();
    for (roles, client_holds, admin_holds) in [
        (vec![Role::Client], true, false),
        (vec![Role::Admin], false, true),
        (vec![Role::Admin, Role::Client], true, true),
        (vec![], false, false),
    ] {
        door.roles = roles;
        for (token, holds) in [(&client_token, client_holds), (&admin_token, admin_holds)] {
            assert_eq!(matches!(door.ask(token), Verdict::Known(_)), holds, "{:?}", door.roles);
        }
    }
}

#[test]
fn the_same_secret_twice_serves_two_issuers() {
    let of_issuer = |issuer: &str| {
        let mut key = raw(Algorithm::Hs256, SECRET);
        key.issuers = vec![issuer.into()];
        key
    };
    let mut door = Door::new(vec![of_issuer("a"), of_issuer("b")]);
    assert!(matches!(door.ask(&hs256(r#"{"iss":"b"}"#)), Verdict::Known(_)));
    let detail = door.refusal(&hs256(r#"{"iss":"c"}"#));
    assert_eq!(detail, "the token's issuer (iss) is not one of this application's");
}

#[test]
fn a_key_set_is_asked_for_until_it_has_the_key() {
    let key = pair(Algorithm::EdDsa);
    let mut door = Door::new(vec![
        jwks(0, &[Algorithm::EdDsa]),
        jwks(1, &[Algorithm::EdDsa, Algorithm::Es256]),
    ]);
    let token = key.token(Algorithm::EdDsa, Some("one"));
    let both = Verdict::NeedsKeys(vec![KeySetIndex(0), KeySetIndex(1)]);
    assert_eq!(door.ask(&token), both);
    door.give(0, r#"{"keys":[]}"#);
    assert_eq!(door.ask(&token), both, "an empty set does not have it");
    door.give(1, &format!(r#"{{"keys":[{}]}}"#, ed25519_jwk(&key, "one")));
    assert!(matches!(door.ask(&token), Verdict::Known(_)));

    // A named key that has not signed it is refused: fetching would not change that.
    let forged = pair(Algorithm::EdDsa).token(Algorithm::EdDsa, Some("one"));
    door.give(0, &format!(r#"{{"keys":[{}]}}"#, ed25519_jwk(&pair(Algorithm::EdDsa), "one")));
    assert_eq!(door.refusal(&forged), NOT_VALID_HERE);
    // So is an unnamed token, once all sets are here.
    assert_eq!(door.refusal(&pair(Algorithm::EdDsa).token(Algorithm::EdDsa, None)), NOT_VALID_HERE);
    // Only a set that is configured for the algorithm is asked for.
    let token = pair(Algorithm::Es256).token(Algorithm::Es256, Some("two"));
    assert_eq!(door.ask(&token), Verdict::NeedsKeys(vec![KeySetIndex(1)]));
}

#[test]
fn no_key_set_is_fetched_for_a_secret_or_for_junk() {
    let mut door = Door::new(vec![jwks(0, &Algorithm::ALL)]);
    let junk = ["", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJSUzI1NiJ9..AA"];
    for token in junk.into_iter().chain([hs256("{}").as_str()]) {
        assert_eq!(door.refusal(token), NOT_VALID_HERE, "{token}");
    }
}

#[test]
fn at_most_eight_signatures_are_checked() {
    let keys: Vec<Pair> = (0..10).map(|_| pair(Algorithm::EdDsa)).collect();
    let list: Vec<_> = keys.iter().map(|key| ed25519_jwk(key, "same")).collect();
    let mut door = Door::new(vec![jwks(0, &[Algorithm::EdDsa])]);
    door.give(0, &format!(r#"{{"keys":[{}]}}"#, list.join(",")));
    for (index, key) in keys.iter().enumerate() {
        for key_id in [None, Some("same")] {
            let holds = matches!(door.ask(&key.token(Algorithm::EdDsa, key_id)), Verdict::Known(_));
            assert_eq!(holds, index < 8, "key {index}");
        }
    }
}

#[test]
fn a_configured_key_is_told_what_is_wrong_with_it() {
    let [rsa, p256, p521, ed] =
        [Algorithm::Rs256, Algorithm::Es256, Algorithm::Es512, Algorithm::EdDsa].map(pair);
    let all_rsa = [Algorithm::Rs256, Algorithm::Ps512];
    let jwk = r#" {"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQ"}"#;
    let not_pem = "it is not PEM: -----BEGIN PUBLIC KEY----- and so on";
    let nothing = "its PEM holds no RSA, elliptic-curve or Ed25519 public key";
    let broken = rsa.public_pem.replace("MII", "AAA");
    let cases: [(&str, &[Algorithm], Result<(), &str>); 23] = [
        (&rsa.public_pem, &all_rsa, Ok(())),
        (&p256.public_pem, &[Algorithm::Es256], Ok(())),
        (&p521.public_pem, &[Algorithm::Es512], Ok(())),
        (&ed.public_pem, &[Algorithm::EdDsa], Ok(())),
        (include_str!("certificate.pem"), &[Algorithm::Es256], Ok(())),
        (
            include_str!("weak.pem"),
            &all_rsa,
            Err("an RSA key of 1024 bits; 2048 to 8192 are taken"),
        ),
        (
            include_str!("secp256k1.pem"),
            &[Algorithm::Es256],
            Err("a P-256 key whose point is not on the curve"),
        ),
        (
            include_str!("p224.pem"),
            &[Algorithm::Es256],
            Err("an elliptic-curve key that is not P-256, P-384 or P-521"),
        ),
        (SECRET, &[Algorithm::Hs256, Algorithm::Hs512], Ok(())),
        ("sixteen bytes ok", &[Algorithm::Hs512], Ok(())),
        ("fifteen bytes..", &[Algorithm::Hs256], Err("a secret needs at least 16 bytes")),
        ("", &[Algorithm::Hs256], Err("a secret needs at least 16 bytes")),
        (SECRET, &[], Err("it names no algorithm")),
        (SECRET, &[Algorithm::Rs256], Err(not_pem)),
        (jwk, &[Algorithm::Hs256], Err("a JWK is no secret; its k, decoded, would be one")),
        (
            &rsa.public_pem,
            &[Algorithm::Hs256],
            Err("a PEM text is no secret: others have it, or it signs"),
        ),
        (
            SECRET,
            &[Algorithm::Hs256, Algorithm::Rs256],
            Err("one key cannot serve HS* and public-key algorithms"),
        ),
        (&rsa.public_pem, &[Algorithm::Es256], Err("an RSA key cannot verify ES256")),
        (
            &p256.public_pem,
            &[Algorithm::Es256, Algorithm::Es384],
            Err("a P-256 key cannot verify ES384"),
        ),
        (&p521.public_pem, &[Algorithm::EdDsa], Err("a P-521 key cannot verify EdDSA")),
        (&rsa.private.0, &all_rsa, Err("it is a private key; give the public one")),
        (&broken, &all_rsa, Err(nothing)),
        ("-----BEGIN PUBLIC KEY-----", &all_rsa, Err(nothing)),
    ];
    for (text, algorithms, expected) in cases {
        let found = check_key(&KeyText(text.into()), algorithms);
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }
}

#[test]
fn a_key_ring_names_the_bad_key_and_not_its_text() {
    let application = Application {
        auth_keys: vec![raw(Algorithm::Hs256, SECRET)],
        admin_keys: vec![raw(Algorithm::Hs256, SECRET), raw(Algorithm::Hs256, "tooshort")],
        ..Application::new("shop")
    };
    let problem = KeyRing::new(&Applications::new(vec![application], None)).unwrap_err();
    let expected = "shop: key 2 of adminKey: a secret needs at least 16 bytes";
    assert_eq!(problem.to_string(), expected);
}

#[test]
fn a_key_set_says_what_it_leaves_out_and_why() {
    let key = ed25519_jwk(&pair(Algorithm::EdDsa), "k");
    let list = [
        "7",
        r#"{"kty":"oct","k":"c2VjcmV0"}"#,
        r#"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}"#,
        r#"{"kty":"RSA","n":"AQ=="}"#,
        r#"{"kty":"EC","crv":"secp256k1"}"#,
        &key,
        &key.replace("\"kid\"", "\"use\":\"enc\",\"kid\""),
        &key.replace("\"kid\"", "\"key_ops\":[\"sign\"],\"kid\""),
        &key.replace("\"kid\"", "\"alg\":\"ES256\",\"kid\""),
    ];
    let set = KeySet::parse(format!(r#"{{"keys":[{}]}}"#, list.join(",")).as_bytes()).unwrap();
    assert_eq!((set.len(), set.is_empty()), (1, false));
    let expected = [
        "key 1: not an object",
        "key 2: a symmetric key is not taken from a key set",
        "key 3: its x or y is not 32 bytes",
        "key 4: its n is absent or not strict base64url",
        "key 5: its kty and crv are not RSA, P-256, P-384, P-521 or Ed25519",
        "key 7: its use is not sig",
        "key 8: its key_ops do not contain verify",
        "key 9: its alg is unknown here or not for this kind of key",
    ];
    assert_eq!(set.skipped(), expected);
}

#[test]
fn a_key_set_is_bounded() {
    let key = ed25519_jwk(&pair(Algorithm::EdDsa), "k");
    let many = |count| format!(r#"{{"keys":[{}]}}"#, vec![key.as_str(); count].join(","));
    let set = KeySet::parse(many(200).as_bytes()).unwrap();
    assert_eq!((set.len(), set.skipped().len()), (64, 64));
    assert_eq!(set.skipped()[0], "key 65: beyond the 64 keys that are used of a set");
    let padded = |size| many(1) + &" ".repeat(size - many(1).len());
    assert_eq!(KeySet::parse(padded(512 * 1024).as_bytes()).unwrap().len(), 1);
    for (document, problem) in [
        (padded(512 * 1024 + 1).as_str(), "the key set is larger than 524288 bytes"),
        ("", "the key set is not JSON: line 1"),
        ("{\n\"keys\":[}", "the key set is not JSON: line 2"),
        ("[]", "the key set is not an object with an array `keys`"),
        (r#"{"keys":{}}"#, "the key set is not an object with an array `keys`"),
        (&"[".repeat(100_000), "the key set is not JSON: line 1"),
    ] {
        assert_eq!(KeySet::parse(document.as_bytes()).unwrap_err(), problem);
    }
}
