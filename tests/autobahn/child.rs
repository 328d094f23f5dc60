//! Runs a program to its end, or ends it by its id when its time is up.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How much of a program's output an error quotes, in bytes.
const QUOTED_SIZE_MAX: usize = 2000;

/// Runs `command`; what it printed.
///
/// # Errors
/// Says why, with the end of what it printed: it cannot be started, fails, or takes longer than
/// `time_max`.
pub(crate) fn run(command: &mut Command, time_max: Duration) -> Result<String, String> {
    let name = format!("{}", command.get_program().display());
    let (mut output, input) = std::io::pipe().map_err(|error| error.to_string())?;
    let also_input = input.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(input).stderr(also_input);
    let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
    // The command holds the pipe's writing ends; the reader below waits for the last to go.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let (sender, printed) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // The receiver is gone where time was up.
        let _gone = sender.send(read.map(|_| text));
    });
    let Ok(printed) = printed.recv_timeout(time_max) else {
        child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
        return Err(format!("{name}: not done after {time_max:?}"));
    };
    let printed = printed.map_err(|error| format!("{name}: {error}"))?;
    let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
    if status.success() { Ok(printed) } else { Err(format!("{name}: {status}\n{}", end(&printed))) }
}

fn end(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(QUOTED_SIZE_MAX))..]
}
