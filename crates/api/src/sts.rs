//! STS: who one is.

use crate::{
    arn::{denied, principal_arn},
    auth::Signer,
    request::Request,
};
use bytes::Bytes;
use freehold_domain::Principal;
use freehold_identity::policy::{Action, Decision, ResourceContext, decide};
use freehold_wire::{ApiError, Call, Service, common, sts};
use http::Response;

/// Answers one request.
pub fn serve(request: &Request, signer: &Signer) -> Response<Bytes> {
    let id = request.id.to_string();
    let Some(operation) = sts::Operation::route(&request.parts, &request.body) else {
        let asked = sts::action(&request.parts, &request.body).unwrap_or_default();
        let text = format!("Could not find operation {asked} for version 2011-06-15");
        return common::unknown_operation(text).encode(Service::Sts, &id);
    };
    if operation != sts::Operation::GetCallerIdentity {
        if let Err(error) = check(signer, operation.name()) {
            return error.encode(Service::Sts, &id);
        }
        return common::not_implemented(Service::Sts, operation.name()).encode(Service::Sts, &id);
    }
    let answer = sts::GetCallerIdentityResponse {
        user_id: Some(match &signer.principal {
            Principal::Instance { role, function, .. } => {
                format!("{}:{function}", role.rsplit('/').next().unwrap_or(role))
            }
            who => who.tenant().map(ToString::to_string).unwrap_or_default(),
        }),
        account: signer.principal.tenant().map(ToString::to_string),
        arn: Some(principal_arn(&signer.principal)),
    };
    sts::GetCallerIdentity::encode(answer, &id)
}

/// Whether the signer may ask for anything but who it is, served or not.
fn check(signer: &Signer, operation: &str) -> Result<(), ApiError> {
    let (who, none) = (&signer.principal, ResourceContext::default());
    let may = who.tenant().map_or(Decision::Deny, |tenant| {
        decide(who, tenant, Action("sts:Manage"), &[], &none)
    });
    match may {
        Decision::Allow => Ok(()),
        Decision::Deny => Err(denied(who, &format!("sts:{operation}"), "*")),
    }
}
