//! A proxy as an operator would set it up, started on a free port in a folder of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use fanwire::stdx::clock;

use crate::support::PATIENCE;

/// Which proxy, and how it tells the client's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// `X-Forwarded-For`.
    Nginx,
    /// `X-Forwarded-For`.
    Haproxy,
    /// The PROXY protocol's text.
    HaproxyV1,
    /// The PROXY protocol's binary form.
    HaproxyV2,
}

/// Where the broker listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) http: SocketAddr,
    /// For the PROXY protocol.
    pub(crate) proxied: Option<SocketAddr>,
}

/// Something this machine lacks, in words.
#[derive(Debug)]
pub(crate) struct Missing(&'static str);

impl Missing {
    /// Passes the test and says so, unless everything is required.
    #[expect(clippy::print_stdout, reason = "a skipped test says so where test results are read")]
    pub(crate) fn skip(self) {
        let required = std::env::var_os("FANWIRE_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "required, and not on this machine: {}", self.0);
        println!("skipped: no {} on this machine", self.0);
    }
}

/// A running proxy; ended when dropped.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    child: Child,
    folder: PathBuf,
}

impl Front {
    pub(crate) fn start(kind: Kind, route: Route) -> Result<Front, Missing> {
        let program = match kind {
            Kind::Nginx => find("nginx").ok_or(Missing("nginx"))?,
            _ => find("haproxy").ok_or(Missing("haproxy"))?,
        };
        let folder = new_folder();
        let address = free_address();
        let file = folder.join("proxy.conf");
        let text = match kind {
            Kind::Nginx => nginx(&folder, address, route.http),
            Kind::Haproxy => haproxy(address, route.http, ""),
            Kind::HaproxyV1 => haproxy(address, proxied(route), "send-proxy"),
            Kind::HaproxyV2 => haproxy(address, proxied(route), "send-proxy-v2"),
        };
        std::fs::write(&file, text).expect("the folder is ours");
        let mut command = Command::new(program);
        match kind {
            Kind::Nginx => command.arg("-p").arg(&folder).arg("-c").arg(&file),
            _ => command.arg("-db").arg("-f").arg(&file),
        };
        let log = std::fs::File::create(folder.join("log")).expect("the folder is ours");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("the proxy runs");
        let mut front = Front { address, child, folder };
        front.await_listening();
        Ok(front)
    }

    fn await_listening(&mut self) {
        let deadline = clock::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            let has_ended = self.child.try_wait().expect("our child").is_some();
            assert!(!has_ended && clock::now() < deadline, "the proxy fails: {}", self.log());
            std::thread::yield_now();
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Not KILL: nginx's workers end by its master's word.
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the proxy\n{}", self.log());
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Reads until `text` has come.
pub(crate) fn read_until(reader: &mut impl std::io::Read, text: &str) {
    let mut seen = Vec::new();
    while memchr::memmem::find(&seen, text.as_bytes()).is_none() {
        let mut byte = [0];
        let size = reader.read(&mut byte).expect("more comes in time");
        assert_eq!(size, 1, "the end before {text:?}: {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&byte);
    }
}

/// An address that nobody listens on now.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound")
}

fn proxied(route: Route) -> SocketAddr {
    route.proxied.expect("the test has made such a listener")
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let places = std::env::split_paths(&path).chain(usual);
    places.map(|place| place.join(name)).find(|file| file.is_file())
}

fn new_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("fanwire-proxy-{}-{number}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("the folder for temporary files is ours");
    folder
}

fn nginx(folder: &Path, address: SocketAddr, broker: SocketAddr) -> String {
    // A worker of another user could not enter the folder.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let place = folder.display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {place}/{name};"))
        .concat();
    format!(
        "{user} daemon off; worker_processes 1; error_log stderr; pid {place}/pid;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n access_log off; {paths}\n\
         map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
         upstream fanwire {{ server {broker}; keepalive 1; }}\n\
         server {{ listen {address}; location / {{\n\
         proxy_pass http://fanwire; proxy_http_version 1.1;\n\
         proxy_set_header Host $host;\n\
         proxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header Connection $connection_upgrade;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
         }} }} }}\n"
    )
}

fn haproxy(address: SocketAddr, broker: SocketAddr, options: &str) -> String {
    let forwarded = if options.is_empty() { "option forwardfor" } else { "" };
    format!(
        "global\n maxconn 200\n\
         defaults\n mode http\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n \
         timeout tunnel 60s\n http-reuse always\n {forwarded}\n\
         frontend front\n bind {address}\n default_backend brokers\n\
         backend brokers\n server broker {broker} {options}\n"
    )
}
