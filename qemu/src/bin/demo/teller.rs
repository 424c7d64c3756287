//! What the audience sees: lines of at most 80 columns, with the time since the start.

use std::time::Instant;

/// Columns of a terminal.
const WIDTH: usize = 80;

/// Columns that the time stamp takes, with the space behind it.
const STAMP: usize = 8;

/// Prints the story.
pub struct Teller {
    start: Instant,
}

impl Teller {
    /// Starts the clock.
    pub fn new() -> Teller {
        Teller { start: Instant::now() }
    }

    /// Begins a chapter.
    pub fn chapter(&self, title: &str) {
        println!("\n{title}\n{}", "=".repeat(title.chars().count().min(WIDTH)));
    }

    /// Says what happens, with the time.
    pub fn say(&self, text: &str) {
        print(&format!("{:>6}  ", self.stamp()), text);
    }

    /// Says what was decided, and why.
    pub fn verdict(&self, text: &str) {
        self.say(&format!("VERDICT: {text}"));
    }

    /// Adds to what was said last.
    pub fn detail(&self, text: &str) {
        for line in text.lines() {
            print(&" ".repeat(STAMP), line);
        }
    }

    fn stamp(&self) -> String {
        let seconds = self.start.elapsed().as_secs();
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }
}

/// Prints a text behind `head`, and what does not fit on a line below it.
fn print(head: &str, text: &str) {
    let below = " ".repeat(head.len());
    for (number, line) in wrapped(text, WIDTH - below.len()).iter().enumerate() {
        let head = if number == 0 { head } else { &below };
        println!("{}", format!("{head}{line}").trim_end());
    }
}

/// Cuts a text at spaces into lines of at most `width` characters; keeps the spaces within lines,
/// as tables need them. A word that is too long by itself stays whole.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![];
    let mut line = String::new();
    for (number, word) in text.split(' ').enumerate() {
        let longer = line.chars().count() + 1 + word.chars().count();
        if !line.trim().is_empty() && longer > width {
            lines.push(std::mem::take(&mut line));
        } else if number > 0 {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_at_spaces() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("", 7), [""]);
    }

    #[test]
    fn tables_keep_their_columns() {
        assert_eq!(wrapped("* slot a  1.0   committed", 70), ["* slot a  1.0   committed"]);
        assert_eq!(wrapped("  slot b  -     empty", 70), ["  slot b  -     empty"]);
    }

    #[test]
    fn a_word_that_is_too_long_stays_whole() {
        assert_eq!(wrapped("see http://10.0.2.2/image", 10), ["see", "http://10.0.2.2/image"]);
    }
}
