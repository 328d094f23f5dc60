//! `fanwire doctor` by the real binary: made-up hosts below a root folder, each finding both ways, and
//! the files it writes against those in tuning/.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("doctor-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("the folder for temporary files is ours");
        Folder(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("below our own")).expect("a folder of ours");
        fs::write(path, text).expect("a file of ours");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const LIMITS: &str = "proc/self/limits";
const STATUS: &str = "proc/self/status";
const GROUP: &str = "sys/fs/cgroup/system.slice/fanwire.service";
const IRQ: &str = "sys/class/net/eth0/device/msi_irqs";

/// A host with two CPUs on which nothing is wrong for 100,000 connections.
const SOUND: &[(&str, &str)] = &[
    (LIMITS, "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   1048576   files\n"),
    (STATUS, "Name:\tfanwire\nSeccomp:\t0\nCpus_allowed_list:\t0-1\n"),
    ("proc/self/cgroup", "0::/system.slice/fanwire.service\n"),
    ("proc/sys/fs/nr_open", "1048576\n"),
    ("proc/sys/fs/file-max", "9223372036854775807\n"),
    ("proc/sys/fs/file-nr", "2048\t0\t9223372036854775807\n"),
    ("proc/sys/net/core/somaxconn", "16384\n"),
    ("proc/sys/net/ipv4/tcp_max_syn_backlog", "16384\n"),
    ("proc/sys/net/ipv4/tcp_syncookies", "1\n"),
    ("proc/sys/net/ipv4/tcp_mem", "190000\t260000\t390000\n"),
    ("proc/sys/net/ipv4/tcp_rmem", "4096\t16384\t6291456\n"),
    ("proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t262144\n"),
    ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "0\n"),
    ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
    ("proc/sys/kernel/osrelease", "6.12.3-amd64\n"),
    ("proc/sys/kernel/io_uring_disabled", "0\n"),
    ("proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 8000000 kB\n"),
    ("proc/swaps", "Filename  Type  Size  Used  Priority\n"),
    ("proc/interrupts", " 24: 1 0 PCI eth0-rx-0\n 25: 0 1 PCI eth0-rx-1\n 26: 0 1 PCI eth0-tx-0\n"),
    ("proc/irq/24/effective_affinity_list", "0\n"),
    ("proc/irq/25/effective_affinity_list", "1\n"),
    ("proc/irq/26/effective_affinity_list", "0-1\n"),
    ("sys/class/net/eth0/operstate", "up\n"),
    ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
    ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0\n"),
    ("sys/class/net/eth0/device/msi_irqs/24", "msix\n"),
    ("sys/class/net/eth0/device/msi_irqs/25", "msix\n"),
    ("sys/class/net/eth0/device/msi_irqs/26", "msix\n"),
    ("sys/class/net/lo/operstate", "unknown\n"),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
    ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm\n"),
    ("sys/devices/system/cpu/online", "0-1\n"),
    ("sys/devices/system/node/online", "0\n"),
    ("sys/devices/system/node/node0/cpulist", "0-1\n"),
    ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
    ("sys/fs/cgroup/system.slice/memory.max", "max\n"),
    ("sys/fs/cgroup/system.slice/fanwire.service/memory.max", "max\n"),
    ("sys/fs/cgroup/system.slice/fanwire.service/memory.high", "max\n"),
    ("sys/fs/cgroup/system.slice/fanwire.service/cpu.max", "max 100000\n"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
];

fn sound() -> Folder {
    let folder = Folder::new();
    for (path, text) in SOUND {
        folder.write(path, text);
    }
    folder
}

fn doctor(root: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FANWIRE_") {
            command.env_remove(name);
        }
    }
    command.arg("doctor").arg("--root").arg(root).args(args).output().expect("the binary runs")
}

fn findings(output: &Output) -> Vec<Value> {
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {output:?}");
    });
    told["findings"].as_array().expect("a list").clone()
}

