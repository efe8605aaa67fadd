//! Amazon CloudWatch Logs: requests read from HTTP, answers written to it. Written by `cargo xtask codegen`; edits are lost.

use bytes::Bytes;
use http::{Response, request::Parts};

use super::rules::*;
use super::shapes::*;
use crate::{Call, Labels, Service, WireFault, constraints::Violations, json, locate::answer};

/// The operation `DeleteLogGroup`.
#[derive(Clone, Copy, Debug)]
pub struct DeleteLogGroup;

impl Call for DeleteLogGroup {
    const NAME: &'static str = "DeleteLogGroup";
    const SERVICE: Service = Service::Logs;
    type Request = DeleteLogGroupRequest;
    type Response = ();

    fn decode(
        _parts: &Parts,
        _labels: Labels,
        body: Bytes,
    ) -> Result<DeleteLogGroupRequest, WireFault> {
        let request: UncheckedDeleteLogGroupRequest = json::read(&body)?;
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
        answer(200, "application/x-amz-json-1.1", body, request_id)
    }
}

/// The operation `DescribeLogGroups`.
#[derive(Clone, Copy, Debug)]
pub struct DescribeLogGroups;

impl Call for DescribeLogGroups {
    const NAME: &'static str = "DescribeLogGroups";
    const SERVICE: Service = Service::Logs;
    type Request = DescribeLogGroupsRequest;
    type Response = DescribeLogGroupsResponse;

    fn decode(
        _parts: &Parts,
        _labels: Labels,
        body: Bytes,
    ) -> Result<DescribeLogGroupsRequest, WireFault> {
        let request: DescribeLogGroupsRequest = json::read(&body)?;
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        Ok(request)
    }

    fn encode(response: DescribeLogGroupsResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/x-amz-json-1.1", body, request_id)
    }
}

/// The operation `DescribeLogStreams`.
#[derive(Clone, Copy, Debug)]
pub struct DescribeLogStreams;

impl Call for DescribeLogStreams {
    const NAME: &'static str = "DescribeLogStreams";
    const SERVICE: Service = Service::Logs;
    type Request = DescribeLogStreamsRequest;
    type Response = DescribeLogStreamsResponse;

    fn decode(
        _parts: &Parts,
        _labels: Labels,
        body: Bytes,
    ) -> Result<DescribeLogStreamsRequest, WireFault> {
        let request: DescribeLogStreamsRequest = json::read(&body)?;
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        crate::logs::group_of_streams(&request)?;
        Ok(request)
    }

    fn encode(response: DescribeLogStreamsResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/x-amz-json-1.1", body, request_id)
    }
}

/// The operation `FilterLogEvents`.
#[derive(Clone, Copy, Debug)]
pub struct FilterLogEvents;

impl Call for FilterLogEvents {
    const NAME: &'static str = "FilterLogEvents";
    const SERVICE: Service = Service::Logs;
    type Request = FilterLogEventsRequest;
    type Response = FilterLogEventsResponse;

    fn decode(
        _parts: &Parts,
        _labels: Labels,
        body: Bytes,
    ) -> Result<FilterLogEventsRequest, WireFault> {
        let request: FilterLogEventsRequest = json::read(&body)?;
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        crate::logs::group_of_events(&request)?;
        Ok(request)
    }

    fn encode(response: FilterLogEventsResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/x-amz-json-1.1", body, request_id)
    }
}

/// The operation `GetLogEvents`.
#[derive(Clone, Copy, Debug)]
pub struct GetLogEvents;

impl Call for GetLogEvents {
    const NAME: &'static str = "GetLogEvents";
    const SERVICE: Service = Service::Logs;
    type Request = GetLogEventsRequest;
    type Response = GetLogEventsResponse;

    fn decode(
        _parts: &Parts,
        _labels: Labels,
        body: Bytes,
    ) -> Result<GetLogEventsRequest, WireFault> {
        let request: UncheckedGetLogEventsRequest = json::read(&body)?;
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        crate::logs::group_of_stream(&request)?;
        Ok(request)
    }

    fn encode(response: GetLogEventsResponse, request_id: &str) -> Response<Bytes> {
        let body = json::write(&response);
        answer(200, "application/x-amz-json-1.1", body, request_id)
    }
}

/// The operation `PutRetentionPolicy`.
#[derive(Clone, Copy, Debug)]
pub struct PutRetentionPolicy;

impl Call for PutRetentionPolicy {
    const NAME: &'static str = "PutRetentionPolicy";
    const SERVICE: Service = Service::Logs;
    type Request = PutRetentionPolicyRequest;
    type Response = ();

    fn decode(
        _parts: &Parts,
        _labels: Labels,
        body: Bytes,
    ) -> Result<PutRetentionPolicyRequest, WireFault> {
        let request: UncheckedPutRetentionPolicyRequest = json::read(&body)?;
        let mut violations = Violations::default();
        request.check(&mut violations);
        violations.finish()?;
        let request = request
            .accept()
            .ok_or_else(|| WireFault::Validation("a required member is missing".into()))?;
        crate::logs::retention_in_days(&request)?;
        Ok(request)
    }

    fn encode((): (), request_id: &str) -> Response<Bytes> {
        let body = Bytes::new();
        answer(200, "application/x-amz-json-1.1", body, request_id)
    }
}
