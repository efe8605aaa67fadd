//! From a policy to a classic BPF program: a balanced tree over ranges of call numbers.
//!
//! ```text
//! load arch ─ not ours ─▶ kill
//! load nr ─▶ tree of `nr >= border?` ─▶ a verdict, or a jump to one of the argument checks,
//!                                       which stand behind the tree, once per rule
//! ```
//!
//! Borders lie only where the verdict changes, and a rule's check is shared by its calls.
//! Refuses a program that is longer than [`MAX_INSTRUCTIONS`] or whose way to a verdict without
//! arguments is longer than [`MAX_DEPTH`]: installation is paid by depth, once per call number.

use super::numbers::{Arch, TABLE, number};
use super::policy::{Condition, Policy, PolicyError, Rule, Verdict};

/// One instruction as the kernel takes it.
pub use libc::sock_filter as SockFilter;

/// Most instructions of a program; the kernel's own bound is 4096.
pub const MAX_INSTRUCTIONS: usize = 1024;

/// Most instructions on the way to a verdict that needs no argument.
pub const MAX_DEPTH: usize = 16;

/// The offsets of `struct seccomp_data`: nr, arch, instruction pointer, six arguments.
const NR_OFFSET: u32 = 0;
const ARCH_OFFSET: u32 = 4;
const ARGS_OFFSET: u32 = 16;

/// Numbers from here on are x32's on x86-64, up to where negative numbers begin.
const X32_FIRST: u32 = 0x4000_0000;
const NEGATIVE_FIRST: u32 = 0x8000_0000;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const IF_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
/// Keeps the number for the two that follow.
const KEEP: u16 = (libc::BPF_MISC | libc::BPF_TAX) as u16;
const IF_ABOVE_KEPT: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_X) as u16;
const IF_KEPT: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_X) as u16;

/// A compiled policy: what the installing call hands to the kernel.
#[derive(Debug, Clone)]
pub struct Program {
    instructions: Vec<SockFilter>,
    depth: usize,
}

impl Program {
    /// The instructions, in order, for a `sock_fprog`. Never empty, at most
    /// [`MAX_INSTRUCTIONS`].
    pub fn instructions(&self) -> &[SockFilter] {
        &self.instructions
    }

    /// Instructions on the longest way to a verdict that needs no argument.
    pub fn depth(&self) -> usize {
        self.depth
    }
}

/// Compiles `policy` for `arch`.
///
/// Calls that `arch` does not have are left out. Calls through another entry of the processor
/// (i386, 32-bit Arm) and x32 numbers are killed, whatever the policy says.
/// Errors: [`PolicyError::TooLarge`].
pub fn compile(policy: &Policy, arch: Arch) -> Result<Program, PolicyError> {
    let ranges = ranges(policy, arch);
    let checks: Vec<usize> = checked_rules(&ranges);
    let mut tree = Vec::new();
    let tree_depth = emit_tree(&mut tree, &ranges);

    let mut out = vec![
        step(LOAD, ARCH_OFFSET),
        branch(IF_EQUAL, arch.audit_value(), 1, 0),
        step(RETURN, verdict_value(Verdict::Kill)),
        step(LOAD, NR_OFFSET),
    ];
    let head = out.len();
    // Checks stand behind the tree, so their places are known once each is emitted.
    let mut tail = Vec::new();
    let mut places = Vec::with_capacity(checks.len());
    for rule in &checks {
        places.push(head + tree.len() + tail.len());
        emit_rule(&mut tail, &policy.rules()[*rule]);
    }
    for (at, node) in tree.iter().enumerate() {
        out.push(match node {
            Node::Step(filter) => *filter,
            Node::Check(rule) => {
                let place = checks.iter().position(|check| check == rule);
                let place = places[place.expect("every checked rule of the ranges was emitted")];
                step(JUMP, (place - (head + at) - 1) as u32)
            }
        });
    }
    out.append(&mut tail);

    let depth = head - 1 + tree_depth;
    within(
        policy,
        "the number of instructions",
        out.len(),
        MAX_INSTRUCTIONS,
    )?;
    within(policy, "the depth", depth, MAX_DEPTH)?;
    Ok(Program {
        instructions: out,
        depth,
    })
}

fn within(
    policy: &Policy,
    what: &'static str,
    found: usize,
    limit: usize,
) -> Result<(), PolicyError> {
    if found <= limit {
        return Ok(());
    }
    Err(PolicyError::TooLarge {
        policy: policy.name().to_owned(),
        what,
        found,
        limit,
    })
}

