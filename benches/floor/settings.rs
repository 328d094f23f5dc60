//! The command line.

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// One message at a time, the next when all have it: one write per delivery.
    Paced,
    /// As many as the server takes: writes carry many frames.
    Flat,
}

/// The run's settings.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    pub(crate) subscriber_count: usize,
    pub(crate) pair_count: usize,
    pub(crate) message_count: usize,
    pub(crate) payload_size: usize,
    pub(crate) driver: String,
    pub(crate) send: String,
    /// This process is the raw loop.
    pub(crate) is_raw_server: bool,
}

impl Settings {
    /// Reads the command line.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Settings, String> {
        let mut settings = Settings {
            mode: Mode::Paced,
            subscriber_count: 0,
            pair_count: 5,
            message_count: 0,
            payload_size: 200,
            driver: "auto".into(),
            send: "auto".into(),
            is_raw_server: false,
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            let number = |text: String| text.parse().map_err(|error| format!("{text}: {error}"));
            match argument.as_str() {
                // Cargo adds this.
                "--bench" => {}
                "paced" => settings.mode = Mode::Paced,
                "flat" => settings.mode = Mode::Flat,
                "--subscribers" => settings.subscriber_count = number(value()?)?,
                "--pairs" => settings.pair_count = number(value()?)?,
                "--messages" => settings.message_count = number(value()?)?,
                "--size" => settings.payload_size = number(value()?)?,
                "--driver" => settings.driver = value()?,
                "--send" => settings.send = value()?,
                "--raw-server" => settings.is_raw_server = true,
                _ => return Err(format!("unknown argument {argument}; see the file's header")),
            }
        }
        let (subscribers, messages) = match settings.mode {
            Mode::Paced => (5_000, 40),
            Mode::Flat => (1_000, 6_400),
        };
        if settings.subscriber_count == 0 {
            settings.subscriber_count = subscribers;
        }
        if settings.message_count == 0 {
            settings.message_count = messages;
        }
        Ok(settings)
    }
}
