//! A policy read and checked: which calls, under which arguments, end how.
//!
//! Everything in the file is resolved to numbers here, once, so that the compiler cannot fail on
//! a name. Refuses a call named twice, a name that no kernel knows, a rule without a reason, and
//! an argument check that could never be true.

use super::constants::{constant, errno};
use super::numbers::{Arch, is_known, number};
use serde::Deserialize;
use std::collections::HashSet;

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The kernel carries it out.
    Allow,
    /// It answers this errno without being looked at.
    Errno(u16),
    /// The whole process is killed with SIGSYS.
    Kill,
}

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not the JSON that a policy is.
    #[error("the policy is not well formed")]
    Malformed(#[source] serde_json::Error),
    /// A call that no supported kernel has: a misspelling.
    #[error("policy {policy}: no kernel has a call named {call}")]
    UnknownCall {
        /// Name of the policy.
        policy: String,
        /// The call as the file spells it.
        call: String,
    },
    /// A call that two rules speak of.
    #[error("policy {policy}: {call} is in two rules")]
    RepeatedCall {
        /// Name of the policy.
        policy: String,
        /// The call.
        call: String,
    },
    /// A constant or an errno that has no value here.
    #[error("policy {policy}: no value is known for {name}")]
    UnknownName {
        /// Name of the policy.
        policy: String,
        /// The constant as the file spells it.
        name: String,
    },
    /// A rule without calls, or without a reason.
    #[error("policy {policy}: rule {index} lacks {what}")]
    Incomplete {
        /// Name of the policy.
        policy: String,
        /// Position of the rule in the file, from 0.
        index: usize,
        /// What it lacks.
        what: &'static str,
    },
    /// A condition that no argument can meet, or that every argument meets.
    #[error("policy {policy}: rule {index} has a condition on argument {argument} that {fault}")]
    Condition {
        /// Name of the policy.
        policy: String,
        /// Position of the rule in the file, from 0.
        index: usize,
        /// Which argument, from 0.
        argument: u8,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The program is longer or deeper than the kernel or the start budget takes.
    #[error("policy {policy}: {what} is {found}, at most {limit}")]
    TooLarge {
        /// Name of the policy.
        policy: String,
        /// Which measure.
        what: &'static str,
        /// Its value.
        found: usize,
        /// Its limit.
        limit: usize,
    },
    /// This processor has no table of call numbers.
    #[error("no table of system calls for this processor")]
    NoArchitecture,
}

/// One check of one argument; of numbers the low 32 bits are compared.
///
/// Every number that a policy checks is an `int` or `unsigned int` to the kernel (socket
/// families, ioctl and prctl numbers, modes), or a word of which it reads the low half (clone's
/// flags), so bits above are dropped by it too and cannot smuggle anything past the check. A
/// pointer is only asked whether it is null, and a length whether it is larger than another; both
/// their halves are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// The masked argument is one of these.
    Is {
        argument: u8,
        mask: u32,
        values: Vec<u32>,
    },
    /// The argument has at least one of these bits.
    Has { argument: u8, bits: u32 },
    /// The argument is a pointer to something.
    Given { argument: u8 },
    /// The argument is a larger number than another one.
    Above { argument: u8, other: u8 },
}

/// All conditions hold: this is the verdict. The first such case of a rule decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) when: Vec<Condition>,
    pub(super) then: Verdict,
}

/// What becomes of a set of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) calls: Vec<String>,
    pub(super) cases: Vec<Case>,
    pub(super) otherwise: Verdict,
}