/// A sound host with these files changed (an empty text removes one) and these arguments: the finding
/// `id` is of this severity and says `part`, and nothing else is worse than it was.
fn check(change: &[(&str, &str)], args: &[&str], id: &str, severity: &str, part: &str) {
    let folder = sound();
    for (path, text) in change {
        match *text {
            "" => fs::remove_file(folder.0.join(path)).expect("it is there"),
            text => folder.write(path, text),
        }
    }
    let output = doctor(&folder.0, &[args, &["--json"]].concat());
    let case = format!("{change:?} {args:?} {id}");
    let mut found = None;
    for finding in findings(&output) {
        if finding["id"] == id {
            found = Some(finding);
        } else {
            assert_eq!(finding["severity"], "ok", "{case}: {finding:#}");
        }
    }
    let found = found.unwrap_or_else(|| panic!("{case}: no such finding"));
    assert_eq!(found["severity"], severity, "{case}: {found:#}");
    let texts = [&found["found"], &found["needed"], &found["fix"]]
        .map(|text| text.as_str().expect("a text"));
    assert!(texts.join("\n").contains(part), "{case}: no {part} in {found:#}");
    assert_eq!(found["fix"] == "", severity == "ok" || part.contains("cannot be read"), "{case}");
    assert_eq!(output.status.code(), Some(i32::from(severity == "will_hurt")), "{case}");
}

#[test]
fn a_sound_host_has_nothing_to_say() {
    let folder = sound();
    let output = doctor(&folder.0, &["--json"]);
    let found = findings(&output);
    assert!(output.status.success());
    assert!(found.len() >= 22, "{found:#?}");
    for finding in found {
        assert_eq!(finding["severity"], "ok", "{finding:#}");
    }
    let output = doctor(&folder.0, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("For 100000 connections on 2 shards, about 1.1 GiB of memory:\n"),
        "{text}"
    );
    assert!(text.contains("\n0 will hurt, 0 warnings, 0 notes, "), "{text}");
}

#[test]
fn descriptors() {
    let limits = |hard: &str| format!("Max open files  1024  {hard}  files\n");
    check(&[(LIMITS, &limits("100096"))], &[], "descriptors", "ok", "hard 100096");
    check(&[(LIMITS, &limits("100095"))], &[], "descriptors", "will_hurt", "LimitNOFILE=131072");
    check(&[(LIMITS, &limits("unlimited"))], &[], "descriptors", "ok", "");
    check(&[(LIMITS, "")], &[], "descriptors", "note", "cannot be read");
    let other = [
        (LIMITS, ""),
        ("proc/77/limits", &limits("5000")),
        ("proc/77/status", SOUND[1].1),
        ("proc/77/cgroup", SOUND[2].1),
    ];
    check(&other, &["--pid", "77"], "descriptors", "will_hurt", "(/proc/77/limits)");
    check(&[("proc/sys/fs/nr_open", "131072")], &[], "nr_open", "ok", "");
    check(&[("proc/sys/fs/nr_open", "131071")], &[], "nr_open", "warning", "fs.nr_open=1048576");
    check(&[("proc/sys/fs/nr_open", "65536")], &[], "nr_open", "will_hurt", "131072");
    check(&[("proc/sys/fs/file-max", "102144")], &[], "file_max", "ok", "2048 are open");
    check(&[("proc/sys/fs/file-max", "102143")], &[], "file_max", "will_hurt", "fs.file-max=");
}

#[test]
fn queues_before_accept() {
    let path = "proc/sys/net/core/somaxconn";
    check(&[(path, "16383")], &[], "accept_queue", "warning", "net.core.somaxconn=16384");
    check(&[(path, "1024")], &[], "accept_queue", "warning", "1024 per shard");
    check(&[(path, "1023")], &[], "accept_queue", "will_hurt", "");
    check(&[(path, "1024")], &["--connections", "8000"], "accept_queue", "ok", "");
    let file = Folder::new();
    file.write("f.toml", "[shards]\nbacklog = 100\n");
    let file = file.0.join("f.toml").display().to_string();
    check(&[], &["--config", &file], "accept_queue", "will_hurt", "shards.backlog = 0");
    let path = "proc/sys/net/ipv4/tcp_max_syn_backlog";
    check(&[(path, "512")], &[], "syn_queue", "note", "SYN cookies on");
    let off = ("proc/sys/net/ipv4/tcp_syncookies", "0");
    check(&[(path, "512"), off], &[], "syn_queue", "warning", "SYN cookies off");
    check(&[off], &[], "syn_queue", "ok", "");
}

