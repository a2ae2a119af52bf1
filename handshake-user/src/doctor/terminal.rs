//! What it is shown on.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd};

use super::{Check, Group, Verdict};

/// Columns and rows below which a table cannot be read.
const LEAST: (u16, u16) = (40, 12);

/// What the environment says.
#[derive(Debug, Default)]
struct Settings {
    term: String,
    no_color: bool,
    locale: String,
}

impl Settings {
    fn read() -> Self {
        let value =
            |name: &str| std::env::var_os(name).unwrap_or_default().to_string_lossy().into_owned();
        // locale(7): the first that is set and not empty counts.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(value).into_iter();
        let locale = locale.into_iter().find(|one| !one.is_empty()).unwrap_or_default();
        Self { term: value("TERM"), no_color: !value("NO_COLOR").is_empty(), locale }
    }
}

pub(super) fn checks() -> Vec<Check> {
    let settings = Settings::read();
    vec![screen(size()), colours(&settings), locale(&settings)]
}

/// Columns and rows of the terminal; `doctor | less` has one too.
fn size() -> Option<(u16, u16)> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let of = |fd: &dyn AsFd| {
        let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: the kernel writes one `winsize`, which is ours.
        let result = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) };
        (result == 0).then_some((size.ws_col, size.ws_row))
    };
    if stdout.is_terminal() {
        return of(&stdout);
    }
    of(&stderr)
        .filter(|_| stderr.is_terminal())
        .or_else(|| of(&stdin).filter(|_| stdin.is_terminal()))
}

fn check(name: &str, verdict: Verdict, finding: impl Into<String>) -> Check {
    Check::new(Group::Terminal, name, verdict, finding)
}

fn screen(size: Option<(u16, u16)>) -> Check {
    let Some((columns, rows)) = size else {
        return check("screen", Verdict::Degraded, "no terminal: `watch` prints lines only")
            .advice("over ssh: `ssh -t`; in a container: `docker run -it` or `exec -it`");
    };
    let finding = format!("{columns} columns, {rows} rows");
    match (columns, rows) {
        (0, _) | (_, 0) => check("screen", Verdict::Unknown, "the terminal does not tell its size")
            .command("stty columns 80 rows 24"),
        _ if columns < LEAST.0 || rows < LEAST.1 => {
            check("screen", Verdict::Degraded, format!("{finding}: too small for tables"))
                .advice(format!("make the window {} × {} or larger", LEAST.0, LEAST.1))
        }
        _ => check("screen", Verdict::Ok, finding),
    }
}

fn colours(settings: &Settings) -> Check {
    match settings.term.as_str() {
        "" => check("colours", Verdict::Degraded, "TERM is not set")
            .command("export TERM=xterm-256color"),
        "dumb" => check("colours", Verdict::Degraded, "TERM is dumb: no colours, no cursor")
            .command("export TERM=xterm-256color"),
        term if settings.no_color => {
            check("colours", Verdict::Ok, format!("none, as NO_COLOR asks (TERM is {term})"))
        }
        term => check("colours", Verdict::Ok, format!("TERM is {term}")),
    }
}

fn locale(settings: &Settings) -> Check {
    let lower = settings.locale.to_lowercase();
    if lower.contains("utf-8") || lower.contains("utf8") {
        return check("locale", Verdict::Ok, settings.locale.clone());
    }
    let said = if lower.is_empty() { "not set" } else { &settings.locale };
    check("locale", Verdict::Degraded, format!("{said}: no UTF-8, so `→` and `µs` may not show"))
        .command("export LC_ALL=C.UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_judged_by_its_size() {
        for (size, verdict) in [
            (None, Verdict::Degraded),
            (Some((80, 24)), Verdict::Ok),
            (Some((40, 12)), Verdict::Ok),
            (Some((39, 12)), Verdict::Degraded),
            (Some((80, 11)), Verdict::Degraded),
            (Some((0, 0)), Verdict::Unknown),
        ] {
            assert_eq!(screen(size).verdict, verdict, "{size:?}");
        }
    }

    #[test]
    fn a_locale_is_utf_8_by_either_spelling() {
        let of = |locale: &str| {
            locale_of(&Settings { locale: locale.to_owned(), ..Settings::default() })
        };
        fn locale_of(settings: &Settings) -> Verdict {
            locale(settings).verdict
        }
        assert_eq!((of("C.UTF-8"), of("de_DE.utf8")), (Verdict::Ok, Verdict::Ok));
        assert_eq!((of("C"), of("")), (Verdict::Degraded, Verdict::Degraded));
    }
}