/// How a call number ends: at once, or by the check of the rule at this index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Verdict(Verdict),
    Check(usize),
}

/// All numbers from `first` up to the next range's.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: u32,
    leaf: Leaf,
}

/// The whole 32-bit number space, cut where the answer changes.
fn ranges(policy: &Policy, arch: Arch) -> Vec<Range> {
    let default = Leaf::Verdict(policy.default());
    let last = TABLE
        .iter()
        .filter_map(|row| number(row.0, arch))
        .max()
        .unwrap_or(0);
    let mut leaves = vec![default; last as usize + 1];
    for (index, rule) in policy.rules().iter().enumerate() {
        let leaf = match rule.cases.is_empty() {
            true => Leaf::Verdict(rule.otherwise),
            false => Leaf::Check(index),
        };
        for nr in rule.calls.iter().filter_map(|call| number(call, arch)) {
            leaves[nr as usize] = leaf;
        }
    }
    let mut cut: Vec<Range> = Vec::new();
    let mut append = |first: u32, leaf: Leaf| {
        if cut.last().is_none_or(|range| range.leaf != leaf) {
            cut.push(Range { first, leaf });
        }
    };
    for (nr, leaf) in (0..).zip(leaves) {
        append(nr, leaf);
    }
    append(last + 1, default);
    if arch == Arch::X86_64 {
        append(X32_FIRST, Leaf::Verdict(Verdict::Kill));
        // A tracer writes -1 to skip a call, and programs probe with it: no x32 call, not killed.
        append(NEGATIVE_FIRST, default);
    }
    cut
}

fn checked_rules(ranges: &[Range]) -> Vec<usize> {
    let mut rules = Vec::new();
    for range in ranges {
        if let Leaf::Check(rule) = range.leaf
            && !rules.contains(&rule)
        {
            rules.push(rule);
        }
    }
    rules
}

/// An instruction of the tree; a jump to a check is filled in when its place is known.
#[derive(Debug, Clone, Copy)]
enum Node {
    Step(SockFilter),
    Check(usize),
}

