//! What must hold in every fleet; and the large ones, on demand.

use std::io::Write;
use std::time::Instant;

use crate::outcome::Outcome;
use crate::scenario::{
    AT_ONCE, Bad, CANARIES, FEED, GOOD, NIGHT, PHASED, Scenario, Server, WAVES, WAYS, Way,
};
use crate::server::group_of;
use crate::table::{self, Run};
use crate::{plot, world};

const HOUR: u64 = 60 * 60;

/// `ABIDE_SEED`, or the one of the document.
fn seed() -> u64 {
    std::env::var("ABIDE_SEED").map_or(1, |seed| seed.parse().unwrap())
}

fn run(way: Way, bad: Bad, nodes: u32) -> Outcome {
    eprintln!("fleet: {}, bad on {} %, {nodes} nodes, ABIDE_SEED={}", way.name, bad.0, seed());
    world::run(&Scenario { way, bad, nodes, seed: seed() })
}

#[test]
fn a_good_release_reaches_every_node_each_way() {
    for way in WAYS {
        for nodes in [10, 1000] {
            let outcome = run(way, GOOD, nodes);
            assert_eq!((outcome.updated.len(), outcome.failed), (nodes as usize, 0));
            assert_eq!((outcome.tries_of_one, outcome.stopped), (1, None));
            assert!(outcome.reached(100).unwrap() < 10 * 24 * HOUR);
        }
    }
}

#[test]
fn a_fleet_spreads_its_requests_and_downloads() {
    let (at_once, spread) = (run(AT_ONCE, GOOD, 1000), run(FEED, GOOD, 1000));
    assert!(at_once.peak_requests() >= 970, "{}", at_once.peak_requests());
    assert!(spread.peak_requests() <= 6, "{}", spread.peak_requests());
    // An hour of polls and an hour of spread; a download takes two minutes.
    assert!(spread.peak_gigabits() * 8.0 < at_once.peak_gigabits());
}

#[test]
fn a_node_asks_once_in_each_interval() {
    let outcome = run(FEED, GOOD, 1000);
    let hours: Vec<u32> = outcome.requests.chunks(3600).take(24).map(|hour| hour.iter().sum()).collect();
    // One in fifty is off at first.
    assert!(hours.iter().all(|n| (960..=1000).contains(n)), "{hours:?}");
}

#[test]
fn nothing_is_begun_by_day_where_there_are_windows_at_night() {
    for way in [NIGHT, CANARIES, WAVES] {
        // The nights of Tokyo, Berlin and New York, in hours UTC.
        let night = |second: &u64| matches!((12 + second / HOUR) % 24, 17..20 | 1..4 | 7..10);
        let outcome = run(way, GOOD, 1000);
        assert!(outcome.tried.iter().all(night), "{}", way.name);
        assert!(outcome.tried.len() == 1000);
    }
}

#[test]
fn no_node_tries_a_bad_release_twice_and_all_end_on_the_repaired_one() {
    for way in WAYS.into_iter().filter(|way| way.server != Server::Waves) {
        for bad in [Bad(100), Bad(20)] {
            let outcome = run(way, bad, 1000);
            assert_eq!((outcome.tries_of_one, outcome.updated.len()), (1, 1000), "{}", way.name);
            assert!(outcome.stopped.is_some() && outcome.failed > 0);
        }
    }
}

#[test]
fn a_bad_release_is_stopped_in_the_first_wave_or_by_the_canaries() {
    for (nodes, few) in [(10, 1), (1000, 10)] {
        for way in [CANARIES, WAVES] {
            let outcome = run(way, Bad(100), nodes);
            assert!(outcome.tried.len() <= few && outcome.stopped.is_some(), "{}", way.name);
        }
    }
    // Bad on every fifth machine only: still a few, where a feed alone has had them all.
    assert!(run(WAVES, Bad(20), 1000).tried.len() <= 100);
    assert!(run(FEED, Bad(20), 1000).tried.len() > 900);
}

#[test]
fn a_bad_release_that_is_halted_in_its_first_stage_hits_no_other_machine() {
    for bad in [Bad(100), Bad(20)] {
        let outcome = run(PHASED, bad, 10_000);
        let tried = outcome.tried.len();
        assert!(
            (430..=570).contains(&tried) && outcome.stopped.is_some(),
            "{tried} of 10000, bad on {} %",
            bad.0
        );
        assert_eq!((outcome.tries_of_one, outcome.updated.len()), (1, 10_000));
    }
    let good = run(PHASED, GOOD, 10_000);
    let on_the_first_day = good.updated.iter().filter(|second| **second < 24 * HOUR).count();
    assert!((430..=570).contains(&on_the_first_day), "{on_the_first_day}");
}

#[test]
fn the_same_seed_makes_the_same_fleet() {
    let (one, other) = (run(NIGHT, Bad(20), 200), run(NIGHT, Bad(20), 200));
    assert_eq!((one.requests, one.tried, one.updated), (other.requests, other.tried, other.updated));
}

#[test]
fn every_node_is_in_one_group() {
    for nodes in [1, 2, 4, 10, 999, 1000] {
        let mut sizes = [0_u32; 4];
        (0..nodes).for_each(|n| sizes[group_of(n, nodes)] += 1);
        assert_eq!(sizes.iter().sum::<u32>(), nodes);
        assert_eq!(sizes[0], (nodes / 100).max(1));
    }
}

/// The figures of the document: `ABIDE_FLEET` says for how many nodes, `ABIDE_FLEET_WRITE` that they are kept.
#[test]
fn the_figures() {
    let sizes = std::env::var("ABIDE_FLEET").unwrap_or_else(|_| "10,100".into());
    let sizes: Vec<u32> = sizes.split(',').map(|size| size.parse().unwrap()).collect();
    let mut runs: Vec<Run> = vec![];
    for bad in [GOOD, Bad(100), Bad(20)] {
        for way in WAYS.into_iter().filter(|way| bad == GOOD || *way != AT_ONCE) {
            for nodes in &sizes {
                let start = Instant::now();
                let scenario = Scenario { way, bad, nodes: *nodes, seed: seed() };
                runs.push((scenario, run(way, bad, *nodes)));
                writeln!(std::io::stderr(), "fleet: {:.1} s", start.elapsed().as_secs_f64()).unwrap();
            }
        }
    }
    let of = |good: bool| -> Vec<&Run> { runs.iter().filter(|(s, _)| (s.bad == GOOD) == good).collect() };
    let tables = [table::good(&of(true)), table::bad(&of(false))];
    let plot = plot::svg(&of(true), &of(false), seed());
    writeln!(std::io::stderr(), "{}\n{}", tables[0], tables[1]).unwrap();
    if std::env::var_os("ABIDE_FLEET_WRITE").is_some() {
        table::write([&tables[0], &tables[1]], &plot);
    }
}
