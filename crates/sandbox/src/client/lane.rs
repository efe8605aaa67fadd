//! One spawner as the server sees it, over all its generations.

use super::instance::{LiveInstance, Name, Shared};
use crate::{
    cgroup::Gauges,
    isolate::{is_of_a_thaw, step_name},
    launch::LaneSocket,
    network::Way,
    protocol::{Cause, EXHAUSTED, MESSAGE_MAX, Refusal, Reply, Request, Start, VERSION},
    spawner::PACKAGE_RULES,
    start_image::{IMAGE_RULES, Obstacle, UNSUPPORTED},
    sys::{errno_name, sockets},
};
use freehold_domain::ports::{
    Clock, ExitCause, ExitReport, InstanceIo, InstanceUsage, NetworkIo, StartError,
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{
    io::unix::AsyncFd,
    sync::{Notify, oneshot},
};

/// Requests that may wait for the spawner to read them.
const UNSENT_MAX: usize = 4096;

/// What a plain request is answered with.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    NotThere,
    Used(InstanceUsage),
    /// A start image's name and length.
    Image(OwnedFd, u64),
    /// No image, and why.
    Obstacle(Obstacle),
    /// What was asked could not be done to it.
    Failed(StartError),
}

type Started = Result<LiveInstance, StartError>;

/// A start that was sent.
struct Begun {
    runtime: u32,
    image_bytes: u64,
    waiting: oneshot::Sender<Started>,
}

struct Connected {
    generation: u32,
    socket: Arc<OwnedFd>,
    starts: HashMap<u64, Begun>,
    /// Given up while under way: to be destroyed once they have a number.
    given_up: HashSet<u64>,
    /// Told to go, by the token of their start: the instance's number.
    launched: HashMap<u64, u64>,
    questions: HashMap<u64, oneshot::Sender<Answer>>,
    instances: HashMap<u64, Arc<Shared>>,
    unsent: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
}

#[derive(Default)]
struct State {
    connected: Option<Connected>,
    /// Ended with their spawner, whose death the supervisor has not cleared up after yet.
    orphans: HashMap<u32, Vec<Arc<Shared>>>,
    cleared: u32,
    closed: bool,
}

/// A lane.
pub(super) struct Lane {
    number: u16,
    state: Mutex<State>,
    changed: Notify,
    tokens: AtomicU64,
    /// As its spawner says; 0 before it has spoken.
    instances_max: AtomicU32,
    /// As its spawner says of start images; [`UNHEARD`] before it has spoken.
    images: AtomicU16,
    /// Which way out instances have.
    way: Option<Way>,
    pub(super) clock: Arc<dyn Clock>,
}

/// No spawner has said yet whether it has start images.
const UNHEARD: u16 = u16::MAX;

impl Lane {
    pub(super) fn new(socket: LaneSocket, way: Option<Way>, clock: Arc<dyn Clock>) -> Lane {
        let lane = Lane {
            number: socket.lane,
            state: Mutex::new(State::default()),
            changed: Notify::new(),
            tokens: AtomicU64::new(1),
            instances_max: AtomicU32::new(0),
            images: AtomicU16::new(UNHEARD),
            way,
            clock,
        };
        lane.replace(socket);
        lane
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    pub(super) fn next_token(&self) -> u64 {
        self.tokens.fetch_add(1, Ordering::Relaxed)
    }

    /// How many instances it holds at once, as its last spawner said.
    pub(super) fn instances_max(&self) -> Option<u32> {
        Some(self.instances_max.load(Ordering::Relaxed)).filter(|max| *max > 0)
    }

    /// Whether its spawner takes and thaws start images, as far as it has spoken.
    pub(super) fn images(&self) -> Result<(), &'static str> {
        match self.images.load(Ordering::Relaxed) {
            0 => Ok(()),
            UNHEARD => Err("its spawner has not said yet"),
            number => Err(UNSUPPORTED
                .get(usize::from(number) - 1)
                .unwrap_or(&"for a reason of its own")),
        }
    }

