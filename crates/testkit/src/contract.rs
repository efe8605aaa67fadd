//! A contract without a wire: the event's body says what the function does.
//!
//! | event | the function |
//! |---|---|
//! | anything else | answers it back after a while |
//! | `sleep N` | answers after N ms |
//! | `print TEXT` | prints TEXT and a line feed, then answers |
//! | `late N` | answers, and asks for its next event N ms later |
//! | `ends N` | answers, and its process ends N ms later without asking again |
//! | `error` | reports an error of type `Oops` |
//! | `exit N` | its process ends with status N |
//! | `signal N` | its process dies of signal N |
//! | `oom` | the kernel kills it for want of memory |
//! | `lost` | its spawner dies |
//! | `hang` | never answers |
//! | `break` | breaks the contract |

use crate::sandbox::{FakeInstance, FakeWorld, Init, Unprepared};
use bytes::Bytes;
use freehold_domain::{
    BoxFuture,
    body::Body,
    ports::{
        Booted, Contract, ExitCause, GuestAnswer, GuestCall, Link, LinkError, OpenError, Opening,
        Rehearsal, Wires, Wiring,
    },
};
use parking_lot::Mutex;
use std::{
    os::fd::{AsRawFd, OwnedFd},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Speaks to the fake instances of a world.
#[derive(Debug)]
pub struct FakeContract(pub Arc<FakeWorld>);

impl Contract for FakeContract {
    fn wiring(&self) -> Wiring {
        Wiring::GuestDials
    }

    fn slots(&self) -> u16 {
        self.0.slots()
    }

    fn open(
        &self,
        wires: Wires,
        opening: Opening,
    ) -> BoxFuture<'_, Result<Arc<dyn Link>, OpenError>> {
        Box::pin(async move {
            let listener = wires.runtime_api;
            let instance =
                self.0
                    .behind(listener.as_raw_fd())
                    .ok_or_else(|| OpenError::Broken {
                        reason: "nobody is behind the listener".to_owned(),
                    })?;
            if instance.spec.image.is_some() {
                self.0
                    .broken("a thawed instance was opened as one that boots");
            }
            let (init, code) = (self.0.next_init(), self.0.compiled(opening.code));
            let link = come_up(self.0.clone(), instance, listener, init, code).await?;
            Ok(match self.0.speaks_publicly() {
                true => Arc::new(Public(link)) as Arc<dyn Link>,
                false => link,
            })
        })
    }

    fn boots_ahead(&self) -> bool {
        self.0.boots().is_some()
    }

    fn boot(&self, wires: Wires) -> Option<BoxFuture<'_, Result<Box<dyn Booted>, OpenError>>> {
        let (world, listener) = (self.0.clone(), wires.runtime_api);
        let takes = world.boots()?;
        Some(Box::pin(async move {
            tokio::time::sleep(takes).await;
            if let Some(reason) = world.next_boot_failure() {
                return Err(OpenError::Broken { reason });
            }
            Ok(Box::new(NobodysYet { world, listener }) as Box<dyn Booted>)
        }))
    }

    fn has_images(&self) -> bool {
        self.0.images().is_ok()
    }

    fn thawed(&self, wires: Wires) -> Option<Box<dyn Booted>> {
        let behind = self.0.behind(wires.runtime_api.as_raw_fd());
        let image = behind.and_then(|instance| instance.spec.image.clone());
        if image.is_some_and(|image| self.0.is_template(&image)) {
            return Some(Box::new(NobodysYet {
                world: self.0.clone(),
                listener: wires.runtime_api,
            }));
        }
        Some(Box::new(Thawed {
            world: self.0.clone(),
            listener: wires.runtime_api,
        }))
    }
}

/// A runtime that waits in its start image.
struct Thawed {
    world: Arc<FakeWorld>,
    listener: OwnedFd,
}

impl Booted for Thawed {
    fn begin(self: Box<Self>, _: Opening) -> BoxFuture<'static, Result<Arc<dyn Link>, OpenError>> {
        Box::pin(async move {
            self.world
                .broken("an image that was taken after init began another one");
            std::future::pending().await
        })
    }

    fn resume(
        self: Box<Self>,
        opening: Opening,
    ) -> BoxFuture<'static, Result<Arc<dyn Link>, OpenError>> {
        Box::pin(async move {
            let nobody = || OpenError::Broken {
                reason: "nobody is behind the listener".to_owned(),
            };
            let instance = self
                .world
                .behind(self.listener.as_raw_fd())
                .ok_or_else(nobody)?;
            let id = instance.spec.instance;
            if instance.spec.image.is_none() {
                self.world
                    .broken("an instance without an image was resumed");
            }
            self.world.told(id, opening.env);
            self.world.hook(id, "after");
            let restore = self.world.next_restore();
            come_up(self.world, instance, self.listener, restore, None).await
        })
    }

    fn rehearse(&self, how: Rehearsal) -> BoxFuture<'_, Result<Rehearsal, OpenError>> {
        Box::pin(std::future::ready(Ok(how)))
    }

    fn prepare_image(&self) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A runtime that has booted and waits to be told what it is.
