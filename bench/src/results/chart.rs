//! Results as a picture (SVG): to the left the latencies of each phase, from the median to the 99.9th percentile, to
//! the right what one operation costs the server; a line for each server, both on logarithmic axes.

use super::{Stored, short};
use crate::latency::Summary;

/// One line of the picture.
struct Row {
    label: String,
    phase: String,
    server: usize,
    latency: Option<Summary>,
    cpu_us: Option<f64>,
    operation: String,
}

/// What a percentile looks like.
struct Mark {
    name: &'static str,
    of: fn(&Summary) -> u64,
    /// A path around the origin.
    path: &'static str,
}

const MARKS: [Mark; 4] = [
    Mark { name: "p50", of: |latency| latency.p50, path: "M0-4.5 4.5 0 0 4.5-4.5 0Z" },
    Mark { name: "p90", of: |latency| latency.p90, path: "M-3.5-3.5H3.5V3.5H-3.5Z" },
    Mark { name: "p99", of: |latency| latency.p99, path: "M-4-3.5H4L0 4.5Z" },
    Mark { name: "p99.9", of: |latency| latency.p999, path: "M-1.2-5.5H1.2V5.5H-1.2Z" },
];

/// Told apart by most people who see colours differently, too (Okabe and Ito).
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"];

const LABELS_WIDTH: f64 = 300.0;
const LATENCY_WIDTH: f64 = 480.0;
const GAP: f64 = 40.0;
const CPU_WIDTH: f64 = 300.0;
/// For the numbers beside the bars.
const RIGHT: f64 = 70.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 44.0;
const ROW_HEIGHT: f64 = 17.0;
const GROUP_GAP: f64 = 9.0;

/// A logarithmic axis over whole decades.
struct Axis {
    from: f64,
    width: f64,
    low: i32,
    high: i32,
}

impl Axis {
    /// Over all of these numbers.
    fn over(numbers: impl Iterator<Item = f64>, from: f64, width: f64) -> Self {
        let logs: Vec<f64> = numbers.filter(|number| *number > 0.0).map(f64::log10).collect();
        let low = logs.iter().copied().fold(f64::INFINITY, f64::min);
        let high = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if logs.is_empty() {
            return Self { from, width, low: 0, high: 1 };
        }
        let low = low.floor() as i32;
        Self { from, width, low, high: (high.ceil() as i32).max(low + 1) }
    }

