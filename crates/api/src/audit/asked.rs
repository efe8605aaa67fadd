//! What a request asks, as the trail names it: an action as policies write it, and its resource.

use crate::{
    arn::{Absent, function_arn, named, qualified_arn},
    gate::{SignedApi, SignedHead},
};
use freehold_domain::{
    FunctionRef, Principal, Region, TenantId,
    audit::{Asker, AuditText},
};
use freehold_identity::Presented;
use freehold_wire::{lambda, logs, sts};
use http::{Method, Uri, request::Parts, uri::PathAndQuery};
use serde::Deserialize;
use std::borrow::Cow;

/// Beginnings of the names of operations that change nothing; every other one may.
const READING: [&str; 6] = ["Get", "List", "Describe", "Filter", "Invoke", "Test"];
/// Beginnings of the names of changes that take no room, or give some back: they go on when the
/// disk is nearly full.
const ROOM_MAKING: [&str; 9] = [
    "Delete",
    "Disable",
    "PutFunctionConcurrency",
    "PutRetentionPolicy",
    "Reload",
    "Remove",
    "StartBackup",
    "Stop",
    "Untag",
];
/// Labels of paths that name what an operation is about, by weight.
const LABELS: [&str; 6] = [
    "FunctionName",
    "Resource",
    "LayerName",
    "UUID",
    "CodeSigningConfigArn",
    "CapacityProviderName",
];
/// A body whose signature is not proven is looked at up to this size, bytes.
const UNPROVEN_BODY_MAX: usize = 64 << 10;

/// What a request asks.
pub(super) struct Asked {
    pub(super) action: AuditText,
    pub(super) resource: AuditText,
    /// Whether it changes something, once it is carried out.
    pub(super) changes: bool,
}

impl Asked {
    /// Whether it writes something that was not there, for which the disk must have room.
    pub(super) fn takes_room(&self) -> bool {
        let action = self.action.as_str();
        let name = action.split_once(':').map_or(action, |(_, name)| name);
        self.changes && takes_room(name)
    }
}

fn takes_room(operation: &str) -> bool {
    !ROOM_MAKING.iter().any(|begin| operation.starts_with(begin))
}

/// A call that was refused, in the extensions of its answer.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(super) who: Asker,
    pub(super) proven: bool,
    pub(super) tenant: Option<TenantId>,
    pub(super) action: AuditText,
    pub(super) resource: AuditText,
}

impl Refused {
    /// At its head: nothing is known of who asked but the key that the request names.
    pub(crate) fn at_head(api: &SignedApi, parts: &Parts) -> Self {
        let who = match Presented::read(parts) {
            Ok(Some(presented)) => Asker::UnprovenKey {
                key: AuditText::new(&presented.access_key_id),
            },
            _ => Asker::Nobody,
        };
        let (action, _) = action(api, parts, b"");
        Self {
            who,
            proven: false,
            tenant: None,
            action,
            resource: AuditText::new(&label(api, parts).unwrap_or_default()),
        }
    }

    /// At a function's URL. The line is the tenant's of whoever asked, and where nobody is named
    /// the function's.
    pub(crate) fn at_url(who: &Principal, proven: bool, function: &FunctionRef) -> Self {
        let tenant = who.tenant().unwrap_or(&function.tenant).clone();
        Self {
            who: Asker::of(who),
            proven,
            tenant: Some(tenant),
            action: AuditText::new("lambda:InvokeFunctionUrl"),
            resource: AuditText::new(&function_arn(function)),
        }
    }
}

impl Asked {
    /// What a request asks whose signature is proven.
    pub(super) fn of(head: &SignedHead, parts: &Parts, body: &[u8]) -> Self {
        let (action, changes) = action(&head.api, parts, body);
        let resource = label(&head.api, parts).or_else(|| in_body(&head.api, body));
        let resource = resource.map(|text| full(head, text)).unwrap_or_default();
        Self {
            action,
            resource: AuditText::new(&resource),
            changes,
        }
    }

    /// The same where nothing is proven: nobody makes us read a large body for it.
    pub(super) fn unproven(head: &SignedHead, parts: &Parts, body: &[u8]) -> Self {
        let body = match body.len() > UNPROVEN_BODY_MAX {
            true => &b""[..],
            false => body,
        };
        Self::of(head, parts, body)
    }
}

/// What a plain invoke asks.
pub(super) fn invoke(head: &SignedHead, path: Option<&PathAndQuery>) -> (AuditText, AuditText) {
    let uri = path.map(|path| Uri::from(path.clone()));
    let found = uri.and_then(|uri| lambda::Operation::route(&Method::POST, &uri));
    let name = found.and_then(|found| found.labels.get("FunctionName").ok().flatten());
    let resource = name.map(|name| full(head, name)).unwrap_or_default();
    let action = AuditText::new("lambda:InvokeFunction");
    (action, AuditText::new(&resource))
}

