//! A small assembler for seccomp's classic BPF: a binary search over system call numbers.
//!
//! `seccompiler` covers one architecture per filter and two verdicts; the default profile needs three
//! architectures, four verdicts, and comparisons of 32 bits, which is less code than its wrapping would be.

/// `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    operand: u32,
}

/// What happens to a system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    Errno(u16),
    /// Allowed where one of the comparisons holds for the first argument, else the error.
    AllowIf(Vec<Compare>, u16),
}

/// A test of the first argument's lower 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Equal(u32),
    Below(u32),
    Above(u32),
    NoneOf(u32),
}

/// Numbers from `first` up to the next segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) first: u32,
    pub(super) verdict: Verdict,
}

/// The segments of one architecture, in order of number. Sections with a flag bit share their audit
/// value with the one before.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) audit: u32,
    pub(super) flag: u32,
    pub(super) segments: Vec<Segment>,
}

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_ABOVE: u16 = 0x25;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;
/// Lower half of the first argument; both supported machines are little-endian.
const OFFSET_ARGUMENT: u32 = 16;

const RET_ALLOW: u32 = 0x7fff_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_KILL_THREAD: u32 = 0;

/// The filter: one section per architecture, anything else is killed as the field's runtimes do.
pub(super) fn program(sections: &[Section]) -> Vec<Instruction> {
    let mut tail = vec![ret(RET_KILL_THREAD)];
    let mut sections = sections.to_vec();
    // From the back: each section in front jumps over itself to the rest when it is not meant.
    while let Some(section) = sections.pop() {
        if section.flag != 0 {
            // The same audit value: decided together with the section in front of it.
            let Some(plain) = sections.pop() else { break };
            let mut code = vec![plain_op(LOAD, OFFSET_NUMBER)];
            code.extend(branch(
                JUMP_AT_LEAST,
                section.flag,
                search(&plain.segments),
                search(&section.segments),
            ));
            tail = branch(JUMP_EQUAL, section.audit, tail, code);
        } else {
            let mut code = vec![plain_op(LOAD, OFFSET_NUMBER)];
            code.extend(search(&section.segments));
            tail = branch(JUMP_EQUAL, section.audit, tail, code);
        }
    }
    let mut program = vec![plain_op(LOAD, OFFSET_ARCHITECTURE)];
    program.extend(tail);
    program
}

/// Code that runs `yes` where the comparison holds for what is loaded, else `no`; both end by returning.
fn branch(
    code: u16,
    operand: u32,
    no: Vec<Instruction>,
    yes: Vec<Instruction>,
) -> Vec<Instruction> {
    let mut result = match u8::try_from(no.len()) {
        Ok(skip) => vec![Instruction {
            code,
            jump_true: skip,
            jump_false: 0,
            operand,
        }],
        Err(_) => vec![
            Instruction {
                code,
                jump_true: 0,
                jump_false: 1,
                operand,
            },
            plain_op(JUMP, u32::try_from(no.len()).unwrap_or(u32::MAX)),
        ],
    };
    result.extend(no);
    result.extend(yes);
    result
}

fn search(segments: &[Segment]) -> Vec<Instruction> {
    match segments {
        [] => vec![ret(RET_KILL_THREAD)],
        [segment] => verdict(&segment.verdict),
        _ => {
            let (low, high) = segments.split_at(segments.len() / 2);
            let boundary = high.first().map_or(0, |segment| segment.first);
            branch(JUMP_AT_LEAST, boundary, search(low), search(high))
        }
    }
}

fn verdict(verdict: &Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Allow => vec![ret(RET_ALLOW)],
        Verdict::Errno(errno) => vec![ret(RET_ERRNO | u32::from(*errno))],
        Verdict::AllowIf(compares, errno) => {
            let mut code = vec![ret(RET_ERRNO | u32::from(*errno))];
            for compare in compares.iter().rev() {
                let allow = vec![ret(RET_ALLOW)];
                code = match *compare {
                    Compare::Equal(value) => branch(JUMP_EQUAL, value, code, allow),
                    Compare::Above(value) => branch(JUMP_ABOVE, value, code, allow),
                    Compare::Below(value) => branch(JUMP_AT_LEAST, value, allow, code),
                    Compare::NoneOf(mask) => branch(JUMP_ANY_BIT, mask, allow, code),
                };
            }
            code.insert(0, plain_op(LOAD, OFFSET_ARGUMENT));
            code
        }
    }
}

