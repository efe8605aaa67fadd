//! AWS Security Token Service: requests read from HTTP, answers written to it. Written by `cargo xtask codegen`; edits are lost.

use bytes::Bytes;
use http::{Response, request::Parts};

use super::shapes::*;
use crate::{Call, Labels, Service, WireFault, locate::answer, xml};

/// The operation `GetCallerIdentity`.
#[derive(Clone, Copy, Debug)]
pub struct GetCallerIdentity;

impl Call for GetCallerIdentity {
    const NAME: &'static str = "GetCallerIdentity";
    const SERVICE: Service = Service::Sts;
    type Request = GetCallerIdentityRequest;
    type Response = GetCallerIdentityResponse;

    fn decode(
        _parts: &Parts,
        _labels: Labels,
        _body: Bytes,
    ) -> Result<GetCallerIdentityRequest, WireFault> {
        let request = GetCallerIdentityRequest {};
        Ok(request)
    }

    fn encode(response: GetCallerIdentityResponse, request_id: &str) -> Response<Bytes> {
        let members = [
            ("UserId", response.user_id.as_deref()),
            ("Account", response.account.as_deref()),
            ("Arn", response.arn.as_deref()),
        ];
        let body = xml::response(
            crate::sts::NAMESPACE,
            "GetCallerIdentity",
            &members,
            request_id,
        );
        answer(200, "text/xml", body.into(), request_id)
    }
}
