//! Frames as bytes. Plain data: no IO, and nothing is allocated by a length that a guest announced.
//! Whoever reads on sees to it that there is room for what [`Inbox::coming`] tells.
//!
//! Every frame begins with the same eight bytes, little-endian:
//!
//! ```text
//! length u32 (of what follows these eight) | kind u8 | flags u8 | text u16
//!
//! host ▶ guest                                guest ▶ host
//! 1 greet                                     1 hello      (text: version)
//! 2 begin    NAME=VALUE␀NAME=VALUE            2 ready      (text: version)
//! 3 event    id 36, deadline ms u64,          3 init error type (text bytes), payload
//!            arn u16, trace u16, context u32, 4 answer     id 36, content type (text), payload
//!            the three, the event itself      5 error      id 36, type (text), payload
//! 4 rehearse                                  6 piece      more of a streamed answer
//! 5 prepare                                   7 end        of a streamed answer
//! 6 resume   as begin                         8 rehearsed
//! 7 try      as event                         9 prepared
//! 8 code     what an init compiled           10 unfit      why no image can be taken
//!            (before begin)                  11 code       a piece of what this init compiled (before ready)
//! ```
//!
//! Flags of a begin: 1, hand over what init compiles. Of an
//! answer, error or end: 1, the runtime ends after it; of an answer: 2, pieces follow. Of a
//! ready: 1, init has imported the libraries that the runtime brings; 2, it answers a try by itself, as
//! if a function had, and the function does not hear of it. Of a rehearse: 1, briefly; of a rehearsed: 1,
//! it was no more than that.

use crate::event::{DISCARD_BYTES_MAX, InvokedArn, TEXT_BYTES_MAX, client_context, text};
use bytes::{Buf, Bytes, BytesMut};
use freehold_domain::{
    answers::ANSWER_FREE_BYTES,
    ids::InvocationId,
    ports::{CompiledCode, GuestCall, Rehearsal},
};
use std::io::Write;

/// What both sides must agree on; a bootstrap of another version is refused.
pub(super) const VERSION: u16 = 1;
/// Bytes before every frame.
const HEAD: usize = 8;
/// An id as it travels.
const ID: usize = 36;
/// Longest reason of an unfit runtime.
const REASON_BYTES_MAX: u64 = 4096;
/// What is read at once at least; a smaller one would cut ordinary answers in two.
const READ_BYTES_MIN: usize = 4 << 10;
/// What is reserved at once at most: a guest that announces much and sends little holds little.
const READ_BYTES_MAX: usize = 256 << 10;

/// An invocation's id as it travels, so that an answer is compared without being parsed.
pub(super) type Id = [u8; ID];

const GREET: u8 = 1;
const BEGIN: u8 = 2;
const EVENT: u8 = 3;
const REHEARSE: u8 = 4;
const PREPARE: u8 = 5;
const RESUME: u8 = 6;
const TRY: u8 = 7;
const GIVE_CODE: u8 = 8;

const HELLO: u8 = 1;
const READY: u8 = 2;
const INIT_ERROR: u8 = 3;
const ANSWER: u8 = 4;
const ERROR: u8 = 5;
const PIECE: u8 = 6;
const END: u8 = 7;
const REHEARSED: u8 = 8;
const PREPARED: u8 = 9;
const UNFIT: u8 = 10;
const CODE: u8 = 11;

const LAST: u8 = 1;
const MORE: u8 = 2;
const LIBRARIES: u8 = 1;
const TRIES: u8 = 2;
const BRIEFLY: u8 = 1;
const WANTS_CODE: u8 = 1;

/// A frame without a body of its own, as the host sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Greet,
    Rehearse(Rehearsal),
    Prepare,
}

impl Word {
    pub(super) fn encode(self) -> Bytes {
        let (kind, flags) = match self {
            Self::Greet => (GREET, 0),
            Self::Rehearse(Rehearsal::Full) => (REHEARSE, 0),
            Self::Rehearse(Rehearsal::Brief) => (REHEARSE, BRIEFLY),
            Self::Prepare => (PREPARE, 0),
        };
        let mut frame = head(0, kind);
        frame[5] = flags;
        Bytes::from(frame.to_vec())
    }
}

fn head(length: u32, kind: u8) -> [u8; HEAD] {
    let [a, b, c, d] = length.to_le_bytes();
    [a, b, c, d, kind, 0, 0, 0]
}

/// The head of a frame that gives an instance what another's init compiled; the code itself follows.
/// Nothing where a frame cannot hold it.
pub(super) fn code_head(code: &Bytes) -> Option<Bytes> {
    let length = u32::try_from(code.len()).ok()?;
    Some(Bytes::from(head(length, GIVE_CODE).to_vec()))
}

