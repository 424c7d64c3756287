//! The table of rows: printed at the end of a run, and kept in `docs/matrix.md`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

use abide_qemu::paths;

use super::rows::ROWS;
use super::run::Outcome;

/// The lines between which the table stands in its document.
const BEGIN: &str = "<!-- the table: written by `make soak` -->";
const END: &str = "<!-- end of the table -->";

/// One row, for whoever watches.
pub fn line(outcome: &Outcome) -> String {
    let record = outcome.record.as_deref().unwrap_or("FAILED");
    format!("matrix: {:<24} {:>4} s  {record}", outcome.row.name, outcome.took.as_secs())
}

/// Prints the table. With `ABIDE_MATRIX_WRITE` it goes into the document, too, if no row is missing
/// and none has failed.
pub fn print(done: &mut [Outcome]) {
    let place = |outcome: &Outcome| ROWS.iter().position(|row| std::ptr::eq(row, outcome.row));
    done.sort_by_key(place);
    let table = markdown(done);
    writeln!(std::io::stderr(), "\n{table}").ok();
    let is_whole = done.len() == ROWS.len() && done.iter().all(|outcome| outcome.record.is_some());
    if std::env::var_os("ABIDE_MATRIX_WRITE").is_some() && is_whole {
        let document = paths::workspace().join("docs/matrix.md");
        let text = fs::read_to_string(&document).unwrap();
        let (head, rest) = text.split_once(BEGIN).unwrap();
        let (_, tail) = rest.split_once(END).unwrap();
        fs::write(&document, format!("{head}{BEGIN}\n\n{table}\n{END}{tail}")).unwrap();
    }
}

fn markdown(done: &[Outcome]) -> String {
    let mut text =
        String::from("| row | what is bad | seconds | boots | how it ended, and what is on record |\n");
    text += "| --- | --- | ---: | ---: | --- |\n";
    for Outcome { row, took, boots, record } in done {
        let record = record.as_deref().unwrap_or("**FAILED**").replace('|', "\\|");
        let mark = if row.daily { "" } else { " ○" };
        writeln!(text, "| {}{mark} | {} | {} | {boots} | {record} |", row.name, row.what, took.as_secs())
            .unwrap();
    }
    text
}
