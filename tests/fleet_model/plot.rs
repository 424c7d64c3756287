//! The plot: the load of a good release over time, how it gets through the fleet, and who tried a bad one.

use std::fmt::Write as _;

use crate::outcome::Outcome;
use crate::scenario::{AT_ONCE, CANARIES, FEED, NIGHT, PHASED, WAVES, WAYS, Way};
use crate::table::Run;

const WIDTH: f64 = 820.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 300.0;
const HEIGHT: f64 = 170.0;

const COLOURS: [(Way, &str); 6] = [
    (AT_ONCE, "#cf222e"),
    (FEED, "#0969da"),
    (NIGHT, "#8250df"),
    (CANARIES, "#bf8700"),
    (PHASED, "#bf3989"),
    (WAVES, "#1a7f37"),
];

/// A line: its way, and points of hours and values.
type Line = (Way, Vec<(f64, f64)>);

pub fn svg(good: &[&Run], bad: &[&Run], seed: u64) -> String {
    let nodes = good.iter().map(|(s, _)| s.nodes).max().unwrap_or(0);
    let largest: Vec<&(_, _)> = good.iter().copied().filter(|(s, _)| s.nodes == nodes).collect();
    let lines = |ways: &[Way], of: &dyn Fn(&Outcome) -> Vec<(f64, f64)>| -> Vec<Line> {
        let is_meant = |run: &&&Run| ways.contains(&run.0.way);
        largest.iter().filter(is_meant).map(|(s, outcome)| (s.way, of(outcome))).collect()
    };
    let mut body = String::new();
    let mut y = 10.0;
    let feeds = [AT_ONCE, FEED, NIGHT];
    let day = 24.0;
    for (title, lines, hours, logarithmic) in [
        (
            format!(
                "{nodes} nodes: requests for SHA256SUMS per second, the most of each 10 minutes (logarithmic)"
            ),
            lines(&feeds[..2], &requests),
            day,
            true,
        ),
        (
            format!("{nodes} nodes: Gbit/s of downloads, the most of each 10 minutes (logarithmic)"),
            lines(&feeds, &gigabits),
            day,
            true,
        ),
        (
            format!("{nodes} nodes: percent of the fleet that has the release"),
            lines(&WAYS, &share),
            120.0,
            false,
        ),
    ] {
        y = chart(&mut body, &title, &lines, hours, logarithmic, y);
    }
    y = bars(&mut body, bad, y);
    text(
        &mut body,
        LEFT,
        y,
        "start",
        &format!("Seed {seed}; hours since the release appeared, on a Monday at 12:00 UTC"),
    );
    y += 12.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn requests(outcome: &Outcome) -> Vec<(f64, f64)> {
    let most = |part: &[u32]| f64::from(part.iter().copied().max().unwrap_or(0));
    outcome.requests.chunks(600).map(most).enumerate().map(at_hour).collect()
}

fn gigabits(outcome: &Outcome) -> Vec<(f64, f64)> {
    let most = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
    outcome.gigabits().chunks(600).map(most).enumerate().map(at_hour).collect()
}

/// The middle of the ten minutes.
fn at_hour((n, value): (usize, f64)) -> (f64, f64) {
    ((n as f64 + 0.5) / 6.0, value)
}

fn share(outcome: &Outcome) -> Vec<(f64, f64)> {
    let nodes = f64::from(outcome.nodes);
    // One point for each half percent is enough for the eye.
    let step = (outcome.updated.len() / 200).max(1);
    let ends = outcome.updated.iter().enumerate();
    let mut points = vec![(0.0, 0.0)];
    points.extend(
        ends.filter(|(n, _)| n % step == 0 || n + 1 == outcome.updated.len())
            .map(|(n, at)| (*at as f64 / 3600.0, (n + 1) as f64 / nodes * 100.0)),
    );
    points
}

fn chart(body: &mut String, title: &str, lines: &[Line], hours: f64, logarithmic: bool, y: f64) -> f64 {
    let values = || lines.iter().flat_map(|(_, points)| points.iter().map(|(_, value)| *value));
    let top = values().fold(0.0, f64::max);
    let (low, high) = match logarithmic {
        // From the power of ten below the least that is left to see.
        true => (10.0_f64.powf((top.log10() - 5.0).floor()), 10.0_f64.powf(top.log10().ceil())),
        false => (0.0, 100.0),
    };
    let x_of = |hour: f64| LEFT + hour / hours * (WIDTH - LEFT - RIGHT);
    let y_of = |value: f64| {
        let part = match logarithmic {
            true => (value.max(low) / low).ln() / (high / low).ln(),
            false => (value - low) / (high - low),
        };
        y + 24.0 + HEIGHT * (1.0 - part)
    };
    text(body, LEFT, y + 12.0, "start", title);
    let ticks: Vec<f64> = match logarithmic {
        true => (0..=6).map(|n| low * 10.0_f64.powi(n)).filter(|value| *value <= high * 1.01).collect(),
        false => vec![0.0, 25.0, 50.0, 75.0, 100.0],
    };
    for value in ticks {
        let at = y_of(value);
        writeln!(body, "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#d0d7de\"/>", WIDTH - RIGHT).unwrap();
        let label = if value < 1.0 && value > 0.0 { format!("{value:.4}") } else { format!("{value:.0}") };
        let label = if label.contains('.') { label.trim_end_matches('0') } else { &label };
        text(body, LEFT - 6.0, at + 4.0, "end", label);
    }
    for n in 0..=6 {
        let hour = hours / 6.0 * f64::from(n);
        text(body, x_of(hour), y + 24.0 + HEIGHT + 16.0, "middle", &format!("{hour:.0}h"));
    }
    for (n, (way, points)) in lines.iter().enumerate() {
        let colour = colour(*way);
        let points: Vec<String> = points
            .iter()
            .filter(|(hour, _)| *hour <= hours)
            .map(|(hour, value)| format!("{:.1},{:.1}", x_of(*hour), y_of(*value)))
            .collect();
        writeln!(
            body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            points.join(" ")
        )
        .unwrap();
        legend(body, *way, y + 36.0 + 18.0 * n as f64);
    }
    y + 24.0 + HEIGHT + 36.0
}

fn bars(body: &mut String, bad: &[&Run], mut y: f64) -> f64 {
    let nodes = bad.iter().map(|(s, _)| s.nodes).max().unwrap_or(0);
    let width = WIDTH - LEFT - RIGHT;
    for percent in [100, 20] {
        let of = bad.iter().filter(|(s, _)| s.nodes == nodes && s.bad.0 == percent);
        let title = format!(
            "{nodes} nodes: how many tried a release that is bad on {percent} % of them, and rolled back"
        );
        text(body, LEFT, y + 12.0, "start", &title);
        y += 20.0;
        for (scenario, outcome) in of {
            let tried = outcome.tried.len() as f64 / f64::from(nodes) * width;
            let failed = f64::from(outcome.failed) / f64::from(nodes) * width;
            let colour = colour(scenario.way);
            for (width, opacity) in [(tried, 0.4), (failed, 1.0)] {
                writeln!(
                    body,
                    "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"14\" fill=\"{colour}\" opacity=\"{opacity}\"/>"
                )
                .unwrap();
            }
            let label = format!("{} and {}: {}", outcome.tried.len(), outcome.failed, scenario.way.name);
            text(body, LEFT + tried + 6.0, y + 11.0, "start", &label);
            y += 18.0;
        }
        y += 14.0;
    }
    y + 6.0
}

fn legend(body: &mut String, way: Way, y: f64) {
    let (x, colour) = (WIDTH - RIGHT + 12.0, colour(way));
    writeln!(body, "<rect x=\"{x}\" y=\"{:.1}\" width=\"12\" height=\"3\" fill=\"{colour}\"/>", y - 5.0)
        .unwrap();
    text(body, x + 18.0, y, "start", way.name);
}

fn colour(way: Way) -> &'static str {
    COLOURS.iter().find(|(known, _)| *known == way).map_or("black", |(_, colour)| colour)
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    writeln!(body, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>").unwrap();
}
