//! The `fanwire` binary: reads the command line and serves.

use std::io;
use std::process::ExitCode;

use fanwire::config::Loaded;
use fanwire::server;
use fanwire::server::cli::{self, Reread};
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

fn serve(loaded: Loaded, reread: Reread) -> ExitCode {
    let log = loaded.settings.log;
    let log_level = log::install(log).expect("no other subscriber was installed before");
    match server::serve(loaded, reread, log_level) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (number, name) = (error.failure.number(), error.failure.name());
            tracing::error!(number, name, "{error}; see `fanwire help {number}`");
            ExitCode::FAILURE
        }
    }
}
