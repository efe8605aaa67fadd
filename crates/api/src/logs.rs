//! CloudWatch Logs: reading what functions and the platform wrote.
//!
//! Lines come from the log store, groups from the control plane. A message ends with a line feed,
//! as Lambda's do; bytes that are not UTF-8 are shown as U+FFFD.

mod filter;
mod merge;
mod pattern;

use crate::{Api, arn::denied, auth::Signer, lambda::explain_plain, request::Request};
use bytes::Bytes;
use freehold_control::{ControlError, Place, Resource};
use freehold_domain::{
    Principal, Wall,
    logs::{LogGroupName, LogLine, LogStreamName},
    ports::{LogQuery, LogStreamInfo},
};
use freehold_identity::policy::{Action, Decision, ResourceContext, decide};
use freehold_wire::{
    ApiError, Call, Labels, Service, common,
    logs::{self, Operation, error},
};
use http::Response;

/// Events on a page at the most, and without a limit. Source: GetLogEvents, FilterLogEvents.
const EVENTS_MAX: usize = 10_000;
/// Bytes of text on a page at the most. Source: GetLogEvents.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Streams and groups on a page, by default and at the most.
const NAMES_MAX: usize = 50;

pub(crate) struct Ctx<'a> {
    api: &'a Api,
    who: Principal,
    place: Place,
}

/// Answers one request.
pub(crate) async fn serve(api: &Api, request: Request, signer: Signer) -> Response<Bytes> {
    let id = request.id.to_string();
    match answer(api, request, signer).await {
        Ok(response) => response,
        Err(error) => {
            if error.status >= 500 {
                tracing::error!(%error, request = id, "a call of the Logs API failed");
            }
            error.encode(Service::Logs, &id)
        }
    }
}

async fn answer(api: &Api, request: Request, signer: Signer) -> Result<Response<Bytes>, ApiError> {
    let Some(operation) = Operation::route(&request.parts.headers) else {
        return Err(common::unknown_operation(
            "X-Amz-Target names no operation of CloudWatch Logs",
        ));
    };
    let Some(tenant) = signer.principal.tenant().cloned() else {
        return Err(common::access_denied(
            "The principal belongs to no account.",
        ));
    };
    let none = ResourceContext::default();
    if decide(
        &signer.principal,
        &tenant,
        Action("logs:Manage"),
        &[],
        &none,
    ) == Decision::Deny
    {
        return Err(denied(
            &signer.principal,
            &format!("logs:{}", operation.name()),
            "*",
        ));
    }
    if !operation.is_served() {
        return Err(common::not_implemented(Service::Logs, operation.name()));
    }
    let ctx = Ctx {
        api,
        who: signer.principal,
        place: Place {
            tenant,
            region: signer.region,
        },
    };
    let request = &request;
    match operation {
        Operation::DescribeLogGroups => {
            call::<logs::DescribeLogGroups, _>(request, |asked| groups(&ctx, asked)).await
        }
        Operation::DescribeLogStreams => {
            call::<logs::DescribeLogStreams, _>(request, |asked| streams(&ctx, asked)).await
        }
        Operation::GetLogEvents => {
            call::<logs::GetLogEvents, _>(request, |asked| events(&ctx, asked)).await
        }
        Operation::FilterLogEvents => {
            call::<logs::FilterLogEvents, _>(request, |asked| filter::events(&ctx, asked)).await
        }
        Operation::DeleteLogGroup => {
            call::<logs::DeleteLogGroup, _>(request, |asked| remove(&ctx, asked)).await
        }
        Operation::PutRetentionPolicy => {
            call::<logs::PutRetentionPolicy, _>(request, |asked| retention(&ctx, asked)).await
        }
        other => Err(common::not_implemented(Service::Logs, other.name())),
    }
}

async fn call<C: Call, F>(
    request: &Request,
    run: impl FnOnce(C::Request) -> F,
) -> Result<Response<Bytes>, ApiError>
where
    F: Future<Output = Result<C::Response, ApiError>>,
{
    let decoded = C::decode(&request.parts, Labels::default(), request.body.clone())
        .map_err(|fault| fault.into_error(C::SERVICE))?;
    Ok(C::encode(run(decoded).await?, &request.id.to_string()))
}

