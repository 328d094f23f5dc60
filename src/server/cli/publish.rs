//! `fanwire publish`: one message into a running broker.

use std::io::{self, BufRead, Read as _};
use std::process::ExitCode;

use clap::Args;

use super::connection::{ConnectionArgs, Streams, told};

/// Most bytes of data that are read; what a broker takes is its own matter.
const DATA_SIZE_MAX: u64 = 16 * 1024 * 1024;

/// What `publish` is asked.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct PublishArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The data is JSON and shall reach subscribers as it is; otherwise it is text.
    #[arg(long)]
    json: bool,
    /// The topic.
    topic: String,
    /// The message; `-` or nothing reads standard input, `@FILE` a file.
    #[arg(value_name = "DATA", allow_hyphen_values = true)]
    data: Option<String>,
}

/// Publishes, and prints the message's id and position.
pub(super) fn run(
    args: &PublishArgs,
    environment: &[(String, String)],
    streams: &mut Streams<'_>,
) -> ExitCode {
    match publish(args, environment, &mut streams.input) {
        // Whoever does not read the receipt does not want it.
        Ok(receipt) => {
            let _ = writeln!(streams.out, "{receipt}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            // Nowhere is left to report a failure of this write to.
            let _ = writeln!(streams.errors, "fanwire: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn publish(
    args: &PublishArgs,
    environment: &[(String, String)],
    input: &mut dyn BufRead,
) -> Result<String, String> {
    let from_input = matches!(args.data.as_deref(), None | Some("-"));
    if from_input && args.connection.reads_input() {
        return Err("standard input cannot be both the key or token and the data".to_owned());
    }
    let client = args.connection.client(environment, input)?;
    let data = args.data(input).map_err(|error| format!("cannot read the data: {error}"))?;
    let receipt = client.publish(&args.topic, data, args.json).map_err(|error| told(&error))?;
    Ok(format!("id={} position={}", receipt.id, receipt.position))
}

impl PublishArgs {
    fn data(&self, input: &mut dyn BufRead) -> io::Result<Vec<u8>> {
        match self.data.as_deref() {
            None | Some("-") => read_bounded(input),
            Some(data) => match data.strip_prefix('@') {
                Some(path) => read_bounded(std::fs::File::open(path)?),
                None => Ok(data.as_bytes().to_vec()),
            },
        }
    }
}

fn read_bounded(from: impl io::Read) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    from.take(DATA_SIZE_MAX + 1).read_to_end(&mut data)?;
    if u64::try_from(data.len()).is_ok_and(|size| size <= DATA_SIZE_MAX) {
        return Ok(data);
    }
    Err(io::Error::other(format!("it has more than {DATA_SIZE_MAX} bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_bounded() {
        let most = usize::try_from(DATA_SIZE_MAX).unwrap();
        assert_eq!(read_bounded(&*vec![0; most]).unwrap().len(), most);
        let error = read_bounded(io::repeat(0)).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 16777216 bytes");
    }
}
