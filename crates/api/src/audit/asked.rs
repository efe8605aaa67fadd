//! What a request asks, as the trail names it: an action as policies write it, and its resource.

use crate::{
    arn::{Absent, function_arn, named, qualified_arn},
    gate::{SignedApi, SignedHead},
};
use freehold_domain::{
    Digest, FunctionRef, Principal, Region, TenantId,
    audit::{AUDIT_TEXT_BYTES_MAX, Asker, AuditText},
};
use freehold_identity::Presented;
use freehold_wire::{lambda, logs, sts};
use http::{Method, Uri, request::Parts, uri::PathAndQuery};
use percent_encoding::percent_decode_str;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt};

/// Beginnings of the names of operations that change nothing; every other one may.
const READING: [&str; 6] = ["Get", "List", "Describe", "Filter", "Invoke", "Test"];
/// Beginnings of the names of changes that take no room, or give some back: they go on when the
/// disk is nearly full.
const ROOM_MAKING: [&str; 10] = [
    "Delete",
    "Disable",
    "PutFunctionConcurrency",
    "PutRetentionPolicy",
    "Reload",
    "Remove",
    // The one that fills the disk is told to stop.
    "SetTenantLimits",
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
        let (action, _) = action(api, parts, b"");
        Self {
            who: shown(parts),
            proven: false,
            tenant: None,
            action,
            resource: AuditText::new(&label(api, parts).unwrap_or_default()),
        }
    }

    /// At an instance's credentials, by somebody in it who has not its token: the line is the
    /// tenant's, whose instance it is.
    pub(crate) fn at_credentials(tenant: &TenantId) -> Self {
        Self {
            who: Asker::Nobody,
            proven: false,
            tenant: Some(tenant.clone()),
            action: AuditText::new("freehold:GetInstanceCredentials"),
            resource: AuditText::new(""),
        }
    }

    /// At a function's URL, whose line is the function's tenant's: it sees who was refused. Whoever
    /// called has none, since by a host alone it would read there whose function answers, and under
    /// which name.
    fn at_url(who: Asker, proven: bool, function: &FunctionRef) -> Self {
        Self {
            who,
            proven,
            tenant: Some(function.tenant.clone()),
            action: AuditText::new("lambda:InvokeFunctionUrl"),
            resource: AuditText::new(&function_arn(function)),
        }
    }

    /// At a function's URL that asks for signatures, by somebody who proved nothing.
    pub(crate) fn at_signed_url(parts: &Parts, function: &FunctionRef) -> Self {
        Self::at_url(shown(parts), false, function)
    }

    /// At a function's URL that asks for none.
    pub(crate) fn at_open_url(function: &FunctionRef) -> Self {
        Self::at_url(Asker::Nobody, false, function)
    }

    /// At a function's URL, by somebody known who may not.
    pub(crate) fn at_url_of(who: &Principal, function: &FunctionRef) -> Self {
        Self::at_url(Asker::of(who), true, function)
    }

    /// At a link to a package that we made: nobody knows who has it, but whose package it is.
    pub(crate) fn at_link(tenant: &TenantId, package: Digest) -> Self {
        Self {
            tenant: Some(tenant.clone()),
            resource: AuditText::new(&format!("package/{package}")),
            ..Self::at_forged_link()
        }
    }

    /// At a link to a package that we never made: what it says is nobody's.
    pub(crate) fn at_forged_link() -> Self {
        Self {
            who: Asker::Nobody,
            proven: false,
            tenant: None,
            action: AuditText::new("freehold:GetCode"),
            resource: AuditText::default(),
        }
    }
}

/// Who a request says it is, of which nothing is proven: not even whose key it names is told.
fn shown(parts: &Parts) -> Asker {
    match Presented::read(parts) {
        Ok(Some(presented)) => Asker::UnprovenKey {
            key: AuditText::new(&presented.access_key_id),
        },
        _ => Asker::Nobody,
    }
}