/// A checked policy, not yet bound to a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    name: String,
    default: Verdict,
    rules: Vec<Rule>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// Errors: all of [`PolicyError`] but those of compilation.
    pub fn from_json(text: &str) -> Result<Policy, PolicyError> {
        let file: PolicyFile = serde_json::from_str(text).map_err(PolicyError::Malformed)?;
        let reader = Reader { policy: &file.name };
        let mut seen = HashSet::new();
        let mut rules = Vec::with_capacity(file.rules.len());
        for (index, rule) in file.rules.iter().enumerate() {
            rules.push(reader.rule(index, rule, &mut seen)?);
        }
        Ok(Policy {
            default: reader.verdict(&file.default)?,
            rules,
            name: file.name,
        })
    }

    /// This policy, but for the calls that `over` has rules for, which are `over`'s.
    pub fn with(mut self, over: Policy) -> Policy {
        let named = |call: &String| over.rules.iter().any(|rule| rule.calls.contains(call));
        for rule in &mut self.rules {
            rule.calls.retain(|call| !named(call));
        }
        self.rules.retain(|rule| !rule.calls.is_empty());
        self.rules.extend(over.rules);
        self.name = over.name;
        self
    }

    /// The name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn default(&self) -> Verdict {
        self.default
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The policy read plainly, rule by rule: what a filter compiled from it must answer to the
    /// call `nr` that came in through the entry `audit_arch`.
    pub fn verdict(&self, arch: Arch, audit_arch: u32, nr: u32, args: &[u64; 6]) -> Verdict {
        const X32_BIT: u32 = 0x4000_0000;
        if audit_arch != arch.audit_value() {
            return Verdict::Kill;
        }
        if arch == Arch::X86_64 && nr & X32_BIT != 0 && nr < 0x8000_0000 {
            return Verdict::Kill;
        }
        let of_call = |rule: &&Rule| rule.calls.iter().any(|call| number(call, arch) == Some(nr));
        self.rules
            .iter()
            .find(of_call)
            .map_or(self.default, |rule| rule.verdict(args))
    }
}

impl Rule {
    fn verdict(&self, args: &[u64; 6]) -> Verdict {
        let case = self
            .cases
            .iter()
            .find(|case| case.when.iter().all(|c| c.holds(args)));
        case.map_or(self.otherwise, |case| case.then)
    }
}

