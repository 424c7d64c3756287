//! Every way in which a new system can be bad, each tried in a machine: one table ([`rows`]), and
//! what must be so at the end of each.
//!
//! `make test` runs the daily rows; `ABIDE_MATRIX=all` runs all of them, `ABIDE_MATRIX=a,b` those
//! two.

mod few_clusters;
mod machines;
mod row;
mod rows;
mod run;
mod stories;
mod table;
mod volatile_var;
mod witnesses;

/// One of two workers that share the rows, so that two machines run side by side.
#[test]
fn every_bad_system_ends_on_the_good_one() {
    run::run_rows();
}

/// The other worker.
#[test]
fn every_bad_system_ends_on_the_good_one_beside() {
    run::run_rows();
}
