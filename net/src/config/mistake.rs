//! What is wrong with a configuration, where, and what was probably meant.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A mistake in a configuration file.
#[derive(Debug)]
pub struct Mistake {
    path: PathBuf,
    line: Option<usize>,
    message: String,
}

impl std::error::Error for Mistake {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.message),
            None => write!(f, "{}: {}", self.path.display(), self.message),
        }
    }
}

impl Mistake {
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Mistake {
        Mistake { path: path.to_owned(), line: None, message: format!("the file cannot be read: {error}") }
    }

    /// What the parser found.
    pub(super) fn of_toml(path: &Path, text: &str, error: &toml::de::Error) -> Mistake {
        let line = error.span().map(|span| line_of(text, span.start));
        let message = error.message();
        let message = unknown_key(message).unwrap_or_else(|| message.replace('\n', ", "));
        Mistake { path: path.to_owned(), line, message }
    }

    /// What was found wrong in one of several tables of the same name: at the key, or where the table begins if it has none.
    pub(super) fn in_table(path: &Path, text: &str, table: &str, nth: usize, key: &str, message: String) -> Mistake {
        let sets =
            |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
        let begin = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with(table)).nth(nth);
        let begin = begin.map_or(0, |(index, _)| index);
        let mut own = text.lines().skip(begin + 1).take_while(|line| !line.trim_start().starts_with('['));
        let line = own.position(sets).map_or(begin + 1, |index| begin + index + 2);
        Mistake { path: path.to_owned(), line: Some(line), message: format!("{key}: {message}") }
    }

    /// What was found wrong with the value of a key, which may be a default that is nowhere in the file.
    pub(super) fn at_key(path: &Path, text: &str, key: &str, message: String) -> Mistake {
        let sets =
            |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
        let line = text.lines().position(sets).map(|index| index + 1);
        Mistake { path: path.to_owned(), line, message: format!("{key}: {message}") }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// Makes a sentence with a suggestion of "unknown field `x`, expected one of `y`, `z`".
fn unknown_key(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    let (wrong, expected) = rest.split_once('`')?;
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let nearest = known.iter().min_by_key(|name| distance(wrong, name)).copied()?;
    Some(if distance(wrong, nearest) <= wrong.len().max(3) / 3 {
        format!("unknown key `{wrong}`, did you mean `{nearest}`?")
    } else {
        let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        format!("unknown key `{wrong}`; there are {}", known.join(", "))
    })
}

/// How many letters have to be changed, added or left out to get from one word to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let change = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_letters() {
        for (a, b, expected) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("cert", "cret", 2)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }
}
