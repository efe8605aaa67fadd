//! The audit trail's lines: who asked for what, from where, and what came of it.
//!
//! A line stands for one call that changed something, or tried to, or was denied. It holds names,
//! never a payload or a secret: every text in it is an [`AuditText`], which is bounded and holds no
//! character that could move a terminal's cursor.

use crate::{
    ids::{FunctionName, InstanceId, InvocationId, TenantId},
    principal::Principal,
    time::Wall,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Bytes of one text of a line; what is longer is cut, and ends in `…`.
pub const AUDIT_TEXT_BYTES_MAX: usize = 512;

/// A text that strangers may have written: bounded, its control characters spelled out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuditText(String);

impl AuditText {
    /// `text` within [`AUDIT_TEXT_BYTES_MAX`], with C0 and C1 controls, line ends of every kind and
    /// the marks that turn the direction of writing as `\u{…}`.
    pub fn new(text: &str) -> Self {
        const ELLIPSIS: char = '…';
        let room = AUDIT_TEXT_BYTES_MAX - ELLIPSIS.len_utf8();
        let mut plain = String::with_capacity(text.len().min(AUDIT_TEXT_BYTES_MAX));
        for character in text.chars() {
            let before = plain.len();
            match is_unseen(character) {
                true => plain.extend(character.escape_unicode()),
                false => plain.push(character),
            }
            if plain.len() > room {
                plain.truncate(before);
                plain.push(ELLIPSIS);
                break;
            }
        }
        Self(plain)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AuditText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Who asked, as a line has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Asker {
    /// A long-lived key, by its id.
    Key {
        /// Whose.
        tenant: TenantId,
        /// Its id.
        key: AuditText,
    },
    /// An instance, by its session.
    Instance {
        /// Whose.
        tenant: TenantId,
        /// What it runs.
        function: FunctionName,
        /// Which.
        instance: InstanceId,
    },
    /// A service acting for a tenant's resource.
    Service {
        /// Whose.
        tenant: TenantId,
        /// The service.
        service: AuditText,
    },
    /// A part of the platform.
    Platform {
        /// Which.
        component: AuditText,
    },
    /// A key that the request named, known or not; nothing else of the request is believed.
    UnprovenKey {
        /// What stood there.
        key: AuditText,
    },
    /// Somebody who showed no key at all.
    Nobody,
    /// Several: the line counts calls.
    Several,
}

impl Asker {
    /// The one that a principal stands for.
    pub fn of(who: &Principal) -> Self {
        match who {
            Principal::Root { tenant, key } => Self::Key {
                tenant: tenant.clone(),
                key: AuditText::new(key),
            },
            Principal::Instance {
                tenant,
                function,
                instance,
                ..
            } => Self::Instance {
                tenant: tenant.clone(),
                function: function.clone(),
                instance: *instance,
            },
            Principal::Service { tenant, name, .. } => Self::Service {
                tenant: tenant.clone(),
                service: AuditText::new(name),
            },
            Principal::Platform { component } => Self::Platform {
                component: AuditText::new(component),
            },
            Principal::Anonymous => Self::Nobody,
        }
    }

    /// The tenant that it belongs to.
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Key { tenant, .. }
            | Self::Instance { tenant, .. }
            | Self::Service { tenant, .. } => Some(tenant),
            Self::Platform { .. } | Self::UnprovenKey { .. } | Self::Nobody | Self::Several => None,
        }
    }
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditResult {
    /// It was carried out.
    Ok,
    /// Whoever asked may not, or could not prove who it is.
    Denied,
    /// It was refused or went wrong, for another reason.
    Failed,
    /// The caller hung up, or the server was killed, before the end: it may have been carried out.
    Unheard,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// When the answer was ready.
    pub at: Wall,
    /// The request's id, which the caller was told as well; none on lines of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<InvocationId>,
    /// Whose line it is: of who asked and proved it; of the function whose URL refused; of whom the
    /// operator's call was about. The operator's alone without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Who asked.
    pub who: Asker,
    /// Whether a signature proved it. Without that, `who` is what the request said.
    pub proven: bool,
    /// The address that the connection came from; `instance` for the listener inside one.
    pub source: AuditText,
    /// What was asked, as policies write it.
    pub action: AuditText,
    /// Of what; empty where the action has no resource.
    pub resource: AuditText,
    /// What came of it.
    pub result: AuditResult,
    /// The error's type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<AuditText>,
    /// Calls that the line stands for: 1, or more where a flood of denied ones was counted.
    pub count: u64,
}

/// A part of the trail, which is kept, read and trimmed by itself: what one account does, or
/// strangers do, takes nothing of another's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuditLane {
    /// What the platform tells of itself: the operator's alone.
    Platform,
    /// Calls of which nothing is proven, and that are no account's either: the operator's alone.
    Unproven,
    /// An account's lines.
    Account(TenantId),
}

impl AuditLane {
    /// Where a line stands.
    pub fn of(line: &AuditLine) -> Self {
        match &line.tenant {
            Some(tenant) => Self::Account(tenant.clone()),
            None if line.proven => Self::Platform,
            None => Self::Unproven,
        }
    }
}

impl fmt::Display for AuditLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform => f.write_str("platform"),
            Self::Unproven => f.write_str("unproven"),
            Self::Account(tenant) => tenant.fmt(f),
        }
    }
}

impl FromStr for AuditLane {
    type Err = ();

    /// The opposite of its text, and of nothing else.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "platform" => Ok(Self::Platform),
            "unproven" => Ok(Self::Unproven),
            _ => text.parse().map(Self::Account).map_err(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_text_is_bounded_and_moves_no_cursor(text in any::<String>(), times in 1_usize..80) {
            let plain = AuditText::new(&text.repeat(times));
            prop_assert!(plain.as_str().len() <= AUDIT_TEXT_BYTES_MAX);
            prop_assert!(!plain.as_str().contains(is_unseen));
        }
    }

    #[test]
    fn a_text_says_what_it_hides_and_that_it_was_cut() {
        let check =
            |text: &str, expected: &str| assert_eq!(AuditText::new(text).as_str(), expected);
        check("f-1 ä 🙂", "f-1 ä 🙂");
        check("a\nb\r\u{1b}[2J", "a\\u{a}b\\u{d}\\u{1b}[2J");
        check("\u{202e}x\u{85}", "\\u{202e}x\\u{85}");
        let whole = "x".repeat(AUDIT_TEXT_BYTES_MAX - 3);
        check(&whole, &whole);
        check(&"x".repeat(AUDIT_TEXT_BYTES_MAX - 2), &format!("{whole}…"));
    }

    #[test]
    fn a_line_reads_as_it_was_written() {
        let tenant: TenantId = "111111111111".parse().unwrap();
        let line = AuditLine {
            at: Wall(7),
            request: Some(InvocationId(uuid::Uuid::from_u128(9))),
            tenant: Some(tenant.clone()),
            who: Asker::Key {
                tenant,
                key: AuditText::new("AKIA"),
            },
            proven: true,
            source: AuditText::new("127.0.0.1"),
            action: AuditText::new("a:B"),
            resource: AuditText::default(),
            result: AuditResult::Failed,
            error: Some(AuditText::new("X")),
            count: 1,
        };
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<AuditLine>(&text).unwrap(), line);
    }
}
