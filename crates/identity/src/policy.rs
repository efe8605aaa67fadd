//! Whether a principal may do a thing: a pure function of principal, action and statements.
//!
//! Today's rules: a tenant's root may do everything with what is the tenant's; an instance may
//! invoke functions of its tenant and read who it is, nothing else; everybody else needs a
//! statement of the resource's own policy. Policies of roles come with the control-plane issue.

use freehold_domain::{Principal, TenantId, record::StatementV1};

/// What is asked for, as policies write it: `lambda:InvokeFunction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action(pub &'static str);

/// Runs a function through the API.
pub const INVOKE_FUNCTION: Action = Action("lambda:InvokeFunction");
/// Runs a function through its URL.
pub const INVOKE_FUNCTION_URL: Action = Action("lambda:InvokeFunctionUrl");
/// Reads who one is; allowed to everybody who is anybody.
pub const GET_CALLER_IDENTITY: Action = Action("sts:GetCallerIdentity");

/// What conditions of statements look at.
#[derive(Debug, Clone, Default)]
pub struct ResourceContext<'a> {
    /// The auth type of the URL through which the call came, `NONE` or `AWS_IAM`.
    pub url_auth_type: Option<&'a str>,
    /// Whether the call came through a function URL.
    pub via_url: bool,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// Whether `who` may do `action` on a resource of `owner` that carries `statements`.
pub fn decide(
    who: &Principal,
    owner: &TenantId,
    action: Action,
    statements: &[StatementV1],
    context: &ResourceContext<'_>,
) -> Decision {
    let allowed = match who {
        Principal::Platform { .. } => true,
        Principal::Root { tenant, .. } if tenant == owner => true,
        Principal::Instance { tenant, .. } if tenant == owner => {
            action == INVOKE_FUNCTION
                || action == INVOKE_FUNCTION_URL
                || action == GET_CALLER_IDENTITY
                || granted(who, action, statements, context)
        }
        _ => {
            action == GET_CALLER_IDENTITY && who.tenant().is_some()
                || granted(who, action, statements, context)
        }
    };
    if allowed {
        Decision::Allow
    } else {
        Decision::Deny
    }
}

/// Whether `who` may call through a URL. `lambda:InvokeFunctionUrl` suffices, as in the answers
/// recorded from the real service; the further `lambda:InvokeFunction` via the URL that AWS's
/// console writes since October 2025 is accepted and not asked for.
pub fn decide_url(
    who: &Principal,
    owner: &TenantId,
    auth_type: &str,
    statements: &[StatementV1],
) -> Decision {
    let context = ResourceContext {
        url_auth_type: Some(auth_type),
        via_url: true,
    };
    decide(who, owner, INVOKE_FUNCTION_URL, statements, &context)
}

fn granted(
    who: &Principal,
    action: Action,
    statements: &[StatementV1],
    context: &ResourceContext<'_>,
) -> bool {
    statements.iter().any(|statement| {
        covers_action(&statement.action, action.0)
            && covers_principal(statement, who)
            && conditions_hold(statement, who, context)
    })
}

fn covers_action(pattern: &str, action: &str) -> bool {
    pattern == "*"
        || pattern == "lambda:*" && action.starts_with("lambda:")
        || pattern.eq_ignore_ascii_case(action)
}

fn covers_principal(statement: &StatementV1, who: &Principal) -> bool {
    let named = statement.principal.as_str();
    if named == "*" {
        return true;
    }
    match who {
        Principal::Service { name, .. } => named == name,
        Principal::Root { tenant, .. } | Principal::Instance { tenant, .. } => {
            named == tenant.as_str()
                || named == format!("arn:aws:iam::{tenant}:root")
                || matches!(who, Principal::Instance { role, .. } if role == named)
        }
        Principal::Platform { .. } | Principal::Anonymous => false,
    }
}

