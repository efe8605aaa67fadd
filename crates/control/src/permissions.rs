//! Resource policies of functions: statements added, removed, read.
//!
//! What a statement allows is for `identity` to say; the JSON document is for a front end to
//! render.

use crate::{
    Control, ControlError, Field, Limit, Resource,
    rules::cut,
    store::{self, function_key},
};
use freehold_domain::{
    FunctionRef, Principal, Qualifier,
    ports::{Expect, Op},
    record::{self, Key, PolicyV1, StatementV1},
};

/// Bytes of one policy. Source: Lambda developer guide, "Lambda quotas": 20 KB, measured here on
/// the stored form.
pub const POLICY_BYTES_MAX: usize = 20 << 10;

impl Control {
    /// Adds a statement to the policy of a function (no qualifier), one of its revisions or aliases.
    ///
    /// Errors: [`ControlError::NotFound`]; [`ControlError::AlreadyExists`] for the statement's
    /// id; [`ControlError::Invalid`]; [`ControlError::PreconditionFailed`] when `revision_id` is
    /// not the policy's; [`ControlError::LimitExceeded`] for [`Limit::PolicyBytes`].
    pub async fn permission_add(
        &self,
        who: &Principal,
        of: &FunctionRef,
        qualifier: Option<&Qualifier>,
        statement: StatementV1,
        revision_id: Option<&str>,
    ) -> Result<StatementV1, ControlError> {
        Self::reaches(who, &of.tenant)?;
        if qualifier == Some(&Qualifier::Latest) {
            return Err(ControlError::invalid(
                Field::Qualifier,
                "We currently do not support adding policies for $LATEST.",
            ));
        }
        check(&statement)?;
        let key = policy_key(of, qualifier);
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            let function = self.function(who, of).await?;
            match qualifier {
                None | Some(Qualifier::Latest) => {}
                Some(Qualifier::Revision(number)) => {
                    self.revision(who, of, *number).await?;
                }
                Some(Qualifier::Alias(name)) => {
                    self.alias(who, of, name).await?;
                }
            }
            let present = self.read::<PolicyV1>(who, &key).await?;
            let expect = present.as_ref().map_or(Expect::Absent, |p| p.expect());
            let mut policy = present.map(|p| p.record).unwrap_or_default();
            guard(&policy, revision_id)?;
            if policy.statements.iter().any(|s| s.sid == statement.sid) {
                return Err(ControlError::AlreadyExists {
                    what: Resource::Statement,
                    name: statement.sid,
                });
            }
            policy.statements.push(statement.clone());
            policy.revision_id = self.ids.uuid().to_string();
            if record::encode(&policy).len() > POLICY_BYTES_MAX {
                return Err(ControlError::LimitExceeded {
                    limit: Limit::PolicyBytes,
                    max: POLICY_BYTES_MAX as u64,
                });
            }
            let ops = vec![
                // Unchanged, but it fails if the function, or its alias, is deleted at the same time.
                store::put(function_key(of), function.expect(), &function.record),
                store::put(key.clone(), expect, &policy),
            ];
            if self.try_commit(who, ops).await? {
                return Ok(statement);
            }
        }
        Err(ControlError::Contended {
            name: of.name.to_string(),
        })
    }

    /// Removes a statement; the policy goes with its last one.
    ///
    /// Errors: [`ControlError::NotFound`] for function, policy or statement;
    /// [`ControlError::PreconditionFailed`].
    pub async fn permission_remove(
        &self,
        who: &Principal,
        of: &FunctionRef,
        qualifier: Option<&Qualifier>,
        sid: &str,
        revision_id: Option<&str>,
    ) -> Result<(), ControlError> {
        let key = policy_key(of, qualifier);
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            self.function(who, of).await?;
            if let Some(Qualifier::Alias(name)) = qualifier {
                self.alias(who, of, name).await?;
            }
            let Some(present) = self.read::<PolicyV1>(who, &key).await? else {
                return Err(ControlError::not_found(Resource::Policy, &of.name));
            };
            let expect = present.expect();
            let mut policy = present.record;
            let before = policy.statements.len();
            policy.statements.retain(|statement| statement.sid != sid);
            if policy.statements.len() == before {
                return Err(ControlError::not_found(Resource::Statement, cut(sid)));
            }
            guard(&policy, revision_id)?;
            policy.revision_id = self.ids.uuid().to_string();
            let op = match policy.statements.is_empty() {
                true => Op::Delete {
                    key: key.clone(),
                    expect,
                },
                false => store::put(key.clone(), expect, &policy),
            };
            if self.try_commit(who, vec![op]).await? {
                return Ok(());
            }
        }
        Err(ControlError::Contended {
            name: of.name.to_string(),
        })
    }

    /// The policy of a function, revision or alias.
    ///
    /// Errors: [`ControlError::NotFound`] for [`Resource::Policy`], whatever is missing.
    pub async fn policy_get(
        &self,
        who: &Principal,
        of: &FunctionRef,
        qualifier: Option<&Qualifier>,
    ) -> Result<PolicyV1, ControlError> {
        let found = self
            .read::<PolicyV1>(who, &policy_key(of, qualifier))
            .await?;
        found
            .map(|policy| policy.record)
            .ok_or_else(|| ControlError::not_found(Resource::Policy, &of.name))
    }
}

