//! The `fanwire` binary: reads the command line and serves.

use std::io;
use std::process::ExitCode;

use fanwire::server::args;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let action = match args::parse(std::env::args_os()) {
        Ok(action) => action,
        Err(error) => error.exit(),
    };
    let environment = args::environment();
    args::run(&action, environment, &mut io::stdout(), &mut io::stderr(), |_| {
        eprintln!("fanwire: this build holds no server");
        ExitCode::FAILURE
    })
}
