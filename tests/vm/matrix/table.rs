//! The table of rows: printed at the end of a run, and kept in `docs/explanation/matrix.md`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;

use abide_qemu::paths;
use nix::fcntl::{Flock, FlockArg};

use super::row::Row;
use super::rows;
use super::run::Outcome;

/// The lines between which the table stands in its document.
const BEGIN: &str = "<!-- the table: written by `make soak` -->";
const END: &str = "<!-- end of the table -->";

const HEAD: &str = "| row | what is bad | seconds | boots | how it ended, and what is on record |\n\
                    | --- | --- | ---: | ---: | --- |\n";

/// One row, as progress.
pub fn line(outcome: &Outcome) -> String {
    let record = outcome.record.as_deref().unwrap_or("FAILED");
    format!("matrix: {:<24} {:>4} s  {record}", outcome.row.name, outcome.took.as_secs())
}

/// Prints the table. With `ABIDE_MATRIX_WRITE` its rows take the place of those of the same names in
/// the document; what the document says of rows that were not run stays.
pub fn print(done: &mut [Outcome]) {
    let place = |outcome: &Outcome| rows::all().position(|row| std::ptr::eq(row, outcome.row));
    done.sort_by_key(place);
    let new: Vec<(&str, String)> = done.iter().map(|outcome| (outcome.row.name, markdown(outcome))).collect();
    let printed: Vec<&str> = new.iter().map(|(_, line)| line.as_str()).collect();
    writeln!(std::io::stderr(), "\n{HEAD}{}", printed.concat()).ok();
    if std::env::var_os("ABIDE_MATRIX_WRITE").is_some() {
        write(&BTreeMap::from_iter(new));
    }
}

fn write(new: &BTreeMap<&str, String>) {
    // Runs of single rows may end at the same time.
    let lock = fs::File::create(paths::target().join("matrix.lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let document = paths::workspace().join("docs/explanation/matrix.md");
    let text = fs::read_to_string(&document).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (old, tail) = rest.split_once(END).unwrap();
    let table: String = rows::all()
        .map(|row| {
            let begins =
                |line: &&str| line.split(['|', ' ', '○']).find(|word| !word.is_empty()) == Some(row.name);
            // Of another row of that name nothing is known.
            let known = old.lines().find(begins).and_then(|line| line.split_once(row.what));
            let known = known.map(|(_, record)| format!("{}{record}\n", of_row(row)));
            let line = new.get(row.name).cloned().or(known);
            line.unwrap_or_else(|| of_cells(row, "", "", "**not run yet**"))
        })
        .collect();
    fs::write(&document, format!("{head}{BEGIN}\n\n{HEAD}{table}\n{END}{tail}")).unwrap();
    drop(lock);
}

fn markdown(Outcome { row, took, boots, record }: &Outcome) -> String {
    let record = record.as_deref().unwrap_or("**FAILED**").replace('|', "\\|");
    of_cells(row, &took.as_secs().to_string(), &boots.to_string(), &record)
}

fn of_cells(row: &Row, seconds: &str, boots: &str, record: &str) -> String {
    format!("{} | {seconds} | {boots} | {record} |\n", of_row(row))
}

fn of_row(row: &Row) -> String {
    format!("| {}{} | {}", row.name, if row.daily { "" } else { " ○" }, row.what)
}
