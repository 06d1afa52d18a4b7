//! What the machine has to allow, looked at before anything starts, and what to do where it does not.

use std::fmt;
use std::io;
use std::mem;

/// Something that keeps the server from running here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The kernel is too old for the operations that are needed.
    OldKernel(String),
    /// The kernel's io_uring may not be used.
    NoRing(i32),
    /// Too little memory may be locked for the rings.
    LockedMemory(u64),
    /// Too few files may be open for a server: so many, and so many are needed.
    OpenFiles(u64, u64),
}

impl std::error::Error for Obstacle {}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::OldKernel(release) => {
                write!(
                    f,
                    "the kernel is {release}, and 5.8 or later is needed: update the system, or use another machine"
                )
            }
            Obstacle::NoRing(libc::ENOSYS) => {
                write!(f, "the kernel has no io_uring: use one that is built with CONFIG_IO_URING")
            }
            Obstacle::NoRing(libc::EPERM | libc::EACCES) => write!(
                f,
                "io_uring is forbidden here. On a machine: `sysctl -w kernel.io_uring_disabled=0`. In a container: run it with a \
                 seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register (docker run --security-opt \
                 seccomp=unconfined)"
            ),
            Obstacle::NoRing(code) => {
                write!(f, "io_uring cannot be used: {}", io::Error::from_raw_os_error(*code))
            }
            Obstacle::LockedMemory(bytes) => write!(
                f,
                "only {} KiB of memory may be locked, and {} are needed: `ulimit -l 8192`, `LimitMEMLOCK=8M` in the service's unit, \
                 or `docker run --ulimit memlock=8388608`",
                bytes / 1024,
                LOCKED_BYTES_MIN / 1024
            ),
            Obstacle::OpenFiles(count, needed) => write!(
                f,
                "only {count} files may be open, and this server needs at least {needed}: `ulimit -n 65536`, \
                 `LimitNOFILE=65536` in the service's unit, or `docker run --ulimit nofile=65536`"
            ),
        }
    }
}

/// Looks at everything, and raises what may be raised.
///
/// # Errors
/// The first obstacle.
pub fn check() -> Result<(), Obstacle> {
    let release = kernel_release();
    if version(&release).is_some_and(|version| version < KERNEL_MIN) {
        return Err(Obstacle::OldKernel(release));
    }
    let locked = raise(libc::RLIMIT_MEMLOCK);
    if locked < LOCKED_BYTES_MIN {
        return Err(Obstacle::LockedMemory(locked));
    }
    let files = raise(libc::RLIMIT_NOFILE);
    if files < OPEN_FILES_MIN {
        return Err(Obstacle::OpenFiles(files, OPEN_FILES_MIN));
    }
    try_ring()
}

/// How many descriptors are left for clients, once everything is open that is open at a start. What the store may come to need for
/// its tables is set aside, and some for each shard: a store that cannot open a file writes no more.
///
/// # Errors
/// [`Obstacle::OpenFiles`] when that leaves next to nothing.
pub fn descriptors_left(shards: u16, table_files_max: u16) -> Result<usize, Obstacle> {
    let files = raise(libc::RLIMIT_NOFILE);
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    let aside = open + u64::from(table_files_max) + u64::from(shards) * SHARD_FILES + OTHER_FILES;
    let left = files.saturating_sub(aside);
    if left < CONNECTIONS_MIN {
        return Err(Obstacle::OpenFiles(files, aside + CONNECTIONS_MIN));
    }
    Ok(usize::try_from(left).unwrap_or(usize::MAX))
}

/// The processors that this process may run on.
pub fn allowed_processors() -> Vec<usize> {
    // SAFETY: the set is plain bits, all zero is one, and the kernel fills in no more than its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        if libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set) != 0 {
            return Vec::new();
        }
        set
    };
    // SAFETY: every number asked about is below the size of the set.
    (0..libc::CPU_SETSIZE as usize).filter(|&processor| unsafe { libc::CPU_ISSET(processor, &set) }).collect()
}