/// The frame that makes a runtime an instance's (`again`: one that was thawed after its init).
pub(super) fn opening(env: &[(String, String)], code: &CompiledCode, again: bool) -> Bytes {
    let mut frame = head(0, if again { RESUME } else { BEGIN }).to_vec();
    if !again && *code == CompiledCode::Wanted {
        frame[5] = WANTS_CODE;
    }
    // Neither half of a variable can hold a NUL: no process could be executed with one.
    let clean = env
        .iter()
        .filter(|(name, value)| !name.contains('\0') && !value.contains('\0'));
    for (place, (name, value)) in clean.enumerate() {
        if place > 0 {
            frame.push(0);
        }
        frame.extend_from_slice(name.as_bytes());
        frame.push(b'=');
        frame.extend_from_slice(value.as_bytes());
    }
    let length = u32::try_from(frame.len() - HEAD).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame.into()
}

/// The id of a call as it travels.
pub(super) fn id_of(id: InvocationId) -> Id {
    let mut bytes = [b' '; ID];
    // A UUID is 36 characters; `write!` into a slice stops at its end whatever it is.
    let _ = write!(&mut bytes[..], "{id}");
    bytes
}

/// Whose an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Function,
    /// The runtime alone, which answers it.
    Runtime,
}

/// Everything of an event before its body; nothing when a frame cannot hold that many bytes.
pub(super) fn event(to: To, id: &Id, call: &GuestCall, body_bytes: usize) -> Option<Bytes> {
    const FIXED: usize = ID + 8 + 2 + 2 + 4;
    let mut frame = Vec::with_capacity(256);
    let kind = match to {
        To::Function => EVENT,
        To::Runtime => TRY,
    };
    frame.extend_from_slice(&head(0, kind));
    frame.extend_from_slice(id);
    frame.extend_from_slice(&call.deadline.millis().to_le_bytes());
    frame.extend_from_slice(&[0; 8]);
    debug_assert_eq!(frame.len(), HEAD + FIXED);
    let mut ends = [frame.len(); 3];
    let _ = write!(frame, "{}", InvokedArn(call));
    ends[0] = frame.len() - ends[0];
    ends[1] = frame.len();
    let _ = write!(frame, "{}", call.trace);
    ends[1] = frame.len() - ends[1];
    ends[2] = frame.len();
    if let Some(context) = &call.client_context {
        frame.extend(client_context(context));
    }
    ends[2] = frame.len() - ends[2];
    let [arn, trace, context] = ends;
    let at = HEAD + ID + 8;
    frame[at..at + 2].copy_from_slice(&u16::try_from(arn).ok()?.to_le_bytes());
    frame[at + 2..at + 4].copy_from_slice(&u16::try_from(trace).ok()?.to_le_bytes());
    frame[at + 4..at + 8].copy_from_slice(&u32::try_from(context).ok()?.to_le_bytes());
    let length = u32::try_from(frame.len() - HEAD + body_bytes).ok()?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Some(frame.into())
}

/// What a guest may send.
#[derive(Debug, Clone, Copy)]
pub struct FrameLimits {
    /// Largest answer, bytes: the limit of a synchronous payload and 100 more, as on Lambda.
    pub answer_bytes: u64,
    /// What a streamed answer may still come to, bytes.
    pub piece_bytes: u64,
    /// Largest error payload, bytes.
    pub error_bytes: u64,
    /// What it may still send of its compiled code, bytes: nothing where it was not asked.
    pub code_bytes: u64,
}

/// A frame of the guest's, checked and complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Hello {
        version: u16,
    },
    Ready {
        version: u16,
        uses_libraries: bool,
        tries: bool,
    },
    InitError {
        error_type: Option<String>,
        body: Bytes,
    },
    Answer {
        id: Id,
        content_type: Option<String>,
        body: Bytes,
        last: bool,
        more: bool,
    },
    Error {
        id: Id,
        error_type: Option<String>,
        body: Bytes,
        last: bool,
    },
    /// An answer or error over its limit, which was read and dropped.
    TooLarge {
        id: Id,
        last: bool,
        more: bool,
    },
    Piece(Bytes),
    /// A piece over the limit of all, dropped.
    PieceTooLarge,
    End {
        last: bool,
    },
    Rehearsed(Rehearsal),
    Prepared,
    Unfit {
        reason: String,
    },
    Code(Bytes),
}