fn plain_op(code: u16, operand: u32) -> Instruction {
    Instruction {
        code,
        jump_true: 0,
        jump_false: 0,
        operand,
    }
}

fn ret(value: u32) -> Instruction {
    plain_op(RETURN, value)
}

#[cfg(test)]
mod tests {
    use super::super::profile;
    use super::*;

    /// Runs the filter as the kernel would.
    fn run(program: &[Instruction], audit: u32, number: u32, argument: u64) -> u32 {
        let mut at = 0;
        let mut loaded = 0;
        loop {
            let op = program[at];
            at += 1;
            let test = match op.code {
                LOAD => {
                    loaded = match op.operand {
                        OFFSET_NUMBER => number,
                        OFFSET_ARCHITECTURE => audit,
                        OFFSET_ARGUMENT => argument as u32,
                        other => panic!("offset {other}"),
                    };
                    continue;
                }
                JUMP => {
                    at += op.operand as usize;
                    continue;
                }
                RETURN => return op.operand,
                JUMP_EQUAL => loaded == op.operand,
                JUMP_ABOVE => loaded > op.operand,
                JUMP_AT_LEAST => loaded >= op.operand,
                JUMP_ANY_BIT => loaded & op.operand != 0,
                other => panic!("code {other}"),
            };
            at += usize::from(if test { op.jump_true } else { op.jump_false });
        }
    }

    const EPERM: u32 = RET_ERRNO | 1;
    const ENOSYS: u32 = RET_ERRNO | 38;
    const X86_64: u32 = 0xc000_003e;
    const I386: u32 = 0x4000_0003;
    const X32: u32 = 0x4000_0000;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_default_profile_decides_as_the_field_does() {
        let program = program(&profile::sections());
        assert!(program.len() < 4096, "{} instructions", program.len());
        let check = |audit, number, argument, expected| {
            let seen = run(&program, audit, number, argument);
            assert_eq!(seen, expected, "{audit:x} {number} {argument:x}");
        };
        check(X86_64, 0, 0, RET_ALLOW); // read
        check(X86_64, 59, 0, RET_ALLOW); // execve
        check(X86_64, 161, 0, RET_ALLOW); // chroot
        check(X86_64, 165, 0, EPERM); // mount
        check(X86_64, 272, 0, EPERM); // unshare
        check(X86_64, 250, 0, EPERM); // keyctl
        check(X86_64, 435, 0, ENOSYS); // clone3
        check(X86_64, 466, 0, RET_ALLOW); // removexattrat
        check(X86_64, 600, 0, ENOSYS); // newer than the profile
        check(X86_64, 56, 17, RET_ALLOW); // clone, SIGCHLD
        check(X86_64, 56, 0x1000_0000, EPERM); // clone, CLONE_NEWUSER
        check(X86_64, 41, 2, RET_ALLOW); // socket, AF_INET
        check(X86_64, 41, 38, EPERM); // socket, AF_ALG
        check(X86_64, 41, 39, RET_ALLOW);
        check(X86_64, 41, 40, EPERM); // socket, AF_VSOCK
        check(X86_64, 41, (1 << 32) | 38, EPERM); // AF_ALG behind a set upper half
        check(X86_64, 41, 44, RET_ALLOW);
        check(X86_64, 135, 8, RET_ALLOW); // personality
        check(X86_64, 135, 0x4_0000, EPERM);
        check(X86_64, X32 | 59, 0, EPERM); // x32 has an execve of its own
        check(X86_64, X32 | 520, 0, RET_ALLOW); // and here it is
        check(X86_64, X32 | 165, 0, EPERM);
        check(I386, 11, 0, RET_ALLOW); // execve
        check(I386, 21, 0, EPERM); // mount
        check(I386, 102, 0, RET_ALLOW); // socketcall
        check(I386, 359, 40, EPERM); // socket
        check(0x8000_0016, 1, 0, RET_KILL_THREAD); // s390x
    }
}
