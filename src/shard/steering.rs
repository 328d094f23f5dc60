//! Steering by CPU: a connection goes to the shard on whose CPU its handshake came in.
//!
//! The kernel asks a classic BPF program which of the listeners that share an address gets a new
//! connection (socket(7), `SO_ATTACH_REUSEPORT_CBPF`; Linux 4.5 for TCP). Ours compares the CPU that
//! the packet is handled on with each shard's. Listeners count in the order in which they began to
//! listen, so bind them in the order of the shards.
//!
//! A handshake that comes in on a CPU without a shard, or for a shard that does not listen (yet), goes
//! where the kernel's own hash sends it.
#![expect(unsafe_code, reason = "no crate wraps this socket option")]

use std::os::fd::AsRawFd as _;

use super::listener::Listener;

/// Instructions of classic BPF (`linux/bpf_common.h`): load a word, jump if equal, return a constant.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Where the number of the CPU is loaded from: `SKF_AD_OFF + SKF_AD_CPU` (linux/filter.h).
const CPU: u32 = 0xFFFF_F000 + 36;
/// An index that no listener has: the kernel chooses by its hash.
const NOBODY: u32 = u32::MAX;

/// Gives handshakes that come in on `cpus[i]` to the listener that was bound as number `i`, on all
/// listeners of this address, also those that are bound later.
///
/// # Errors
/// When the kernel refuses the program: more than 4,096 instructions, which is far from 64 shards.
pub fn steer_by_cpu(listener: &Listener, cpus: &[usize]) -> std::io::Result<()> {
    let mut program = program(cpus);
    let length = u16::try_from(program.len()).map_err(|_long| rustix::io::Errno::TOOBIG)?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    #[expect(clippy::cast_possible_truncation, reason = "a small struct")]
    let size = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the option's value is a `sock_fprog`, alive during the call, whose pointer and length
    // are those of a vector alive as long; the kernel copies both and writes nothing.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn program(cpus: &[usize]) -> Vec<libc::sock_filter> {
    let instruction = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    let mut program = vec![instruction(LOAD, 0, CPU)];
    for (cpu, index) in cpus.iter().zip(0..) {
        let cpu = u32::try_from(*cpu).unwrap_or(u32::MAX);
        program.push(instruction(JUMP_IF_EQUAL, 1, cpu));
        program.push(instruction(RETURN, 0, index));
    }
    program.push(instruction(RETURN, 0, NOBODY));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program answers on a CPU.
    fn run(program: &[libc::sock_filter], cpu: u32) -> u32 {
        let mut at = 0;
        loop {
            let libc::sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            match code {
                LOAD => assert_eq!(k, CPU),
                JUMP_IF_EQUAL => at += usize::from(if k == cpu { jt } else { jf }),
                RETURN => return k,
                _ => panic!("an instruction that is not used: {code}"),
            }
        }
    }

    #[test]
    fn each_cpu_has_its_listener_and_others_have_none() {
        let cpus = [4, 5, 0];
        let program = program(&cpus);
        for (cpu, expected) in [(4, 0), (5, 1), (0, 2), (1, NOBODY), (63, NOBODY)] {
            assert_eq!(run(&program, cpu), expected, "CPU {cpu}");
        }
        let many: Vec<usize> = (0..64).collect();
        assert_eq!(run(&super::program(&many), 63), 63);
    }
}
