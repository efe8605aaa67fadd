//! DNS messages, as far as questions are passed on and answers are looked into. RFC 1035, 6891.
//!
//! Both sides are strangers: the guest, and whoever answers the machine. Nothing is allocated by a
//! length that they say, and a name of pointers is walked at most so far as a name may be long.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A header's bytes.
const HEADER: usize = 12;
/// What a message without EDNS may take.
const PLAIN_MAX: usize = 512;
/// The most that we answer with, or let ourselves be answered with.
pub const ANSWER_MAX: usize = 4096;
/// Bytes of a name, and so of the steps of a walk through one.
const NAME_MAX: usize = 255;

/// Kinds of records.
pub const A: u16 = 1;
/// See [`A`].
pub const AAAA: u16 = 28;
const OPT: u16 = 41;
const ANY: u16 = 255;
const INTERNET: u16 = 1;

/// How a question ended.
pub mod code {
    /// It was no question.
    pub const FORMAT: u8 = 1;
    /// Nobody answered.
    pub const FAILED: u8 = 2;
    /// Not a question that is answered here.
    pub const NOT_DONE: u8 = 4;
    /// Not one that may be asked.
    pub const REFUSED: u8 = 5;
}

/// A question for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its number, the asker's.
    pub id: u16,
    /// The name in lower case, without a dot at its end.
    pub name: String,
    /// The kind of record.
    pub kind: u16,
    /// What an answer may take, bytes.
    pub room: usize,
    /// Name, kind and class, as they came.
    asked: Vec<u8>,
}

/// What an answer holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// How it ended.
    pub code: u8,
    /// Addresses of the kind that was asked for, each with how long it holds, s.
    pub addresses: Vec<(IpAddr, u32)>,
}

/// A packet that is no question: its number, if it has one, and what to say.
pub type NotAsked = Option<(u16, u8)>;

impl Question {
    /// The question in a packet.
    ///
    /// Errors: what is to be answered with; nothing for what is no question at all.
    pub fn read(packet: &[u8]) -> Result<Self, NotAsked> {
        let number = |at: usize| {
            let two = packet.get(at..at + 2)?;
            Some(u16::from_be_bytes([two[0], two[1]]))
        };
        if packet.len() < HEADER || packet[2] & 0x80 != 0 {
            return Err(None);
        }
        let id = number(0).unwrap_or_default();
        let wrong = Some((id, code::FORMAT));
        if packet[2] & 0x78 != 0 {
            return Err(Some((id, code::NOT_DONE)));
        }
        if (number(4), number(6), number(8)) != (Some(1), Some(0), Some(0)) {
            return Err(wrong);
        }
        let mut at = HEADER;
        let mut name = String::new();
        loop {
            let len = usize::from(*packet.get(at).ok_or(wrong)?);
            at += 1;
            if len == 0 {
                break;
            }
            let label = packet.get(at..at + len).filter(|_| len < 64).ok_or(wrong)?;
            at += len;
            if at - HEADER > NAME_MAX {
                return Err(wrong);
            }
            if !name.is_empty() {
                name.push('.');
            }
            // Others are legal, and nobody's host name; a dot among them would be another name.
            let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_*".contains(b);
            if !label.iter().all(is_plain) {
                return Err(Some((id, code::REFUSED)));
            }
            name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
        }
        let (kind, class) = (number(at).ok_or(wrong)?, number(at + 2).ok_or(wrong)?);
        let asked = packet[HEADER..at + 4].to_vec();
        if class != INTERNET || kind == ANY || name.is_empty() {
            return Err(Some((id, code::REFUSED)));
        }
        let mut room = PLAIN_MAX;
        let mut rest = at + 4;
        for _ in 0..number(10).unwrap_or(0).min(2) {
            // An OPT record has the root's name; its class is the asker's room.
            if packet.get(rest) != Some(&0) || number(rest + 1) != Some(OPT) {
                break;
            }
            let said = usize::from(number(rest + 3).unwrap_or(0));
            room = said.clamp(PLAIN_MAX, ANSWER_MAX);
            rest += 11 + usize::from(number(rest + 9).unwrap_or(0));
        }
        Ok(Self {
            id,
            name,
            kind,
            room,
            asked,
        })
    }

    /// Whether it asks for addresses.
    pub fn is_for_addresses(&self) -> bool {
        matches!(self.kind, A | AAAA)
    }

    /// The question as it is passed on, under another number.
    pub fn to_pass_on(&self, id: u16) -> Vec<u8> {
        let mut packet = self.head(id, 0x0100, 0, 1);
        let [high, low] = (ANSWER_MAX as u16).to_be_bytes();
        packet.extend_from_slice(&[0, 0, OPT as u8, high, low, 0, 0, 0, 0, 0, 0]);
        packet
    }