    /// A new spawner has taken over.
    pub(super) fn replace(&self, socket: LaneSocket) {
        self.disconnect(socket.generation - 1);
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        let mut connected = Connected {
            generation: socket.generation,
            socket: Arc::new(socket.socket),
            starts: HashMap::new(),
            given_up: HashSet::new(),
            launched: HashMap::new(),
            questions: HashMap::new(),
            instances: HashMap::new(),
            unsent: VecDeque::new(),
        };
        let _ = connected.send(&Request::Hello { version: VERSION }, &[]);
        state.connected = Some(connected);
        self.changed.notify_one();
    }

    /// The spawner `generation` is not there any more: what waits for it fails at once, what ran
    /// on it has ended once the supervisor says that all of it is gone.
    fn disconnect(&self, generation: u32) {
        let mut state = self.state.lock();
        if state
            .connected
            .as_ref()
            .is_none_or(|c| c.generation > generation)
        {
            return;
        }
        let Some(connected) = state.connected.take() else {
            return;
        };
        for (_, begun) in connected.starts {
            let _ = begun
                .waiting
                .send(Err(StartError::SpawnerLost { core: self.number }));
        }
        let orphans: Vec<_> = connected.instances.into_values().collect();
        if state.closed || state.cleared >= connected.generation {
            self.end(orphans);
        } else {
            state.orphans.insert(connected.generation, orphans);
        }
    }

    /// The supervisor has removed everything of the spawner `generation`.
    pub(super) fn cleared(&self, generation: u32) {
        self.disconnect(generation);
        let mut state = self.state.lock();
        state.cleared = state.cleared.max(generation);
        let orphans = state.orphans.remove(&generation).unwrap_or_default();
        drop(state);
        self.end(orphans);
    }

    fn end(&self, orphans: Vec<Arc<Shared>>) {
        let reason = format!("spawner {} died", self.number);
        for shared in orphans {
            shared.began(Err(StartError::SpawnerLost { core: self.number }));
            let cause = ExitCause::SpawnerLost {
                reason: reason.clone(),
            };
            shared.end(ExitReport {
                cause,
                usage: shared.last_usage(),
            });
        }
    }

    /// No more of this lane.
    pub(super) fn close(&self, reason: &str) {
        tracing::debug!(lane = self.number, reason, "lane closed");
        let mut state = self.state.lock();
        state.closed = true;
        let generation = state.connected.as_ref().map_or(0, |c| c.generation);
        let orphans: Vec<_> = state.orphans.drain().flat_map(|(_, list)| list).collect();
        drop(state);
        self.end(orphans);
        self.disconnect(generation);
        self.changed.notify_one();
    }

