//! The kernel calls that std lacks: epoll with nanosecond timeouts, clocks, the descriptor limit.
//!
//! Invariant: every time in this tool is `CLOCK_MONOTONIC` in nanoseconds, which all processes of
//! one machine share, so a send time written by one process can be compared in another.
#![expect(unsafe_code, reason = "system calls without a safe wrapper in std")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Nanoseconds of `CLOCK_MONOTONIC`, comparable between processes.
#[must_use]
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of CPU time that the calling thread has used.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Milliseconds since 1970-01-01 UTC.
#[must_use]
pub fn unix_ms() -> u64 {
    clock_ns(libc::CLOCK_REALTIME) / 1_000_000
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the whole call, and these clocks always exist.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Seconds as nanoseconds; negative ones as 0, endless ones as 146 years.
#[must_use]
pub fn nanoseconds(seconds: f64) -> u64 {
    let span = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 4)
}

/// Lets this thread's timers fire within a microsecond instead of the default 50.
pub fn sharpen_timers() {
    // SAFETY: PR_SET_TIMERSLACK takes one integer and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000_u64, 0, 0, 0) };
}

/// Lets others have the CPUs first: `nice` 1 to 19, setpriority(2).
///
/// # Errors
/// When the value is below that of this process and it may not lower it.
pub fn be_nice(nice: i32) -> io::Result<()> {
    // SAFETY: setpriority takes integers and touches no memory; 0 is this process.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } == 0;
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Clock ticks per second, the unit of the CPU times in `/proc/PID/stat`.
#[must_use]
pub fn ticks_per_second() -> u64 {
    // SAFETY: sysconf takes an integer and touches no memory.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100).max(1)
}

/// Bytes per page, the unit of `/proc/net/sockstat`.
#[must_use]
pub fn page_size() -> u64 {
    // SAFETY: sysconf takes an integer and touches no memory.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

/// Raises the soft descriptor limit to the hard one and answers what now holds.
///
/// # Errors
/// When the limit cannot be read.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit for the whole call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: `raised` is a valid rlimit for the whole call.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0;
    Ok(if done { limit.rlim_max } else { limit.rlim_cur })
}

/// Makes reads from a pipe return `WouldBlock` instead of waiting.
///
/// # Errors
/// When the descriptor is not open.
pub fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_GETFL and F_SETFL take integers and touch no memory.
    let done = unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        flags >= 0 && libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) >= 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the kernel choose the port at connect instead of at bind (ip(7), `IP_BIND_ADDRESS_NO_PORT`).
///
/// # Errors
/// When the descriptor is not an Internet socket.
pub fn defer_port_choice(socket: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `on` outlives the call and its true size is given.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a registered descriptor is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes or end of stream.
    Read,
    /// Room to write, or the end of a connect, as well as bytes.
    ReadWrite,
    /// Nothing but a reset: a subscriber that has stopped reading.
    Nothing,
}

impl Interest {
    fn bits(self) -> u32 {
        let bits = match self {
            Interest::Read => libc::EPOLLIN,
            Interest::ReadWrite => libc::EPOLLIN | libc::EPOLLOUT,
            Interest::Nothing => 0,
        };
        bits.cast_unsigned()
    }
}

/// One ready descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The number given at registration.
    pub token: u64,
    /// Bytes, end of stream or an error wait to be read.
    pub readable: bool,
    /// There is room to write, or a connect has ended.
    pub writable: bool,
    /// The connection was reset.
    pub broken: bool,
}

/// Most events taken by one wait.
const EVENTS_MAX: usize = 1024;

/// A level-triggered epoll set.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    /// Makes an empty set.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: the call takes an integer and answers a new descriptor or -1.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just created and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Epoll { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX] })
    }

    /// Starts watching; closing the descriptor ends it.
    ///
    /// # Errors
    /// When the descriptor is registered already or cannot be watched.
    pub fn add(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Changes what is watched.
    ///
    /// # Errors
    /// When the descriptor is not registered.
    pub fn modify(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    fn control(&self, verb: i32, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.bits(), u64: token };
        // SAFETY: `event` is valid for the whole call; the kernel checks both descriptors.
        let done = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), verb, fd, &raw mut event) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits at most `timeout` and fills `ready` with what is ready (at most 1,024 at a time).
    ///
    /// # Errors
    /// Any error but an interruption by a signal, which is an empty result.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Duration) -> io::Result<()> {
        ready.clear();
        let count = self.wait_raw(timeout);
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        let count = usize::try_from(count).unwrap_or(0);
        ready.extend(self.events[..count].iter().map(|event| {
            let has = |bits: i32| event.events & bits.cast_unsigned() != 0;
            Ready {
                token: event.u64,
                readable: has(libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLERR),
                writable: has(libc::EPOLLOUT),
                broken: has(libc::EPOLLHUP | libc::EPOLLERR),
            }
        }));
        Ok(())
    }

    fn wait_raw(&mut self, timeout: Duration) -> libc::c_long {
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(timeout.subsec_nanos().cast_signed()),
        };
        let (fd, room) = (self.fd.as_raw_fd(), EVENTS_MAX);
        // SAFETY: `events` has room for EVENTS_MAX entries and outlives the call, `time` is a valid
        // timespec, and a null signal mask is allowed. Linux 5.11 or newer; see the fallback.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                fd,
                self.events.as_mut_ptr(),
                room,
                &raw const time,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        if count >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS) {
            return count;
        }
        let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let room = i32::try_from(room).unwrap_or(i32::MAX);
        // SAFETY: `events` has room for `room` entries and outlives the call.
        let count = unsafe { libc::epoll_wait(fd, self.events.as_mut_ptr(), room, milliseconds) };
        libc::c_long::from(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_byte_wakes_the_waiter_and_silence_times_out() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let mut epoll = Epoll::new().unwrap();
        epoll.add(far.as_raw_fd(), 7, Interest::Read).unwrap();
        let mut ready = Vec::new();
        let before = monotonic_ns();
        epoll.wait(&mut ready, Duration::from_millis(5)).unwrap();
        assert!(ready.is_empty());
        assert!(monotonic_ns() - before >= 4_000_000);
        near.write_all(b"x").unwrap();
        epoll.wait(&mut ready, Duration::from_secs(5)).unwrap();
        assert_eq!(ready.iter().map(|r| (r.token, r.readable)).collect::<Vec<_>>(), [(7, true)]);
    }
}
