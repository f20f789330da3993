//! Small inline SVG plots.

use std::fmt::Write;

use super::escape;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 44.0;
const TOP: f64 = 26.0;
const RIGHT: f64 = 12.0;
const BOTTOM: f64 = 36.0;
const TICKS: u32 = 4;

/// A line through points, on square axes from 0 to `limit`.
pub(super) struct Plot {
    pub title: &'static str,
    pub x: &'static str,
    pub y: &'static str,
    pub points: Vec<(f64, f64)>,
    /// Draw the line of chance, or of perfect calibration.
    pub diagonal: bool,
    pub dots: bool,
    pub limit: f64,
}

impl Plot {
    pub const UNIT: Self = Self { title: "", x: "", y: "", points: Vec::new(), diagonal: true, dots: false, limit: 1.0 };

    pub fn svg(&self) -> String {
        let mut svg = open(self.title);
        for tick in 0..=TICKS {
            let share = f64::from(tick) / f64::from(TICKS);
            let (x, y) = place(share, share);
            let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
            let text = format!("{:.3}", share * self.limit);
            let text = text.trim_end_matches('0').trim_end_matches('.');
            let _ = write!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{right}M{x:.1} {TOP}V{bottom}\" stroke=\"#e6ebef\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                LEFT - 4.0,
                y + 3.0,
                bottom + 12.0
            );
        }
        if self.diagonal {
            let ((x0, y0), (x1, y1)) = (place(0.0, 0.0), place(1.0, 1.0));
            let _ = write!(svg, "<path d=\"M{x0} {y0}L{x1} {y1}\" stroke=\"#9aa7b3\" stroke-dasharray=\"4 3\"/>");
        }
        let placed: Vec<(f64, f64)> = self.points.iter().map(|(x, y)| place(x / self.limit, y / self.limit)).collect();
        let path: Vec<String> = placed.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let _ = write!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"#0b5cad\" stroke-width=\"2\"/>", path.join(" "));
        if self.dots {
            placed.iter().for_each(|(x, y)| {
                let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#0b5cad\"/>");
            });
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(10 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text></svg>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 6.0,
            escape(self.x),
            (TOP + HEIGHT - BOTTOM) / 2.0,
            escape(self.y)
        );
        svg
    }
}

pub(super) struct Bar {
    pub name: String,
    pub value: f64,
}

/// Horizontal bars, in the order given.
pub(super) fn bar_chart(title: &str, bars: &[Bar]) -> String {
    const NAMES: f64 = 120.0;
    let mut svg = open(title);
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let step = (HEIGHT - TOP - 8.0) / bars.len().max(1) as f64;
    for (i, bar) in bars.iter().enumerate() {
        let y = TOP + step * i as f64;
        let width = (WIDTH - NAMES - 48.0) * bar.value / most;
        let name: String =
            if bar.name.chars().count() > 20 { bar.name.chars().take(19).chain(['…']).collect() } else { bar.name.clone() };
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{NAMES}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"#0b5cad\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{:.3}</text>",
            NAMES - 5.0,
            y + step / 2.0 + 3.0,
            escape(&name),
            step * 0.7,
            NAMES + width + 4.0,
            y + step / 2.0 + 3.0,
            bar.value
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Rows by probability in equal bins from 0 to 1, negatives below and positives on top, on a square-root scale so that few
/// positives can be seen beside many negatives.
pub(super) fn histogram(title: &str, bins: &[(u64, u64)]) -> String {
    let mut svg = open(title);
    let bottom = HEIGHT - BOTTOM;
    let most = bins.iter().map(|(n, p)| n + p).max().unwrap_or(1).max(1) as f64;
    let width = (WIDTH - LEFT - RIGHT) / bins.len().max(1) as f64;
    for (i, &(negatives, positives)) in bins.iter().enumerate() {
        let all = (negatives + positives) as f64;
        let height = (bottom - TOP) * (all / most).sqrt();
        let positive = if all > 0.0 { height * positives as f64 / all } else { 0.0 };
        let x = LEFT + width * i as f64;
        let _ = write!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#b8c4cf\"/>\
             <rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{positive:.1}\" fill=\"#d9730d\"/>",
            bottom - height + positive,
            width - 1.0,
            height - positive,
            bottom - height,
            width - 1.0
        );
    }
    for tick in 0..=TICKS {
        let share = f64::from(tick) / f64::from(TICKS);
        let (x, y) = (LEFT + share * (WIDTH - LEFT - RIGHT), bottom + 12.0);
        let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{share}</text>");
    }
    let (x, y) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6.0);
    let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">probability; orange: positives</text></svg>");
    svg
}

fn open(title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" font-family=\"system-ui,sans-serif\" font-size=\"9\" fill=\"#51606f\">\
         <title>{0}</title><text x=\"{1}\" y=\"14\" text-anchor=\"middle\" font-size=\"12\" fill=\"#1c2733\">{0}</text>",
        escape(title),
        WIDTH / 2.0
    )
}

/// Shares of the axes to coordinates; what lies outside is drawn at the border.
fn place(x: f64, y: f64) -> (f64, f64) {
    let (x, y) = (x.clamp(0.0, 1.0), y.clamp(0.0, 1.0));
    (LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM))
}