#[test]
fn tcp_memory() {
    let path = "proc/sys/net/ipv4/tcp_mem";
    check(&[(path, "1 200000 300000")], &[], "tcp_mem", "ok", "781.2 MiB");
    check(&[(path, "1 199999 300000")], &[], "tcp_mem", "warning", "'150000 200000 300000'");
    check(&[(path, "1 90000 99999")], &[], "tcp_mem", "will_hurt", "99999 pages");
    check(&[(path, "1 2")], &[], "tcp_mem", "note", "cannot be read");
    let path = "proc/sys/net/ipv4/tcp_rmem";
    check(&[(path, "4096 32768 6291456")], &[], "tcp_rmem", "ok", "");
    check(&[(path, "4096 32769 6291456")], &["--connections", "1000"], "tcp_rmem", "note", "16384");
    check(&[(path, "4096 131072 6291456")], &[], "tcp_rmem", "warning", "12.2 GiB");
    let large = ("proc/sys/net/ipv4/tcp_wmem", "4096 16384 4194304");
    check(&[large], &[], "tcp_wmem", "note", "notsent_lowat = \"128KiB\"");
    for key in ["notsent_lowat", "send_size"] {
        let file = Folder::new();
        file.write("f.toml", &format!("[shards.socket]\n{key} = 16384\n"));
        let file = file.0.join("f.toml").display().to_string();
        check(&[large], &["--config", &file], "tcp_wmem", "ok", key);
    }
    let file = Folder::new();
    file.write("f.toml", "[shards.socket]\nreceive_size = 16384\n");
    let file = file.0.join("f.toml").display().to_string();
    let change = [(path, "4096 131072 6291456")];
    check(
        &change,
        &["--config", &file],
        "tcp_rmem",
        "ok",
        "shards.socket.receive_size = 16384 instead",
    );
}

#[test]
fn connection_tracking() {
    let table = |max, count| {
        [
            ("proc/sys/net/netfilter/nf_conntrack_max", max),
            ("proc/sys/net/netfilter/nf_conntrack_count", count),
        ]
    };
    check(&table("125500", "500"), &[], "conntrack", "ok", "500 in use");
    check(&table("125499", "500"), &[], "conntrack", "will_hurt", "nf_conntrack_max=262144");
    check(&table("65536", "0"), &[], "conntrack", "warning", "notrack");
    check(&[], &[], "conntrack", "ok", "not loaded");
}

#[test]
fn control_groups() {
    let max = format!("{GROUP}/memory.max");
    check(&[(&max, "2147483648")], &[], "cgroup_memory", "ok", "memory.max 2.0 GiB");
    check(&[(&max, "1258291200")], &[], "cgroup_memory", "warning", "MemoryMax=");
    check(&[(&max, "1073741824")], &[], "cgroup_memory", "will_hurt", "MemoryHigh=");
    let above = "sys/fs/cgroup/system.slice/memory.max";
    check(&[(above, "1073741824")], &[], "cgroup_memory", "will_hurt", "memory.max 1.0 GiB");
    let high = format!("{GROUP}/memory.high");
    check(&[(&high, "1073741824")], &[], "cgroup_memory", "will_hurt", "memory.high 1.0 GiB");
    let quota = format!("{GROUP}/cpu.max");
    check(&[(&quota, "150000 100000")], &[], "cgroup_cpu", "will_hurt", "1.50 CPUs");
    check(&[(&quota, "200000 100000")], &[], "cgroup_cpu", "note", "2.00 CPUs");
}

#[test]
fn memory_and_swap() {
    let available = |kib| format!("MemAvailable: {kib} kB\n");
    check(&[("proc/meminfo", &available(1_600_000))], &[], "memory", "ok", "1.5 GiB available");
    check(
        &[("proc/meminfo", &available(1_300_000))],
        &[],
        "memory",
        "warning",
        "history.memory_max",
    );
    check(
        &[("proc/meminfo", &available(1_000_000))],
        &[],
        "memory",
        "will_hurt",
        "connections_max",
    );
    let swaps = "Filename  Type  Size  Used  Priority\n/dev/sda2 partition 1 0 -2\n";
    check(&[("proc/swaps", swaps)], &[], "swap", "warning", "MemorySwapMax=0");
    let path = "sys/kernel/mm/transparent_hugepage/enabled";
    check(&[(path, "[always] madvise never")], &[], "huge_pages", "ok", "always");
}

