//! A Debian tree with systemd, the package installed in it, and that systemd booted in namespaces of its
//! own (`boot.sh`).

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use fanwire::stdx::clock;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::PATIENCE;
use crate::{Folder, run};

/// What a bare Debian lacks for these trials.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,adduser,procps,curl";

/// A booted tree.
pub(crate) struct Machine {
    _folder: Folder,
    root: PathBuf,
    boot: Child,
    /// Its first process, as this machine counts.
    init: u32,
}

impl Machine {
    /// Makes the tree, installs the package, lets `prepare` write into the tree, and boots it.
    pub(crate) fn boot(prepare: impl FnOnce(&Path)) -> Machine {
        let folder = Folder::new("machine");
        let package = folder.package("1");
        let root = folder.0.join("root");
        let include = format!("--include={PACKAGES}");
        let options = ["--quiet", "--variant=apt", &include, "bookworm"];
        run(Command::new("mmdebstrap").args(options).arg(&root));
        std::fs::copy(package, root.join("fanwire.deb")).expect("the tree is ours");
        run(Command::new("chroot").arg(&root).args([
            "apt-get",
            "install",
            "-y",
            "-qq",
            "/fanwire.deb",
        ]));
        prepare(&root);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/package/boot.sh");
        let boot = Command::new(script).arg(&root).spawn().expect("the script runs");
        let mut machine = Machine { _folder: folder, root, boot, init: 0 };
        machine.init = machine.await_init();
        let state = await_some("systemd answers", || {
            let output = machine.command(&["systemctl", "is-system-running", "--wait"]).output();
            let said = String::from_utf8(output.ok()?.stdout).ok()?;
            ["running", "degraded"].contains(&said.trim()).then_some(said)
        });
        let failed = machine.text(&["systemctl", "--failed", "--plain", "--no-legend"]);
        assert_eq!(state.trim(), "running", "{failed}");
        machine
    }

    /// The process that systemd is: the first of its namespace, below the script.
    fn await_init(&self) -> u32 {
        await_some("systemd starts", || {
            let unshare = children(self.boot.id()).pop()?;
            let init = children(unshare).pop()?;
            let name = std::fs::read_to_string(format!("/proc/{init}/comm")).ok()?;
            (name.trim_end() == "systemd").then_some(init)
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        // Its own environment, not ours.
        command.args(["--target", &self.init.to_string(), "--all", "--root", "--wd"]);
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"]);
        command.args(arguments);
        command
    }

    /// Runs a command in it, which must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments))
    }

    /// What a command in it prints.
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.run(arguments).stdout).expect("text")
    }

    /// Starts a command in it.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("nsenter was there")
    }

    /// A property of the service.
    pub(crate) fn property(&self, name: &str) -> String {
        let shown = self.text(&["systemctl", "show", "-P", name, "fanwire.service"]);
        shown.trim_end().to_owned()
    }

    /// Waits until a property of the service is as `wanted`.
    pub(crate) fn await_property(&self, name: &str, wanted: &str) {
        await_some(&format!("{name}={wanted}"), || (self.property(name) == wanted).then_some(()));
    }

    /// What the service has logged.
    pub(crate) fn journal(&self) -> String {
        self.text(&["journalctl", "--unit", "fanwire.service", "--output", "cat", "--no-pager"])
    }

    /// Writes a drop-in of a unit and has systemd read it.
    pub(crate) fn drop_in(&self, unit: &str, text: &str) {
        let folder = self.root.join(format!("etc/systemd/system/{unit}.d"));
        std::fs::create_dir_all(&folder).expect("the tree is ours");
        std::fs::write(folder.join("50-trial.conf"), text).expect("the tree is ours");
        self.run(&["systemctl", "daemon-reload"]);
    }

    /// The service's main process, as this machine counts.
    pub(crate) fn main_process(&self) -> u32 {
        let inside = self.property("MainPID");
        let last_of = |status: String| {
            let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            Some(line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let found = children(self.init).into_iter().find(|process| {
            let status = std::fs::read_to_string(format!("/proc/{process}/status"));
            status.ok().and_then(last_of).is_some_and(|numbers| numbers.last() == Some(&inside))
        });
        found.expect("the service runs")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let script = i32::try_from(self.boot.id()).ok().and_then(Pid::from_raw);
        // Fails only if it has ended already.
        let _ = script.map(|script| kill_process(script, Signal::TERM));
        let _ = self.boot.wait();
    }
}

/// The children of a process, of all its threads.
fn children(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Asks until there is an answer.
pub(crate) fn await_some<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let deadline = clock::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(clock::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}
