//! Text for people: escapes, sizes, spans, instants.

use std::borrow::Cow;

/// `text` with every control character but the tab spelled out, so that a log line cannot move the
/// cursor, set a title or paint over another line.
///
/// C1 controls and the marks that turn the direction of writing count as well: terminals obey them.
pub fn escape(text: &str) -> Cow<'_, str> {
    let bad = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    };
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !bad(c) => shown.push(c),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            c if (c as u32) < 0x100 => shown.push_str(&format!("\\x{:02x}", c as u32)),
            c => shown.push_str(&format!("\\u{{{:x}}}", c as u32)),
        }
    }
    Cow::Owned(shown)
}

/// `text` as one word of a shell; in quotes only where it needs them.
pub fn word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
}

/// `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// `350ms`, `12.3s`, `4m05s`, `3h10m`, `2d04h`.
pub fn span(ms: u64) -> String {
    let s = ms / 1000;
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{:.1}s", ms as f64 / 1000.0),
        60_000..3_600_000 => format!("{}m{:02}s", s / 60, s % 60),
        3_600_000..86_400_000 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

/// Reads `90s`, `10m`, `2h`, `3d`; ms.
pub fn parse_span(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a span such as 90s, 10m, 2h or 3d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// `2026-11-21T02:00:00.123Z`.
pub fn instant(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(at) => format!(
            "{}.{:03}Z",
            at.strftime("%Y-%m-%dT%H:%M:%S"),
            at.subsec_millisecond()
        ),
        Err(_) => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_drive_the_terminal() {
        let check = |text: &str, shown: &str| assert_eq!(escape(text), shown);
        check("plain\tä 🙂", "plain\tä 🙂");
        check("\u{1b}[2J\u{7}", "\\x1b[2J\\x07");
        check("a\rb\nc\0", "a\\rb\\nc\\x00");
        check("\u{9b}31m", "\\x9b31m");
        check("a\u{202e}b", "a\\u{202e}b");
        check("\u{7f}", "\\x7f");
    }

    #[test]
    fn a_word_of_the_shell_is_quoted_where_it_must_be() {
        let check = |text: &str, shown: &str| assert_eq!(word(text), shown);
        check("@a/event.json", "@a/event.json");
        check("", "''");
        check("a b", "'a b'");
        check("it's", r"'it'\''s'");
        check("$(x)", "'$(x)'");
        check("~", "'~'");
    }

    #[test]
    fn spans_and_sizes_read_and_show() {
        assert_eq!(parse_span("10m"), Ok(600_000));
        assert_eq!(parse_span("3d"), Ok(259_200_000));
        for bad in ["", "10", "m", "-1s", "1w", "99999999999999999d"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
        assert_eq!(span(245_000), "4m05s");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(instant(1_795_226_400_123), "2026-11-21T02:00:00.123Z");
    }
}
