//! A live instance as the server holds it.

use super::lane::{Answer, Lane};
use crate::{
    cgroup::Gauges,
    protocol::{Request, Specialise, bounds},
    start_image::{Obstacle, ObstacleKind},
};
use freehold_domain::{
    BoxFuture, NetworkBytes,
    ports::{
        ExitReport, ImageError, Instance, InstanceGone, InstanceIo, InstanceUsage, Recount,
        Specialisation, Spent, StartError, StartImage,
    },
    time::Mono,
};
use parking_lot::Mutex;
use std::{os::fd::AsFd, sync::Arc, time::Duration};
use tokio::sync::watch;

/// What outlives the handle: how it ended, for whoever waits for that.
#[derive(Debug)]
pub(super) struct Shared {
    ended: watch::Sender<Option<ExitReport>>,
    /// Whether its runtime came to run, once that is known.
    begun: watch::Sender<Option<Result<(), StartError>>>,
    usage: Mutex<InstanceUsage>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            ended: watch::Sender::new(None),
            begun: watch::Sender::new(None),
            usage: Mutex::default(),
        }
    }
}

impl Shared {
    pub(super) fn end(&self, report: ExitReport) {
        // Who ended without a word of that had come to run.
        self.began(Ok(()));
        self.ended.send_if_modified(|ended| {
            ended.is_none() && {
                *self.usage.lock() = report.usage;
                *ended = Some(report);
                true
            }
        });
    }

    /// Its runtime runs, or never will; the first word counts.
    pub(super) fn began(&self, how: Result<(), StartError>) {
        self.begun.send_if_modified(|begun| {
            begun.is_none() && {
                *begun = Some(how);
                true
            }
        });
    }

    /// See [`Instance::begun`].
    async fn until_begun(&self) -> Result<(), StartError> {
        let mut begun = self.begun.subscribe();
        loop {
            if let Some(how) = begun.borrow_and_update().clone() {
                return how;
            }
            // The sender lives in `self`, so the channel cannot close.
            let _ = begun.changed().await;
        }
    }

    pub(super) fn last_usage(&self) -> InstanceUsage {
        *self.usage.lock()
    }

    async fn wait(&self) -> ExitReport {
        let mut ended = self.ended.subscribe();
        loop {
            if let Some(report) = ended.borrow_and_update().clone() {
                return report;
            }
            // The sender lives in `self`, so the channel cannot close.
            let _ = ended.changed().await;
        }
    }
}

/// Bytes by which what is said of an instance's memory may be too high after it grew: 3 % of the
/// smallest.
const ROUGH: u64 = 4 << 20;
/// An image that counts whole until there is time to look: whatever lives from it touches 3 MiB at
/// once, so that is off by less than 5 % of the smallest.
const SMALL_IMAGE: u64 = 8 << 20;
/// Processor time in which much of an image may have been read: it is counted then, µs.
const READS_US: u64 = 2_000;
/// How often it is counted what an instance has in common with its image, beside its events.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// What is known of an instance's memory beside its gauges.
#[derive(Debug, Clone, Copy)]
struct Counted {
    /// When; of what was never asked for all of the image is taken to be in use.
    at: Option<Mono>,
    /// What it has in common with others of its image.
    common_bytes: u64,
    /// The highest of its own then.
    own_bytes: u64,
    /// The highest sum that was known then.
    highest_bytes: u64,
    /// Its processor time then.
    cpu_us: u64,
}

/// By which its spawner knows it.
pub(super) struct Name {
    pub(super) lane: Arc<Lane>,
    pub(super) generation: u32,
    pub(super) number: u64,
}

/// The handle; dropping the last one destroys the instance.
pub(super) struct LiveInstance {
    name: Name,
    runtime: u32,
    /// What it was thawed from.
    image_bytes: u64,
    counted: Mutex<Counted>,
    shared: Arc<Shared>,
    io: Mutex<Option<InstanceIo>>,
    gauges: Option<Gauges>,
}

