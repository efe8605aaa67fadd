//! What a test tells its fakes and asks of them.

use super::FakeInstance;
use bytes::Bytes;
use fastrand::Rng;
use freehold_domain::{
    ids::InstanceId,
    ports::{
        CompiledCode, DriverCapacity, ExitCause, ImageError, OpenError, Rehearsal, StartError,
        StartImage,
    },
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    os::fd::{OwnedFd, RawFd},
    sync::{Arc, Weak},
    time::Duration,
};

/// How an init goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Init {
    /// Well.
    Fine,
    /// The runtime reports an error of this type.
    Fails(String),
    /// The process ends with this status.
    Exits(i32),
    /// The process dies of this signal.
    Dies(i32),
    /// For ever.
    Hangs,
}

/// Why an instance is not fit for an image.
#[derive(Debug)]
pub(crate) enum Unprepared {
    /// Its runtime says so.
    Says(OpenError),
    /// Its process ends with this status and says nothing.
    Exits(i32),
}

/// How long things take: anything between the two, by the seed.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Making a sandbox.
    pub start: (Duration, Duration),
    /// Init.
    pub init: (Duration, Duration),
    /// A run whose event does not say.
    pub run: (Duration, Duration),
    /// Destroying.
    pub destroy: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            start: (ms(1), ms(5)),
            init: (ms(10), ms(50)),
            run: (ms(1), ms(20)),
            destroy: ms(2),
        }
    }
}

