//! AWS Lambda: requests read from HTTP, answers written to it. Written by `cargo xtask codegen`; edits are lost.

use bytes::Bytes;
use http::{Response, request::Parts};

use super::rules::*;
use super::shapes::*;
use crate::{
    Call, Labels, Service, WireFault, constraints::Violations, error::header_value, json,
    locate::Query, locate::answer, locate::header_text,
};

/// The operation `AddPermission`.
#[derive(Clone, Copy, Debug)]
pub struct AddPermission;

impl Call for AddPermission {
    const NAME: &'static str = "AddPermission";
    const SERVICE: Service = Service::Lambda;
    type Request = AddPermissionRequest;
    type Response = AddPermissionResponse;

    fn decode(
        parts: &Parts,
        labels: Labels,
        body: Bytes,
    ) -> Result<AddPermissionRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let mut request: UncheckedAddPermissionRequest = json::read(&body)?;
        request.function_name = labels.get("FunctionName")?;
        request.qualifier = query.string("Qualifier");
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: AddPermissionResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(201, "application/json", body, request_id)
    }
}

/// The operation `CreateAlias`.
#[derive(Clone, Copy, Debug)]
pub struct CreateAlias;

impl Call for CreateAlias {
    const NAME: &'static str = "CreateAlias";
    const SERVICE: Service = Service::Lambda;
    type Request = CreateAliasRequest;
    type Response = AliasConfiguration;

    fn decode(
        _parts: &Parts,
        labels: Labels,
        body: Bytes,
    ) -> Result<CreateAliasRequest, WireFault> {
        let mut request: UncheckedCreateAliasRequest = json::read(&body)?;
        request.function_name = labels.get("FunctionName")?;
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: AliasConfiguration, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(201, "application/json", body, request_id)
    }
}

/// The operation `CreateFunction`.
#[derive(Clone, Copy, Debug)]
pub struct CreateFunction;

impl Call for CreateFunction {
    const NAME: &'static str = "CreateFunction";
    const SERVICE: Service = Service::Lambda;
    type Request = CreateFunctionRequest;
    type Response = FunctionConfiguration;

    fn decode(
        _parts: &Parts,
        _labels: Labels,
        body: Bytes,
    ) -> Result<CreateFunctionRequest, WireFault> {
        let request: UncheckedCreateFunctionRequest = json::read(&body)?;
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        crate::lambda::function_name_part(&request)?;
        Ok(request)
    }

    fn encode(response: FunctionConfiguration, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(201, "application/json", body, request_id)
    }
}

/// The operation `CreateFunctionUrlConfig`.
#[derive(Clone, Copy, Debug)]
pub struct CreateFunctionUrlConfig;

impl Call for CreateFunctionUrlConfig {
    const NAME: &'static str = "CreateFunctionUrlConfig";
    const SERVICE: Service = Service::Lambda;
    type Request = CreateFunctionUrlConfigRequest;
    type Response = CreateFunctionUrlConfigResponse;

    fn decode(
        parts: &Parts,
        labels: Labels,
        body: Bytes,
    ) -> Result<CreateFunctionUrlConfigRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let mut request: UncheckedCreateFunctionUrlConfigRequest = json::read(&body)?;
        request.function_name = labels.get("FunctionName")?;
        request.qualifier = query.string("Qualifier");
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: CreateFunctionUrlConfigResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(201, "application/json", body, request_id)
    }
}

/// The operation `DeleteAlias`.
#[derive(Clone, Copy, Debug)]
pub struct DeleteAlias;

impl Call for DeleteAlias {
    const NAME: &'static str = "DeleteAlias";
    const SERVICE: Service = Service::Lambda;
    type Request = DeleteAliasRequest;
    type Response = ();

