//! Single calls. The last ones are also made by the child of `spawn`, so they neither allocate nor lock.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use rustix::io::Errno;
use rustix::thread::UnshareFlags;
use tokio::io::unix::AsyncFd;

use crate::seccomp::Instruction;

/// Gives the calling thread namespaces, and a root and working directory, of its own.
pub(crate) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    debug_assert!(
        !flags.contains(UnshareFlags::FILES),
        "descriptors stay shared with the process"
    );
    // SAFETY: only CLONE_FILES endangers Rust's ownership of descriptors, and it is never among the flags.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Brings up the loopback interface of the calling thread's network namespace.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all-zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Puts a non-blocking descriptor under the runtime's watch.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the watch owns the descriptor, so it is open and the same one as long as it is watched.
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}

/// Makes the child die with the thread that starts it.
pub(crate) fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure makes one system call and touches no memory.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                .map_err(Into::into)
        });
    }
}

const BPF_PROG_LOAD: u32 = 5;
const BPF_PROG_ATTACH: u32 = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The part of `union bpf_attr` that loading takes.
#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that attaching takes.
#[repr(C)]
#[derive(Default)]
struct ProgramAttach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads an eBPF program that decides about device access; each instruction is 8 bytes.
pub(crate) fn load_device_program(instructions: &[u64]) -> io::Result<OwnedFd> {
    let attributes = ProgramLoad {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..ProgramLoad::default()
    };
    let fd = bpf(BPF_PROG_LOAD, &attributes)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program made by [`load_device_program`] to a cgroup v2 directory.
pub(crate) fn attach_device_program(program: impl AsFd, cgroup: impl AsFd) -> io::Result<()> {
    let attributes = ProgramAttach {
        target: cgroup.as_fd().as_raw_fd().cast_unsigned(),
        program: program.as_fd().as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &attributes).map(drop)
}

fn bpf<T>(command: u32, attributes: &T) -> io::Result<i32> {
    // SAFETY: `attributes` is a prefix of bpf_attr of the given size; what it points to outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    i32::try_from(result)
        .ok()
        .filter(|fd| *fd >= 0)
        .ok_or_else(io::Error::last_os_error)
}

/// Bytes of the kernel's signal set, which is smaller than the C library's.
const SIGSET_BYTES: usize = 8;
const SIGNALS: i32 = 64;

/// `struct sock_fprog`.
#[repr(C)]
struct FilterProgram {
    length: u16,
    instructions: *const Instruction,
}

/// Puts the calling thread under a seccomp filter for good.
pub(crate) fn install_filter(filter: &[Instruction]) -> Result<(), Errno> {
    let program = FilterProgram {
        length: filter.len() as u16,
        instructions: filter.as_ptr(),
    };
    // SAFETY: `program` describes instructions laid out as `struct sock_filter`; the kernel copies them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            &raw const program,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Sets the calling thread's signal mask; returns the old one. Unlike the C library's function it covers
/// the signals that the library keeps for itself.
pub(crate) fn set_signal_mask(mask: u64) -> u64 {
    let mut old = 0_u64;
    // SAFETY: both sets are of the size given.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut old,
            SIGSET_BYTES,
        );
    }
    old
}

/// Forgets what the engine does with signals, also which it ignores.
pub(crate) fn default_signals() {
    // All zero is SIG_DFL without flags in the kernel's `struct sigaction` of both architectures.
    let default = [0_u64; 4];
    for signal in 1..=SIGNALS {
        // SAFETY: reads one sigaction; fails harmlessly for the two signals that cannot be changed.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<c_void>(),
                SIGSET_BYTES,
            );
        }
    }
}

/// Why the last call of the C library failed.
pub(crate) fn last_errno() -> Errno {
    // SAFETY: the location is the calling thread's own, and the parent's while it is suspended.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}
