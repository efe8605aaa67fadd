//! JSON text written in place: for the two texts that every call costs, its event and its entry on
//! the ledger. Byte for byte what `serde_json` writes, without a look at every byte of every text.
//!
//! Member names are the platform's own and hold nothing that would have to be escaped.

use uuid::Uuid;

/// An object that is being written; [`Object::end`] closes it.
#[derive(Debug)]
#[must_use = "an object that is not ended is no JSON"]
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_begun: bool,
}

impl<'a> Object<'a> {
    /// Opens an object behind what `out` holds.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            is_begun: false,
        }
    }

    /// Closes it.
    pub fn end(self) {
        self.out.push(b'}');
    }

    /// Where the value of `name` is to be written.
    fn at(&mut self, name: &str) -> &mut Vec<u8> {
        if self.is_begun {
            self.out.push(b',');
        }
        self.is_begun = true;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A text.
    pub fn text(&mut self, name: &str, value: &str) {
        push_text(self.at(name), value);
    }

    /// A text under a name that is not the platform's.
    pub fn foreign(&mut self, name: &str, value: &str) {
        if self.is_begun {
            self.out.push(b',');
        }
        self.is_begun = true;
        push_text(self.out, name);
        self.out.push(b':');
        push_text(self.out, value);
    }

    /// A text that needs no escape: digits of all kinds, addresses.
    pub fn plain(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let out = self.at(name);
        out.push(b'"');
        out.extend_from_slice(value.as_ref());
        out.push(b'"');
    }

    /// An id.
    pub fn uuid(&mut self, name: &str, value: Uuid) {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        self.plain(name, &*value.hyphenated().encode_lower(&mut text));
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: impl itoa::Integer) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(value);
        self.at(name).extend_from_slice(digits.as_bytes());
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str, value: bool) {
        let word: &[u8] = if value { b"true" } else { b"false" };
        self.at(name).extend_from_slice(word);
    }

    /// `null`.
    pub fn null(&mut self, name: &str) {
        self.at(name).extend_from_slice(b"null");
    }

    /// Anything that `serde_json` writes.
    pub fn value(&mut self, name: &str, value: &impl serde::Serialize) {
        let out = self.at(name);
        serde_json::to_writer(out, value).expect("text keys and values always serialise");
    }

    /// An object in this one.
    pub fn object(&mut self, name: &str, members: impl FnOnce(&mut Object<'_>)) {
        let mut inner = Object::begin(self.at(name));
        members(&mut inner);
        inner.end();
    }
}

/// A text with its quotes.
fn push_text(out: &mut Vec<u8>, text: &str) {
    if needs_escape(text.as_bytes()) {
        serde_json::to_writer(out, text).expect("a text always serialises");
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Whether a byte is below a space, a quote or a backslash. Eight at a time.
fn needs_escape(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // The high bit of each byte that is zero, and perhaps of ones above it: enough to know of any.
    let zeroes = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, rest) = bytes.as_chunks::<8>();
    let in_words = words.iter().any(|word| {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        control | zeroes(word ^ (ONES * u64::from(b'"'))) | zeroes(word ^ (ONES * u64::from(b'\\')))
            != 0
    });
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    in_words || rest.iter().any(special)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_are_as_serde_json_writes_them(text in any::<String>(), plain in "[ -~é世]{0,40}") {
            for text in [text, plain] {
                let mut out = Vec::new();
                push_text(&mut out, &text);
                prop_assert_eq!(out, serde_json::to_vec(&text).unwrap());
            }
        }
    }

    #[test]
    fn each_byte_is_judged_alone_wherever_it_stands() {
        for at in 0..20 {
            for byte in 0..=127_u8 {
                let mut bytes = [b'a'; 20];
                bytes[at] = byte;
                let special = byte < 0x20 || byte == b'"' || byte == b'\\';
                assert_eq!(needs_escape(&bytes), special, "{byte} at {at}");
            }
        }
        assert!(!needs_escape("é世".repeat(9).as_bytes()));
    }

    #[test]
    fn an_object_has_what_was_put_into_it() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.text("a", "x\"y");
        object.foreign("b\n", "1");
        object.plain("c", "127.0.0.1");
        object.uuid("d", Uuid::nil());
        object.number("e", u128::MAX);
        object.flag("f", false);
        object.null("g");
        object.value("h", &["i"]);
        object.object("j", |inner| inner.number("k", -1));
        object.object("l", |_| {});
        object.end();
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            r#"{"a":"x\"y","b\n":"1","c":"127.0.0.1","d":"00000000-0000-0000-0000-000000000000","#
                .to_owned()
                + r#""e":340282366920938463463374607431768211455,"f":false,"g":null,"h":["i"],"#
                + r#""j":{"k":-1},"l":{}}"#
        );
    }
}
