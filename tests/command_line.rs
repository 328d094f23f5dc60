//! `fanwire publish` and `fanwire subscribe` as a person uses them: the real binary against the real
//! broker, and against scripted servers for what a good broker does not do.

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, unbounded};
use rustix::process::{Pid, Signal, kill_process};
use support::{PATIENCE, Setup, json};

const KEY: &str = "key-that-may-do-everything-1";

/// A run of the binary, its standard output and error as lines.
struct Run {
    child: Child,
    out: Receiver<String>,
    errors: Receiver<String>,
}

fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = unbounded();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            // The test may have seen enough.
            let _ = sender.send(line);
        }
    });
    receiver
}

impl Run {
    /// Starts `fanwire` with `args`, these variables and this input.
    fn start(args: &[&str], variables: &[(&str, &str)], input: &str) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FANWIRE_") {
                command.env_remove(name);
            }
        }
        command.args(args).envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let mut stdin = child.stdin.take().expect("piped");
        // Who does not read its input may have ended already.
        let _ = stdin.write_all(input.as_bytes());
        let out = lines(child.stdout.take().expect("piped"));
        let errors: ChildStderr = child.stderr.take().expect("piped");
        Run { child, out, errors: lines(errors) }
    }

    /// The next line of standard error, which must come.
    fn error_line(&self) -> String {
        self.errors.recv_timeout(PATIENCE).expect("a line on standard error")
    }

    fn line(&self) -> String {
        self.out.recv_timeout(PATIENCE).expect("a line on standard output")
    }

    /// Exit code and what is left of both streams, once both have ended.
    fn end(mut self) -> (Option<i32>, Vec<String>, Vec<String>) {
        let rest = |lines: &Receiver<String>| {
            let deadline = fanwire::stdx::clock::now() + PATIENCE;
            let mut all = Vec::new();
            loop {
                match lines.recv_deadline(deadline) {
                    Ok(line) => all.push(line),
                    Err(error) => {
                        assert!(error.is_disconnected(), "the command does not end: {all:?}");
                        return all;
                    }
                }
            }
        };
        let (out, errors) = (rest(&self.out), rest(&self.errors));
        let status = self.child.wait().expect("it is our child");
        for line in out.iter().chain(&errors) {
            assert!(!line.contains(KEY), "a key is shown: {line}");
        }
        (status.code(), out, errors)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers one connection after the other with these bytes, each followed by its end; gives the
/// heads of the requests, bodies included as far as they are announced.
fn script(answers: Vec<String>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let thread = std::thread::spawn(move || {
        let serve = |answer: String| {
            let (stream, _) = listener.accept().expect("a client comes");
            stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
            let request = read_request(&stream);
            (&stream).write_all(answer.as_bytes()).expect("the client reads");
            request
        };
        answers.into_iter().map(serve).collect()
    });
    (address, thread)
}

fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    while reader.read_line(&mut request).is_ok_and(|size| size > 2) {}
    let head = request.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
    reader.read_exact(&mut body).expect("the body");
    head + &String::from_utf8(body).expect("UTF-8")
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

#[test]
fn what_is_published_is_printed_by_subscribers() {
    let broker = Setup::new("epoll", 2).start();
    let url = format!("http://{}/", broker.address);
    let native =
        Run::start(&["subscribe", "--url", &url, "--count", "4", "news/a b", "other"], &[], "");
    assert_eq!(native.error_line(), "fanwire: subscribed to news/a b, other");
    // Port 1 answers nobody: a proxy that was heeded would fail each publish below.
    let proxy = "http://127.0.0.1:1";
    let variables = [("FANWIRE_CLIENT_URL", &*url), ("http_proxy", proxy), ("ALL_PROXY", proxy)];
    let raw = Run::start(&["subscribe", "--raw", "--count=4", "news/a b"], &variables, "");
    assert_eq!(raw.error_line(), "fanwire: subscribed to news/a b");
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("data-{}.txt", std::process::id()));
    std::fs::write(&file, "from a file").expect("the folder for temporary files is ours");
    let at_file = format!("@{}", file.display());
    let cases: [(&[&str], &str, &str); 4] = [
        (&["hi"], "", "\"hi\""),
        (&["--json", "{\n \"n\": 1.0}"], "", "{  \"n\": 1.0}"),
        (&["-"], "piped\n", "\"piped\\n\""),
        (&[&at_file], "", "\"from a file\""),
    ];
    for (args, input, _) in &cases {
        let args = [&["publish", "news/a b"][..], args].concat();
        let (code, out, errors) = Run::start(&args, &variables, input).end();
        assert_eq!((code, errors), (Some(0), Vec::new()), "{args:?}");
        let (id, position) =
            out[0].strip_prefix("id=").and_then(|rest| rest.split_once(" position=")).unwrap();
        assert!(!id.is_empty(), "{out:?}");
        support::position(position);
        let line = native.line();
        assert_eq!(json(&line)["id"], id, "{line}");
        assert_eq!(json(&line)["topic"], "news/a b");
    }
    std::fs::remove_file(&file).expect("it was written above");
    assert_eq!(native.end(), (Some(0), Vec::new(), Vec::new()));
    let (code, out, _) = raw.end();
    assert_eq!(code, Some(0));
    assert_eq!(out, ["hi", "{", " \"n\": 1.0}", "piped", "", "from a file"]);
}

