//! Resource policies: statements in, a policy document out.

use super::{Ctx, access::own, explain::about};
use crate::arn::{Named, function_arn, qualified_arn};
use freehold_control::{ControlError, Resource};
use freehold_domain::{Qualifier, record::StatementV1};
use freehold_wire::{
    ApiError,
    lambda::{self, error},
};
use serde_json::{Map, Value, json};

type Answer<T> = Result<T, ApiError>;

pub(super) async fn add(
    ctx: &Ctx<'_>,
    asked: lambda::AddPermissionRequest,
) -> Answer<lambda::AddPermissionResponse> {
    let named = own(ctx, &asked.function_name, asked.qualifier.as_deref())?;
    let statement = StatementV1 {
        sid: asked.statement_id.clone(),
        principal: asked.principal,
        action: asked.action,
        source_arn: asked.source_arn,
        source_account: asked.source_account,
        principal_org_id: asked.principal_org_id,
        event_source_token: asked.event_source_token,
        url_auth_type: asked.function_url_auth_type,
        invoked_via_url: asked.invoked_via_function_url,
    };
    let added = ctx
        .api
        .control
        .permission_add(
            &ctx.who,
            &named.function,
            named.qualifier.as_ref(),
            statement,
            asked.revision_id.as_deref(),
        )
        .await
        .map_err(|fault| match fault {
            ControlError::AlreadyExists { .. } => error::resource_conflict(format!(
                "The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing statement.",
                asked.statement_id
            )),
            ControlError::NotFound { what: Resource::Alias, .. } => no_alias(&named),
            other => about(other, &named),
        })?;
    let text = document_of(&added, &resource(&named)).to_string();
    Ok(lambda::AddPermissionResponse {
        statement: Some(text),
    })
}

pub(super) async fn remove(ctx: &Ctx<'_>, asked: lambda::RemovePermissionRequest) -> Answer<()> {
    let named = own(ctx, &asked.function_name, asked.qualifier.as_deref())?;
    ctx.api
        .control
        .permission_remove(
            &ctx.who,
            &named.function,
            named.qualifier.as_ref(),
            &asked.statement_id,
            asked.revision_id.as_deref(),
        )
        .await
        .map_err(|fault| match fault {
            ControlError::NotFound {
                what: Resource::Function | Resource::Revision,
                ..
            } => error::resource_not_found(format!("No policy found for: {}", resource(&named))),
            ControlError::NotFound {
                what: Resource::Alias,
                ..
            } => no_alias(&named),
            ControlError::NotFound {
                what: Resource::Policy,
                ..
            } => error::resource_not_found("No policy is associated with the given resource."),
            ControlError::NotFound {
                what: Resource::Statement,
                ..
            } => error::resource_not_found(format!(
                "Statement {} is not found in resource policy.",
                asked.statement_id
            )),
            other => about(other, &named),
        })
}

pub(super) async fn get(
    ctx: &Ctx<'_>,
    asked: lambda::GetPolicyRequest,
) -> Answer<lambda::GetPolicyResponse> {
    let named = own(ctx, &asked.function_name, asked.qualifier.as_deref())?;
    let found = ctx
        .api
        .control
        .policy_get(&ctx.who, &named.function, named.qualifier.as_ref())
        .await;
    let policy = found.map_err(|fault| match fault {
        ControlError::NotFound { .. } => {
            error::resource_not_found("The resource you requested does not exist.")
        }
        other => about(other, &named),
    })?;
    let resource = resource(&named);
    let statements: Vec<Value> = policy
        .statements
        .iter()
        .map(|statement| document_of(statement, &resource))
        .collect();
    let document = json!({ "Version": "2012-10-17", "Id": "default", "Statement": statements });
    Ok(lambda::GetPolicyResponse {
        policy: Some(document.to_string()),
        revision_id: Some(policy.revision_id),
    })
}

fn no_alias(named: &Named) -> ApiError {
    error::resource_not_found(format!("Cannot find alias arn: {}", resource(named)))
}

fn resource(named: &Named) -> String {
    match &named.qualifier {
        None | Some(Qualifier::Latest) => function_arn(&named.function),
        Some(qualifier) => qualified_arn(&named.function, qualifier),
    }
}

/// A statement as AWS writes it.
fn document_of(statement: &StatementV1, resource: &str) -> Value {
    let mut document = Map::new();
    document.insert("Sid".into(), json!(statement.sid));
    document.insert("Effect".into(), json!("Allow"));
    document.insert("Principal".into(), principal(&statement.principal));
    document.insert("Action".into(), json!(statement.action));
    document.insert("Resource".into(), json!(resource));
    let mut conditions = Map::new();
    let mut put = |operator: &str, key: &str, value: Value| {
        conditions
            .entry(operator)
            .or_insert_with(|| json!({}))
            .as_object_mut()
            .expect("made as an object")
            .insert(key.to_owned(), value);
    };
    if let Some(account) = &statement.source_account {
        put("StringEquals", "AWS:SourceAccount", json!(account));
    }
    if let Some(organisation) = &statement.principal_org_id {
        put("StringEquals", "aws:PrincipalOrgID", json!(organisation));
    }
    if let Some(token) = &statement.event_source_token {
        put("StringEquals", "lambda:EventSourceToken", json!(token));
    }
    if let Some(auth) = &statement.url_auth_type {
        put("StringEquals", "lambda:FunctionUrlAuthType", json!(auth));
    }
    if let Some(via) = statement.invoked_via_url {
        put(
            "Bool",
            "lambda:InvokedViaFunctionUrl",
            json!(via.to_string()),
        );
    }
    if let Some(arn) = &statement.source_arn {
        put("ArnLike", "AWS:SourceArn", json!(arn));
    }
    if !conditions.is_empty() {
        document.insert("Condition".into(), Value::Object(conditions));
    }
    Value::Object(document)
}

fn principal(text: &str) -> Value {
    if text == "*" {
        return json!("*");
    }
    let is_account = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if is_account {
        return json!({ "AWS": format!("arn:aws:iam::{text}:root") });
    }
    if text.starts_with("arn:") {
        return json!({ "AWS": text });
    }
    json!({ "Service": text })
}
