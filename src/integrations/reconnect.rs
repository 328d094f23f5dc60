//! How long a subscriber waits before it comes back: what the server asks for, ever longer while it
//! does not answer, and never in step with others. Sans I/O.

use std::time::Duration;

/// The first wait if the server asks for none.
const WAIT_DEFAULT: Duration = Duration::from_secs(2);
/// The longest wait, asked for or grown.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// Waits this short would be a busy loop.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// Waits of one subscriber.
#[derive(Debug, Default)]
pub(super) struct Reconnect {
    failure_count: u32,
}

impl Reconnect {
    /// The stream was opened.
    pub(super) fn succeeded(&mut self) {
        self.failure_count = 0;
    }

    /// The wait before the next attempt, of which the server may have `wanted` one; `word` is random.
    /// It doubles with each failure, up to a minute; up to a quarter is added at random.
    pub(super) fn wait(&mut self, wanted: Option<Duration>, word: u64) -> Duration {
        let first = wanted.unwrap_or(WAIT_DEFAULT).clamp(WAIT_MIN, WAIT_MAX);
        let doubled = first.saturating_mul(2_u32.saturating_pow(self.failure_count));
        let wait = doubled.min(WAIT_MAX);
        self.failure_count = self.failure_count.saturating_add(1);
        let part = u32::try_from(word >> 48).expect("16 bits are left");
        wait + (wait / 4).mul_f64(f64::from(part) / f64::from(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_start_over() {
        let mut reconnect = Reconnect::default();
        for _ in 0..2 {
            let waits: Vec<_> = (0..7).map(|_| reconnect.wait(None, 0).as_millis()).collect();
            assert_eq!(waits, [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
            reconnect.succeeded();
        }
        reconnect.failure_count = u32::MAX;
        assert_eq!(reconnect.wait(None, u64::MAX).as_millis(), 75_000);
    }

    #[test]
    fn the_servers_wish_is_the_first_wait() {
        let cases = [(0, 100, 125), (1_000, 1_000, 1_250), (90_000, 60_000, 75_000)];
        for (wanted_ms, least_ms, most_ms) in cases {
            let wanted = Some(Duration::from_millis(wanted_ms));
            for (word, expected_ms) in [(0, least_ms), (u64::MAX, most_ms)] {
                let wait = Reconnect::default().wait(wanted, word);
                assert_eq!(wait.as_millis(), expected_ms);
            }
        }
    }
}
