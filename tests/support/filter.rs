//! A broker under a system call filter (seccomp(2)), as a unit or a container sets it.

use std::collections::BTreeSet;

use seccompiler::{BpfProgram, TargetArch, apply_filter, compile_from_json};

/// Runs `start` with a filter that every process started in it inherits.
pub(crate) fn filtered<T: Send>(filter: &BpfProgram, start: impl FnOnce() -> T + Send) -> T {
    // A filter is its thread's for good, so that thread has to be a new one.
    std::thread::scope(|scope| {
        let begin = || {
            apply_filter(filter).expect("no right is needed to give rights up");
            start()
        };
        scope.spawn(begin).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Refuses the calls `names` with `errno` and allows all others.
pub(crate) fn refusing(names: &[&str], errno: i32) -> BpfProgram {
    let rules = names.iter().map(|name| serde_json::json!({ "syscall": name }));
    compile(&serde_json::json!({
        "mismatch_action": "allow",
        "match_action": { "errno": errno },
        "filter": rules.collect::<Vec<_>>(),
    }))
    .expect("calls of this architecture")
}

/// Allows the calls `names`, of which those of other architectures are passed over, and refuses all
/// others with `errno`.
pub(crate) fn allowing(names: &BTreeSet<String>, errno: i32) -> BpfProgram {
    let filter = |rules: Vec<serde_json::Value>| {
        serde_json::json!({
            "mismatch_action": { "errno": errno },
            "match_action": "allow",
            "filter": rules,
        })
    };
    let rules = names.iter().map(|name| serde_json::json!({ "syscall": name }));
    let is_known = |rule: &serde_json::Value| compile(&filter(vec![rule.clone()])).is_ok();
    let rules: Vec<_> = rules.filter(is_known).collect();
    assert!(rules.len() > 100, "a filter that nothing runs under");
    compile(&filter(rules)).expect("each was tried")
}

fn compile(filter: &serde_json::Value) -> Result<BpfProgram, seccompiler::Error> {
    let text = serde_json::json!({ "main": filter }).to_string();
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(seccompiler::Error::from)?;
    let mut programs = compile_from_json(text.as_bytes(), arch)?;
    Ok(programs.remove("main").expect("it was named so"))
}