/// Sets a limit as high as this process may; returns where it is then.
fn raise(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a valid place for the limit.
    unsafe {
        if libc::getrlimit(resource, &mut limit) != 0 {
            return u64::MAX;
        }
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        if limit.rlim_cur < limit.rlim_max && libc::setrlimit(resource, &raised) == 0 {
            return raised.rlim_cur;
        }
    }
    limit.rlim_cur
}

/// Makes a ring and lets it go.
fn try_ring() -> Result<(), Obstacle> {
    let mut params = [0u8; RING_PARAMS_BYTES];
    // SAFETY: the kernel fills in no more than its structure, which is this long.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 2u32, params.as_mut_ptr()) };
    if ring < 0 {
        return Err(Obstacle::NoRing(io::Error::last_os_error().raw_os_error().unwrap_or(0)));
    }
    // SAFETY: the descriptor was just made and nobody else has it.
    unsafe { libc::close(ring as libc::c_int) };
    Ok(())
}

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// The first two numbers of a release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The oldest kernel with all operations that the executors use.
const KERNEL_MIN: (u32, u32) = (5, 8);
/// What the executors insist on.
const LOCKED_BYTES_MIN: u64 = 512 * 1024;
/// The store's tables, the rings, and a few dozen clients.
const OPEN_FILES_MIN: u64 = 1024;
/// The rings of one executor, what it sleeps in, its mailbox.
const SHARD_FILES: u64 = 16;
/// Logs of the store, files that come and go, connections of the house.
const OTHER_FILES: u64 = 128;
/// What is hardly a server any more.
const CONNECTIONS_MIN: u64 = 64;
/// `struct io_uring_params`.
const RING_PARAMS_BYTES: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kernel_versions() {
        for (release, expected) in [
            ("6.1.0-18-amd64", Some((6, 1))),
            ("5.4.0", Some((5, 4))),
            ("4.19.0-rc1+", Some((4, 19))),
            ("5.10", Some((5, 10))),
            ("", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
        assert!(version("4.19.0") < Some(KERNEL_MIN) && version("5.10.1") >= Some(KERNEL_MIN));
    }

    #[test]
    fn every_obstacle_says_how_to_get_past_it() {
        let cases = [
            (Obstacle::OldKernel("4.19".into()), "update"),
            (Obstacle::NoRing(libc::ENOSYS), "CONFIG_IO_URING"),
            (Obstacle::NoRing(libc::EPERM), "kernel.io_uring_disabled=0"),
            (Obstacle::NoRing(libc::EPERM), "seccomp"),
            (Obstacle::NoRing(libc::ENOMEM), "memory"),
            (Obstacle::LockedMemory(64 * 1024), "only 64 KiB"),
            (Obstacle::LockedMemory(64 * 1024), "ulimit -l"),
            (Obstacle::OpenFiles(256, 1024), "ulimit -n 65536"),
            (Obstacle::OpenFiles(256, 1024), "at least 1024"),
        ];
        for (obstacle, part) in cases {
            let said = obstacle.to_string();
            assert!(said.contains(part) && said.lines().count() == 1, "{said}");
        }
    }

    #[test]
    fn the_stores_descriptors_are_set_aside() {
        let few = descriptors_left(1, 100).expect("there are enough here");
        let fewer = descriptors_left(2, 200).expect("there are enough here");
        // Other tests open and close files meanwhile.
        assert!(few > fewer && few - fewer < 300, "{few} and {fewer}");
        assert!(matches!(descriptors_left(u16::MAX, u16::MAX), Err(Obstacle::OpenFiles(have, need)) if need > have));
    }

    #[test]
    fn this_machine_will_do() {
        assert_eq!(check(), Ok(()));
        assert!(!allowed_processors().is_empty());
    }
}