async fn groups(
    ctx: &Ctx<'_>,
    asked: logs::DescribeLogGroupsRequest,
) -> Result<logs::DescribeLogGroupsResponse, ApiError> {
    if asked.log_group_name_pattern.is_some() || asked.log_group_identifiers.is_some() {
        return Err(error::invalid_parameter(
            "logGroupNamePattern and logGroupIdentifiers are not supported by this release of Freehold; give logGroupNamePrefix",
        ));
    }
    let prefix = asked.log_group_name_prefix.unwrap_or_default();
    let page = ctx
        .api
        .control
        .log_group_list(
            &ctx.who,
            &ctx.place,
            &prefix,
            asked.next_token.as_deref(),
            size(asked.limit, NAMES_MAX),
        )
        .await
        .map_err(explain)?;
    let rows = page.items.into_iter().map(|one| {
        let arn = group_arn(&ctx.place, &one.group.name);
        logs::LogGroup {
            log_group_name: Some(one.group.name),
            creation_time: Some(one.group.created.millis()),
            retention_in_days: one.group.retention_days.map(|days| days as i32),
            metric_filter_count: Some(0),
            arn: Some(format!("{arn}:*")),
            stored_bytes: Some(one.stored_bytes as i64),
            log_group_class: Some("STANDARD".into()),
            log_group_arn: Some(arn),
            ..logs::LogGroup::default()
        }
    });
    Ok(logs::DescribeLogGroupsResponse {
        log_groups: Some(rows.collect()),
        next_token: page.next,
    })
}

async fn streams(
    ctx: &Ctx<'_>,
    asked: logs::DescribeLogStreamsRequest,
) -> Result<logs::DescribeLogStreamsResponse, ApiError> {
    let group = group_of(ctx, asked.log_group_name, asked.log_group_identifier).await?;
    let by_time = asked.order_by.as_deref() == Some("LastEventTime");
    let prefix = asked.log_stream_name_prefix.unwrap_or_default();
    if by_time && !prefix.is_empty() {
        return Err(error::invalid_parameter(
            "Cannot order by LastEventTime with a logStreamNamePrefix.",
        ));
    }
    let limit = size(asked.limit, NAMES_MAX).unwrap_or(NAMES_MAX);
    let mut all = all_streams(ctx, &group, &prefix).await?;
    if by_time {
        all.sort_by(|a, b| (a.last, &a.name).cmp(&(b.last, &b.name)));
    }
    if asked.descending == Some(true) {
        all.reverse();
    }
    // The token is the name of the last stream that was shown.
    let from = match &asked.next_token {
        None => 0,
        Some(token) => {
            1 + all
                .iter()
                .position(|one| one.name == *token)
                .ok_or_else(|| error::invalid_parameter("The specified nextToken is invalid."))?
        }
    };
    let page: Vec<LogStreamInfo> = all.iter().skip(from).take(limit).cloned().collect();
    let more = from + page.len() < all.len();
    let next_token = page.last().filter(|_| more).map(|last| last.name.clone());
    let rows = page.into_iter().map(|one| logs::LogStream {
        arn: Some(format!(
            "{}:log-stream:{}",
            group_arn(&ctx.place, &group.group),
            one.name
        )),
        log_stream_name: Some(one.name),
        creation_time: Some(one.created.millis()),
        first_event_timestamp: one.first.map(Wall::millis),
        last_event_timestamp: one.last.map(Wall::millis),
        last_ingestion_time: one.last.map(Wall::millis),
        upload_sequence_token: None,
        stored_bytes: Some(one.bytes as i64),
    });
    Ok(logs::DescribeLogStreamsResponse {
        log_streams: Some(rows.collect()),
        next_token,
    })
}

async fn events(
    ctx: &Ctx<'_>,
    asked: logs::GetLogEventsRequest,
) -> Result<logs::GetLogEventsResponse, ApiError> {
    let group = group_of(ctx, asked.log_group_name, asked.log_group_identifier).await?;
    let (position, backwards) = match asked.next_token.as_deref() {
        Some(token) => {
            let (position, backwards) = position_of(token)
                .ok_or_else(|| error::invalid_parameter("The specified nextToken is invalid."))?;
            (Some(position), backwards)
        }
        None => (None, asked.start_from_head != Some(true)),
    };
    let query = LogQuery {
        from: asked.start_time.map(Wall::from_millis),
        until: asked.end_time.map(Wall::from_millis),
        position,
        backwards,
        limit: size(asked.limit, EVENTS_MAX).unwrap_or(EVENTS_MAX),
        bytes: PAGE_BYTES_MAX,
    };
    let stream = LogStreamName {
        group,
        stream: asked.log_stream_name,
    };
    let page = freehold_domain::ports::LogStore::read(&*ctx.api.storage, &ctx.who, &stream, query)
        .await
        .map_err(|fault| explain(fault.into()))?;
    // A stream with lines exists: only an empty page leaves the question open.
    if page.lines.is_empty()
        && stream_named(ctx, &stream.group, &stream.stream)
            .await?
            .is_none()
    {
        return Err(error::resource_not_found(
            "The specified log stream does not exist.",
        ));
    }
    let events = page
        .lines
        .iter()
        .map(|(_, stored, line)| logs::OutputLogEvent {
            timestamp: Some(line.at.millis()),
            message: Some(message(line)),
            ingestion_time: Some(stored.millis()),
        });
    Ok(logs::GetLogEventsResponse {
        events: Some(events.collect()),
        next_forward_token: Some(format!("f/{:056}", page.after)),
        next_backward_token: Some(format!("b/{:056}", page.before)),
    })
}