impl LiveInstance {
    /// `made_of`: row of the runtime, bytes of the image.
    pub(super) fn new(
        name: Name,
        made_of: (u32, u64),
        shared: Arc<Shared>,
        (io, gauges): (Option<InstanceIo>, Option<Gauges>),
    ) -> LiveInstance {
        let (runtime, image_bytes) = made_of;
        LiveInstance {
            name,
            runtime,
            image_bytes,
            counted: Mutex::new(Counted {
                at: None,
                common_bytes: image_bytes,
                own_bytes: 0,
                highest_bytes: 0,
                cpu_us: 0,
            }),
            shared,
            io: Mutex::new(io),
            gauges,
        }
    }

    async fn ask(&self, request: impl Fn(u64) -> Request) -> Result<Answer, InstanceGone> {
        let Name {
            lane, generation, ..
        } = &self.name;
        match lane.ask(*generation, request, &[]).await {
            Some(Answer::NotThere) | None => Err(InstanceGone),
            Some(answer) => Ok(answer),
        }
    }

    fn destroy_now(&self) {
        self.name
            .lane
            .destroy(self.name.generation, self.name.number);
    }
}

impl Instance for LiveInstance {
    fn take_io(&self) -> Option<InstanceIo> {
        self.io.lock().take()
    }

