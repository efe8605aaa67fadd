//! FilterLogEvents: the lines of many streams in order of time.
//!
//! The token of a page is the place of its last line in the [`merge`](super::merge)'s order, so
//! that pages neither repeat nor leave out a line.

use super::{
    Ctx, EVENTS_MAX, PAGE_BYTES_MAX, all_streams, explain, group_of,
    merge::{Merge, Place},
    message,
    pattern::Pattern,
    size, stream_named,
};
use freehold_domain::{
    Wall,
    logs::{LineKind, LogGroupName, LogLine},
    ports::LogStreamInfo,
};
use freehold_wire::{
    ApiError,
    logs::{self, error},
};
use std::collections::BTreeSet;

/// Lines looked at for one page, matching or not; a page may be empty with a token.
const SCAN_LINES_MAX: usize = 200_000;

pub(super) async fn events(
    ctx: &Ctx<'_>,
    asked: logs::FilterLogEventsRequest,
) -> Result<logs::FilterLogEventsResponse, ApiError> {
    let group = group_of(ctx, asked.log_group_name, asked.log_group_identifier).await?;
    let pattern = Pattern::parse(asked.filter_pattern.as_deref().unwrap_or(""))
        .map_err(|fault| error::invalid_parameter(fault.to_string()))?;
    let after = match asked.next_token.as_deref() {
        None => None,
        Some(token) => Some(
            Place::parse(token)
                .ok_or_else(|| error::invalid_parameter("The specified nextToken is invalid."))?,
        ),
    };
    let from = asked
        .start_time
        .map(Wall::from_millis)
        .max(after.as_ref().map(|place| place.at));
    // endTime is the last millisecond that is included.
    let until = asked
        .end_time
        .map(|ms| Wall::from_millis(ms.saturating_add(1)));
    let names = asked.log_stream_names;
    let prefix = asked.log_stream_name_prefix.unwrap_or_default();
    if names.is_some() && !prefix.is_empty() {
        return Err(error::invalid_parameter(
            "logStreamNames and logStreamNamePrefix cannot be given together.",
        ));
    }
    let streams = match &names {
        None => all_streams(ctx, &group, &prefix).await?,
        Some(names) => streams_named(ctx, &group, names).await?,
    };
    let mut merge = Merge::new(&*ctx.api.storage, &ctx.who, group, from, until);
    for info in streams {
        let in_time = from.is_none_or(|from| info.last.is_none_or(|last| last >= from))
            && until.is_none_or(|until| info.first.is_none_or(|first| first < until));
        if in_time {
            merge.add(info.name, info.first);
        }
    }
    let limit = size(asked.limit, EVENTS_MAX).unwrap_or(EVENTS_MAX);
    let (mut found, mut bytes, mut scanned) = (Vec::new(), 0, 0);
    let (mut last, mut next_token) = (after.clone(), None);
    while let Some((place, stored, line)) =
        merge.next().await.map_err(|fault| explain(fault.into()))?
    {
        if after.as_ref().is_some_and(|after| place <= *after) {
            continue;
        }
        if found.len() >= limit || bytes >= PAGE_BYTES_MAX || scanned >= SCAN_LINES_MAX {
            next_token = last.as_ref().map(Place::token);
            break;
        }
        scanned += 1;
        if pattern.matches(&line.text) {
            bytes += line.text.len();
            found.push(event(&place, stored, &line));
        }
        last = Some(place);
    }
    Ok(logs::FilterLogEventsResponse {
        events: Some(found),
        searched_log_streams: Some(Vec::new()),
        next_token,
    })
}

/// Those of the streams that are there. A name that is not is no error.
async fn streams_named(
    ctx: &Ctx<'_>,
    group: &LogGroupName,
    names: &[String],
) -> Result<Vec<LogStreamInfo>, ApiError> {
    let names: BTreeSet<&String> = names.iter().collect();
    let mut found = Vec::new();
    for name in names {
        found.extend(stream_named(ctx, group, name).await?);
    }
    Ok(found)
}

/// An event's id, 56 digits as on AWS: when, which stream, where in it, and 1 for a line of the
/// platform, so that a reader need not believe what a line looks like.
fn event(place: &Place, stored: Wall, line: &LogLine) -> logs::FilteredLogEvent {
    let stream = place
        .stream
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    logs::FilteredLogEvent {
        log_stream_name: Some(place.stream.clone()),
        timestamp: Some(line.at.millis()),
        message: Some(message(line)),
        ingestion_time: Some(stored.millis()),
        event_id: Some(format!(
            "{:014}{stream:020}{:021}{}",
            line.at.millis(),
            place.position,
            u8::from(line.kind == LineKind::Platform)
        )),
    }
}
