//! Functions as the wire names them: bare name, partial ARN or full ARN, each with a qualifier or
//! without.

use freehold_domain::{FunctionName, FunctionRef, Qualifier, Region, TenantId};
use freehold_wire::{ApiError, common, lambda};

/// A function that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The function.
    pub function: FunctionRef,
    /// What stood behind its name or in the Qualifier parameter.
    pub qualifier: Option<Qualifier>,
}

/// How an answer writes a function that cannot exist, since its name or qualifier is none; the
/// operations differ. Source: the recordings, `test_function_name_and_qualifier_validation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// With the qualifier that was given.
    AsGiven,
    /// Without one.
    Bare,
    /// With the qualifier that was given, or the head's.
    WithLatest,
}

/// Reads `text`, which has passed the model's pattern, for a caller of `tenant` in `region`, with
/// the separate qualifier where the operation has one.
///
/// Errors: another region is not reachable; the two qualifiers must not differ; a name or qualifier
/// that none can have is not found.
pub fn named(
    text: &str,
    qualifier: Option<&str>,
    tenant: &TenantId,
    region: &Region,
    absent: Absent,
) -> Result<Named, ApiError> {
    let parts = split(text);
    if let Some(other) = parts.region
        && other != region.as_str()
    {
        return Err(lambda::error::resource_not_found(format!(
            "Functions from '{other}' are not reachable in this region ('{region}')"
        )));
    }
    let derived = parts.qualifier;
    let qualifier = match (derived, qualifier) {
        (Some(derived), Some(given)) if derived != given => {
            return Err(lambda::error::invalid_parameter_value(
                "The derived qualifier from the function name does not match the specified qualifier.",
            ));
        }
        (derived, given) => given.or(derived),
    };
    let account = parts.account.unwrap_or(tenant.as_str());
    let not_found = |_| {
        let suffix = match (absent, qualifier) {
            (Absent::Bare, _) | (Absent::AsGiven, None) => String::new(),
            (Absent::WithLatest, None) => ":$LATEST".to_owned(),
            (_, Some(given)) => format!(":{given}"),
        };
        lambda::error::resource_not_found(format!(
            "Function not found: arn:aws:lambda:{region}:{account}:function:{}{suffix}",
            parts.name
        ))
    };
    let name: FunctionName = parts.name.parse().map_err(not_found)?;
    let tenant = account.parse().map_err(not_found)?;
    let qualifier = qualifier.map(str::parse).transpose().map_err(not_found)?;
    Ok(Named {
        function: FunctionRef {
            tenant,
            region: region.clone(),
            name,
        },
        qualifier,
    })
}

struct Split<'a> {
    region: Option<&'a str>,
    account: Option<&'a str>,
    name: &'a str,
    qualifier: Option<&'a str>,
}

/// `arn:aws:lambda:REGION:ACCOUNT:function:NAME[:Q]`, `REGION:ACCOUNT:function:NAME[:Q]`,
/// `ACCOUNT:function:NAME[:Q]`, `function:NAME[:Q]`, `ACCOUNT:NAME`, `NAME[:Q]`.
fn split(text: &str) -> Split<'_> {
    let rest = match text.strip_prefix("arn:") {
        // The partition may be anything of the pattern; the service is lambda by the pattern.
        Some(arn) => arn.splitn(3, ':').nth(2).unwrap_or(""),
        None => text,
    };
    let mut parts: Vec<&str> = rest.split(':').collect();
    let is_account = |part: &&str| part.len() == 12 && part.bytes().all(|b| b.is_ascii_digit());
    let mut found = Split {
        region: None,
        account: None,
        name: "",
        qualifier: None,
    };
    if parts.len() > 2 && parts.get(1).is_some_and(is_account) {
        found.region = Some(parts.remove(0));
    }
    if parts.len() > 1 && parts.first().is_some_and(is_account) {
        found.account = Some(parts.remove(0));
    }
    if parts.len() > 1 && parts[0] == "function" {
        parts.remove(0);
    }
    found.name = parts.first().copied().unwrap_or("");
    found.qualifier = parts.get(1).copied();
    found
}

/// The unqualified ARN.
pub fn function_arn(function: &FunctionRef) -> String {
    let FunctionRef {
        tenant,
        region,
        name,
    } = function;
    format!("arn:aws:lambda:{region}:{tenant}:function:{name}")
}

/// The ARN with a qualifier.
pub fn qualified_arn(function: &FunctionRef, qualifier: &Qualifier) -> String {
    format!("{}:{qualifier}", function_arn(function))
}

/// A principal, as policies and messages write it.
pub fn principal_arn(who: &freehold_domain::Principal) -> String {
    use freehold_domain::Principal;
    match who {
        Principal::Root { tenant, .. } => format!("arn:aws:iam::{tenant}:root"),
        Principal::Instance {
            tenant,
            role,
            function,
            ..
        } => {
            let role = role.rsplit('/').next().unwrap_or(role);
            format!("arn:aws:sts::{tenant}:assumed-role/{role}/{function}")
        }
        Principal::Service { name, .. } => name.clone(),
        Principal::Platform { component } => format!("freehold:{component}"),
        Principal::Anonymous => "anonymous".to_owned(),
    }
}

/// The answer to somebody who may not.
pub fn denied(who: &freehold_domain::Principal, action: &str, resource: &str) -> ApiError {
    common::access_denied(format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} because no \
         identity-based policy allows the {action} action",
        principal_arn(who)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, tenant: &str, name: &str, qualifier: Option<&str>) {
        let me = "111111111111".parse().unwrap();
        let found = named(
            text,
            None,
            &me,
            &"us-east-1".parse().unwrap(),
            Absent::AsGiven,
        )
        .unwrap();
        assert_eq!(found.function.tenant.as_str(), tenant, "{text}");
        assert_eq!(found.function.name.as_str(), name, "{text}");
        assert_eq!(
            found.qualifier.map(|q| q.to_string()).as_deref(),
            qualifier,
            "{text}"
        );
    }

    #[test]
    fn every_form_names_the_same_function() {
        let me = "111111111111";
        check("f", me, "f", None);
        check("f:live", me, "f", Some("live"));
        check("function:f:1", me, "f", Some("1"));
        check("222222222222:function:f", "222222222222", "f", None);
        check("222222222222:f", "222222222222", "f", None);
        check(
            "us-east-1:222222222222:function:f",
            "222222222222",
            "f",
            None,
        );
        check(
            "arn:aws:lambda:us-east-1:111111111111:function:f:$LATEST",
            me,
            "f",
            Some("$LATEST"),
        );
        check("function", me, "function", None);
        check("function:live", me, "live", None);
    }

    #[test]
    fn another_region_and_two_qualifiers_are_refused() {
        let (me, here) = (
            "111111111111".parse().unwrap(),
            "us-east-1".parse().unwrap(),
        );
        let error = named(
            "arn:aws:lambda:eu-west-1:111111111111:function:f",
            None,
            &me,
            &here,
            Absent::AsGiven,
        )
        .unwrap_err();
        assert_eq!(
            error.message,
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
        );
        assert!(named("f:1", Some("2"), &me, &here, Absent::AsGiven).is_err());
        assert_eq!(
            named("f:1", Some("1"), &me, &here, Absent::AsGiven)
                .unwrap()
                .qualifier,
            Some(Qualifier::Revision(1))
        );
    }
}