    fn begun(&self) -> BoxFuture<'static, Result<(), StartError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.until_begun().await })
    }

    fn specialise(
        &self,
        to: Specialisation,
        deadline: Mono,
    ) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(async move {
            let Name {
                lane,
                generation,
                number,
            } = &self.name;
            let request = |token| {
                Request::Specialise(Specialise {
                    token,
                    number: *number,
                    memory_mib: to.memory.0,
                    tmp_mib: to.tmp.0,
                    pids: to.pids,
                    cpu_weight: to.cpu.weight,
                    cpu_quota_us: to.cpu.quota_us.unwrap_or(0),
                    network: to.network.0.into(),
                })
            };
            // The other side would refuse the packet without knowing whose it was.
            Request::decode(&request(0).encode()).map_err(|e| StartError::Step {
                step: "limits".into(),
                reason: e.to_string(),
            })?;
            let package = [to.package.as_fd()];
            tokio::select! {
                biased;
                answer = lane.ask(*generation, request, &package) => match answer {
                    Some(Answer::Done) => Ok(()),
                    Some(Answer::Failed(error)) => Err(error),
                    _ => Err(StartError::SpawnerLost { core: lane.number() }),
                },
                () = lane.clock.sleep_until(deadline) => Err(StartError::Deadline),
            }
        })
    }

    fn take_image(&self, deadline: Mono) -> BoxFuture<'_, Result<StartImage, ImageError>> {
        Box::pin(async move {
            let Name { lane, number, .. } = &self.name;
            let left_ms = deadline.0.saturating_sub(lane.clock.now().0) / 1_000_000;
            let most = u64::from(*bounds::WITHIN_MS.end());
            let within_ms = u32::try_from(left_ms.min(most)).unwrap_or(0);
            if within_ms == 0 {
                return Err(ImageError::Deadline);
            }
            let asked = self.ask(|token| Request::TakeImage {
                token,
                number: *number,
                within_ms,
            });
            tokio::select! {
                biased;
                answer = asked => match answer {
                    Ok(Answer::Image(name, bytes)) => Ok(StartImage {
                        runtime: self.runtime,
                        bytes,
                        descriptor: Arc::new(name),
                    }),
                    Ok(Answer::Obstacle(obstacle)) => Err(image_error(obstacle)),
                    _ => Err(ImageError::Gone),
                },
                () = lane.clock.sleep_until(deadline) => Err(ImageError::Deadline),
            }
        })
    }

    fn freeze(&self) -> BoxFuture<'_, Result<(), InstanceGone>> {
        let number = self.name.number;
        Box::pin(async move {
            self.ask(|token| Request::Freeze { token, number })
                .await
                .map(drop)
        })
    }

    fn thaw(&self) -> BoxFuture<'_, Result<(), InstanceGone>> {
        let number = self.name.number;
        Box::pin(async move {
            self.ask(|token| Request::Thaw { token, number })
                .await
                .map(drop)
        })
    }

    fn weigh(&self, weight: u32) {
        let Name {
            lane,
            generation,
            number,
        } = &self.name;
        let request = Request::Weigh {
            number: *number,
            cpu_weight: weight.clamp(*bounds::CPU_WEIGHT.start(), *bounds::CPU_WEIGHT.end()),
        };
        lane.tell(*generation, &request);
    }

    fn spent(&self) -> Result<Spent, InstanceGone> {
        let gauges = self.gauges.as_ref().ok_or(InstanceGone)?;
        let mut spent = gauges.read().map_err(|_| InstanceGone)?;
        let counted = *self.counted.lock();
        let sum = spent.own_peak_bytes + counted.common_bytes;
        spent.memory_peak_bytes = counted.highest_bytes.max(sum);
        Ok(spent)
    }

    fn recount(&self, spent: Spent) -> Recount {
        if self.image_bytes == 0 {
            return Recount::No;
        }
        let now = self.name.lane.clock.now();
        let mut counted = self.counted.lock();
        let Some(at) = counted.at else {
            // Of a small one nothing is far off.
            counted.at = Some(now);
            return match self.image_bytes > SMALL_IMAGE {
                true => Recount::Now,
                false => Recount::Soon,
            };
        };
        let grown = spent.own_peak_bytes.saturating_sub(counted.own_bytes);
        if counted.common_bytes.min(grown) > ROUGH {
            return Recount::Now;
        }
        // What was not touched when it was counted may have been read since, which is no growth.
        let untouched = self.image_bytes.saturating_sub(counted.common_bytes);
        let ran_us = spent.cpu_us.saturating_sub(counted.cpu_us);
        if self.image_bytes > SMALL_IMAGE && untouched > ROUGH && ran_us > READS_US {
            return Recount::Now;
        }
        match now.since(at) >= COUNT_EVERY {
            true => {
                counted.at = Some(now);
                Recount::Soon
            }
            false => Recount::No,
        }
    }

    fn usage(&self) -> BoxFuture<'_, Result<InstanceUsage, InstanceGone>> {
        let number = self.name.number;
        Box::pin(async move {
            match self.ask(|token| Request::Usage { token, number }).await? {
                Answer::Used(usage) => {
                    let own = self.gauges.as_ref().and_then(|gauges| gauges.read().ok());
                    let own = own.unwrap_or_default();
                    *self.counted.lock() = Counted {
                        at: Some(self.name.lane.clock.now()),
                        common_bytes: usage.shared_bytes,
                        own_bytes: own.own_peak_bytes,
                        highest_bytes: usage.memory_peak_bytes,
                        cpu_us: own.cpu_us,
                    };
                    *self.shared.usage.lock() = usage;
                    Ok(usage)
                }
                _ => Err(InstanceGone),
            }
        })
    }

    fn network(&self) -> NetworkBytes {
        self.shared.last_usage().network
    }

    fn destroy(&self) -> BoxFuture<'_, ExitReport> {
        Box::pin(async move {
            self.destroy_now();
            self.shared.wait().await
        })
    }

    fn exited(&self) -> BoxFuture<'static, ExitReport> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.wait().await })
    }
}

impl Drop for LiveInstance {
    fn drop(&mut self) {
        if self.shared.ended.borrow().is_none() {
            self.destroy_now();
        }
    }
}

fn image_error(obstacle: Obstacle) -> ImageError {
    match obstacle.kind {
        ObstacleKind::Ended | ObstacleKind::NotThere => ImageError::Gone,
        ObstacleKind::Deadline => ImageError::Deadline,
        ObstacleKind::Unsupported => ImageError::Unsupported {
            reason: obstacle.to_string(),
        },
        ObstacleKind::Step | ObstacleKind::Busy => ImageError::Step {
            step: "dump".into(),
            reason: obstacle.to_string(),
        },
        _ => ImageError::Refused {
            reason: obstacle.to_string(),
        },
    }
}