impl Frame {
    /// What a complaint calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Ready { .. } => "ready",
            Self::InitError { .. } => "an init error",
            Self::Answer { .. } | Self::TooLarge { .. } => "an answer",
            Self::Error { .. } => "an error",
            Self::Piece(_) | Self::PieceTooLarge => "a piece of an answer",
            Self::End { .. } => "the end of an answer",
            Self::Rehearsed(_) => "rehearsed",
            Self::Prepared => "prepared",
            Self::Unfit { .. } => "unfit",
            Self::Code(_) => "code",
        }
    }
}

/// The fixed part of a guest's frame.
#[derive(Debug, Clone, Copy)]
struct Head {
    length: u64,
    kind: u8,
    flags: u8,
    text: u16,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d, kind, flags, low, high] = *bytes.first_chunk::<HEAD>()?;
        Some(Self {
            length: u32::from_le_bytes([a, b, c, d]).into(),
            kind,
            flags,
            text: u16::from_le_bytes([low, high]),
        })
    }

    /// Bytes between the head and the body, and the most that the body may have.
    fn shape(self, limits: &FrameLimits) -> Result<(usize, u64), String> {
        let text = usize::from(self.text);
        let (fixed, limit, flags) = match self.kind {
            HELLO => (0, 0, 0),
            READY => (0, 0, LIBRARIES | TRIES),
            INIT_ERROR => (text, limits.error_bytes, 0),
            ANSWER => (ID + text, limits.answer_bytes, LAST | MORE),
            ERROR => (ID + text, limits.error_bytes, LAST),
            PIECE => (0, limits.piece_bytes, 0),
            END => (0, 0, LAST),
            REHEARSED => (0, 0, BRIEFLY),
            PREPARED => (0, 0, 0),
            UNFIT => (0, REASON_BYTES_MAX, 0),
            CODE => (0, limits.code_bytes, 0),
            kind => return Err(format!("no frame has kind {kind}")),
        };
        let has_text = matches!(self.kind, HELLO | READY | INIT_ERROR | ANSWER | ERROR);
        let kind = self.kind;
        if self.flags & !flags != 0 {
            return Err(format!(
                "a frame of kind {kind} has no flags {:#x}",
                self.flags
            ));
        }
        if !has_text && text > 0 {
            return Err(format!("a frame of kind {kind} has no text"));
        }
        if fixed > 0 && text > TEXT_BYTES_MAX {
            return Err(format!("a text of {text} bytes is over {TEXT_BYTES_MAX}"));
        }
        let Some(body) = self.length.checked_sub(fixed as u64) else {
            return Err(format!(
                "a frame of kind {kind} ends inside its {fixed} fixed bytes"
            ));
        };
        let dropped = matches!(self.kind, INIT_ERROR | ANSWER | ERROR | PIECE);
        let most = if dropped {
            limit.saturating_add(DISCARD_BYTES_MAX)
        } else {
            limit
        };
        if body > most {
            return Err(format!("a frame of kind {kind} announced {body} bytes"));
        }
        Ok((fixed, limit))
    }
}

/// What has arrived and is not a frame yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) bytes: BytesMut,
    /// A body over its limit: what is left of it, and the frame to tell of it.
    dropping: Option<(u64, Frame)>,
    /// What the frame that has begun still misses.
    missing: usize,
    /// See [`Inbox::coming`].
    coming: Coming,
    /// How long the last frame was, up to what is free: the next one is like it, most often.
    usual: usize,
}

/// The body of a frame that has begun and is kept.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Coming {
    /// How long it is.
    pub(super) bytes: usize,
    /// Whether pieces follow it.
    pub(super) more: bool,
}

