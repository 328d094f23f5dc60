//! The `fanwire` binary: reads the command line and serves.

use std::io;
use std::process::ExitCode;

use fanwire::config::Loaded;
use fanwire::server::{self, cli};
use fanwire::telemetry::log;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let action = match cli::parse(std::env::args_os()) {
        Ok(action) => action,
        Err(error) => error.exit(),
    };
    let mut streams = cli::Streams {
        input: &mut io::stdin().lock(),
        out: &mut io::stdout(),
        errors: &mut io::stderr(),
    };
    cli::run(&action, cli::environment(), &mut streams, serve)
}

fn serve(loaded: Loaded) -> ExitCode {
    let settings = loaded.settings;
    log::install(settings.log).expect("no other subscriber was installed before");
    match server::serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (number, name) = (error.failure.number(), error.failure.name());
            tracing::error!(number, name, "{error}; see `fanwire help {number}`");
            ExitCode::FAILURE
        }
    }
}
