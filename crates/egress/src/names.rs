//! One task per instance that may have names.

use crate::{
    around::Around,
    message::{ANSWER_MAX, Answer, Question, code, not_asked},
    rate::Rate,
    relay::Relay,
    resolvers::Resolvers,
};
use freehold_domain::{
    CoreId,
    network::{InstanceLimits, Near, NetworkId, Networks, Policy, Ports, near},
    ports::{Admission, InstanceNames, NameGate, NetworkIo},
    traffic::Carried,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{net::UdpSocket, sync::Semaphore};
use tokio_util::sync::CancellationToken;

/// Questions of one instance that wait for an answer; more wait in its socket.
const ASKED_MAX: usize = 64;
/// Questions of one instance in a second; what is beyond is not heard.
const ASKED_PER_S: u64 = 200;
/// Addresses of one answer that are told: more than clients try.
const ADDRESSES_MAX: usize = 16;
/// Answers that one instance's task remembers, and for how long at the most.
const REMEMBERED_MAX: usize = 256;
const REMEMBERED_S: u32 = 60;
/// How long an address of a policy's name may be reached beyond its own time: clients keep it too.
const GRACE: Duration = Duration::from_secs(60);
/// The shortest and longest that a name's own time counts.
const LIVES_S: (u32, u32) = (60, 3600);
/// Addresses of names that are remembered to have been let through.
const ADMITTED_MAX: usize = 16_384;

/// Answers for the names that instances ask for.
pub struct Names {
    networks: Arc<Networks>,
    gate: Gate,
    around: Arc<Around>,
    resolvers: Resolvers,
    admitted: Mutex<HashMap<(NetworkId, Ipv4Addr, u16, u16), Instant>>,
}

/// Who lets through what names of policies stand for.
enum Gate {
    /// The rules of packets.
    Rules(Arc<dyn NameGate>),
    /// Whoever carries the connections.
    Relay(Arc<Relay>),
}

impl Names {
    /// Of instances with links; `gate` lets through what names of policies stand for.
    pub fn new(networks: Arc<Networks>, gate: Arc<dyn NameGate>) -> Arc<Self> {
        Self::with(networks, Gate::Rules(gate), Arc::default())
    }

    /// Of instances without: their connections are carried too, so many at once.
    pub fn relaying(
        networks: Arc<Networks>,
        limits: InstanceLimits,
        connections_max: usize,
    ) -> Arc<Self> {
        let around = Arc::<Around>::default();
        let relay = Relay::new(networks.clone(), limits, connections_max, around.clone());
        Self::with(networks, Gate::Relay(Arc::new(relay)), around)
    }

    fn with(networks: Arc<Networks>, gate: Gate, around: Arc<Around>) -> Arc<Self> {
        Arc::new(Self {
            networks,
            gate,
            around,
            resolvers: Resolvers::default(),
            admitted: Mutex::default(),
        })
    }
}

struct Guard(CancellationToken);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// What the task of one instance knows.
struct Asker {
    names: Arc<Names>,
    network: NetworkId,
    core: CoreId,
    socket: UdpSocket,
    remembered: Mutex<HashMap<(String, u16), (Instant, Answer)>>,
}

/// A handle of the service that may be given to instances.
#[derive(Clone)]
pub struct Serving(pub Arc<Names>);

impl InstanceNames for Serving {
    fn serve(
        &self,
        io: NetworkIo,
        network: NetworkId,
        core: CoreId,
        carried: Arc<Carried>,
    ) -> Box<dyn Send + Sync> {
        let stop = CancellationToken::new();
        if let (Gate::Relay(relay), Some(listener)) = (&self.0.gate, io.connections) {
            let relay = relay.clone();
            tokio::spawn(relay.serve(listener, network, stop.clone(), carried));
        }
        let socket = std::net::UdpSocket::from(io.names);
        match UdpSocket::from_std(socket) {
            Ok(socket) => {
                let asker = Asker {
                    names: self.0.clone(),
                    network,
                    core,
                    socket,
                    remembered: Mutex::default(),
                };
                tokio::spawn(Arc::new(asker).serve(stop.clone()));
            }
            Err(error) => tracing::error!(%error, "an instance's names cannot be answered"),
        }
        Box::new(Guard(stop))
    }
}

impl Asker {
    async fn serve(self: Arc<Self>, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(ASKED_MAX));
        let rate = Rate::new(ASKED_PER_S);
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let ready = tokio::select! {
                () = stop.cancelled() => return,
                ready = self.socket.readable() => ready,
            };
            // Made when there is something to read: most instances idle.
            let mut packet = vec![0; ANSWER_MAX];
            let received = ready.and_then(|()| self.socket.try_recv_from(&mut packet));
            let (len, from) = match received {
                Ok(received) => received,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                // One of its earlier answers found nobody.
                Err(_) => {
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            packet.truncate(len);
            if !rate.lets_one_in() {
                continue;
            }
            match Question::read(&packet) {
                Ok(question) => {
                    let (asker, stop) = (self.clone(), stop.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            answer = asker.answer(&question) => asker.tell(&answer, from),
                        }
                        drop(place);
                    });
                }
                Err(Some(why)) => self.tell(&not_asked(why), from),
                Err(None) => {}
            }
        }
    }

    /// An answer that does not fit into the guest's socket is lost, as on any network.
    fn tell(&self, answer: &[u8], to: SocketAddr) {
        let _ = self.socket.try_send_to(answer, to);
    }

    async fn answer(&self, question: &Question) -> Vec<u8> {
        let networks = &self.names.networks;
        let policy = networks.policy(self.network);
        // Of a named policy the rules that allow this name; empty where the internet does.
        let allowed: Vec<(Ports, bool)> = policy
            .map(|policy| policy.of_name(&question.name).collect())
            .unwrap_or_default();
        let is_of_internet =
            self.network == NetworkId::INTERNET || policy.is_some_and(Policy::has_internet);
        if allowed.is_empty() && !is_of_internet {
            return question.refuse(code::REFUSED);
        }
        if !question.is_for_addresses() {
            let asked = self.names.resolvers.ask(question).await;
            let told = asked.and_then(|(id, packet)| question.pass_back(id, &packet));
            return told.unwrap_or_else(|| question.refuse(code::FAILED));
        }
        let key = (question.name.clone(), question.kind);
        let known = self.remembered.lock().get(&key).cloned();
        if let Some((until, answer)) = known
            && let Some(left) = until.checked_duration_since(Instant::now())
        {
            let left_s = u32::try_from(left.as_secs()).unwrap_or(u32::MAX);
            return question.answer(&with_time(answer, left_s));
        }
        let asked = self.names.resolvers.ask(question).await;
        let Some(mut answer) = asked.and_then(|(id, packet)| question.read_answer(id, &packet))
        else {
            return question.refuse(code::FAILED);
        };
        let may_be_private = allowed.iter().any(|(_, exact)| *exact);
        // The machine's own and its neighbours' addresses are as private ones, public as they may be:
        // of a wildcard anybody may have a name, and say anything of it.
        let is_beside = |address: IpAddr| match address {
            IpAddr::V4(address) if !allowed.is_empty() => self.names.around.has(address),
            _ => false,
        };
        answer
            .addresses
            .retain(|(address, _)| match near(*address) {
                None => may_be_private || !is_beside(*address),
                Some(Near::Private) => may_be_private,
                Some(Near::Special) => false,
            });
        answer.addresses.truncate(ADDRESSES_MAX);
        for (address, lives_s) in &answer.addresses {
            let IpAddr::V4(address) = *address else {
                continue;
            };
            let is_private = near(address.into()).is_some() || is_beside(address.into());
            for (ports, exact) in &allowed {
                if is_private && !exact {
                    continue;
                }
                if !self.admit(address, *ports, *lives_s).await {
                    return question.refuse(code::FAILED);
                }
            }
        }
        self.remember(key, &answer);
        question.answer(&answer)
    }

    /// Lets the instances with this policy reach an address of its names; true once they may.
    async fn admit(&self, address: Ipv4Addr, ports: Ports, lives_s: u32) -> bool {
        let lives = Duration::from_secs(lives_s.clamp(LIVES_S.0, LIVES_S.1).into());
        let key = (self.network, address, ports.first, ports.last);
        let now = Instant::now();
        let known = self.names.admitted.lock().get(&key).copied();
        if known.is_some_and(|until| until > now + lives) {
            return true;
        }
        let one = Admission {
            network: self.network,
            address,
            ports,
            // Twice the time, so that not every answer is one for the rules too.
            lives: lives * 2 + GRACE,
        };
        let admitted = match &self.names.gate {
            Gate::Rules(gate) => gate.admit(self.core, one).await,
            Gate::Relay(relay) => {
                let ports = (ports.first, ports.last);
                relay.admit(self.network, address, ports, now + one.lives)
            }
        };
        if admitted {
            let mut known = self.names.admitted.lock();
            if known.len() >= ADMITTED_MAX {
                known.retain(|_, until| *until > now);
            }
            if known.len() < ADMITTED_MAX {
                known.insert(key, now + one.lives);
            }
        }
        admitted
    }

    fn remember(&self, key: (String, u16), answer: &Answer) {
        let shortest = answer.addresses.iter().map(|(_, lives_s)| *lives_s).min();
        let Some(lives_s) = shortest.filter(|s| *s > 0 && answer.code == 0) else {
            return;
        };
        let until = Instant::now() + Duration::from_secs(lives_s.min(REMEMBERED_S).into());
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(key, (until, answer.clone()));
    }
}

fn with_time(mut answer: Answer, left_s: u32) -> Answer {
    for (_, lives_s) in &mut answer.addresses {
        *lives_s = (*lives_s).min(left_s);
    }
    answer
}
