//! The server's side of the spawners: an async [`SandboxDriver`] over one socket per core.
//!
//! ```text
//!  start() ─▶ lane N: send ─▶ …… lane task on core N reads ─▶ wakes the caller
//! ```
//!
//! A request is written to the socket by whoever makes it, without a hop; answers are read on the
//! runtime of the lane's own core, so that a start on core N is answered on core N. A dropped
//! start destroys what was begun; a dropped instance is destroyed. A dead spawner fails what
//! waits for it and ends what ran on it; the next one takes over the lane. Refuses to wait
//! without a deadline for anything but an end.

mod instance;
mod lane;
mod room;

use crate::{
    block,
    launch::{LaneSocket, SupervisorHandle, meminfo_bytes, wait_gone},
    network::Way,
    protocol::{
        CARRIES_IMAGE, CARRIES_PACKAGE, EAGER, MESSAGE_MAX, Notice, Request, SHUTDOWN, Start,
        bounds,
    },
    sys::{processes, sockets},
};
use freehold_domain::{
    BoxFuture,
    ids::CoreId,
    network::{NetworkId, Ports},
    ports::{
        Admission, Clock, DriverCapacity, Instance, InstanceSpec, NameGate, SandboxDriver,
        StartError,
    },
    time::Mono,
};
use lane::Lane;
use parking_lot::Mutex;
use room::Room;
use rustix::process::{Resource, getrlimit};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// Descriptors that the server holds for one instance, at most: two listeners, its frames and once more
/// while it does not read them, two pipes, two gauges, the file of its log.
const DESCRIPTORS_EACH: u64 = 9;

/// Instances that `descriptors` allow. An eighth is for callers, files and spawners.
fn by_descriptors(descriptors: u64) -> u32 {
    let instances = (descriptors - descriptors / 8) / DESCRIPTORS_EACH;
    u32::try_from(instances).unwrap_or(u32::MAX).max(1)
}

/// The driver. One per server.
pub struct SandboxPool {
    lanes: Vec<Arc<Lane>>,
    clock: Arc<dyn Clock>,
    supervisor: OwnedFd,
    supervisor_pid: Arc<OwnedFd>,
    watching: Mutex<bool>,
    lost: watch::Sender<bool>,
    instances_max: u32,
    guests_memory_bytes: u64,
    room: Room,
    network: Result<Way, String>,
}

impl SandboxPool {
    /// Takes over the sockets. Nothing is read before [`SandboxPool::register`]. The descriptors that
    /// the process may open by now bound its instances.
    pub fn connect(handle: SupervisorHandle, clock: Arc<dyn Clock>) -> Arc<SandboxPool> {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let instances_max = handle.instances_max.min(by_descriptors(descriptors));
        if instances_max < handle.instances_max {
            tracing::info!(
                instances_max,
                descriptors,
                "descriptors allow fewer instances than are configured"
            );
        }
        // What was configured is a limit, not memory that is there.
        let guests_memory_bytes = match meminfo_bytes("MemTotal:") {
            0 => handle.guests_memory_bytes,
            total => handle.guests_memory_bytes.min(total),
        };
        let network = handle.network().map_err(str::to_owned);
        let way = network.as_ref().ok().copied();
        let (supervisor, pidfd, mut sockets) = handle.into_parts();
        let room = Room::new(Arc::clone(&clock));
        sockets.sort_by_key(|lane| lane.lane);
        let lanes = sockets
            .into_iter()
            .map(|socket| Arc::new(Lane::new(socket, way, Arc::clone(&clock))))
            .collect();
        Arc::new(SandboxPool {
            lanes,
            clock,
            supervisor,
            supervisor_pid: Arc::new(pidfd),
            watching: Mutex::new(false),
            lost: watch::Sender::new(false),
            instances_max,
            guests_memory_bytes,
            room,
            network,
        })
    }

    /// Which way out instances have; why none, for the operator.
    pub fn network(&self) -> Result<Way, &str> {
        self.network.as_ref().copied().map_err(String::as_str)
    }

    /// Reads the answers of `core`'s spawner on the calling thread's runtime, for as long as that
    /// runtime lives. Call it once per core, on that core; the first caller also listens to the
    /// supervisor.
    pub fn register(self: &Arc<Self>, core: CoreId) {
        if let Some(lane) = self.lanes.get(usize::from(core.0)) {
            tokio::spawn(Arc::clone(lane).serve());
        }
        if !std::mem::replace(&mut *self.watching.lock(), true) {
            tokio::spawn(Arc::clone(self).watch_supervisor());
        }
    }

    /// Resolves once the supervisor has died, and with it every instance: the server must end.
    pub async fn supervisor_lost(&self) {
        let mut lost = self.lost.subscribe();
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Ends every instance, the spawners and the supervisor, and waits until nothing is left.
    ///
    /// Errors: when that took longer than `within`.
    pub async fn shutdown(&self, within: Duration) -> io::Result<()> {
        sockets::send(self.supervisor.as_fd(), &SHUTDOWN, &[])?;
        for lane in &self.lanes {
            lane.close("the platform is shutting down");
        }
        let pidfd = Arc::clone(&self.supervisor_pid);
        tokio::task::spawn_blocking(move || wait_gone(&pidfd, within))
            .await
            .map_err(io::Error::other)?
    }

    async fn watch_supervisor(self: Arc<Self>) {
        let listening = self.supervisor.try_clone().and_then(sockets::watch);
        let Ok(socket) = listening else { return };
        while let Ok(mut ready) = socket.readable().await {
            let mut packet = [0u8; MESSAGE_MAX];
            let received = match sockets::receive(socket.get_ref().as_fd(), &mut packet, false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready.clear_ready();
                    continue;
                }
                Ok(received) if received.len > 0 => received,
                _ => break,
            };
            let notice = Notice::decode(&packet[..received.len]);
            let mut descriptors = received.descriptors;
            match notice {
                Ok(Notice::Lane { lane, generation }) => {
                    if let (Some(slot), Some(socket)) =
                        (self.lanes.get(usize::from(lane)), descriptors.pop())
                    {
                        slot.replace(LaneSocket {
                            lane,
                            generation,
                            socket,
                        });
                    }
                }
                Ok(Notice::LaneLost { lane, generation }) => {
                    tracing::warn!(lane, generation, "spawner died");
                    if let Some(slot) = self.lanes.get(usize::from(lane)) {
                        slot.cleared(generation);
                    }
                }
                Ok(Notice::Gone) => break,
                _ => {}
            }
        }
        for lane in &self.lanes {
            lane.close("the supervisor died");
        }
        self.lost.send_replace(true);
    }
}