    /// Where a number is; what is below the axis is at its beginning.
    fn at(&self, number: f64) -> f64 {
        let share = (number.max(f64::MIN_POSITIVE).log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * self.width
    }
}

/// Draws them. Of phases that one server has more than once under one label, each gets a line.
pub fn chart(runs: &[Stored]) -> String {
    let mut servers: Vec<&str> = Vec::new();
    for run in runs {
        if !servers.contains(&run.server.as_str()) {
            servers.push(&run.server);
        }
    }
    let rows = rows(runs, &servers);
    let latencies = rows.iter().filter_map(|row| row.latency.as_ref());
    let latency = Axis::over(latencies.flat_map(|l| [ms(l.p50), ms(l.p999)]), LABELS_WIDTH, LATENCY_WIDTH);
    let cpu_from = LABELS_WIDTH + LATENCY_WIDTH + GAP;
    // From a little below the cheapest, whose bar would have no length at the axis' very beginning.
    let cpu = Axis::over(rows.iter().filter_map(|row| row.cpu_us).flat_map(|us| [us * 0.8, us]), cpu_from, CPU_WIDTH);
    let groups = rows.iter().enumerate().filter(|(at, row)| *at == 0 || !same_group(&rows[at - 1], row)).count();
    let end = TOP + rows.len() as f64 * ROW_HEIGHT + groups as f64 * GROUP_GAP;
    let (width, height) = (cpu_from + CPU_WIDTH + RIGHT, end + BOTTOM);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    legend(&servers, &mut svg);
    axis(&latency, "latency, ms (log scale)", end, &mut svg);
    axis(&cpu, "CPU of the server per operation, µs (log scale)", end, &mut svg);
    let mut y = TOP;
    for (at, row) in rows.iter().enumerate() {
        if at == 0 || !same_group(&rows[at - 1], row) {
            y += GROUP_GAP;
            let title = format!("{} · {} ({})", row.label, row.phase, row.operation);
            text(LABELS_WIDTH - 12.0, y + 11.0, "end", "#222", &title, &mut svg);
        }
        let middle = y + ROW_HEIGHT / 2.0;
        let color = COLORS[row.server % COLORS.len()];
        if let Some(found) = &row.latency {
            range(&latency, found, middle, color, &mut svg);
        }
        if let Some(found) = row.cpu_us {
            bar(&cpu, found, middle, color, &mut svg);
        }
        y += ROW_HEIGHT;
    }
    svg += "</svg>\n";
    svg
}

fn rows(runs: &[Stored], servers: &[&str]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for run in runs {
        for phase in run.phases.iter().filter(|phase| phase.latency_us.is_some() || phase.cpu_us().is_some()) {
            let row = Row {
                label: run.label(),
                phase: phase.name.clone(),
                server: servers.iter().position(|server| *server == run.server).unwrap_or_default(),
                latency: phase.latency_us.clone(),
                cpu_us: phase.cpu_us(),
                operation: phase.operation.clone(),
            };
            // Beside the same phase of the other servers.
            let at = rows.iter().rposition(|other| same_group(other, &row)).map_or(rows.len(), |at| at + 1);
            rows.insert(at, row);
        }
    }
    rows
}

fn same_group(one: &Row, other: &Row) -> bool {
    (&one.label, &one.phase) == (&other.label, &other.phase)
}

fn ms(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

fn legend(servers: &[&str], svg: &mut String) {
    let mut x = LABELS_WIDTH;
    for (number, server) in servers.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        *svg += &format!("<rect x=\"{x}\" y=\"14\" width=\"12\" height=\"12\" fill=\"{color}\"/>\n");
        text(x + 18.0, 24.0, "start", "#222", server, svg);
        x += 40.0 + 7.5 * server.chars().count() as f64;
    }
    let mut x = LABELS_WIDTH;
    for mark in &MARKS {
        draw(mark, x + 6.0, 42.0, "#222", svg);
        text(x + 18.0, 46.0, "start", "#222", mark.name, svg);
        x += 70.0;
    }
}

/// Lines at each decade, with numbers above and below.
fn axis(axis: &Axis, title: &str, end: f64, svg: &mut String) {
    text(axis.from + axis.width / 2.0, 68.0, "middle", "#222", title, svg);
    for decade in axis.low..=axis.high {
        let number = 10f64.powi(decade);
        let x = axis.at(number);
        let line = format!("<path d=\"M{x:.1} {TOP}V{:.1}\" stroke=\"#ddd\"/>\n", end + 6.0);
        *svg += &line;
        for y in [TOP - 6.0, end + 22.0] {
            text(x, y, "middle", "#666", &tick(number), svg);
        }
    }
}

fn tick(number: f64) -> String {
    if number >= 1.0 { format!("{number:.0}") } else { format!("{number}") }
}

fn range(axis: &Axis, latency: &Summary, y: f64, color: &str, svg: &mut String) {
    let (from, to) = (axis.at(ms(latency.p50)), axis.at(ms(latency.p999)));
    *svg += &format!("<path d=\"M{from:.1} {y:.1}H{to:.1}\" stroke=\"{color}\" stroke-width=\"1.5\"/>\n");
    for mark in &MARKS {
        draw(mark, axis.at(ms((mark.of)(latency))), y, color, svg);
    }
}

fn draw(mark: &Mark, x: f64, y: f64, color: &str, svg: &mut String) {
    *svg += &format!("<path transform=\"translate({x:.1} {y:.1})\" d=\"{}\" fill=\"{color}\"/>\n", mark.path);
}

fn bar(axis: &Axis, cpu: f64, y: f64, color: &str, svg: &mut String) {
    let end = axis.at(cpu);
    *svg += &format!(
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"11\" fill=\"{color}\" fill-opacity=\"0.8\"/>\n",
        axis.from,
        y - 5.5,
        (end - axis.from).max(1.0)
    );
    text(end + 5.0, y + 4.0, "start", "#222", &short(cpu), svg);
}

fn text(x: f64, y: f64, anchor: &str, color: &str, words: &str, svg: &mut String) {
    *svg += &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{color}\">");
    for letter in words.chars() {
        match letter {
            '&' => *svg += "&amp;",
            '<' => *svg += "&lt;",
            '>' => *svg += "&gt;",
            // XML has no other control characters, and the few it has are of no use here.
            letter if letter.is_control() => {}
            letter => svg.push(letter),
        }
    }
    *svg += "</text>\n";
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;
    use crate::client::framer::{self, Frame, Framer};

