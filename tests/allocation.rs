//! What the hot path of the codecs, and knowing a caller again, must not do: allocate.
//!
//! One test, since the count is the process's: a second thread would spoil it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanwire::auth::{Authenticator, Credential, KeyRing, Request, Verdict, mint};
use fanwire::model::application::{ApiKey, AppIndex, Application, Applications};
use fanwire::model::identity::{Identity, Role};
use fanwire::model::refusal::{Refusal, Refused};
use fanwire::model::rights::Rights;
use fanwire::model::token::{Algorithm, KeySource, KeyText, TokenKey};
use fanwire::proto::http1::{
    Date, Decoded, Decoder, Limits, Query, Response, Scratch, SizeLimit, chunk, problem,
};
use fanwire::proto::json::{Scanner, escape_into};
use http::StatusCode;

struct Counting;

static ALLOCATIONS_COUNT: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator is unsafe to implement; this one only counts")]
// SAFETY: every call is passed on to the system's allocator as it came, whose contract is the same;
// `realloc` and `alloc_zeroed` keep their defaults, which call these two.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS_COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SECRET: &str = "a secret of enough bytes";

const LIMITS: Limits = Limits {
    target: SizeLimit { size_max: 8192, key: "target" },
    head: SizeLimit { size_max: 16_384, key: "head" },
};

const REQUESTS: &[u8] = b"POST /apps/a/publish?topic=t%20u HTTP/1.1\r\nHost: example.com\r\n\
    Content-Type: application/json\r\nAuthorization: Bearer abc\r\nContent-Length: 42\r\n\r\n\
    {\"topic\":\"a/b\",\"data\":[1,{\"x\":\"y\"},2.5e3]}GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Reads two requests, their JSON, and writes an answer to each.
fn turn(scratch: &mut Scratch, scanner: &mut Scanner, out: &mut Vec<u8>, refused: &Refused) {
    let (mut decoder, mut rest) = (Decoder::new(), REQUESTS);
    let mut date = Date::new(0);
    let body_limit = SizeLimit { size_max: 65_536, key: "body" };
    while !rest.is_empty() {
        let (consumed, decoded) = decoder.decode(rest, scratch, &LIMITS, |_| Ok(body_limit));
        let Decoded::Request(request) = decoded else { panic!("{decoded:?}") };
        rest = &rest[consumed..];
        date.set(1 + rest.len() as u64);
        let terms = request.head.terms();
        if request.body.is_empty() {
            problem(out, refused, terms, &date, &[("Allow", "POST")]);
            continue;
        }
        let document = scanner.scan(request.body).expect("JSON");
        let [topic, data] = document.root().fields(["topic", "data"]).expect("an object");
        assert_eq!(topic.expect("present").as_str().as_deref(), Some("a/b"));
        assert_eq!(data.expect("present").elements().expect("an array").count(), 3);
        assert_eq!(request.head.headers.single("authorization"), Ok(Some("Bearer abc")));
        assert_eq!(Query::new("topic=t&u=v").count(), 2);
        escape_into(out, "a\n\"b\"");
        Response::start(out, StatusCode::OK, terms, &date).finish("text/plain", b"ok");
        chunk(out, b"abc");
    }
}

/// An application that everyone may come to, with one API key and one secret for tokens.
fn applications() -> Applications {
    let identity = Arc::new(Identity::without_token(Rights::every_topic()));
    let key = TokenKey {
        source: KeySource::Raw(KeyText(SECRET.into())),
        algorithms: vec![Algorithm::Hs256],
        issuers: Vec::new(),
        audiences: Vec::new(),
    };
    let application = Application {
        open: true,
        keys: vec![ApiKey { secret: SECRET.into(), identity }],
        auth_keys: vec![key],
        ..Application::new("a")
    };
    Applications::new(vec![application], None)
}

/// Asks who they are that present nothing, an API key, and a token that was verified before.
fn recognize(authenticator: &mut Authenticator, applications: &Applications, token: &str) {
    let credentials = [Credential::Absent, Credential::ApiKey(SECRET), Credential::Token(token)];
    for credential in credentials {
        let request = request(applications, credential);
        let known = authenticator.recognize(&request);
        assert!(known.is_some_and(|known| known.is_ok()), "{credential:?}");
    }
}

fn request<'a>(applications: &'a Applications, credential: Credential<'a>) -> Request<'a> {
    let application = applications.get(AppIndex(0));
    Request { app: AppIndex(0), application, roles: &[Role::Client], credential, now_s: 0 }
}

#[test]
fn the_hot_path_does_not_allocate() {
    let applications = applications();
    let ring = KeyRing::new(&applications).expect("a good secret");
    let mut authenticator = Authenticator::new(Arc::new(ring));
    let token = mint::sign(Algorithm::Hs256, None, "{}", &KeyText(SECRET.into())).expect("signed");
    let verdict = authenticator.verify(&request(&applications, Credential::Token(&token)));
    assert!(matches!(verdict, Verdict::Known(_)));
    let mut scratch = Scratch::default();
    let mut scanner = Scanner::new(64);
    let mut out = Vec::with_capacity(4096);
    let refused = Refused::new(Refusal::Overloaded, "full");
    turn(&mut scratch, &mut scanner, &mut out, &refused);
    assert!(!out.is_empty());
    out.clear();
    let before = ALLOCATIONS_COUNT.load(Ordering::Relaxed);
    turn(&mut scratch, &mut scanner, &mut out, &refused);
    recognize(&mut authenticator, &applications, &token);
    let after = ALLOCATIONS_COUNT.load(Ordering::Relaxed);
    assert_eq!(after - before, 0, "allocations");
    // The counter counts: a request in two pieces has to be kept.
    let _ = Decoder::new().decode(b"GET", &mut scratch, &LIMITS, |_| Err(refused.clone()));
    assert!(ALLOCATIONS_COUNT.load(Ordering::Relaxed) > after);
}