struct NobodysYet {
    world: Arc<FakeWorld>,
    listener: OwnedFd,
}

impl Booted for NobodysYet {
    fn begin(
        self: Box<Self>,
        opening: Opening,
    ) -> BoxFuture<'static, Result<Arc<dyn Link>, OpenError>> {
        Box::pin(async move {
            let behind = self.world.behind(self.listener.as_raw_fd());
            let instance = behind.ok_or_else(closed)?;
            if !instance.is_somebodys() {
                self.world
                    .broken("an instance without a package was told to begin");
            }
            self.world.told(instance.spec.instance, opening.env);
            let (init, code) = (self.world.next_init(), self.world.compiled(opening.code));
            come_up(self.world, instance, self.listener, init, code).await
        })
    }

    fn resume(self: Box<Self>, _: Opening) -> BoxFuture<'static, Result<Arc<dyn Link>, OpenError>> {
        self.world.broken("a runtime that never began was resumed");
        Box::pin(std::future::ready(Err(closed())))
    }

    fn rehearse(&self, how: Rehearsal) -> BoxFuture<'_, Result<Rehearsal, OpenError>> {
        if let Some(instance) = self.world.behind(self.listener.as_raw_fd()) {
            self.world.rehearsed(instance.spec.instance, how);
        }
        Box::pin(std::future::ready(Ok(how)))
    }

    fn prepare_image(&self) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(std::future::ready(match self.world.next_prepare() {
            None => Ok(()),
            Some(Unprepared::Says(failure)) => Err(failure),
            Some(Unprepared::Exits(status)) => {
                if let Some(instance) = self.world.behind(self.listener.as_raw_fd()) {
                    instance.end(ExitCause::Exited(status));
                }
                Err(closed())
            }
        }))
    }
}

/// An init, or what follows a restore.
async fn come_up(
    world: Arc<FakeWorld>,
    instance: Arc<FakeInstance>,
    listener: OwnedFd,
    (took, init): (Duration, Init),
    code: Option<Bytes>,
) -> Result<Arc<dyn Link>, OpenError> {
    tokio::time::sleep(took).await;
    match init {
        Init::Fine => Ok(Arc::new(FakeLink {
            slots: world.slots(),
            uses_libraries: world.uses_libraries(),
            code: Mutex::new(code),
            world,
            instance: Arc::downgrade(&instance),
            asks_at: Mutex::new(Some(Instant::now())),
            answer_waits: AtomicBool::new(false),
            _listener: listener,
        }) as Arc<dyn Link>),
        Init::Fails(error_type) => {
            let body = format!("{{\"errorType\":\"{error_type}\"}}").into();
            Err(OpenError::Init { error_type, body })
        }
        Init::Exits(status) => {
            instance.end(ExitCause::Exited(status));
            std::future::pending().await
        }
        Init::Dies(signal) => {
            instance.end(ExitCause::Signaled(signal));
            std::future::pending().await
        }
        Init::Hangs => std::future::pending().await,
    }
}

/// The line to one fake instance. It keeps no strong hold of the process itself: an instance ends
/// when the engine lets go of it, links or not.
struct FakeLink {
    world: Arc<FakeWorld>,
    instance: Weak<FakeInstance>,
    slots: u16,
    uses_libraries: bool,
    code: Mutex<Option<Bytes>>,
    /// When it asks for its next event; never, when it ends before.
    asks_at: Mutex<Option<Instant>>,
    /// An answer has begun to come, and waits for room.
    answer_waits: AtomicBool,
    _listener: OwnedFd,
}

/// A line that takes events, and nothing else.
struct Public(Arc<dyn Link>);

impl Link for Public {
    fn slots(&self) -> u16 {
        self.0.slots()
    }

    fn until_ready(&self) -> Option<BoxFuture<'_, ()>> {
        self.0.until_ready()
    }

    fn handle(&self, call: GuestCall) -> BoxFuture<'_, Result<GuestAnswer, LinkError>> {
        self.0.handle(call)
    }
}

/// The running of one event, over when dropped.
struct Inside<'a>(&'a FakeInstance);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn closed() -> OpenError {
    OpenError::Broken {
        reason: "the instance has ended".to_owned(),
    }
}

impl Link for FakeLink {
    fn slots(&self) -> u16 {
        self.slots
    }

