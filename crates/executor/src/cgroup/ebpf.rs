//! Device rules for cgroup v2, which wants them as an eBPF program.

use crate::DeviceKind as Kind;
use crate::view::devices::Rule;

const BLOCK: u32 = 1;
const CHARACTER: u32 = 2;

// Registers.
const R0: u64 = 0;
const R1: u64 = 1;
const TYPE: u64 = 2;
const ACCESS: u64 = 3;
const MAJOR: u64 = 4;
const MINOR: u64 = 5;
const SCRATCH: u64 = 6;

// Operations.
const LOAD_WORD: u64 = 0x61;
const MOVE: u64 = 0xbc;
const MOVE_CONSTANT: u64 = 0xb4;
const AND_CONSTANT: u64 = 0x54;
const SHIFT_RIGHT: u64 = 0x74;
const JUMP_NOT_EQUAL: u64 = 0x56;
const JUMP_ANY_BIT: u64 = 0x46;
const EXIT: u64 = 0x95;

/// A program that allows what one of the rules grants, as 8-byte instructions.
pub(crate) fn program(rules: &[Rule]) -> Vec<u64> {
    // The context has three words: type in the lower half of the first and access in the upper, numbers.
    let mut code = vec![
        op(LOAD_WORD, TYPE, R1, 0, 0),
        op(MOVE, ACCESS, TYPE, 0, 0),
        op(AND_CONSTANT, TYPE, 0, 0, 0xffff),
        op(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        op(LOAD_WORD, MAJOR, R1, 4, 0),
        op(LOAD_WORD, MINOR, R1, 8, 0),
    ];
    for rule in rules {
        code.extend(grant(rule));
    }
    code.extend([op(MOVE_CONSTANT, R0, 0, 0, 0), op(EXIT, 0, 0, 0, 0)]);
    code
}

fn grant(rule: &Rule) -> Vec<u64> {
    let kind = match rule.kind {
        Kind::Character => CHARACTER,
        Kind::Block => BLOCK,
    };
    let numbers = [(MAJOR, rule.major), (MINOR, rule.minor)];
    let checks: Vec<(u64, u32)> = numbers
        .into_iter()
        .filter_map(|(register, number)| Some((register, number?)))
        .collect();

    // Every failed check jumps to behind this rule: over what is left of it.
    let length = 1 + 2 + checks.len() as u64 + 2;
    let mut code = Vec::new();
    let over = |code: &Vec<u64>| length - 1 - code.len() as u64;
    code.push(op(JUMP_NOT_EQUAL, TYPE, 0, over(&code), kind));
    code.push(op(MOVE, SCRATCH, ACCESS, 0, 0));
    code.push(op(
        JUMP_ANY_BIT,
        SCRATCH,
        0,
        over(&code),
        !access_bits(&rule.access),
    ));
    for (register, number) in checks {
        code.push(op(JUMP_NOT_EQUAL, register, 0, over(&code), number));
    }
    code.extend([op(MOVE_CONSTANT, R0, 0, 0, 1), op(EXIT, 0, 0, 0, 0)]);
    code
}

fn access_bits(access: &str) -> u32 {
    let bit = |letter, bit| if access.contains(letter) { bit } else { 0 };
    bit('m', 1) | bit('r', 2) | bit('w', 4)
}

fn op(code: u64, destination: u64, source: u64, offset: u64, immediate: u32) -> u64 {
    code | destination << 8 | source << 12 | offset << 16 | u64::from(immediate) << 32
}