    /// Sends a start. The future resolves with the instance; dropped, it gives the start up.
    ///
    /// `image_bytes`: what it is thawed from counts as its own.
    pub(super) fn start(
        self: &Arc<Self>,
        start: Start,
        image_bytes: u64,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Waiting, StartError> {
        let mut state = self.state.lock();
        let lost = StartError::SpawnerLost { core: self.number };
        let connected = state.connected.as_mut().ok_or_else(|| lost.clone())?;
        connected
            .send(&Request::Start(start), descriptors)
            .map_err(|_| lost)?;
        let (waiting, receiver) = oneshot::channel();
        let begun = Begun {
            runtime: start.runtime,
            image_bytes,
            waiting,
        };
        connected.starts.insert(start.token, begun);
        self.wake_if_unsent(connected);
        Ok(Waiting {
            lane: Arc::clone(self),
            token: start.token,
            receiver,
        })
    }

    /// Asks about one instance; `None` when it or its spawner is not there any more.
    pub(super) async fn ask(
        &self,
        generation: u32,
        request: impl Fn(u64) -> Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Option<Answer> {
        let token = self.next_token();
        let receiver = {
            let mut state = self.state.lock();
            let connected = state
                .connected
                .as_mut()
                .filter(|c| c.generation == generation)?;
            connected.send(&request(token), descriptors).ok()?;
            let (sender, receiver) = oneshot::channel();
            connected.questions.insert(token, sender);
            self.wake_if_unsent(connected);
            receiver
        };
        receiver.await.ok()
    }

    /// Asks whichever spawner it has; whether that was done.
    pub(super) async fn ask_now(&self, request: impl Fn(u64) -> Request) -> bool {
        let generation = self.state.lock().connected.as_ref().map(|c| c.generation);
        let Some(generation) = generation else {
            return false;
        };
        matches!(self.ask(generation, request, &[]).await, Some(Answer::Done))
    }

    /// Tells the spawner to end one instance.
    pub(super) fn destroy(&self, generation: u32, number: u64) {
        self.tell(generation, &Request::Destroy { number });
    }

    /// Tells the spawner something that it does not answer.
    pub(super) fn tell(&self, generation: u32, request: &Request) {
        let mut state = self.state.lock();
        if let Some(connected) = state
            .connected
            .as_mut()
            .filter(|c| c.generation == generation)
        {
            let _ = connected.send(request, &[]);
            self.wake_if_unsent(connected);
        }
    }

    /// What the socket had no room for is sent by the reading task.
    fn wake_if_unsent(&self, connected: &Connected) {
        if !connected.unsent.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Reads the answers of each spawner in turn, on the runtime it is called on.
    pub(super) async fn serve(self: Arc<Self>) {
        loop {
            let current = self
                .state
                .lock()
                .connected
                .as_ref()
                .map(|c| (c.generation, Arc::clone(&c.socket)));
            let Some((generation, socket)) = current else {
                if self.state.lock().closed {
                    return;
                }
                self.changed.notified().await;
                continue;
            };
            match socket.as_fd().try_clone_to_owned().and_then(sockets::watch) {
                Ok(socket) => self.read(generation, &socket).await,
                Err(error) => {
                    tracing::error!(lane = self.number, %error, "spawner's socket cannot be watched")
                }
            }
            self.disconnect(generation);
        }
    }

    async fn read(self: &Arc<Self>, generation: u32, socket: &AsyncFd<OwnedFd>) {
        loop {
            // Woken as well when something could not be sent, or when the lane is closed.
            let unsent = match &self.state.lock().connected {
                Some(connected) if connected.generation == generation => {
                    !connected.unsent.is_empty()
                }
                _ => return,
            };
            let mut ready = tokio::select! {
                readable = socket.readable() => match readable { Ok(ready) => ready, Err(_) => return },
                writable = socket.writable(), if unsent => {
                    if let Ok(mut ready) = writable {
                        ready.clear_ready();
                    }
                    self.flush();
                    continue;
                }
                () = self.changed.notified() => continue,
            };
            let mut packet = [0u8; MESSAGE_MAX];
            match sockets::receive(socket.get_ref().as_fd(), &mut packet, false) {
                Ok(received) if received.len > 0 => {
                    if let Ok(reply) = Reply::decode(&packet[..received.len]) {
                        self.on_reply(generation, reply, received.descriptors);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                _ => return,
            }
        }
    }

    fn flush(&self) {
        if let Some(connected) = &mut self.state.lock().connected {
            connected.flush();
        }
    }

    fn on_reply(self: &Arc<Self>, generation: u32, reply: Reply, descriptors: Vec<OwnedFd>) {
        let mut state = self.state.lock();
        let Some(connected) = state.connected.as_mut() else {
            return;
        };
        match reply {
            Reply::Started { token, number } if connected.launched.remove(&token).is_some() => {
                if let Some(shared) = connected.instances.get(&number) {
                    shared.began(Ok(()));
                }
            }
            Reply::Started { token, number } | Reply::Launched { token, number } => {
                let shared = Arc::new(Shared::default());
                connected.instances.insert(number, Arc::clone(&shared));
                if let Reply::Launched { .. } = reply {
                    connected.launched.insert(token, number);
                } else {
                    shared.began(Ok(()));
                }
                let given_up = connected.given_up.remove(&token);
                let begun = connected.starts.remove(&token);
                drop(state);
                let name = Name {
                    lane: Arc::clone(self),
                    generation,
                    number,
                };
                let made_of = begun
                    .as_ref()
                    .map_or((0, 0), |b| (b.runtime, b.image_bytes));
                let started =
                    LiveInstance::new(name, made_of, shared, io_of(descriptors, self.way));
                // A start that was given up has nobody to send to, and dropping destroys.
                match begun {
                    Some(begun) if !given_up => drop(begun.waiting.send(Ok(started))),
                    _ => drop(started),
                }
            }
            Reply::Failed {
                token,
                refusal,
                detail,
                errno,
            } => {
                connected.given_up.remove(&token);
                let launched = connected.launched.remove(&token);
                let launched = launched.and_then(|number| connected.instances.remove(&number));
                if let Some(shared) = launched {
                    drop(state);
                    shared.began(Err(start_error(0, refusal, detail, errno)));
                    // Nothing is left of it.
                    return shared.end(ExitReport {
                        cause: ExitCause::Destroyed,
                        usage: shared.last_usage(),
                    });
                }
                match connected.starts.remove(&token) {
                    Some(begun) => {
                        let error = start_error(begun.runtime, refusal, detail, errno);
                        let _ = begun.waiting.send(Err(error));
                    }
                    // Or it was to be specialised.
                    None => {
                        let error = start_error(0, refusal, detail, errno);
                        connected.answer(token, Answer::Failed(error));
                    }
                }
            }
            Reply::Done { token } => connected.answer(token, Answer::Done),
            Reply::NotThere { token } => connected.answer(token, Answer::NotThere),
            Reply::Used { token, usage } => connected.answer(token, Answer::Used(usage)),
            Reply::Exited {
                number,
                cause,
                value,
                usage,
            } => {
                if let Some(shared) = connected.instances.remove(&number) {
                    drop(state);
                    shared.end(ExitReport {
                        cause: exit_cause(cause, value),
                        usage,
                    });
                }
            }
            Reply::Refused { count } => {
                tracing::error!(lane = self.number, count, "spawner refused a message");
            }
            Reply::SetupFailed { step, errno } => {
                tracing::error!(
                    lane = self.number,
                    step,
                    errno,
                    "spawner could not be set up"
                );
            }
            Reply::Welcome {
                instances_max,
                images,
                ..
            } => {
                self.instances_max.store(instances_max, Ordering::Relaxed);
                self.images.store(images, Ordering::Relaxed);
            }
            Reply::Image { token, bytes } => {
                let answer = match descriptors.into_iter().next() {
                    Some(name) => Answer::Image(name, bytes),
                    None => Answer::NotThere,
                };
                connected.answer(token, answer);
            }
            Reply::ImageRefused { token, obstacle } => {
                connected.answer(token, Answer::Obstacle(obstacle));
            }
            Reply::Listed { .. } => {}
        }
    }
}

impl Connected {
    fn send(&mut self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let packet = request.encode();
        if self.unsent.is_empty() {
            match sockets::send(self.socket.as_fd(), &packet, descriptors) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
        if self.unsent.len() >= UNSENT_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let kept = descriptors
            .iter()
            .map(|fd| fd.try_clone_to_owned())
            .collect::<io::Result<_>>()?;
        self.unsent.push_back((packet, kept));
        Ok(())
    }

    fn flush(&mut self) {
        while let Some((packet, descriptors)) = self.unsent.front() {
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            match sockets::send(self.socket.as_fd(), packet, &borrowed) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                _ => drop(self.unsent.pop_front()),
            }
        }
    }

    fn answer(&mut self, token: u64, answer: Answer) {
        if let Some(question) = self.questions.remove(&token) {
            let _ = question.send(answer);
        }
    }
}

/// A start under way.
pub(super) struct Waiting {
    lane: Arc<Lane>,
    token: u64,
    receiver: oneshot::Receiver<Started>,
}

impl Future for Waiting {
    type Output = Started;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Started> {
        let lost = StartError::SpawnerLost {
            core: self.lane.number,
        };
        Pin::new(&mut self.receiver)
            .poll(cx)
            .map(|got| got.unwrap_or(Err(lost)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.lane.state.lock();
        if let Some(connected) = &mut state.connected
            && connected.starts.remove(&self.token).is_some()
        {
            connected.given_up.insert(self.token);
        }
    }
}

fn io_of(mut all: Vec<OwnedFd>, way: Option<Way>) -> (Option<InstanceIo>, Option<Gauges>) {
    // Five always and a sixth where connections are led here, then the frames socket where the
    // runtime has one, then the gauges, which are two or none: the count says which of them are
    // there.
    let connections = (way == Some(Way::Relay) && all.len() > 3).then(|| all.remove(3));
    let mut rest = all.split_off(all.len().min(5));
    let frames = (rest.len() % 2 == 1).then(|| rest.remove(0));
    let gauges = <[OwnedFd; 2]>::try_from(rest).ok();
    let io = <[OwnedFd; 5]>::try_from(all).ok();
    let io = io.map(
        |[runtime_api, platform, names, stdout, stderr]| InstanceIo {
            runtime_api,
            platform,
            network: NetworkIo {
                names,
                connections,
                has_link: way == Some(Way::Links),
            },
            frames,
            stdout,
            stderr,
        },
    );
    (io, gauges.map(Gauges::from_descriptors))
}

fn exit_cause(cause: Cause, value: i32) -> ExitCause {
    match cause {
        Cause::Exited => ExitCause::Exited(value),
        Cause::Signaled => ExitCause::Signaled(value),
        Cause::OutOfMemory => ExitCause::OutOfMemory,
        Cause::Destroyed => ExitCause::Destroyed,
    }
}

fn start_error(runtime: u32, refusal: Refusal, detail: u16, errno: i32) -> StartError {
    match refusal {
        Refusal::Runtime => StartError::Runtime {
            id: runtime,
            reason: "it is not in the table, or its tree cannot be a root".into(),
        },
        Refusal::Package => {
            let rule = PACKAGE_RULES
                .get(usize::from(detail))
                .unwrap_or(&"its descriptor is not valid");
            StartError::Package {
                reason: format!("{rule}, which this one breaks"),
            }
        }
        Refusal::Block => StartError::Step {
            step: "block".into(),
            reason: "arguments and environment must be sealed and within their bound".into(),
        },
        Refusal::Image => StartError::Image {
            reason: match IMAGE_RULES.get(usize::from(detail)) {
                Some(rule) => format!("{rule}, which this one breaks"),
                None => "this spawner has no start images".into(),
            },
        },
        Refusal::Step if is_of_a_thaw(step_name(detail)) => StartError::Image {
            reason: format!("{}: {}", step_name(detail), errno_name(errno)),
        },
        Refusal::Step if step_name(detail) == "exec" => StartError::Program {
            reason: errno_name(errno),
        },
        Refusal::Step if step_name(detail) == "lost" => StartError::Lost {
            reason: errno_name(errno),
        },
        Refusal::Step => StartError::Step {
            step: step_name(detail).into(),
            reason: errno_name(errno),
        },
        Refusal::Exhausted => StartError::Exhausted {
            resource: (*EXHAUSTED.get(usize::from(detail)).unwrap_or(&"place")).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolate::step_number;

    #[test]
    fn a_failed_start_says_whose_matter_it_is() {
        let of = |refusal, detail| start_error(1, refusal, detail, libc::EPROTO);
        let step = |name| of(Refusal::Step, step_number(name));
        assert!(matches!(step("exec"), StartError::Program { .. }));
        // A sandbox that died while it was parked is nobody's fault but ours.
        assert!(matches!(step("lost"), StartError::Lost { .. }));
        assert!(matches!(step("volume"), StartError::Step { step, .. } if step == "volume"));
        // What could not be thawed can be executed.
        for stage in crate::sys::restorer::STAGES {
            assert!(matches!(step(stage), StartError::Image { .. }), "{stage}");
        }
        for (rule, words) in IMAGE_RULES.into_iter().enumerate() {
            let error = of(Refusal::Image, rule as u16);
            assert!(matches!(error, StartError::Image { reason } if reason.starts_with(words)));
        }
        let none = of(Refusal::Image, crate::protocol::NO_IMAGES);
        assert!(matches!(none, StartError::Image { .. }));
        for (detail, name) in EXHAUSTED.into_iter().enumerate() {
            let error = of(Refusal::Exhausted, detail as u16);
            assert!(matches!(error, StartError::Exhausted { resource } if resource == name));
        }
    }
}