/// Every condition that the statement carries; one that cannot be evaluated does not hold.
fn conditions_hold(
    statement: &StatementV1,
    who: &Principal,
    context: &ResourceContext<'_>,
) -> bool {
    let auth = statement
        .url_auth_type
        .as_deref()
        .is_none_or(|asked| context.url_auth_type == Some(asked));
    let via = statement
        .invoked_via_url
        .is_none_or(|asked| asked == context.via_url);
    let (source_arn, source_account) = match who {
        Principal::Service { source, tenant, .. } => (source.as_deref(), Some(tenant.as_str())),
        _ => (None, None),
    };
    let arn = statement
        .source_arn
        .as_deref()
        .is_none_or(|asked| source_arn.is_some_and(|source| arn_like(asked, source)));
    let account = statement
        .source_account
        .as_deref()
        .is_none_or(|asked| source_account == Some(asked));
    auth && via
        && arn
        && account
        && statement.principal_org_id.is_none()
        && statement.event_source_token.is_none()
}

/// `*` and `?` within the pattern, as ArnLike has them; linear in time.
fn arn_like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, t) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(id: &str) -> TenantId {
        id.parse().unwrap()
    }

    fn statement(principal: &str, action: &str) -> StatementV1 {
        StatementV1 {
            sid: "s".into(),
            principal: principal.into(),
            action: action.into(),
            ..StatementV1::default()
        }
    }

    #[test]
    fn a_public_url_needs_its_statement() {
        let owner = tenant("111111111111");
        let url = |statements: &[StatementV1]| {
            decide_url(&Principal::Anonymous, &owner, "NONE", statements)
        };
        let through = |auth: Option<&str>| StatementV1 {
            url_auth_type: auth.map(str::to_owned),
            ..statement("*", "lambda:InvokeFunctionUrl")
        };
        let invoke = StatementV1 {
            invoked_via_url: Some(true),
            ..statement("*", "lambda:InvokeFunction")
        };
        assert_eq!(url(&[]), Decision::Deny);
        assert_eq!(url(&[through(Some("NONE"))]), Decision::Allow);
        assert_eq!(url(std::slice::from_ref(&invoke)), Decision::Deny);
        assert_eq!(
            url(&[through(Some("NONE")), invoke.clone()]),
            Decision::Allow
        );
        assert_eq!(url(&[through(None), invoke.clone()]), Decision::Allow);
        assert_eq!(
            url(&[through(Some("AWS_IAM")), invoke.clone()]),
            Decision::Deny
        );
        // The second statement opens the URL, not the API.
        let api = decide(
            &Principal::Anonymous,
            &owner,
            INVOKE_FUNCTION,
            &[invoke],
            &ResourceContext::default(),
        );
        assert_eq!(api, Decision::Deny);
    }

    #[test]
    fn an_instance_may_invoke_in_its_tenant_and_nothing_else() {
        let who = Principal::Instance {
            tenant: tenant("111111111111"),
            role: "arn:aws:iam::111111111111:role/r".into(),
            function: "f".parse().unwrap(),
            instance: freehold_domain::InstanceId(Default::default()),
        };
        let ask = |owner: &str, action| {
            decide(
                &who,
                &tenant(owner),
                action,
                &[],
                &ResourceContext::default(),
            )
        };
        assert_eq!(ask("111111111111", INVOKE_FUNCTION), Decision::Allow);
        assert_eq!(
            ask("111111111111", Action("lambda:DeleteFunction")),
            Decision::Deny
        );
        assert_eq!(ask("222222222222", INVOKE_FUNCTION), Decision::Deny);
    }

    #[test]
    fn a_service_must_act_for_the_source_that_is_named() {
        let who = Principal::Service {
            tenant: tenant("111111111111"),
            name: "s3.amazonaws.com".into(),
            source: Some("arn:aws:s3:::photos".into()),
        };
        let ask = |arn: Option<&str>| {
            let named = StatementV1 {
                source_arn: arn.map(str::to_owned),
                ..statement("s3.amazonaws.com", "lambda:InvokeFunction")
            };
            decide(
                &who,
                &tenant("111111111111"),
                INVOKE_FUNCTION,
                &[named],
                &ResourceContext::default(),
            )
        };
        assert_eq!(ask(None), Decision::Allow);
        assert_eq!(ask(Some("arn:aws:s3:::ph*")), Decision::Allow);
        assert_eq!(ask(Some("arn:aws:s3:::other")), Decision::Deny);
    }
}
