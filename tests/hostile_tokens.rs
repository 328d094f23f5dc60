//! Hostile tokens at every door: each is refused, none is acted on, and the log shows none of them.

mod support;

use std::io::ErrorKind;
use std::net::TcpListener;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use support::door::{DOORS, Door, Takes, Way};
use support::token::{
    ADMIN_SECRET, CLIENT_SECRET, EVERYTHING, assert_unlogged, compact, hs256, hs256_header, now_s,
};
use support::{Broker, on_each_with};

const OTHER_SECRET: &str = "Z3kVb0sHq8XyTf5LgWr2NcJm7DuPe9Ao";
const ISSUER: &str = "https://idp.example.com";
/// Bytes of nesting: a depth of thousands, which a reader by recursion would not survive, and still
/// within the limits of a token, a header and a target.
const NESTING_SIZE: usize = 5400;

/// A key pair of P-256, and its public half in PEM.
struct Pair {
    signer: EcdsaKeyPair,
    pem: String,
}

impl Pair {
    fn generate() -> Pair {
        let signer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("randomness");
        let der = signer.public_key().as_der().expect("a public key has a DER form");
        let body = STANDARD.encode(der.as_ref());
        let lines: Vec<_> = body.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
        Pair { signer, pem }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        compact(header.to_string().as_bytes(), claims.to_string().as_bytes(), |signed| {
            let signature = self.signer.sign(&SystemRandom::new(), signed).expect("randomness");
            signature.as_ref().to_vec()
        })
    }

    /// As a JSON Web Key (RFC 7518 §6.2.1): an uncompressed point is 4, x, y.
    fn jwk(&self) -> Value {
        let point = self.signer.public_key().as_ref();
        json!({
            "kty": "EC",
            "crv": "P-256",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..]),
        })
    }
}

fn config(pair: &Pair) -> String {
    let key = |list: &str, key: &str, algorithm: &str| {
        format!(
            "[[applications.{list}]]\nsource = \"raw\"\nkey = \"\"\"{key}\"\"\"\n\
             algorithms = [\"{algorithm}\"]\nissuer = [\"{ISSUER}\"]\naudience = [\"demo\"]\n"
        )
    };
    [
        "buzzpost_application = \"demo\"\n[[applications]]\nid = \"demo\"\n".to_owned(),
        key("auth_keys", CLIENT_SECRET, "HS256"),
        key("auth_keys", &pair.pem, "ES256"),
        key("admin_keys", ADMIN_SECRET, "HS256"),
        key("admin_keys", &pair.pem, "ES256"),
        "[[applications]]\nid = \"other\"\n".to_owned(),
        key("auth_keys", OTHER_SECRET, "HS256"),
        key("admin_keys", OTHER_SECRET, "HS256"),
    ]
    .concat()
}

fn good_claims() -> Value {
    json!({
        "sub": "mallory",
        "iss": ISSUER,
        "aud": "demo",
        "jti": "hostile-0001",
        "iat": now_s(),
        "exp": now_s() + 600,
        "permissions": EVERYTHING,
    })
}

/// The good claims with one member changed; `null` takes it away.
fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = good_claims();
    let members = claims.as_object_mut().expect("an object");
    match value {
        Value::Null => members.remove(name),
        value => members.insert(name.to_owned(), value),
    };
    claims
}

fn header_with(name: &str, value: Value) -> Value {
    let mut header = hs256_header();
    header.as_object_mut().expect("an object").insert(name.to_owned(), value);
    header
}

fn mac(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |signed| hmac::sign(&key, signed).as_ref().to_vec()
}

/// Without a signature, or with one that proves nothing.
fn unsigned(secret: &str, pair: &Pair) -> Vec<(&'static str, String)> {
    let claims = good_claims().to_string();
    let good = hs256(secret, &hs256_header(), &good_claims());
    let mut all = Vec::new();
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let header = json!({"alg": name, "typ": "JWT"}).to_string();
        all.push(("no algorithm", compact(header.as_bytes(), claims.as_bytes(), |_| Vec::new())));
        all.push(("no algorithm, signed", hs256(secret, &json!({"alg": name}), &good_claims())));
    }
    let no_alg = compact(b"{\"typ\":\"JWT\"}", claims.as_bytes(), mac(secret.as_bytes()));
    let null_alg = compact(b"{\"alg\":null}", claims.as_bytes(), mac(secret.as_bytes()));
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let es256 = json!({"alg": "ES256"}).to_string();
    all.extend([
        ("alg absent", no_alg),
        ("alg null", null_alg),
        ("signature cut off", format!("{signed}.")),
        ("signature shortened", good[..good.len() - 4].to_owned()),
        ("one part less", signed.to_owned()),
        ("one part more", format!("{good}.{signature}")),
        ("five parts", format!("{good}.{signature}.{signature}")),
        ("no key's signature", compact(b"{\"alg\":\"HS256\"}", claims.as_bytes(), mac(b"guess"))),
        ("the empty key's", compact(b"{\"alg\":\"HS256\"}", claims.as_bytes(), mac(b""))),
        ("zeros", compact(es256.as_bytes(), claims.as_bytes(), |_| vec![0; 64])),
        ("lower case alg", hs256(secret, &json!({"alg": "hs256"}), &good_claims())),
        ("an alg nobody configured", hs256(secret, &json!({"alg": "HS512"}), &good_claims())),
        // The public key as a secret: everyone has it.
        ("key confusion", hs256(&pair.pem, &hs256_header(), &good_claims())),
        ("key confusion, trimmed", hs256(pair.pem.trim_end(), &hs256_header(), &good_claims())),
    ]);
    all
}

