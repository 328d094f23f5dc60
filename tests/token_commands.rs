//! `fanwire token` and `fanwire explain` as a person uses them: the real binary, files and pipes.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use support::PATIENCE;
use support::token::{hs256, hs256_header, now_s};

const SECRET: &str = "q7Tn2xVd0aJmUe9cLrYk4sWb8ZhPf3Gi";
const KEY: &str = "8f3a91c4d2e7b605";

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("token-commands-{name}-{}", std::process::id()));
    // Left behind by an earlier process of the same number, if at all.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the folder for temporary files is ours");
    folder
}

/// A configuration file whose one application, `a`, has `more`.
fn configured(folder: &Path, more: &str) -> String {
    let path = folder.join("fanwire.toml");
    std::fs::write(&path, format!("[[applications]]\nid = \"a\"\n{more}\n")).expect("it is ours");
    path.display().to_string()
}

/// An application whose clients' tokens an HMAC secret verifies.
fn with_secret(folder: &Path) -> String {
    configured(
        folder,
        &format!(
            "[[applications.auth_keys]]\nkey = \"{SECRET}\"\nalgorithms = [\"HS384\", \"HS256\"]\n\
             issuer = [\"https://idp.example\"]\naudience = [\"chat\"]\n\
             [[applications.keys]]\nsecret = \"{KEY}\"\nrights = [\"publish\"]\ntopics = [\"n*\"]"
        ),
    )
}

/// Runs `fanwire` with words and this input: exit code, standard output, standard error.
fn run(words: &[&str], input: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FANWIRE_") {
            command.env_remove(name);
        }
    }
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    // Who does not read its input may have ended already.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it is our child");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let (out, errors) = (text(output.stdout), text(output.stderr));
    assert!(!out.contains(SECRET) && !errors.contains(SECRET), "a secret is shown: {out}{errors}");
    (output.status.code().expect("no signal ended it"), out, errors)
}

/// What must succeed, without a word on standard error.
fn good(words: &[&str], input: &str) -> String {
    let (code, out, errors) = run(words, input);
    assert_eq!((code, &*errors), (0, ""), "{words:?}: {out}");
    out
}

/// Header and claims of a token.
fn parts(token: &str) -> [Value; 2] {
    let [header, claims, _] = token.trim_end().split('.').collect::<Vec<_>>()[..] else {
        panic!("{token}")
    };
    [header, claims].map(|part| support::json(URL_SAFE_NO_PAD.decode(part).expect("base64url")))
}

#[test]
fn a_token_is_minted_by_the_applications_secret_and_explained() {
    let config = with_secret(&folder("secret"));
    let token = good(
        &[
            "token",
            "mint",
            "--config",
            &config,
            "--app",
            "a",
            "--subject",
            "ann",
            "--expires",
            "15m",
            "--permission",
            "realtime:admin:manage:connections",
            "--subscribe",
            "secure/*",
            "--subscribe",
            "!secure/x",
            "--publish",
            "chat",
            "--id",
            "t1",
        ],
        "",
    );
    assert!(token.ends_with('\n') && token.lines().count() == 1, "{token}");
    let [header, claims] = parts(&token);
    assert_eq!(header, json!({"alg": "HS384", "typ": "JWT"}));
    let issued_at = claims["iat"].as_u64().expect("a number");
    assert!(issued_at.abs_diff(now_s()) < 60);
    let expected = json!({
        "sub": "ann", "jti": "t1", "iss": "https://idp.example", "aud": "chat",
        "iat": issued_at, "exp": issued_at + 900,
        "permissions": [
            "realtime:admin:manage:connections",
            "realtime:subscriber:read:topic:secure/*",
            "realtime:subscriber:read:topic:!secure/x",
            "realtime:publisher:write:topic:chat",
        ],
    });
    assert_eq!(claims, expected);
    let words = ["--config", &config, "--app", "a"];
    let explained = good(&[&["explain", "token"], &words[..]].concat(), &token);
    for part in ["has signed it", "\"ann\"", &format!("{}", issued_at + 900), "\nvalid\n"] {
        assert!(explained.contains(part), "{part} in {explained}");
    }
    assert!(!explained.contains(token.trim_end()), "{explained}");
    assert_eq!(good(&[&["token", "explain"], &words[..]].concat(), &token), explained);
    let (code, out, _) = run(&[&["explain", "token", "--role=admin"], &words[..]].concat(), &token);
    assert!(code == 1 && out.ends_with("\nnot valid\n"), "{out}");
    let (code, out, errors) = run(&["explain", "token", "--config", &config], &token);
    assert_eq!((code, &*out), (1, ""));
    assert_eq!(errors, "fanwire: there is no application \"demo\"; there are: a\n");
}

