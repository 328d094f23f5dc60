//! The log: tracing events as text or JSON lines on standard error.
//!
//! Standard output stays free for what a command prints. Under systemd, the journal adds its own
//! time; ours is kept, since it is the one that a log shipper reads.

use std::io;

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Registry, reload};

/// How much is logged and in which shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogOptions {
    /// Least severe level that is written. Key `log.level`.
    pub level: Level,
    /// Shape of a line. Key `log.format`.
    pub format: LogFormat,
}

/// Shape of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// For people: time, level, message, `key=value` fields.
    #[default]
    Text,
    /// For machines: one JSON object per line, fields flattened into it.
    Json,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions { level: Level::INFO, format: LogFormat::Text }
    }
}

/// Changes the level of a log that runs.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<LevelFilter, Registry>);

impl LogLevel {
    /// Writes events of this level and more severe ones from now on.
    pub fn set(&self, level: Level) {
        // Fails only once the log is gone, and then there is no level.
        let _ = self.0.reload(LevelFilter::from_level(level));
    }
}

/// A log.
type Subscriber = Box<dyn tracing::Subscriber + Send + Sync>;

/// A subscriber that writes to `writer`, and its level.
pub fn subscriber<W>(options: LogOptions, writer: W) -> (Subscriber, LogLevel)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(LevelFilter::from_level(options.level));
    let filtered = Registry::default().with(filter);
    let lines = fmt::layer().with_writer(writer).with_thread_names(true).with_ansi(false);
    let subscriber: Subscriber = match options.format {
        LogFormat::Text => Box::new(filtered.with(lines)),
        LogFormat::Json => Box::new(filtered.with(lines.json().flatten_event(true))),
    };
    (subscriber, LogLevel(handle))
}

/// Sends every event of the process to standard error from now on.
///
/// # Errors
/// When a log was installed before.
pub fn install(
    options: LogOptions,
) -> Result<LogLevel, tracing::subscriber::SetGlobalDefaultError> {
    let (subscriber, level) = subscriber(options, io::stderr);
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(level)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(options: LogOptions) -> String {
        let written = Written::default();
        let sink = written.clone();
        let (subscriber, level) = subscriber(options, move || sink.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("too fine");
            tracing::warn!(shard = 3, "something \"odd\"");
            level.set(Level::ERROR);
            tracing::warn!("not any more");
        });
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_lines_carry_level_message_and_fields() {
        let text = logged(LogOptions::default());
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(" WARN ") && text.contains("something \"odd\" shard=3"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn json_lines_are_objects_with_flat_fields() {
        let mut text = logged(LogOptions { level: Level::DEBUG, format: LogFormat::Json });
        assert_eq!(text.lines().count(), 2, "{text}");
        let line = text.split_off(text.find('\n').unwrap() + 1);
        let mut line = line.into_bytes();
        let value = simd_json::to_borrowed_value(&mut line).unwrap();
        assert_eq!(value["level"], "WARN");
        assert_eq!(value["message"], "something \"odd\"");
        assert_eq!(value["shard"], 3);
    }
}
