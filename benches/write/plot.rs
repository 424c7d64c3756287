//! The plot: seconds of a full write, and how they grow with the size.

use crate::results::Results;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 150.0;
const BAR: f64 = 16.0;

const COLOURS: [(&str, &str); 6] = [
    ("Abide zst", "#1a7f37"),
    ("Abide gz", "#57ab5a"),
    ("dd direct", "#8c959f"),
    ("zstd | dd", "#0969da"),
    ("igzip | dd", "#8250df"),
    ("EMT's sequence", "#cf222e"),
];

pub fn svg(results: &Results) -> String {
    let (mut body, mut y) = (String::new(), 10.0);
    for (case, name) in
        [("full-sparse-1G", "1 GiB, three quarters zeros"), ("full-dense-1G", "1 GiB, no zeros")]
    {
        y = bars(results, case, name, &mut body, y) + 20.0;
    }
    y = growth(results, &mut body, y);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

fn bars(results: &Results, case: &str, name: &str, body: &mut String, mut y: f64) -> f64 {
    let Some((_, tools)) = results.cases().into_iter().find(|(c, _)| c.name() == case) else { return y };
    let most = tools.iter().map(|(_, r)| r.seconds).fold(0.001, f64::max);
    *body += &text(LEFT, y + 12.0, "start", &format!("Seconds until durable: {name}"));
    y += 20.0;
    for (tool, run) in tools {
        let width = run.seconds / most * (WIDTH - LEFT - 60.0);
        let colour = if tool.starts_with("Abide") { "#1a7f37" } else { "#8c959f" };
        *body += &text(LEFT - 6.0, y + 12.0, "end", tool);
        *body += &format!(
            "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n"
        );
        *body += &text(LEFT + width + 4.0, y + 12.0, "start", &format!("{:.2}", run.seconds));
        y += BAR + 4.0;
    }
    y
}

/// Both axes are logarithmic: a line of slope one is a cost that grows with the size.
fn growth(results: &Results, body: &mut String, y: f64) -> f64 {
    const HEIGHT: f64 = 220.0;
    let sizes = [("256M", 0.25_f64), ("1G", 1.0), ("8G", 8.0)];
    let x_of = |gib: f64| LEFT + (gib / 0.25).ln() / 32.0_f64.ln() * (WIDTH - LEFT - 160.0);
    let y_of = |seconds: f64| y + 30.0 + HEIGHT * (1.0 - (seconds / 0.1).ln() / 2000.0_f64.ln());
    *body += &text(LEFT, y + 12.0, "start", "Seconds by size, three quarters zeros (both axes logarithmic)");
    for seconds in [0.1, 1.0, 10.0, 100.0] {
        let at = y_of(seconds);
        *body += &format!("<path d=\"M{LEFT} {at:.1}H{}\" stroke=\"#d0d7de\"/>\n", WIDTH - 160.0);
        *body += &text(LEFT - 6.0, at + 4.0, "end", &seconds.to_string());
    }
    for (name, gib) in sizes {
        *body += &text(x_of(gib), y + 30.0 + HEIGHT + 16.0, "middle", name);
    }
    for (at, (tool, colour)) in (0_u8..).zip(COLOURS) {
        let points: Vec<String> = sizes
            .iter()
            .filter_map(|(size, gib)| {
                let run = results.get(&format!("full-sparse-{size}"), tool)?;
                Some(format!("{:.1},{:.1}", x_of(*gib), y_of(run.seconds)))
            })
            .collect();
        *body += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
            points.join(" ")
        );
        let legend = y + 44.0 + 18.0 * f64::from(at);
        *body += &format!(
            "<rect x=\"{}\" y=\"{}\" width=\"12\" height=\"3\" fill=\"{colour}\"/>\n",
            WIDTH - 145.0,
            legend - 5.0
        );
        *body += &text(WIDTH - 128.0, legend, "start", tool);
    }
    y + 30.0 + HEIGHT + 30.0
}
