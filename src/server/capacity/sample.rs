//! What memory is in use at one moment: the broker's own, the kernel's, TCP's.

use crate::server::doctor::Host;

/// One reading; what could not be read is 0.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Sample {
    /// Connections that are open.
    pub(super) connections: usize,
    /// Bytes of the broker's private memory.
    pub(super) user: u64,
    /// Bytes of the kernel's small objects, of everyone.
    pub(super) kernel: u64,
    /// Pages of TCP buffers, of everyone.
    pub(super) tcp_pages: u64,
    /// Bytes that could still be had.
    pub(super) available: u64,
}

impl Sample {
    /// Reads them; `host` looks at the broker's process.
    pub(super) fn take(host: &Host, connections: usize) -> Sample {
        let kibibytes = |path: &str, name: &str| host.field(path, name).unwrap_or(0) * 1024;
        Sample {
            connections,
            user: kibibytes(&host.process_path("smaps_rollup"), "Private_Dirty"),
            kernel: kibibytes("proc/meminfo", "Slab"),
            tcp_pages: host
                .text("proc/net/sockstat")
                .and_then(|text| tcp_pages(&text))
                .unwrap_or(0),
            available: kibibytes("proc/meminfo", "MemAvailable"),
        }
    }
}

/// `TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 179` → 179.
fn tcp_pages(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace();
    words.find(|word| *word == "mem")?;
    words.next()?.parse().ok()
}

/// What one connection adds to `value`: the slope over all samples.
pub(super) fn slope(samples: &[Sample], value: impl Fn(&Sample) -> u64) -> f64 {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return 0.0 };
    growth(first, last, value)
}

/// The same as the median of the steps, for values that others move too.
pub(super) fn median_slope(samples: &[Sample], value: impl Fn(&Sample) -> u64) -> f64 {
    let mut slopes: Vec<f64> =
        samples.windows(2).map(|pair| growth(&pair[0], &pair[1], &value)).collect();
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "memory sizes fit 53 bits")]
fn growth(first: &Sample, last: &Sample, value: impl Fn(&Sample) -> u64) -> f64 {
    let connections = last.connections.saturating_sub(first.connections).max(1);
    (value(last) as f64 - value(first) as f64) / connections as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_by_name() {
        let text =
            "sockets: used 27\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 179\nUDP: inuse 0 mem 0";
        assert_eq!(tcp_pages(text), Some(179));
        assert_eq!(tcp_pages("TCP: inuse 1"), None);
    }

    #[test]
    fn one_odd_step_does_not_move_the_median() {
        let sample = |connections, kernel| Sample { connections, kernel, ..Sample::default() };
        let samples = [
            sample(0, 1_000),
            sample(10, 1_100),
            sample(20, 9_900),
            sample(30, 10_000),
            sample(40, 10_100),
        ];
        assert!((median_slope(&samples, |sample| sample.kernel) - 10.0).abs() < 1e-9);
        assert!((slope(&samples, |sample| sample.kernel) - 227.5).abs() < 1e-9);
        assert!(median_slope(&samples[..1], |sample| sample.kernel).abs() < 1e-9);
    }
}