    fn head(&self, id: u16, flags: u16, answers: u16, more: u16) -> Vec<u8> {
        let mut packet = Vec::with_capacity(PLAIN_MAX);
        for number in [id, flags, 1, answers, 0, more] {
            packet.extend_from_slice(&number.to_be_bytes());
        }
        packet.extend_from_slice(&self.asked);
        packet
    }

    /// What the asker is told: the addresses, as far as there is room for them.
    pub fn answer(&self, answer: &Answer) -> Vec<u8> {
        /// A pointer to the question's name, kind, class, time and length.
        const RECORD: usize = 12;
        let len = if self.kind == A { 4 } else { 16 };
        let room = (self.room - HEADER - self.asked.len()) / (RECORD + len);
        let told = &answer.addresses[..answer.addresses.len().min(room)];
        let flags = 0x8180 | u16::from(answer.code & 0xf);
        let mut packet = self.head(self.id, flags, told.len() as u16, 0);
        for (address, lives_s) in told {
            packet.extend_from_slice(&[0xc0, HEADER as u8]);
            packet.extend_from_slice(&self.kind.to_be_bytes());
            packet.extend_from_slice(&INTERNET.to_be_bytes());
            packet.extend_from_slice(&lives_s.to_be_bytes());
            packet.extend_from_slice(&(len as u16).to_be_bytes());
            match address {
                IpAddr::V4(address) => packet.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => packet.extend_from_slice(&address.octets()),
            }
        }
        packet
    }

    /// What came for this question under `id`; nothing for what is no answer to it.
    pub fn read_answer(&self, id: u16, packet: &[u8]) -> Option<Answer> {
        let number = |at: usize| {
            let two = packet.get(at..at + 2)?;
            Some(u16::from_be_bytes([two[0], two[1]]))
        };
        let is_answer = packet.len() >= HEADER + self.asked.len()
            && packet[2] & 0x80 != 0
            && number(0) == Some(id)
            && number(4) == Some(1)
            && packet[HEADER..HEADER + self.asked.len()].eq_ignore_ascii_case(&self.asked);
        if !is_answer {
            return None;
        }
        let mut answer = Answer {
            code: packet[3] & 0xf,
            addresses: Vec::new(),
        };
        let mut at = HEADER + self.asked.len();
        for _ in 0..number(6)? {
            // Of one that was cut off, what is there counts.
            let Some(fixed) = behind_name(packet, at) else {
                break;
            };
            let (Some(kind), Some(class)) = (number(fixed), number(fixed + 2)) else {
                break;
            };
            let Some(len) = number(fixed + 8).map(usize::from) else {
                break;
            };
            let Some(data) = packet.get(fixed + 10..fixed + 10 + len) else {
                break;
            };
            let lives_s = packet.get(fixed + 4..fixed + 8)?;
            let lives_s = u32::from_be_bytes(lives_s.try_into().ok()?);
            if kind == self.kind && class == INTERNET {
                let address: Option<IpAddr> = match kind {
                    A => data
                        .try_into()
                        .ok()
                        .map(|four: [u8; 4]| Ipv4Addr::from(four).into()),
                    AAAA => data
                        .try_into()
                        .ok()
                        .map(|all: [u8; 16]| Ipv6Addr::from(all).into()),
                    _ => None,
                };
                answer.addresses.extend(address.map(|one| (one, lives_s)));
            }
            at = fixed + 10 + len;
        }
        Some(answer)
    }

    /// An answer to another kind of question, under the asker's number; cut off where there is no
    /// room. Nothing for what is no answer to it.
    pub fn pass_back(&self, id: u16, packet: &[u8]) -> Option<Vec<u8>> {
        self.read_answer(id, packet)?;
        if packet.len() > self.room {
            // Truncated: the asker sees that there was more.
            return Some(self.head(self.id, 0x8380, 0, 0));
        }
        let mut told = packet.to_vec();
        told[..2].copy_from_slice(&self.id.to_be_bytes());
        Some(told)
    }

    /// That there is no answer, and why.
    pub fn refuse(&self, code: u8) -> Vec<u8> {
        self.head(self.id, 0x8180 | u16::from(code), 0, 0)
    }
}

/// A packet that says why what came is not answered.
pub fn not_asked((id, code): (u16, u8)) -> Vec<u8> {
    let mut packet = vec![0; HEADER];
    packet[..2].copy_from_slice(&id.to_be_bytes());
    packet[2] = 0x81;
    packet[3] = 0x80 | code;
    packet
}