/// Whose header says where to find a key that fits.
fn bringing_their_own(secret: &str, lure: &str) -> Vec<(&'static str, String)> {
    let own = Pair::generate();
    let es256 = |name: &str, value: Value| {
        own.token(&json!({"alg": "ES256", "typ": "JWT", name: value}), &good_claims())
    };
    let certificate = json!([STANDARD.encode(own.pem.as_bytes())]);
    let named = |kid: &str, key: &[u8]| {
        let header = header_with("kid", kid.into()).to_string();
        compact(header.as_bytes(), good_claims().to_string().as_bytes(), mac(key))
    };
    vec![
        ("jwk", es256("jwk", own.jwk())),
        ("jku", es256("jku", format!("{lure}/jwks.json").into())),
        ("x5u", es256("x5u", format!("{lure}/certificate.pem").into())),
        ("x5c", es256("x5c", certificate)),
        ("x5t", es256("x5t", "dGhpcyBpcyBhIFNIQTEgdGVzdA".into())),
        ("kid is an address", es256("kid", format!("{lure}/key").into())),
        ("kid is a path", named("../../../../../../dev/null", b"")),
        ("kid is a statement", named("x' UNION SELECT 'guess' --", b"guess")),
        ("kid ends early", named("key\u{0}.pem", b"")),
        ("kid is a number", hs256(secret, &header_with("kid", 7.into()), &good_claims())),
        ("crit", hs256(secret, &header_with("crit", json!(["exp"])), &good_claims())),
        ("b64", hs256(secret, &header_with("b64", false.into()), &good_claims()) + "x"),
        ("another kind", hs256(secret, &header_with("typ", "secevent+jwt".into()), &good_claims())),
    ]
}

/// Well signed, by the right key, and still not valid here.
fn well_signed(secret: &str) -> Vec<(&'static str, String)> {
    let changed =
        |name: &str, value: Value| hs256(secret, &hs256_header(), &claims_with(name, value));
    vec![
        ("expired", changed("exp", (now_s() - 60).into())),
        ("expired for ever", changed("exp", 0.into())),
        ("expired before 1970", changed("exp", (-1).into())),
        ("not yet valid", changed("nbf", (now_s() + 600).into())),
        ("wrong issuer", changed("iss", "https://idp.example.com.evil.example".into())),
        ("no issuer", changed("iss", Value::Null)),
        ("issuer list", changed("iss", json!([ISSUER]))),
        ("wrong audience", changed("aud", "other".into())),
        ("no audience", changed("aud", Value::Null)),
        ("audience of numbers", changed("aud", json!([1, 2]))),
        ("exp is a text", changed("exp", "tomorrow".into())),
        ("nbf is a text", changed("nbf", "yesterday".into())),
        ("sub is a number", changed("sub", 7.into())),
        ("sub is empty", changed("sub", "".into())),
        ("sub has a line end", changed("sub", "a\r\nb".into())),
        ("sub is too long", changed("sub", "s".repeat(300).into())),
        ("permissions are numbers", changed("permissions", json!([1]))),
        ("permissions are an object", changed("permissions", json!({"0": "x"}))),
        ("another application's", hs256(OTHER_SECRET, &hs256_header(), &good_claims())),
    ]
}

