//! Aligned columns for people. Machines get `--json`.

use super::text::escape;
use owo_colors::OwoColorize;

/// A column: its title, and whether its values stand to the right.
pub struct Column(pub &'static str, pub bool);

/// Lays out rows below their titles. Every cell is escaped; no row may have more cells than titles.
pub fn table(columns: &[Column], rows: &[Vec<String>], colours: bool) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| escape(cell).into_owned()).collect())
        .collect();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(columns[at].0.chars().count())
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for ((cell, Column(_, right)), width) in cells.zip(columns).zip(&widths) {
            if !text.is_empty() {
                text.push_str("  ");
            }
            let width = *width;
            text.push_str(&if *right {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            });
        }
        text.truncate(text.trim_end().len());
        text
    };
    let titles = line(&mut columns.iter().map(|column| column.0));
    let mut text = if colours {
        format!("{}\n", titles.bold())
    } else {
        format!("{titles}\n")
    };
    for row in &rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_cells_are_escaped() {
        let shown = table(
            &[Column("NAME", false), Column("MB", true)],
            &[
                vec!["a\u{1b}".into(), "128".into()],
                vec!["longer".into(), "1".into()],
            ],
            false,
        );
        assert_eq!(shown, "NAME     MB\na\\x1b   128\nlonger    1\n");
    }
}