    fn decode(
        _parts: &Parts,
        labels: Labels,
        _body: Bytes,
    ) -> Result<DeleteAliasRequest, WireFault> {
        let request = UncheckedDeleteAliasRequest {
            function_name: labels.get("FunctionName")?,
            name: labels.get("Name")?,
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode((): (), request_id: &str) -> Response<Bytes> {
        let body = Bytes::new();
        answer(204, "application/json", body, request_id)
    }
}

/// The operation `DeleteFunction`.
#[derive(Clone, Copy, Debug)]
pub struct DeleteFunction;

impl Call for DeleteFunction {
    const NAME: &'static str = "DeleteFunction";
    const SERVICE: Service = Service::Lambda;
    type Request = DeleteFunctionRequest;
    type Response = DeleteFunctionResponse;

    fn decode(
        parts: &Parts,
        labels: Labels,
        _body: Bytes,
    ) -> Result<DeleteFunctionRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let request = UncheckedDeleteFunctionRequest {
            function_name: labels.get("FunctionName")?,
            qualifier: query.string("Qualifier"),
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: DeleteFunctionResponse, request_id: &str) -> Response<Bytes> {
        let body = Bytes::new();
        answer(
            response.status_code.unwrap_or(204),
            "application/json",
            body,
            request_id,
        )
    }
}

/// The operation `DeleteFunctionConcurrency`.
#[derive(Clone, Copy, Debug)]
pub struct DeleteFunctionConcurrency;

impl Call for DeleteFunctionConcurrency {
    const NAME: &'static str = "DeleteFunctionConcurrency";
    const SERVICE: Service = Service::Lambda;
    type Request = DeleteFunctionConcurrencyRequest;
    type Response = ();

    fn decode(
        _parts: &Parts,
        labels: Labels,
        _body: Bytes,
    ) -> Result<DeleteFunctionConcurrencyRequest, WireFault> {
        let request = UncheckedDeleteFunctionConcurrencyRequest {
            function_name: labels.get("FunctionName")?,
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode((): (), request_id: &str) -> Response<Bytes> {
        let body = Bytes::new();
        answer(204, "application/json", body, request_id)
    }
}

/// The operation `DeleteFunctionUrlConfig`.
#[derive(Clone, Copy, Debug)]
pub struct DeleteFunctionUrlConfig;

impl Call for DeleteFunctionUrlConfig {
    const NAME: &'static str = "DeleteFunctionUrlConfig";
    const SERVICE: Service = Service::Lambda;
    type Request = DeleteFunctionUrlConfigRequest;
    type Response = ();

    fn decode(
        parts: &Parts,
        labels: Labels,
        _body: Bytes,
    ) -> Result<DeleteFunctionUrlConfigRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let request = UncheckedDeleteFunctionUrlConfigRequest {
            function_name: labels.get("FunctionName")?,
            qualifier: query.string("Qualifier"),
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode((): (), request_id: &str) -> Response<Bytes> {
        let body = Bytes::new();
        answer(204, "application/json", body, request_id)
    }
}

/// The operation `GetAccountSettings`.
#[derive(Clone, Copy, Debug)]
pub struct GetAccountSettings;

impl Call for GetAccountSettings {
    const NAME: &'static str = "GetAccountSettings";
    const SERVICE: Service = Service::Lambda;
    type Request = GetAccountSettingsRequest;
    type Response = GetAccountSettingsResponse;

    fn decode(
        _parts: &Parts,
        _labels: Labels,
        _body: Bytes,
    ) -> Result<GetAccountSettingsRequest, WireFault> {
        let request = GetAccountSettingsRequest {};
        Ok(request)
    }

    fn encode(response: GetAccountSettingsResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `GetAlias`.
#[derive(Clone, Copy, Debug)]
pub struct GetAlias;

impl Call for GetAlias {
    const NAME: &'static str = "GetAlias";
    const SERVICE: Service = Service::Lambda;
    type Request = GetAliasRequest;
    type Response = AliasConfiguration;

    fn decode(_parts: &Parts, labels: Labels, _body: Bytes) -> Result<GetAliasRequest, WireFault> {
        let request = UncheckedGetAliasRequest {
            function_name: labels.get("FunctionName")?,
            name: labels.get("Name")?,
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: AliasConfiguration, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `GetFunction`.
#[derive(Clone, Copy, Debug)]
pub struct GetFunction;

impl Call for GetFunction {
    const NAME: &'static str = "GetFunction";
    const SERVICE: Service = Service::Lambda;
    type Request = GetFunctionRequest;
    type Response = GetFunctionResponse;

    fn decode(
        parts: &Parts,
        labels: Labels,
        _body: Bytes,
    ) -> Result<GetFunctionRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let request = UncheckedGetFunctionRequest {
            function_name: labels.get("FunctionName")?,
            qualifier: query.string("Qualifier"),
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: GetFunctionResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `GetFunctionConcurrency`.
#[derive(Clone, Copy, Debug)]
pub struct GetFunctionConcurrency;

impl Call for GetFunctionConcurrency {
    const NAME: &'static str = "GetFunctionConcurrency";
    const SERVICE: Service = Service::Lambda;
    type Request = GetFunctionConcurrencyRequest;
    type Response = GetFunctionConcurrencyResponse;

    fn decode(
        _parts: &Parts,
        labels: Labels,
        _body: Bytes,
    ) -> Result<GetFunctionConcurrencyRequest, WireFault> {
        let request = UncheckedGetFunctionConcurrencyRequest {
            function_name: labels.get("FunctionName")?,
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: GetFunctionConcurrencyResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `GetFunctionConfiguration`.
#[derive(Clone, Copy, Debug)]
pub struct GetFunctionConfiguration;

impl Call for GetFunctionConfiguration {
    const NAME: &'static str = "GetFunctionConfiguration";
    const SERVICE: Service = Service::Lambda;
    type Request = GetFunctionConfigurationRequest;
    type Response = FunctionConfiguration;

    fn decode(
        parts: &Parts,
        labels: Labels,
        _body: Bytes,
    ) -> Result<GetFunctionConfigurationRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let request = UncheckedGetFunctionConfigurationRequest {
            function_name: labels.get("FunctionName")?,
            qualifier: query.string("Qualifier"),
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: FunctionConfiguration, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `GetFunctionUrlConfig`.
#[derive(Clone, Copy, Debug)]
pub struct GetFunctionUrlConfig;

impl Call for GetFunctionUrlConfig {
    const NAME: &'static str = "GetFunctionUrlConfig";
    const SERVICE: Service = Service::Lambda;
    type Request = GetFunctionUrlConfigRequest;
    type Response = GetFunctionUrlConfigResponse;

    fn decode(
        parts: &Parts,
        labels: Labels,
        _body: Bytes,
    ) -> Result<GetFunctionUrlConfigRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let request = UncheckedGetFunctionUrlConfigRequest {
            function_name: labels.get("FunctionName")?,
            qualifier: query.string("Qualifier"),
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: GetFunctionUrlConfigResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `GetPolicy`.
#[derive(Clone, Copy, Debug)]
pub struct GetPolicy;

impl Call for GetPolicy {
    const NAME: &'static str = "GetPolicy";
    const SERVICE: Service = Service::Lambda;
    type Request = GetPolicyRequest;
    type Response = GetPolicyResponse;

    fn decode(parts: &Parts, labels: Labels, _body: Bytes) -> Result<GetPolicyRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let request = UncheckedGetPolicyRequest {
            function_name: labels.get("FunctionName")?,
            qualifier: query.string("Qualifier"),
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: GetPolicyResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `Invoke`.
#[derive(Clone, Copy, Debug)]
pub struct Invoke;

impl Call for Invoke {
    const NAME: &'static str = "Invoke";
    const SERVICE: Service = Service::Lambda;
    type Request = InvocationRequest;
    type Response = InvocationResponse;

    fn decode(parts: &Parts, labels: Labels, body: Bytes) -> Result<InvocationRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let request = UncheckedInvocationRequest {
            function_name: labels.get("FunctionName")?,
            invocation_type: header_text(&parts.headers, "x-amz-invocation-type")?,
            log_type: header_text(&parts.headers, "x-amz-log-type")?,
            client_context: header_text(&parts.headers, "x-amz-client-context")?,
            durable_execution_name: header_text(&parts.headers, "x-amz-durable-execution-name")?,
            payload: (!body.is_empty()).then_some(body),
            qualifier: query.string("Qualifier"),
            tenant_id: header_text(&parts.headers, "x-amz-tenant-id")?,
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(mut response: InvocationResponse, request_id: &str) -> Response<Bytes> {
        let body = response.payload.take().unwrap_or_default();
        let mut answer = answer(
            response.status_code.unwrap_or(200),
            "application/json",
            body,
            request_id,
        );
        if let Some(text) = &response.function_error {
            answer
                .headers_mut()
                .insert("x-amz-function-error", header_value(text));
        }
        if let Some(text) = &response.log_result {
            answer
                .headers_mut()
                .insert("x-amz-log-result", header_value(text));
        }
        if let Some(text) = &response.executed_version {
            answer
                .headers_mut()
                .insert("x-amz-executed-version", header_value(text));
        }
        if let Some(text) = &response.durable_execution_arn {
            answer
                .headers_mut()
                .insert("x-amz-durable-execution-arn", header_value(text));
        }
        answer
    }
}

/// The operation `ListAliases`.
#[derive(Clone, Copy, Debug)]
pub struct ListAliases;

impl Call for ListAliases {
    const NAME: &'static str = "ListAliases";
    const SERVICE: Service = Service::Lambda;
    type Request = ListAliasesRequest;
    type Response = ListAliasesResponse;

    fn decode(
        parts: &Parts,
        labels: Labels,
        _body: Bytes,
    ) -> Result<ListAliasesRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let request = UncheckedListAliasesRequest {
            function_name: labels.get("FunctionName")?,
            function_version: query.string("FunctionVersion"),
            marker: query.string("Marker"),
            max_items: query.integer("MaxItems")?,
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: ListAliasesResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `ListFunctionUrlConfigs`.
#[derive(Clone, Copy, Debug)]
pub struct ListFunctionUrlConfigs;

impl Call for ListFunctionUrlConfigs {
    const NAME: &'static str = "ListFunctionUrlConfigs";
    const SERVICE: Service = Service::Lambda;
    type Request = ListFunctionUrlConfigsRequest;
    type Response = ListFunctionUrlConfigsResponse;

    fn decode(
        parts: &Parts,
        labels: Labels,
        _body: Bytes,
    ) -> Result<ListFunctionUrlConfigsRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let request = UncheckedListFunctionUrlConfigsRequest {
            function_name: labels.get("FunctionName")?,
            marker: query.string("Marker"),
            max_items: query.integer("MaxItems")?,
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: ListFunctionUrlConfigsResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `ListFunctions`.
#[derive(Clone, Copy, Debug)]
pub struct ListFunctions;

impl Call for ListFunctions {
    const NAME: &'static str = "ListFunctions";
    const SERVICE: Service = Service::Lambda;
    type Request = ListFunctionsRequest;
    type Response = ListFunctionsResponse;

    fn decode(
        parts: &Parts,
        _labels: Labels,
        _body: Bytes,
    ) -> Result<ListFunctionsRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let request = ListFunctionsRequest {
            master_region: query.string("MasterRegion"),
            function_version: query.string("FunctionVersion"),
            marker: query.string("Marker"),
            max_items: query.integer("MaxItems")?,
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        Ok(request)
    }

    fn encode(response: ListFunctionsResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `ListTags`.
#[derive(Clone, Copy, Debug)]
pub struct ListTags;

impl Call for ListTags {
    const NAME: &'static str = "ListTags";
    const SERVICE: Service = Service::Lambda;
    type Request = ListTagsRequest;
    type Response = ListTagsResponse;

    fn decode(_parts: &Parts, labels: Labels, _body: Bytes) -> Result<ListTagsRequest, WireFault> {
        let request = UncheckedListTagsRequest {
            resource: labels.get("Resource")?,
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: ListTagsResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `ListVersionsByFunction`.
#[derive(Clone, Copy, Debug)]
pub struct ListVersionsByFunction;

impl Call for ListVersionsByFunction {
    const NAME: &'static str = "ListVersionsByFunction";
    const SERVICE: Service = Service::Lambda;
    type Request = ListVersionsByFunctionRequest;
    type Response = ListVersionsByFunctionResponse;

    fn decode(
        parts: &Parts,
        labels: Labels,
        _body: Bytes,
    ) -> Result<ListVersionsByFunctionRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let request = UncheckedListVersionsByFunctionRequest {
            function_name: labels.get("FunctionName")?,
            marker: query.string("Marker"),
            max_items: query.integer("MaxItems")?,
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: ListVersionsByFunctionResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `PublishVersion`.
#[derive(Clone, Copy, Debug)]
pub struct PublishVersion;

impl Call for PublishVersion {
    const NAME: &'static str = "PublishVersion";
    const SERVICE: Service = Service::Lambda;
    type Request = PublishVersionRequest;
    type Response = FunctionConfiguration;

    fn decode(
        _parts: &Parts,
        labels: Labels,
        body: Bytes,
    ) -> Result<PublishVersionRequest, WireFault> {
        let mut request: UncheckedPublishVersionRequest = json::read(&body)?;
        request.function_name = labels.get("FunctionName")?;
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: FunctionConfiguration, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(201, "application/json", body, request_id)
    }
}

/// The operation `PutFunctionConcurrency`.
#[derive(Clone, Copy, Debug)]
pub struct PutFunctionConcurrency;

impl Call for PutFunctionConcurrency {
    const NAME: &'static str = "PutFunctionConcurrency";
    const SERVICE: Service = Service::Lambda;
    type Request = PutFunctionConcurrencyRequest;
    type Response = Concurrency;

    fn decode(
        _parts: &Parts,
        labels: Labels,
        body: Bytes,
    ) -> Result<PutFunctionConcurrencyRequest, WireFault> {
        let mut request: UncheckedPutFunctionConcurrencyRequest = json::read(&body)?;
        request.function_name = labels.get("FunctionName")?;
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: Concurrency, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `RemovePermission`.
#[derive(Clone, Copy, Debug)]
pub struct RemovePermission;

impl Call for RemovePermission {
    const NAME: &'static str = "RemovePermission";
    const SERVICE: Service = Service::Lambda;
    type Request = RemovePermissionRequest;
    type Response = ();

    fn decode(
        parts: &Parts,
        labels: Labels,
        _body: Bytes,
    ) -> Result<RemovePermissionRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let request = UncheckedRemovePermissionRequest {
            function_name: labels.get("FunctionName")?,
            statement_id: labels.get("StatementId")?,
            qualifier: query.string("Qualifier"),
            revision_id: query.string("RevisionId"),
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode((): (), request_id: &str) -> Response<Bytes> {
        let body = Bytes::new();
        answer(204, "application/json", body, request_id)
    }
}

/// The operation `TagResource`.
#[derive(Clone, Copy, Debug)]
pub struct TagResource;

impl Call for TagResource {
    const NAME: &'static str = "TagResource";
    const SERVICE: Service = Service::Lambda;
    type Request = TagResourceRequest;
    type Response = ();

    fn decode(
        _parts: &Parts,
        labels: Labels,
        body: Bytes,
    ) -> Result<TagResourceRequest, WireFault> {
        let mut request: UncheckedTagResourceRequest = json::read(&body)?;
        request.resource = labels.get("Resource")?;
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode((): (), request_id: &str) -> Response<Bytes> {
        let body = Bytes::new();
        answer(204, "application/json", body, request_id)
    }
}

/// The operation `UntagResource`.
#[derive(Clone, Copy, Debug)]
pub struct UntagResource;

impl Call for UntagResource {
    const NAME: &'static str = "UntagResource";
    const SERVICE: Service = Service::Lambda;
    type Request = UntagResourceRequest;
    type Response = ();

    fn decode(
        parts: &Parts,
        labels: Labels,
        _body: Bytes,
    ) -> Result<UntagResourceRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let request = UncheckedUntagResourceRequest {
            resource: labels.get("Resource")?,
            tag_keys: query.strings("tagKeys"),
        };
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode((): (), request_id: &str) -> Response<Bytes> {
        let body = Bytes::new();
        answer(204, "application/json", body, request_id)
    }
}

/// The operation `UpdateAlias`.
#[derive(Clone, Copy, Debug)]
pub struct UpdateAlias;

impl Call for UpdateAlias {
    const NAME: &'static str = "UpdateAlias";
    const SERVICE: Service = Service::Lambda;
    type Request = UpdateAliasRequest;
    type Response = AliasConfiguration;

    fn decode(
        _parts: &Parts,
        labels: Labels,
        body: Bytes,
    ) -> Result<UpdateAliasRequest, WireFault> {
        let mut request: UncheckedUpdateAliasRequest = json::read(&body)?;
        request.function_name = labels.get("FunctionName")?;
        request.name = labels.get("Name")?;
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: AliasConfiguration, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `UpdateFunctionCode`.
#[derive(Clone, Copy, Debug)]
pub struct UpdateFunctionCode;

impl Call for UpdateFunctionCode {
    const NAME: &'static str = "UpdateFunctionCode";
    const SERVICE: Service = Service::Lambda;
    type Request = UpdateFunctionCodeRequest;
    type Response = FunctionConfiguration;

    fn decode(
        _parts: &Parts,
        labels: Labels,
        body: Bytes,
    ) -> Result<UpdateFunctionCodeRequest, WireFault> {
        let mut request: UncheckedUpdateFunctionCodeRequest = json::read(&body)?;
        request.function_name = labels.get("FunctionName")?;
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: FunctionConfiguration, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `UpdateFunctionConfiguration`.
#[derive(Clone, Copy, Debug)]
pub struct UpdateFunctionConfiguration;

impl Call for UpdateFunctionConfiguration {
    const NAME: &'static str = "UpdateFunctionConfiguration";
    const SERVICE: Service = Service::Lambda;
    type Request = UpdateFunctionConfigurationRequest;
    type Response = FunctionConfiguration;

    fn decode(
        _parts: &Parts,
        labels: Labels,
        body: Bytes,
    ) -> Result<UpdateFunctionConfigurationRequest, WireFault> {
        let mut request: UncheckedUpdateFunctionConfigurationRequest = json::read(&body)?;
        request.function_name = labels.get("FunctionName")?;
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: FunctionConfiguration, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}

/// The operation `UpdateFunctionUrlConfig`.
#[derive(Clone, Copy, Debug)]
pub struct UpdateFunctionUrlConfig;

impl Call for UpdateFunctionUrlConfig {
    const NAME: &'static str = "UpdateFunctionUrlConfig";
    const SERVICE: Service = Service::Lambda;
    type Request = UpdateFunctionUrlConfigRequest;
    type Response = UpdateFunctionUrlConfigResponse;

    fn decode(
        parts: &Parts,
        labels: Labels,
        body: Bytes,
    ) -> Result<UpdateFunctionUrlConfigRequest, WireFault> {
        let query = Query::read(parts.uri.query())?;
        let mut request: UncheckedUpdateFunctionUrlConfigRequest = json::read(&body)?;
        request.function_name = labels.get("FunctionName")?;
        request.qualifier = query.string("Qualifier");
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        Ok(request)
    }

    fn encode(response: UpdateFunctionUrlConfigResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/json", body, request_id)
    }
}