    fn uses_libraries(&self) -> bool {
        self.uses_libraries
    }

    fn take_code(&self) -> Option<Bytes> {
        self.code.lock().take()
    }

    fn answer_waits(&self) -> bool {
        self.answer_waits.load(Ordering::Relaxed)
    }

    fn until_ready(&self) -> Option<BoxFuture<'_, ()>> {
        match *self.asks_at.lock() {
            Some(at) if at <= Instant::now() => None,
            Some(at) => Some(Box::pin(tokio::time::sleep_until(at))),
            None => Some(Box::pin(std::future::pending())),
        }
    }

    fn prepare_image(&self) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(async move {
            let instance = self.instance.upgrade().ok_or_else(closed)?;
            self.world.hook(instance.spec.instance, "before");
            match self.world.next_prepare() {
                None => Ok(()),
                Some(Unprepared::Says(failure)) => Err(failure),
                Some(Unprepared::Exits(status)) => {
                    instance.end(ExitCause::Exited(status));
                    Err(closed())
                }
            }
        })
    }

    fn resume(&self, _: Opening) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(async move {
            let instance = self.instance.upgrade().ok_or_else(closed)?;
            self.world.hook(instance.spec.instance, "after");
            Ok(())
        })
    }

    fn rehearse(&self, _: GuestCall) -> Option<BoxFuture<'_, Result<(), LinkError>>> {
        let rehearsal = self.world.next_event_of_ours()?;
        Some(Box::pin(async move {
            let Some(instance) = self.instance.upgrade() else {
                return Err(LinkError::Closed);
            };
            instance.enter(self.slots);
            let _inside = Inside(&instance);
            self.world.ran_ours(instance.spec.instance);
            tokio::time::sleep(Duration::from_millis(1)).await;
            match rehearsal {
                Init::Fine => return Ok(()),
                Init::Fails(reason) => return Err(LinkError::Broken { reason }),
                Init::Exits(status) => drop(instance.end(ExitCause::Exited(status))),
                Init::Dies(signal) => drop(instance.end(ExitCause::Signaled(signal))),
                Init::Hangs => {}
            }
            std::future::pending().await
        }))
    }

    fn handle(&self, call: GuestCall) -> BoxFuture<'_, Result<GuestAnswer, LinkError>> {
        Box::pin(async move {
            let Some(instance) = self.instance.upgrade() else {
                return Err(LinkError::Closed);
            };
            instance.enter(self.slots);
            let _inside = Inside(&instance);
            let (event, _) = call
                .body
                .collect(u64::MAX)
                .await
                .map_err(|_| LinkError::Closed)?;
            let text = String::from_utf8_lossy(&event).into_owned();
            self.world.runs(instance.spec.instance, &text);
            let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
            let number = rest.parse::<i32>().unwrap_or(0);
            let cause = match word {
                "exit" => ExitCause::Exited(number),
                "signal" => ExitCause::Signaled(number),
                "oom" => ExitCause::OutOfMemory,
                "lost" => ExitCause::SpawnerLost {
                    reason: "spawner 0 died".to_owned(),
                },
                "hang" => std::future::pending().await,
                "break" => {
                    return Err(LinkError::Broken {
                        reason: "it said so".to_owned(),
                    });
                }
                "error" => {
                    return Ok(GuestAnswer::Error {
                        error_type: Some("Oops".to_owned()),
                        body: Bytes::from_static(b"{\"errorType\":\"Oops\"}"),
                        room: None,
                    });
                }
                _ => {
                    let said = Duration::from_millis(u64::try_from(number).unwrap_or(0));
                    let took = if word == "sleep" {
                        said
                    } else {
                        self.world.next_run()
                    };
                    tokio::time::sleep(took).await;
                    match word {
                        // It has answered and ended; the answer has room after so long.
                        "gone" => {
                            self.answer_waits.store(true, Ordering::Relaxed);
                            instance.end(ExitCause::Exited(0));
                            tokio::time::sleep(said).await;
                            self.answer_waits.store(false, Ordering::Relaxed);
                        }
                        "print" => instance.print(format!("{rest}\n").as_bytes()),
                        "late" => *self.asks_at.lock() = Some(Instant::now() + said),
                        "ends" => {
                            *self.asks_at.lock() = None;
                            let instance = instance.clone();
                            tokio::spawn(async move {
                                tokio::time::sleep(said).await;
                                instance.end(ExitCause::Exited(2));
                            });
                        }
                        _ => {}
                    }
                    return Ok(GuestAnswer::Response {
                        content_type: None,
                        body: Body::full(event),
                        room: None,
                    });
                }
            };
            tokio::time::sleep(self.world.next_run()).await;
            instance.end(cause);
            std::future::pending().await
        })
    }
}