impl SandboxDriver for SandboxPool {
    fn start(
        &self,
        spec: InstanceSpec,
        deadline: Mono,
    ) -> BoxFuture<'_, Result<Arc<dyn Instance>, StartError>> {
        self.begin(spec, deadline, 0)
    }

    fn launch(
        &self,
        spec: InstanceSpec,
        deadline: Mono,
    ) -> BoxFuture<'_, Result<Arc<dyn Instance>, StartError>> {
        self.begin(spec, deadline, EAGER)
    }

    fn images(&self) -> Result<(), String> {
        for (number, lane) in self.lanes.iter().enumerate() {
            lane.images()
                .map_err(|reason| format!("on core {number}: {reason}"))?;
        }
        Ok(())
    }

    fn capacity(&self) -> DriverCapacity {
        // A bound on descriptors may have left a spawner fewer than were asked for, too.
        let share = self.instances_max.div_ceil(self.lanes.len().max(1) as u32);
        let of_lane = |lane: &Arc<Lane>| lane.instances_max().unwrap_or(share);
        let by_lanes = self.lanes.iter().map(of_lane).fold(0, u32::saturating_add);
        DriverCapacity {
            memory_bytes: self.guests_memory_bytes,
            memory_available_bytes: self.room.available_bytes(),
            instances: self.instances_max.min(by_lanes),
        }
    }
}

impl NameGate for SandboxPool {
    fn admit(&self, core: CoreId, one: Admission) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let Some(lane) = self.lanes.get(usize::from(core.0)) else {
                return false;
            };
            let NetworkId(network) = one.network;
            let Ports { first, last } = one.ports;
            let lives_s = u32::try_from(one.lives.as_secs()).unwrap_or(u32::MAX);
            let admit = |token| Request::Admit {
                token,
                network: network.into(),
                address: one.address.to_bits(),
                first: first.into(),
                last: last.into(),
                lives_s: lives_s.clamp(*bounds::ADMITTED_S.start(), *bounds::ADMITTED_S.end()),
            };
            lane.ask_now(admit).await
        })
    }
}

impl SandboxPool {
    /// Sends a start and waits for the instance. `eager`: 0 or [`EAGER`].
    fn begin(
        &self,
        spec: InstanceSpec,
        deadline: Mono,
        eager: u32,
    ) -> BoxFuture<'_, Result<Arc<dyn Instance>, StartError>> {
        Box::pin(async move {
            let core = spec.core.0;
            let lane = self
                .lanes
                .get(usize::from(core))
                .ok_or(StartError::SpawnerLost { core })?;
            let refused = |reason: String| StartError::Step {
                step: "block".into(),
                reason,
            };
            let bytes = block::encode(&spec.args, &spec.env).map_err(|e| refused(e.to_string()))?;
            let block = processes::sealed_file(&bytes).map_err(|e| refused(e.to_string()))?;
            let start = Start {
                token: lane.next_token(),
                runtime: spec.runtime,
                memory_mib: spec.memory.0,
                tmp_mib: spec.tmp.0,
                pids: spec.pids,
                descriptors: spec.descriptors,
                cpu_weight: spec.cpu.weight,
                cpu_quota_us: spec.cpu.quota_us.unwrap_or(0),
                carries: spec.package.as_ref().map_or(0, |_| CARRIES_PACKAGE)
                    | spec.image.as_ref().map_or(0, |_| CARRIES_IMAGE)
                    | eager,
                network: spec.network.0.into(),
            };
            // The other side would refuse the packet without knowing whose it was.
            Request::decode(&Request::Start(start).encode()).map_err(|e| StartError::Step {
                step: "limits".into(),
                reason: e.to_string(),
            })?;
            let mut descriptors: Vec<BorrowedFd<'_>> = Vec::with_capacity(3);
            descriptors.extend(spec.package.iter().map(|package| package.as_fd()));
            descriptors.push(block.as_fd());
            descriptors.extend(spec.image.iter().map(|image| image.descriptor.as_fd()));
            let image_bytes = spec.image.as_ref().map_or(0, |image| image.bytes);
            let waiting = lane.start(start, image_bytes, &descriptors)?;
            tokio::select! {
                biased;
                started = waiting => {
                    let instance: Arc<dyn Instance> = Arc::new(started?);
                    Ok(instance)
                }
                () = self.clock.sleep_until(deadline) => Err(StartError::Deadline),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::by_descriptors;

    #[test]
    fn descriptors_bound_instances() {
        assert_eq!(by_descriptors(1 << 20), 101_944);
        assert_eq!(by_descriptors(20_000), 1_944);
        assert_eq!(by_descriptors(1_024), 99);
        assert_eq!((by_descriptors(8), by_descriptors(u64::MAX)), (1, u32::MAX));
    }
}