#[test]
fn what_is_wrong_with_a_token_is_said() {
    let config = with_secret(&folder("wrong"));
    let claims = |exp: u64, audience: &str| json!({"sub": "s", "iss": "https://idp.example", "aud": audience, "exp": exp});
    let signed = |claims: &Value| hs256(SECRET, &hs256_header(), claims);
    let soon = now_s() + 600;
    let other = hs256("another-secret-of-32-characters!", &hs256_header(), &claims(soon, "chat"));
    let unsigned = hs256(SECRET, &json!({"alg": "none"}), &claims(soon, "chat"));
    let cases = [
        (signed(&claims(soon, "chat")), 0, "valid"),
        (signed(&claims(now_s() - 60, "chat")), 1, "the token expired"),
        (signed(&claims(soon, "mail")), 1, "aud"),
        (other, 1, "has not signed it"),
        (unsigned, 1, "refused: "),
        ("nonsense".to_owned(), 1, "refused: "),
    ];
    for (token, expected, part) in cases {
        let (code, out, errors) =
            run(&["explain", "token", "--config", &config, "--app", "a", &token], "");
        assert_eq!((code, &*errors), (expected, ""), "{out}");
        assert!(out.contains(part), "{part} in {out}");
    }
}

#[test]
fn keys_that_were_made_sign_and_verify() {
    for algorithm in ["ES256", "ES384", "ES512", "EdDSA", "PS256"] {
        let folder = folder(algorithm);
        let place = folder.display().to_string();
        let pasted = good(&["token", "keys", "--algorithm", algorithm, "--out", &place], "");
        let config = configured(&folder, &pasted);
        let private = folder.join("private.pem");
        let mode = std::fs::metadata(&private).expect("it was written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let private = private.display().to_string();
        let mint =
            ["token", "mint", "--subject=s", "--algorithm", algorithm, "--key-file", &private];
        let token = good(&mint, "");
        assert_eq!(parts(&token)[0]["alg"], algorithm);
        let explain = ["explain", "token", "--config", &config, "--app", "a"];
        assert!(good(&explain, &token).ends_with("\nvalid\n"), "{algorithm}");
        let (code, out, errors) = run(&["token", "keys", "--out", &place], "");
        assert!(code == 1 && out.is_empty() && errors.contains("File exists"), "{errors}");
        assert_eq!(good(&mint, "").lines().count(), 1, "the first key is still there");
    }
}

#[test]
fn keys_can_be_pasted_without_files() {
    for algorithm in ["HS256", "ES256"] {
        let folder = folder(&format!("pasted-{algorithm}"));
        let printed = good(&["token", "keys", "--algorithm", algorithm], "");
        let at = printed.find("[[applications.auth_keys]]").expect("it is there to paste");
        let config = configured(&folder, &printed[at..]);
        let mut mint = vec!["token", "mint", "--config", &config, "--app=a", "--subject=s"];
        let private = folder.join("private.pem").display().to_string();
        if algorithm == "ES256" {
            let from = printed.find("-----BEGIN PRIVATE").expect("a private key");
            let to = printed[from..].find("\n\n").expect("a blank line behind it");
            std::fs::write(&private, &printed[from..from + to]).expect("it is ours");
            mint.extend(["--algorithm", algorithm, "--key-file", &private]);
        }
        let token = good(&mint, "");
        let explain = ["explain", "token", "--config", &config, "--app", "a"];
        assert!(good(&explain, &token).ends_with("\nvalid\n"), "{algorithm}");
    }
}

#[test]
fn what_cannot_be_minted_says_what_to_do() {
    let folder = folder("cannot");
    let config = with_secret(&folder);
    let mint = ["token", "mint", "--config", &config, "--app=a", "--subject=s"];
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--role=admin"], 1, "none of a's admin_keys is an HMAC secret"),
        (&["--algorithm=HS512"], 1, "is an HMAC secret for HS512"),
        (&["--algorithm=ES256", "--key-file=/no/such.pem"], 1, "cannot read the key /no/such.pem"),
        (&["--key-file=/no/such.pem"], 2, "--algorithm <ALG>"),
        (&["--algorithm=none"], 2, "there are HS256"),
        (&["--expires=1"], 2, "expected a span"),
    ];
    for (more, expected, part) in cases {
        let (code, out, errors) = run(&[&mint[..], more].concat(), "");
        assert_eq!((code, &*out), (expected, ""), "{more:?}");
        assert!(errors.contains(part), "{part} in {errors}");
    }
    let file = folder.join("secret.txt");
    std::fs::write(&file, SECRET).expect("it is ours");
    let file = file.display().to_string();
    let (code, _, errors) =
        run(&[&mint[..], &["--algorithm=ES256", "--key-file", &file]].concat(), "");
    assert!(code == 1 && errors.contains("not a private key in PEM"), "{errors}");
}