impl Inbox {
    /// Whether nothing is half here.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.dropping.is_none()
    }

    /// What is on its way; nothing while no frame has begun, and of one that is dropped.
    pub(super) fn coming(&self) -> Coming {
        self.coming
    }

    /// Room for the next read.
    pub(super) fn make_room(&mut self) {
        let wanted = match &self.dropping {
            Some(_) => READ_BYTES_MAX,
            None => self.missing.max(self.usual),
        };
        let room = wanted.clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        if self.bytes.capacity() - self.bytes.len() < room {
            self.bytes.reserve(room);
        }
    }

    /// Gives the buffer back: an instance that waits holds none.
    pub(super) fn rest(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    /// The next whole frame; nothing while it has not arrived.
    ///
    /// Errors: what is wrong with it; nothing after it can be understood.
    pub(super) fn next(&mut self, limits: &FrameLimits) -> Result<Option<Frame>, String> {
        if self.dropping.is_none() {
            let Some(head) = Head::read(&self.bytes) else {
                self.missing = HEAD - self.bytes.len();
                return Ok(None);
            };
            let (fixed, limit) = head.shape(limits)?;
            let body = head.length - fixed as u64;
            let wanted = if body > limit {
                HEAD + fixed
            } else {
                HEAD + fixed + body as usize
            };
            if self.bytes.len() < wanted {
                self.missing = wanted - self.bytes.len();
                self.coming = Coming {
                    bytes: wanted - HEAD - fixed,
                    more: head.kind == ANSWER && head.flags & MORE != 0,
                };
                return Ok(None);
            }
            (self.missing, self.coming) = (0, Coming::default());
            let mut frame = self.bytes.split_to(wanted).freeze();
            frame.advance(HEAD);
            if body <= limit {
                self.usual = wanted.min(ANSWER_FREE_BYTES);
                return Ok(Some(whole(head, frame, fixed)));
            }
            self.dropping = Some((body, over(head, &frame)));
        }
        let Some((left, _)) = &mut self.dropping else {
            return Ok(None);
        };
        let here = (*left).min(self.bytes.len() as u64);
        self.bytes.advance(here as usize);
        *left -= here;
        if *left > 0 {
            return Ok(None);
        }
        Ok(self.dropping.take().map(|(_, frame)| frame))
    }
}

/// A frame whose bytes are all here; `rest` begins after the head.
fn whole(head: Head, mut rest: Bytes, fixed: usize) -> Frame {
    let mut front = rest.split_to(fixed);
    let body = rest;
    let last = head.flags & LAST != 0;
    match head.kind {
        HELLO => Frame::Hello { version: head.text },
        READY => Frame::Ready {
            version: head.text,
            uses_libraries: head.flags & LIBRARIES != 0,
            tries: head.flags & TRIES != 0,
        },
        INIT_ERROR => Frame::InitError {
            error_type: text(&front),
            body,
        },
        ANSWER => Frame::Answer {
            id: take_id(&mut front),
            content_type: text(&front),
            body,
            last,
            more: head.flags & MORE != 0,
        },
        ERROR => Frame::Error {
            id: take_id(&mut front),
            error_type: text(&front),
            body,
            last,
        },
        PIECE => Frame::Piece(body),
        END => Frame::End { last },
        REHEARSED if head.flags & BRIEFLY != 0 => Frame::Rehearsed(Rehearsal::Brief),
        REHEARSED => Frame::Rehearsed(Rehearsal::Full),
        PREPARED => Frame::Prepared,
        CODE => Frame::Code(body),
        // `shape` has refused every other kind.
        _ => Frame::Unfit {
            reason: String::from_utf8_lossy(&body).into_owned(),
        },
    }
}

/// A frame whose body is over its limit and dropped; `front` is what stood before the body.
fn over(head: Head, front: &[u8]) -> Frame {
    match head.kind {
        // As much as is known of it: its payload was nothing to show.
        INIT_ERROR => Frame::InitError {
            error_type: text(front),
            body: Bytes::new(),
        },
        PIECE => Frame::PieceTooLarge,
        _ => Frame::TooLarge {
            id: take_id(&mut Bytes::copy_from_slice(front)),
            last: head.flags & LAST != 0,
            more: head.flags & MORE != 0,
        },
    }
}