async fn remove(ctx: &Ctx<'_>, asked: logs::DeleteLogGroupRequest) -> Result<(), ApiError> {
    must_exist(ctx, &asked.log_group_name).await?;
    let done = ctx
        .api
        .control
        .log_group_delete(&ctx.who, &ctx.place, &asked.log_group_name)
        .await;
    done.map_err(explain)
}

async fn retention(ctx: &Ctx<'_>, asked: logs::PutRetentionPolicyRequest) -> Result<(), ApiError> {
    must_exist(ctx, &asked.log_group_name).await?;
    let days = u32::try_from(asked.retention_in_days).ok();
    let done = ctx
        .api
        .control
        .log_group_retention(&ctx.who, &ctx.place, &asked.log_group_name, days)
        .await;
    done.map_err(explain)
}

fn explain(fault: ControlError) -> ApiError {
    match fault {
        ControlError::NotFound {
            what: Resource::LogGroup,
            ..
        } => error::resource_not_found("The specified log group does not exist."),
        ControlError::Invalid { reason, .. } => error::invalid_parameter(reason),
        other => explain_plain(other),
    }
}

/// The group that a request names, by name or ARN; it exists.
async fn group_of(
    ctx: &Ctx<'_>,
    name: Option<String>,
    identifier: Option<String>,
) -> Result<LogGroupName, ApiError> {
    let group = match (name, identifier) {
        (Some(name), None) => name,
        (None, Some(identifier)) => match identifier.split_once(":log-group:") {
            Some((_, name)) => name.trim_end_matches(":*").to_owned(),
            None => identifier,
        },
        _ => {
            return Err(error::invalid_parameter(
                "Exactly one of logGroupName and logGroupIdentifier must be given.",
            ));
        }
    };
    must_exist(ctx, &group).await?;
    Ok(name_of(ctx, &group))
}

fn name_of(ctx: &Ctx<'_>, group: &str) -> LogGroupName {
    LogGroupName {
        tenant: ctx.place.tenant.clone(),
        region: ctx.place.region.clone(),
        group: group.to_owned(),
    }
}

/// Whether a group exists. Its first lines may be stored a moment before its record is: then it is
/// recorded here.
async fn must_exist(ctx: &Ctx<'_>, group: &str) -> Result<(), ApiError> {
    let found = ctx
        .api
        .control
        .log_group_get(&ctx.who, &ctx.place, group)
        .await;
    let Err(ControlError::NotFound { .. }) = &found else {
        return found.map(drop).map_err(explain);
    };
    let lines = ctx
        .api
        .storage
        .streams(&ctx.who, &name_of(ctx, group), "", None, 1)
        .await;
    if lines.map_err(|fault| explain(fault.into()))?.is_empty() {
        return found.map(drop).map_err(explain);
    }
    let made = ctx
        .api
        .control
        .log_group_ensure(&ctx.who, &ctx.place, group)
        .await;
    made.map_err(explain)
}

async fn all_streams(
    ctx: &Ctx<'_>,
    group: &LogGroupName,
    prefix: &str,
) -> Result<Vec<LogStreamInfo>, ApiError> {
    const CHUNK: usize = 1000;
    let (mut all, mut after) = (Vec::<LogStreamInfo>::new(), None::<String>);
    loop {
        let page = ctx
            .api
            .storage
            .streams(&ctx.who, group, prefix, after.as_deref(), CHUNK)
            .await
            .map_err(|fault| explain(fault.into()))?;
        let Some(last) = page.last() else {
            return Ok(all);
        };
        after = Some(last.name.clone());
        all.extend(page);
    }
}

/// The stream of this very name.
async fn stream_named(
    ctx: &Ctx<'_>,
    group: &LogGroupName,
    name: &str,
) -> Result<Option<LogStreamInfo>, ApiError> {
    let storage = &ctx.api.storage;
    let found = storage.streams(&ctx.who, group, name, None, 1).await;
    let found = found.map_err(|fault| explain(fault.into()))?;
    Ok(found.into_iter().next().filter(|one| one.name == name))
}

fn position_of(token: &str) -> Option<(u64, bool)> {
    let (direction, digits) = token.split_once('/')?;
    let position = digits.parse().ok()?;
    match direction {
        "f" => Some((position, false)),
        "b" => Some((position, true)),
        _ => None,
    }
}

/// The text as a client sees it.
fn message(line: &LogLine) -> String {
    let mut text = String::from_utf8_lossy(&line.text).into_owned();
    text.push('\n');
    text
}

fn group_arn(place: &Place, name: &str) -> String {
    format!(
        "arn:aws:logs:{}:{}:log-group:{name}",
        place.region, place.tenant
    )
}

fn size(asked: Option<i32>, most: usize) -> Option<usize> {
    asked
        .and_then(|number| usize::try_from(number).ok())
        .map(|number| number.clamp(1, most))
}