impl Condition {
    fn holds(&self, args: &[u64; 6]) -> bool {
        let low = |argument: u8| (args[usize::from(argument)] & 0xFFFF_FFFF) as u32;
        match self {
            Condition::Is {
                argument,
                mask,
                values,
            } => values.contains(&(low(*argument) & mask)),
            Condition::Has { argument, bits } => low(*argument) & bits != 0,
            Condition::Given { argument } => args[usize::from(*argument)] != 0,
            Condition::Above { argument, other } => {
                args[usize::from(*argument)] > args[usize::from(*other)]
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    name: String,
    #[serde(rename = "about")]
    _about: String,
    default: String,
    rules: Vec<RuleFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    calls: Vec<String>,
    then: String,
    #[serde(default)]
    cases: Vec<CaseFile>,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    when: Vec<ConditionFile>,
    then: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionFile {
    arg: u8,
    mask: Option<ValueFile>,
    is: Option<Vec<ValueFile>>,
    has: Option<Vec<ValueFile>>,
    #[serde(default)]
    given: bool,
    above_arg: Option<u8>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ValueFile {
    Number(u32),
    Name(String),
}

struct Reader<'a> {
    policy: &'a str,
}

impl Reader<'_> {
    fn rule(
        &self,
        index: usize,
        rule: &RuleFile,
        seen: &mut HashSet<String>,
    ) -> Result<Rule, PolicyError> {
        let policy = || self.policy.to_owned();
        let lacks = |what| PolicyError::Incomplete {
            policy: policy(),
            index,
            what,
        };
        if rule.calls.is_empty() {
            return Err(lacks("calls"));
        }
        if rule.why.trim().is_empty() {
            return Err(lacks("a reason"));
        }
        for call in &rule.calls {
            if !is_known(call) {
                return Err(PolicyError::UnknownCall {
                    policy: policy(),
                    call: call.clone(),
                });
            }
            if !seen.insert(call.clone()) {
                return Err(PolicyError::RepeatedCall {
                    policy: policy(),
                    call: call.clone(),
                });
            }
        }
        let mut cases = Vec::with_capacity(rule.cases.len());
        for case in &rule.cases {
            if case.when.is_empty() {
                return Err(lacks("conditions in a case"));
            }
            let when = case
                .when
                .iter()
                .map(|c| self.condition(index, c))
                .collect::<Result<_, _>>();
            cases.push(Case {
                when: when?,
                then: self.verdict(&case.then)?,
            });
        }
        Ok(Rule {
            calls: rule.calls.clone(),
            cases,
            otherwise: self.verdict(&rule.then)?,
        })
    }

    fn condition(&self, index: usize, file: &ConditionFile) -> Result<Condition, PolicyError> {
        let argument = file.arg;
        let wrong = |fault| PolicyError::Condition {
            policy: self.policy.to_owned(),
            index,
            argument,
            fault,
        };
        if argument > 5 {
            return Err(wrong("no call has"));
        }
        let values = |list: &[ValueFile]| -> Result<Vec<u32>, PolicyError> {
            list.iter().map(|value| self.value(value)).collect()
        };
        if let Some(other) = file.above_arg {
            if other > 5 || other == argument {
                return Err(wrong("is compared with what is no other argument"));
            }
            if file.given || file.is.is_some() || file.has.is_some() || file.mask.is_some() {
                return Err(wrong("asks more of it than whether it is above another"));
            }
            return Ok(Condition::Above { argument, other });
        }
        match (&file.is, &file.has, &file.mask) {
            (None, None, None) if file.given => Ok(Condition::Given { argument }),
            _ if file.given => Err(wrong("asks of a pointer more than whether it is given")),
            (Some(is), None, mask) if !is.is_empty() => {
                let mask = mask
                    .as_ref()
                    .map_or(Ok(u32::MAX), |mask| self.value(mask))?;
                let values = values(is)?;
                if values.len() > usize::from(u8::MAX) {
                    return Err(wrong("lists more than 255 values"));
                }
                if values.iter().any(|value| value & !mask != 0) {
                    return Err(wrong("compares bits that its mask removes"));
                }
                Ok(Condition::Is {
                    argument,
                    mask,
                    values,
                })
            }
            (None, Some(has), None) => {
                let flags = values(has)?;
                let bits = flags.iter().fold(0, |all, bit| all | bit);
                if bits == 0 {
                    return Err(wrong("looks for no bit"));
                }
                Ok(Condition::Has { argument, bits })
            }
            _ => Err(wrong("is neither a list of values nor a set of bits")),
        }
    }

    fn verdict(&self, name: &str) -> Result<Verdict, PolicyError> {
        match name {
            "allow" => Ok(Verdict::Allow),
            "kill" => Ok(Verdict::Kill),
            _ => errno(name)
                .map(Verdict::Errno)
                .ok_or_else(|| self.unknown(name)),
        }
    }

    fn value(&self, value: &ValueFile) -> Result<u32, PolicyError> {
        match value {
            ValueFile::Number(number) => Ok(*number),
            ValueFile::Name(name) => match name.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16).map_err(|_| self.unknown(name)),
                None => constant(name).ok_or_else(|| self.unknown(name)),
            },
        }
    }

    fn unknown(&self, name: &str) -> PolicyError {
        PolicyError::UnknownName {
            policy: self.policy.to_owned(),
            name: name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(rules: &str) -> String {
        let text =
            format!(r#"{{"name": "t", "about": "test", "default": "ENOSYS", "rules": [{rules}]}}"#);
        Policy::from_json(&text)
            .expect_err("the policy is wrong")
            .to_string()
    }

    #[test]
    fn a_wrong_policy_is_refused_by_name() {
        let cases = [
            (
                r#"{"calls": ["raed"], "then": "allow", "why": "x"}"#,
                "no kernel has a call named raed",
            ),
            (
                r#"{"calls": ["read", "read"], "then": "allow", "why": "x"}"#,
                "read is in two rules",
            ),
            (
                r#"{"calls": ["read"], "then": "EWHAT", "why": "x"}"#,
                "no value is known for EWHAT",
            ),
            (
                r#"{"calls": ["read"], "then": "allow", "why": " "}"#,
                "rule 0 lacks a reason",
            ),
            (
                r#"{"calls": [], "then": "allow", "why": "x"}"#,
                "rule 0 lacks calls",
            ),
            (
                r#"{"calls": ["read"], "then": "allow", "why": "x", "cases": [{"when": [], "then": "EPERM"}]}"#,
                "lacks conditions",
            ),
            (
                r#"{"calls": ["read"], "then": "allow", "why": "x", "cases": [{"when": [{"arg": 6, "is": [1]}], "then": "EPERM"}]}"#,
                "argument 6 that no call has",
            ),
            (
                r#"{"calls": ["read"], "then": "allow", "why": "x", "cases": [{"when": [{"arg": 1, "mask": 15, "is": [16]}], "then": "EPERM"}]}"#,
                "compares bits that its mask removes",
            ),
            (
                r#"{"calls": ["read"], "then": "allow", "why": "x", "cases": [{"when": [{"arg": 1, "has": [0]}], "then": "EPERM"}]}"#,
                "looks for no bit",
            ),
            (
                r#"{"calls": ["read"], "then": "allow", "why": "x", "cases": [{"when": [{"arg": 1, "is": []}], "then": "EPERM"}]}"#,
                "neither a list of values nor a set of bits",
            ),
            (
                r#"{"calls": ["read"], "then": "allow", "why": "x", "cases": [{"when": [{"arg": 1, "is": ["AF_NOWHERE"]}], "then": "EPERM"}]}"#,
                "no value is known for AF_NOWHERE",
            ),
            (
                r#"{"calls": ["read"], "then": "allow", "why": "x", "cases": [{"when": [{"arg": 1, "is": [1], "given": true}], "then": "EPERM"}]}"#,
                "asks of a pointer more than whether it is given",
            ),
            (
                r#"{"calls": ["read"], "then": "allow", "why": "x", "cases": [{"when": [{"arg": 1, "above_arg": 1}], "then": "EPERM"}]}"#,
                "compared with what is no other argument",
            ),
            (
                r#"{"calls": ["read"], "then": "allow", "why": "x", "cases": [{"when": [{"arg": 1, "above_arg": 2, "is": [1]}], "then": "EPERM"}]}"#,
                "asks more of it than whether it is above another",
            ),
            (
                r#"{"calls": ["read"], "then": "allow", "why": "x", "extra": 1}"#,
                "not well formed",
            ),
        ];
        for (rules, expected) in cases {
            let text = refusal(rules);
            assert!(text.contains(expected), "{text:?} should say {expected:?}");
        }
    }

    #[test]
    fn high_words_do_not_change_a_verdict() {
        let policy = Policy::from_json(super::super::Embedded::Instance.text()).unwrap();
        let clone = number("clone", Arch::X86_64).unwrap();
        let audit = Arch::X86_64.audit_value();
        let ask = |flags| policy.verdict(Arch::X86_64, audit, clone, &[flags, 0, 0, 0, 0, 0]);
        assert_eq!(ask(0x1000_0011), Verdict::Errno(1));
        assert_eq!(ask(0xFFFF_FFFF_1000_0011), Verdict::Errno(1));
        assert_eq!(ask(0x11), Verdict::Allow);
    }

    #[test]
    fn what_is_laid_over_a_policy_takes_the_place_of_its_rules() {
        let carried = super::super::Embedded::Carried.policy().unwrap();
        let instance = super::super::Embedded::Instance.policy().unwrap();
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let ask = |policy: &Policy, call: &str, advice: u64| {
                let nr = number(call, arch).unwrap();
                policy.verdict(arch, arch.audit_value(), nr, &[0, 0, advice, 0, 0, 0])
            };
            for forbidden in [4, 24, 25, 102] {
                assert_eq!(ask(&instance, "madvise", forbidden), Verdict::Allow);
                assert_ne!(ask(&carried, "madvise", forbidden), Verdict::Allow);
            }
            let resize = |policy: &Policy, old: u64, new: u64, flags: u64| {
                let nr = number("mremap", arch).unwrap();
                policy.verdict(arch, arch.audit_value(), nr, &[0, old, new, flags, 0, 0])
            };
            const LARGE: u64 = 1 << 32;
            for (old, new) in [(1, 2), (1, LARGE), (LARGE + 2, 2 * LARGE + 1)] {
                assert_eq!(resize(&instance, old, new, 1), Verdict::Allow);
                assert_eq!(resize(&carried, old, new, 1), Verdict::Errno(12));
                assert_eq!(resize(&carried, new, old, 1), Verdict::Allow);
                assert_eq!(resize(&carried, new, new, 1), Verdict::Allow);
            }
            assert_eq!(resize(&carried, 1, 1, 5), Verdict::Errno(22));
            let restricting = [
                "landlock_create_ruleset",
                "landlock_add_rule",
                "landlock_restrict_self",
            ];
            for call in restricting {
                assert_eq!(ask(&instance, call, 0), Verdict::Allow, "{call}");
                assert_eq!(ask(&carried, call, 0), Verdict::Errno(95), "{call}");
            }
            let restricting = restricting.map(|call| number(call, arch).unwrap());
            for nr in (0..1024).filter(|nr| !restricting.contains(nr)) {
                let all = |policy: &Policy| policy.verdict(arch, arch.audit_value(), nr, &[0; 6]);
                assert_eq!(all(&carried), all(&instance), "{nr}");
            }
        }
    }

    #[test]
    fn a_dumper_traces_and_starts_names_and_speaks_to_nobody() {
        let dump = super::super::Embedded::Dump.policy().unwrap();
        let shut = [
            "execve",
            "execveat",
            "fork",
            "vfork",
            "clone",
            "clone3",
            "socket",
            "connect",
            "bind",
            "accept4",
            "recvmsg",
            "write",
            "writev",
            "mount",
            "move_mount",
            "unshare",
            "setns",
            "kill",
            "pidfd_open",
            "pidfd_getfd",
            "process_vm_writev",
            "bpf",
            "io_uring_setup",
            "memfd_create",
            "unlinkat",
            "renameat2",
            "mkdirat",
            "setuid",
            "capset",
            "prctl",
            "ioctl",
        ];
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let ask = |call: &str, first: u64, second: u64| {
                let nr = number(call, arch)?;
                let args = [first, second, 0, 0, 0, 0];
                Some(dump.verdict(arch, arch.audit_value(), nr, &args))
            };
            for call in shut {
                assert_ne!(ask(call, 0, 0), Some(Verdict::Allow), "{call}");
            }
            let (seize, trace_me, poke_text, attach, list_of_calls) = (0x4206, 0, 4, 16, 0x420c);
            assert_eq!(ask("ptrace", seize, 0), Some(Verdict::Allow));
            for request in [trace_me, poke_text, attach, list_of_calls] {
                assert_eq!(ask("ptrace", request, 0), Some(Verdict::Errno(1)));
            }
            let (descriptor_owner, dup) = (8, 1030);
            assert_eq!(ask("fcntl", 3, dup), Some(Verdict::Allow));
            assert_eq!(ask("fcntl", 3, descriptor_owner), Some(Verdict::Errno(1)));
        }
    }

    /// A guest's core limit is 1, of which alone the kernel keeps a piped core handler of the host
    /// from running: it may be read, and set to nothing.
    #[test]
    fn the_core_limit_can_be_read_and_not_set() {
        let policy = Policy::from_json(super::super::Embedded::Instance.text()).unwrap();
        let (core, files) = (4, 7);
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let ask = |call, args: [u64; 4]| {
                let [a, b, c, d] = args;
                let nr = number(call, arch).unwrap();
                policy.verdict(arch, arch.audit_value(), nr, &[a, b, c, d, 0, 0])
            };
            let refused = Verdict::Errno(22);
            assert_eq!(ask("prlimit64", [0, core, 0, 0x1000]), Verdict::Allow);
            assert_eq!(ask("prlimit64", [0, core, 0x1000, 0]), refused);
            assert_eq!(ask("prlimit64", [0, core, 0x7fff_0000_0000, 0]), refused);
            assert_eq!(ask("prlimit64", [0, core | 1 << 32, 1, 0]), refused);
            assert_eq!(ask("prlimit64", [0, files, 0x1000, 0]), Verdict::Allow);
            assert_eq!(ask("setrlimit", [core, 0x1000, 0, 0]), refused);
            assert_eq!(ask("setrlimit", [files, 0x1000, 0, 0]), Verdict::Allow);
            assert_eq!(ask("getrlimit", [core, 0x1000, 0, 0]), Verdict::Allow);
        }
    }
}