#[test]
fn kernel_and_clock() {
    let path = "proc/sys/kernel/osrelease";
    check(&[(path, "5.15.0-generic")], &[], "kernel", "note", "5.15.0");
    check(&[(path, "5.4.0")], &[], "kernel", "warning", "newer kernel");
    check(&[(path, "6.0")], &[], "kernel", "ok", "");
    let path = "proc/sys/kernel/io_uring_disabled";
    check(&[(path, "1")], &[], "io_uring_disabled", "note", "io_uring_group");
    check(&[(path, "2")], &[], "io_uring_disabled", "warning", "io_uring_disabled=0");
    let file = Folder::new();
    file.write("uring.toml", "[shards]\ndriver = \"uring\"\n");
    file.write("epoll.toml", "[shards]\ndriver = \"epoll\"\n");
    let name = |name: &str| file.0.join(name).display().to_string();
    check(&[(path, "2")], &["--config", &name("uring.toml")], "io_uring_disabled", "will_hurt", "");
    check(&[(path, "2")], &["--config", &name("epoll.toml")], "io_uring_disabled", "ok", "");
    let path = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    for good in ["tsc", "kvm-clock", "arch_sys_counter"] {
        check(&[(path, good)], &[], "clock_source", "ok", good);
    }
    check(&[(path, "hpet")], &[], "clock_source", "will_hurt", "echo tsc >");
    check(&[(path, "xen")], &[], "clock_source", "warning", "clocksource=tsc");
}

#[test]
fn cpus_and_nodes() {
    let file = Folder::new();
    file.write("3.toml", "[shards]\ncount = 3\n");
    file.write("1.toml", "[shards]\ncount = 1\n");
    let name = |name: &str| file.0.join(name).display().to_string();
    let folder = sound();
    let output = doctor(&folder.0, &["--json", "--config", &name("3.toml")]);
    let all = findings(&output);
    let of = |id: &str| all.iter().find(|finding| finding["id"] == id).unwrap()["severity"].clone();
    assert_eq!((of("cpus"), of("receive_queues")), ("will_hurt".into(), "warning".into()));
    check(&[], &["--config", &name("1.toml")], "cpus", "note", "2 CPUs of 2 for 1 shards");
    let nodes = [
        ("sys/devices/system/node/online", "0-1"),
        ("sys/devices/system/node/node1/cpulist", "2-3"),
    ];
    check(&nodes, &[], "numa_nodes", "ok", "2 nodes, CPUs of node 0");
    let split = [
        nodes[0],
        ("sys/devices/system/node/node0/cpulist", "0"),
        ("sys/devices/system/node/node1/cpulist", "1"),
        ("sys/class/net/eth0/device/numa_node", "1"),
    ];
    check(&split, &[], "numa_nodes", "warning", "eth0 is on node 1");
}

#[test]
fn network_cards() {
    check(&[], &[], "receive_queues", "ok", "eth0: 2");
    let folder = sound();
    fs::remove_dir_all(folder.0.join("sys/class/net/eth0/queues/rx-1")).unwrap();
    let all = findings(&doctor(&folder.0, &["--json"]));
    let queues = all.iter().find(|finding| finding["id"] == "receive_queues").unwrap();
    assert_eq!(queues["severity"], "warning");
    assert!(
        queues["fix"].as_str().unwrap().starts_with("ethtool -L eth0 combined 2\n"),
        "{queues}"
    );
    let [first, other] =
        ["proc/irq/24/effective_affinity_list", "proc/irq/25/effective_affinity_list"];
    check(
        &[(first, "0-1")],
        &[],
        "interrupts",
        "warning",
        "echo 0 > /proc/irq/24/smp_affinity_list",
    );
    check(&[(other, "0")], &[], "interrupts", "warning", "none on the shards' CPUs [1]");
    check(&[(first, "1"), (other, "0")], &[], "interrupts", "ok", "24 on [1], 25 on [0]");
    check(&[(first, ""), ("proc/irq/24/smp_affinity_list", "0")], &[], "interrupts", "ok", "");
    // A virtio card's interrupts are its PCI device's.
    let folder = sound();
    fs::remove_dir_all(folder.0.join(IRQ)).unwrap();
    folder.write("sys/class/net/eth0/msi_irqs/24", "msix");
    let all = findings(&doctor(&folder.0, &["--json"]));
    let layout = all.iter().find(|finding| finding["id"] == "interrupts").unwrap();
    assert_eq!(layout["found"], "receive interrupts 24 on [0]; none on the shards' CPUs [1]");
    let file = Folder::new();
    file.write("f.toml", "shards.steer_by_cpu = true\n");
    let steered = file.0.join("f.toml").display().to_string();
    let steered = ["--config", &steered];
    check(&[], &steered, "steering", "ok", "every shard's CPU receives");
    let folder = sound();
    folder.write(other, "0");
    let severity = |folder: &Folder| {
        let all = findings(&doctor(&folder.0, &[&steered[..], &["--json"]].concat()));
        all.iter().find(|finding| finding["id"] == "steering").unwrap()["severity"].clone()
    };
    assert_eq!(severity(&folder), "will_hurt");
    folder.write("sys/class/net/eth0/queues/rx-0/rps_cpus", "00000000,00000003");
    assert_eq!(severity(&folder), "note");
    let down = ("sys/class/net/eth0/operstate", "down");
    check(&[down], &[], "receive_queues", "ok", "no network card");
}

