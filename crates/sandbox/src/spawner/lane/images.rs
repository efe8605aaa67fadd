//! What is done with instances that run already: making one a revision's, taking its memory.
//!
//! ```text
//! booted ─Specialise─▶ limits ─▶ volume ready? ─▶ mounts ─▶ Done
//! running ─TakeImage─▶ a dumper is forked ─▶ it ends ─▶ key, seals ─▶ Image ─▶ the instance ends
//! ```
//!
//! The lane goes on while a dumper works, which has a deadline of its own and is killed when that
//! has passed. Refuses to specialise what has a package, and more dumps at once than
//! [`DUMPS_MAX`].

use super::{
    Lane,
    starts::{Refused, refused_by},
};
use crate::{
    isolate::step_number,
    protocol::{NO_IMAGES, Refusal, Reply, Specialise},
    spawner::{
        accept::examine_one,
        keeper::{Arrived, Kept},
        sandbox::{Failed, Sandbox, Specialising},
    },
    start_image::{ImageFile, Obstacle, ObstacleKind, RULE_ROOM, image_of, mark_of},
    sys::processes,
};
use freehold_domain::{ids::Mebibytes, runtime::RuntimeRow};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::{
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

/// Images taken at once, per lane.
const DUMPS_MAX: usize = 4;
/// What a dumper may take longer than it was told, before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// Memory of its own that an instance has beside its image, at least.
const ROOM_MIN: u64 = 16 << 20;

/// An image that is being taken.
#[derive(Debug)]
#[cfg_attr(not(start_images), allow(dead_code))]
pub(super) struct Dump {
    token: u64,
    sandbox: u64,
    runtime: u64,
    dumper: OwnedFd,
    answer: OwnedFd,
    image: OwnedFd,
    /// Larger, it could not be thawed with the memory that it was taken with.
    bytes_max: u64,
    due: Instant,
}

impl Lane {
    /// A start's image, looked at.
    pub(super) fn image_for(
        &self,
        image: &OwnedFd,
        row: &RuntimeRow,
        memory_mib: u32,
    ) -> Result<ImageFile, Refused> {
        let images = self.workshop.images.as_ref();
        let images = images.map_err(|_| (Refusal::Image, NO_IMAGES, 0))?;
        let image = image_of(image, images.own(), images.fit(), mark_of(row))
            .map_err(|(rule, errno)| (Refusal::Image, rule, errno))?;
        let needed = image.key.image_len.saturating_add(ROOM_MIN);
        if Mebibytes(memory_mib).bytes() < needed {
            return Err((Refusal::Image, RULE_ROOM, 0));
        }
        Ok(image)
    }

    pub(super) fn specialise(
        &mut self,
        to: Specialise,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Refused> {
        let gone = (Refusal::Step, step_number("lost"), libc::ESRCH);
        let booted = self.running(to.number).is_some_and(|sandbox| {
            sandbox.mount_namespace.is_some() && sandbox.specialising.is_none() && !sandbox.dumping
        });
        if !booted {
            return Err(gone);
        }
        let package = examine_one(descriptors, &self.expected)?;
        let package = self.mounted(&package)?;
        let room = self
            .sandboxes
            .get(&to.number)
            .map_or(0, Sandbox::image_bytes)
            + ROOM_MIN;
        if Mebibytes(to.memory_mib).bytes() < room {
            return Err((Refusal::Image, RULE_ROOM, 0));
        }
        let specialising = Specialising { to, package };
        let size = Mebibytes(to.tmp_mib);
        match self.workshop.volumes.take(size, to.number) {
            Some(kept) => self.furnish_booted(specialising, kept),
            None => {
                let due = self.dues.set(to.number, Instant::now());
                if let Some(sandbox) = self.sandboxes.get_mut(&to.number) {
                    sandbox.specialising = Some(specialising);
                    sandbox.due = Some(due);
                }
            }
        }
        Ok(())
    }

    fn furnish_booted(&mut self, specialising: Specialising, kept: Kept) {
        let Specialise { token, number, .. } = specialising.to;
        let Some(sandbox) = self.sandboxes.get_mut(&number) else {
            return self.workshop.volumes.end(kept.id);
        };
        sandbox.due = None;
        match self.workshop.specialise(sandbox, &specialising, kept) {
            Ok(()) => {
                self.reply(Reply::Done { token }, Vec::new());
                // Its limit is another one.
                self.watched.end(number);
                self.watch_shares(number);
            }
            Err(failed) => self.fail_booted(token, number, failed),
        }
    }

    /// Half furnished, it is of no use to anybody.
    fn fail_booted(&mut self, token: u64, number: u64, failed: Failed) {
        let refused = refused_by(failed);
        self.refuse_start(token, refused);
        if let Some(sandbox) = self.sandboxes.get_mut(&number) {
            sandbox.destroyed = true;
            self.workshop.kill(sandbox);
        }
    }

    /// A volume that a booted instance waited for; gives back what is for somebody else.
    pub(super) fn for_specialising(&mut self, arrived: Arrived) -> Option<Arrived> {
        let Arrived { sandbox, made } = arrived;
        let waiting = self.sandboxes.get_mut(&sandbox);
        let Some(specialising) = waiting.and_then(|s| s.specialising.take()) else {
            return Some(Arrived { sandbox, made });
        };
        match made {
            Ok(kept) => self.furnish_booted(specialising, kept),
            Err(error) => self.fail_booted(specialising.to.token, sandbox, ("volume", error)),
        }
        None
    }

    /// Begins to take an image; the answer comes when the dumper has ended.
    pub(super) fn take_image(
        &mut self,
        token: u64,
        number: u64,
        within: Duration,
    ) -> Result<(), Obstacle> {
        if self.workshop.images.is_err() {
            return Err(ObstacleKind::Unsupported.into());
        }
        if self.dumps.len() >= DUMPS_MAX {
            return Err(ObstacleKind::Busy.into());
        }
        let free = |s: &&super::Sandbox| s.specialising.is_none() && !s.dumping;
        if self.running(number).filter(free).is_none() {
            return Err(ObstacleKind::NotThere.into());
        }
        let until = Instant::now() + within;
        let dump = self.begin_dump(token, number, until)?;
        let place = self.next;
        self.next += 1;
        let watched = rustix::event::epoll::add(
            &self.epoll,
            &dump.dumper,
            rustix::event::epoll::EventData::new_u64(place << 1 | super::PID),
            rustix::event::epoll::EventFlags::IN,
        );
        if let Some(sandbox) = self.sandboxes.get_mut(&number) {
            sandbox.dumping = true;
        }
        self.dumps.insert(place, dump);
        if let Err(error) = watched {
            // Nobody would hear of its end.
            self.end_dumper(place);
            self.finish_dump(place, Err(error.into()));
        }
        Ok(())
    }

    #[cfg(start_images)]
    fn begin_dump(&mut self, token: u64, number: u64, until: Instant) -> Result<Dump, Obstacle> {
        use crate::{
            start_image::{Subject, Whom, dump_in_child},
            sys::{processes::Fork, sockets},
        };
        let workshop = &self.workshop;
        let images = workshop.images.as_ref();
        let images = images.map_err(|_| Obstacle::from(ObstacleKind::Unsupported))?;
        let sandbox = self
            .sandboxes
            .get_mut(&number)
            .ok_or(ObstacleKind::NotThere)?;
        let row = workshop
            .runtimes
            .rows
            .iter()
            .find(|row| row.id == sandbox.runtime);
        let row = row.ok_or(ObstacleKind::NotThere)?;
        if row.family != freehold_domain::runtime::RuntimeFamily::Python {
            return Err(ObstacleKind::Runtime.into());
        }
        let runtime = mark_of(row);
        // Who is frozen cannot be stopped.
        let group = &mut sandbox.group;
        group
            .set_frozen(&workshop.guests, false)
            .map_err(Obstacle::of_group)?;
        // What it was thawed from is in its memory, and counts again.
        let bytes_max = sandbox.memory_bytes.saturating_sub(ROOM_MIN);
        let image = processes::private_file("memory")?;
        let (answer, inner) = sockets::pair()?;
        let subject = Subject {
            whom: Whom::Member {
                members: group.member_list().map_err(Obstacle::of_group)?,
                inner: sandbox.pid,
            },
            parent: sandbox.init,
            uid: sandbox.uid,
            output: sandbox.output,
            image: image.try_clone()?,
            host: images.host().try_clone_to_owned()?,
            bytes_max,
            until,
        };
        match processes::fork_into(0)? {
            Fork::Child => dump_in_child(subject, inner),
            Fork::Parent(_, dumper) => Ok(Dump {
                token,
                sandbox: number,
                runtime,
                dumper,
                answer,
                image,
                bytes_max,
                due: until + GRACE,
            }),
        }
    }

    #[cfg(not(start_images))]
    fn begin_dump(&mut self, _: u64, _: u64, _: Instant) -> Result<Dump, Obstacle> {
        Err(ObstacleKind::Unsupported.into())
    }

    /// Kills a dumper and waits for its end, for as long as a dumper may be late.
    fn end_dumper(&self, place: u64) {
        let Some(dump) = self.dumps.get(&place) else {
            return;
        };
        let _ = processes::kill(dump.dumper.as_fd());
        let mut ended = [PollFd::new(&dump.dumper, PollFlags::IN)];
        let _ = rustix::event::poll(&mut ended, Timespec::try_from(GRACE).ok().as_ref());
        let _ = processes::reap(dump.dumper.as_fd());
    }

    /// A dumper has ended: its word, if it left one.
    pub(super) fn on_dumped(&mut self, place: u64) {
        let Some(dump) = self.dumps.get(&place) else {
            return;
        };
        if let Ok(None) = processes::reap(dump.dumper.as_fd()) {
            return;
        }
        let _ = rustix::event::epoll::delete(&self.epoll, &dump.dumper);
        let sealed = self.seal(dump);
        self.finish_dump(place, sealed);
    }

    /// Marks what a dumper has written as an image of this runtime and of this machine, and sees
    /// to it that nobody changes it any more: a name of it, and its length.
    #[cfg(start_images)]
    fn seal(&self, dump: &Dump) -> Result<(OwnedFd, u64), Obstacle> {
        use crate::{
            start_image::{ANSWER_LEN, IMAGE_MAX, decode},
            sys::{bytes_of, sockets},
        };
        use std::os::unix::fs::FileExt;
        let mut packet = [0u8; ANSWER_LEN];
        let said = sockets::receive(dump.answer.as_fd(), &mut packet, false);
        let done = decode(&packet[..said.map_or(0, |said| said.len)])?;
        let images = self.workshop.images.as_ref();
        let images = images.map_err(|_| Obstacle::from(ObstacleKind::Unsupported))?;
        let file = std::fs::File::from(dump.image.try_clone()?);
        if done.image_len > IMAGE_MAX || file.metadata()?.len() != done.image_len {
            return Err(ObstacleKind::Size.of(IMAGE_MAX));
        }
        // The dumper counted pages; what says where they go, and the key, take room as well.
        if done.image_len > dump.bytes_max {
            return Err(ObstacleKind::Size.of(dump.bytes_max));
        }
        let key = images
            .fit()
            .key(dump.runtime, done.body_len, done.image_len, done.pid);
        file.write_all_at(bytes_of(&[key]), 0)?;
        processes::seal(dump.image.as_fd())?;
        let name = processes::name_only(images.own(), dump.image.as_fd())?;
        Ok((name, done.image_len))
    }

    #[cfg(not(start_images))]
    fn seal(&self, _: &Dump) -> Result<(OwnedFd, u64), Obstacle> {
        Err(ObstacleKind::Unsupported.into())
    }

    fn finish_dump(&mut self, place: u64, done: Result<(OwnedFd, u64), Obstacle>) {
        let Some(dump) = self.dumps.remove(&place) else {
            return;
        };
        let token = dump.token;
        match done {
            Ok((name, bytes)) => self.reply(Reply::Image { token, bytes }, vec![name]),
            Err(obstacle) => self.reply(Reply::ImageRefused { token, obstacle }, Vec::new()),
        }
        // It died with its tracer, or does now.
        if let Some(sandbox) = self.sandboxes.get_mut(&dump.sandbox) {
            sandbox.destroyed = true;
            self.workshop.kill(sandbox);
        }
    }

    pub(super) fn next_dump_due(&self) -> Option<Instant> {
        self.dumps.values().map(|dump| dump.due).min()
    }

    /// A dumper that does not keep its own deadline is killed, and then ends as any other.
    pub(super) fn end_late_dumps(&mut self, now: Instant) {
        for dump in self.dumps.values_mut().filter(|dump| dump.due <= now) {
            let _ = processes::kill(dump.dumper.as_fd());
            dump.due = now + GRACE;
        }
    }
}
