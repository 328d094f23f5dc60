//! One finding: a fact about the host, what it means, and what to do.

/// How bad it is. The order is from good to bad.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::server) enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// Costs speed or room under load.
    Warning,
    /// Connections will be refused, or the broker stalls or dies, under what is planned.
    WillHurt,
}

impl Severity {
    /// Its name in JSON.
    pub(in crate::server) fn name(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::WillHurt => "will_hurt",
        }
    }
}

/// A fact about the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::server) struct Finding {
    /// Its name, which stays the same between versions.
    pub(in crate::server) id: &'static str,
    /// How bad it is.
    pub(in crate::server) severity: Severity,
    /// What it means for the broker.
    pub(in crate::server) what: &'static str,
    /// The value found, with its unit.
    pub(in crate::server) found: String,
    /// The value needed, with its unit; empty where there is none.
    pub(in crate::server) needed: String,
    /// Commands and file lines that mend it, one per line; empty where nothing has to be done.
    pub(in crate::server) fix: String,
}

impl Finding {
    /// A finding that needs no action yet.
    pub(super) fn new(id: &'static str, what: &'static str, found: impl Into<String>) -> Finding {
        Finding {
            id,
            severity: Severity::Ok,
            what,
            found: found.into(),
            needed: String::new(),
            fix: String::new(),
        }
    }

    /// A value that the host does not tell.
    pub(super) fn unknown(id: &'static str, what: &'static str, path: &str) -> Finding {
        let found = format!("not known: /{path} cannot be read");
        Finding { severity: Severity::Note, ..Finding::new(id, what, found) }
    }

    /// The value that is needed.
    #[must_use]
    pub(super) fn needs(mut self, needed: impl Into<String>) -> Finding {
        self.needed = needed.into();
        self
    }

    /// Judged; `fix` is kept only where something is to be done.
    #[must_use]
    pub(super) fn judged(mut self, severity: Severity, fix: impl Into<String>) -> Finding {
        self.severity = severity;
        if severity != Severity::Ok {
            self.fix = fix.into();
        }
        self
    }
}