/// The policy of the function itself is kept under its head.
fn policy_key(of: &FunctionRef, qualifier: Option<&Qualifier>) -> Key {
    let on = qualifier.unwrap_or(&Qualifier::Latest);
    Key::policy(&of.tenant, &of.region, &of.name, on)
}

fn guard(policy: &PolicyV1, revision_id: Option<&str>) -> Result<(), ControlError> {
    match revision_id {
        Some(id) if id != policy.revision_id => Err(ControlError::PreconditionFailed {
            what: Resource::Policy,
        }),
        _ => Ok(()),
    }
}

fn check(statement: &StatementV1) -> Result<(), ControlError> {
    let sid = &statement.sid;
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if sid.is_empty() || sid.len() > 100 || !sid.bytes().all(word) {
        let reason = "1 to 100 letters, digits, '-' and '_'";
        return Err(ControlError::invalid(Field::StatementId, reason));
    }
    let action = statement.action.as_str();
    let operation = action.strip_prefix("lambda:");
    let named = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic());
    if action != "*" && operation != Some("*") && !operation.is_some_and(named) {
        let reason = format!("{:?} is no action of a function", cut(action));
        return Err(ControlError::invalid(Field::PermissionAction, reason));
    }
    if !is_principal(&statement.principal) {
        let reason =
            "The provided principal was invalid. Please check the principal and try again.";
        return Err(ControlError::invalid(Field::PermissionPrincipal, reason));
    }
    if let Some(auth) = &statement.url_auth_type {
        if auth != "NONE" && auth != "AWS_IAM" {
            let reason = format!("{:?} is neither NONE nor AWS_IAM", cut(auth));
            return Err(ControlError::invalid(Field::UrlAuthType, reason));
        }
        if operation != Some("InvokeFunctionUrl") {
            let reason = "only lambda:InvokeFunctionUrl has one";
            return Err(ControlError::invalid(Field::UrlAuthType, reason));
        }
    }
    if statement.invoked_via_url.is_some() && operation != Some("InvokeFunction") {
        let reason = "only lambda:InvokeFunction can be bound to URLs";
        return Err(ControlError::invalid(Field::PermissionAction, reason));
    }
    let source = |text: &str| text.starts_with("arn:") && text.len() <= 1024;
    if statement
        .source_arn
        .as_deref()
        .is_some_and(|arn| !source(arn))
    {
        let reason = "the source is no ARN";
        return Err(ControlError::invalid(Field::PermissionPrincipal, reason));
    }
    let account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if statement
        .source_account
        .as_deref()
        .is_some_and(|id| !account(id))
    {
        let reason = "the source account has 12 digits";
        return Err(ControlError::invalid(Field::PermissionPrincipal, reason));
    }
    Ok(())
}

/// `*`, an account, the ARN of an identity, or a service's name.
fn is_principal(text: &str) -> bool {
    let digits = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if text == "*" || digits(text) {
        return true;
    }
    if let Some(arn) = text.strip_prefix("arn:") {
        let parts: Vec<&str> = arn.splitn(5, ':').collect();
        return match parts[..] {
            [partition, "iam", "", account, rest] => {
                partition.starts_with("aws")
                    && digits(account)
                    && (rest == "root"
                        || ["user/", "role/", "federated-user/"]
                            .iter()
                            .any(|kind| rest.len() > kind.len() && rest.starts_with(kind)))
            }
            [partition, "sts", "", account, rest] => {
                partition.starts_with("aws") && digits(account) && rest.starts_with("assumed-role/")
            }
            _ => false,
        };
    }
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    [
        ".amazonaws.com",
        ".amazonaws.com.cn",
        ".amazon.com",
        ".alexa.com",
    ]
    .iter()
    .filter_map(|domain| text.strip_suffix(domain))
    .any(|service| service.split('.').all(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_everybody_an_account_an_identity_or_a_service() {
        for good in [
            "*",
            "123456789012",
            "s3.amazonaws.com",
            "alexa-appkit.amazon.com",
            "arn:aws:iam::123456789012:root",
            "arn:aws:iam::123456789012:role/x",
            "arn:aws:sts::123456789012:assumed-role/x/y",
        ] {
            assert!(is_principal(good), "{good}");
        }
        for bad in [
            "",
            "12345",
            "invalid.nonaws.com",
            ".amazonaws.com",
            "arn:aws:iam::123456789012:group/x",
            "arn:aws:s3:::bucket",
            "a b.amazonaws.com",
        ] {
            assert!(!is_principal(bad), "{bad}");
        }
    }

    #[test]
    fn conditions_of_urls_need_their_action() {
        let of = |action: &str, auth: Option<&str>, via: Option<bool>| StatementV1 {
            sid: "s".into(),
            principal: "*".into(),
            action: action.into(),
            url_auth_type: auth.map(Into::into),
            invoked_via_url: via,
            ..Default::default()
        };
        assert!(check(&of("lambda:InvokeFunctionUrl", Some("NONE"), None)).is_ok());
        assert!(check(&of("lambda:InvokeFunction", None, Some(true))).is_ok());
        assert!(check(&of("lambda:*", None, None)).is_ok());
        assert!(check(&of("lambda:InvokeFunction", Some("NONE"), None)).is_err());
        assert!(check(&of("lambda:InvokeFunctionUrl", Some("OPEN"), None)).is_err());
        assert!(check(&of("lambda:GetFunction", None, Some(true))).is_err());
        assert!(check(&of("s3:GetObject", None, None)).is_err());
        assert!(check(&of("lambda:", None, None)).is_err());
    }
}