/// Where the name at `at` ends.
fn behind_name(packet: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..NAME_MAX {
        let len = *packet.get(at)?;
        match len {
            0 => return Some(at + 1),
            // A pointer is the last of a name's parts; where it leads is of no interest.
            0xc0.. => return Some(at + 2),
            1..=63 => at += 1 + usize::from(len),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            packet.push(label.len() as u8);
            packet.extend_from_slice(label.as_bytes());
        }
        packet.push(0);
        packet.extend_from_slice(&kind.to_be_bytes());
        packet.extend_from_slice(&[0, 1]);
        packet
    }

    fn asks(name: &str, kind: u16) -> Question {
        Question::read(&question(name, kind)).unwrap()
    }

    #[test]
    fn a_question_is_read_and_passed_on() {
        let read = asks("Db.Example.com", A);
        assert_eq!(
            (read.id, read.name.as_str(), read.kind, read.room),
            (0x1234, "db.example.com", A, 512)
        );
        let on = Question::read(&read.to_pass_on(7)).unwrap();
        assert_eq!(
            (on.id, on.name.as_str(), on.room),
            (7, "db.example.com", ANSWER_MAX)
        );
    }

    #[test]
    fn what_is_no_question_is_told_so() {
        let plain = question("a.b", A);
        let with = |change: fn(&mut Vec<u8>)| {
            let mut packet = plain.clone();
            change(&mut packet);
            Question::read(&packet)
        };
        assert_eq!(with(|p| p.truncate(11)), Err(None));
        assert_eq!(with(|p| p[2] |= 0x80), Err(None), "an answer");
        let said = |code| Err(Some((0x1234, code)));
        assert_eq!(
            with(|p| p[2] |= 0x10),
            said(code::NOT_DONE),
            "another operation"
        );
        assert_eq!(with(|p| p[5] = 2), said(code::FORMAT), "two questions");
        assert_eq!(with(|p| p[12] = 0xc0), said(code::FORMAT), "a pointer");
        assert_eq!(with(|p| p[12] = 63), said(code::FORMAT), "past the end");
        assert_eq!(with(|p| p.truncate(18)), said(code::FORMAT), "no class");
        assert_eq!(
            with(|p| p[13] = b'.'),
            said(code::REFUSED),
            "a dot in a label"
        );
        assert_eq!(Question::read(&question("", A)), said(code::REFUSED));
        assert_eq!(Question::read(&question("a.b", ANY)), said(code::REFUSED));
        let long = [
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(63),
        ]
        .join(".");
        assert_eq!(Question::read(&question(&long, A)), said(code::FORMAT));
    }

    #[test]
    fn addresses_come_back_and_as_many_as_there_is_room_for() {
        let asked = asks("a.b", A);
        let all: Vec<(IpAddr, u32)> = (0..100)
            .map(|n| (Ipv4Addr::new(8, 8, 8, n).into(), 60))
            .collect();
        let answer = Answer {
            code: 0,
            addresses: all.clone(),
        };
        let told = asked.answer(&answer);
        assert!(told.len() <= 512 && told.len() > 480);
        let read = asked.read_answer(0x1234, &told).unwrap();
        assert_eq!(read.addresses, all[..read.addresses.len()]);
        assert_eq!(asked.read_answer(0x1235, &told), None, "another number");
        assert_eq!(
            asks("a.c", A).read_answer(0x1234, &told),
            None,
            "another name"
        );
        assert_eq!(
            asks("a.b", AAAA).read_answer(0x1234, &told),
            None,
            "another kind"
        );
    }

    #[test]
    fn names_in_between_are_walked_over() {
        let asked = asks("a.b", A);
        let mut packet = asked.head(1, 0x8180, 2, 0);
        // a.b is another name for c.b, whose address comes next.
        packet.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, b'c', 0xc0, 14]);
        packet.extend_from_slice(&[1, b'c', 0xc0, 14, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 5]);
        let read = asked.read_answer(1, &packet).unwrap();
        assert_eq!(read.addresses, [(IpAddr::from([10, 0, 0, 5]), 9)]);
        // The second record has lost its end: what is whole counts.
        packet.pop();
        assert_eq!(asked.read_answer(1, &packet).unwrap().addresses, []);
    }

    proptest! {
        #[test]
        fn no_packet_panics(packet in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(question) = Question::read(&packet) {
                prop_assert_eq!(Question::read(&question.to_pass_on(question.id)).unwrap().name, question.name);
            }
            let asked = asks("a.b", A);
            let _ = asked.read_answer(0x1234, &packet);
            let mut framed = asked.head(0x1234, 0x8180, 3, 0);
            framed.extend_from_slice(&packet);
            let answer = asked.read_answer(0x1234, &framed).unwrap();
            prop_assert!(answer.addresses.len() <= 3);
            prop_assert!(asked.pass_back(0x1234, &framed).unwrap().len() <= asked.room);
        }
    }
}