#[test]
fn folklore() {
    let path = "proc/sys/net/ipv4/tcp_slow_start_after_idle";
    check(&[(path, "1")], &[], "slow_start_after_idle", "warning", "tcp_slow_start_after_idle=0");
    let path = "proc/sys/net/ipv4/tcp_tw_recycle";
    check(&[(path, "1")], &[], "tw_recycle", "will_hurt", "tcp_tw_recycle=0");
    check(&[(path, "0")], &[], "tw_recycle", "ok", "");
    let path = "proc/sys/net/ipv4/ip_local_port_range";
    check(&[(path, "60000 60010")], &[], "local_ports", "ok", "60000–60010");
}

#[test]
fn an_unreadable_host_is_unknown_and_never_judged() {
    let folder = Folder::new();
    let output = doctor(&folder.0, &["--json"]);
    assert!(output.status.success(), "{output:?}");
    for finding in findings(&output) {
        assert!(["ok", "note"].contains(&finding["severity"].as_str().unwrap()), "{finding}");
    }
}

#[test]
fn this_host_is_examined_with_its_rings() {
    let output = doctor(Path::new("/"), &["--json", "--connections", "10"]);
    let all = findings(&output);
    let ring = all.iter().find(|finding| finding["id"] == "io_uring").unwrap();
    let found = ring["found"].as_str().unwrap();
    assert!(found.starts_with("granted (") || found.starts_with("refused: "), "{ring}");
    let text = doctor(Path::new("/"), &["--connections", "10"]);
    assert_eq!(text.status, output.status);
}

#[test]
fn the_files_in_tuning_are_what_is_written() {
    let (empty, out) = (Folder::new(), Folder::new());
    let folder = out.0.display().to_string();
    let args = ["--connections", "100000", "--write", &folder];
    let output = doctor(&empty.0, &args);
    assert!(output.status.success(), "{output:?}");
    for name in ["90-fanwire.conf", "fanwire.service.d/90-fanwire.conf"] {
        let written = fs::read_to_string(out.0.join(name)).unwrap();
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning").join(name);
        let kept = fs::read_to_string(kept).unwrap_or_default();
        assert!(written == kept, "tuning/{name} must be this:\n\n{written}");
    }
    let again = doctor(&empty.0, &args);
    assert_eq!(again.status.code(), Some(1));
    let problem = String::from_utf8(again.stderr).unwrap();
    assert!(problem.contains("90-fanwire.conf is there already; --force replaces it"), "{problem}");
    assert!(again.stdout.is_empty());
    out.write("90-fanwire.conf", "mine");
    assert!(doctor(&empty.0, &[&args[..], &["--force"]].concat()).status.success());
    assert_ne!(fs::read_to_string(out.0.join("90-fanwire.conf")).unwrap(), "mine");
}

#[test]
fn written_lines_only_raise() {
    let (host, out) = (sound(), Folder::new());
    host.write("proc/sys/net/ipv4/tcp_mem", "1 9000000 9000000");
    host.write("proc/sys/net/ipv4/tcp_rmem", "4096 131072 33554432");
    host.write("proc/sys/net/core/somaxconn", "4096");
    host.write("proc/sys/net/netfilter/nf_conntrack_max", "65536");
    let output = doctor(&host.0, &["--write", &out.0.display().to_string()]);
    assert!(output.status.success(), "conntrack tracks nothing yet: {output:?}");
    let text = fs::read_to_string(out.0.join("90-fanwire.conf")).unwrap();
    let lines: Vec<_> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let expected = [
        "net.core.somaxconn = 16384",
        "net.ipv4.tcp_rmem = 4096 16384 33554432",
        "-net.netfilter.nf_conntrack_max = 262144",
    ];
    assert_eq!(lines, expected);
}