#[test]
fn an_envelope_is_one_line_whatever_its_data() {
    let broker = Setup::new("epoll", 1).start();
    let url = format!("http://{}", broker.address);
    let run = Run::start(&["subscribe", "--url", &url, "--count", "1", "t"], &[], "");
    run.error_line();
    let args = ["publish", "--url", &url, "--json", "t"];
    assert_eq!(Run::start(&args, &[], "{\r\n\"a\":\r[\n1]}").end().0, Some(0));
    let line = run.line();
    assert_eq!(json(&line)["data"], json("{\"a\":[1]}"), "{line}");
    assert_eq!(run.end(), (Some(0), Vec::new(), Vec::new()));
}

#[test]
fn keys_open_closed_applications_and_are_never_shown() {
    let config = format!(
        "[[applications]]\nid = \"closed\"\n[[applications.keys]]\nsecret = \"{KEY}\"\n\
         rights = [\"subscribe\", \"publish\"]\ntopics = [\"news\"]\n"
    );
    let broker = Setup::new("epoll", 1).config(&config).start();
    let url = format!("http://{}/", broker.address);
    let run = |command: &str, app: &str, more: &str, key: Option<&str>, input: &str| {
        let args = format!("{command} --url {url} --app {app} {more}");
        let args: Vec<_> = args.split_whitespace().collect();
        let variables = key.map(|key| ("FANWIRE_CLIENT_KEY", key));
        Run::start(&args, variables.as_slice(), input).end()
    };
    let on_line = format!("--key {KEY} news");
    for (more, key, input) in
        [("news x", Some(KEY), ""), ("--key - news x", None, KEY), (&on_line, None, "x")]
    {
        let (code, out, errors) = run("publish", "closed", more, key, input);
        assert_eq!((code, out.len(), errors), (Some(0), 1, Vec::new()));
    }
    let wrong = "key-that-nobody-declared-666";
    for (app, topic, key, problem, advice) in [
        ("closed", "news", None, "fanwire: 401 ", "FANWIRE_CLIENT_KEY"),
        ("closed", "news", Some(wrong), "fanwire: 401 ", "FANWIRE_CLIENT_KEY"),
        ("closed", "other", Some(KEY), "fanwire: 403 ", "more rights"),
        ("nope", "news", Some(KEY), "fanwire: 404 ", "--app"),
    ] {
        for command in ["publish", "subscribe"] {
            let (code, out, errors) = run(command, app, topic, key, "");
            assert_eq!((code, out.len()), (Some(1), 0), "{errors:?}");
            assert!(errors[0].starts_with(problem), "{errors:?}");
            assert!(errors[1].contains(advice), "{errors:?}");
            assert!(!errors.join("\n").contains(wrong), "{errors:?}");
        }
    }
}