/// Whose bytes are not what they should be.
fn malformed(secret: &str) -> Vec<(&'static str, String)> {
    let sign = |header: &[u8], claims: &[u8]| compact(header, claims, mac(secret.as_bytes()));
    let header = hs256_header().to_string();
    let claims = good_claims().to_string();
    let good = sign(header.as_bytes(), claims.as_bytes());
    let part = |index: usize| good.split('.').nth(index).expect("three parts").to_owned();
    let (head, body, signature) = (part(0), part(1), part(2));
    let padded = URL_SAFE.encode(header.clone() + " ");
    let nested = |open: &str, close: &str| {
        let depth = NESTING_SIZE / (open.len() + close.len());
        let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        format!("{{\"sub\":\"m\",\"x\":{deep}}}")
    };
    let doubled = claims.replacen('{', "{\"sub\":\"victim\",", 1);
    vec![
        ("padding", format!("{padded}.{body}.{signature}")),
        ("signature padded", format!("{good}=")),
        ("not the alphabet", format!("{head}.{body}.+/{}", &signature[2..])),
        ("dots alone", "....".to_owned()),
        ("a word", "qwertzuiop".to_owned()),
        ("header is no JSON", sign(b"{\"alg\":\"HS256\"", claims.as_bytes())),
        ("header is a list", sign(b"[\"HS256\"]", claims.as_bytes())),
        ("header goes on", sign(b"{\"alg\":\"HS256\"}{}", claims.as_bytes())),
        ("header is not UTF-8", sign(b"{\"alg\":\"HS256\",\"kid\":\"\xff\"}", claims.as_bytes())),
        ("alg stands twice", sign(b"{\"alg\":\"none\",\"alg\":\"HS256\"}", claims.as_bytes())),
        ("claims are no JSON", sign(header.as_bytes(), b"claims")),
        ("claims are null", sign(header.as_bytes(), b"null")),
        ("claims are a list", sign(header.as_bytes(), b"[1]")),
        ("claims are not UTF-8", sign(header.as_bytes(), b"{\"sub\":\"\xff\"}")),
        ("a claim stands twice", sign(header.as_bytes(), doubled.as_bytes())),
        ("deep lists", sign(header.as_bytes(), nested("[", "]").as_bytes())),
        ("deep objects", sign(header.as_bytes(), nested("{\"a\":", "}").as_bytes())),
        ("deep header", sign(nested("[", "]").as_bytes(), claims.as_bytes())),
    ]
}

/// Every hostile token there is, made with the secret of one role.
fn hostile(secret: &str, pair: &Pair, lure: &str) -> Vec<(&'static str, String)> {
    let mut all = unsigned(secret, pair);
    all.extend(bringing_their_own(secret, lure));
    all.extend(well_signed(secret));
    all.extend(malformed(secret));
    all
}

fn check_refused(broker: &Broker, door: &Door, (name, token): &(&str, String)) {
    for way in [Way::Header, Way::Query] {
        let answer = door.knock(broker, token, way);
        assert_eq!(answer.status, 401, "{name} at {door:?} by {way:?}: {}", answer.text());
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "RFC 6750 §3");
        if door.method != "HEAD" {
            assert_eq!(answer.problem(), "unauthorized", "{name}");
            assert!(!answer.text().contains(token.as_str()), "an answer repeats {name}");
        }
    }
}

fn secrets(door: &Door) -> &'static [&'static str] {
    match door.takes {
        Takes::Clients => &[CLIENT_SECRET],
        Takes::Backends => &[ADMIN_SECRET],
        Takes::Both => &[CLIENT_SECRET, ADMIN_SECRET],
    }
}

#[test]
fn every_door_refuses_every_hostile_token() {
    let pair = Pair::generate();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a TCP socket");
    let lure = format!("http://{}", listener.local_addr().expect("it is bound"));
    let configure = |setup: support::Setup| setup.config(&config(&pair)).with("LOG_LEVEL", "trace");
    on_each_with(configure, |broker| {
        let mut used = Vec::new();
        for door in DOORS {
            for secret in secrets(&door) {
                // What makes the others hostile is all that they differ in.
                let good = hs256(secret, &hs256_header(), &good_claims());
                for way in [Way::Header, Way::Query] {
                    let answer = door.knock(broker, &good, way);
                    assert_eq!(answer.status, door.welcome_status(), "{door:?}: {}", answer.text());
                }
                for token in hostile(secret, &pair, &lure) {
                    check_refused(broker, &door, &token);
                    used.push(token.1);
                }
                used.push(good);
            }
        }
        let log = broker.log();
        for token in &used {
            assert_unlogged(&log, token);
        }
    });
    let nobody =
        listener.accept().map(|(_, from)| from).expect_err("nobody fetches a stranger's key");
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
}

#[test]
fn the_keys_of_one_role_do_not_open_the_doors_of_the_other() {
    let pair = Pair::generate();
    on_each_with(
        |setup| setup.config(&config(&pair)),
        |broker| {
            for door in DOORS {
                let wrong = match door.takes {
                    Takes::Clients => ADMIN_SECRET,
                    Takes::Backends => CLIENT_SECRET,
                    Takes::Both => continue,
                };
                let token = hs256(wrong, &hs256_header(), &good_claims());
                check_refused(broker, &door, &("wrong role", token));
            }
        },
    );
}

#[test]
fn a_huge_token_is_refused_by_whichever_limit_it_meets_first() {
    let pair = Pair::generate();
    on_each_with(
        |setup| setup.config(&config(&pair)).with("LOG_LEVEL", "trace"),
        |broker| {
            for size in [8_000, 10_240, 100_000] {
                let header = header_with("kid", "k".repeat(size).into());
                for door in DOORS {
                    for secret in secrets(&door) {
                        let token = hs256(secret, &header, &good_claims());
                        let statuses = [Way::Header, Way::Query]
                            .map(|way| door.knock(broker, &token, way).status);
                        assert!(
                            matches!(statuses[0], 401 | 431),
                            "{size} at {door:?}: {statuses:?}"
                        );
                        assert!(matches!(statuses[1], 401 | 414 | 431), "{size}: {statuses:?}");
                        assert_unlogged(&broker.log(), &token);
                    }
                }
            }
        },
    );
}
