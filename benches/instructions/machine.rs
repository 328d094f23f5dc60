//! What instruction counts depend on beside the code: the compiler, the target, the CPU's features.

use std::process::Command;

/// Where figures were taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Machine {
    /// The compiler's release, such as `1.95.0`.
    pub(crate) rustc: String,
    /// The target triple.
    pub(crate) target: String,
    /// CPU features by which code is chosen at run time, separated by spaces.
    pub(crate) cpu: String,
}

impl Machine {
    /// The one this runs on.
    pub(crate) fn this() -> Machine {
        let output = Command::new("rustc").arg("-vV").output().expect("cargo has run it before");
        let text = String::from_utf8_lossy(&output.stdout);
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap_or_default().trim().to_owned()
        };
        Machine { rustc: field("release:"), target: field("host:"), cpu: cpu_features() }
    }

    /// Why figures of `other` say nothing about these. Another compiler is no reason: who changes
    /// it is to see what it changes.
    pub(crate) fn why_incomparable(&self, other: &Machine) -> Option<String> {
        (self.target != other.target || self.cpu != other.cpu).then(|| {
            format!(
                "the baseline is of {} with {}, this is {} with {}",
                self.target, self.cpu, other.target, other.cpu
            )
        })
    }
}

/// Valgrind's CPU has nothing newer than AVX2 (no SHA extensions, no AVX-512), so two machines that
/// have these run the same code under it, whatever else they have.
#[cfg(target_arch = "x86_64")]
fn cpu_features() -> String {
    let known = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
    ];
    let present: Vec<&str> = known.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    present.join(" ")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> String {
    String::new()
}
