//! A live instance as the server holds it.

use super::lane::{Answer, Lane};
use crate::{cgroup::Gauges, protocol::Request};
use freehold_domain::{
    BoxFuture,
    ports::{ExitReport, Instance, InstanceGone, InstanceIo, InstanceUsage, Spent},
};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::watch;

/// What outlives the handle: how it ended, for whoever waits for that.
#[derive(Debug)]
pub(super) struct Shared {
    ended: watch::Sender<Option<ExitReport>>,
    usage: Mutex<InstanceUsage>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            ended: watch::Sender::new(None),
            usage: Mutex::default(),
        }
    }
}

impl Shared {
    pub(super) fn end(&self, report: ExitReport) {
        self.ended.send_if_modified(|ended| {
            ended.is_none() && {
                *ended = Some(report);
                true
            }
        });
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

/// The handle; dropping the last one destroys the instance.
pub(super) struct LiveInstance {
    lane: Arc<Lane>,
    generation: u32,
    number: u64,
    shared: Arc<Shared>,
    io: Mutex<Option<InstanceIo>>,
    gauges: Option<Gauges>,
}

impl LiveInstance {
    pub(super) fn new(
        lane: Arc<Lane>,
        generation: u32,
        number: u64,
        shared: Arc<Shared>,
        io: Option<InstanceIo>,
        gauges: Option<Gauges>,
    ) -> LiveInstance {
        LiveInstance {
            lane,
            generation,
            number,
            shared,
            io: Mutex::new(io),
            gauges,
        }
    }

    async fn ask(&self, request: impl Fn(u64) -> Request) -> Result<Answer, InstanceGone> {
        match self.lane.ask(self.generation, request).await {
            Some(Answer::NotThere) | None => Err(InstanceGone),
            Some(answer) => Ok(answer),
        }
    }
}

impl Instance for LiveInstance {
    fn take_io(&self) -> Option<InstanceIo> {
        self.io.lock().take()
    }

    fn freeze(&self) -> BoxFuture<'_, Result<(), InstanceGone>> {
        let number = self.number;
        Box::pin(async move {
            self.ask(|token| Request::Freeze { token, number })
                .await
                .map(drop)
        })
    }

    fn thaw(&self) -> BoxFuture<'_, Result<(), InstanceGone>> {
        let number = self.number;
        Box::pin(async move {
            self.ask(|token| Request::Thaw { token, number })
                .await
                .map(drop)
        })
    }

    fn spent(&self) -> Result<Spent, InstanceGone> {
        let gauges = self.gauges.as_ref().ok_or(InstanceGone)?;
        gauges.read().map_err(|_| InstanceGone)
    }

    fn usage(&self) -> BoxFuture<'_, Result<InstanceUsage, InstanceGone>> {
        let number = self.number;
        Box::pin(async move {
            match self.ask(|token| Request::Usage { token, number }).await? {
                Answer::Used(usage) => {
                    *self.shared.usage.lock() = usage;
                    Ok(usage)
                }
                _ => Err(InstanceGone),
            }
        })
    }

    fn destroy(&self) -> BoxFuture<'_, ExitReport> {
        Box::pin(async move {
            self.lane.destroy(self.generation, self.number);
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
            self.lane.destroy(self.generation, self.number);
        }
    }
}