/// Serves this document once, as a provider of key sets does.
fn provider(document: String) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let uri = format!("http://{}/jwks", listener.local_addr().expect("a bound socket"));
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("it is fetched");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        let mut lines = BufReader::new(&stream).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", document.len());
        (&stream).write_all((head + &document).as_bytes()).expect("it reads");
    });
    (uri, thread)
}

#[test]
fn a_key_set_is_fetched_to_explain_a_token() {
    let folder = folder("jwks");
    let place = folder.display().to_string();
    good(&["token", "keys", "--algorithm=EdDSA", "--out", &place], "");
    let public = std::fs::read_to_string(folder.join("public.pem")).expect("it was written");
    let der: String = public.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(der).expect("base64");
    // RFC 8410 §4: the key is the end of its SubjectPublicKeyInfo.
    let x = URL_SAFE_NO_PAD.encode(&der[der.len() - 32..]);
    let jwk = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x}]});
    let (uri, provider) = provider(jwk.to_string());
    let config = configured(
        &folder,
        &format!(
            "[[applications.auth_keys]]\nsource = \"jwks\"\njwks_uri = \"{uri}\"\n\
             allow_private_address = true\nalgorithms = [\"EdDSA\"]"
        ),
    );
    let private = folder.join("private.pem").display().to_string();
    let mint = ["token", "mint", "--subject=s", "--algorithm=EdDSA", "--key-file", &private];
    let token = good(&[&mint[..], &["--key-id=k1"]].concat(), "");
    let explain = ["explain", "token", "--config", &config, "--app", "a"];
    let explained = good(&explain, &token);
    assert!(explained.contains("key set 1 was fetched: 1 keys"), "{explained}");
    assert!(explained.contains("kid \"k1\" has signed it"), "{explained}");
    provider.join().expect("it served");
    // Nobody listens there any more.
    let (code, out, _) = run(&explain, &token);
    assert!(code == 1 && out.contains("key set 1 cannot be fetched: "), "{out}");
    assert!(out.ends_with("\nnot valid: no key is here that could have signed it\n"), "{out}");
}

#[test]
fn a_topic_is_explained_for_every_kind_of_caller() {
    let config = with_secret(&folder("topic"));
    let explain = ["explain", "topic", "--config", &config, "--app", "a"];
    let read = "realtime:subscriber:read:topic:secure/*";
    let token = good(
        &["token", "mint", "--config", &config, "--app=a", "--subject=s", "--subscribe=secure/*"],
        "",
    );
    let cases: [(&[&str], &str, i32, &[&str]); 8] = [
        (
            &["--permission", read, "secure/a"],
            "",
            0,
            &[
                "class: secure",
                "subscribe: allowed: by \"realtime:sub",
                "publish: refused: there is",
            ],
        ),
        (&["--token=-", "secure/a"], &token, 0, &["subscribe: allowed: by ", "publish: refused: "]),
        (&["--token=nonsense", "secure/a"], "", 1, &["caller: refused: the token is not valid"]),
        (
            &["--key", KEY, "news"],
            "",
            0,
            &["subscribe: refused: there is no permission", "publish: allowed: by "],
        ),
        (&["--key=wrong", "news"], "", 1, &["caller: refused: it is no API key"]),
        (&["news"], "", 1, &["caller: refused: the application is not open"]),
        (&["--permission", read, "a,b"], "", 0, &["name: legal, but not on the native routes"]),
        (&["a\nb"], "", 1, &["name: not legal: a topic's name holds no control characters"]),
    ];
    for (more, input, expected, lines) in cases {
        let (code, out, errors) = run(&[&explain[..], more].concat(), input);
        assert_eq!((code, &*errors), (expected, ""), "{more:?}: {out}");
        for part in lines {
            assert!(out.lines().any(|line| line.starts_with(part)), "{part} in {out}");
        }
    }
    // Without a configuration there is `demo`, open to everyone.
    let out = good(&["explain", "topic", "secure/a"], "");
    assert!(out.contains("publish: allowed: the application is open\n"), "{out}");
}
