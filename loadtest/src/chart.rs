//! Line charts as inline SVG, coloured by the page's style so that they follow light and dark.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 34.0;

/// How values are placed on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By their logarithm; values must be above 0.
    Log,
}

/// One line.
pub struct Line<'a> {
    /// Its name in the legend.
    pub name: &'a str,
    /// Points (x, y), x ascending; a point that is not finite breaks the line.
    pub points: Vec<(f64, f64)>,
}

/// One chart.
pub struct Chart<'a> {
    /// Heading.
    pub title: &'a str,
    /// What the numbers on the left are.
    pub unit: &'a str,
    /// The scale on the left.
    pub scale: Scale,
    /// Marks below: (x, text).
    pub x_marks: Vec<(f64, String)>,
    /// The lines.
    pub lines: Vec<Line<'a>>,
}

impl Chart<'_> {
    /// The chart as one `figure` element; empty when no line has two points.
    #[must_use]
    pub fn render(&self) -> String {
        if self.lines.iter().all(|line| line.points.len() < 2) {
            return String::new();
        }
        let frame = Frame::around(self);
        let mut svg = String::new();
        let mut add = |text: std::fmt::Arguments<'_>| append(&mut svg, text);
        add(format_args!(
            "<figure><figcaption><b>{}</b> <span>{}</span></figcaption>",
            escape(self.title),
            escape(self.unit)
        ));
        add(format_args!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(self.title)
        ));
        for value in frame.y_marks() {
            let y = frame.y(value);
            add(format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                number(value)
            ));
        }
        for (value, text) in &self.x_marks {
            let x = frame.x(*value);
            add(format_args!(
                "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{0:.1}\" y2=\"{1:.1}\"/>\
                 <text x=\"{x:.1}\" y=\"{2:.1}\" text-anchor=\"middle\">{3}</text>",
                HEIGHT - BOTTOM,
                HEIGHT - BOTTOM + 4.0,
                HEIGHT - BOTTOM + 18.0,
                escape(text)
            ));
        }
        for (index, line) in self.lines.iter().enumerate() {
            add(format_args!("<path class=\"line c{index}\" d=\"{}\"/>", frame.path(&line.points)));
        }
        add(format_args!("</svg><div class=\"legend\">"));
        for (index, line) in self.lines.iter().enumerate().filter(|_| self.lines.len() > 1) {
            add(format_args!("<span><i class=\"c{index}\"></i>{}</span>", escape(line.name)));
        }
        add(format_args!("</div></figure>"));
        svg
    }
}

/// The ranges of both axes.
struct Frame {
    scale: Scale,
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn around(chart: &Chart<'_>) -> Frame {
        let points = || chart.lines.iter().flat_map(|line| &line.points);
        let bound = |values: &mut dyn Iterator<Item = f64>| {
            values
                .filter(|v| v.is_finite())
                .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
        };
        let marks = chart.x_marks.iter().map(|mark| mark.0);
        let x = bound(&mut points().map(|point| point.0).chain(marks));
        let is_log = chart.scale == Scale::Log;
        let y = bound(&mut points().map(|point| point.1).filter(|&y| y > 0.0 || !is_log));
        let y = match chart.scale {
            Scale::Linear => (0.0, step(y.1.max(1e-9)) * (y.1 / step(y.1.max(1e-9))).ceil()),
            Scale::Log => (10_f64.powf(y.0.log10().floor()), 10_f64.powf(y.1.log10().ceil())),
        };
        let y = if y.1 > y.0 { y } else { (y.0, y.0 * 10.0 + 1.0) };
        Frame { scale: chart.scale, x: if x.1 > x.0 { x } else { (x.0, x.0 + 1.0) }, y }
    }

    fn x(&self, value: f64) -> f64 {
        let part = (value - self.x.0) / (self.x.1 - self.x.0);
        LEFT + part * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let place = |v: f64| match self.scale {
            Scale::Linear => v,
            Scale::Log => v.max(self.y.0).log10(),
        };
        let (low, high) = (place(self.y.0), place(self.y.1));
        let part = (place(value) - low) / (high - low);
        HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
    }

    fn y_marks(&self) -> Vec<f64> {
        let mut marks = vec![self.y.0];
        let step = step(self.y.1);
        while let Some(&last) = marks.last()
            && last < self.y.1 * 0.999
        {
            marks.push(if self.scale == Scale::Log { last * 10.0 } else { last + step });
        }
        marks
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        let mut verb = 'M';
        for &(x, y) in points {
            if !y.is_finite() || (self.scale == Scale::Log && y <= 0.0) {
                verb = 'M';
                continue;
            }
            append(&mut path, format_args!("{verb}{:.1} {:.1}", self.x(x), self.y(y)));
            verb = 'L';
        }
        path
    }
}

/// Appends formatted text.
pub fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A string takes everything; there is no error to tell of.
    let _ = out.write_fmt(text);
}

/// 1, 2 or 5 times a power of ten, so that about five steps reach `top`.
fn step(top: f64) -> f64 {
    let rough = top / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= rough).unwrap_or(10.0);
    factor * power
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if v >= 1e6 => format!("{} M", trim(value / 1e6)),
        v if v >= 1e4 => format!("{} k", trim(value / 1e3)),
        _ => trim(value),
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text made safe inside an element or a quoted attribute.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(scale: Scale, points: Vec<(f64, f64)>) -> String {
        let lines = vec![Line { name: "a<b", points }];
        Chart { title: "T", unit: "ms", scale, x_marks: vec![(0.0, "0".into())], lines }.render()
    }

    #[test]
    fn points_stay_inside_the_frame() {
        for scale in [Scale::Linear, Scale::Log] {
            let svg = chart(scale, vec![(0.0, 0.5), (1.0, 70.0), (2.0, 1234.0), (3.0, 3.0)]);
            let path = svg.split("d=\"").nth(1).unwrap().split('"').next().unwrap();
            for pair in path.split(['M', 'L']).filter(|pair| !pair.is_empty()) {
                let (x, y) = pair.split_once(' ').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                assert!((LEFT..=WIDTH - RIGHT).contains(&x), "{pair}");
                assert!((TOP..=HEIGHT - BOTTOM).contains(&y), "{pair}");
            }
        }
    }

    #[test]
    fn nothing_to_draw_draws_nothing() {
        assert_eq!(chart(Scale::Linear, vec![(0.0, 1.0)]), "");
        assert!(chart(Scale::Linear, vec![(0.0, 0.0), (1.0, 0.0)]).contains("<path"));
        assert!(chart(Scale::Log, vec![(0.0, 5.0), (1.0, 5.0)]).contains("<path"));
    }

    #[test]
    fn steps_are_round() {
        for (top, expected) in [(10.0, 5.0), (100.0, 50.0), (7.0, 2.0), (0.4, 0.1)] {
            assert!((step(top) - expected).abs() < 1e-9, "{top}");
        }
        assert_eq!(
            [number(0.0), number(0.01), number(2500.0), number(25_000.0), number(3e6)],
            ["0", "0.01", "2500", "25 k", "3 M"]
        );
    }
}