/// The machine that the fakes pretend to be.
#[derive(Debug)]
pub struct FakeWorld {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    timing: Timing,
    slots: u16,
    capacity: DriverCapacity,
    memory_bytes: u64,
    inits: VecDeque<Init>,
    init: Init,
    start_failures: VecDeque<StartError>,
    live: HashMap<InstanceId, Weak<FakeInstance>>,
    listening: HashMap<RawFd, InstanceId>,
    started: u64,
    live_max: usize,
    ran: Vec<(InstanceId, String)>,
    environments: HashMap<InstanceId, Vec<(String, String)>>,
    images: Result<(), String>,
    image_bytes: u64,
    image_failures: VecDeque<ImageError>,
    images_taken: Vec<Weak<OwnedFd>>,
    templates: Vec<Weak<OwnedFd>>,
    uses_libraries: bool,
    boots: Option<Duration>,
    boot_failures: VecDeque<String>,
    specialise_failures: VecDeque<StartError>,
    restores: VecDeque<Init>,
    /// How events of ours go; runtimes take none while there is nothing.
    ours: Option<VecDeque<Init>>,
    ran_ours: Vec<InstanceId>,
    tasks: u32,
    has_links: bool,
    prepares: VecDeque<Unprepared>,
    speaks_publicly: bool,
    hooks: Vec<(InstanceId, &'static str)>,
    /// Rehearsals, in order.
    rehearsals: Vec<(InstanceId, Rehearsal)>,
    /// What inits were told of compiled code, in order.
    codes: Vec<CompiledCode>,
    /// What they have not read of it, where they leave it unread.
    unread: Option<Vec<CompiledCode>>,
    /// What those hand over that are asked for theirs.
    compiles: Option<Bytes>,
    broken: Vec<String>,
}

impl FakeWorld {
    /// A roomy machine of instances with one slot.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                rng: Rng::with_seed(seed),
                timing: Timing::default(),
                slots: 1,
                capacity: DriverCapacity {
                    memory_bytes: 1 << 40,
                    memory_available_bytes: 1 << 40,
                    instances: 10_000,
                },
                memory_bytes: 20 << 20,
                inits: VecDeque::new(),
                init: Init::Fine,
                start_failures: VecDeque::new(),
                live: HashMap::new(),
                listening: HashMap::new(),
                started: 0,
                live_max: 0,
                ran: Vec::new(),
                environments: HashMap::new(),
                images: Err("fakes take none unless told to".to_owned()),
                image_bytes: 10 << 20,
                image_failures: VecDeque::new(),
                images_taken: Vec::new(),
                templates: Vec::new(),
                uses_libraries: false,
                boots: None,
                boot_failures: VecDeque::new(),
                specialise_failures: VecDeque::new(),
                restores: VecDeque::new(),
                ours: None,
                ran_ours: Vec::new(),
                tasks: 2,
                has_links: true,
                prepares: VecDeque::new(),
                speaks_publicly: false,
                hooks: Vec::new(),
                rehearsals: Vec::new(),
                codes: Vec::new(),
                unread: None,
                compiles: None,
                broken: Vec::new(),
            }),
        })
    }

    /// Slots of every instance from now on.
    pub fn set_slots(&self, slots: u16) {
        self.state.lock().slots = slots;
    }
    /// How long things take from now on.
    pub fn set_timing(&self, timing: Timing) {
        self.state.lock().timing = timing;
    }
    /// Memory for instances, bytes, and what each of them uses.
    pub fn set_memory(&self, capacity_bytes: u64, each_bytes: u64) {
        let mut state = self.state.lock();
        state.capacity.memory_bytes = capacity_bytes;
        state.memory_bytes = each_bytes;
    }
    /// How inits go from now on.
    pub fn set_init(&self, init: Init) {
        self.state.lock().init = init;
    }
    /// How the next inits go, before those that `set_init` said.
    pub fn push_inits(&self, inits: impl IntoIterator<Item = Init>) {
        self.state.lock().inits.extend(inits);
    }
    /// The next start fails so.
    pub fn push_start_failure(&self, failure: StartError) {
        self.state.lock().start_failures.push_back(failure);
    }
    /// Start images are taken from now on, each of this size.
    pub fn take_images(&self, bytes: u64) {
        let mut state = self.state.lock();
        (state.images, state.image_bytes) = (Ok(()), bytes);
    }
    /// Whether inits import the libraries that their runtime brings, from now on.
    pub fn use_libraries(&self, uses: bool) {
        self.state.lock().uses_libraries = uses;
    }
    pub(crate) fn uses_libraries(&self) -> bool {
        self.state.lock().uses_libraries
    }
    /// The next image is not taken.
    pub fn push_image_failure(&self, failure: ImageError) {
        self.state.lock().image_failures.push_back(failure);
    }
    /// The next instance is not fit for an image, or a hook of its fails.
    pub fn push_prepare_failure(&self, failure: OpenError) {
        let says = Unprepared::Says(failure);
        self.state.lock().prepares.push_back(says);
    }
    /// A hook of the next instance ends its process with this status.
    pub fn push_prepare_exit(&self, status: i32) {
        let exits = Unprepared::Exits(status);
        self.state.lock().prepares.push_back(exits);
    }
    /// Instances that are executed from now on are spoken to by a line that knows nothing of images nor
    /// of hooks, though their contract does: as behind a wrapper.
    pub fn speak_publicly(&self) {
        self.state.lock().speaks_publicly = true;
    }
    pub(crate) fn speaks_publicly(&self) -> bool {
        self.state.lock().speaks_publicly
    }
    /// How the next restores go.
    pub fn push_restores(&self, restores: impl IntoIterator<Item = Init>) {
        self.state.lock().restores.extend(restores);
    }
    /// Images that somebody holds.
    pub fn images_held(&self) -> usize {
        let state = self.state.lock();
        let held = state.images_taken.iter();
        held.filter(|image| image.strong_count() > 0).count()
    }
    /// Images ever.
    pub fn images_taken(&self) -> usize {
        self.state.lock().images_taken.len()
    }
    /// Runtimes take events of ours from now on. The next ones go so, and those after them well.
    pub fn take_ours(&self, next: impl IntoIterator<Item = Init>) {
        self.state.lock().ours = Some(next.into_iter().collect());
    }
    /// Which instances ran an event of ours, in order.
    pub fn ran_ours_on(&self) -> Vec<InstanceId> {
        self.state.lock().ran_ours.clone()
    }
    /// Tasks of every instance that is made from now on, its sandbox's first process included.
    pub fn set_tasks(&self, tasks: u32) {
        self.state.lock().tasks = tasks;
    }
    /// Which hooks ran where: `before` a snapshot, `after` a restore.
    pub fn hooks(&self) -> Vec<(InstanceId, &'static str)> {
        self.state.lock().hooks.clone()
    }
    /// Whether every instance that is made from now on has a link.
    pub fn set_links(&self, has_links: bool) {
        self.state.lock().has_links = has_links;
    }
    /// What inits were told of compiled code, in order.
    pub fn codes(&self) -> Vec<CompiledCode> {
        self.state.lock().codes.clone()
    }
    /// What inits hand over from now on where they are asked for their code.
    pub fn compile(&self, code: Option<Bytes>) {
        self.state.lock().compiles = code;
    }
    /// Whether inits leave unread what they are given from now on; if not, all of it has been read.
    pub fn leave_unread(&self, unread: bool) {
        self.state.lock().unread = unread.then(Vec::new);
    }
    /// An init is told of code; what it hands over.
    pub(crate) fn compiled(&self, told: CompiledCode) -> Option<Bytes> {
        let mut state = self.state.lock();
        let is_wanted = told == CompiledCode::Wanted;
        state.codes.push(match &told {
            CompiledCode::Given(code) => CompiledCode::Given(Bytes::copy_from_slice(code)),
            other => other.clone(),
        });
        if let Some(unread) = &mut state.unread {
            unread.push(told);
        }
        state.compiles.clone().filter(|_| is_wanted)
    }

    /// What instances that are nobody's yet have rehearsed, in order.
    pub fn rehearsals(&self) -> Vec<(InstanceId, Rehearsal)> {
        self.state.lock().rehearsals.clone()
    }

    /// Ends every live instance: its spawner died.
    pub fn lose_spawner(&self) {
        for instance in self.living() {
            instance.end(ExitCause::SpawnerLost {
                reason: "spawner 0 died".to_owned(),
            });
        }
    }

    /// The instances that are alive, those that come up included.
    pub fn living(&self) -> Vec<Arc<FakeInstance>> {
        let state = self.state.lock();
        state.live.values().filter_map(Weak::upgrade).collect()
    }
    /// Instances alive.
    pub fn live(&self) -> usize {
        self.state.lock().live.len()
    }
    /// Most instances alive at once so far.
    pub fn live_max(&self) -> usize {
        self.state.lock().live_max
    }
    /// Instances ever.
    pub fn started(&self) -> u64 {
        self.state.lock().started
    }
    /// Which instance was handed which event, in order.
    pub fn ran(&self) -> Vec<(InstanceId, String)> {
        self.state.lock().ran.clone()
    }
    /// The same with the value that a variable had in the instance.
    pub fn ran_on(&self, variable: &str) -> Vec<(String, String)> {
        let state = self.state.lock();
        let value = |id: &InstanceId| {
            let env = state.environments.get(id)?;
            env.iter()
                .find(|(name, _)| name == variable)
                .map(|(_, value)| value.clone())
        };
        let ran = state.ran.iter();
        ran.filter_map(|(id, event)| Some((value(id)?, event.clone())))
            .collect()
    }
    /// The values that a variable had in instances, one for each that had it.
    pub fn executed_with(&self, variable: &str) -> Vec<String> {
        let state = self.state.lock();
        let all = state.environments.values().flatten();
        let named = all.filter(|(name, _)| name == variable);
        named.map(|(_, value)| value.clone()).collect()
    }
    /// Rules that were broken; a test ends with none.
    pub fn rules_broken(&self) -> Vec<String> {
        self.state.lock().broken.clone()
    }
    /// A live instance.
    pub fn instance(&self, id: InstanceId) -> Option<Arc<FakeInstance>> {
        self.state.lock().live.get(&id)?.upgrade()
    }
    /// The environment of an instance.
    pub fn environment(&self, id: InstanceId) -> Option<Vec<(String, String)>> {
        self.state.lock().environments.get(&id).cloned()
    }

    pub(super) fn capacity(&self) -> DriverCapacity {
        self.state.lock().capacity
    }
    pub(super) fn memory_bytes(&self) -> u64 {
        self.state.lock().memory_bytes
    }
    pub(super) fn destroy_takes(&self) -> Duration {
        self.state.lock().timing.destroy
    }
    pub(super) fn next_start(&self) -> (Duration, Option<StartError>) {
        let mut state = self.state.lock();
        let span = state.timing.start;
        (state.between(span), state.start_failures.pop_front())
    }
    pub(crate) fn next_init(&self) -> (Duration, Init) {
        let mut state = self.state.lock();
        let span = state.timing.init;
        let init = state
            .inits
            .pop_front()
            .unwrap_or_else(|| state.init.clone());
        (state.between(span), init)
    }
    pub(crate) fn next_run(&self) -> Duration {
        let mut state = self.state.lock();
        let span = state.timing.run;
        state.between(span)
    }
    pub(crate) fn slots(&self) -> u16 {
        self.state.lock().slots
    }
    pub(crate) fn images(&self) -> Result<(), String> {
        self.state.lock().images.clone()
    }
    /// Runtimes boot ahead from now on, and take this long.
    pub fn boot_ahead(&self, takes: Duration) {
        self.state.lock().boots = Some(takes);
    }
    /// The next boot ahead fails.
    pub fn push_boot_failure(&self, reason: &str) {
        self.state.lock().boot_failures.push_back(reason.to_owned());
    }
    /// The next booted instance does not become a revision's.
    pub fn push_specialise_failure(&self, failure: StartError) {
        self.state.lock().specialise_failures.push_back(failure);
    }
    /// Live instances that are nobody's yet.
    pub fn nobodys(&self) -> usize {
        let living = self.living();
        living.iter().filter(|one| !one.is_somebodys()).count()
    }
    pub(crate) fn boots(&self) -> Option<Duration> {
        self.state.lock().boots
    }
    pub(crate) fn next_boot_failure(&self) -> Option<String> {
        self.state.lock().boot_failures.pop_front()
    }
    pub(super) fn next_specialise_failure(&self) -> Option<StartError> {
        self.state.lock().specialise_failures.pop_front()
    }
    pub(crate) fn is_template(&self, image: &StartImage) -> bool {
        let state = self.state.lock();
        let templates = state.templates.iter().filter_map(Weak::upgrade);
        templates
            .into_iter()
            .any(|known| Arc::ptr_eq(&known, &image.descriptor))
    }
    pub(super) fn take_image(
        &self,
        runtime: u32,
        is_template: bool,
    ) -> Result<StartImage, ImageError> {
        let mut state = self.state.lock();
        if let Some(failure) = state.image_failures.pop_front() {
            return Err(failure);
        }
        let descriptor = Arc::new(crate::seams::nothing());
        state.images_taken.push(Arc::downgrade(&descriptor));
        if is_template {
            state.templates.push(Arc::downgrade(&descriptor));
        }
        Ok(StartImage {
            runtime,
            bytes: state.image_bytes,
            descriptor,
        })
    }
    pub(crate) fn next_restore(&self) -> (Duration, Init) {
        let mut state = self.state.lock();
        let restore = state.restores.pop_front().unwrap_or(Init::Fine);
        (Duration::from_millis(1), restore)
    }
    pub(crate) fn next_event_of_ours(&self) -> Option<Init> {
        let mut state = self.state.lock();
        let next = state.ours.as_mut()?.pop_front();
        Some(next.unwrap_or(Init::Fine))
    }
    pub(crate) fn ran_ours(&self, instance: InstanceId) {
        self.state.lock().ran_ours.push(instance);
    }
    pub(super) fn has_links(&self) -> bool {
        self.state.lock().has_links
    }
    pub(super) fn tasks(&self) -> u32 {
        self.state.lock().tasks
    }
    pub(crate) fn next_prepare(&self) -> Option<Unprepared> {
        self.state.lock().prepares.pop_front()
    }
    pub(crate) fn told(&self, instance: InstanceId, env: Vec<(String, String)>) {
        self.state.lock().environments.insert(instance, env);
    }
    pub(crate) fn hook(&self, instance: InstanceId, hook: &'static str) {
        self.state.lock().hooks.push((instance, hook));
    }
    pub(crate) fn rehearsed(&self, instance: InstanceId, how: Rehearsal) {
        self.state.lock().rehearsals.push((instance, how));
    }
    pub(super) fn listens(&self, fd: RawFd, instance: InstanceId) {
        self.state.lock().listening.insert(fd, instance);
    }
    pub(crate) fn behind(&self, fd: RawFd) -> Option<Arc<FakeInstance>> {
        let state = self.state.lock();
        state.live.get(state.listening.get(&fd)?)?.upgrade()
    }
    pub(super) fn began(&self, instance: &Arc<FakeInstance>) {
        let mut state = self.state.lock();
        state.started += 1;
        state
            .environments
            .insert(instance.spec.instance, instance.spec.env.clone());
        state
            .live
            .insert(instance.spec.instance, Arc::downgrade(instance));
        state.live_max = state.live_max.max(state.live.len());
    }
    pub(super) fn ended(&self, instance: &FakeInstance) {
        // A second try of the same instance has taken the place of the first already, maybe.
        let mut state = self.state.lock();
        let id = instance.spec.instance;
        let is_it = |known: &Weak<FakeInstance>| std::ptr::eq(known.as_ptr(), instance);
        if state.live.get(&id).is_some_and(is_it) {
            state.live.remove(&id);
        }
    }
    pub(crate) fn runs(&self, instance: InstanceId, event: &str) {
        self.state.lock().ran.push((instance, event.to_owned()));
    }
    pub(crate) fn broken(&self, rule: &str) {
        self.state.lock().broken.push(rule.to_owned());
    }
}

impl State {
    fn between(&mut self, (least, most): (Duration, Duration)) -> Duration {
        let spread = u64::try_from((most - least).as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(self.rng.u64(..=spread))
    }
}
