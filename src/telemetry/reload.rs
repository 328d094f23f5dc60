//! What became of the configuration's reloads: written by the thread that reloads, read by anyone.
//!
//! Invariant: one writing thread. The start counts as the first success.

use super::counters::{Counter, Gauge};
use super::exposition::{Exposition, Kind};

/// Reloads since the process began.
#[derive(Debug, Default)]
pub struct ReloadCounters {
    applied: Counter,
    refused: Counter,
    /// 1 once the newest was refused.
    is_refused: Gauge,
    /// Unix seconds.
    applied_s: Gauge,
}

impl ReloadCounters {
    /// Nothing reloaded yet; the configuration in effect was read at `unix_s`.
    pub fn started(unix_s: u64) -> ReloadCounters {
        let counters = ReloadCounters::default();
        counters.applied_s.set(unix_s);
        counters
    }

    /// A reload is in effect since `unix_s`.
    pub fn applied(&self, unix_s: u64) {
        self.applied.increment();
        self.is_refused.set(0);
        self.applied_s.set(unix_s);
    }

    /// A reload was refused, and what was in effect stays so.
    pub fn refused(&self) {
        self.refused.increment();
        self.is_refused.set(1);
    }

    /// Appends the families.
    pub(super) fn expose(&self, page: &mut Exposition<'_>) {
        let help = "Reloads of the configuration, by outcome.";
        page.family("fanwire_config_reloads_total", Kind::Counter, help)
            .sample(&[("outcome", "applied")], self.applied.get())
            .sample(&[("outcome", "refused")], self.refused.get());
        let help = "1 unless the newest reload was refused.";
        page.family("fanwire_config_last_reload_successful", Kind::Gauge, help)
            .sample(&[], 1 - self.is_refused.get());
        let help = "When the configuration in effect was read, Unix time.";
        page.family("fanwire_config_last_reload_success_timestamp_seconds", Kind::Gauge, help)
            .sample(&[], self.applied_s.get());
    }
}