    /// The elements inside the picture, which must nest; the driver's own framer finds out.
    fn elements(svg: &str) -> Vec<String> {
        let mut framer = Framer::default();
        framer.push(svg.as_bytes());
        let mut found = Vec::new();
        loop {
            match framer.next_frame().unwrap() {
                Some(Frame::Header(header)) => assert_eq!(framer::name(header), b"svg"),
                Some(Frame::Stanza(element)) => found.push(String::from_utf8(element.to_vec()).unwrap()),
                Some(Frame::End) => return found,
                None => panic!("the picture does not end: {svg}"),
            }
        }
    }

    fn words(elements: &[String]) -> Vec<&str> {
        let texts = elements.iter().filter(|element| element.starts_with("<text"));
        texts.map(|element| std::str::from_utf8(framer::text(element.as_bytes())).unwrap()).collect()
    }

    #[test]
    fn shows_every_server_with_its_percentiles_and_its_cost() {
        let mut without_latency = run("c", Some("idle"), 700.0, 1);
        without_latency.phases[0].latency_us = None;
        let svg = chart(&[run("a<b", Some("x&y"), 12.34, 300), run("ours", Some("x&y"), 5.0, 90), without_latency]);
        let elements = elements(&svg);
        let words = words(&elements);
        for word in [
            "a&lt;b",
            "ours",
            "c",
            "x&amp;y · talk (message)",
            "idle · talk (message)",
            "p50",
            "p99.9",
            "12.3",
            "5.00",
            "700",
        ] {
            assert_eq!(words.iter().filter(|found| **found == word).count(), 1, "{word} in {words:?}");
        }
        assert!(words.contains(&"latency, ms (log scale)") && words.contains(&"10"));
        let marks = elements.iter().filter(|element| element.contains("translate(")).count();
        assert_eq!(marks, MARKS.len() * (1 + 2), "the legend's, and those of two servers");
        let bars = elements.iter().filter(|element| element.contains("fill-opacity")).count();
        assert_eq!(bars, 3);
        is_escaped(&svg);
    }

    /// Quotes pair up in each tag and each `&` begins an entity.
    fn is_escaped(svg: &str) {
        for tag in svg.split('<').skip(1).filter_map(|part| part.split('>').next()) {
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        }
        for after in svg.split('&').skip(1) {
            assert!(["amp;", "lt;", "gt;"].iter().any(|entity| after.starts_with(entity)), "{after}");
        }
    }

    #[test]
    fn puts_numbers_on_the_axis_by_their_logarithm() {
        let axis = Axis::over([0.05, 30.0].into_iter(), 100.0, 400.0);
        assert_eq!((axis.low, axis.high), (-2, 2));
        let near = |number: f64, x: f64| (axis.at(number) - x).abs() < 1e-6;
        assert!(near(0.01, 100.0) && near(1.0, 300.0) && near(100.0, 500.0));
        assert!(near(0.0, 100.0) && near(1e9, 500.0));
        let empty = Axis::over(std::iter::empty(), 0.0, 10.0);
        assert!(empty.at(1.0).is_finite());
        let one = Axis::over([10.0].into_iter(), 0.0, 10.0);
        assert_eq!((one.low, one.high), (1, 2));
    }

    #[test]
    fn draws_nothing_but_the_frame_of_no_results() {
        assert!(words(&elements(&chart(&[]))).contains(&"p50"));
    }
}
