//! A timer that is on time: epoll's own timeout counts whole milliseconds, an open loop at 2,000/s has half of one
//! between two messages.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

/// A one-shot timer of the kernel (timerfd).
pub struct Timer(OwnedFd);

impl Timer {
    /// Makes the timer, announces its end to `registry` and asks the kernel for wake-ups without slack.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        // SAFETY: plain system calls; the descriptor is checked before it is owned.
        let timer = unsafe {
            libc::prctl(libc::PR_SET_TIMERSLACK, 1);
            let fd = libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Fires once after `delay`; forgets any earlier wish.
    pub fn arm(&self, delay: Duration) -> io::Result<()> {
        let value = libc::timespec {
            tv_sec: delay.as_secs() as libc::time_t,
            // Zero would disarm.
            tv_nsec: if delay.is_zero() { 1 } else { delay.subsec_nanos() as libc::c_long },
        };
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = libc::itimerspec { it_interval: zero, it_value: value };
        // SAFETY: the descriptor is ours and open, the pointer is to a live value, no old value is asked for.
        let done = unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &spec, std::ptr::null_mut()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
