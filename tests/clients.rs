//! Real clients that others wrote, each against the real binary on both drivers.
//!
//! What a client does and must see stands in its script under `tests/clients/`; the test starts the
//! broker, runs the script, and restarts the broker where the script asks for it. The packages are
//! pinned by `package-lock.json` and `requirements.txt` there; `tests/run.sh` installs them. Where
//! one is missing the test prints `skipped: …` and passes, unless `FANWIRE_REQUIRE_ALL=1`.

#[path = "clients/broker.rs"]
mod broker;
#[path = "clients/keys.rs"]
mod keys;
#[path = "clients/script.rs"]
mod script;
#[path = "clients/tools.rs"]
mod tools;

use std::net::{SocketAddr, TcpListener};

use broker::{Broker, Driver};
use script::Script;
use tools::{Missing, Tool};

/// `demo` is open and knows every key; `guarded` asks for one and lets one other origin in; the keys
/// of `jwks` are its provider's; `shed` takes few connections at a time; `kept` keeps a whole stream.
fn configuration(provider: SocketAddr) -> String {
    format!(
        r#"
buzzpost_application = "demo"

[sse]
retry_delay = "100ms"
retry_jitter = "0s"

[key_sets]
cooldown = "1s"
refresh_min = "1s"

[[applications]]
id = "demo"
open = true
keys = [{{ secret = "9f2b61c07d3e48a5b1", rights = ["subscribe", "publish"] }}]
{files}

[[applications]]
id = "guarded"
cors_origins = ["https://app.example.com"]
keys = [{{ secret = "4c8a03e7f51d629b7e", rights = ["subscribe", "publish"] }}]

[[applications]]
id = "jwks"
{served}

[[applications]]
id = "shed"
open = true
limits.connections_per_address = "1/s burst 2"

[[applications]]
id = "kept"
open = true
history.count_max = 20000
history.size_max = "16MiB"
"#,
        files = keys::of_files(),
        served = keys::of_provider(provider),
    )
}

/// Runs one script against a broker of its own.
fn run(driver: Driver, tool: fn() -> Result<Tool, Missing>, script: &str) {
    let found = driver.probe().and_then(|()| tool());
    let tool = match found {
        Ok(tool) => tool,
        Err(missing) => return missing.skip(),
    };
    let provider = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = provider.local_addr().expect("it is bound");
    let mut broker = Broker::start(driver, &configuration(address));
    let outcome = Script::start(&tool, script, &broker, provider).run(&mut broker);
    if let Err(why) = outcome {
        panic!("{script}: {why}\nthe broker's log:\n{}", broker.log());
    }
}

macro_rules! clients {
    ($($name:ident: $tool:path, $script:literal;)*) => {$(
        mod $name {
            #[test]
            fn on_uring() {
                super::run(super::Driver::Uring, $tool, $script);
            }

            #[test]
            fn on_epoll() {
                super::run(super::Driver::Epoll, $tool, $script);
            }
        }
    )*};
}

clients! {
    realtime_pubsub_client_of_npm: crate::tools::node, "realtime.mjs";
    realtime_pubsub_client_of_pypi: crate::tools::python, "realtime.py";
    eventsource_of_npm: crate::tools::node, "events.mjs";
    httpx_sse_and_sseclient_of_pypi: crate::tools::python, "events.py";
    compressed_frames_to_ws_of_npm: crate::tools::node, "deflate.mjs";
    compressed_frames_to_websockets_of_pypi: crate::tools::python, "deflate.py";
    tokens_of_jose_and_jsonwebtoken_of_npm: crate::tools::node, "algorithms.mjs";
    tokens_of_pyjwt_of_pypi: crate::tools::python, "algorithms.py";
    realtime_pubsub_client_of_npm_with_tokens: crate::tools::node, "tokens.mjs";
    realtime_pubsub_client_of_pypi_with_tokens: crate::tools::python, "tokens.py";
    openapi_document_by_validators_of_pypi: crate::tools::python, "openapi.py";
    a_browser_uses_the_page: crate::tools::node_and_browser, "page.mjs";
    a_browser_comes_from_another_origin: crate::tools::node_and_browser, "origins.mjs";
    cuts_of_eventsource_of_npm: crate::tools::node, "cut_eventsource.mjs";
    cuts_of_realtime_pubsub_client_of_npm: crate::tools::node, "cut_realtime.mjs";
    cuts_of_long_polling_with_fetch: crate::tools::node, "cut_polling.mjs";
    cuts_of_a_browsers_eventsource: crate::tools::node_and_browser, "cut_browser.mjs";
}