impl Asked {
    /// What a request asks whose signature is proven.
    pub(super) fn of(head: &SignedHead, parts: &Parts, body: &[u8]) -> Self {
        let (action, changes) = action(&head.api, parts, body);
        let resource = label(&head.api, parts).or_else(|| in_body(members(&head.api), body));
        let qualifier = qualifier(&parts.uri).or_else(|| alias(&head.api, parts, body));
        let full = |text| full(head, text, qualifier.as_deref());
        let resource = resource.map(full).unwrap_or_default();
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
    let qualifier = uri.as_ref().and_then(qualifier);
    let found = uri.and_then(|uri| lambda::Operation::route(&Method::POST, &uri));
    let name = found.and_then(|found| found.labels.get("FunctionName").ok().flatten());
    let full = |name| full(head, name, qualifier.as_deref());
    let resource = name.map(full).unwrap_or_default();
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

pub(crate) fn changes(operation: &str) -> bool {
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

/// The members of a body that name what an operation is about, by weight. Nothing else of a body is
/// looked at.
fn members(api: &SignedApi) -> &'static [&'static str] {
    match api {
        SignedApi::Lambda => &["FunctionName"],
        SignedApi::Logs => &["logGroupName", "logGroupIdentifier"],
        SignedApi::Own(_) => &["AccessKeyId", "TenantId", "Name"],
        SignedApi::Sts => &[],
    }
}

/// What a body names. It is read as far as it reads: whatever is odd about it empties no line, and
/// a member that is no text, or that belongs to another API, is passed over.
fn in_body(members: &'static [&'static str], body: &[u8]) -> Option<String> {
    let mut found = vec![None; members.len()];
    let names = Names {
        members,
        found: &mut found,
    };
    let _ = names.deserialize(&mut serde_json::Deserializer::from_slice(body));
    found.into_iter().flatten().next()
}

/// Reads an object's members into their places.
struct Names<'a> {
    members: &'static [&'static str],
    found: &'a mut [Option<String>],
}

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match self.members.iter().position(|known| *known == name) {
                // The last of several counts.
                Some(place) => self.found[place] = map.next_value::<Member>()?.0,
                None => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }
}

/// A text, or something else, of which nothing is kept.
struct Member(Option<String>);

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(MemberVisitor)
    }
}

struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Member, E> {
        // A line takes no more of it.
        let end = text.floor_char_boundary(2 * AUDIT_TEXT_BYTES_MAX);
        Ok(Member(Some(text[..end].to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Member, E> {
        Ok(Member(None))
    }
    fn visit_bool<E>(self, _: bool) -> Result<Member, E> {
        Ok(Member(None))
    }
    fn visit_i64<E>(self, _: i64) -> Result<Member, E> {
        Ok(Member(None))
    }
    fn visit_u64<E>(self, _: u64) -> Result<Member, E> {
        Ok(Member(None))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Member, E> {
        Ok(Member(None))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Member, A::Error> {
        while all.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member(None))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Member, A::Error> {
        while all.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Member(None))
    }
}

/// The revision that the query names; an empty one is none.
fn qualifier(uri: &Uri) -> Option<String> {
    let mut pairs = uri.query()?.split('&');
    let given = pairs.find_map(|pair| pair.strip_prefix("Qualifier="))?;
    let text = percent_decode_str(given).decode_utf8().ok()?;
    (!text.is_empty()).then(|| text.into_owned())
}

/// The alias that a path names, or the body of the one operation that makes them.
fn alias(api: &SignedApi, parts: &Parts, body: &[u8]) -> Option<String> {
    if *api != SignedApi::Lambda {
        return None;
    }
    let found = lambda::Operation::route(&parts.method, &parts.uri)?;
    match found.operation {
        lambda::Operation::CreateAlias => in_body(&["Name"], body),
        _ => found.labels.get("Name").ok().flatten(),
    }
}

/// A function's or a log group's name in full, so that two tenants' lines never look alike; what
/// is no name stays as it was written.
fn full(head: &SignedHead, text: String, qualifier: Option<&str>) -> String {
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
        SignedApi::Lambda => match named(&text, qualifier, tenant, &region, Absent::AsGiven) {
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
            "SetTenantLimits",
            "StartBackup",
            "StopBackup",
        ] {
            assert!(!takes_room(name), "{name}");
        }
    }

    #[test]
    fn a_line_of_a_url_is_its_functions_whoever_called() {
        let (one, two): (TenantId, TenantId) = (
            "111111111111".parse().unwrap(),
            "222222222222".parse().unwrap(),
        );
        let function = FunctionRef {
            tenant: one.clone(),
            region: "us-east-1".parse().unwrap(),
            name: "f".parse().unwrap(),
        };
        let parts = |authorization: Option<&str>| {
            let mut request = http::Request::get("/").header("x-amz-date", "20261122T020000Z");
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            request.body(()).unwrap().into_parts().0
        };
        let names_two = "AWS4-HMAC-SHA256 Credential=AKIATWO0000000000000/20261122/us-east-1/\
            lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=00";
        let unproven = Refused::at_signed_url(&parts(Some(names_two)), &function);
        let key = AuditText::new("AKIATWO0000000000000");
        assert_eq!(unproven.who, Asker::UnprovenKey { key });
        let unsigned = Refused::at_signed_url(&parts(None), &function);
        assert_eq!(unsigned.who, Asker::Nobody);
        let proven = Refused::at_url_of(
            &Principal::Root {
                tenant: two.clone(),
                key: "AKIATWO0000000000000".to_owned(),
            },
            &function,
        );
        assert_eq!(proven.who.tenant(), Some(&two));
        assert!(proven.proven && !unproven.proven && !unsigned.proven);
        for refused in [unproven, unsigned, proven, Refused::at_open_url(&function)] {
            assert_eq!(refused.tenant.as_ref(), Some(&one));
        }
    }

    #[test]
    fn only_names_are_taken_out_of_a_body() {
        let lambda = |body: &str| in_body(members(&SignedApi::Lambda), body.as_bytes());
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
            members(&own),
            br#"{"Secret":"no","AccessKeyId":"AKIA1","TenantId":"1"}"#,
        );
        assert_eq!(found.as_deref(), Some("AKIA1"));
    }

    #[test]
    fn the_revision_that_a_query_names_is_taken_out_of_it() {
        let of = |uri: &str| qualifier(&uri.parse().unwrap());
        for (uri, expected) in [
            ("/f", None),
            ("/f?", None),
            ("/f?Qualifier=", None),
            ("/f?Marker=x&Qualifier=1", Some("1")),
            ("/f?Qualifier=%24LATEST&Qualifier=2", Some("$LATEST")),
            ("/f?NotTheQualifier=1", None),
            ("/f?Qualifier=%ff", None),
        ] {
            assert_eq!(of(uri).as_deref(), expected, "{uri}");
        }
    }

    #[test]
    fn what_is_odd_about_a_body_empties_no_resource() {
        for odd in [
            r#"{"FunctionName":"f","Name":5,"TenantId":{},"AccessKeyId":[1,{"a":2}]}"#,
            r#"{"Name":-1.5,"FunctionName":"f","logGroupName":7}"#,
            r#"{"FunctionName":"e","FunctionName":"f"}"#,
            r#"{"FunctionName":"f","Description":tru"#,
            r#"{"FunctionName":"f"} and more"#,
        ] {
            let found = in_body(members(&SignedApi::Lambda), odd.as_bytes());
            assert_eq!(found.as_deref(), Some("f"), "{odd}");
        }
        let logs = r#"{"logGroupName":null,"logGroupIdentifier":"g","FunctionName":[]}"#;
        let found = in_body(members(&SignedApi::Logs), logs.as_bytes());
        assert_eq!(found.as_deref(), Some("g"));
        let both = br#"{"logGroupIdentifier":"i","logGroupName":"g"}"#;
        assert_eq!(
            in_body(members(&SignedApi::Logs), both).as_deref(),
            Some("g")
        );
        let long = format!(r#"{{"FunctionName":"{}"}}"#, "\u{e4}".repeat(1 << 16));
        let found = in_body(members(&SignedApi::Lambda), long.as_bytes()).unwrap();
        assert!(found.len() > AUDIT_TEXT_BYTES_MAX && found.len() < 1 << 11);
    }
}
