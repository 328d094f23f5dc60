//! `fanwire generate`: manual pages and shell completions, made from the command line that clap knows, so
//! that they name what this binary takes. Hidden: whoever makes a package calls it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::CommandLine;

/// What is made.
#[derive(Subcommand, Debug, Clone, PartialEq, Eq)]
pub enum GenerateCommand {
    /// Write the manual pages, one per command, into a folder.
    Man {
        /// An existing folder.
        #[arg(value_name = "FOLDER")]
        into: PathBuf,
    },
    /// Print a shell's completions.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// What the page of the whole program says beyond its options; roff, man(7).
const MORE: &str = r#".SH SIGNALS
.TP
SIGTERM, SIGINT
Stop: not ready at once, then one connection after the other is told to return, within
\fBserver.stop_timeout\fR. A second one ends it at once.
.SH "EXIT STATUS"
0 after a stop that a signal asked for and for a command that succeeded, 1 for a failure, 2 for a wrong
command line.
.SH FILES
.TP
/etc/fanwire/fanwire.toml
The configuration that the packaged unit starts with; \fBfanwire config default\fR prints every key with
its documentation.
.TP
/var/lib/fanwire
Where the unit lets a durable store be.
.SH ENVIRONMENT
Every key of the configuration is a variable: \fBserver.listen\fR is \fBFANWIRE_SERVER_LISTEN\fR. With
\fB_FILE\fR at its end a variable names a file that holds the value. \fBFANWIRE_CONFIG\fR names the
configuration. \fBNOTIFY_SOCKET\fR, \fBWATCHDOG_USEC\fR and \fBLISTEN_FDS\fR are systemd's (sd_notify(3),
sd_watchdog_enabled(3), sd_listen_fds(3)).
.SH "SEE ALSO"
systemd.service(5), systemd.socket(5)
"#;

/// Makes it.
///
/// # Errors
/// When the folder or `out` cannot be written.
pub(super) fn run(command: &GenerateCommand, out: &mut dyn Write) -> io::Result<()> {
    match command {
        GenerateCommand::Man { into } => write_pages(into),
        GenerateCommand::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut CommandLine::command(), "fanwire", &mut script);
            out.write_all(&script)
        }
    }
}

fn write_pages(into: &Path) -> io::Result<()> {
    clap_mangen::generate_to(CommandLine::command().disable_help_subcommand(true), into)?;
    let mut page = Vec::new();
    let program = Man::new(CommandLine::command().disable_help_subcommand(true));
    program.render(&mut page)?;
    page.extend_from_slice(MORE.as_bytes());
    std::fs::write(into.join("fanwire.1"), page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_name_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            run(&GenerateCommand::Completions { shell }, &mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            for word in ["subscribe", "explain", "--shards"] {
                assert!(script.contains(word.trim_start_matches("--")), "{shell}: {word}");
            }
        }
    }
}
