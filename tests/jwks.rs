//! Key sets of a provider: fetched when a token needs them, kept while it is away, and never a
//! reason for others to wait.

mod support;

#[path = "reload/operator.rs"]
mod operator;
#[path = "jwks/provider.rs"]
mod provider;

use fanwire::stdx::clock;
use operator::Operator;
use provider::{Key, Mood, Provider, key_set};
use serde_json::{Value, json};
use support::token::{EVERYTHING, bearer, claims, now_s};
use support::{Broker, PATIENCE, Response, Setup, WebSocket, on_each_with, request_bytes};

const API_KEY: &str = "key-that-may-do-everything-1";

/// Settings under which a test need not wait long for what an operator would.
const QUICK: &str =
    "[key_sets]\ncooldown = \"1s\"\nrefresh_min = \"1s\"\nfetch_timeout = \"500ms\"\n";

fn config(uri: &str, key_sets: &str) -> String {
    let key = |list: &str| {
        format!(
            "[[applications.{list}]]\nsource = \"jwks\"\njwks_uri = \"{uri}\"\n\
             algorithms = [\"ES256\"]\nallow_private_address = true\n"
        )
    };
    format!(
        "{key_sets}[[applications]]\nid = \"demo\"\nsame_subject = \"allow\"\n{}{}\
         [[applications.keys]]\nsecret = \"{API_KEY}\"\nrights = [\"publish\", \"subscribe\"]\n",
        key("auth_keys"),
        key("admin_keys")
    )
}

/// A broker of each kind with a provider of its own.
fn on_each(mood: &Mood, test: impl Fn(&Broker, &Provider)) {
    on_each_with_settings(QUICK, mood, test);
}

fn on_each_with_settings(key_sets: &str, mood: &Mood, test: impl Fn(&Broker, &Provider)) {
    let provider = std::cell::RefCell::new(None);
    let configure = |setup: Setup| {
        let fresh = Provider::start(mood.clone());
        let setup = setup.config(&config(&fresh.uri(), key_sets)).with("LOG_LEVEL", "trace");
        *provider.borrow_mut() = Some(fresh);
        setup
    };
    on_each_with(configure, |broker| {
        test(broker, provider.borrow().as_ref().expect("started with the broker"));
    });
}

fn good_claims() -> Value {
    claims("alice", &EVERYTHING)
}

fn publish(broker: &Broker, token: &str) -> Response {
    let fields = [("Authorization", &*bearer(token))];
    broker.http().request("POST", "/v1/demo/topics/t", &fields, b"x")
}

/// Publishes until it is answered with `status`; until then only `meanwhile` may come.
fn await_status(broker: &Broker, token: &str, status: u16, meanwhile: u16) {
    let deadline = clock::now() + PATIENCE;
    loop {
        let answer = publish(broker, token);
        if answer.status == status {
            return;
        }
        assert_eq!(answer.status, meanwhile, "{}", answer.text());
        assert!(clock::now() < deadline, "always {meanwhile}, never {status}");
    }
}

