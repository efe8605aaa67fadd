//! The admin listener: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever restarts us.
//!
//! Bounded in series: numbers of the node, labelled by reasons and endings that are lists of ours,
//! never by what a tenant chose.

use crate::{
    door::{self, Door},
    hosts::Hosts,
    unread::Answering,
};
use bytes::Bytes;
use freehold_domain::BoxFuture;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;

/// One number with its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Label names and values, both of ours.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: f64,
}

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Its name, unit last, without `_total`.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// Its series.
    pub samples: Vec<Sample>,
}

impl Family {
    /// A metric of one series.
    pub fn single(name: &'static str, help: &'static str, is_counter: bool, value: f64) -> Self {
        let samples = vec![Sample {
            labels: Vec::new(),
            value,
        }];
        Self {
            name,
            help,
            is_counter,
            samples,
        }
    }
}

/// Where the numbers come from.
pub trait MetricsSource: Send + Sync {
    /// The numbers of this moment.
    fn families(&self) -> BoxFuture<'_, Vec<Family>>;
    /// What an operator should hear although requests are served, on one line.
    fn notice(&self) -> Option<String>;
    /// Whether new requests are served.
    fn ready(&self) -> bool;
}

#[derive(Debug)]
struct Snapshot(Vec<Family>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for family in &self.0 {
            let kind = if family.is_counter {
                MetricType::Counter
            } else {
                MetricType::Gauge
            };
            let mut descriptor = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            if let [Sample { labels, value }] = family.samples.as_slice()
                && labels.is_empty()
            {
                encode(family.is_counter, *value, descriptor)?;
                continue;
            }
            for sample in &family.samples {
                let labels: Vec<(&str, &str)> = sample
                    .labels
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                let series = descriptor.encode_family(&labels)?;
                encode(family.is_counter, sample.value, series)?;
            }
        }
        Ok(())
    }
}

fn encode(is_counter: bool, value: f64, to: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
    if is_counter {
        ConstCounter::new(value).encode(to)
    } else {
        ConstGauge::new(value).encode(to)
    }
}

/// The text that Prometheus reads.
pub fn render(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot(families)));
    let mut text = String::new();
    match text::encode(&mut text, &registry) {
        Ok(()) => text,
        Err(error) => format!("# the metrics could not be written: {error}\n# EOF\n"),
    }
}

/// Connections of the admin listener at once.
const CONNECTIONS_MAX: usize = 64;

/// Serves the admin listener until `stop`.
pub async fn serve(
    listener: TcpListener,
    door: Door,
    source: Arc<dyn MetricsSource>,
    stop: CancellationToken,
) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let is_crowded = places.available_permits() < CONNECTIONS_MAX / 4;
        let (source, door) = (source.clone(), door.clone());
        tokio::spawn(async move {
            let hosts = door.hosts.whole();
            match &door.tls {
                None => connection(stream, hosts, source).await,
                Some(tls) => {
                    let answering = Arc::<Answering>::default();
                    if let Some(stream) = door::encrypt(tls, stream, answering, is_crowded).await {
                        connection(stream, hosts, source).await;
                    }
                }
            }
            drop(place);
        });
    }
}

/// Serves one connection to its end.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    hosts: Arc<Hosts>,
    source: Arc<dyn MetricsSource>,
) {
    let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (hosts, source) = (hosts.clone(), source.clone());
        async move { Ok::<_, Infallible>(answer(&request, &hosts, &*source).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

async fn answer<B>(
    request: &hyper::Request<B>,
    hosts: &Hosts,
    source: &dyn MetricsSource,
) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        _ if !crate::listener::names(hosts, request) => (
            StatusCode::MISDIRECTED_REQUEST,
            "text/plain",
            "this server is not known by that name: see server.hosts of freehold.toml\n".to_owned(),
        ),
        (&Method::GET, "/metrics") => (
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            render(source.families().await),
        ),
        (&Method::GET, "/healthz") => {
            let notice = source.notice().map(|notice| format!("{notice}\n"));
            let text = format!("ok\n{}", notice.unwrap_or_default());
            (StatusCode::OK, "text/plain", text)
        }
        (&Method::GET, "/readyz") if source.ready() => {
            (StatusCode::OK, "text/plain", "ready\n".to_owned())
        }
        (&Method::GET, "/readyz") => (
            StatusCode::SERVICE_UNAVAILABLE,
            "text/plain",
            "draining\n".to_owned(),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "there are /metrics, /healthz, /readyz\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_gauges_are_written_with_their_labels() {
        let text = render(vec![
            Family::single("freehold_instances", "Live instances", false, 3.0),
            Family {
                name: "freehold_invocations",
                help: "Invocations",
                is_counter: true,
                samples: vec![Sample {
                    labels: vec![("ending", "success".into())],
                    value: 7.0,
                }],
            },
        ]);
        assert!(text.contains("freehold_instances 3.0"), "{text}");
        assert!(
            text.contains("freehold_invocations_total{ending=\"success\"} 7.0"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
