//! The picture of a ticket. Every text on it comes from a customer or a catalogue, so all of it is
//! escaped; there is no script and no reference to anything outside.

use crate::ticket::Ticket;
use std::fmt::Write;

/// Characters of a line that fit; what is longer ends in an ellipsis.
const LINE_CHARS: usize = 34;
/// The same for the title, which is larger.
const TITLE_CHARS: usize = 28;
const BARS: u32 = 44;

pub fn render(ticket: &Ticket, token: &str) -> String {
    let line = |text: &str| escape(&shorten(text, LINE_CHARS));
    let (day, time) = when(&ticket.starts);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 280" width="760" height="280" role="img" aria-label="Ticket {booking}">
<defs><linearGradient id="sky" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="#1d2b53"/><stop offset=".6" stop-color="#3b3f8c"/><stop offset="1" stop-color="#c8553d"/></linearGradient></defs>
<path fill="url(#sky)" d="M16 0h552a12 12 0 0 0 24 0h152a16 16 0 0 1 16 16v248a16 16 0 0 1-16 16h-152a12 12 0 0 0-24 0h-552a16 16 0 0 1-16-16v-248a16 16 0 0 1 16-16z"/>
<path stroke="#fff" stroke-opacity=".5" stroke-width="2" stroke-dasharray="4 8" d="M580 24v232"/>
<g fill="#fff" font-family="Georgia, 'Times New Roman', serif">
<text x="36" y="52" font-size="13" letter-spacing="4" fill-opacity=".75">ADMIT THE BEARER</text>
<text x="36" y="98" font-size="29" font-weight="bold">{title}</text>
<text x="36" y="128" font-size="18" fill-opacity=".85">{venue}</text>
<text x="36" y="180" font-size="20">{day}</text><text x="220" y="180" font-size="20">{time}</text>
<text x="36" y="214" font-size="18">{holder}</text>
<text x="36" y="246" font-size="15" fill-opacity=".75">{seats}</text>
<text x="556" y="246" font-size="18" text-anchor="end">{total}</text>
<text x="670" y="252" font-size="11" text-anchor="middle" font-family="monospace">{booking}</text>
</g>
<g fill="#fff">{bars}</g>
</svg>
"##,
        booking = line(&ticket.booking),
        title = escape(&shorten(&ticket.title, TITLE_CHARS)),
        venue = line(&ticket.venue),
        day = line(day),
        time = line(&time),
        holder = line(&ticket.holder),
        seats = line(&ticket.seats),
        total = line(&ticket.total),
        bars = bars(token),
    )
}

/// `2031-05-16T20:00:00Z` as a day and `20:00 UTC`; anything else as it is.
fn when(starts: &str) -> (&str, String) {
    match starts.split_once('T') {
        Some((day, time)) if time.is_ascii() && time.len() >= 5 => {
            let zone = if time.ends_with('Z') { " UTC" } else { "" };
            (day, format!("{}{zone}", &time[..5]))
        }
        _ => (starts, String::new()),
    }
}

/// Stripes from the end of the signature: two tickets never look alike. For the eye; a door scans
/// the token itself.
fn bars(token: &str) -> String {
    let tail: Vec<u8> = token.bytes().rev().take(BARS as usize).collect();
    let mut out = String::new();
    for (at, byte) in tail.iter().enumerate() {
        let (left, width) = (604 + at * 3, 1 + byte % 2);
        write!(out, r#"<path d="M{left} 32h{width}v190h-{width}z"/>"#)
            .expect("writing to a String never fails");
    }
    out
}

fn shorten(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars - 1).collect();
    format!("{}…", kept.trim_end())
}

/// Text for XML. Characters that XML 1.0 cannot hold become U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::tests::{KEY, claims, signed};

    #[test]
    fn names_cannot_write_markup() {
        let token = signed(&claims());
        let picture = render(&Ticket::verify(&token, KEY).unwrap(), &token);
        assert!(picture.contains("Ada &lt;Lovelace&gt;"));
        assert!(picture.contains("20:00 UTC"));
        assert!(!picture.contains("<Lovelace>"));
        assert_eq!(
            escape("\u{0}\u{1b}\"'&\u{ffff}"),
            "\u{fffd}\u{fffd}&quot;&#39;&amp;\u{fffd}"
        );
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(shorten(&"é".repeat(34), 34), "é".repeat(34));
        assert_eq!(shorten(&"é".repeat(35), 34), format!("{}…", "é".repeat(33)));
    }

    #[test]
    fn times_that_are_none_are_shown_as_they_are() {
        assert_eq!(
            when("2031-05-16T20:00:00Z"),
            ("2031-05-16", "20:00 UTC".to_owned())
        );
        assert_eq!(when("soon"), ("soon", String::new()));
        assert_eq!(when("aT€€"), ("aT€€", String::new()));
    }
}