#[test]
fn the_first_token_has_the_keys_fetched_once_for_all() {
    let key = Key::generate("a");
    on_each(&Mood::Stalls, |broker, provider| {
        let mut waiting: Vec<_> = (0..20)
            .map(|number| {
                let mut claims = good_claims();
                claims["jti"] = Value::String(number.to_string());
                let fields = [("Authorization", &*bearer(&key.token(&claims)))];
                let mut http = broker.http();
                http.send(request_bytes("POST", "/v1/demo/topics/t", &fields, b"x"));
                http
            })
            .collect();
        provider.await_fetches(1);
        provider.turn(Mood::Serves(key_set(&[&key])));
        for http in &mut waiting {
            let answer = http.response();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert_eq!(provider.fetch_count(), 1);
        // Every door knows them now.
        let token = key.token(&good_claims());
        WebSocket::open(broker.connect(), &format!("/apps/demo?access_token={token}"));
        assert_eq!(provider.fetch_count(), 1);
        support::token::assert_unlogged(&broker.log(), &token);
    });
}

#[test]
fn a_new_key_is_found_when_the_provider_rotates_and_the_old_one_forgotten() {
    let (old, new) = (Key::generate("old"), Key::generate("new"));
    // The provider says nothing of how long its keys are good for.
    let settings = format!("{QUICK}refresh_max = \"1s\"\n");
    on_each_with_settings(&settings, &Mood::Serves(key_set(&[&old])), |broker, provider| {
        let (by_old, by_new) = (old.token(&good_claims()), new.token(&good_claims()));
        assert_eq!(publish(broker, &by_old).status, 200);
        assert_eq!(publish(broker, &by_new).status, 401);
        provider.turn(Mood::Serves(key_set(&[&old, &new])));
        await_status(broker, &by_new, 200, 401);
        assert_eq!(publish(broker, &by_old).status, 200);
        provider.turn(Mood::Serves(key_set(&[&new])));
        // Also a token that was known: who took the key away meant the tokens.
        await_status(broker, &by_old, 401, 200);
        assert_eq!(publish(broker, &by_new).status, 200);
    });
}

#[test]
fn unknown_keys_do_not_make_strangers_masters_of_the_provider() {
    let (key, stranger) = (Key::generate("a"), Key::generate("made-up"));
    on_each(&Mood::Serves(key_set(&[&key])), |broker, provider| {
        assert_eq!(publish(broker, &key.token(&good_claims())).status, 200);
        let (began, fetched) = (clock::now(), provider.fetch_count());
        for _ in 0..200 {
            assert_eq!(publish(broker, &stranger.token(&good_claims())).status, 401);
        }
        let seconds = usize::try_from(began.elapsed().as_secs()).expect("minutes at most");
        // One per cooldown, and those of the refreshing.
        let fetches = provider.fetch_count() - fetched;
        assert!(fetches <= 2 * (seconds + 1) + 1, "{fetches} fetches in {seconds} s");
    });
}

#[test]
fn a_dead_provider_is_told_apart_from_a_wrong_token_and_met_again_when_it_lives() {
    let key = Key::generate("a");
    for mood in [Mood::HangsUp, Mood::Fails(500), Mood::Fails(404)] {
        on_each(&mood, |broker, provider| {
            let token = key.token(&good_claims());
            let answer = publish(broker, &token);
            let code = (answer.status, answer.problem());
            assert_eq!(code, (503, "keys_unavailable".to_owned()), "{mood:?}");
            assert!(answer.header("retry-after").is_some());
            let fields = [("X-API-Key", API_KEY)];
            let answer = broker.http().request("POST", "/v1/demo/topics/t", &fields, b"x");
            assert_eq!(answer.status, 200, "others need no provider");
            provider.turn(Mood::Serves(key_set(&[&key])));
            await_status(broker, &token, 200, 503);
        });
    }
}

#[test]
fn known_keys_serve_while_the_provider_is_away() {
    let (key, other) = (Key::generate("a"), Key::generate("b"));
    on_each(&Mood::Serves(key_set(&[&key])), |broker, provider| {
        assert_eq!(publish(broker, &key.token(&good_claims())).status, 200);
        provider.turn(Mood::HangsUp);
        let fetched = provider.fetch_count();
        let deadline = clock::now() + PATIENCE;
        // Until it was asked in vain, tokens not seen before are judged by the keys that are here.
        while provider.fetch_count() < fetched + 2 {
            let mut claims = good_claims();
            claims["exp"] = (now_s() + 700).into();
            assert_eq!(publish(broker, &key.token(&claims)).status, 200);
            assert_eq!(publish(broker, &other.token(&claims)).status, 401);
            assert!(clock::now() < deadline, "it never refreshes");
        }
    });
}

#[test]
fn a_provider_that_stalls_or_drips_holds_up_nobody_else() {
    let key = Key::generate("a");
    for mood in [Mood::Stalls, Mood::Drips] {
        on_each(&mood, |broker, provider| {
            let fields = [("Authorization", &*bearer(&key.token(&good_claims())))];
            let mut held = broker.http();
            held.send(request_bytes("POST", "/v1/demo/topics/t", &fields, b"held"));
            provider.await_fetches(1);
            let fields = [("X-API-Key", API_KEY)];
            let answer = broker.http().request("POST", "/v1/demo/topics/t", &fields, b"x");
            assert_eq!(answer.status, 200);
            let answer = held.response();
            let code = (answer.status, answer.problem());
            assert_eq!(code, (503, "keys_unavailable".to_owned()), "{mood:?}");
        });
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let key = Key::generate("a");
    let elsewhere = Provider::start(Mood::Serves(key_set(&[&key])));
    on_each(&Mood::SendsTo(elsewhere.uri()), |broker, _| {
        assert_eq!(publish(broker, &key.token(&good_claims())).status, 503);
    });
    assert_eq!(elsewhere.fetch_count(), 0, "it was followed");
}

#[test]
fn junk_is_no_key_set() {
    let key = Key::generate("a");
    let huge = format!("{{\"keys\":[{}{}]}}", "{},".repeat(400_000), key.jwk());
    for junk in [
        "",
        "not JSON",
        "[]",
        "null",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":[1",
        "\u{feff}{",
        huge.as_str(),
    ] {
        // One kind of broker is enough for what one thread of it does.
        let provider = Provider::start(Mood::Serves(junk.to_owned()));
        let broker = Setup::new("epoll", 2).config(&config(&provider.uri(), QUICK)).start();
        let answer = publish(&broker, &key.token(&good_claims()));
        let shown = &junk[..junk.len().min(20)];
        assert_eq!(answer.status, 503, "{shown}: {}", answer.text());
        provider.turn(Mood::Serves(key_set(&[&key])));
        await_status(&broker, &key.token(&good_claims()), 200, 503);
    }
}

#[test]
fn one_bad_key_spoils_no_other() {
    let key = Key::generate("good");
    let secret = json!({"kty": "oct", "kid": "hmac", "alg": "HS256", "k": "c2VjcmV0"});
    let off_curve = json!({"kty": "EC", "crv": "P-256", "kid": "x", "x": "AA", "y": "AA"});
    let unknown = json!({"kty": "XYZ", "kid": "new"});
    let for_encryption =
        json!({"kty": "RSA", "use": "enc", "kid": "enc", "n": "AQAB", "e": "AQAB"});
    let keys = json!({"keys": [
        1, null, {}, secret, off_curve, unknown, for_encryption, key.jwk(),
    ]});
    on_each(&Mood::Serves(keys.to_string()), |broker, _| {
        assert_eq!(publish(broker, &key.token(&good_claims())).status, 200);
        // A public document's secret is everyone's.
        let header = json!({"alg": "HS256", "kid": "hmac"});
        let forged = support::token::hs256("secret", &header, &good_claims());
        assert_eq!(publish(broker, &forged).status, 401);
    });
}

#[test]
fn what_follows_a_held_request_on_its_connection_waits_for_it() {
    let key = Key::generate("a");
    on_each(&Mood::Stalls, |broker, provider| {
        let mut reader = WebSocket::open(broker.connect(), &format!("/apps/demo?secret={API_KEY}"));
        reader.subscribe("t");
        let by_token = bearer(&key.token(&good_claims()));
        let wrong = bearer(&Key::generate("a").token(&good_claims()));
        let token = ("Authorization", by_token.as_str());
        let api_key = ("X-API-Key", API_KEY);
        let mut pipeline = Vec::new();
        for (number, field) in [token, api_key, token, ("Authorization", wrong.as_str()), api_key]
            .into_iter()
            .enumerate()
        {
            let body = number.to_string();
            let request = request_bytes("POST", "/v1/demo/topics/t", &[field], body.as_bytes());
            pipeline.extend(request);
        }
        let mut http = broker.http();
        http.send(pipeline);
        provider.await_fetches(1);
        // Nothing overtakes the one that waits.
        reader.expect_silence();
        provider.turn(Mood::Serves(key_set(&[&key])));
        let statuses = [(); 5].map(|()| http.response().status);
        assert_eq!(statuses, [200, 200, 200, 401, 200]);
        for number in ["0", "1", "2", "4"] {
            assert_eq!(reader.value()["data"], number);
        }
        reader.expect_silence();
    });
}

#[test]
fn whoever_gives_up_while_held_takes_nothing_along() {
    let key = Key::generate("a");
    on_each(&Mood::Stalls, |broker, provider| {
        let token = key.token(&good_claims());
        let fields = [("Authorization", &*bearer(&token))];
        for _ in 0..20 {
            let mut http = broker.http();
            http.send(request_bytes("POST", "/v1/demo/topics/t", &fields, b"x"));
        }
        provider.await_fetches(1);
        provider.turn(Mood::Serves(key_set(&[&key])));
        await_status(broker, &token, 200, 503);
        let metrics = broker.await_metrics("the ones who left are gone", |metrics| {
            metrics.sum("fanwire_connections", &[]) <= 1.0
        });
        assert!(metrics.sum("fanwire_connections", &[]) <= 1.0);
    });
}

#[test]
fn a_reload_has_new_key_sets_fetched_keeps_known_ones_and_forgets_those_that_are_gone() {
    let (old, new) = (Key::generate("old"), Key::generate("new"));
    let providers = [&old, &new].map(|key| Provider::start(Mood::Serves(key_set(&[key]))));
    let [first, second] = &providers;
    let only = |provider: &Provider| config(&provider.uri(), QUICK);
    let both = format!(
        "{}[[applications.admin_keys]]\nsource = \"jwks\"\njwks_uri = \"{}\"\n\
         algorithms = [\"ES256\"]\nallow_private_address = true\n",
        only(first),
        second.uri()
    );
    let setup = Setup::new("auto", 2).with("LOG_LEVEL", "trace");
    let operator = Operator::start_as(setup, &only(first));
    let broker = &operator.broker;
    let tokens = [&old, &new].map(|key| key.token(&good_claims()));
    await_status(broker, &tokens[0], 200, 503);
    await_status(broker, &tokens[1], 401, 401);
    // One that is down is no reason to forget what it has served.
    first.turn(Mood::HangsUp);
    operator.reload(&both);
    await_status(broker, &tokens[1], 200, 503);
    // On many connections, so that every shard is asked, with tokens that none remembers.
    let fresh = |number: u32| {
        let mut claims = good_claims();
        claims["jti"] = Value::String(format!("fresh-{number}"));
        old.token(&claims)
    };
    for number in 0..8 {
        assert_eq!(publish(broker, &fresh(number)).status, 200);
    }
    operator.reload(&only(second));
    for _ in 0..8 {
        assert_eq!(publish(broker, &tokens[0]).status, 401, "its key set is gone");
    }
    await_status(broker, &tokens[1], 200, 503);
}