#[test]
fn a_lost_stream_is_taken_up_behind_the_last_event() {
    let (address, server) = script(vec![
        format!("{STREAM}\u{feff}retry: 100\r\nid: 7\r\ndata: a\r\n\r\nid: 8\ndata: cut"),
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n".into(),
        String::new(),
        format!("{STREAM}: hello\nid: 9\ndata: b\ndata: c\n\n"),
    ]);
    let url = format!("http://{address}/base/?x=1#y");
    let token = "aaa.bbb.ccc";
    let args = ["subscribe", "--url", &url, "--token", "-", "--raw", "--count", "2", "t/1", "ü&"];
    let (code, out, errors) = Run::start(&args, &[], token).end();
    assert_eq!((code, &*out), (Some(0), &["a", "b", "c"].map(str::to_owned)[..]), "{errors:?}");
    assert_eq!(errors.len(), 5, "{errors:?}");
    for (index, part) in [
        (0, "subscribed to t/1, ü&"),
        (1, "; again in 0.1 s"),
        (2, "503 Service Unavailable; again in "),
        (3, "; again in "),
        (4, "subscribed to t/1, ü&"),
    ] {
        assert!(errors[index].contains(part), "{part} in {errors:?}");
    }
    assert!(!errors.join("\n").contains(token), "{errors:?}");
    let requests = server.join().expect("the server's script ends");
    let target = "get /base/v1/demo/events?topics=t%2f1&topics=%c3%bc%26&format=raw http/1.1\r\n";
    for (index, request) in requests.iter().enumerate() {
        assert!(request.starts_with(target), "{request}");
        assert!(request.contains(&format!("\r\nauthorization: bearer {token}\r\n")), "{request}");
        assert_eq!(request.contains("\r\nlast-event-id: 7\r\n"), index > 0, "{request}");
    }
}

#[test]
fn answers_of_other_servers_are_told_and_end_it() {
    let answer = |head: &str, body: &str| {
        format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let cases = [
        ("subscribe", answer("200 OK\r\ncontent-type: text/html", "<p>"), "no event stream"),
        ("subscribe", answer("302 Found\r\nlocation: http://127.0.0.1:1/", ""), "302 Found"),
        ("publish", answer("200 OK", "<p>"), "the answer is not JSON"),
        ("publish", answer("200 OK", "{}"), "not a Fanwire broker's"),
        ("publish", answer("200 OK", &" ".repeat(65_537)), "too large"),
        ("publish", answer("404 Not Found", "<p>"), "404 Not Found"),
    ];
    for (command, answer, part) in cases {
        let (address, server) = script(vec![answer]);
        let url = format!("http://{address}");
        let (code, out, errors) = Run::start(&[command, "--url", &url, "t"], &[], "x").end();
        assert_eq!((code, out.len()), (Some(1), 0), "{part}: {errors:?}");
        assert!(errors[0].contains(part), "{part} in {errors:?}");
        let requests = server.join().expect("one request");
        let sends_text = requests[0].contains("\r\ncontent-type: text/plain; charset=utf-8\r\n");
        assert_eq!(sends_text && requests[0].ends_with("\r\n\r\nx"), command == "publish");
    }
}

#[test]
fn a_broker_that_is_not_there_is_a_failure_to_publish_with_advice() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
    drop(listener);
    let (code, out, errors) = Run::start(&["publish", "--url", &url, "t", "x"], &[], "").end();
    assert_eq!((code, out.len()), (Some(1), 0));
    assert!(errors[0].contains("refused"), "{errors:?}");
    assert!(errors[1].contains("`fanwire` starts one"), "{errors:?}");
}

#[test]
fn signals_end_a_subscription_well() {
    let broker = Setup::new("epoll", 1).start();
    let url = format!("http://{}/", broker.address);
    for signal in [Signal::INT, Signal::TERM] {
        let run = Run::start(&["subscribe", "--url", &url, "t"], &[], "");
        run.error_line();
        let pid = i32::try_from(run.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("it runs");
        assert_eq!(run.end(), (Some(0), Vec::new(), Vec::new()));
    }
}