/// The id at the front; `shape` has seen to it that there is one.
fn take_id(front: &mut Bytes) -> Id {
    let mut id = [0; ID];
    front.copy_to_slice(&mut id);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits = FrameLimits {
        answer_bytes: 100,
        piece_bytes: 100,
        error_bytes: 50,
        code_bytes: 10,
    };
    const ID_A: Id = *b"00000000-0000-4000-8000-000000000001";

    fn frame(kind: u8, flags: u8, text: u16, rest: &[&[u8]]) -> Vec<u8> {
        let body: Vec<u8> = rest.concat();
        let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&text.to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// The frames in these bytes, arriving `step` at a time, and how that ends.
    fn read(bytes: &[u8], step: usize) -> Result<Vec<Frame>, String> {
        let (mut inbox, mut frames) = (Inbox::default(), Vec::new());
        for piece in bytes.chunks(step) {
            inbox.make_room();
            assert!(inbox.bytes.capacity() <= 2 * READ_BYTES_MAX);
            inbox.bytes.extend_from_slice(piece);
            while let Some(frame) = inbox.next(&LIMITS)? {
                frames.push(frame);
            }
        }
        if inbox.is_empty() {
            Ok(frames)
        } else {
            Err("half a frame".to_owned())
        }
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let bytes = [
            frame(HELLO, 0, 1, &[]),
            frame(READY, TRIES | LIBRARIES, 1, &[]),
            frame(INIT_ERROR, 0, 4, &[b"Oops", b"{}"]),
            frame(ANSWER, MORE, 1, &[&ID_A, b"t", b"answer"]),
            frame(PIECE, 0, 0, &[b"more"]),
            frame(END, LAST, 0, &[]),
            frame(ERROR, LAST, 0, &[&ID_A, b"error"]),
            frame(UNFIT, 0, 0, &[b"2 threads"]),
            frame(CODE, 0, 0, &[b"compiled"]),
        ]
        .concat();
        let whole = read(&bytes, bytes.len()).expect("frames");
        assert_eq!(whole.len(), 9);
        assert_eq!(whole[8], Frame::Code(Bytes::from_static(b"compiled")));
        assert_eq!(
            whole[1],
            Frame::Ready {
                version: 1,
                uses_libraries: true,
                tries: true
            }
        );
        assert_eq!(
            whole[3],
            Frame::Answer {
                id: ID_A,
                content_type: Some("t".into()),
                body: Bytes::from_static(b"answer"),
                last: false,
                more: true
            }
        );
        assert_eq!(
            whole[6],
            Frame::Error {
                id: ID_A,
                error_type: None,
                body: Bytes::from_static(b"error"),
                last: true
            }
        );
        for step in 1..bytes.len() {
            assert_eq!(read(&bytes, step).expect("frames"), whole, "{step}");
        }
    }

    #[test]
    fn what_is_over_its_limit_is_dropped_and_told_of() {
        let large = [b'x'; 101];
        let bytes = [
            frame(ANSWER, LAST, 0, &[&ID_A, &large]),
            frame(ERROR, 0, 1, &[&ID_A, b"E", &large[..51]]),
            frame(INIT_ERROR, 0, 1, &[b"E", &large[..51]]),
            frame(PIECE, 0, 0, &[&large]),
            frame(ANSWER, 0, 0, &[&ID_A, &large[..100]]),
        ]
        .concat();
        for step in [1, 7, 64, bytes.len()] {
            let frames = read(&bytes, step).expect("frames");
            let dropped = |last| Frame::TooLarge {
                id: ID_A,
                last,
                more: false,
            };
            assert_eq!(frames[0], dropped(true));
            assert_eq!(frames[1], dropped(false));
            assert!(matches!(&frames[2], Frame::InitError { body, .. } if body.is_empty()));
            assert_eq!(frames[3], Frame::PieceTooLarge);
            assert!(matches!(&frames[4], Frame::Answer { body, .. } if body.len() == 100));
        }
    }

    #[test]
    fn what_is_no_frame_is_named() {
        let check = |bytes: &[u8], says: &str| {
            let error = read(bytes, bytes.len()).expect_err(says);
            assert!(error.contains(says), "{error}");
        };
        let announced = |length: u32, kind: u8| {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend_from_slice(&[kind, 0, 0, 0]);
            bytes
        };
        check(&frame(0, 0, 0, &[]), "no frame has kind 0");
        check(&frame(12, 0, 0, &[]), "no frame has kind 12");
        check(&frame(HELLO, 0, 1, &[b"x"]), "announced 1 bytes");
        check(&frame(END, MORE, 0, &[]), "no flags 0x2");
        check(&frame(READY, 4, 1, &[]), "no flags 0x4");
        check(&frame(PIECE, 0, 3, &[b"xyz"]), "has no text");
        check(&frame(ANSWER, 0, 0, &[&ID_A[..35]]), "ends inside");
        check(&frame(ANSWER, 0, 2, &[&ID_A, b"x"]), "ends inside");
        check(
            &frame(ANSWER, 0, 257, &[&ID_A, &[b'x'; 257]]),
            "257 bytes is over 256",
        );
        check(&announced(u32::MAX, ANSWER), "announced");
        check(&announced(u32::MAX, PIECE), "announced");
        check(&announced(4097, UNFIT), "announced 4097 bytes");
        check(&announced(11, CODE), "announced 11 bytes");
    }

    #[test]
    fn an_announcement_reserves_little() {
        let mut inbox = Inbox::default();
        let limits = FrameLimits {
            answer_bytes: 1 << 30,
            piece_bytes: 0,
            error_bytes: 0,
            code_bytes: 0,
        };
        let mut head = (1_u32 << 30).to_le_bytes().to_vec();
        head.extend_from_slice(&[ANSWER, 0, 0, 0]);
        inbox.bytes.extend_from_slice(&head);
        assert_eq!(inbox.next(&limits), Ok(None));
        inbox.make_room();
        assert!(inbox.bytes.capacity() <= 2 * READ_BYTES_MAX);
    }
}
