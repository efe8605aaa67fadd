//! The unit: its text, and which paths may stand in it.

use std::path::{Component, Path};

const TEMPLATE: &str = include_str!("../../../../packaging/systemd/freehold.service");
/// What the unit closes to the service, or gives it another one of.
const CLOSED: [&str; 8] = [
    "/home",
    "/root",
    "/run/user",
    "/tmp",
    "/var/tmp",
    "/proc",
    "/sys",
    "/dev",
];

/// The unit for a binary and a data folder that are [`allowed`].
pub(super) fn text(binary: &Path, data: &Path) -> String {
    let binary = binary.display().to_string();
    TEMPLATE
        .replace("@BIN@", &binary)
        .replace("@DATA@", &data.display().to_string())
}

/// Errors: why the unit could not name this path, behind the flag that gave it.
pub(super) fn allowed(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let text = path.to_str().unwrap_or("");
    if !path.is_absolute() || text == "/" || path.components().any(|p| p == Component::ParentDir) {
        return Err(format!(
            "{shown}: an absolute path is needed, such as /srv/freehold"
        ));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if !text.chars().all(plain) {
        return Err(format!(
            "{shown}: a unit names paths of letters, digits and ._-+@ alone"
        ));
    }
    match CLOSED.iter().find(|closed| path.starts_with(closed)) {
        Some(closed) => Err(format!("{shown}: {closed} is closed to the service")),
        None => Ok(()),
    }
}

/// Whether the running system is systemd's, as `sd_booted(3)` says.
pub(super) fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Whether the service that runs is of another binary than the one that lies there, or of one that
/// was replaced since. Nothing that runs is none.
pub(super) fn runs_another(binary: &Path) -> bool {
    let asked = std::process::Command::new("/usr/bin/systemctl")
        .args(["show", "--property=MainPID", "--value", super::SERVICE])
        .output();
    let pid = asked.ok().and_then(|said| {
        let text = String::from_utf8(said.stdout).ok()?;
        text.trim().parse::<u32>().ok()
    });
    match pid {
        None | Some(0) => false,
        // What was replaced is told with " (deleted)" behind it.
        Some(pid) => std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe != binary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mark_of_the_template_is_left() {
        let text = text(Path::new("/opt/bin/freehold"), Path::new("/srv/data"));
        assert!(
            text.contains("\nExecStart=/opt/bin/freehold serve --data /srv/data\n"),
            "{text}"
        );
        assert!(text.contains("\nReadWritePaths=/srv/data\n"), "{text}");
        assert!(
            !text.contains("@BIN@") && !text.contains("@DATA@"),
            "{text}"
        );
    }

    #[test]
    fn what_a_unit_cannot_name_or_closes_is_refused() {
        for fine in [
            "/var/lib/freehold",
            "/srv/a-b_c.d+e@f",
            "/homes/x",
            "/tmpfs",
        ] {
            assert_eq!(allowed(Path::new(fine)), Ok(()), "{fine}");
        }
        for (path, says) in [
            ("/", "absolute"),
            ("data", "absolute"),
            ("/srv/../etc", "absolute"),
            ("/srv/two words", "letters"),
            ("/srv/%h", "letters"),
            ("/srv/\"x\"", "letters"),
            ("/srv/a\nExecStartPre=x", "letters"),
            ("/srv/übung", "letters"),
            ("/home/ada/data", "/home is closed"),
            ("/var/tmp/x", "/var/tmp is closed"),
        ] {
            let error = allowed(Path::new(path)).unwrap_err();
            assert!(error.contains(says), "{path}: {error}");
        }
    }
}