/// The action, and whether it changes something.
fn action(api: &SignedApi, parts: &Parts, body: &[u8]) -> (AuditText, bool) {
    let (prefix, name): (&str, Option<Cow<'_, str>>) = match api {
        SignedApi::Lambda => {
            let found = lambda::Operation::route(&parts.method, &parts.uri);
            let name = found.map(|found| match found.operation {
                // Policies have another name for it.
                lambda::Operation::Invoke => "InvokeFunction",
                other => other.name(),
            });
            ("lambda", name.map(Cow::from))
        }
        SignedApi::Logs => {
            let found = logs::Operation::route(&parts.headers);
            ("logs", found.map(|found| found.name().into()))
        }
        SignedApi::Sts => {
            let found = sts::Operation::route(parts, body);
            ("sts", found.map(|found| found.name().into()))
        }
        SignedApi::Own(operation) => ("freehold", Some(operation.into())),
    };
    let changes = name.as_deref().is_some_and(changes);
    let name = name.as_deref().unwrap_or("*");
    (AuditText::new(&format!("{prefix}:{name}")), changes)
}

fn changes(operation: &str) -> bool {
    !READING.iter().any(|begin| operation.starts_with(begin))
}

/// What the path names.
fn label(api: &SignedApi, parts: &Parts) -> Option<String> {
    if *api != SignedApi::Lambda {
        return None;
    }
    let found = lambda::Operation::route(&parts.method, &parts.uri)?;
    LABELS
        .iter()
        .find_map(|name| found.labels.get(name).ok().flatten())
}

/// The members of bodies that name what an operation is about. Nothing else of a body is looked at.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Names<'a> {
    #[serde(borrow, rename = "FunctionName")]
    function: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "logGroupName", alias = "logGroupIdentifier")]
    group: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "TenantId")]
    tenant: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "AccessKeyId")]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "Name")]
    name: Option<Cow<'a, str>>,
}

fn in_body(api: &SignedApi, body: &[u8]) -> Option<String> {
    if *api == SignedApi::Sts {
        return None;
    }
    let names: Names<'_> = serde_json::from_slice(body).ok()?;
    let found = match api {
        SignedApi::Lambda => names.function,
        SignedApi::Logs => names.group,
        _ => names.key.or(names.tenant).or(names.name),
    };
    found.map(Cow::into_owned)
}

/// A function's or a log group's name in full, so that two tenants' lines never look alike; what
/// is no name stays as it was written.
fn full(head: &SignedHead, text: String) -> String {
    let Some(tenant) = head.claim.principal().tenant() else {
        return text;
    };
    let Ok(region) = head.presented.region.parse::<Region>() else {
        return text;
    };
    match &head.api {
        SignedApi::Logs if !text.starts_with("arn:") => {
            format!("arn:aws:logs:{region}:{tenant}:log-group:{text}")
        }
        SignedApi::Lambda => match named(&text, None, tenant, &region, Absent::AsGiven) {
            Ok(found) => match &found.qualifier {
                Some(qualifier) => qualified_arn(&found.function, qualifier),
                None => function_arn(&found.function),
            },
            Err(_) => text,
        },
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_to_read_counts_as_a_change() {
        let of = |name: &str| changes(name);
        for name in [
            "GetFunction",
            "ListTags",
            "Invoke",
            "DescribeLogGroups",
            "GetUsage",
            "GetBackupPiece",
        ] {
            assert!(!of(name), "{name}");
        }
        for name in [
            "CreateFunction",
            "TagResource",
            "PutRetentionPolicy",
            "RotateKey",
            "StartBackup",
            "StopBackup",
            "Nonsense",
        ] {
            assert!(of(name), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_to_make_room_takes_some() {
        for name in [
            "CreateFunction",
            "UpdateFunctionCode",
            "PutFunctionEventInvokeConfig",
            "TagResource",
            "CreateTenant",
            "EnableKey",
            "Nonsense",
        ] {
            assert!(takes_room(name), "{name}");
        }
        for name in [
            "DeleteFunction",
            "DeleteLogGroup",
            "RemovePermission",
            "UntagResource",
            "PutFunctionConcurrency",
            "PutRetentionPolicy",
            "DisableTenant",
            "StartBackup",
            "StopBackup",
        ] {
            assert!(!takes_room(name), "{name}");
        }
    }

    #[test]
    fn only_names_are_taken_out_of_a_body() {
        let lambda = |body: &str| in_body(&SignedApi::Lambda, body.as_bytes());
        let body = r#"{"Environment":{"Variables":{"FunctionName":"secret"}},"Code":{"ZipFile":"eA=="},"FunctionName":"f\u0041"}"#;
        assert_eq!(lambda(body).as_deref(), Some("fA"));
        for odd in [
            "",
            "[]",
            "{",
            "{\"FunctionName\":5}",
            "{\"Environment\":\"x\"}",
        ] {
            assert_eq!(lambda(odd), None, "{odd}");
        }
        let own = SignedApi::Own("CreateKey".to_owned());
        let found = in_body(
            &own,
            br#"{"Secret":"no","AccessKeyId":"AKIA1","TenantId":"1"}"#,
        );
        assert_eq!(found.as_deref(), Some("AKIA1"));
    }
}