/// Emits the search for `ranges`, which is not empty; returns the longest way through it.
fn emit_tree(out: &mut Vec<Node>, ranges: &[Range]) -> usize {
    if let [range] = ranges {
        out.push(match range.leaf {
            Leaf::Verdict(verdict) => Node::Step(step(RETURN, verdict_value(verdict))),
            Leaf::Check(rule) => Node::Check(rule),
        });
        return 1;
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let mut low_nodes = Vec::new();
    let low_depth = emit_tree(&mut low_nodes, low);
    let border = high[0].first;
    // A conditional jump reaches 255 instructions; beyond, it jumps over a jump that reaches all.
    let extra = match u8::try_from(low_nodes.len()) {
        Ok(reach) => {
            out.push(Node::Step(branch(IF_AT_LEAST, border, reach, 0)));
            1
        }
        Err(_) => {
            out.push(Node::Step(branch(IF_AT_LEAST, border, 0, 1)));
            out.push(Node::Step(step(JUMP, low_nodes.len() as u32)));
            2
        }
    };
    out.append(&mut low_nodes);
    let high_depth = emit_tree(out, high);
    (1 + low_depth).max(extra + high_depth)
}

/// Emits the cases of `rule` in order, then its answer to all else.
fn emit_rule(out: &mut Vec<SockFilter>, rule: &Rule) {
    for case in &rule.cases {
        let conditions: Vec<Vec<SockFilter>> = case.when.iter().map(emit_condition).collect();
        for (index, condition) in conditions.iter().enumerate() {
            out.extend_from_slice(condition);
            // Reached when the condition fails: over the conditions left, and the verdict.
            let rest: usize = conditions[index + 1..].iter().map(|c| c.len() + 1).sum();
            out.push(step(JUMP, rest as u32 + 1));
        }
        out.push(step(RETURN, verdict_value(case.then)));
    }
    out.push(step(RETURN, verdict_value(rule.otherwise)));
}

/// Emits one condition: falls through to the next instruction when it fails, skips exactly that
/// one when it holds.
fn emit_condition(condition: &Condition) -> Vec<SockFilter> {
    match condition {
        Condition::Has { argument, bits } => {
            vec![load_argument(*argument), branch(IF_ANY_BIT, *bits, 1, 0)]
        }
        Condition::Given { argument } => {
            let low = load_argument(*argument);
            vec![
                low,
                branch(IF_EQUAL, 0, 0, 3),
                step(LOAD, low.k + 4),
                branch(IF_EQUAL, 0, 0, 1),
            ]
        }
        Condition::Above { argument, other } => {
            let (low, low_other) = (load_argument(*argument), load_argument(*other));
            vec![
                step(LOAD, low_other.k + 4),
                step(KEEP, 0),
                step(LOAD, low.k + 4),
                branch(IF_ABOVE_KEPT, 0, 6, 0),
                branch(IF_KEPT, 0, 0, 4),
                low_other,
                step(KEEP, 0),
                low,
                branch(IF_ABOVE_KEPT, 0, 1, 0),
            ]
        }
        Condition::Is {
            argument,
            mask,
            values,
        } => {
            let mut out = vec![load_argument(*argument)];
            if *mask != u32::MAX {
                out.push(step(AND, *mask));
            }
            for (index, value) in values.iter().enumerate() {
                let left = values.len() - index;
                let reach = u8::try_from(left)
                    .expect("the reader refuses conditions of more than 255 values");
                out.push(branch(IF_EQUAL, *value, reach, 0));
            }
            out
        }
    }
}

/// The low half of an argument; both processors are little-endian.
fn load_argument(argument: u8) -> SockFilter {
    step(LOAD, ARGS_OFFSET + 8 * u32::from(argument))
}

fn step(code: u16, k: u32) -> SockFilter {
    SockFilter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> SockFilter {
    SockFilter { code, jt, jf, k }
}

/// What the kernel reads as this verdict.
pub(super) fn verdict_value(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Allow => libc::SECCOMP_RET_ALLOW,
        Verdict::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        Verdict::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::super::interpret::{Call, run};
    use super::super::{Embedded, Policy};
    use super::*;
    use proptest::prelude::*;

    const BOTH: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

    fn policy(embedded: Embedded) -> Policy {
        embedded
            .policy()
            .expect("embedded policies are well formed")
    }

    fn agree(policy: &Policy, program: &Program, arch: Arch, call: Call) {
        let expected = verdict_value(policy.verdict(arch, call.arch, call.nr, &call.args));
        let (found, _) = run(program.instructions(), &call).expect("a program ends in a verdict");
        assert_eq!(found, expected, "{} on {arch:?}: {call:x?}", policy.name());
    }

    /// Numbers that argument checks compare with, so that random arguments meet them.
    fn interesting(policy: &Policy) -> Vec<u32> {
        let mut values = vec![0, 1, u32::MAX, 0x8_0000, 0x800, 0xf000];
        let conditions = policy
            .rules()
            .iter()
            .flat_map(|r| &r.cases)
            .flat_map(|c| &c.when);
        for condition in conditions {
            match condition {
                Condition::Is { values: listed, .. } => values.extend(listed),
                Condition::Has { bits, .. } => values.push(*bits),
                Condition::Given { .. } | Condition::Above { .. } => {}
            }
        }
        values
    }

    #[test]
    fn every_number_answers_as_the_policy_reads() {
        for embedded in Embedded::ALL {
            let policy = policy(embedded);
            for arch in BOTH {
                let program = compile(&policy, arch).unwrap();
                let audit = arch.audit_value();
                let far = [X32_FIRST - 1, X32_FIRST, X32_FIRST + 39, NEGATIVE_FIRST - 1];
                let negative = [NEGATIVE_FIRST, u32::MAX - 1, u32::MAX];
                for nr in (0..1024).chain(far).chain(negative) {
                    agree(
                        &policy,
                        &program,
                        arch,
                        Call {
                            nr,
                            arch: audit,
                            args: [0; 6],
                        },
                    );
                }
                // Only calls whose arguments are checked can answer otherwise than above.
                let checked = policy.rules().iter().filter(|rule| !rule.cases.is_empty());
                let checked: Vec<u32> = checked
                    .flat_map(|r| &r.calls)
                    .filter_map(|c| number(c, arch))
                    .collect();
                for value in interesting(&policy) {
                    for &nr in &checked {
                        for argument in 0..3 {
                            let mut args = [0; 6];
                            args[argument] = u64::from(value);
                            // Alone, with pointers behind it, and with one whose low half is zero.
                            for pointer in [0, 1, 1 << 32] {
                                args[argument + 1..].fill(pointer);
                                agree(
                                    &policy,
                                    &program,
                                    arch,
                                    Call {
                                        nr,
                                        arch: audit,
                                        args,
                                    },
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn random_calls_answer_as_the_policy_reads(
            nr in 0u32..1024,
            picks in prop::array::uniform6((any::<prop::sample::Index>(), any::<u32>(), 0u8..4)),
        ) {
            let policy = policy(Embedded::Carried);
            let values = interesting(&policy);
            let mut args = [0u64; 6];
            for (slot, (index, noise, kind)) in args.iter_mut().zip(&picks) {
                let listed = values[index.index(values.len())];
                *slot = match kind {
                    0 => u64::from(listed),
                    1 => u64::from(listed | noise),
                    2 => u64::from(listed) | u64::from(*noise) << 32,
                    _ => u64::from(*noise),
                };
            }
            for arch in BOTH {
                let program = compile(&policy, arch).unwrap();
                agree(&policy, &program, arch, Call { nr, arch: arch.audit_value(), args });
            }
        }
    }

    #[test]
    fn other_entries_of_the_processor_are_killed() {
        const I386: u32 = 0x4000_0003;
        const ARM: u32 = 0x4000_0028;
        for arch in BOTH {
            let program = compile(&policy(Embedded::Instance), arch).unwrap();
            for foreign in [I386, ARM, 0, u32::MAX] {
                let call = Call {
                    nr: 1,
                    arch: foreign,
                    args: [0; 6],
                };
                let (found, _) = run(program.instructions(), &call).unwrap();
                assert_eq!(found, libc::SECCOMP_RET_KILL_PROCESS);
            }
        }
    }

    #[test]
    fn the_way_to_a_verdict_is_as_short_as_reported() {
        for embedded in Embedded::ALL {
            for arch in BOTH {
                let program = compile(&policy(embedded), arch).unwrap();
                let longest = (0..1024)
                    .chain([X32_FIRST, u32::MAX])
                    .filter_map(|nr| {
                        let call = Call {
                            nr,
                            arch: arch.audit_value(),
                            args: [0; 6],
                        };
                        let (_, walk) = run(program.instructions(), &call)?;
                        (!walk.read_arguments).then_some(walk.steps)
                    })
                    .max();
                assert!(longest.unwrap() <= program.depth(), "{embedded:?} {arch:?}");
                println!(
                    "{embedded:?} {arch:?}: {} instructions, depth {}",
                    program.instructions().len(),
                    program.depth()
                );
            }
        }
    }

    #[test]
    fn a_policy_with_far_jumps_still_answers_right() {
        // Every second call allowed: as many borders as there can be, so the tree is larger than
        // a conditional jump reaches.
        let names: Vec<String> = TABLE
            .iter()
            .filter(|row| row.1 % 2 == 0)
            .map(|row| format!("{:?}", row.0))
            .collect();
        let text = format!(
            r#"{{"name": "striped", "about": "t", "default": "EPERM",
                "rules": [{{"calls": [{}], "then": "allow", "why": "t"}}]}}"#,
            names.join(",")
        );
        let policy = Policy::from_json(&text).unwrap();
        let program = compile(&policy, Arch::X86_64).unwrap();
        assert!(program.instructions().len() > 600);
        for nr in 0..1024 {
            let arch = Arch::X86_64.audit_value();
            agree(
                &policy,
                &program,
                Arch::X86_64,
                Call {
                    nr,
                    arch,
                    args: [0; 6],
                },
            );
        }
    }

    #[test]
    fn a_program_beyond_the_bound_is_refused() {
        let rules: Vec<String> = (0..60)
            .map(|rule| {
                let values: Vec<String> = (0..20).map(|v| v.to_string()).collect();
                format!(
                    r#"{{"calls": [{:?}], "then": "EPERM", "why": "t", "cases": [{{"when": [{{"arg": 0, "is": [{}]}}], "then": "allow"}}]}}"#,
                    TABLE[rule].0,
                    values.join(",")
                )
            })
            .collect();
        let text = format!(
            r#"{{"name": "long", "about": "t", "default": "EPERM", "rules": [{}]}}"#,
            rules.join(",")
        );
        let policy = Policy::from_json(&text).unwrap();
        let refusal = compile(&policy, Arch::X86_64)
            .expect_err("too long")
            .to_string();
        assert!(refusal.contains("number of instructions"), "{refusal}");
    }
}
